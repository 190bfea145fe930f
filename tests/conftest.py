"""Tests marked ``gpu`` run where there is one; elsewhere they are skipped with the reason."""

import pytest

from accel import gpu


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu"):
        reason = "NUMBA_ENABLE_CUDASIM is set" if gpu.simulated() else gpu.missing()
        if reason:
            pytest.skip(reason)
