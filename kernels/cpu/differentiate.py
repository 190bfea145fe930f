"""The step between the two halves of a pass: predictions become slopes, the values add up.

It is little work on few numbers, a column of one tile at a time, so that a loop that Numba
vectorises spends most of its time on entering and leaving. It is written as vectors therefore
(:mod:`.powers`, :mod:`.losses`).

The values are added up in float64 (:class:`.losses.Values`), in an order that is fixed: lane l has
the sum of rows l, l + lanes, l + 2 lanes and so on of the tile, and neighbouring lanes are added
until one is left (``Emitter.fold``).
"""

from functools import cache, partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as numba_intrinsic

from .any_power import exponent, intrinsic, power, splat
from .jit import inner, named
from .losses import Values, by_loss, emit_curvature
from .powers import less
from .simd import EXACT, Emitter, cover

_I32 = ir.IntType(32)
_I64 = ir.IntType(64)
_DOUBLE = ir.DoubleType()

#: Vectors whose exponentials and logarithms hide each other's latency.
_TOGETHER = 4


class FirstLanes:
    """Loads and stores of the first ``count`` lanes of a vector; what is loaded is 0 in others."""

    def __init__(self, emit: Emitter, count) -> None:
        self._emit, builder = emit, emit.builder
        numbers = ir.VectorType(_I32, emit.lanes)
        first = builder.insert_element(splat(numbers, 0), builder.trunc(count, _I32), _I32(0))
        counts = emit.shuffle(first, first, [0] * emit.lanes)
        self._mask = builder.icmp_signed("<", ir.Constant(numbers, list(range(emit.lanes))), counts)

    def load(self, address, others=None):
        """Load these lanes; the others are those of a vector, by default 0."""
        others = self._emit.zero if others is None else others
        return self._call("load", self._emit.vector, *self._place(address), others)

    def only(self, value):
        """Return a vector with 0 in the other lanes."""
        return self._emit.builder.select(self._mask, value, self._emit.zero)

    def store(self, value, address):
        """Store these lanes."""
        self._call("store", ir.VoidType(), value, *self._place(address))

    def _place(self, address):
        emit = self._emit
        pointer = emit.builder.bitcast(address, emit.vector.as_pointer())
        return pointer, _I32(emit.itemsize), self._mask

    def _call(self, name, kind, *operands):
        builder, bits = self._emit.builder, 8 * self._emit.itemsize
        signature = ir.FunctionType(kind, [operand.type for operand in operands])
        full_name = f"llvm.masked.{name}.v{self._emit.lanes}f{bits}.p0"
        function = cgutils.get_or_insert_function(builder.module, signature, full_name)
        return builder.call(function, operands)


def _make_column(dtype, lanes: int, kind: str):
    """One column: products and targets from two addresses on; returns the sum of the values."""

    @numba_intrinsic
    def column(typing_context, products, targets, count, p):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, dtype, lanes)
            pointer = emit.scalar.as_pointer()
            m, y = (builder.inttoptr(address, pointer) for address in arguments[:2])
            values = Values(builder, emit.vector, kind)
            whole = builder.sdiv(arguments[2], _I64(lanes))
            rest = builder.srem(arguments[2], _I64(lanes))

            def rows(take, i, memory):
                here, there = emit.at(m, (i, lanes)), emit.at(y, (i, lanes))
                slope, value = take(builder, memory.load(here), memory.load(there))
                memory.store(slope, here)
                values.add(value)

            def all_rows(take):
                def some(first, length):
                    for i in range(length):
                        rows(take, builder.add(first, _I64(i)), emit)
                    values.add_logarithm_after(builder.add(first, _I64(length - 1)))

                cover(builder, whole, (1,) if kind == "lp" else (_TOGETHER, 1), some)
                with builder.if_then(builder.icmp_signed(">", rest, _I64(0))):
                    rows(take, whole, FirstLanes(emit, rest))

            by_loss(builder, emit.vector, kind, arguments[3], all_rows)
            values.add_logarithm()
            return builder.extract_element(emit.fold([values.load()]), _I32(0))

        return types.float64(types.intp, types.intp, types.intp, types.float64), generate

    return column


@cache
def make_differentiate(dtype: np.dtype[Any], lanes: int, kind: str = "lp"):
    """Compile ``differentiate(products, targets, count, p)`` for the samples of a tile, one map.

    From two addresses on stand ``count`` products of the map and as many targets. The products
    become slopes; the sum of the values is returned.
    """
    column = _make_column(dtype, lanes, kind)

    @inner
    @named(dtype.name, lanes, kind)
    def differentiate(products, targets, count, p):
        return column(products, targets, count, p)

    return differentiate


def make_weights(lanes: int, kind: str = "lp"):
    """Compile ``weights(residuals, count, p)``: curvatures in place of float64 numbers r.

    ``residuals`` is the address of the first one, or of the first margin; their room is a whole
    number of vectors. The curvature of l_p is |r|^(p-2): at r = 0 there is none for p < 2, and the
    weight is 0 as it is at inf; for p = 2 it is always 1.
    """

    @numba_intrinsic
    def weights(typing_context, residuals, count, p):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, np.dtype(np.float64), lanes)
            r = builder.inttoptr(arguments[0], emit.scalar.as_pointer())
            vectors = builder.sdiv(builder.add(arguments[1], _I64(lanes - 1)), _I64(lanes))
            if kind == "lp":
                curvature = _curvature_of_power(builder, emit.vector, arguments[2])
            else:
                curvature = partial(emit_curvature, builder, kind=kind, p=arguments[2])
            with cgutils.for_range(builder, vectors) as loop:
                here = emit.at(r, (loop.index, lanes))
                emit.store(curvature(emit.load(here)), here)
            return context.get_dummy_value()

        return types.void(types.intp, types.intp, types.float64), generate

    return weights


def _curvature_of_power(builder, vector, p):
    """Prepare the curvature of l_p, for any p: a function of a vector of residuals."""
    q = exponent(builder, vector, less(builder, p, 2.0))
    below, is_two = (builder.fcmp_ordered(sign, p, _DOUBLE(2.0)) for sign in ("<", "=="))
    zero, one = splat(vector, 0.0), splat(vector, 1.0)

    def curvature(r):
        size = intrinsic(builder, "fabs", r)
        # 0 and inf are all that is as large as its double.
        is_end = builder.fcmp_ordered("==", size, builder.fadd(size, size, flags=EXACT))
        at_end = builder.select(below, zero, size)
        weight = builder.select(is_end, at_end, power(builder, size, q))
        return builder.select(is_two, one, weight)

    return curvature
