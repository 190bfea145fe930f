"""The threads of NumPy's BLAS, where a run has threads of its own beside them."""

import contextlib
import threading
from collections.abc import Iterator
from functools import cache
from typing import Any

__all__ = ["one_thread"]

_lock = threading.Lock()
_within = 0  # how many threads are in the context
_limit: Any = None


@cache
def _controller() -> Any:
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return ThreadpoolController()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """A context in which BLAS takes one thread, if threadpoolctl is installed; scikit-learn has it.

    After a call the threads of OpenBLAS look out for the next one for some milliseconds, which they
    take from the steps of a run. The decomposition of a small matrix is no faster with them. The
    limit is that of the whole process; where several threads are in the context, the last that
    leaves it lifts the limit.
    """
    global _within, _limit
    if _controller() is None:
        yield
        return
    with _lock:
        if not _within:
            _limit = _controller().limit(limits=1, user_api="blas")
        _within += 1
    try:
        yield
    finally:
        with _lock:
            _within -= 1
            if not _within:
                _limit.restore_original_limits()
