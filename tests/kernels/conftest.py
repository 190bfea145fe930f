"""The one table of backends, and how the kernel tests reach them."""

import importlib

import numpy as np
import pytest

from accel._support import gpu
from accel.kernels.cuda import planning

BACKENDS = ["reference", "cpu"]
if planning.DEVICE or (gpu.missing() is None and not gpu.simulated()):
    BACKENDS.append(pytest.param("cuda", marks=pytest.mark.gpu))
FILES = {
    "lp_loss", "factor_chain", "curvature", "updates", "precondition", "loop", "chunks", "twofold",
    "needs", "entrywise",
}  # fmt: skip


class Kernels:
    """A backend's files as attributes, imported when first asked for."""

    def __init__(self, backend):
        self.backend = backend

    def __getattr__(self, file):
        if file not in FILES:
            raise AttributeError(file)
        if self.backend == "cuda" and planning.DEVICE:
            from .planning import Chunks, Module

            return Chunks() if file == "chunks" else Module(file)
        return importlib.import_module(f"accel.kernels.{self.backend}.{file}")


@pytest.fixture(params=BACKENDS, scope="session")
def kernels(request):
    """Every backend, for tests with an oracle of their own."""
    return Kernels(request.param)


@pytest.fixture(params=BACKENDS[1:], scope="session")
def compiled(request):
    """Every backend but plain NumPy, for tests that hold it to plain NumPy."""
    return Kernels(request.param)


@pytest.fixture(scope="session")
def plain():
    return Kernels("reference")


@pytest.fixture
def many_ranks(monkeypatch):
    """On the CPU as many ranks as a test asks for, and a team however little there is to do."""
    monkeypatch.setattr("accel.kernels.cpu.loop.cpus", lambda: 5)
    monkeypatch.setattr("accel.kernels.cpu.loop._WORK_PER_PART", 1)


@pytest.fixture(scope="session")
def lay_out():
    """``lay_out(array, layout)``: the same 2-D array, differently placed in memory."""

    def lay_out(array, layout):
        rows, columns = array.shape
        if layout == "strided":
            room = np.full((2 * rows, 3 * columns), np.nan, array.dtype)
            placed = room[1::2, ::3]
        elif layout == "reversed":
            placed = np.empty_like(array)[::-1, ::-1]
        else:
            placed = np.empty_like(array, order=layout)
        placed[...] = array
        return placed

    return lay_out
