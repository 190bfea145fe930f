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
from .jit import inner, named
from .powers import by_kind
from .simd import Emitter, add_wide, added

_I64 = ir.IntType(64)
_DOUBLE = ir.DoubleType()


@cache
def make_panel_powers(dtype: np.dtype[Any], lanes: int):
    """Compile ``powers(residuals, totals, rows, width, p)`` for a vector of maps in a panel.

    Every ``width`` elements from an address on stand the residuals of a sample; they become slopes.
    ``totals``, the address of as many float64, become the sums of |r|^p.
    """

    @numba_intrinsic
    def panel(typing_context, residuals, totals, rows, width, p):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, dtype, lanes)
            wide = ir.VectorType(_DOUBLE, lanes)
            r = builder.inttoptr(arguments[0], emit.scalar.as_pointer())
            out = builder.inttoptr(arguments[1], wide.as_pointer())
            rows, width, p = arguments[2:]
            total = cgutils.alloca_once(builder, wide)
            parts = cgutils.alloca_once(builder, wide, lanes)

            def all_rows(step):
                with cgutils.for_range(builder, _I64(lanes)) as part:
                    builder.store(splat(wide, 0.0), total)
                    left = builder.add(builder.sub(rows, part.index), _I64(lanes - 1))
                    with cgutils.for_range(builder, builder.sdiv(left, _I64(lanes))) as loop:
                        row = builder.add(builder.mul(loop.index, _I64(lanes)), part.index)
                        here = emit.at(r, (row, width))
                        slope, value = step(builder, emit.load(here))
                        emit.store(slope, here)
                        add_wide(builder, total, value)
                    builder.store(builder.load(total), builder.gep(parts, [part.index]))

            by_kind(builder, emit.vector, p, all_rows)
            sums = [builder.load(builder.gep(parts, [_I64(part)])) for part in range(lanes)]
            builder.store(added(builder, sums), out, align=8)
            return context.get_dummy_value()

        return types.void(*(types.intp,) * 4, types.float64), generate

    @inner
    @named(dtype.name, lanes)
    def powers(residuals, totals, rows, width, p):
        panel(residuals, totals, rows, width, p)

    return powers
