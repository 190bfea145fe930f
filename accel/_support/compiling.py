"""What a user reads while kernels are compiled: what it is, and how long it took.

Nothing is said where kernels come from the disk. A first run takes seconds for it, which would else
look like a run that hangs.
"""

import contextlib
import logging
import re
import sys
import time
from collections.abc import Iterator

from accel.kernels import compiling, specs
from accel.kernels.compiling import Compilation, Ended
from accel.kernels.system import platforms

__all__ = ["announce", "described", "silenced", "simd"]

_log = logging.getLogger("accel")

_LOOP = "the training loop"
#: By the file that a kernel of the CPU is in. The first three take longest.
_WHAT = {
    "advance": _LOOP,
    "solo": _LOOP,
    "stochastic": f"{_LOOP} of minibatches",
    "wide": f"{_LOOP} of many outputs",
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
_LONG = ("advance", "solo", "stochastic", "wide")
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


def _say(text: str) -> None:
    _log.info(text)
    if _silenced:
        return
    with contextlib.suppress(OSError, ValueError):  # a stderr that is closed stops no run
        print(f"accel: {text}", file=sys.stderr, flush=True)


def _begin(compilation: Compilation) -> Ended:
    about = ""
    if compilation.backend == "cpu":
        about = "; 10 to 20 s if nothing else runs" if compilation.file in _LONG else "; seconds"
    when = "the first time on this machine" if compilation.kept else "it cannot be kept"
    _say(f"compiling {described(compilation)} ({when}{about}) ...")
    began = time.perf_counter()

    def ended(success: bool) -> None:
        seconds = time.perf_counter() - began
        took = f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
        _say(f"... {'done in' if success else 'ended after'} {took}")

    return ended


def announce(backend: str) -> None:
    """Say so from now on when a kernel of this backend is compiled, to stderr and to the log.

    Parameters
    ----------
    backend : {"reference", "cpu", "cuda"}
    """
    if backend == "reference":
        return
    compiling.tell(_begin)
    if backend == "cpu":
        compiling.follow_numba()
