"""A whole run of the suite on the host, with stand-ins for the GPU."""

import functools
import re
import sys

import numpy as np
import pytest

from benchmarks.__main__ import main as step_main
from benchmarks.groups import gpu
from benchmarks.groups.gpu import cases, ceilings, data, device, figure3, merge, report, session
from benchmarks.groups.gpu.command import main
from benchmarks.harness import records, timing
from benchmarks.harness import report as step_report
from benchmarks.harness.cases import COPY, LEFT_OUT, OURS, SINGLE_RUNS, Contenders
from benchmarks.peers import Gap, cuda, our_single_runs, our_sweep, ours

from ..stand_ins import BLAS, XP

SMALL = ["--quick", "--rounds", "2", "--seconds", "0.0005"]


class Wrong:
    """Takes the first step and forgets the others."""

    def __init__(self, run):
        self.run = cuda.cupy_by_hand(run, XP)
        self.params, self.longer, self.note = self.run.params, 1, ""

    def advance(self, steps):
        self.run.advance(1)


def ours_here(run, blocks=None):
    if blocks == 8:
        raise ValueError("8 blocks are too few")
    return ours(run, "reference")._replace(note="resident", layout=(blocks or 45, 1))


def raises(run):
    raise RuntimeError("out of\nluck")


def gap(run):
    raise Gap("torch is not installed")


@pytest.fixture
def here(monkeypatch):
    """A GPU that is none; returns the contenders, to be changed."""
    small = {"gas": (60, 7), "vast": (80, 5)}

    def load(name, dtype, quick):
        if name not in small:
            return *(10 * array for array in data.vast(np, 9, 5, dtype)), "made up"
        X, Y = data.vast(np, *small[name], dtype)
        return X, 10 * Y, "made up"  # steps large enough to be seen in float32

    tables = [
        {
            OURS: ours_here,
            cases.BY_HAND: functools.partial(cuda.cupy_by_hand, xp=XP),
            "CuPy fused": functools.partial(cuda.cupy_fused, xp=XP, blas=BLAS),
            "PyTorch eager": raises,
            cases.GRAPH: gap,
            "JAX scan": Wrong,
            COPY: functools.partial(cuda.copy_half, xp=XP),
        },
        {
            OURS: functools.partial(our_sweep, backend="reference"),
            SINGLE_RUNS: functools.partial(our_single_runs, backend="reference"),
            cases.BY_HAND: functools.partial(cuda.cupy_sweep, xp=XP),
            cases.GRAPH: gap,
            "JAX scan": gap,
            "JAX vmap": gap,
        },
    ]
    monkeypatch.setattr(session, "ON_GPU", Contenders(*tables, cases.ON_GPU.slow))
    monkeypatch.setattr(data, "load", load)
    monkeypatch.setitem(sys.modules, "cupy", XP)
    monkeypatch.setattr(gpu, "reason", lambda: None)
    monkeypatch.setattr(gpu, "fair_environment", lambda: None)
    monkeypatch.setattr(device, "describe", lambda: MACHINE)
    monkeypatch.setattr(device, "query", lambda: {"clocks.sm": "1980 MHz"})
    monkeypatch.setattr(ceilings, "_BYTES", 2**16)
    monkeypatch.setattr(ceilings, "loop_module", lambda: Barriers)

    def no_figure(quick, limit):
        raise Gap("the gas data is not here: ACCEL_DATA names it")

    monkeypatch.setattr(figure3, "measure", no_figure)
    return tables[0]


MACHINE = {
    "device": {
        "name": "NVIDIA H200",
        "compute_capability": "9.0",
        "driver": "580.1",
        "driver_cuda": "13.0",
    },
    "versions": {"python": "3.12", "cupy-cuda13x": "14.2.0"},
}


class Barriers:
    class TrainingLoop:
        def __init__(self, X, Y, loss, models, blocks):
            if blocks > 100:
                raise ValueError("too many blocks")
            assert X.shape == Y.shape == (blocks, 1)

        def advance(self, steps):
            pass


