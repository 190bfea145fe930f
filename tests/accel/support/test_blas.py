"""The threads of BLAS, which a run takes for itself for the time of a record."""

import threading

import numpy as np  # noqa: F401  loads its BLAS
import pytest

from accel._support import blas

threadpoolctl = pytest.importorskip("threadpoolctl")


def counts():
    pools = threadpoolctl.threadpool_info()
    return [pool["num_threads"] for pool in pools if pool["user_api"] == "blas"]


def release():
    """Let any thread set limits: since threadpoolctl 3.8 the one that has set one may alone."""
    for controller in threadpoolctl.ThreadpoolController().lib_controllers:
        getattr(controller, "clear_controlling_thread", lambda: None)()


@pytest.fixture
def before():
    """Two threads for every BLAS, wherever the test runs."""
    limits = threadpoolctl.threadpool_limits(2, "blas")
    release()
    yield counts()
    limits.restore_original_limits()
    release()


def test_it_has_one_within_and_as_many_as_before_after_that(before):
    assert 2 in before
    with blas.one_thread():
        assert counts() == [1] * len(before)
        with blas.one_thread():
            assert counts() == [1] * len(before)
        assert counts() == [1] * len(before)
    assert counts() == before
    with pytest.raises(ZeroDivisionError), blas.one_thread():
        raise ZeroDivisionError
    assert counts() == before


@pytest.mark.parametrize("first", [0, 1])
def test_threads_that_overlap_leave_as_many_as_there_were(before, first):
    inside, leave, left = ([threading.Event(), threading.Event()] for _ in range(3))
    done = threading.Event()

    def enter(me):
        with blas.one_thread():
            inside[me].set()
            leave[me].wait(60)
        left[me].set()
        done.wait(60)  # alive: what a thread has set goes on after its end

    threads = [threading.Thread(target=enter, args=(me,)) for me in range(2)]
    for me in range(2):
        threads[me].start()
        assert inside[me].wait(60)
    assert counts() == [1] * len(before)
    for me in (first, 1 - first):
        leave[me].set()
        assert left[me].wait(60)
    assert counts() == before
    with blas.one_thread():
        assert counts() == [1] * len(before)
    assert counts() == before
    done.set()
    for thread in threads:
        thread.join()


def test_without_threadpoolctl_nothing_is_limited(before, monkeypatch):
    monkeypatch.setattr(blas, "_controller", lambda: None)
    with blas.one_thread():
        assert counts() == before
