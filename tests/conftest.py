"""How Hypothesis runs, and a pytest in a test; ``gpu`` tests run where there is one, or skip."""

import signal

import pytest
from hypothesis import settings

from accel import gpu

from . import children

# Before any test is read, so that it holds for all: no deadline, since a busy machine misses any.
settings.register_profile("accel", derandomize=True, deadline=None, max_examples=150)
settings.load_profile("accel")

# A shell starts what it puts into the background with Ctrl-C ignored, children included.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config):
    children.WARNINGS[:] = config.getoption("pythonwarnings") or []


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu"):
        reason = "NUMBA_ENABLE_CUDASIM is set" if gpu.simulated() else gpu.missing()
        if reason:
            pytest.skip(reason)
