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

from ..compiling import Compilation, alone, happening, of_kernel
from ..system.cpus import cpus
from .jit import is_kept
from .pieces import Piece

__all__ = ["compile_together"]

#: Seconds that this process waits for another one, once it has nothing else to compile.
_LIMIT = 120
#: What another process runs: it reads where to import from, and pieces to compile. It ends at once
#: where its input does, which this process keeps open: also if this one is killed.
_COMPILE = """
import os, pickle, sys, threading
sys.path[:] = pickle.load(sys.stdin.buffer)
pieces = pickle.load(sys.stdin.buffer)
threading.Thread(target=lambda: os.read(0, 1) or os._exit(1), daemon=True).start()
for make, arguments, options in pieces:
    make(*arguments, **options).address
"""


def compile_together(
    kernel: Any, arguments: tuple[Any, ...], pieces: Sequence[Piece], threads: int
) -> None:
    """Compile a kernel for such arguments, and the pieces, if two or more of them are missing.

    Else nothing is done: they are compiled, or loaded, when they are called. There are no more
    processes than ``threads``, this one included.
    """
    missing = [piece for piece in pieces if not piece.is_kept()]
    if not missing:
        return
    signature = tuple(kernel.typeof_pyval(argument) for argument in arguments)
    own: Callable[[], Any]
    if is_kept(kernel, signature):
        own, others = (lambda: missing[0].address), missing[1:]
    else:
        own, others = (lambda: kernel.compile(signature)), missing
    count = min(len(others), threads - 1, cpus() - 1)
    if count < 1 or not _has_processes(kernel):
        return
    with ExitStack() as stack:
        for i in range(count):  # the first ones take longest
            stack.enter_context(_Process(others[i::count]))
        own()


def _has_processes(kernel: Any) -> bool:
    """Whether there is a Python to run, and a disk that both can read."""
    kept = getattr(kernel._cache, "cache_path", None) is not None
    frozen = getattr(sys, "frozen", False) or not sys.executable
    return kept and not frozen and not alone() and Path(sys.executable).stem.startswith("py")


class _Failed(Exception):
    """The other process did not compile what it was to."""


class _Process:
    """A process that compiles pieces, if one can be started; it is over when the block is."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = pieces
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> None:
        work = pickle.dumps([str(place) for place in sys.path])
        work += pickle.dumps([piece.recipe for piece in self._pieces])
        nothing = subprocess.DEVNULL
        with suppress(OSError):  # what is not compiled there is compiled here
            self._child = subprocess.Popen(
                # -P: nothing is imported from the current folder.
                [sys.executable, "-P", "-c", _COMPILE],
                stdin=subprocess.PIPE,
                stdout=nothing,
                stderr=nothing,
            )
            assert self._child.stdin is not None
            self._child.stdin.write(work)
            self._child.stdin.flush()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if self._child is None:
            return
        try:
            if kind is None and self._child.poll() is None:  # only now does anybody wait for it
                with suppress(_Failed, subprocess.TimeoutExpired), happening(self._told()):
                    if self._child.wait(_LIMIT):
                        raise _Failed
        finally:
            self._child.kill()
            self._child.communicate()  # waits for it, and closes its input

    def _told(self) -> Compilation:
        return of_kernel(self._pieces[0].dispatcher)._replace(why="in another process")
