"""The threads of NumPy's BLAS, where a run has threads of its own beside them."""

import contextlib
import threading
from collections.abc import Iterator
from functools import cache
from typing import Any

__all__ = ["one_thread"]

_limiting = threading.Lock()  # held by the one thread that has set a limit


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
    limit is that of the whole process, and only the thread that has set it can lift it, as
    threadpoolctl has it since 3.8: while one is in the context, others are there without a limit of
    their own.
    """
    controller = _controller()
    if controller is None or not _limiting.acquire(blocking=False):
        yield
        return
    try:
        with controller.limit(limits=1, user_api="blas"):
            yield
    finally:
        _limiting.release()