@pytest.mark.slow
def test_a_run(here, tmp_path, capsys):
    path = tmp_path / "result.json"
    del here["JAX scan"]  # a KeyError is one more peer that fails here
    assert main([*SMALL, "--output", str(path)]) == 1  # there is no gas data for figure 3
    content = records.read(path)
    assert [row["name"] for row in content["failed"]] == ["figure3"]
    assert [case["name"] for case in content["cases"]] == [case.name for case in cases.CASES]
    held = [row["case"] for row in content["correctness"]]
    assert list(dict.fromkeys(held)) == [case.name for case in cases.CASES]  # one after the other
    rows = {row["contender"]: row for row in content["cases"][0]["contenders"]}
    assert rows[OURS]["note"] == "resident"
    assert (rows[OURS]["blocks"], rows[OURS]["teams"]) == (45, 1)
    first = content["benchmarks"][0]
    assert first["extra_info"]["kind"] == "ours"
    assert len(first["stats"]["data"]) == 2
    assert rows[cases.BY_HAND]["ratio"] > 0
    assert rows["PyTorch eager"]["gap"] == "fails here: out of luck"
    assert rows[cases.GRAPH]["gap"] == "torch is not installed"
    assert rows[cases.COMPILED]["gap"] == "left out of the quick form"
    first = content["ceilings"]["barrier"][0]
    assert first["blocks"] == 8
    assert first["microseconds"] > 0
    assert content["ceilings"]["barrier"][-1] == {"blocks": 132, "gap": "too many blocks"}
    assert content["ceilings"]["copy"]["gigabytes_per_second"] > 0
    assert [part["dtype"] for part in content["scan"]] == ["float32", "float64"]
    assert [row["blocks"] for row in content["scan"][0]["rows"]] == list(cases.BLOCKS)
    assert content["scan"][0]["rows"][0]["gap"] == "8 blocks are too few"
    assert content["scan"][1]["rows"][1]["median_us"] > 0
    assert content["scan"][1]["data"] == "made up"
    (failure,) = content["failed"]
    assert failure["name"] == "figure3"
    assert content["machine"]["device"]["at_end"] == {"clocks.sm": "1980 MHz"}
    printed = capsys.readouterr().out
    assert "with its grids | none |  |  | must: under 60 s | the gas data is not here" in printed
    assert "strive: 85% of the bandwidth of a device copy" in printed

    summary = report.summary(content)
    assert summary in printed
    assert step_main(["table", str(path)]) == 0
    assert capsys.readouterr().out == summary + "\n"


def test_a_peer_that_is_wrong_fails_the_run_and_is_not_timed(here, tmp_path, capsys):
    path = tmp_path / "result.json"
    assert main([*SMALL, "--case", "depth1-f64", "--output", str(path)]) == 1
    content = records.read(path)
    rows = {row["contender"]: row for row in content["cases"][0]["contenders"]}
    assert re.fullmatch(r"iterate off by \S+, more than 1e-06", rows["JAX scan"]["gap"])
    assert "WRONG: JAX scan in depth1-f64 is off by" in capsys.readouterr().out
    assert not content["scan"]
    assert content["ceilings"] is None


def test_a_peer_that_diverges_while_it_is_timed_is_a_gap(here, tmp_path):
    def diverging(run):
        made, reads = cuda.cupy_by_hand(run, XP), []

        def params():
            reads.append(made.params())
            return reads[-1] * (1 if len(reads) == 1 else np.nan)

        return made._replace(params=params)

    here["JAX scan"] = diverging
    path = tmp_path / "result.json"
    assert main([*SMALL, "--case", "depth1-f64", "--output", str(path)]) == 0
    (case,) = records.read(path)["cases"]
    rows = {row["contender"]: row for row in case["contenders"]}
    assert rows["JAX scan"]["gap"] == "diverged while it was timed"
    assert rows[cases.BY_HAND]["ratio"] > 0


@pytest.mark.parametrize(
    ("contender", "message"),
    [
        (Wrong, r"not timed: our iterate off by \S+, more than 1e-06"),
        (raises, "failed: out of luck"),
    ],
)
def test_if_we_are_wrong_we_are_not_timed(contender, message, here, tmp_path, capsys):
    path = tmp_path / "result.json"
    here[OURS] = contender
    chosen = ["--case", "depth1-f64", "--case", "sweep64-f32"]
    assert main([*SMALL, *chosen, "--output", str(path)]) == 1
    content = records.read(path)
    assert [case["name"] for case in content["cases"]] == ["sweep64-f32"]
    (failure,) = content["failed"]
    assert re.fullmatch(message, failure["message"])
    assert failure["title"] == "gas problem, depth 1, float64"
    assert [row["contender"] for row in content["correctness"] if row["case"] == "depth1-f64"] == [
        OURS
    ]
    assert "WRONG: accel in depth1-f64" in capsys.readouterr().out


