"""Who is told when a kernel is compiled, because neither the process nor the disk has it.

The CPU's kernels are compiled by Numba, which tells whoever listens, and those of CUDA by
``cuda/jit``, which asks here. How a user hears of it is set by ``tell``; without that nobody does.
Of the CPU's kernels is told as well that one came from the disk, or could not be kept there.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

__all__ = [
    "Compilation",
    "Ended",
    "Loaded",
    "NotKept",
    "Told",
    "alone",
    "compile_alone",
    "follow_numba",
    "happening",
    "loaded",
    "not_kept",
    "of_cpu",
    "of_kernel",
    "tell",
]


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
    why : str
        Why it is not on the disk; empty if it never was, or if that is not known.
    functions : callable or None
        Returns how many functions of the kernel are compiled, and how many there are in all; any
        thread may ask, while the compilation is under way. None if they are not counted.
    """

    backend: str
    file: str
    kernel: str
    kept: bool
    why: str = ""
    functions: Callable[[], tuple[int, int]] | None = None


Ended = Callable[[bool], None]  # called at the end, with whether that was a success
Told = Callable[[Compilation], Ended]
Loaded = Callable[[str, str], None]
NotKept = Callable[[OSError], None]


def _nobody(compilation: Compilation) -> Ended:
    return lambda success: None


_told: Told = _nobody
_loaded: Loaded | None = None
_not_kept: NotKept | None = None
_thread = threading.local()
_alone = False


def tell(told: Told, not_kept: NotKept | None = None, loaded: Loaded | None = None) -> None:
    """Set who is told.

    Parameters
    ----------
    told : callable
        Called when a compilation begins; what that returns is called when it ends.
    not_kept : callable, optional
        Called with the error if a kernel was compiled and could not be written to the disk.
    loaded : callable, optional
        Called with file and kernel, as in ``Compilation``, if one came from the disk.
    """
    global _told, _not_kept, _loaded
    _told, _not_kept, _loaded = told, not_kept, loaded


def not_kept(error: OSError) -> None:
    """Tell that the disk does not take the kernel that was compiled last."""
    if _not_kept is not None:
        _not_kept(error)


def loaded(function: Callable[..., Any]) -> None:
    """Tell that the kernel of a function came from the disk."""
    if _loaded is not None:
        _loaded(*of_cpu(function)[1:])


def of_cpu(function: Callable[..., Any]) -> tuple[str, str, str]:
    """Return package, file and kernel of a function that is compiled for the CPU."""
    package, _, file = (function.__module__ or "").rpartition(".")  # generated code has none
    return package, file, function.__qualname__.rpartition(".")[2]


def compile_alone() -> None:
    """Have this process compile all that it needs by itself, from now on."""
    global _alone
    _alone = True


def alone() -> bool:
    """Whether other processes are to compile nothing for this one."""
    return _alone


@contextmanager
def happening(compilation: Compilation) -> Iterator[None]:
    """Tell of a compilation that the block is."""
    ended, success = _told(compilation), False
    try:
        yield
        success = True
    finally:
        ended(success)


class _Functions:
    """The functions of a kernel that have to be compiled for it, and how many of them are.

    Those that Numba puts into others before it compiles do not count, and of two versions of one,
    for arguments of different types, only the first does.
    """

    def __init__(self, kernel: Any) -> None:
        self._waiting = {
            inner
            for inner in self._within(kernel, set())
            if not inner.overloads and inner.targetoptions.get("inline", "never") == "never"
        }
        self._total = len(self._waiting)

    def _within(self, dispatcher: Any, found: set[Any]) -> set[Any]:
        """Collect the compiled functions that one calls, and those that these call."""
        function = dispatcher.py_func
        known = function.__globals__
        named = [known[name] for name in function.__code__.co_names if name in known]
        for value in [*named, *(cell.cell_contents for cell in function.__closure__ or ())]:
            for each in value if isinstance(value, tuple) else (value,):
                if isinstance(each, type(dispatcher)) and each not in found:
                    found.add(each)
                    self._within(each, found)
        return found

    def ended(self, dispatcher: Any) -> None:
        """Count one that is compiled."""
        self._waiting.discard(dispatcher)

    def __call__(self) -> tuple[int, int]:
        return self._total - len(self._waiting), self._total


@cache
def follow_numba() -> None:
    """Tell from now on of what Numba compiles of ``kernels/cpu``.

    What a kernel calls is compiled on the way: it is counted, and not told of by itself.
    """
    from numba.core.event import Listener, register

    class Compilations(Listener):  # type: ignore[misc]
        def on_start(self, event: Any) -> None:
            under_way = vars(_thread).setdefault("under_way", [])
            ended = None
            if not under_way and (what := _of_ours(event.data["dispatcher"])) is not None:
                _thread.functions = what.functions
                ended = _told(what)
            under_way.append((ended, sys.exc_info()[1]))

        def on_end(self, event: Any) -> None:
            under_way = vars(_thread).get("under_way")
            if not under_way:  # it began before we listened
                return
            ended, handled = under_way.pop()
            if ended is not None:  # Numba's is_failed is true of what did not fail
                ended(sys.exc_info()[1] is handled)
            elif isinstance(functions := vars(_thread).get("functions"), _Functions):
                functions.ended(event.data["dispatcher"])
            if not under_way:
                _thread.functions = None

    register("numba:compile", Compilations())


def _of_ours(dispatcher: Any) -> Compilation | None:
    """Return what it is that a dispatcher of Numba's compiles; None if it is not a kernel."""
    if of_cpu(dispatcher.py_func)[0] != f"{__package__}.cpu":
        return None
    return of_kernel(dispatcher)._replace(functions=_Functions(dispatcher))


def of_kernel(dispatcher: Any) -> Compilation:
    """Return what it is that a dispatcher of a kernel compiles; its functions are not counted."""
    _, file, kernel = of_cpu(dispatcher.py_func)
    cache = dispatcher._cache  # Numba's, or that of cpu/jit
    why = getattr(cache, "why", "")
    kept = cache.cache_path is not None
    return Compilation("cpu", file, kernel, kept, why)
