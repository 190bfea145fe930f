"""The passes for p = 2 from the Gram matrices X'X and Y'X: O(k d^2) a map, float64.

One map with one output: ``w X'X`` from half of the matrix, which is symmetric. It lies in squares,
as many rows and columns as a vector has lanes, those on and right of the diagonal, row after row
of them. A square A in rows I and columns J is read once and used twice, for g_J += w_I A and
g_I += (A w_J)'.

Several maps, or outputs: a matrix product. X'X lies in panels of some vectors of columns; rows of
weights meet them, as many as there are in a tile of registers, whose elements are in every lane. So
many models go together. Every number is one sum in the order of the features, so it does not depend
on the other rows.

Both then take Y'X away, and have the gradient and, from its product with w, the loss.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import LINE, aligned_zeros, entry, inlined, inner, lanes_for, named, row_length
from .panels import in_panels
from .pointers import address, pointer, shift
from .shapes import shapes
from .simd import EXACT, Emitter, cover, folded, heights

_I64 = ir.IntType(64)
_FLOAT64 = np.dtype(np.float64)

#: Sums in flight, enough to hide the latency of a multiply-add.
_SUMS = 4
#: Panels that one row of weights meets at once: as many sums as hide it.
_PANELS = 4


#: Rows of a panel that are asked for ahead of a tile, since X'X is larger than the first level.
_AHEAD = 12


class Gram(NamedTuple):
    """X'X in squares or in panels, Y'X in k rows of ``ld``, both flat, and the squares of Y in all.

    A step of a map takes ``cost`` multiply-adds; ``group`` models are taken together.
    """

    X: np.ndarray
    Y: np.ndarray
    d: int
    ld: int
    k: int
    yy: float
    cost: int
    group: int


def pack_gram(XX: np.ndarray, YX: np.ndarray, YY: float, maps: int = 1) -> Gram:
    """Lay out what ``gram`` returns for so many maps, in squares for one with one output."""
    k, d = YX.shape
    ld, lanes = row_length(d, _FLOAT64), lanes_for(d, _FLOAT64)
    targets = aligned_zeros(k * ld, _FLOAT64)
    targets.reshape(k, ld)[:, :d] = YX
    flat = _in_squares(XX, ld, lanes) if maps * k == 1 else in_panels(XX, d, lanes)
    group = max(shapes().tile_height // k, 1)
    return Gram(flat, targets, d, ld, k, YY, k * d * ld, group)


def _in_squares(XX: np.ndarray, ld: int, lanes: int) -> np.ndarray:
    count, end = ld // lanes, 0
    flat = aligned_zeros(count * (count + 1) // 2 * lanes**2, _FLOAT64)
    for start in range(0, ld, lanes):
        rows = XX[start : start + lanes, start:]
        padded = np.zeros((lanes, ld - start))
        padded[: rows.shape[0], : rows.shape[1]] = rows
        squares = padded.reshape(lanes, -1, lanes).transpose(1, 0, 2)
        begin, end = end, end + squares.size
        flat[begin:end] = squares.ravel()
    return flat


class _Product(NamedTuple):
    """Addresses of X'X, of rows of weights and of where their products go, and numbers."""

    X: int
    W: int
    out: int
    rows: int
    d: int
    ld: int


class _Row(NamedTuple):
    """Addresses of X'X (or of a product), targets, weights and gradient of one row; its length."""

    X: int
    Y: int
    W: int
    G: int
    ld: int


def _pointers(emit: Emitter, numbers):
    return [emit.builder.inttoptr(number, emit.scalar.as_pointer()) for number in numbers]


def _emit_end(emit: Emitter, product, row, scale, sums):
    """A vector of the gradient; ``sums`` gain its terms of the loss, and its squares.

    ``row`` has the addresses of its targets and weights, and of where it goes.
    """
    builder, (target, weights, place) = emit.builder, row
    target = emit.load(target)
    gradient = builder.fsub(product, target, flags=EXACT)
    terms = builder.fsub(gradient, target, flags=EXACT)
    gradient = builder.fmul(gradient, scale, flags=EXACT)
    emit.store(gradient, place)
    for total, factors in zip(sums, [(emit.load(weights), terms), (gradient,) * 2], strict=True):
        builder.store(emit.fma(*factors, builder.load(total)), total)


