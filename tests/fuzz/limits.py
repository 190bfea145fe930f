"""Limits of the time and memory of an example."""

import contextlib
import os
import signal
import sys

SECONDS, MEGABYTES = 5.0, 500


class _Late(BaseException):
    """A BaseException, since the code under test may catch an Exception as damage to its file."""


def _late(*_):
    raise _Late


@contextlib.contextmanager
def bounded(seconds=SECONDS, megabytes=MEGABYTES):
    """Raise AssertionError after so much time of the CPU; allocations beyond the memory fail.

    Time of the CPU, so that a busy machine makes no difference. It is raised in the main thread,
    between two Python instructions; the memory is bounded on Linux only.
    """
    before = signal.signal(signal.SIGPROF, _late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        with _memory(megabytes):
            yield
    except _Late:
        raise AssertionError(f"not done after {seconds:g} s") from None
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextlib.contextmanager
def _memory(megabytes):
    if sys.platform != "linux":
        yield
        return
    import resource

    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 2**20, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
