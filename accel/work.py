"""How a Ctrl-C is heard: work in another thread, and what the main thread might miss."""

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["Work", "noticing"]

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


@contextmanager
def noticing() -> Iterator[Callable[[], bool]]:
    """Know of any Ctrl-C in the block.

    ``train`` ends a run at a Ctrl-C; one that comes when the run has ended by itself changes
    nothing in its result, but it must end the search that the run is a part of.

    Yields
    ------
    callable
        Returns whether there was one.
    """
    noticed, previous = False, signal.getsignal(signal.SIGINT)

    def notice(number: int, frame: FrameType | None) -> None:
        nonlocal noticed
        try:
            previous(number, frame)  # type: ignore[operator, misc]
        except KeyboardInterrupt:
            noticed = True
            raise

    main = threading.current_thread() is threading.main_thread()
    if not (main and callable(previous)):  # else it is ignored, or ends the process
        yield lambda: False
        return
    signal.signal(signal.SIGINT, notice)
    try:
        yield lambda: noticed
    finally:
        signal.signal(signal.SIGINT, previous)
