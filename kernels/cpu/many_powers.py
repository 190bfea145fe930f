"""The step between the two halves of a pass for several maps: as in :mod:`.powers`, in matrices."""

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import as_written, named
from .powers import _first, _fourth, _second, _third, _widened
from .simd import Emitter

_I64 = ir.IntType(64)
_DOUBLE = ir.DoubleType()


def _fold(builder, parts):
    while len(parts) > 1:
        parts = [builder.fadd(a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def _make_panel(dtype, lanes: int, vectors: int, power):
    """Residuals (rows, width) become slopes; ``totals`` (width) are the sums of |r|^p."""

    @intrinsic
    def panel(typing_context, residuals, totals, rows):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, dtype, lanes)
            r = builder.inttoptr(arguments[0], emit.scalar.as_pointer())
            out = builder.inttoptr(arguments[1], _DOUBLE.as_pointer())
            wide = ir.VectorType(_DOUBLE, lanes)
            zero = ir.Constant(wide, [0.0] * lanes)
            totals = [cgutils.alloca_once_value(builder, zero) for _ in range(vectors)]
            parts = cgutils.alloca_once(builder, wide, lanes * vectors)
            with cgutils.for_range(builder, _I64(lanes)) as part:
                for total in totals:
                    builder.store(zero, total)
                left = builder.add(builder.sub(arguments[2], part.index), _I64(lanes - 1))
                with cgutils.for_range(builder, builder.sdiv(left, _I64(lanes))) as loop:
                    row = builder.add(builder.mul(loop.index, _I64(lanes)), part.index)
                    here = emit.at(r, (row, vectors * lanes))
                    for v, total in enumerate(totals):
                        slope, value = power(builder, emit.load(here, v * lanes))
                        emit.store(slope, here, v * lanes)
                        value = _widened(builder, value)
                        builder.store(builder.fadd(builder.load(total), value), total)
                for v, total in enumerate(totals):
                    place = builder.add(builder.mul(part.index, _I64(vectors)), _I64(v))
                    builder.store(builder.load(total), builder.gep(parts, [place]))
            for v in range(vectors):
                places = [_I64(part * vectors + v) for part in range(lanes)]
                total = _fold(builder, [builder.load(builder.gep(parts, [i])) for i in places])
                pointer = builder.bitcast(builder.gep(out, [_I64(v * lanes)]), wide.as_pointer())
                builder.store(total, pointer, align=8)
            return context.get_dummy_value()

        return types.void(types.intp, types.intp, types.intp), generate

    return panel


def _make_row(dtype, lanes: int, power):
    """One map's residuals of ``count`` samples, whole vectors; returns the sum of |r|^p."""

    @intrinsic
    def row(typing_context, residuals, count):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, dtype, lanes)
            r = builder.inttoptr(arguments[0], emit.scalar.as_pointer())
            wide = ir.VectorType(_DOUBLE, lanes)
            total = cgutils.alloca_once_value(builder, ir.Constant(wide, [0.0] * lanes))
            builder.store(ir.Constant(wide, [0.0] * lanes), total)
            with cgutils.for_range(builder, builder.sdiv(arguments[1], _I64(lanes))) as loop:
                here = emit.at(r, (loop.index, lanes))
                slope, value = power(builder, emit.load(here))
                emit.store(slope, here)
                value = _widened(builder, value)
                builder.store(builder.fadd(builder.load(total), value), total)
            parts = builder.load(total)
            return _fold(builder, [builder.extract_element(parts, _I64(i)) for i in range(lanes)])

        return types.float64(types.intp, types.intp), generate

    return row


@cache
def make_panel_powers(dtype: np.dtype[Any], lanes: int, vectors: int):
    first, second, third, fourth = (
        _make_panel(dtype, lanes, vectors, power) for power in (_first, _second, _third, _fourth)
    )

    @as_written
    @named(dtype.name, lanes)
    def differentiate(residuals, totals, rows, p):
        if p == 2.0:
            second(residuals, totals, rows)
        elif p == 3.0:
            third(residuals, totals, rows)
        elif p == 4.0:
            fourth(residuals, totals, rows)
        else:
            first(residuals, totals, rows)

    return differentiate


@cache
def make_row_powers(dtype: np.dtype[Any], lanes: int):
    first, second, third, fourth = (
        _make_row(dtype, lanes, power) for power in (_first, _second, _third, _fourth)
    )

    @as_written
    @named(dtype.name, lanes)
    def differentiate(residuals, count, p):
        if p == 2.0:
            return second(residuals, count)
        elif p == 3.0:
            return third(residuals, count)
        elif p == 4.0:
            return fourth(residuals, count)
        else:
            return first(residuals, count)

    return differentiate
