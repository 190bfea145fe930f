"""A step of a network of which few entries of the end-to-end matrix are seen.

The end-to-end matrix is U V', V the transposed first factor and U the product of the others. Its
entries that are seen, and what their slopes become behind the first factor and above it, are made
by :mod:`.sampled`; the rest of the chain is that of :mod:`.wide_chain`. So a network of two factors
makes no product of matrices at all. The slopes stand where the gradient of the end-to-end matrix
would, in the order of the entries; U behind it, row by row. Each rank has a copy of V.
"""

from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from .differentiate import make_differentiate
from .factor_chain import LD, PARAMS, ROWS, factor_row
from .jit import inner, named, padded
from .norms import sum_of_squares
from .panels import make_transpose
from .pointers import address, pointer, pointer_to, shift
from .sampled import make_row_products, make_row_sum
from .shapes import shapes
from .simd import View
from .wide_layout import end_to_end_gradient, last_gradient, pull, suffix, turned

#: Bytes of an int32.
_INT = 4
#: Vectors of rows of the first factor whose gradient is made at a time.
_TOGETHER = 4
#: Of fewer of its entries than this share the matrix is not made: from three to five tenths on, at
#: widths of 5 to 100 in both dtypes, products of matrices take less time.
_SHARE = 0.4


@inner
def is_sampled(data, chain):
    """Whether a network makes its steps this way: see ``_SHARE``."""
    return chain.depth > 1 and data.values.size < _SHARE * data.k * data.d


@inner
def lowest_product(chain):
    """Which suffix product a step makes last, and which pulled-back one first: of two none."""
    return 1 if chain.depth > 2 else 2


def work_of_step(count: int, widths: tuple[int, ...]) -> int:
    """Multiply-adds of a step by ``count`` entries, or what takes as long as them."""
    products = sum(rows * columns for columns, rows in pairwise(widths[:-1]))
    d, k = widths[0], widths[-1]
    if len(widths) > 2 and count < _SHARE * k * d:
        return 3 * (k * (products - widths[1] * d) + 2 * count * widths[1])
    return 3 * k * products + k * d


def work_size(widths: tuple[int, ...], lanes: int) -> tuple[int, int]:
    """Elements of scratch and of a block that a rank needs for a network of these widths."""
    if len(widths) == 2:
        return 0, 0
    row, hidden = padded(widths[0], lanes), padded(widths[1], lanes)
    together = min(_TOGETHER * lanes, hidden)
    some = max(row * together, hidden * shapes().tile_vectors * lanes)
    return row * hidden + some, row * together