def _emit_squares(emit: Emitter, row, ld, scale):
    """The gradient of one map with one output; the sums of its loss and squares."""
    builder, lanes = emit.builder, emit.lanes
    x, y, w, g = row
    square, factor = lanes * lanes, emit.spread(scale, emit.vector)
    blocks, totals = builder.sdiv(ld, _I64(lanes)), emit.variables(2)
    place = cgutils.alloca_once_value(builder, x)
    with cgutils.for_range(builder, blocks) as loop:
        emit.store(emit.zero, emit.at(g, (loop.index, lanes)))
    with cgutils.for_range(builder, blocks) as loop:
        weights, gradient, target = (emit.at(a, (loop.index, lanes)) for a in (w, g, y))
        spread = [emit.broadcast(builder.gep(weights, [_I64(r)])) for r in range(lanes)]
        here, own = builder.load(place), emit.load(gradient)
        for r in range(lanes):
            own = emit.fma(emit.load(here, r * lanes), spread[r], own)
        sums = emit.variables(lanes)
        following = builder.add(loop.index, _I64(1))
        right = builder.sub(blocks, following)
        with cgutils.for_range(builder, right) as across:
            column = builder.add(following, across.index)
            there = emit.at(here, (builder.add(across.index, _I64(1)), square))
            others, beside = emit.at(g, (column, lanes)), emit.load(emit.at(w, (column, lanes)))
            product = emit.load(others)
            for r in range(lanes):
                term = emit.load(there, r * lanes)
                product = emit.fma(term, spread[r], product)
                builder.store(emit.fma(term, beside, builder.load(sums[r])), sums[r])
            emit.store(product, others)
        builder.store(emit.at(here, (builder.add(right, _I64(1)), square)), place)
        own = builder.fadd(own, emit.fold([builder.load(part) for part in sums]), flags=EXACT)
        _emit_end(emit, own, (target, weights, gradient), factor, totals)
    return folded(emit, [[total] for total in totals])


def _emit_row(emit: Emitter, row, ld, scale):
    """The same for a row whose product is there."""
    builder, lanes = emit.builder, emit.lanes
    totals, squares = emit.variables(_SUMS), emit.variables(_SUMS)
    factor = emit.spread(scale, emit.vector)

    def vectors(position, length):
        for i in range(length // lanes):
            start = builder.add(position, _I64(i * lanes))
            product, *places = (builder.gep(place, [start]) for place in row)
            _emit_end(emit, emit.load(product), places, factor, (totals[i], squares[i]))

    cover(builder, ld, (_SUMS * lanes, lanes), vectors)
    return folded(emit, (totals, squares))


def _make_row(lanes: int, body):
    @intrinsic
    def row(typing_context, view, scale):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, _FLOAT64, lanes)
            *numbers, ld = (builder.extract_value(arguments[0], i) for i in range(5))
            sums = body(emit, _pointers(emit, numbers), ld, arguments[1])
            return context.make_tuple(builder, signature.return_type, sums)

        return types.UniTuple(types.float64, 2)(view, types.float64), generate

    return row


