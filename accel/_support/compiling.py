"""What a user reads while kernels are compiled: what it is, how far it is, and how long it took.

Nothing is said where kernels come from the disk. A first run takes seconds for it, which would else
look like a run that hangs. A terminal has a line that goes on; elsewhere there is a line at the
beginning and one at the end.
"""

import contextlib
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from accel.kernels import compiling, specs
from accel.kernels.compiling import Compilation, Ended, Loaded, NotKept, Told
from accel.kernels.system import platforms

__all__ = ["announce", "described", "heard_by", "silenced", "simd", "stepping_aside"]

_log = logging.getLogger("accel")

_LOOP = "the training loop"
#: By the file that a kernel of the CPU is in.
_WHAT = {
    "advance": f"{_LOOP} of several threads",
    "solo": _LOOP,
    "stochastic": f"{_LOOP} of minibatches",
    "wide": f"{_LOOP} of many outputs",
    "epilogue": "the training step",
    "wide_pieces": "the training step of many outputs",
    "noise": "Langevin's noise",
    "lp_loss": "the pass over the data",
    "columns": "the pass over small data",
    "gram_pass": "the pass over X'X",
    "diagonal": "the pass over singular vectors",
    "curvature": "products with the Hessian",
    "factor_chain": "products of the factors",
    "entrywise": "diagonal networks",
    "batches": "the choice of batches",
    "updates": "the optimisers' steps",
    "precondition": "the end-to-end rule",
    "schedules": "schedules",
    "twofold": "dot products with twice the digits",
}
_REDRAWN = 0.2  # seconds between two drawings of the line
_USUAL_COLUMNS = 80  # of a terminal that does not tell
_INSTRUCTIONS = {64: "AVX-512", 32: "AVX"}


def simd() -> tuple[int, str | None]:
    """Return the bits of the vectors that the CPU's kernels are made of, and their name on x86."""
    from accel.kernels.cpu.processor import vector_bytes

    width: int = vector_bytes()
    return 8 * width, _INSTRUCTIONS.get(width) if platforms.x86() else None


def described(compilation: Compilation) -> str:
    """Return what is compiled, in words."""
    if compilation.backend == "cuda":
        return f"the CUDA kernel {compilation.kernel}"
    kernel, file = compilation.kernel, compilation.file
    what = _WHAT.get(file, f"the kernel {kernel}")
    if file == "lp_loss" and kernel.startswith("hessian"):
        what = "the Hessian of the loss"
    kinds = specs.RESIDUAL_KINDS + specs.MARGIN_KINDS + specs.COUPLED_KINDS
    kind = next((part for part in kernel.split("_") if part in kinds and part != "lp"), None)
    dtype = re.search(r"float(32|64)", kernel)
    bits, name = simd()
    facts = [kind and f"{kind} loss", dtype and dtype[0], name or f"{bits}-bit vectors"]
    return f"{what} for {', '.join(fact for fact in facts if fact)}"


_silenced = 0  # how many blocks are in ``silenced``


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """A context in which no thread says anything on stderr; the log has it."""
    global _silenced
    _silenced += 1
    try:
        yield
    finally:
        _silenced -= 1


_aside: tuple[Callable[[], object], Callable[[], object]] | None = None


@contextlib.contextmanager
def stepping_aside(away: Callable[[], object], back: Callable[[], object]) -> Iterator[None]:
    """A context for a bar on stderr: ``away`` and ``back`` are called around a compilation."""
    global _aside
    before, _aside = _aside, (away, back)
    try:
        yield
    finally:
        _aside = before


def _print(text: str, end: str = "\n") -> None:
    if _silenced:
        return
    with contextlib.suppress(OSError, ValueError):  # a stderr that is closed stops no run
        print(text, end=end, file=sys.stderr, flush=True)


def _say(text: str) -> None:
    _log.info(text)
    _print(f"accel: {text}")


def _on_terminal() -> bool:
    """Whether stderr is a terminal, and not caught on its way there, as by a bar of rich."""
    isatty = getattr(sys.stderr, "isatty", None)  # a process without a console has no stderr
    if isatty is None or sys.stderr is not sys.__stderr__:
        return False
    with contextlib.suppress(ValueError):  # it is closed
        return bool(isatty())
    return False


def _columns() -> int:
    with contextlib.suppress(OSError, ValueError):
        return os.get_terminal_size(sys.stderr.fileno()).columns or _USUAL_COLUMNS
    return _USUAL_COLUMNS


def _took(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"


_drawing = threading.Lock()  # held by the one line that there may be


class _Line:
    """The line that says how far a compilation is, and goes on until it is closed."""

    def __init__(self, compilation: Compilation, began: float) -> None:
        self._what = f"accel: compiling {described(compilation)}"
        self._functions, self._began = compilation.functions, began
        self._length, self._ended = 0, threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True, name="accel-compiling")
        self._thread.start()

    def _go_on(self) -> None:
        while not self._ended.is_set():
            self._show(f": {self._so_far()}")
            self._ended.wait(_REDRAWN)

    def _so_far(self) -> str:
        seconds = _took(time.perf_counter() - self._began)
        done, total = (0, 0) if self._functions is None else self._functions()
        if not total:
            return seconds
        return f"{f'{done} of {total} functions' if done < total else 'machine code'}, {seconds}"

    def _show(self, so_far: str) -> None:
        room = _columns() - 1 - len(so_far)  # a line that wraps cannot be taken back
        what = self._what
        if len(what) > room:
            what = f"{what[: max(room - 3, 0)]}..."
        line = what + so_far
        _print(f"\r{line:<{self._length}}", end="")
        self._length = len(line)

    def close(self) -> None:
        """Take the line away."""
        self._ended.set()
        self._thread.join()
        _print(f"\r{'':{self._length}}\r", end="")
        _drawing.release()


def _begin(compilation: Compilation) -> Ended:
    when = "it cannot be kept"
    if compilation.kept:
        when = compilation.why or "the first time on this machine"
    text, began = f"compiling {described(compilation)} ({when})", time.perf_counter()
    _log.info("%s ...", text)
    line, aside = None, _aside
    if aside is not None:
        aside[0]()
    if not _silenced and _on_terminal() and _drawing.acquire(blocking=False):
        line = _Line(compilation, began)
    else:
        _print(f"accel: {text} ...")

    def ended(success: bool) -> None:
        took = f"{'done in' if success else 'ended after'} {_took(time.perf_counter() - began)}"
        _log.info("... %s", took)
        if line is None:
            _print(f"accel: ... {took}")
        else:
            line.close()
            _print(f"accel: {text}: {took}")
        if aside is not None:
            aside[1]()

    return ended


def _not_kept(error: OSError) -> None:
    _say(f"... and could not be kept, so every process compiles it: {error}")


_hearers: tuple[Any, ...] = (_begin, _not_kept)


def heard_by(told: Told, not_kept: NotKept, loaded: Loaded) -> None:
    """Have nothing said from now on, and these called, which are as ``kernels/compiling`` says."""
    global _hearers
    _hearers = told, not_kept, loaded


def announce(backend: str) -> None:
    """Say so from now on when a kernel of this backend is compiled, to stderr and to the log.

    Parameters
    ----------
    backend : {"reference", "cpu", "cuda"}
    """
    if backend == "reference":
        return
    compiling.tell(*_hearers)
    if backend == "cpu":
        compiling.follow_numba()
