"""Who is told when a kernel is compiled, because neither the process nor the disk has it.

The CPU's kernels are compiled by Numba, which tells whoever listens, and those of CUDA by
``cuda/jit``, which asks here. How a user hears of it is set by ``tell``; without that nobody does.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

__all__ = ["Compilation", "Told", "follow_numba", "happening", "of_ours", "tell"]


class Compilation(NamedTuple):
    """What is compiled.

    Attributes
    ----------
    backend : {"cpu", "cuda"}
    file : str
        The file of the backend's folder that the kernel is defined in.
    kernel : str
        Its function's name and what that is specialised for, with ``_`` between.
    kept : bool
        Whether later processes will find it on the disk, if that can be written to.
    """

    backend: str
    file: str
    kernel: str
    kept: bool


Ended = Callable[[bool], None]  # called at the end, with whether that was a success
Told = Callable[[Compilation], Ended]


def _nobody(compilation: Compilation) -> Ended:
    return lambda success: None


_told: Told = _nobody
_thread = threading.local()


def tell(told: Told) -> None:
    """Set what is called when a compilation begins; what that returns is called when it ends."""
    global _told
    _told = told


@contextmanager
def happening(compilation: Compilation) -> Iterator[None]:
    """Tell of a compilation that the block is."""
    ended, success = _told(compilation), False
    try:
        yield
        success = True
    finally:
        ended(success)


@cache
def follow_numba() -> None:
    """Tell from now on of what Numba compiles of ``kernels/cpu``.

    What a kernel calls is compiled on the way, and not told of by itself.
    """
    from numba.core.event import Listener, register

    class Compilations(Listener):  # type: ignore[misc]
        def on_start(self, event: Any) -> None:
            under_way = vars(_thread).setdefault("under_way", [])
            what = None if under_way else of_ours(event.data["dispatcher"])
            under_way.append((None if what is None else _told(what), sys.exc_info()[1]))

        def on_end(self, event: Any) -> None:
            under_way = vars(_thread).get("under_way")
            if not under_way:  # it began before we listened
                return
            ended, handled = under_way.pop()
            if ended is not None:  # Numba's is_failed is true of what did not fail
                ended(sys.exc_info()[1] is handled)

    register("numba:compile", Compilations())


def of_ours(dispatcher: Any) -> Compilation | None:
    """Return what it is that a dispatcher of Numba's compiles; None if it is not a kernel."""
    function = dispatcher.py_func
    package, _, file = (function.__module__ or "").rpartition(".")  # generated code has none
    if package != f"{__package__}.cpu":
        return None
    kept = dispatcher._cache.cache_path is not None  # Numba's, or that of cpu/jit
    return Compilation("cpu", file, function.__qualname__.rpartition(".")[2], kept)
