"""The pass over the data for one map with one output, in two ways of going through X.

In the caches: tiles of rows that stay in the first level. A tile is read from further away once and
used twice, for its residuals and, from the first level, for its part of the gradient: a
matrix-vector product, and a sum of scaled rows. Every other pass of a run goes through the tiles
backwards: what the last one left in the second-level cache is then still there.

From memory, X being larger than the caches' share: row after row, in strictly ascending order, its
lines asked for some way ahead into the second level; a few rows are in the first level when their
parts of the gradient are taken. That is as fast as memory delivers.

Rows of a batch are taken where they stand, as many at once as a vector holds products, and the next
ones are asked for in the first level meanwhile.
"""

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as numba_intrinsic

from .differentiate import make_differentiate
from .jit import LINE, inner, named
from .losses import by_loss, whole_value
from .picked import tile_at
from .pointers import address, shift
from .processor import vector_registers
from .shapes import shapes
from .simd import EXACT, Emitter, View, added, at, cover, tiles, widened

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_DOUBLE = ir.DoubleType()

#: Vectors of a row in flight, enough to hide the latency of a multiply-add.
_CHAINS = 4
#: Rows after which a gradient moves from the run's dtype into float64, at most.
FLUSH = 2**14


def _together(lanes: int) -> int:
    """Rows whose parts of the gradient are added to memory at once, as they come from memory."""
    return min(4, lanes)


