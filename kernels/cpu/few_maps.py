"""The pass for few maps: so few that maps along the lanes would leave most lanes idle.

The samples lie along the lanes, then the features,

    residuals (maps, rows) += weights (maps, d) X' (d, rows)
    gradients (maps, d)    += slopes (maps, rows) X (rows, d)

A square of X, as many rows and columns as a vector has lanes, is transposed within the registers;
each of its columns then meets the weights of its feature. So every number is the sum of the pass
for many maps (:mod:`.many_maps`), in the same order, to the same bits.
"""

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..specs import MARGIN_KINDS
from .differentiate import make_differentiate
from .jit import inner, named
from .picked import tile_at
from .pointers import pointer, pointer_to
from .simd import Emitter, View, at, cover, tiles

_I64 = ir.IntType(64)

#: Sums in flight, enough to hide most of the latency of a multiply-add behind the shuffles.
_SUMS = 4


def most_few(lanes: int) -> int:
    """So many maps are few."""
    return min(lanes // 2, 4)


def work_size(columns: int, ld: int, tile: int, lanes: int) -> int:
    """Elements of scratch that a thread needs for a pass over at most so many columns."""
    return (columns + 1) * tile + (columns + lanes) * ld


def _emit_product(emit: Emitter, x, ld, weights, residuals, blocks: int, ahead):
    """Take ``blocks`` times ``lanes`` rows of X: residuals of the maps at some addresses."""
    builder, lanes = emit.builder, emit.lanes
    places = [(target, b * lanes) for b in range(blocks) for target in residuals]
    totals = emit.variables(len(places))
    for total, place in zip(totals, places, strict=True):
        builder.store(emit.load(*place), total)
    with cgutils.for_range(builder, builder.sdiv(ld, _I64(lanes))) as loop:
        t = (loop.index, lanes)
        factors = [emit.at(weight, t) for weight in weights]
        for b in range(blocks):
            rows = [emit.at(x, (ld, _I64(b * lanes + i)), t) for i in range(lanes)]
            for row in rows:
                emit.prefetch(builder.gep(row, [ahead]))
            mine = totals[b * len(factors) : (b + 1) * len(factors)]
            for i, column in enumerate(emit.columns(rows)):
                for factor, total in zip(factors, mine, strict=True):
                    weight = emit.broadcast(emit.at(factor, (_I64(i), 1)))
                    builder.store(emit.fma(column, weight, builder.load(total)), total)
    for total, place in zip(totals, places, strict=True):
        emit.store(builder.load(total), *place)


def _make_residuals(dtype, lanes: int):
    @intrinsic
    def residuals(typing_context, x, w, r, rows, columns, ahead):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, dtype, lanes)
            (x, w, r), (rows, columns, ahead) = map(emit.unpack, arguments[:3]), arguments[3:]
            last = builder.sub(columns, _I64(1))

            def columns_at(count):
                # The last map fills the group up: it is computed more than once.
                chosen = [
                    builder.select(builder.icmp_signed("<", _I64(c), last), _I64(c), last)
                    for c in range(count)
                ]
                weights = [w.down(emit, column).pointer for column in chosen]
                targets = [r.down(emit, column).pointer for column in chosen]

                def rows_at(i, step):
                    here = [emit.at(target, (i, 1)) for target in targets]
                    start, blocks = x.down(emit, i).pointer, step // lanes
                    _emit_product(emit, start, x.row, weights, here, blocks, ahead)

                steps = [blocks * lanes for blocks in (2, 1) if blocks * count <= _SUMS]
                cover(builder, rows, steps, rows_at)

            if most_few(lanes) > 2:
                two = builder.icmp_signed("<=", columns, _I64(2))
                with builder.if_else(two) as (then, otherwise):
                    with then:
                        columns_at(2)
                    with otherwise:
                        columns_at(4)
            else:
                columns_at(2)
            return context.get_dummy_value()

        return types.void(x, w, r, *(types.intp,) * 3), generate

    return residuals


@cache
def make_few(dtype: np.dtype[Any], lanes: int, kind: str = "lp"):
    """Compile the pass for few columns, each an output of a map; see ``make_many_maps``."""
    accumulate, differentiate = (
        tiles(dtype, lanes).accumulate,
        make_differentiate(dtype, lanes, kind),
    )
    margin = kind in MARGIN_KINDS
    emitted, zero = _make_residuals(dtype, lanes), dtype.type(0)

    @inner
    @named(dtype.name, lanes)
    def multiply(x, w, r, rows, columns, ahead):
        emitted(x, w, r, rows, columns, ahead)

    @inner
    @named(dtype.name, lanes)
    def minus_targets(residuals, targets, rows, columns, k, tile):
        Y = pointer_to(targets, pointer(residuals))
        for c in range(columns):
            target, mine = c % k, residuals[c * tile : c * tile + rows]
            for s in range(rows):
                mine[s] = -Y[target + s * k]

    @inner
    @named(dtype.name, lanes)
    def products(X, rows, weights, residuals, spare, tile, ahead):
        """Take the rows, those beyond whole vectors from a copy with zeros behind it."""
        ld, whole, W = X.row, rows // lanes * lanes, View(at(weights, 0), X.row, 1)
        columns = weights.size // ld
        multiply(X, W, View(at(residuals, 0), tile, 1), whole, columns, ahead)
        if whole < rows:
            count, start = (rows - whole) * ld, whole * ld
            source = pointer_to(X.address, pointer(weights))
            for i in range(count):
                spare[i] = source[start + i]
            spare[count:] = zero
            R = View(at(residuals, whole), tile, 1)
            multiply(View(at(spare, 0), ld, 1), W, R, lanes, columns, 0)

    @inner
    @named(dtype.name, lanes, kind)
    def few(data, weights, work, sums, first, last, backwards, p):
        ld, tile = data.ld, data.tile
        size = weights.size
        columns = size // ld
        G, R, none = work[:size], work[size:], work[size + columns * tile :]
        spare = none[tile : tile + lanes * ld]
        losses = sums[sums.size - columns // data.k :][::-1]
        S = View(at(R, 0), tile, 1)
        G[:] = zero
        none[:tile] = zero  # the targets are in the residuals, but for margins
        ahead = 0
        if data.streamed:
            ahead = -tile * ld if backwards else tile * ld
        for i in range(first, last):
            row = (first + last - 1 - i if backwards else i) * tile
            rows = min(tile, data.n - row)
            x, y = tile_at(data, row, rows)
            if margin:
                R[: columns * tile] = zero
            else:
                minus_targets(R, y, rows, columns, data.k, tile)
            products(View(x, ld, 1), rows, weights, R, spare, tile, ahead)
            for c in range(columns):
                targets = y if margin else at(none, 0)
                losses[c // data.k] += differentiate(at(R, c * tile), targets, rows, p)
            accumulate(S, View(x, ld, 1), View(at(G, 0), ld, 1), columns, ld, rows)
            if (i - first) % data.flush == data.flush - 1 or i == last - 1:
                for j in range(size):
                    sums[j] += np.float64(G[j])
                G[:] = zero

    return few
