"""The step between the two halves of a pass: residuals r become |r|^(p-1) sign(r), |r|^p adds up.

It is little work on few numbers, a column of one tile at a time, so that a loop that Numba
vectorises spends most of its time on entering and leaving. For p = 1, 2, 3 and 4 products are
enough, and the loop is written as vectors; any other p calls ``pow`` for every residual.
"""

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import inlined, named
from .simd import Emitter, at

_I64 = ir.IntType(64)
_DOUBLE = ir.DoubleType()


def _first(builder, r):
    one = ir.Constant(r.type, _splat(r.type, 1.0))
    zero = ir.Constant(r.type, _splat(r.type, 0.0))
    sign = builder.call(_intrinsic(builder, "copysign", r.type, 2), [one, r])
    # Not "unordered or equal": the sign of NaN has to stay NaN.
    is_zero = builder.fcmp_ordered("==", r, zero)
    is_nan = builder.fcmp_unordered("uno", r, r)
    sign = builder.select(is_zero, zero, builder.select(is_nan, r, sign))
    return sign, _absolute(builder, r)


def _second(builder, r):
    return r, builder.fmul(r, r)


def _third(builder, r):
    slope = builder.fmul(r, _absolute(builder, r))
    return slope, builder.fmul(slope, r)


def _fourth(builder, r):
    square = builder.fmul(r, r)
    return builder.fmul(square, r), builder.fmul(square, square)


def _absolute(builder, r):
    return builder.call(_intrinsic(builder, "fabs", r.type, 1), [r])


def _splat(kind, value):
    return [value] * kind.count if isinstance(kind, ir.VectorType) else value


def _intrinsic(builder, name, kind, operands):
    signature = ir.FunctionType(kind, [kind] * operands)
    suffix = "f64" if _element(kind) == _DOUBLE else "f32"
    vector = f"v{kind.count}" if isinstance(kind, ir.VectorType) else ""
    return cgutils.get_or_insert_function(
        builder.module, signature, f"llvm.{name}.{vector}{suffix}"
    )


def _element(kind):
    return kind.element if isinstance(kind, ir.VectorType) else kind


def _widened(builder, value):
    """Convert a scalar or vector to float64."""
    if _element(value.type) == _DOUBLE:
        return value
    wide = ir.VectorType(_DOUBLE, value.type.count) if hasattr(value.type, "count") else _DOUBLE
    return builder.fpext(value, wide)


def _make_column(dtype, lanes: int, power):
    """One column: residuals and targets from two addresses on; returns the sum of |r|^p."""

    @intrinsic
    def column(typing_context, residuals, targets, count):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, dtype, lanes)
            pointer = emit.scalar.as_pointer()
            r, y = (builder.inttoptr(address, pointer) for address in arguments[:2])
            wide = ir.VectorType(_DOUBLE, lanes)
            totals = cgutils.alloca_once_value(builder, ir.Constant(wide, [0.0] * lanes))
            whole = builder.sdiv(arguments[2], _I64(lanes))
            with cgutils.for_range(builder, whole) as loop:
                place = (loop.index, lanes)
                here = emit.at(r, place)
                residual = builder.fsub(emit.load(here), emit.load(emit.at(y, place)))
                slope, value = power(builder, residual)
                emit.store(slope, here)
                builder.store(builder.fadd(builder.load(totals), _widened(builder, value)), totals)
            total = cgutils.alloca_once_value(builder, _DOUBLE(0.0))
            done = builder.mul(whole, _I64(lanes))
            with cgutils.for_range(builder, builder.sub(arguments[2], done)) as loop:
                index = builder.add(done, loop.index)
                here = builder.gep(r, [index])
                residual = builder.fsub(builder.load(here), builder.load(builder.gep(y, [index])))
                slope, value = power(builder, residual)
                builder.store(slope, here)
                builder.store(builder.fadd(builder.load(total), _widened(builder, value)), total)
            reduce = cgutils.get_or_insert_function(
                builder.module,
                ir.FunctionType(_DOUBLE, [_DOUBLE, wide]),
                f"llvm.vector.reduce.fadd.v{lanes}f64",
            )
            operands = [builder.load(total), builder.load(totals)]
            return builder.call(reduce, operands, fastmath=("reassoc",))

        return types.float64(types.intp, types.intp, types.intp), generate

    return column


@cache
def make_differentiate(dtype: np.dtype[Any], lanes: int):
    """Compile ``differentiate(residuals, data, row, rows, losses, p)`` for the samples of a tile.

    ``row`` is the first of ``rows`` samples. Column c of the residuals starts at ``c * data.tile``
    and belongs to output c % k of map c // k, whose sum goes into ``losses``.
    """
    first, second, third, fourth = (
        _make_column(dtype, lanes, power) for power in (_first, _second, _third, _fourth)
    )
    scalar = dtype.type

    @inlined
    @named(dtype.name)
    def any_power(residuals, targets, r, y, rows, p):
        total, q = 0.0, scalar(p - 1.0)
        for i in range(rows):
            residual = residuals[r + i] - targets[y + i]
            size = abs(residual) ** q
            total += np.float64(size * abs(residual))
            residuals[r + i] = np.copysign(size, residual)
        return total

    @inlined
    @named(dtype.name, lanes)
    def differentiate(residuals, data, row, rows, losses, p):
        for m in range(losses.size):
            for c in range(data.k):
                r, y = (m * data.k + c) * data.tile, c * data.n + row
                to, of = at(residuals, r), at(data.Y, y)
                # p is looked at once a column; the branch is always taken the same way.
                if p == 2.0:
                    losses[m] += second(to, of, rows)
                elif p == 3.0:
                    losses[m] += third(to, of, rows)
                elif p == 4.0:
                    losses[m] += fourth(to, of, rows)
                elif p == 1.0:
                    losses[m] += first(to, of, rows)
                else:
                    losses[m] += any_power(residuals, data.Y, r, y, rows, p)

    return differentiate