def test_a_case_that_raises_does_not_end_the_run(here, tmp_path, capsys, monkeypatch):
    del here["JAX scan"]
    times = iter([RuntimeError("a launch failed")])
    real = timing.interleaved

    def interleaved(*arguments, **options):
        for error in times:
            raise error
        return real(*arguments, **options)

    monkeypatch.setattr(timing, "interleaved", interleaved)
    path = tmp_path / "result.json"
    chosen = ["--case", "depth1-f64", "--case", "depth1-f32"]
    assert main([*SMALL, *chosen, "--output", str(path)]) == 1
    content = records.read(path)
    assert [case["name"] for case in content["cases"]] == ["depth1-f64"]
    assert content["failed"][0]["message"] == "failed: a launch failed"
    assert "| gas problem, depth 1, float32 | none |  |  |  | failed: a launch failed" in (
        capsys.readouterr().out
    )


@pytest.mark.slow
def test_out_of_time(here, tmp_path, capsys):
    path = tmp_path / "result.json"
    assert main([*SMALL, "--budget", "0", "--output", str(path)]) == 1
    content = records.read(path)
    assert not content["cases"]
    assert "left out: the 0 s of the whole run are over" in capsys.readouterr().out


def test_a_quick_run_writes_nothing(here, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(report, "default_path", lambda content: tmp_path / "result.json")
    assert main([*SMALL, "--case", "scan"]) == 0
    assert not list(tmp_path.iterdir())
    assert "written to" not in capsys.readouterr().out


def part(**different):
    return report.document(MACHINE, 7, 0.1, False) | {"seconds": 3.0} | different


def test_parts_are_merged(tmp_path):
    def case(name, n):
        return {"name": name, "n": n, "contenders": [], "targets": []}

    first = part(
        ceilings={"copy": 1},
        cases=[case("a", 1), case("b", 1)],
        failed=[{"name": name} for name in ("c", "d", "figure3")],
        correctness=[{"case": "a"}],
    )
    second = part(cases=[case("b", 2), case("c", 2)], figure3={"seconds": 1}, correctness=[{}])
    merged = merge.merged([first, second])
    assert merged["cases"] == [case("a", 1), case("b", 2), case("c", 2)]
    assert merged["failed"] == [{"name": "d"}]
    assert merged["ceilings"] == {"copy": 1}
    assert merged["figure3"] == {"seconds": 1}
    assert len(merged["correctness"]) == 2
    assert merged["seconds"] == 6.0
    paths = [tmp_path / f"{i}.json" for i in range(3)]
    for path, content in zip(paths, (first, second), strict=False):
        records.write(content, path)
    assert merge.main([str(paths[2]), *map(str, paths[:2])]) == 0
    assert records.read(paths[2])["cases"] == merged["cases"]
    (tmp_path / "out").mkdir()
    assert merge.main([str(tmp_path / "out"), *map(str, paths[:2])]) == 0
    (named,) = (tmp_path / "out").iterdir()
    assert named.name == report.default_path(merged).name


def row(name, median=None, ratio=None, gap=None):
    if gap:
        return {"contender": name, "peer": name != OURS, "gap": gap}
    ratios = {"ratio": ratio, "ratio_quartiles": [ratio, ratio]} if ratio else {}
    return {"contender": name, "peer": name != OURS, "median_us": median, "iqr_us": 0.1} | ratios


def test_parts_with_other_peers_of_a_case_are_merged():
    """Each contender's latest figures; targets by all of them; who was timed when is told."""
    targets = [
        {"against": "best peer", "speedup": 2.0, "strive": False, "measured": None, "met": None},
        {"against": cases.GRAPH, "speedup": 4.0, "strive": False, "measured": None, "met": None},
    ]

    def one(*contenders):
        return {
            "name": "a", "title": "A", "data": "made up", "strive_us": None,
            "contenders": list(contenders), "targets": targets,
        }  # fmt: skip

    first = one(
        row(OURS, 5.0), row(cases.GRAPH, 15.0, 3.0), row("JAX scan", 8.0, 1.6),
        row(cases.BY_HAND, 50.0, 10.0), row(cases.COMPILED, gap="torch is not installed"),
    )  # fmt: skip
    second = one(
        row(OURS, 4.0), row(cases.GRAPH, gap=LEFT_OUT), row("JAX scan", 9.0, 2.25),
        row(cases.BY_HAND, gap="fails here: no"), row(cases.COMPILED, gap=LEFT_OUT),
    )  # fmt: skip
    content = merge.merged([part(cases=[first]), part(cases=[second])])
    (merged,) = content["cases"]
    assert merged["contenders"] == [
        row(OURS, 4.0),
        row(cases.GRAPH, 15.0, 3.0) | {"earlier": True},
        row("JAX scan", 9.0, 2.25),
        row(cases.BY_HAND, 50.0, 10.0) | {"earlier": True},
        row(cases.COMPILED, gap="torch is not installed"),
    ]
    assert [(t["measured"], t["met"]) for t in merged["targets"]] == [(2.25, True), (3.0, False)]
    assert (
        "Timed in an earlier part, with ratios to ours of that part: PyTorch CUDA graph (a); "
        "CuPy by hand (a)."
    ) in report._peers(content)
    table = step_report.case_table(merged)
    assert "| CuPy by hand, of an earlier part | 50 |" in table
    # A third part that has all of them replaces what was kept.
    content = merge.merged([content, part(cases=[first])])
    assert content["cases"] == [first | {"targets": content["cases"][0]["targets"]}]
    assert not report._peers(content)


def test_peers_that_are_left_out(here, tmp_path, capsys):
    path = tmp_path / "result.json"
    here[cases.BY_HAND] = raises  # nobody asks for it
    chosen = ["--case", "depth1-f64", "--peers", "cupy-fused"]
    assert main([*SMALL, *chosen, "--output", str(path)]) == 0
    content = records.read(path)
    (case,) = content["cases"]
    rows = {row["contender"]: row for row in case["contenders"]}
    assert list(rows) == [OURS, "CuPy fused", *(n for n in cases._ALL[1:] if n != "CuPy fused")]
    assert rows["CuPy fused"]["ratio"] > 0
    assert {row["gap"] for name, row in rows.items() if name not in (OURS, "CuPy fused")} == {
        LEFT_OUT
    }
    assert {b["extra_info"]["contender"] for b in content["benchmarks"]} == {OURS, "CuPy fused"}
    printed = capsys.readouterr().out
    assert "| CuPy by hand | not measured: left out by --peers |" in printed
    assert "Left out by --peers: CuPy by hand (depth1-f64); PyTorch eager (depth1-f64);" in printed
    assert "must: 10x faster than CuPy by hand | none | not measured |" in printed


def test_ours_alone(here, tmp_path):
    path = tmp_path / "result.json"
    chosen = ["--case", "sweep64-f32", "--peers", "none"]
    assert main([*SMALL, *chosen, "--output", str(path)]) == 0
    (case,) = records.read(path)["cases"]
    timed = [row["contender"] for row in case["contenders"] if "gap" not in row]
    assert timed == [OURS, SINGLE_RUNS]


def test_sections_in_the_order_of_their_value(here, tmp_path, monkeypatch):
    """Whatever the order on the command line; and each is written before the next one begins."""
    path, seen = tmp_path / "result.json", []
    attempt = session.Session.attempt

    def noting(self, name, title, section):
        attempt(self, name, title, lambda: None)
        seen.append((name, records.read(path)["seconds"]))

    monkeypatch.setattr(session.Session, "attempt", noting)
    chosen = ["--case", "scan", "--case", "vast-f32", "--case", "ceilings", "--case", "depth1-f64"]
    assert main([*SMALL, *chosen, "--output", str(path)]) == 0
    assert [name for name, _ in seen] == ["ceilings", "depth1-f64", "scan", "vast-f32"]
    assert [seconds for _, seconds in seen] == sorted(seconds for _, seconds in seen)


@pytest.mark.parametrize(
    "different",
    [{"rounds": 3}, {"quick": True}, {"machine": MACHINE | {"versions": {"python": "3.13"}}}],
)
def test_parts_that_do_not_belong_together(different, tmp_path, capsys):
    paths = [tmp_path / f"{i}.json" for i in range(2)]
    for path, content in zip(paths, (part(), part(**different)), strict=True):
        records.write(content, path)
    assert merge.main([str(tmp_path / "out.json"), *map(str, paths)]) == 2
    assert "differ" in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()
