"""The chain of factors of a network with many outputs, which lie along the lanes of the vectors.

An output of the end-to-end matrix takes its own way through the factors: column c of

    suffix[f] = W_f' ... W_{N-1}'  (n_f, k)      pull[f] = W_{f-1} ... W_0 G'  (n_f, k)

depends on no other column. So a rank of a team makes all these products for outputs of its own, as
products of a factor with panels (:mod:`.wide_layout`). Only the gradient of a factor,
``suffix[f+1] pull[f]'``, is a sum over the outputs; there a rank has rows of its own. One meeting a
step, between the two, is enough.

In the sum over the outputs the features lie along the lanes, so every pulled-back product is also
kept transposed, ``turned[f] = pull[f]'``.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..system.caches import cache_bytes
from .factor_chain import COLUMNS, LD, PARAMS, ROWS, factor_row
from .jit import inner, named
from .panels import block_of, make_product, make_transpose
from .pointers import address, shift
from .shapes import shapes
from .simd import Emitter, View, begin_sums, cover, heights
from .wide_layout import last_gradient, pull, rows_share, suffix, turned

_I64 = ir.IntType(64)


@cache
def make_times(dtype: np.dtype[Any], lanes: int, *, transposed: bool):
    """Compile ``times(A, B, C, shape, span, fresh)``: C (m, k) += A (m, n) B (n, k).

    A is a ``View``, given by its transpose (n, m) if ``transposed``; ``shape`` is m and n. B and C
    are ``Panels``, of which the vectors of ``span``, first and last, are taken. A ``fresh`` C
    starts from 0. Every number is a sum in the order of n.
    """
    vectors, depth, size = shapes().tile_vectors, shapes().depth, dtype.itemsize
    # So many elements of A at a time, for all of B, have room in the second level beside the rest.
    height, near = shapes().tile_height, cache_bytes(2) // 4 // dtype.itemsize

    broad = make_product(dtype, lanes, vectors, transposed=transposed, ask=False)
    narrow = make_product(dtype, lanes, 1, transposed=transposed, ask=False)

    @inner
    @named(dtype.name, lanes, transposed)
    def times(a, b, c, shape, span, fresh):
        (m, n), (first, last) = shape, span
        block, band = block_of(n, depth), m
        if m * block > near:
            band = height * block_of((m + height - 1) // height, max(near // (block * height), 1))
        for t in range(0, n, block):
            count = min(block, n - t)
            for i in range(0, m, band):
                rows = min(band, m - i)
                skipped = t * a.row + i if transposed else i * a.row + t
                A = View(a.address + skipped * size, a.row, 1)
                v = first
                while v < last:
                    taken = vectors if last - v >= vectors else 1
                    width = taken * lanes
                    B = View(b.address + (v * lanes * b.rows + t * width) * size, width, 1)
                    C = View(c.address + (v * lanes * c.rows + i * width) * size, width, 1)
                    begins = fresh if t == 0 else 0
                    if taken == vectors:
                        broad(A, B, C, rows, count, 0, begins)
                    else:
                        narrow(A, B, C, rows, count, 0, begins)
                    v += taken

    return times


@cache
def make_outputs(dtype: np.dtype[Any], lanes: int):
    """Compile ``multiply(chain, span, f)`` and ``pull_back(chain, span, f)``.

    Both are for the outputs in the vectors of ``span``, first and last: all suffix products down to
    ``suffix[f]``, of which ``suffix[0]`` is the end-to-end matrix; and from ``pull[f]``, of which
    ``pull[0]`` is its gradient, all others, with what is kept of them transposed.
    """
    vectors, size = shapes().tile_vectors, dtype.itemsize
    times = make_times(dtype, lanes, transposed=False)
    times_transposed = make_times(dtype, lanes, transposed=True)
    transpose = make_transpose(dtype, lanes)

    @inner
    @named(dtype.name, lanes)
    def multiply(chain, span, lowest):
        first, last = span
        if lowest == chain.depth:
            return
        row = factor_row(chain, chain.depth - 1)
        ld, W, Q = (
            row[LD],
            address(shift(chain.params, row[PARAMS])),
            suffix(chain, chain.depth - 1),
        )
        v = first
        while v < last:
            width = (vectors if last - v >= vectors else 1) * lanes
            source = View(W + v * lanes * ld * size, ld, 1)
            transpose(source, View(Q.address + v * lanes * ld * size, width, 1), width, ld)
            v += width // lanes
        for f in range(chain.depth - 2, lowest - 1, -1):
            row = factor_row(chain, f)
            A = View(address(shift(chain.params, row[PARAMS])), row[LD], 1)
            B, C = suffix(chain, f + 1), suffix(chain, f)
            times_transposed(A, B, C, (row[COLUMNS], row[ROWS]), (first, last), 1)

    @inner
    @named(dtype.name, lanes)
    def pull_back(chain, span, lowest):
        first, last = span
        for f in range(lowest, chain.depth):
            row = factor_row(chain, f)
            P, T, ld = pull(chain, f), turned(chain, f, lanes), row[LD]
            whole = f == chain.depth - 1
            v = first
            while v < last:
                width = (vectors if last - v >= vectors else 1) * lanes
                source, start = P.address + v * lanes * ld * size, 0
                while start < ld:
                    across = (
                        ld if whole else lanes * (vectors if ld - start >= vectors * lanes else 1)
                    )
                    target = T + (v * lanes * ld + start * width) * size
                    square = View(source + start * width * size, width, 1)
                    transpose(square, View(target, across, 1), across, width)
                    start += across
                v += width // lanes
            if not whole:
                A = View(address(shift(chain.params, row[PARAMS])), ld, 1)
                times(A, P, pull(chain, f + 1), (row[ROWS], row[COLUMNS]), (first, last), 1)

    return multiply, pull_back


class _Outer(NamedTuple):
    """What a gradient is made of, for some rows from ``first`` on and one panel of columns.

    Addresses of the suffix product, with its number of rows, and of the transposed pulled-back one,
    with the length of its rows and the column where the panel starts; the number of outputs; and
    whether these are the first ones.
    """

    suffix: int
    rows: int
    first: int
    turned: int
    ld: int
    column: int
    k: int
    fresh: int


def _emit_outer(emit: Emitter, outer, c, rows: int, vectors: int):
    """C[r, v] += sum_o suffix[r, o] turned[o, v], o the outputs; a fresh C starts from 0."""
    builder, lanes, broad = emit.builder, emit.lanes, shapes().tile_vectors
    base, total_rows, first, t, ld, column, k, fresh = outer
    one, zero = _I64(1), _I64(0)
    totals = emit.variables(rows * vectors)
    targets = [
        (emit.at(c.pointer, (c.row, r)), v * lanes) for r in range(rows) for v in range(vectors)
    ]
    begin_sums(emit, totals, targets, fresh)
    count = builder.sdiv(builder.add(k, _I64(lanes - 1)), _I64(lanes))
    whole = builder.sdiv(count, _I64(broad))

    def panels_from(begin, end, width):
        """Add the outputs in panels of ``width``, which are counted from 0."""
        with cgutils.for_range_slice(builder, begin, end, one) as (panel, _):
            start = builder.mul(panel, _I64(width))
            here = emit.at(base, (start, total_rows), (first, width))
            terms_at = emit.at(t, (start, ld), (column, width))
            left_over = builder.sub(k, start)
            less = builder.icmp_signed("<", left_over, _I64(width))
            inside = builder.select(less, left_over, _I64(width))
            with cgutils.for_range(builder, inside) as loop:
                there = emit.at(terms_at, (loop.index, vectors * lanes))
                terms = [emit.load(there, v * lanes) for v in range(vectors)]
                for r in range(rows):
                    weight = emit.broadcast(emit.at(here, (_I64(r), width), (loop.index, 1)))
                    for v in range(vectors):
                        total = totals[r * vectors + v]
                        builder.store(emit.fma(terms[v], weight, builder.load(total)), total)

    panels_from(zero, whole, broad * lanes)
    if broad > 1:
        panels_from(builder.mul(whole, _I64(broad)), count, lanes)
    for total, target in zip(totals, targets, strict=True):
        emit.store(builder.load(total), *target)


def _make_outer(dtype, lanes: int, vectors: int):
    @intrinsic
    def outer(typing_context, outer, c, m):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, dtype, lanes)
            fields = [builder.extract_value(arguments[0], i) for i in range(8)]
            for i in (0, 3):
                fields[i] = builder.inttoptr(fields[i], emit.scalar.as_pointer())
            c = emit.unpack(arguments[1])

            def rows_at(i, rows):
                here = [*fields[:2], builder.add(fields[2], i), *fields[3:]]
                _emit_outer(emit, here, c.down(emit, i), rows, vectors)

            cover(builder, arguments[2], heights(), rows_at)
            return context.get_dummy_value()

        return types.void(outer, c, m), generate

    return outer


@cache
def make_layers(dtype: np.dtype[Any], lanes: int, consume):
    """Compile ``descend(chain, block, sink, part, parts, f)``: a part of the rows of gradients.

    They are those of the factors from number f on.
    ``consume(chain, block, start, count, sink)`` receives the gradient of ``count`` parameters from
    ``start`` on, a few rows at a time, while they are in a cache. ``block`` has room for
    ``shapes().tile_height`` rows.
    """
    height, vectors, size = shapes().tile_height, shapes().tile_vectors, dtype.itemsize
    broad, narrow = _make_outer(dtype, lanes, vectors), _make_outer(dtype, lanes, 1)
    width, depth = vectors * lanes, shapes().depth
    # So many columns at a time that what all their rows read has room in the second level.
    near = cache_bytes(2) // 4

    @inner
    @named(dtype.name, lanes)
    def rows_of(Q, first, T, block, m, columns, ld, k):
        """The gradient of m rows and the columns from ``columns[0]`` to ``[1]``, in ``block``."""
        end, size_of_row = columns[1], columns[1] - columns[0]
        panels = (k + width - 1) // width
        some = width * block_of(panels, max(depth // width, 1))
        for o in range(0, k, some):
            start, outputs = columns[0], min(some, k - o)
            here, there = Q.address + o * Q.rows * size, T + o * ld * size
            while start < end:
                outer = _Outer(here, Q.rows, first, there, ld, start, outputs, int(o == 0))
                C = View(block + (start - columns[0]) * size, size_of_row, 1)
                if end - start >= width:
                    broad(outer, C, m)
                    start += width
                else:
                    narrow(outer, C, m)
                    start += lanes

    @inner
    @named(dtype.name, lanes)
    def descend(chain, block, sink, part, parts, lowest):
        outputs = (chain.k + lanes - 1) // lanes * lanes
        most = max(near // (outputs * size) // width, 1) * width
        for f in range(lowest, chain.depth - 1):
            row, Q = factor_row(chain, f), suffix(chain, f + 1)
            ld, T = row[LD], turned(chain, f, lanes)
            first, last = rows_share(row[ROWS], part, parts)
            for begin in range(0, ld, most):
                end = min(begin + most, ld)
                for r in range(first, last, height):
                    m, start = min(height, last - r), row[PARAMS] + r * ld + begin
                    rows_of(Q, r, T, address(block), m, (begin, end), ld, chain.k)
                    if end - begin == ld:
                        consume(chain, block, start, m * ld, sink)
                    else:
                        for i in range(m):
                            done = shift(block, i * (end - begin))
                            consume(chain, done, start + i * ld, end - begin, sink)
        row = factor_row(chain, chain.depth - 1)
        first, last = rows_share(row[ROWS], part, parts)
        start, count = first * row[LD], max(last - first, 0) * row[LD]
        gradient = shift(last_gradient(chain, lanes), start)
        consume(chain, gradient, row[PARAMS] + start, count, sink)

    return descend
