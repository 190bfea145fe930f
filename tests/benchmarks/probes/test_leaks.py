"""A few hundred short runs; ``python -m benchmarks probes leaks`` makes 10 000 of each kind."""

import os

import pytest

from benchmarks.probes import leaks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc"),
]


@pytest.mark.parametrize("name", leaks.calls())
@pytest.mark.filterwarnings("ignore:tol=")  # of the estimator: it need not get anywhere here
def test_runs_leave_nothing_behind(name):
    before, after = leaks.growth(leaks.calls()[name], runs=300, warm_up=100)
    assert after.bytes - before.bytes < 2 * 2**20
    assert after[1:] == before[1:]
