"""The pass over the data for one map with one output, in two ways of going through X.

In the caches: tiles of rows that stay in the first level. A tile is read from further away once and
used twice, for its residuals and, from the first level, for its part of the gradient: a
matrix-vector product, and a sum of scaled rows. Every other pass of a run goes through the tiles
backwards: what the last one left in the second-level cache is then still there.

From memory, X being larger than the caches' share: row after row, in strictly ascending order, its
lines asked for some way ahead into the second level; a few rows are in the first level when their
parts of the gradient are taken. That is as fast as memory delivers.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as numba_intrinsic

from .differentiate import make_differentiate
from .jit import LINE, inner, named
from .losses import by_loss, whole_value
from .picked import tile_at
from .pointers import address
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


def _emit_product(emit: Emitter, x, soon, w, ld):
    """The products of a row and the weights, as a vector yet to be folded; ``soon`` is asked for."""
    builder, lanes, totals = emit.builder, emit.lanes, emit.variables(_CHAINS)

    def products(position, length):
        here, weights = emit.at(x, (position, 1)), emit.at(w, (position, 1))
        coming = emit.at(soon, (position, 1))
        for i in range(length // lanes):
            left, right = emit.load(here, i * lanes), emit.load(weights, i * lanes)
            builder.store(emit.fma(left, right, builder.load(totals[i])), totals[i])
        for shift in range(0, length, max(LINE // emit.itemsize, lanes)):
            emit.prefetch(builder.gep(coming, [_I64(shift)]))

    cover(builder, ld, (_CHAINS * lanes, lanes), products)
    return added(builder, [builder.load(total) for total in totals])


class _Some(NamedTuple):
    """A few rows of X, what is to be asked for with each, and a vector of their targets."""

    rows: list[Any]
    soon: list[Any]
    targets: Any


def _in_order(emit: Emitter, x, y, ld, i, count: int) -> _Some:
    """So many rows from row i on; those that lie some way behind them come soon."""
    ahead = shapes().ahead_bytes // emit.itemsize
    rows = [emit.at(x, (i, ld), (ld, _I64(r))) for r in range(count)]
    soon = [emit.builder.gep(row, [_I64(ahead)]) for row in rows]
    return _Some(rows, soon, emit.load(emit.builder.gep(y, [i]), lanes=count))


def _by_number(emit: Emitter, x, y, ld, numbers, count: int) -> _Some:
    """The rows with the first ``count`` numbers at a pointer; those behind these come soon."""
    builder = emit.builder
    places = [
        builder.sext(builder.load(builder.gep(numbers, [_I64(r)])), _I64) for r in range(2 * count)
    ]
    rows = [emit.at(x, (place, ld)) for place in places]
    targets = ir.Constant(ir.VectorType(emit.scalar, count), ir.Undefined)
    for r, place in enumerate(places[:count]):
        target = builder.load(builder.gep(y, [place]))
        targets = builder.insert_element(targets, target, _I32(r))
    return _Some(rows[:count], rows[count:], targets)


def _emit_rows(emit: Emitter, some: _Some, w, g, ld, take, loss):
    """Take a few rows, one after the other: parts of the gradient go to ``g``, of the loss."""
    builder, lanes, (rows, soon, targets) = emit.builder, emit.lanes, some
    products = emit.fold(
        [_emit_product(emit, *pair, w, ld) for pair in zip(rows, soon, strict=True)]
    )
    slopes, values = take(builder, products, targets)
    slopes = [
        emit.spread(builder.extract_element(slopes, _I32(r)), emit.vector) for r in range(len(rows))
    ]

    def scaled(position, length):
        here, target = [emit.at(row, (position, 1)) for row in rows], emit.at(g, (position, 1))
        for i in range(length // lanes):
            total = emit.load(target, i * lanes)
            for row, slope in zip(here, slopes, strict=True):
                total = emit.fma(emit.load(row, i * lanes), slope, total)
            emit.store(total, target, i * lanes)

    cover(builder, ld, (_CHAINS * lanes, lanes), scaled)
    values = widened(builder, whole_value(builder, values))
    for r in range(len(rows)):
        value = builder.extract_element(values, _I32(r))
        builder.store(builder.fadd(builder.load(loss), value, flags=EXACT), loss)


def _make_rows(dtype, lanes: int, kind: str, *, picked: bool):
    @numba_intrinsic
    def rows(typing_context, x, y, numbers, w, g, count, ld, p):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, dtype, lanes)
            pointer = emit.scalar.as_pointer()
            numbers = builder.inttoptr(arguments[2], _I32.as_pointer())
            x, y, w, g = (builder.inttoptr(arguments[i], pointer) for i in (0, 1, 3, 4))
            count, ld, p = arguments[5:]
            length, loss = _together(lanes), cgutils.alloca_once(builder, _DOUBLE)
            builder.store(_DOUBLE(0.0), loss)

            def all_rows(take):
                def some(i, _):
                    if picked:
                        here = builder.gep(numbers, [i])
                        taken = _by_number(emit, x, y, ld, here, length)
                    else:
                        taken = _in_order(emit, x, y, ld, i, length)
                    _emit_rows(emit, taken, w, g, ld, take, loss)

                cover(builder, count, (length,), some)

            by_loss(builder, ir.VectorType(emit.scalar, length), kind, p, all_rows)
            return builder.load(loss)

        return types.float64(*(types.intp,) * 7, types.float64), generate

    return rows


@cache
def make_one_map(dtype: np.dtype[Any], lanes: int, kind: str = "lp"):
    """Compile the pass for a run with one map and one output.

    Parameters and results are those of ``make_forward``.
    """
    routines, differentiate = tiles(dtype, lanes), make_differentiate(dtype, lanes, kind)
    dots, weighted_sum = routines.dots, routines.weighted_sum
    stream, together = _make_rows(dtype, lanes, kind, picked=False), _together(lanes)

    @inner
    @named(dtype.name, lanes, kind)
    def one(data, weights, work, sums, first, last, backwards, p):
        ld, tile, loss = data.ld, data.tile, 0.0
        gradient, w, g, r = work[:ld], at(weights, 0), at(work, 0), at(work, ld)
        gradient[:] = 0
        for i in range(first, last):
            row = (first + last - 1 - i if backwards and not data.streamed else i) * tile
            rows, streamed = min(tile, data.n - row), 0
            if data.streamed:
                streamed = rows // together * together
                loss += stream(at(data.X, row * ld), at(data.Y, row), 0, w, g, streamed, ld, p)
            if streamed < rows:
                row, rows = row + streamed, rows - streamed
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
    take, together = _make_rows(dtype, lanes, kind, picked=True), _together(lanes)

    @inner
    @named(dtype.name, lanes, kind)
    def one_of_rows(data, weights, work, sums, first, last, backwards, p):
        ld, loss = data.ld, 0.0
        gradient, w, g, r = work[:ld], at(weights, 0), at(work, 0), at(work, ld)
        gradient[:] = 0
        x, y, size = address(data.X), address(data.Y), 4  # bytes of a row's number
        for row in range(0, data.n, FLUSH):
            rows = min(data.n - row, FLUSH)
            whole = rows // together * together
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