def _emit_product(emit: Emitter, x, w, ld):
    """The products of a row and the weights, as a vector yet to be folded; lines are asked for."""
    builder, lanes, totals = emit.builder, emit.lanes, emit.variables(_CHAINS)
    ahead = shapes().ahead_bytes // emit.itemsize

    def products(position, length):
        here, weights = emit.at(x, (position, 1)), emit.at(w, (position, 1))
        for i in range(length // lanes):
            left, right = emit.load(here, i * lanes), emit.load(weights, i * lanes)
            builder.store(emit.fma(left, right, builder.load(totals[i])), totals[i])
        for offset in range(0, length, max(LINE // emit.itemsize, lanes)):
            emit.prefetch(builder.gep(here, [_I64(ahead + offset)]))

    cover(builder, ld, (_CHAINS * lanes, lanes), products)
    return added(builder, [builder.load(total) for total in totals])


def _emit_slopes(emit: Emitter, take, products, targets, loss):
    """The slopes of some rows, each in all lanes of a vector; the loss grows by their values."""
    builder, count = emit.builder, products.type.count
    slopes, values = take(builder, products, targets)
    values = widened(builder, whole_value(builder, values))
    for r in range(count):
        value = builder.extract_element(values, _I32(r))
        builder.store(builder.fadd(builder.load(loss), value, flags=EXACT), loss)
    return [
        emit.spread(builder.extract_element(slopes, _I32(r)), emit.vector) for r in range(count)
    ]


def _emit_rows(emit: Emitter, x, y, w, g, ld, take, count: int, loss):
    """Take ``count`` rows, one after the other: parts of the gradient go to ``g``, of the loss."""
    builder, lanes = emit.builder, emit.lanes
    rows = [emit.at(x, (ld, _I64(r))) for r in range(count)]
    products = emit.fold([_emit_product(emit, row, w, ld) for row in rows])
    targets = emit.load(y, lanes=count)
    slopes = _emit_slopes(emit, take, products, targets, loss)

    def scaled(position, length):
        here, target = [emit.at(row, (position, 1)) for row in rows], emit.at(g, (position, 1))
        for i in range(length // lanes):
            total = emit.load(target, i * lanes)
            for row, slope in zip(here, slopes, strict=True):
                total = emit.fma(emit.load(row, i * lanes), slope, total)
            emit.store(total, target, i * lanes)

    cover(builder, ld, (_CHAINS * lanes, lanes), scaled)


def _make_rows(dtype, lanes: int, kind: str):
    @numba_intrinsic
    def rows(typing_context, x, y, w, g, count, ld, p):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, dtype, lanes)
            pointer = emit.scalar.as_pointer()
            x, y, w, g = (builder.inttoptr(address, pointer) for address in arguments[:4])
            count, ld, p = arguments[4:]
            length, loss = _together(lanes), cgutils.alloca_once(builder, _DOUBLE)
            builder.store(_DOUBLE(0.0), loss)

            def all_rows(take):
                def some(i, _):
                    here, there = emit.at(x, (i, ld)), builder.gep(y, [i])
                    _emit_rows(emit, here, there, w, g, ld, take, length, loss)

                cover(builder, count, (length,), some)

            by_loss(builder, ir.VectorType(emit.scalar, length), kind, p, all_rows)
            return builder.load(loss)

        return types.float64(*(types.intp,) * 6, types.float64), generate

    return rows


def _at_once(lanes: int) -> int:
    """So many rows that were picked are taken at once: a vector, if registers hold the sums."""
    return min(lanes, vector_registers() // 2, 8)


def _emit_at_once(emit: Emitter, rows, targets, w, g, ld, take, loss):
    """Take the first half of these rows, all at once; the others come next, and are asked for."""
    builder, lanes, count = emit.builder, emit.lanes, len(rows) // 2
    rows, soon, totals = rows[:count], rows[count:], emit.variables(count)
    with cgutils.for_range(builder, builder.sdiv(ld, _I64(lanes))) as loop:
        here = (loop.index, lanes)
        weights = emit.load(emit.at(w, here))
        for row, total in zip(rows, totals, strict=True):
            term = emit.fma(emit.load(emit.at(row, here)), weights, builder.load(total))
            builder.store(term, total)
    products = emit.fold([builder.load(total) for total in totals])
    slopes = _emit_slopes(emit, take, products, targets, loss)
    with cgutils.for_range(builder, builder.sdiv(ld, _I64(lanes))) as loop:
        here = (loop.index, lanes)
        target = emit.at(g, here)
        total = emit.load(target)
        for row, coming, slope in zip(rows, soon, slopes, strict=True):
            total = emit.fma(emit.load(emit.at(row, here)), slope, total)
            emit.prefetch(emit.at(coming, here), near=True)
        emit.store(total, target)


def _make_picked(dtype, lanes: int, kind: str):
    count = _at_once(lanes)

    @numba_intrinsic
    def picked(typing_context, x, y, numbers, w, g, length, ld, p):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, dtype, lanes)
            numbers = builder.inttoptr(arguments[2], _I32.as_pointer())
            pointer = emit.scalar.as_pointer()
            x, y, w, g = (builder.inttoptr(arguments[i], pointer) for i in (0, 1, 3, 4))
            length, ld, p = arguments[5:]
            loss = cgutils.alloca_once(builder, _DOUBLE)
            builder.store(_DOUBLE(0.0), loss)

            def all_rows(take):
                def some(i, _):
                    here = [emit.at(numbers, (i, 1), (_I64(r), 1)) for r in range(2 * count)]
                    places = [builder.sext(builder.load(number), _I64) for number in here]
                    targets = emit.load(builder.gep(y, [i]), lanes=count)
                    rows = [emit.at(x, (place, ld)) for place in places]
                    _emit_at_once(emit, rows, targets, w, g, ld, take, loss)

                cover(builder, length, (count,), some)

            by_loss(builder, ir.VectorType(emit.scalar, count), kind, p, all_rows)
            return builder.load(loss)

        return types.float64(*(types.intp,) * 7, types.float64), generate

    return picked


@cache
def make_one_map(dtype: np.dtype[Any], lanes: int, kind: str = "lp", *, streamed: bool = False):
    """Compile the pass for a run with one map and one output.

    Parameters and results are those of ``make_forward``; ``streamed`` as in ``Data``.
    """
    routines, differentiate = tiles(dtype, lanes), make_differentiate(dtype, lanes, kind)
    dots, weighted_sum = routines.dots, routines.weighted_sum
    stream, together = _make_rows(dtype, lanes, kind), _together(lanes)

    @inner
    @named(dtype.name, lanes, kind, streamed)
    def one(data, weights, work, sums, first, last, backwards, p):
        ld, tile, loss = data.ld, data.tile, 0.0
        gradient, w, g, r = work[:ld], at(weights, 0), at(work, 0), at(work, ld)
        gradient[:] = 0
        for i in range(first, last):
            row = (first + last - 1 - i if backwards and not streamed else i) * tile
            rows = min(tile, data.n - row)
            if streamed:
                whole = rows // together * together
                loss += stream(at(data.X, row * ld), at(data.Y, row), w, g, whole, ld, p)
                row, rows = row + whole, rows - whole
            if rows > 0:
                X, R = View(at(data.X, row * ld), ld, 1), View(r, tile, 1)
                dots(X, View(w, ld, 1), R, rows, 1, ld)
                loss += differentiate(r, at(data.Y, row), rows, p)
                weighted_sum(R, X, View(g, ld, 1), ld, rows)
            if (i - first) % data.flush == data.flush - 1 or i == last - 1:
                for j in range(ld):
                    sums[j] += np.float64(gradient[j])
                    gradient[j] = 0
        sums[sums.size - 1] = loss

    return one


@cache
def make_one_map_of_rows(dtype: np.dtype[Any], lanes: int, kind: str = "lp"):
    """Compile the same pass over rows that were picked: where they stand, a few at a time."""
    routines, differentiate = tiles(dtype, lanes), make_differentiate(dtype, lanes, kind)
    dots, weighted_sum = routines.dots, routines.weighted_sum
    take, together = _make_picked(dtype, lanes, kind), _at_once(lanes)

    @inner
    @named(dtype.name, lanes, kind)
    def one_of_rows(data, weights, work, sums, first, last, backwards, p):
        ld, loss = data.ld, 0.0
        gradient, w, g, r = work[:ld], at(weights, 0), at(work, 0), at(work, ld)
        gradient[:] = 0
        x, size = address(data.X), 4  # bytes of a row's number
        for row in range(0, data.n, FLUSH):
            rows = min(data.n - row, FLUSH)
            whole = rows // together * together
            y = address(shift(data.Y, row))
            loss += take(x, y, address(data.rows) + row * size, w, g, whole, ld, p)
            if whole < rows:
                rest = rows - whole
                X, Y = tile_at(data, row + whole, rest)
                dots(View(X, ld, 1), View(w, ld, 1), View(r, rest, 1), rest, 1, ld)
                loss += differentiate(r, Y, rest, p)
                weighted_sum(View(r, rest, 1), View(X, ld, 1), View(g, ld, 1), ld, rest)
            for j in range(ld):
                sums[j] += np.float64(gradient[j])
                gradient[j] = 0
        sums[sums.size - 1] = loss

    return one_of_rows
