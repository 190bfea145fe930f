"""How a Ctrl-C ends a compilation."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from numba.core.event import Listener, install_listener

from ..system.signals import interrupt_handler, interrupts_to

__all__ = ["held_within_passes"]


class _AtEveryPass(Listener):  # type: ignore[misc]
    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call

    def on_start(self, event: Any) -> None:
        self._call()

    def on_end(self, event: Any) -> None:
        pass


@contextmanager
def held_within_passes() -> Iterator[None]:
    """Hold a Ctrl-C back until the compiler begins its next pass, or the block ends.

    Raised at once, it could come while Numba registers what it knows, once a process, or while an
    object of LLVM's has two owners; and in a callback of LLVM's Python could raise it to nobody.
    """
    handler = interrupt_handler()
    if handler is None:
        yield  # no handler of Python's runs here
        return
    held: list[tuple[int, FrameType | None]] = []

    def release() -> None:
        if held:
            number, frame = held.pop()
            held.clear()
            handler(number, frame)

    try:
        with (
            interrupts_to(lambda number, frame: held.append((number, frame))),
            install_listener("numba:run_pass", _AtEveryPass(release)),
        ):
            yield
    finally:
        release()
