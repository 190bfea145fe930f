"""Bare pointers into arrays, for what is done in every step.

Numba counts the references to an array wherever one is sliced or crosses a call, atomically: some
twenty cycles each time, more than a step on small data has to spend. A pointer is indexed like a
flat array, and nothing is counted or checked; the caller keeps the array alive.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_I64 = ir.IntType(64)


@intrinsic
def pointer(typing_context, array):
    """Point to the first element of a contiguous array."""

    def generate(context, builder, signature, arguments):
        return context.make_array(signature.args[0])(context, builder, arguments[0]).data

    return types.CPointer(array.dtype)(array), generate


@intrinsic
def shift(typing_context, pointer, count):
    """Point ``count`` elements further on."""

    def generate(context, builder, signature, arguments):
        return builder.gep(arguments[0], [arguments[1]])

    return pointer(pointer, types.intp), generate


@intrinsic
def pointer_to(typing_context, number, like):
    """Turn the number that ``address`` returns into a pointer of the type of another one."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], arguments[1].type)

    return like(types.intp, like), generate


@intrinsic
def address(typing_context, pointer):
    """Turn a pointer into the number that a ``View`` takes."""

    def generate(context, builder, signature, arguments):
        return builder.ptrtoint(arguments[0], _I64)

    return types.intp(pointer), generate
