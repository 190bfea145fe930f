"""The group ``recording``, on very small data and without peers, and the table of a record."""

import numpy as np
import pytest

from benchmarks.groups.recording import measure as recording
from benchmarks.harness import records
from benchmarks.harness.registry import Settings, summary
from benchmarks.peers import Gap, Stepper
from benchmarks.peers.recording import PASSES, Recorders, numpy_records

TINY = recording.Case(4.0, size=6, steps=20, every=10)


def missing(*arguments):
    raise Gap("torch is not installed")


@pytest.fixture
def without_peers(monkeypatch):
    monkeypatch.setattr(recording, "PEERS", {"PyTorch": (missing, missing)})
    monkeypatch.setattr(recording, "PAUSE", 0.0)
    monkeypatch.setattr(recording, "CASES", (TINY, recording.Case(2.0)))
    monkeypatch.setattr(recording, "quick_form", lambda case: recording.replace(TINY, p=case.p))


def test_the_record_and_its_tables(without_peers, tmp_path):
    content = recording.measure(Settings(quick=True, rounds=2))
    path = records.write(content, tmp_path / "recording.json")
    assert records.read(path)["cases"] == records.without(content["cases"], set())
    text = summary(records.slim(content))
    for case in content["cases"]:
        ours, peer = case["rows"]
        assert peer == {"contender": "PyTorch", "gap": "torch is not installed"}
        assert 0 < ours["apart"]["cheap"] <= recording.TOLERANCE["cheap"]
        assert min(ours["milliseconds"].values()) > 0
        assert 2 <= ours["passes"]["mean"] <= ours["passes"]["most"] <= PASSES
        assert case["targets"]["passes"]["met"]
        names = [row["name"] for row in case["quantities"]]
        assert names == [*recording.CHEAP, *recording.FURTHER]
        assert all(f"| `{name}` |" in text for name in names)
    assert "PyTorch at p = 4 (torch is not installed)" in text
    assert len(content["benchmarks"]) == 2 * (len(recording.KINDS) + len(names) + 1)
    assert recording.markdown(content) == summary(content)
    assert not recording.plots(content)


def test_ours_must_record_what_numpy_does(monkeypatch):
    def off(*arguments):
        values = numpy_records(*arguments)
        return values | {"step_size": values["step_size"] * (1 + 1e-5)}

    monkeypatch.setattr(recording, "numpy_records", off)
    with pytest.raises(AssertionError, match=r"cheap: records are off by 1\.0e-05"):
        recording.contender("accel", recording.replace(TINY))


