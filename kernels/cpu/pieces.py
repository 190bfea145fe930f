"""Pieces of kernels, which these call by their address.

What follows the pass over the data in a step is the same whatever the data and the loss are, and
it is the larger part of the code. As a piece it is compiled once, lies on the disk by itself, and
serves all kernels; what a run does not need, such as noise, is not compiled for it. A kernel is
given the addresses in ``control``. A call costs a nanosecond or two, since all that is handed over
are numbers: what is larger stays where the caller put it on its stack.
"""

from collections.abc import Callable
from functools import cache, wraps
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import is_kept, piece_of

__all__ = [
    "FLOAT",
    "FLOATS",
    "INTEGER",
    "Piece",
    "caller",
    "from_stack",
    "made_elsewhere",
    "on_stack",
    "piece",
]

#: What pieces take: numbers, addresses among them, and pointers to numbers.
INTEGER, FLOAT, FLOATS = types.int64, types.float64, types.CPointer(types.float64)

_I64 = ir.IntType(64)


def on_stack(kind_of: Callable[[types.Type], types.Type]) -> Any:
    """Make the function that puts a value on the stack of its caller and returns the address.

    ``kind_of`` says what pieces take a value of a type for, which must have the same layout.
    """

    @intrinsic
    def put_on_stack(typing_context, value):
        def generate(context, builder, signature, arguments):
            layout, expected = (context.get_data_type(kind) for kind in (value, kind_of(value)))
            if layout != expected:
                raise TypeError(f"{value} is no {kind_of(value)}, for which pieces take it")
            place = cgutils.alloca_once(builder, layout)
            context.pack_value(builder, value, arguments[0], place)
            return builder.ptrtoint(place, _I64)

        return types.intp(value), generate

    return put_on_stack


def from_stack(kind: types.Type) -> Any:
    """Make the function that returns the value, of that type, at an address."""

    @intrinsic
    def value_at(typing_context, place):
        def generate(context, builder, signature, arguments):
            pointer_type = context.get_data_type(kind).as_pointer()
            return context.unpack_value(builder, kind, builder.inttoptr(arguments[0], pointer_type))

        return kind(types.intp), generate

    return value_at


def caller(*arguments: types.Type) -> Any:
    """Make the function ``call(address, arguments)`` for pieces that take such arguments."""

    @intrinsic
    def call(typing_context, place, given):
        def generate(context, builder, signature, values):
            convention, packed = context.call_conv, values[1]
            items = [
                context.cast(builder, builder.extract_value(packed, i), kind, to)
                for i, (kind, to) in enumerate(zip(given.types, arguments, strict=True))
            ]
            function = convention.get_function_type(types.int64, arguments)
            function = builder.inttoptr(values[0], function.as_pointer())
            _, result = convention.call_function(builder, function, types.int64, arguments, items)
            return result

        return types.int64(types.intp, given), generate

    return call


class Piece:
    """A piece, compiled or loaded from the disk as soon as its address is asked for.

    ``recipe`` is how another process can make it: a function, and its arguments of both kinds.
    """

    def __init__(self, dispatcher: Any, arguments: tuple[types.Type, ...]) -> None:
        self.dispatcher, self._arguments = dispatcher, arguments
        self._address = 0
        self.recipe: tuple[Any, tuple[Any, ...], dict[str, Any]] | None = None

    @property
    def _signature(self) -> Any:
        return types.int64(*self._arguments)

    def is_kept(self) -> bool:
        """Whether it is compiled already, in this process or on the disk."""
        return self._address != 0 or is_kept(self.dispatcher, self._signature)

    @property
    def address(self) -> int:
        """Where its machine code is, as long as the piece exists."""
        if self._address == 0:
            self.dispatcher.compile(self._signature)
            compiled = self.dispatcher.overloads[self._arguments]
            name = compiled.fndesc.mangled_name
            self._address = compiled.library.get_pointer_to_function(name)
        return self._address


def made_elsewhere(make: Callable[..., Piece]) -> Callable[..., Piece]:
    """Decorate a function of a module that makes a piece: each is made once, with its recipe."""

    @cache
    def made(*arguments: Any, **options: Any) -> Piece:
        result = make(*arguments, **options)
        result.recipe = made, arguments, options
        return result

    return wraps(make)(made)


def piece(*key: Any, arguments: tuple[types.Type, ...]) -> Callable[[Callable[..., Any]], Piece]:
    """Decorate a function that kernels call by its address: cached under ``key`` like an entry.

    It takes numbers of the types ``arguments`` and returns an int64.
    """

    def decorate(function: Callable[..., Any]) -> Piece:
        return Piece(piece_of(*key)(function), arguments)

    return decorate
