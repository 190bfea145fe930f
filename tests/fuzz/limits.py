"""What an example may cost."""

import contextlib
import os
import signal
import sys

SECONDS, MEGABYTES = 5.0, 500


class _Late(BaseException):
    """No Exception, which the code under test might take for damage to its file."""


def _late(*_):
    raise _Late


@contextlib.contextmanager
def bounded(seconds=SECONDS, megabytes=MEGABYTES):
    """Raise AssertionError after so much time of the CPU; allocations beyond the memory fail.

    Time of the CPU, since a busy machine makes nothing hang. For the main thread, between two
    instructions of Python; the memory is bounded on Linux alone.
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
