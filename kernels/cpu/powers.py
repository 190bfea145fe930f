"""The step between the two halves of a pass: residuals r become |r|^(p-1) sign(r), |r|^p adds up.

It is little work on few numbers, a column of one tile at a time, so that a loop that Numba
vectorises spends most of its time on entering and leaving. It is written as vectors therefore: by
products for p = 1, 2, 3 and 4, with a square root for 1.5, 2.5 and 3.5, and for any other p by
logarithm and exponential (``any_power``). What becomes of a residual does not depend on its lane,
nor on how many there are.

Every |r|^p is rounded to the dtype, then added up in float64, in an order that is fixed: lane l has
the sum of rows l, l + lanes, l + 2 lanes and so on of the tile, and neighbouring lanes are added
until one is left (``Emitter.fold``).
"""

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as numba_intrinsic

from .any_power import exponent, intrinsic, power, splat
from .jit import inner, named
from .simd import EXACT, Emitter, add_wide

_I32 = ir.IntType(32)
_I64 = ir.IntType(64)
_DOUBLE = ir.DoubleType()


def _multiply(builder, left, right):
    return builder.fmul(left, right, flags=EXACT)


def _first(builder, r):
    zero = splat(r.type, 0.0)
    sign = intrinsic(builder, "copysign", splat(r.type, 1.0), r)
    # Not "unordered or equal": the sign of NaN has to stay NaN.
    is_zero = builder.fcmp_ordered("==", r, zero)
    is_nan = builder.fcmp_unordered("uno", r, r)
    sign = builder.select(is_zero, zero, builder.select(is_nan, r, sign))
    return sign, intrinsic(builder, "fabs", r)


def _second(builder, r):
    return r, _multiply(builder, r, r)


def _third(builder, r):
    slope = _multiply(builder, r, intrinsic(builder, "fabs", r))
    return slope, _multiply(builder, slope, r)


def _fourth(builder, r):
    square = _multiply(builder, r, r)
    return _multiply(builder, square, r), _multiply(builder, square, square)


def _rooted(emit):
    """Emit the step for p + 1/2, given that for p."""

    def rooted(builder, r):
        slope, _ = emit(builder, r)
        root = intrinsic(builder, "sqrt", intrinsic(builder, "fabs", r))
        slope = _multiply(builder, slope, root)
        return slope, _multiply(builder, slope, r)

    return rooted


_PRODUCTS = {2.0: _second, 3.0: _third, 4.0: _fourth, 1.0: _first}
#: For each p that products and a square root are enough for: ``emit(builder, r)``.
KINDS = _PRODUCTS | {p + 0.5: _rooted(emit) for p, emit in _PRODUCTS.items()}


def _general(builder, vector, p):
    """Prepare the step for any p, a float64: the same kind of function as those of ``KINDS``."""
    q = exponent(builder, vector, _less(builder, p, 1.0))

    def general(builder, r):
        size = intrinsic(builder, "fabs", r)
        slope = power(builder, size, q)
        return intrinsic(builder, "copysign", slope, r), _multiply(builder, slope, size)

    return general


def _less(builder, p, shift: float):
    """Return p - shift as ``exponent`` admits it; every x but 1 is 0 or inf long before."""
    q, most = builder.fsub(p, _DOUBLE(shift), flags=EXACT), _DOUBLE(1e30)
    return builder.select(builder.fcmp_ordered("<", q, most), q, most)


def by_kind(builder, vector, p, body) -> None:
    """Branch over the kinds of p, a float64 that the kernel is given, and emit ``body`` for each.

    ``body(step)`` emits code once a kind; ``step(builder, r)`` returns what becomes of residuals,
    which have the type ``vector``: |r|^(p-1) sign(r), and |r|^p. What leaves ``body`` has to go
    through variables in memory.
    """
    done = builder.append_basic_block("done")
    for of_kind, emit in KINDS.items():
        it_is, others = (builder.append_basic_block(name) for name in (f"p{of_kind}", "others"))
        builder.cbranch(builder.fcmp_ordered("==", p, _DOUBLE(of_kind)), it_is, others)
        builder.position_at_end(it_is)
        body(emit)
        builder.branch(done)
        builder.position_at_end(others)
    body(_general(builder, vector, p))
    builder.branch(done)
    builder.position_at_end(done)


