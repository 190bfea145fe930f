"""Every group runs and leaves what it promises, on tiny data, whatever peers are missing."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.groups.scaling.measure import slope
from benchmarks.harness import records, suite
from benchmarks.harness.registry import DEFAULT, GROUPS, Settings, estimate

from ...children import ROOT, python

# In an interpreter of its own, since numba keeps threads after which no later test could fork; and
# with torch, JAX and optax missing, wherever the tests run.
SCRIPT = """
import importlib.util, sys
from dataclasses import replace
from pathlib import Path

real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: (
    None if name in ("torch", "jax", "optax") else real(name, package)
)

from benchmarks.__main__ import pin

pin(1)  # a team of two would wait for each other wherever something else is running

from accel.tuning import Model
from benchmarks.groups.scaling import memory, measure as scaling
from benchmarks.groups import matrix, startup, step, targets
from benchmarks.groups.recording import measure as recording
from benchmarks.harness import suite
from benchmarks.groups.convergence import methods, problems
from benchmarks.harness.registry import GROUPS, Settings

tiny = dict(data="60x7", steps=5)
targets.CASES = tuple(replace(targets.CASES[i], **tiny) for i in (0, -1))
step.CASES = tuple(replace(case, **tiny) for case in (step.CASES[0], step._case(data="442x10x10")))
matrix.QUICK, matrix.TRIAL_SECONDS = matrix.QUICK[:2], 0.001
recording.CASES = recording.CASES[1:]
scaling.series = lambda threads: (
    scaling.Series("depth", "tiny", 0.0, "why", (1, 2, 3)),
    scaling.Series("threads", "tiny", -1.0, "why", (1,)),
)
memory._CHILD = memory._CHILD.replace("1000, d", "100, d")
problems.QUICK_NAMES = ("diabetes",)
methods.QUICK_MODELS = (Model("gd", 1), Model("adam", 2), Model("end-to-end", 2))
startup.PEERS = ("numpy", "torch")
startup.first_train = lambda quick: (
    startup.Startup("first train, cold cache", (31.0,), 30.0),
    startup.Startup("first train, warm cache: more than a later", (0.5, 0.7, 0.6), 1.0),
)
startup.first_table = lambda quick: ()
settings = Settings(quick=True, rounds=2, seconds=0.0005)
suite.run(list(GROUPS), settings, Path(sys.argv[1]), resume=False)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("report")
    done = python("-c", SCRIPT, made, cwd=ROOT, limit=300)
    (made / "stdout").write_text(done.stdout)
    return made


@pytest.mark.slow  # some ten seconds for all groups together
@pytest.mark.parametrize("name", GROUPS)
def test_its_record(name, folder, capsys):
    content = records.read(folder / f"{name}.json")
    assert content["group"] == name
    assert content["quick"]
    assert content["benchmarks"]
    assert all(min(b["stats"]["data"]) > 0 for b in content["benchmarks"])
    fullnames = [b["fullname"] for b in content["benchmarks"]]
    assert len(set(fullnames)) == len(fullnames)
    assert main(["table", str(folder / f"{name}.json")]) == 0
    assert "|---" in capsys.readouterr().out


@pytest.mark.slow
def test_missing_peers_are_named_gaps(folder):
    text = (folder / "report.md").read_text()
    for library in ("torch", "jax"):
        assert f"{library} is not installed" in text
    assert "JAX by hand (jax is not installed)" in text  # of a step
    assert "JAX (jax is not installed)" in text  # of a step of square matrices
    assert "JAX at p = 4 (jax is not installed)" in text  # of records
    assert "Not measured: PyTorch: torch is not installed (gd, depth 1, adam, depth 2)" in text
    assert "| import torch | torch is not installed |" in text
    assert "the end-to-end rule is in no other library" in text


@pytest.mark.slow
def test_the_pages(folder):
    text, made = ((folder / name).read_text() for name in ("report.md", "report.html"))
    for group in GROUPS.values():
        assert f"## {group.title}" in text
        assert f"<h2>{group.title}</h2>" in made
    assert made.count("data:image/svg+xml") == 2
    assert "about 4 minutes: targets, step" in (folder / "stdout").read_text()


@pytest.mark.slow
def test_convergence(folder):
    content = records.read(folder / "convergence.json")
    problem = content["problems"][0]
    rows = {(row["library"], row["method"]): row for row in problem["rows"]}
    ours = rows["accel", "gd, depth 1"]
    assert problem["name"] == "diabetes-p2"
    assert list(ours["reached"]) == ["0.1", "0.01", "0.001"]
    times = [arrival["seconds"] for arrival in ours["reached"].values()]
    assert times == sorted(times)
    assert [len(arrival["samples"]) for arrival in ours["reached"].values()] == [2, 2, 2]
    assert ours["grid_seconds"] > 0
    distances = [distance for _, distance in ours["curve"]]
    assert distances[-1] <= 1e-3 < distances[0]
    solvers = {name for library, name in rows if library == "solver"}
    assert "scikit-learn SGDRegressor" in solvers
    assert "0.001" in rows["solver", "scikit-learn LinearRegression"]["reached"]
    names = [b["name"] for b in content["benchmarks"]]
    assert "accel: adam, depth 2" in names


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells its peak")
def test_memory(folder):
    rows = records.read(folder / "scaling.json")["memory"]
    on_boundary, elsewhere, _ = (row["ratio"] for row in rows)
    assert 0 <= on_boundary < 0.3
    assert 0.9 < elsewhere < 1.3


@pytest.mark.slow
def test_what_is_kept(folder, monkeypatch, capsys):
    before = {path: path.read_bytes() for path in folder.glob("*.json")}

    def measure(settings):
        raise AssertionError("measured again")

    monkeypatch.setattr(GROUPS["targets"].functions, "measure", measure)
    monkeypatch.setattr(suite.machine, "peer_threads", lambda: 1)
    suite.run(["targets"], Settings(quick=True), folder, resume=True)
    assert "kept: " in capsys.readouterr().out
    assert {path: path.read_bytes() for path in folder.glob("*.json")} == before
    with pytest.raises(AssertionError, match="measured again"):  # the full form is another one
        suite.run(["targets"], Settings(quick=False), folder, resume=True)


def test_slopes():
    values, noise = np.array([1.0, 2.0, 8.0]), np.array([1.0, 1.1, 0.9])
    seconds = 3e-6 * values[:, None] ** 1.5 * noise
    np.testing.assert_allclose(slope(values, seconds), 1.5)
    assert not len(slope(values[:1], seconds[:1]))


def test_the_estimate():
    assert estimate(DEFAULT, quick=False) <= 28
    on_request = {name: group for name, group in GROUPS.items() if group.on_request}
    assert set(on_request) == {"matrix", "recording"}
    assert all(group.minutes <= 7 for group in on_request.values())
    assert all(group.quick_minutes < 1.5 for group in GROUPS.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["steps"], "unknown group steps; known: targets, step, scaling"),
        (["--case", "depth9"], "unknown case depth9; known: "),
        (["convergence", "--backend", "cuda"], "no benchmarks of the GPU"),
    ],
)
def test_what_is_refused(arguments, message, monkeypatch, capsys):
    from benchmarks import __main__ as command
    from benchmarks.groups import gpu

    monkeypatch.setattr(command, "pin", lambda threads: None)
    monkeypatch.setattr(command.machine, "restart_without_override", lambda: None)
    monkeypatch.setattr(gpu, "reason", lambda: "no NVIDIA driver")
    try:
        code = main(arguments)
    except SystemExit as exit:
        code = exit.code
    assert code == 2
    assert message in capsys.readouterr().err
