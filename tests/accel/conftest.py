"""Fixtures: the gas data where available, stand-ins for kernels and a GPU, an empty folder."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import accel
from accel import LpProblem, optimum, standardize, train
from accel._support import gpu
from accel._support.backends import Backend
from accel.datasets import load_gas_ethanol
from accel.kernels.cuda import planning

from . import device
from .problems import PROBLEM, start

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "gas_ethanol.npz"


@pytest.fixture(scope="session")
def gas():
    """X (2565, 128) and y (2565,), zero mean and unit variance, float64."""
    path = os.environ.get("ACCEL_DATA") or SHARED
    if not Path(path).exists():
        pytest.skip("the gas data is neither at ACCEL_DATA nor at ../shared/data")
    data = load_gas_ethanol(path)
    return standardize(data.X, data.y)


@pytest.fixture(scope="session")
def gas_l4(gas):
    """The l4 problem of the paper's figures and its optimal loss."""
    problem = LpProblem(gas.X, gas.y, p=4)
    return problem, optimum(problem).loss


@pytest.fixture
def scripted(monkeypatch):
    """A function that trains with a scripted loop in the place of a kernel."""

    def run(made, steps, **arguments):
        class Kernels(Backend):
            loop = SimpleNamespace(TrainingLoop=made)

        monkeypatch.setattr(LpProblem, "resolve", lambda *given, **work: Kernels("reference"))
        return train(PROBLEM, start(), accel.GradientDescent(1.0), steps, **arguments)

    return run


@pytest.fixture
def gpu_stand_in(monkeypatch):
    """Stand-ins for a GPU, CuPy and the CUDA kernels."""
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)
    monkeypatch.setattr(gpu, "_device_or_reason", lambda: device.GPU)
    monkeypatch.setitem(sys.modules, "cupy", device.make_cupy())
    for name, module in device.make_kernels().items():
        monkeypatch.setitem(sys.modules, f"accel.kernels.cuda.{name}", module)


@pytest.fixture(autouse=True)
def planned(request, monkeypatch):
    """Where kernels are only planned, tests of a GPU run with stand-ins and real plans."""
    if planning.DEVICE and request.node.get_closest_marker("gpu"):
        monkeypatch.setattr(gpu, "_device_or_reason", lambda: device.GPU)
        monkeypatch.setitem(sys.modules, "cupy", device.make_cupy())
        for kernels, name, stand_in in device.plan_kernels():
            monkeypatch.setattr(kernels, name, stand_in)


@pytest.fixture
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path