class Loop:
    """A peer whose records are those of the case, all of them times a factor."""

    def __init__(self, case, factor):
        self.case, self.step, self.calls = case, 0, []
        values = {name: factor * rows for name, rows in case.expected.items()}
        sharpness = values.pop("sharpness")

        def cheap(step):
            self.calls.append("cheap")
            return {name: rows[int(step) // case.every] for name, rows in values.items()}

        def sharp(step):
            self.calls.append("sharpness")
            return float(sharpness[int(step) // case.every])

        self.recorders = Recorders({"by heart": cheap}, {"by heart, too": sharp})

    def advance(self, steps):
        self.step += steps
        self.calls.append(steps)

    def variants(self, run):
        return {"a form": self.stepper}

    def stepper(self):
        self.step = 0
        return Stepper(self.advance, lambda: self.step % (self.case.steps + 1))


def peer(monkeypatch, factor=1.0):
    loop = Loop(TINY, factor)
    monkeypatch.setattr(recording, "PEERS", {"JAX": (loop.variants, lambda _: loop.recorders)})
    monkeypatch.setattr(recording, "PAUSE", 0.0)
    monkeypatch.setattr(
        recording.matrix, "quickest", lambda variants, run: loop.stepper()._replace(note="a form")
    )
    monkeypatch.setattr(recording, "_quickest_record", lambda choice, *others: next(iter(choice)))
    return loop


def test_a_peer_records_at_its_steps(monkeypatch):
    loop = peer(monkeypatch)
    made = recording.contender("JAX", TINY)
    assert made.row == {
        "contender": "JAX",
        "note": "a form; by heart; by heart, too",
        "apart": {"cheap": 0.0, "sharpness": 0.0},
    }
    loop.calls.clear()
    made.run(recording.ALL)
    assert loop.calls == ["cheap", 10, "cheap", 10, "cheap"]
    loop.calls.clear()
    made.run(recording.BASE)
    made.run(recording.SHARPNESS)
    assert loop.calls == [20, "sharpness", 10, "sharpness", 10, "sharpness"]


def test_a_peer_that_records_something_else_is_a_gap(monkeypatch):
    peer(monkeypatch, factor=1.01)
    with pytest.raises(Gap, match=r"cheap: records are off by 1\.0e-02, more than 1e-06"):
        recording.contender("JAX", TINY)


def test_the_quickest_record_is_that_which_holds_up_no_steps(monkeypatch):
    now, held = [0.0], [0.0]

    def record(seconds, holds):
        def call(params):
            now[0] += seconds
            held[0] = holds

        return call

    def advance(steps):
        now[0] += 1e-3 * steps + held[0]

    monkeypatch.setattr(recording, "PAUSE", 0.0)
    monkeypatch.setattr(recording, "elapsed", lambda call: -now[0] + (call(), now[0])[1])
    variants = {"slow": record(5.0, 0.0), "quick": record(2.0, 0.0), "spins": record(1.0, 9.0)}
    stepper = Stepper(advance, lambda: np.ones(1))
    assert recording._quickest_record(variants, stepper, 10) == "quick"


def test_what_records_add():
    made = recording.added([1.0, 2.0, 1.0], [1.5, 2.2], 10)
    assert made["milliseconds"] == pytest.approx([35, 27.5, 42.5])
    assert made["share"] == pytest.approx([0.3, 0.2, 0.4])


def test_what_is_no_number_is_far_apart():
    values = {"sharpness": np.ones(2), "stable_rank": np.ones(2)}
    off = recording.apart(values, values | {"stable_rank": np.array([1.0, np.nan])})
    assert off == {"cheap": np.inf, "sharpness": 0.0}


def row(name, scale, **more):
    added = {"milliseconds": [2 * scale, scale, 3 * scale], "share": [0.09 * scale, 0.08, 0.1]}
    return {
        "contender": name, "note": f"by {name}", "apart": {"cheap": 1e-12, "sharpness": 1e-7},
        "milliseconds": {"nothing": 400.0 * scale, "cheap": 436.0 * scale, "sharpness": 1500.0},
        "cheap": added, "sharpness": added, "sharpness_steps": 10.0 * scale, **more,
    }  # fmt: skip


@pytest.fixture
def content():
    made = records.record("recording", quick=False, rounds=5, cases=[])
    for p, met in ((2.0, True), (4.0, False)):
        made["cases"].append({
            "title": "100 x 100, depth 3, p = 2, n = 100, float64", "p": p,
            "steps": 2000, "every": 100,
            "rows": [
                row("accel", 1.0, passes={"most": 30, "mean": 21.25}), row("PyTorch", 2.0),
                {"contender": "JAX", "gap": "jax is not installed"},
            ],
            "quantities": [
                {"name": "distance", "milliseconds": [0.012, -0.001, 0.02], "share": [0.001, 0, 0]}
            ],
            "targets": {
                "share": {"most": 0.1, "met": met}, "passes": {"most": 30, "met": True},
            },
        })  # fmt: skip
    return made


def test_the_tables(content):
    text = summary(content)
    assert "A network of 100 x 100, depth 3, 2000 steps, a record at every 100th" in text
    for line in (
        "|  | accel | PyTorch | JAX | target | met |",
        "| p = 2: nothing recorded | 400 ms | 800 ms |  |  |  |",
        "| p = 2: a record of them | 2 ms (1 to 3) | 4 ms (2 to 6) |  |  |  |",
        "| p = 2: they add | 9.0 % (8.0 to 10.0) | 18.0 % (8.0 to 10.0) |  "
        "| must: under 10 % | yes |",
        "| p = 4: they add | 9.0 % (8.0 to 10.0) | 18.0 % (8.0 to 10.0) |  "
        "| must: under 10 % | **no** |",
        "| p = 4: a record of it in steps | 10 | 20 |  |  |  |",
        "| p = 4: passes over the data a record | 21.2, at most 30 | 30 |  "
        "| must: at most 30 | yes |",
        "| `distance` | 0.012 ms (-0.001 to 0.02) | 0.1 % | 0.012 ms (-0.001 to 0.02) | 0.1 % |",
    ):
        assert line in text.splitlines()
    assert "Not measured: JAX at p = 2 (jax is not installed), JAX at p = 4" in text
    assert "at most 1.0e-12, the sharpness 1.0e-07" in text
