"""Ctrl-C: who hears it, and who hears it in the meantime.

Python has SIGINT on all three systems, and handles it in the main thread. Nothing here masks
signals, which Windows cannot do.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = [
    "Handler",
    "end_at_interrupts",
    "ignore_interrupts",
    "interrupt_handler",
    "interrupts_to",
]

Handler = Callable[[int, FrameType | None], object]


def interrupt_handler() -> Handler | None:
    """Return what a Ctrl-C calls.

    Returns
    -------
    callable or None
        None in a thread other than the main one, and if it is ignored or ends the process at once.
    """
    if threading.current_thread() is not threading.main_thread():
        return None
    handler = signal.getsignal(signal.SIGINT)
    return handler if callable(handler) else None


@contextmanager
def interrupts_to(handler: Handler) -> Iterator[None]:
    """Have a Ctrl-C in the block call this; for the main thread alone."""
    previous = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def end_at_interrupts() -> None:
    """Have every Ctrl-C from now on end this process at once, without a word."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def ignore_interrupts() -> None:
    """Ignore every Ctrl-C from now on, which the process that started this one hears as well."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
