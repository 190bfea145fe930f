"""The step between the two halves of a pass for several maps: :mod:`.differentiate` in matrices.

The sums of the values are those of :mod:`.differentiate`, to the bit: row i of a tile counts in
part i modulo ``lanes``, and neighbouring parts are added until one is left.
"""

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as numba_intrinsic

from ..specs import MARGIN_KINDS
from .jit import inner, named
from .losses import Values, by_loss
from .simd import Emitter, added

_I64 = ir.IntType(64)
_DOUBLE = ir.DoubleType()


@cache
def make_panel_powers(dtype: np.dtype[Any], lanes: int, kind: str = "lp"):
    """Compile ``powers(residuals, targets, totals, rows, width, p)`` for maps in a panel.

    Every ``width`` elements from an address on stand the residuals of a sample; they become slopes.
    For the kinds of a margin they are predictions, and ``targets`` is the address of the labels of
    all maps. ``totals``, the address of as many float64, become the sums of the values.
    """
    margin = kind in MARGIN_KINDS

    @numba_intrinsic
    def panel(typing_context, residuals, targets, totals, rows, width, p):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, dtype, lanes)
            wide = ir.VectorType(_DOUBLE, lanes)
            r = builder.inttoptr(arguments[0], emit.scalar.as_pointer())
            y = builder.inttoptr(arguments[1], emit.scalar.as_pointer())
            out = builder.inttoptr(arguments[2], wide.as_pointer())
            rows, width, p = arguments[3:]
            values = Values(builder, emit.vector, kind)
            parts = cgutils.alloca_once(builder, wide, lanes)

            def all_rows(take):
                with cgutils.for_range(builder, _I64(lanes)) as part:
                    values.begin()
                    left = builder.add(builder.sub(rows, part.index), _I64(lanes - 1))
                    with cgutils.for_range(builder, builder.sdiv(left, _I64(lanes))) as loop:
                        row = builder.add(builder.mul(loop.index, _I64(lanes)), part.index)
                        here = emit.at(r, (row, width))
                        target = emit.broadcast(builder.gep(y, [row])) if margin else None
                        slope, value = take(builder, emit.load(here), target)
                        emit.store(slope, here)
                        values.add(value)
                        values.add_logarithm_after(loop.index)
                    values.add_logarithm()
                    builder.store(values.load(), builder.gep(parts, [part.index]))

            by_loss(builder, emit.vector, kind, p, all_rows)
            sums = [builder.load(builder.gep(parts, [_I64(part)])) for part in range(lanes)]
            builder.store(added(builder, sums), out, align=8)
            return context.get_dummy_value()

        return types.void(*(types.intp,) * 5, types.float64), generate

    @inner
    @named(dtype.name, lanes, kind)
    def powers(residuals, targets, totals, rows, width, p):
        panel(residuals, targets, totals, rows, width, p)

    return powers