class _FirstLanes:
    """Loads and stores of the first ``count`` lanes of a vector; what is loaded is 0 in others."""

    def __init__(self, emit: Emitter, count) -> None:
        self._emit, builder = emit, emit.builder
        numbers = ir.VectorType(_I32, emit.lanes)
        first = builder.insert_element(splat(numbers, 0), builder.trunc(count, _I32), _I32(0))
        counts = emit.shuffle(first, first, [0] * emit.lanes)
        self._mask = builder.icmp_signed("<", ir.Constant(numbers, list(range(emit.lanes))), counts)

    def load(self, address):
        return self._call("load", self._emit.vector, *self._place(address), self._emit.zero)

    def store(self, value, address):
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


def _make_column(dtype, lanes: int):
    """One column: residuals and targets from two addresses on; returns the sum of |r|^p."""

    @numba_intrinsic
    def column(typing_context, residuals, targets, count, p):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, dtype, lanes)
            pointer = emit.scalar.as_pointer()
            r, y = (builder.inttoptr(address, pointer) for address in arguments[:2])
            wide = ir.VectorType(_DOUBLE, lanes)
            totals = cgutils.alloca_once_value(builder, splat(wide, 0.0))
            whole = builder.sdiv(arguments[2], _I64(lanes))
            rest = builder.srem(arguments[2], _I64(lanes))

            def rows(step, i, memory):
                here, there = emit.at(r, (i, lanes)), emit.at(y, (i, lanes))
                residual = builder.fsub(memory.load(here), memory.load(there), flags=EXACT)
                slope, value = step(builder, residual)
                memory.store(slope, here)
                add_wide(builder, totals, value)

            def all_rows(step):
                with cgutils.for_range(builder, whole) as loop:
                    rows(step, loop.index, emit)
                with builder.if_then(builder.icmp_signed(">", rest, _I64(0))):
                    rows(step, whole, _FirstLanes(emit, rest))

            by_kind(builder, emit.vector, arguments[3], all_rows)
            return builder.extract_element(emit.fold([builder.load(totals)]), _I32(0))

        return types.float64(types.intp, types.intp, types.intp, types.float64), generate

    return column


@cache
def make_differentiate(dtype: np.dtype[Any], lanes: int):
    """Compile ``differentiate(residuals, targets, count, p)`` for the samples of a tile, one map.

    From two addresses on stand ``count`` products of the map and as many targets. The products
    become |r|^(p-1) sign(r); the sum of |r|^p is returned.
    """
    column = _make_column(dtype, lanes)

    @inner
    @named(dtype.name, lanes)
    def differentiate(residuals, targets, count, p):
        return column(residuals, targets, count, p)

    return differentiate


def make_weights(lanes: int):
    """Compile ``weights(residuals, count, p)``: |r|^(p-2) in place of float64 numbers r.

    ``residuals`` is the address of the first one; their room is a whole number of vectors. At r = 0
    there is no second derivative for p < 2, and the weight is 0 as it is at inf; for p = 2 it is
    always 1.
    """

    @numba_intrinsic
    def weights(typing_context, residuals, count, p):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, np.dtype(np.float64), lanes)
            r = builder.inttoptr(arguments[0], emit.scalar.as_pointer())
            q = exponent(builder, emit.vector, _less(builder, arguments[2], 2.0))
            vectors = builder.sdiv(builder.add(arguments[1], _I64(lanes - 1)), _I64(lanes))
            below, is_two = (
                builder.fcmp_ordered(s, arguments[2], _DOUBLE(2.0)) for s in ("<", "==")
            )
            zero, one = splat(emit.vector, 0.0), splat(emit.vector, 1.0)
            with cgutils.for_range(builder, vectors) as loop:
                here = emit.at(r, (loop.index, lanes))
                size = intrinsic(builder, "fabs", emit.load(here))
                # 0 and inf are all that is as large as its double.
                is_end = builder.fcmp_ordered("==", size, builder.fadd(size, size, flags=EXACT))
                at_end = builder.select(below, zero, size)
                weight = builder.select(is_end, at_end, power(builder, size, q))
                emit.store(builder.select(is_two, one, weight), here)
            return context.get_dummy_value()

        return types.void(types.intp, types.intp, types.float64), generate

    return weights
