"""How compiled code waits: it tells the processor, gives up its turn, or sleeps.

The functions are the system's own, which the linker finds by name. Those of Windows are told to it
first, for kernels that are compiled as for those that come from the disk.
"""

import ctypes
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from . import platforms

__all__ = ["nap", "pause", "sleep", "tell_linker", "yield_processor"]

_YIELD, _SLEEP = ("SwitchToThread", "Sleep") if platforms.windows() else ("sched_yield", "usleep")


def tell_linker(library: Any, *names: str) -> None:
    """Tell LLVM's linker where functions of a library that ctypes has loaded lie."""
    for name in names:
        address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value
        llvm.add_symbol(name, address)


if platforms.windows():
    tell_linker(platforms.kernel32(), _YIELD, _SLEEP)

#: ``yield_processor()`` lets another thread have the rest of this one's turn.
yield_processor = types.ExternalFunction(_YIELD, types.int32())
#: ``sleep(nap(microseconds))``, where ``nap`` is called before the code is compiled.
sleep = types.ExternalFunction(_SLEEP, types.int32(types.uint32))


def nap(microseconds: int) -> int:
    """Return what ``sleep`` takes for so long: at least one millisecond on Windows."""
    return max(microseconds // 1000, 1) if platforms.windows() else microseconds


def _pause(typing_context: Any) -> Any:
    """Tell the processor that this is a spin loop; nothing where it has no word for that."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        triple = builder.module.triple
        if triple.startswith(("x86_64", "i386", "i686")):
            name, operands = "llvm.x86.sse2.pause", []
        elif triple.startswith(("aarch64", "arm64")):
            name, operands = "llvm.aarch64.hint", [ir.Constant(ir.IntType(32), 1)]  # YIELD
        else:
            return context.get_dummy_value()
        kind = ir.FunctionType(ir.VoidType(), [operand.type for operand in operands])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, name), operands)
        return context.get_dummy_value()

    return types.void(), generate


pause = intrinsic(_pause)
