"""Calls in another thread, for which the main thread waits so that it can receive Ctrl-C."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

__all__ = ["Work"]

#: Seconds between two looks: a wait without limit misses signals that another thread received.
_PULSE = 0.05


class Work:
    """A call in a worker thread; Ctrl-C can interrupt the main thread's wait for its result.

    Unlike a ``Future`` it has no lock that both threads acquire: a second Ctrl-C right after the
    first can leave such a lock held, and the worker would wait for it forever.
    """

    def __init__(self, pool: ThreadPoolExecutor, function: Callable[[], Any]) -> None:
        self._function, self._released = function, threading.Lock()
        self._value: Any = None
        self._error: BaseException | None = None
        self._ended = False
        self._released.acquire()
        pool.submit(self._run)

    def _run(self) -> None:
        try:
            self._value = self._function()
        except BaseException as error:
            self._error = error
        self._ended = True
        self._released.release()

    def result(self) -> Any:
        """Wait for the call; return its value or raise its error."""
        while not self._ended:
            self._released.acquire(timeout=_PULSE)
        if self._error is not None:
            raise self._error
        return self._value
