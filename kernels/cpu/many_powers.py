"""The step between the two halves of a pass for several maps: as in :mod:`.powers`, in matrices.

The sums of |r|^p are those of :mod:`.powers`, to the bit: row i of a tile counts in part i modulo
``lanes``, and neighbouring parts are added until one is left.
"""

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as numba_intrinsic

from .any_power import splat
from .jit import inlined, named
from .powers import by_kind
from .simd import EXACT, Emitter, widened

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_DOUBLE = ir.DoubleType()


def _add(builder, total, value):
    """Add vectors to a vector of float64 in memory."""
    value = widened(builder, value)
    builder.store(builder.fadd(builder.load(total), value, flags=EXACT), total)


@cache
def make_panel_powers(dtype: np.dtype[Any], lanes: int, vectors: int):
    """Compile ``powers(residuals, totals, rows, p)`` for a panel.

    The residuals (rows, width) become slopes; ``totals`` (width), float64, become the sums of
    |r|^p of each column. Both are addresses.
    """

    @numba_intrinsic
    def panel(typing_context, residuals, totals, rows, p):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, dtype, lanes)
            wide = ir.VectorType(_DOUBLE, lanes)
            r = builder.inttoptr(arguments[0], emit.scalar.as_pointer())
            out = builder.inttoptr(arguments[1], _DOUBLE.as_pointer())
            totals = [cgutils.alloca_once(builder, wide) for _ in range(vectors)]
            parts = cgutils.alloca_once(builder, wide, lanes * vectors)

            def all_rows(step):
                with cgutils.for_range(builder, _I64(lanes)) as part:
                    for total in totals:
                        builder.store(splat(wide, 0.0), total)
                    left = builder.add(builder.sub(arguments[2], part.index), _I64(lanes - 1))
                    with cgutils.for_range(builder, builder.sdiv(left, _I64(lanes))) as loop:
                        row = builder.add(builder.mul(loop.index, _I64(lanes)), part.index)
                        here = emit.at(r, (row, vectors * lanes))
                        for v, total in enumerate(totals):
                            slope, value = step(builder, emit.load(here, v * lanes))
                            emit.store(slope, here, v * lanes)
                            _add(builder, total, value)
                    for v, total in enumerate(totals):
                        place = builder.add(builder.mul(part.index, _I64(vectors)), _I64(v))
                        builder.store(builder.load(total), builder.gep(parts, [place]))

            by_kind(builder, emit.vector, arguments[3], all_rows)
            for v in range(vectors):
                sums = [
                    builder.load(builder.gep(parts, [_I64(part * vectors + v)]))
                    for part in range(lanes)
                ]
                while len(sums) > 1:
                    pairs = zip(sums[::2], sums[1::2], strict=True)
                    sums = [builder.fadd(a, b, flags=EXACT) for a, b in pairs]
                pointer = builder.bitcast(builder.gep(out, [_I64(v * lanes)]), wide.as_pointer())
                builder.store(sums[0], pointer, align=8)
            return context.get_dummy_value()

        return types.void(*(types.intp,) * 3, types.float64), generate

    @inlined
    @named(dtype.name, lanes, vectors)
    def powers(residuals, totals, rows, p):
        panel(residuals, totals, rows, p)

    return powers


@cache
def make_row_powers(dtype: np.dtype[Any], lanes: int):
    """Compile ``powers(residuals, count, p)`` for one map: ``count`` samples, whole vectors.

    Residuals, at an address, become slopes; the sum of |r|^p is returned.
    """

    @numba_intrinsic
    def row(typing_context, residuals, count, p):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, dtype, lanes)
            r = builder.inttoptr(arguments[0], emit.scalar.as_pointer())
            wide = ir.VectorType(_DOUBLE, lanes)
            total = cgutils.alloca_once(builder, wide)
            builder.store(splat(wide, 0.0), total)

            def all_rows(step):
                with cgutils.for_range(builder, builder.sdiv(arguments[1], _I64(lanes))) as loop:
                    here = emit.at(r, (loop.index, lanes))
                    slope, value = step(builder, emit.load(here))
                    emit.store(slope, here)
                    _add(builder, total, value)

            by_kind(builder, emit.vector, arguments[2], all_rows)
            return builder.extract_element(emit.fold([builder.load(total)]), _I32(0))

        return types.float64(types.intp, types.intp, types.float64), generate

    @inlined
    @named(dtype.name, lanes)
    def powers(residuals, count, p):
        return row(residuals, count, p)

    return powers