@cache
def make_sampled_outputs(dtype: np.dtype[Any], lanes: int, kind: str):
    """Compile ``outputs(data, chain, memory, span, scale, p)`` for the outputs of a span.

    From ``suffix[1]``, or the last of two factors, it makes the slopes of their entries, the sums
    of values and of squares of slopes as ``make_wide_pass`` says, and ``pull[1]``, or of the last
    of two factors the gradient.
    """
    vectors, size = shapes().tile_vectors, dtype.itemsize
    products, row_sum = make_row_products(dtype, lanes), make_row_sum(dtype, lanes, ordered=False)
    differentiate, transpose = make_differentiate(dtype, lanes, kind), make_transpose(dtype, lanes)
    zero = dtype.type(0)

    @inner
    @named(dtype.name, lanes)
    def turn_first_factor(chain, V):
        """Leave V (d, h) at an address."""
        row, hidden = factor_row(chain, 0), factor_row(chain, 1)[LD]
        rows, ld = row[ROWS], row[LD]
        W, whole = shift(chain.params, row[PARAMS]), row[ROWS] // lanes * lanes
        transpose(View(address(W), ld, 1), View(V, hidden, 1), whole, ld)
        target = pointer_to(V, W)
        for j in range(ld):
            for t in range(whole, rows):
                target[j * hidden + t] = W[t * ld + j]
            for t in range(rows, hidden):
                target[j * hidden + t] = zero

    @inner
    @named(dtype.name, lanes)
    def combine(data, G, first, last):
        """Give an entry that was seen several times one slope, their sum, and the others 0."""
        head = first
        for e in range(first + 1, last):
            if data.places[e] == data.places[head]:
                G[head] += G[e]
                G[e] = zero
            else:
                head = e

    @inner
    @named(dtype.name, lanes, kind)
    def outputs(data, chain, memory, span, scale, p):
        ld, hidden, two = data.ld, factor_row(chain, 1)[LD], chain.depth == 2
        columns, values, starts = (
            address(pointer(data.columns)),
            address(pointer(data.values)),
            pointer(data.starts),
        )
        V = memory.residuals
        rest = V + ld * hidden * size
        turn_first_factor(chain, V)
        G = end_to_end_gradient(chain)
        slopes = address(G)
        squares = shift(memory.sums, (data.k + lanes - 1) // lanes)
        last_factor, U = shift(chain.params, factor_row(chain, 1)[PARAMS]), turned(chain, 0, lanes)
        copy = pointer_to(U, last_factor)
        v = span[0]
        while v < span[1]:
            step = vectors if span[1] - v >= vectors else 1
            begin, end, panel = v * lanes, (v + step) * lanes, v * lanes * hidden * size
            if two:  # a copy, since others read it when this factor is updated
                for i in range(begin * hidden, end * hidden):
                    copy[i] = last_factor[i]
            else:
                source = View(suffix(chain, 1).address + panel, step * lanes, 1)
                transpose(source, View(U + panel, hidden, 1), hidden, step * lanes)
            for i in range(begin, end):
                e, count = starts[i], starts[i + 1] - starts[i]
                u, there = U + i * hidden * size, columns + e * _INT
                products(u, V, there, count, slopes + e * size, hidden)
            first, count = starts[begin], starts[end] - starts[begin]
            there = slopes + first * size, values + first * size
            memory.sums[v] = differentiate(there[0], there[1], count, p)
            for e in range(first, first + count):
                G[e] = scale * np.float64(G[e])
            if data.repeated:
                combine(data, G, first, first + count)
            squares[v] = sum_of_squares(shift(G, first), count)
            target = address(last_gradient(chain, lanes)) + panel if two else rest
            for i in range(begin, end):
                e, count = starts[i], starts[i + 1] - starts[i]
                numbers, into = (columns + e * _INT, 0), target + (i - begin) * hidden * size
                row_sum(slopes + e * size, numbers, count, (V, hidden), into, hidden)
            if not two:
                P = View(pull(chain, 1).address + panel, step * lanes, 1)
                transpose(View(rest, hidden, 1), P, step * lanes, hidden)
            v += step

    return outputs


@cache
def make_first_layer(dtype: np.dtype[Any], lanes: int, consume):
    """Compile ``descend_first(data, chain, room, sink, part, parts)``: a part of the first factor.

    ``room`` is the address of scratch, and a pointer to a block. The gradient of some rows at a
    time is made from the slopes and from U, and handed to ``consume`` as by ``make_layers``.
    """
    size, row_sum = dtype.itemsize, make_row_sum(dtype, lanes, ordered=True)
    transpose = make_transpose(dtype, lanes)

    @inner
    @named(dtype.name, lanes)
    def descend_first(data, chain, room, sink, part, parts):
        work, block = room
        row, above = factor_row(chain, 0), factor_row(chain, 1)
        rows, ld, hidden = row[ROWS], row[LD], above[LD]
        slopes, tops = address(end_to_end_gradient(chain)), pointer(data.tops)
        down, order = address(pointer(data.rows)), address(pointer(data.order))
        U, vectors = turned(chain, 0, lanes), hidden // lanes
        v, last = vectors * part // parts, vectors * (part + 1) // parts
        while v < last:
            step = min(_TOGETHER, last - v)
            width, first = step * lanes, v * lanes
            for j in range(ld):
                e, count = tops[j], tops[j + 1] - tops[j]
                numbers = down + e * _INT, order + e * _INT
                base = U + first * size, hidden
                row_sum(slopes, numbers, count, base, work + j * width * size, width)
            transpose(View(work, width, 1), View(address(block), ld, 1), ld, width)
            m = min(width, rows - first)
            consume(chain, block, row[PARAMS] + first * ld, m * ld, sink)
            v += step

    return descend_first
