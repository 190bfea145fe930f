"""The group ``matrix``: its cases, the choice of a variant, and the table of a made-up record."""

import functools

import pytest

from benchmarks import __main__ as command
from benchmarks.groups import matrix
from benchmarks.harness import records, suite, timing
from benchmarks.harness.cases import OURS, PEAK
from benchmarks.harness.registry import summary
from benchmarks.peers import Stepper


def test_every_case_can_be_asked_for_and_the_default_has_all_sizes():
    assert len(matrix.CASES) == len({case.name for case in matrix.CASES}) == 124
    default = [matrix.SQUARES[case.name] for case in matrix.DEFAULT]
    one = {(s.size, s.p, s.rows) for s in default if (s.models, s.depth) == (1, 3)}
    assert one == {(size, p, n) for size in matrix.SIZES for p in (2, 4) for n in (1, 10)}
    assert {s.depth for s in default} == {2, 3, 4}
    assert {s.size for s in default if s.models == 16} == {20, 100, 200}
    assert {s.size for s in default if s.dtype == "float32"} == {100, 200}
    assert set(matrix.QUICK) < set(matrix.DEFAULT) < set(matrix.CASES)


@pytest.mark.parametrize(
    "square", [matrix.Square(20, 3, 2.0, 1), matrix.Square(20, 4, 4.0, 10, models=16)]
)
def test_multiply_adds_are_those_of_the_run(square):
    run, _ = square.case.descent(threads=1)
    assert square.multiply_adds == run.multiply_adds
    products = 2 * 20**2 + 6 * 20**3 if square.p == 2 else 16 * (20 + 9) * 20**3
    assert square.multiply_adds == products


def test_the_quickest_variant_is_taken_from_its_start(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(timing.time, "sleep", lambda seconds: None)
    made = []

    def make(name, seconds):
        done = [0]

        def advance(steps):
            done[0] += steps
            now[0] += seconds * steps

        made.append((name, done))
        return Stepper(advance, lambda: done[0])

    seconds = {"slow": 2e-3, "quick": 1e-3, "slower": 5.0}
    variants = {name: functools.partial(make, name, each) for name, each in seconds.items()}
    best = matrix.quickest(lambda run: variants, None)
    assert best.note == "quick"
    assert best.params() == 0
    assert [name for name, _ in made] == ["slow", "quick", "slower", "quick"]
    assert all(done[0] > 0 for _, done in made[:-1])


def contender(name, median, peer, ratio=None, gap=None):
    row = {"contender": name, "peer": peer}
    if gap:
        return row | {"gap": gap}
    row |= {"median_us": median, "iqr_us": 0.1, "steps": 10}
    return row | ({"ratio": ratio, "ratio_quartiles": [ratio, ratio]} if ratio else {})


@pytest.fixture
def content():
    """Two cases: ours at a quarter and at three quarters of the peak."""
    made = records.record("matrix", quick=False, rounds=7, cases=[])
    made["machine"] |= {"cpu": "A CPU"}
    for square, ours, numpy in (
        (matrix.Square(20, 3, 4.0, 1), 8.0, 32.0),
        (matrix.Square(500, 3, 4.0, 1), 1.25e5, 1.25e5),
    ):
        case = square.case
        target = {"against": "best peer", "speedup": case.targets[0].speedup, "strive": False}
        measured = numpy / ours
        made["cases"].append({
            "name": case.name, "title": case.title, "data": "made up", "megabytes": 1.0,
            "contenders": [
                contender(OURS, ours, peer=False),
                contender("NumPy", numpy, True, measured),
                contender("PyTorch", 2 * numpy, True, 2 * measured),
                contender("JAX", None, True, gap="jax is not installed"),
                contender(PEAK, ours / 4, False, 0.25),
            ],
            "targets": [{**target, "measured": measured, "met": measured >= target["speedup"]}],
            "strive_us": None, "must_us": None,
        })  # fmt: skip
    small, large = (case["name"] for case in made["cases"])
    madds = 8 * 20**3, 8 * 500**3
    seconds = {
        f"{small}-{OURS}": [9e-6, 8e-6], f"{small}-NumPy": [32e-6], f"{small}-{PEAK}": [2e-6],
        # In another phase of the machine: its peak is a third of that.
        f"{large}-{OURS}": [madds[1] / 24e9], f"{large}-{PEAK}": [madds[1] / (32e9 / 3)],
    }  # fmt: skip
    made["benchmarks"] = [
        records.entry("a case", name, samples, kind="ours") for name, samples in seconds.items()
    ]
    return matrix.with_shares(made)


def test_the_table(content):
    assert content["peak"] == {"float64": pytest.approx(32e9)}
    text = summary(content)
    assert "| float64 but where said | 20 | 500 |" in text
    row = "| depth 3, p = 4, n = d | 8 us, 4.00x NumPy, 25% | 125000 us, 1.00x NumPy, 75% |"
    assert row in text
    assert "64 GFLOP/s in float64." in text
    assert "1 of 2 cases are. Striven for is 75% of the peak from d = 100 on: 1 of 1 cases" in text
    assert text.endswith("of all cases: NumPy 1.00 and 2.50, PyTorch 2.00 and 5.00.")
    assert records.slim(content)["cases"] == content["cases"]


def test_all_of_it(content):
    text = matrix.markdown(content)
    assert "Furthest from what was asked: 500 x 500, depth 3, p = 4, n = d (must: 1.2x" in text
    assert "| 20 x 20, depth 3, p = 4, n = d | 8 | 4.00 (4.00 to 4.00) |" in text
    assert "Not measured: JAX (jax is not installed)." in text
    assert not matrix.plots(content)


@pytest.mark.parametrize(
    ("arguments", "groups", "cases"),
    [
        ([], ["targets", "step", "scaling", "convergence", "startup"], 0),
        (["matrix"], ["matrix"], 0),
        (["--case", "square20-*"], ["matrix"], 24),
        (["--case", "square*-f32", "--case", "depth1-f64"], ["targets", "matrix"], 5),
        (["targets", "--case", "*"], ["targets"], None),
    ],
)
def test_groups_and_patterns_of_cases(arguments, groups, cases, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(command, "pin", lambda threads: None)
    monkeypatch.setattr(command.machine, "restart_without_override", lambda: None)
    monkeypatch.setattr(suite, "run", lambda *given: asked.append(given) or [])
    assert command.main([*arguments, "--output", str(tmp_path)]) == 0
    ((names, settings, _, _),) = asked
    assert list(names) == groups
    assert cases is None or len(settings.cases) == cases
