"""Every backend has what ``kernels.protocols`` says, with those arguments.

Of the reference's files mypy checks the types, too; what Numba compiles has none.
"""

import importlib
import importlib.util
import inspect
from typing import get_type_hints

import numpy as np
import pytest

from accel._support.backends import Backend
from accel.kernels import protocols
from accel.kernels.specs import Loss, ModelSpec

from .runs import PLAIN, problem

NAMES = ["reference", "cpu", "cuda"]
#: The protocol of each file of a backend.
FILES = {
    name: get_type_hints(file.fget)["return"]
    for name, file in vars(Backend).items()
    if isinstance(file, property)
}


def load(backend, file):
    """A file of a backend; CUDA's with a stand-in for CuPy where that is not installed."""
    if backend == "cuda":
        if importlib.util.find_spec("numba_cuda") is None:
            pytest.skip("not installed: numba-cuda")
        from .cuda import modules  # noqa: F401
    return importlib.import_module(f"accel.kernels.{backend}.{file}")


def functions(protocol):
    """The functions that a protocol asks for, by name."""
    return {
        name: function
        for name, function in vars(protocol).items()
        if inspect.isfunction(function) and not name.startswith("_")
    }


def arguments(function, *, bound):
    """Names and defaults of what a function takes, without self where that is not ``bound``."""
    parameters = list(inspect.signature(function).parameters.values())
    return [(p.name, p.default) for p in (parameters if bound else parameters[1:])]


def check(offered, asked, *, bound):
    """What is offered may take more arguments, if they can be left out."""
    given, wanted = arguments(offered, bound=bound), arguments(asked, bound=False)
    assert given[: len(wanted)] == wanted
    assert all(default is not inspect.Parameter.empty for _, default in given[len(wanted) :])


def test_the_files():
    assert set(FILES) == {
        "chunks", "curvature", "entrywise", "factor_chain", "loop", "lp_loss", "needs",
        "precondition", "twofold", "updates",
    }  # fmt: skip


@pytest.mark.parametrize("backend", NAMES)
@pytest.mark.parametrize("file", FILES)
def test_the_functions_of_a_file(backend, file):
    module, asked = load(backend, file), functions(FILES[file])
    assert asked
    for name, function in asked.items():
        check(getattr(module, name), function, bound=True)
    for name in vars(FILES[file]).get("__annotations__", {}):
        assert isinstance(getattr(module, name), bool)


@pytest.mark.parametrize("backend", NAMES)
def test_the_methods_of_a_loop(backend):
    loop = load(backend, "loop").TrainingLoop
    for name, function in functions(protocols.TrainingLoop).items():
        check(getattr(loop, name), function, bound=False)


def test_the_properties_of_a_loop_on_a_gpu():
    """Where there is none; a loop of every other backend is made below."""
    asked = {name for name, kind in vars(protocols.TrainingLoop).items()
             if isinstance(kind, property)}  # fmt: skip
    assert {"threads", "step", "active", "statuses", "steps"} == asked
    assert asked <= set(dir(load("cuda", "loop").TrainingLoop))


def test_a_loop_has_all_that_is_asked_for(kernels):
    case = problem(n=9, d=3, hidden=(2,))
    models = [ModelSpec(case.widths, case.params, PLAIN)]
    with kernels.loop.TrainingLoop(case.X, case.Y, Loss(4.0), models) as run:
        run.advance(3, record_every=1)
        assert run.threads == 1
        assert run.step == 3
        for numbers, dtype in ((run.active, int), (run.statuses, int), (run.steps, int)):
            assert numbers.dtype == dtype
            assert numbers.shape == (1,)
        assert run.evaluate().shape == (1, 4)
        snapshot = run.snapshot()
        assert isinstance(snapshot, protocols.Snapshot)
        assert snapshot.fates.tolist() == [[run.statuses[0], 3]]
        before = run.params(0)
        run.set_rate(0, PLAIN.hyper[0] / 2)
        run.advance(1)
        run.restore(snapshot)
        np.testing.assert_array_equal(run.params(0), before)
        copy = run.device_params(0)
        assert copy.shape == before.shape
        copy[...] = 0
        np.testing.assert_array_equal(run.params(0), before)
