"""Kernels that are compiled at the same time, in several processes.

Numba compiles one kernel after the other within a process. A run whose loop and pieces are all
missing from the disk has others compiled by processes of their own, which leave them there, while
this one compiles the loop. What they fail to do is done here.
"""

import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from ..compiling import alone, happening, of_kernel
from ..system.cpus import cpus
from .jit import is_kept
from .pieces import Piece

__all__ = ["compile_together"]

#: What another process runs: it reads where to import from, and pieces to compile.
_COMPILE = """
import pickle, sys
sys.path[:] = pickle.load(sys.stdin.buffer)
for make, arguments, options in pickle.load(sys.stdin.buffer):
    make(*arguments, **options).address
"""


def compile_together(kernel: Any, arguments: tuple[Any, ...], pieces: Sequence[Piece]) -> None:
    """Compile a kernel for such arguments, and the pieces, if two or more of them are missing.

    Else nothing is done: they are compiled, or loaded, when they are called.
    """
    signature = tuple(kernel.typeof_pyval(argument) for argument in arguments)
    missing = [piece for piece in pieces if not piece.is_kept()]
    own: Callable[[], Any]
    if is_kept(kernel, signature):
        own, others = (lambda: missing[0].address), missing[1:]
    else:
        own, others = (lambda: kernel.compile(signature)), missing
    others = [piece for piece in others if piece.recipe is not None]
    if not others or not _has_processes(kernel):
        return
    # The first ones take longest.
    count = min(len(others), cpus() - 1)
    with ExitStack() as stack:
        for i in range(count):
            stack.enter_context(_Process(others[i::count]))
        own()


def _has_processes(kernel: Any) -> bool:
    """Whether there is a Python to run, a processor for it, and a disk that both can read."""
    kept = getattr(kernel._cache, "cache_path", None) is not None
    frozen = getattr(sys, "frozen", False) or not sys.executable
    several = cpus() > 1 and not alone()
    return kept and not frozen and several and Path(sys.executable).stem.startswith("py")


class _Process:
    """A process that compiles pieces, if one can be started; it is over when the block is."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = pieces
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> None:
        with suppress(OSError):  # what is not compiled there is compiled here
            self._start()

    def _start(self) -> None:
        nothing = subprocess.DEVNULL
        self._child = subprocess.Popen(
            [sys.executable, "-c", _COMPILE], stdin=subprocess.PIPE, stdout=nothing, stderr=nothing
        )
        recipes = [piece.recipe for piece in self._pieces]
        assert self._child.stdin is not None
        with self._child.stdin as stream:
            stream.write(pickle.dumps(sys.path) + pickle.dumps(recipes))

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if self._child is None:
            return
        if kind is not None:
            self._child.kill()
        elif self._child.poll() is None:  # only now does anybody wait for it
            with happening(of_kernel(self._pieces[0].dispatcher)):
                self._child.wait()
        self._child.wait()
