"""How Hypothesis runs, and a pytest in a test; ``gpu`` tests run where there is one, or skip.

Where kernels are planned (``accel.kernels.cuda.planning``), they run as well.
"""

import os
import signal

# Workers are as many as there are cores. With more threads than cores BLAS waits in loops, so that
# small products take ten times as long. It looks here when NumPy loads it, which is below.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings

from accel import GradientDescent, LinearNetwork, LpProblem, train
from accel._support import gpu
from accel.kernels.cuda import planning

from . import children

# Before any test is read, so that it holds for all: no limits of time, since a busy machine, or one
# that is emulated, misses any.
# On a GPU a failure is not shrunk: each shape that is tried has a kernel to be compiled.
on_gpu = planning.DEVICE or gpu.missing() is None
phases = [phase for phase in Phase if phase is not Phase.shrink or not on_gpu]
settings.register_profile(
    "accel", derandomize=True, deadline=None, max_examples=150, phases=phases,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
settings.load_profile("accel")

# A shell starts what it puts into the background with Ctrl-C ignored, children included.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config):
    children.WARNINGS[:] = config.getoption("pythonwarnings") or []


#: Files with tests of minutes: these run first, so that in the end no worker waits for another.
LONGEST = ("test_processes.py", "test_cuda.py", "test_widths.py")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="session", autouse=True)
def compiled_once(request):
    """Where workers run the whole suite, each begins with other kernels, not all with the same."""
    worker = getattr(request.config, "workerinput", None)
    if worker is None or request.session.testscollected < 3000:
        return
    number = int(worker["workerid"].removeprefix("gw"))
    kinds = [(dtype, d) for dtype in ("f8", "f4") for d in (3, 64)]  # and vectors of two lengths
    for dtype, d in kinds[number :: worker["workercount"]]:
        network = LinearNetwork((d, 1), dtype=dtype)
        for n, threads in ((8, 1), (20_000, 1), (20_000, 2)):  # each has a loop of its own
            problem = LpProblem(np.ones((n, d)), np.ones(n), p=4, dtype=dtype)
            train(problem, network, GradientDescent(1e-9), 1, threads=threads, backend="cpu")
        problem.loss(np.zeros(d, dtype), backend="cpu")


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu") and not planning.DEVICE:
        reason = "NUMBA_ENABLE_CUDASIM is set" if gpu.simulated() else gpu.missing()
        if reason:
            pytest.skip(reason)
