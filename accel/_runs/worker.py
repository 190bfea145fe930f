"""Work in another thread, while the main thread stays free to take a Ctrl-C."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

__all__ = ["Work"]

_PULSE = 0.05  # seconds; a wait without a limit sees no signal that another thread received


class Work:
    """A call in a worker thread, for which the main thread waits so that a Ctrl-C can end the wait.

    Unlike a ``Future`` it has no lock that both threads acquire: a second Ctrl-C on the heels of
    the first can leave such a lock held, and the worker waiting for it for ever.
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
        """Wait, and return or raise what the call did."""
        while not self._ended:
            self._released.acquire(timeout=_PULSE)
        if self._error is not None:
            raise self._error
        return self._value
