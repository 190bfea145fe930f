"""The pass over the data for one map with one output, in two ways of going through X.

In the caches: tiles of rows that stay in the first level. A tile is read from further away once and
used twice, for its residuals and, from the first level, for its part of the gradient: a
matrix-vector product, and a sum of scaled rows. Every other pass of a run goes through the tiles
backwards: what the last one left in the second-level cache is then still there.

From memory, X being larger than the caches' share: a row at a time, in strictly ascending order,
its lines asked for some way ahead; the row is in the first level when its part of the gradient is
taken. That is as fast as memory delivers.
"""

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as numba_intrinsic

from .jit import LINE, inner, named, spliced
from .powers import by_kind, make_differentiate
from .shapes import shapes
from .simd import EXACT, Emitter, View, at, cover, tiles

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_DOUBLE = ir.DoubleType()

#: Vectors of a row in flight, enough to hide the latency of a multiply-add.
_CHAINS = 4


def _emit_row(emit: Emitter, x, y, w, g, ld, step):
    """Take one row: its part of the gradient goes to ``g``; its |r|^p is returned, a float64."""
    builder, lanes = emit.builder, emit.lanes
    lengths = (_CHAINS * lanes, lanes)
    totals = emit.variables(_CHAINS)
    for total in totals:
        builder.store(emit.zero, total)
    ahead = shapes().ahead_bytes // emit.itemsize

    def products(position, length):
        here, weights = emit.at(x, (position, 1)), emit.at(w, (position, 1))
        for i in range(length // lanes):
            term = emit.fma(
                emit.load(here, i * lanes), emit.load(weights, i * lanes), builder.load(totals[i])
            )
            builder.store(term, totals[i])
        for shift in range(0, length, max(LINE // emit.itemsize, lanes)):
            emit.prefetch(builder.gep(here, [_I64(ahead + shift)]), level=2)

    cover(builder, ld, lengths, products)
    sums = [builder.load(total) for total in totals]
    while len(sums) > 1:
        sums = [builder.fadd(a, b) for a, b in zip(sums[::2], sums[1::2], strict=True)]
    product = builder.extract_element(emit.fold(sums), _I32(0))
    residual = builder.fsub(product, builder.load(y), flags=EXACT)
    # In every lane: the slope then meets vectors of the row.
    slope, value = step(builder, emit.spread(residual, emit.vector))

    def scaled(position, length):
        here, target = emit.at(x, (position, 1)), emit.at(g, (position, 1))
        for i in range(length // lanes):
            before = emit.load(target, i * lanes)
            emit.store(emit.fma(emit.load(here, i * lanes), slope, before), target, i * lanes)

    cover(builder, ld, lengths, scaled)
    value = builder.extract_element(value, _I32(0))
    return value if value.type == _DOUBLE else builder.fpext(value, _DOUBLE)


def _make_rows(dtype, lanes: int):
    @numba_intrinsic
    def rows(typing_context, x, y, w, g, count, ld, p):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, dtype, lanes)
            pointer = emit.scalar.as_pointer()
            x, y, w, g = (builder.inttoptr(address, pointer) for address in arguments[:4])
            count, ld, p = arguments[4:]
            loss = cgutils.alloca_once_value(builder, _DOUBLE(0.0))
            builder.store(_DOUBLE(0.0), loss)

            def all_rows(step):
                with cgutils.for_range(builder, count) as loop:
                    row, target = emit.at(x, (loop.index, ld)), builder.gep(y, [loop.index])
                    value = _emit_row(emit, row, target, w, g, ld, step)
                    builder.store(builder.fadd(builder.load(loss), value, flags=EXACT), loss)

            by_kind(builder, emit.vector, p, all_rows)
            return builder.load(loss)

        return types.float64(*(types.intp,) * 6, types.float64), generate

    return rows


@cache
def _make_cached(dtype: np.dtype[Any], lanes: int):
    routines, differentiate = tiles(dtype, lanes), make_differentiate(dtype, lanes)
    dots, weighted_sum = routines.dots, routines.weighted_sum

    @inner
    @named(dtype.name, lanes)
    def cached(data, weights, work, sums, first, last, backwards, p):
        ld, tile, loss = data.ld, data.tile, 0.0
        gradient, residuals = work[:ld], work[ld:]
        W, G, R = View(at(weights, 0), ld, 1), View(at(work, 0), ld, 1), View(at(work, ld), tile, 1)
        gradient[:] = 0
        for i in range(first, last):
            row = (first + last - 1 - i if backwards else i) * tile
            rows = min(tile, data.n - row)
            X = View(at(data.X, row * ld), ld, 1)
            dots(X, W, R, rows, 1, ld)
            loss += differentiate(at(residuals, 0), at(data.Y, row), rows, p)
            weighted_sum(R, X, G, ld, rows)
            if (i - first) % data.flush == data.flush - 1 or i == last - 1:
                for j in range(ld):
                    sums[j] += np.float64(gradient[j])
                    gradient[j] = 0
        sums[sums.size - 1] = loss

    return cached


@cache
def _make_streamed(dtype: np.dtype[Any], lanes: int):
    take = _make_rows(dtype, lanes)

    @inner
    @named(dtype.name, lanes)
    def streamed(data, weights, work, sums, first, last, backwards, p):
        ld, loss = data.ld, 0.0
        gradient, w, g = work[:ld], at(weights, 0), at(work, 0)
        gradient[:] = 0
        for i in range(first, last):
            row = i * data.tile
            rows = min(data.tile, data.n - row)
            loss += take(at(data.X, row * ld), at(data.Y, row), w, g, rows, ld, p)
            if (i - first) % data.flush == data.flush - 1 or i == last - 1:
                for j in range(ld):
                    sums[j] += np.float64(gradient[j])
                    gradient[j] = 0
        sums[sums.size - 1] = loss

    return streamed


@cache
def make_one_map(dtype: np.dtype[Any], lanes: int):
    """Compile the pass for a run with one map and one output.

    Parameters and results are those of ``make_forward``.
    """
    cached, streamed = _make_cached(dtype, lanes), _make_streamed(dtype, lanes)

    @spliced
    def forward(data, weights, work, sums, first, last, backwards, p):
        if data.streamed:
            streamed(data, weights, work, sums, first, last, backwards, p)
        else:
            cached(data, weights, work, sums, first, last, backwards, p)

    return forward
