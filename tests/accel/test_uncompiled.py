"""Where Numba may not compile (to debug, to measure coverage), the package runs the reference."""

import warnings

import pytest
from numba.core import config

import accel
from accel._reports import machine
from accel._support import backends
from accel._support.backends import resolve, unavailable
from accel.kernels.cpu.jit import entry

from ..children import python
from .problems import PROBLEM, start


@pytest.fixture
def uncompiled(monkeypatch):
    monkeypatch.setattr(config, "DISABLE_JIT", 1)
    backends._warn_uncompiled.cache_clear()
    yield
    backends._warn_uncompiled.cache_clear()


@pytest.mark.parametrize("backend", ["auto", "cpu"])
def test_a_run_is_the_reference_s_with_one_warning(uncompiled, backend):
    with pytest.warns(RuntimeWarning, match="NUMBA_DISABLE_JIT is set.*reference") as caught:
        results = [
            accel.train(PROBLEM, start(), accel.Adam(0.1), 20, backend=backend) for _ in range(2)
        ]
    assert len(caught) == 1
    assert [result.backend for result in results] == ["reference"] * 2
    expected = accel.train(PROBLEM, start(), accel.Adam(0.1), 20, backend="reference")
    assert results[0].loss == results[1].loss == expected.loss


def test_whoever_asks_for_the_reference_is_not_warned(uncompiled):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert resolve("reference").name == "reference"


def test_cpu_is_unavailable(uncompiled, monkeypatch):
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)
    monkeypatch.setattr(backends.gpu, "missing", lambda: "no driver")
    assert "NUMBA_DISABLE_JIT" in unavailable()["cpu"]
    told = machine.facts()["kernels"]["backends"]
    assert told == "reference (not cpu: NUMBA_DISABLE_JIT is set: the reference takes its place)"


def test_a_kernel_called_nevertheless_says_why_it_does_not_run(uncompiled):
    with pytest.raises(RuntimeError, match=r"NUMBA_DISABLE_JIT.*backend='reference'"):

        @entry("never")
        def never(x):
            return x


def test_0_is_no_ban(monkeypatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "0")
    assert resolve().name == "cpu"


CHILD = """
import importlib.util
import numpy as np
import accel

rng = np.random.default_rng(0)
X = rng.standard_normal((30, 3))
y = X @ [1.0, 2.0, 3.0] + rng.standard_normal(30)
problem = accel.LpProblem(X, y, p=4)
network = accel.LinearNetwork.for_problem(problem, 2)
problem.loss(np.zeros(3))
accel.optimum(problem)
rule = accel.GradientDescent(0.01)
for learning_rate in (None, "auto"):
    run = accel.train(problem, network, rule, 20, learning_rate=learning_rate)
    assert run.backend == "reference"
assert accel.sweep(problem, [(network, rule)] * 2, 20)[0].backend == "reference"
assert accel.grid_search(problem, network, rule, 20).best.backend == "reference"
if importlib.util.find_spec("sklearn"):
    from accel.sklearn import LpRegressor

    for solver in ("auto", "gradient", "end_to_end"):
        LpRegressor(p=4, solver=solver, tol=1e-3).fit(X, y)
"""


def from_variable(code, folder):
    return python("-c", code, code=None, cwd=folder, NUMBA_DISABLE_JIT="1")


def from_file(code, folder):
    pytest.importorskip("yaml")
    (folder / ".numba_config.yaml").write_text("disable_jit: 1\n")
    return python("-c", code, code=None, cwd=folder)


@pytest.mark.parametrize("run", [from_variable, from_file])
def test_the_library_works_and_says_so_once(run, tmp_path):
    done = run(CHILD, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("RuntimeWarning: NUMBA_DISABLE_JIT is set") == 1


def test_the_command_works_and_says_so_in_a_line(tmp_path):
    pytest.importorskip("typer")
    pytest.importorskip("matplotlib")
    small = ["ill-conditioned:n=40,d=3,condition=10", "--steps", "30", "--quiet"]
    done = python("-m", "accel", "train", *small, cwd=tmp_path, NUMBA_DISABLE_JIT="1")
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("accel: NUMBA_DISABLE_JIT is set")