def _emit_tile(emit: Emitter, w, x, out, d, ld, rows: int, panels: int, width: int):
    """Some rows of weights times some panels of X'X."""
    builder, lanes = emit.builder, emit.lanes
    vectors = width // lanes
    totals = emit.variables(rows * panels * vectors)
    places = [emit.at(x, (d, _I64(p * width))) for p in range(panels)]
    with cgutils.for_range(builder, d) as loop:
        here = [emit.at(place, (loop.index, width)) for place in places]
        terms = [emit.load(panel, v * lanes) for panel in here for v in range(vectors)]
        for panel in here:
            for shift in range(0, width, LINE // emit.itemsize):
                emit.prefetch(builder.gep(panel, [_I64(_AHEAD * width + shift)]), near=True)
        for r in range(rows):
            weight = emit.broadcast(emit.at(w, (ld, _I64(r)), (loop.index, 1)))
            for i, term in enumerate(terms):
                total = totals[r * len(terms) + i]
                builder.store(emit.fma(term, weight, builder.load(total)), total)
    for i, total in enumerate(totals):
        r, v = divmod(i, panels * vectors)
        emit.store(builder.load(total), emit.at(out, (ld, _I64(r))), v * lanes)


def _make_product(lanes: int):
    width = lanes * shapes().tile_vectors
    pairs = tuple(rows for rows in heights() if rows % 2 == 0) or (2,)

    @intrinsic
    def product(typing_context, view):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, _FLOAT64, lanes)
            numbers = [builder.extract_value(arguments[0], i) for i in range(6)]
            (x, w, out), (rows, d, ld) = _pointers(emit, numbers[:3]), numbers[3:]
            single = builder.and_(rows, _I64(1))
            even = builder.sub(rows, single)

            def panel_at(column, step):
                panel, target = emit.at(x, (column, d)), emit.at(out, (column, 1))

                def rows_at(i, count):
                    above, there = emit.at(w, (i, ld)), emit.at(target, (i, ld))
                    _emit_tile(emit, above, panel, there, d, ld, count, 1, step)

                cover(builder, even, pairs, rows_at)

            def panels_at(column, step):
                panel, target = emit.at(x, (column, d)), emit.at(out, (column, 1), (even, ld))
                above, broad = emit.at(w, (even, ld)), min(step, width)
                _emit_tile(emit, above, panel, target, d, ld, 1, step // broad, broad)

            cover(builder, ld, (width, lanes), panel_at)
            with builder.if_then(builder.icmp_signed("!=", single, _I64(0))):
                cover(builder, ld, (_PANELS * width, width, lanes), panels_at)
            return context.get_dummy_value()

        return types.void(view), generate

    return product


@cache
def make_gram_pass(dtype: np.dtype[Any], lanes: int, kind: str = "lp"):
    """Compile ``one_pass(data, W, G, work, scale, p)`` for one map with one output.

    G becomes ``scale`` times half the gradient of the sum of the loss, which is returned with the
    sum of squares of G. Nothing else is written, and p is 2. W and G are pointers; all is float64.
    """
    squares = _make_row(lanes, _emit_squares)

    @inlined
    @named(lanes)
    def one_pass(data, W, G, work, scale, p):
        x, y = address(pointer(data.X)), address(pointer(data.Y))
        total, square = squares(_Row(x, y, address(W), address(G), data.ld), scale)
        return data.yy + total, square

    return one_pass


@cache
def make_gram_passes(lanes: int):
    """Compile the pass for several maps in two parts; all is float64.

    ``multiply(data, weights, work, rows)``: the products with X'X of so many rows of weights.
    ``collect(data, W, G, product, scale)`` does for one map what ``one_pass`` above does. All but
    ``data`` are pointers.
    """
    emitted, end = _make_product(lanes), _make_row(lanes, _emit_row)

    @inner
    @named(lanes)
    def multiply(data, weights, work, rows):
        x = address(pointer(data.X))
        emitted(_Product(x, address(weights), address(work), rows, data.d, data.ld))

    @inlined
    @named(lanes)
    def collect(data, W, G, product, scale):
        ld, total, square = data.ld, data.yy, 0.0
        for c in range(data.k):
            start = c * ld
            x, y = address(shift(product, start)), address(shift(pointer(data.Y), start))
            w, g = address(shift(W, start)), address(shift(G, start))
            terms = end(_Row(x, y, w, g, ld), scale)
            total, square = total + terms[0], square + terms[1]
        return total, square

    return multiply, collect


@cache
def _make_entry(lanes: int, several: bool):
    if several:
        multiply, collect = make_gram_passes(lanes)

        @entry("gram", lanes, several)
        def whole(data, W, G, work, scale):
            multiply(data, pointer(W), pointer(work), data.k)
            return collect(data, pointer(W), pointer(G), pointer(work), scale)

    else:
        one_pass = make_gram_pass(_FLOAT64, lanes)

        @entry("gram", lanes, several)
        def whole(data, W, G, work, scale):
            return one_pass(data, pointer(W), pointer(G), pointer(work), scale, 2.0)

    return whole


def gram_loss_and_gradient(
    XX: np.ndarray, YX: np.ndarray, YY: float, n: int, W: np.ndarray, factor: float
) -> tuple[float, np.ndarray]:
    """Loss and gradient for p = 2 from what ``gram`` returns."""
    data, (k, d) = pack_gram(XX, YX, YY), YX.shape
    weights, G, work = (aligned_zeros(k * data.ld, _FLOAT64) for _ in range(3))
    weights.reshape(k, data.ld)[:, :d] = W
    total, _ = _make_entry(lanes_for(d, _FLOAT64), k > 1)(data, weights, G, work, 2.0 * factor / n)
    return factor / n * total, G.reshape(k, data.ld)[:, :d].copy()
