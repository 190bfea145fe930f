"""The chain of factors of a network with many outputs, which lie along the lanes of the vectors.

An output of the end-to-end matrix takes its own way through the factors: column c of

    suffix[f] = W_f' ... W_{N-1}'  (n_f, k)      pull[f] = W_{f-1} ... W_0 G'  (n_f, k)

depends on no other column. So a rank of a team makes all these products for outputs of its own,
:class:`Panels` of them, as many products of a factor with a panel. Only the gradient of a factor,
``suffix[f+1] pull[f]'``, is a sum over the outputs; there a rank has rows of its own. One meeting a
step, between the two, is enough.

In the sum over the outputs the features lie along the lanes, so every pulled-back product is also
kept transposed, ``turned[f] = pull[f]'``: in panels of its columns, the last one by rows.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .factor_chain import COLUMNS, LD, PARAMS, PULL, ROWS, SUFFIX, factor_row
from .jit import inner, named
from .panels import make_product, make_transpose
from .pointers import address, shift
from .shapes import shapes
from .simd import Emitter, View, claim, cover, fetch, heights

_I64 = ir.IntType(64)


@inner
def rows_share(rows, part, parts):
    """Rows of a factor that are a part's: registers hold multiples of four rows."""
    units = (rows + 3) // 4
    return 4 * (units * part // parts), min(4 * (units * (part + 1) // parts), rows)


@cache
def make_fetch(dtype: np.dtype[Any], lanes: int):
    """Compile ``fetch_factors(chain, part, parts)`` and ``fetch_products(chain, part, parts)``."""
    size, vectors = dtype.itemsize, shapes().tile_vectors
    share = make_share()

    @inner
    @named(dtype.name, lanes)
    def fetch_factors(chain, part, parts):
        for f in range(chain.depth - 2, -1, -1):
            row = factor_row(chain, f)
            first, last = rows_share(row[ROWS], part, parts)
            W, line = address(shift(chain.params, row[PARAMS])), row[LD] * size
            fetch(W, first * line)
            fetch(W + last * line, (row[ROWS] - last) * line)
        outputs = (chain.k + lanes - 1) // lanes
        begin, end = share(outputs, part, parts), share(outputs, part + 1, parts)
        for f in range(1, chain.depth):
            row, Q = factor_row(chain, f), suffix(chain, f)
            line = row[LD] * lanes * size
            claim(Q.address + begin * line, (end - begin) * line)
        for f in range(chain.depth - 1):
            line = factor_row(chain, f)[LD] * lanes * size
            claim(turned(chain, f, lanes) + begin * line, (end - begin) * line)

    @inner
    @named(dtype.name, lanes)
    def fetch_products(chain, part, parts):
        outputs = (chain.k + lanes - 1) // lanes
        begin, end = share(outputs, part, parts), share(outputs, part + 1, parts)
        for f in range(chain.depth - 1):
            row = factor_row(chain, f)
            T, Q = turned(chain, f, lanes), suffix(chain, f + 1)
            first, last = rows_share(row[ROWS], part, parts)
            W, line = address(shift(chain.params, row[PARAMS])), row[LD] * size
            claim(W + first * line, (last - first) * line)
            v = 0
            while v < outputs:
                step = vectors if outputs - v >= vectors else 1
                if v < begin or v >= end:
                    line = step * lanes * size
                    start = Q.address + (v * lanes * Q.rows) * size
                    fetch(start + first * line, (last - first) * line)
                v += step
            line = row[LD] * lanes * size
            fetch(T, begin * line)
            fetch(T + end * line, (outputs - end) * line)

    return fetch_factors, fetch_products


class Panels(NamedTuple):
    """A matrix of ``rows`` rows in panels: that from vector v on stands at ``v * lanes * rows``.

    A panel has ``shapes().tile_vectors`` vectors a row, or one where fewer are left.
    """

    address: int
    rows: int


@cache
def make_share():
    """Compile ``share(vectors, part, parts)``: where a part of so many vectors of outputs begins.

    That is with a whole panel.
    """
    width = shapes().tile_vectors

    @inner
    @named(width)
    def share(vectors, part, parts):
        if part == parts:
            return vectors
        return (2 * vectors * part + width * parts) // (2 * width * parts) * width

    return share


@cache
def make_times(dtype: np.dtype[Any], lanes: int, *, transposed: bool, fresh: bool):
    """Compile ``times(A, B, C, m, n, first, last)``: C (m, k) += A (m, n) B (n, k).

    A is a ``View``, given by its transpose (n, m) if ``transposed``; B and C are ``Panels``, of
    which vectors ``first`` to ``last`` are taken. A ``fresh`` C starts from 0. Every number is a sum
    in the order of n.
    """
    vectors, depth, size = shapes().tile_vectors, shapes().depth, dtype.itemsize

    def products(count: int):
        begin = make_product(dtype, lanes, count, transposed=transposed, fresh=fresh)
        follow = make_product(dtype, lanes, count, transposed=transposed)
        return begin, follow

    begin_broad, broad = products(vectors)
    begin_narrow, narrow = products(1)

    @inner
    @named(dtype.name, lanes, transposed, fresh)
    def times(a, b, c, m, n, first, last):
        for t in range(0, n, depth):
            count = min(depth, n - t)
            skipped = t * a.row if transposed else t
            A = View(a.address + skipped * size, a.row, 1)
            v = first
            while v < last:
                taken = vectors if last - v >= vectors else 1
                width = taken * lanes
                B = View(b.address + (v * lanes * b.rows + t * width) * size, width, 1)
                C = View(c.address + v * lanes * c.rows * size, width, 1)
                if taken == vectors:
                    if t == 0:
                        begin_broad(A, B, C, m, count, 0)
                    else:
                        broad(A, B, C, m, count, 0)
                elif t == 0:
                    begin_narrow(A, B, C, m, count, 0)
                else:
                    narrow(A, B, C, m, count, 0)
                v += taken

    return times


@cache
def make_outputs(dtype: np.dtype[Any], lanes: int):
    """Compile ``multiply(chain, first, last)`` and ``pull_back(chain, first, last)``.

    Both are for the outputs in vectors ``first`` to ``last``: all suffix products, of which the
    first is the end-to-end matrix, and from the gradient in the first ``pull`` product all others,
    with what is kept of them transposed.
    """
    vectors, size = shapes().tile_vectors, dtype.itemsize
    times = make_times(dtype, lanes, transposed=False, fresh=True)
    times_transposed = make_times(dtype, lanes, transposed=True, fresh=True)
    transpose = make_transpose(dtype, lanes)

    @inner
    @named(dtype.name, lanes)
    def multiply(chain, first, last):
        row = factor_row(chain, chain.depth - 1)
        ld, W, Q = row[LD], address(shift(chain.params, row[PARAMS])), suffix(chain, chain.depth - 1)
        v = first
        while v < last:
            width = (vectors if last - v >= vectors else 1) * lanes
            source = View(W + v * lanes * ld * size, ld, 1)
            transpose(source, View(Q.address + v * lanes * ld * size, width, 1), width, ld)
            v += width // lanes
        for f in range(chain.depth - 2, -1, -1):
            row = factor_row(chain, f)
            A = View(address(shift(chain.params, row[PARAMS])), row[LD], 1)
            B, C = suffix(chain, f + 1), suffix(chain, f)
            times_transposed(A, B, C, row[COLUMNS], row[ROWS], first, last)

    @inner
    @named(dtype.name, lanes)
    def pull_back(chain, first, last):
        for f in range(chain.depth):
            row = factor_row(chain, f)
            P, T, ld = pull(chain, f), turned(chain, f, lanes), row[LD]
            whole = f == chain.depth - 1
            v = first
            while v < last:
                width = (vectors if last - v >= vectors else 1) * lanes
                source, start = P.address + v * lanes * ld * size, 0
                while start < ld:
                    across = ld if whole else lanes * (vectors if ld - start >= vectors * lanes else 1)
                    target = T + (v * lanes * ld + start * width) * size
                    square = View(source + start * width * size, width, 1)
                    transpose(square, View(target, across, 1), across, width)
                    start += across
                v += width // lanes
            if not whole:
                A = View(address(shift(chain.params, row[PARAMS])), ld, 1)
                times(A, P, pull(chain, f + 1), row[ROWS], row[COLUMNS], first, last)

    return multiply, pull_back


@inner
def suffix(chain, f):
    """Return W_f' ... W_{N-1}', (n_f, k)."""
    row = factor_row(chain, f)
    return Panels(address(shift(chain.products, row[SUFFIX])), row[LD])


@inner
def pull(chain, f):
    """Return W_{f-1} ... W_0 G', (n_f, k)."""
    row = factor_row(chain, f)
    return Panels(address(shift(chain.products, row[PULL])), row[LD])


@inner
def turned(chain, f, lanes):
    """Address of the transpose of ``pull(chain, f)``.

    It is cut as the outputs are: the rows of a panel of outputs stand together, in panels of their
    columns, and for the last factor row after row.
    """
    row, outputs = factor_row(chain, f), (chain.k + lanes - 1) // lanes * lanes
    return address(shift(chain.products, row[PULL] + row[LD] * outputs))


@inner
def end_to_end_matrix(chain):
    """Point to the first suffix product."""
    return shift(chain.products, factor_row(chain, 0)[SUFFIX])


@inner
def end_to_end_gradient(chain):
    """Point to the first pulled-back product."""
    return shift(chain.products, factor_row(chain, 0)[PULL])


@inner
def last_gradient(chain, lanes):
    """Point to the gradient of the last factor, laid out like that."""
    row, outputs = factor_row(chain, chain.depth - 1), (chain.k + lanes - 1) // lanes * lanes
    return shift(chain.products, row[PULL] + row[LD] * outputs)


class _Outer(NamedTuple):
    """What a gradient is made of, for some rows from ``first`` on and one panel of columns.

    Addresses of the suffix product, with its number of rows, and of the transposed pulled-back one,
    with the length of its rows and the column where the panel starts; the number of outputs.
    """

    suffix: int
    rows: int
    first: int
    turned: int
    ld: int
    column: int
    k: int


def _emit_outer(emit: Emitter, outer, c, rows: int, vectors: int):
    """C[r, v] = sum_o suffix[r, o] turned[o, v], o the outputs."""
    builder, lanes, broad = emit.builder, emit.lanes, shapes().tile_vectors
    base, total_rows, first, t, ld, column, k = outer
    one, zero = _I64(1), _I64(0)
    totals = emit.variables(rows * vectors)
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
    for r in range(rows):
        target = emit.at(c.pointer, (c.row, r))
        for v in range(vectors):
            emit.store(builder.load(totals[r * vectors + v]), target, v * lanes)


def _make_outer(dtype, lanes: int, vectors: int):
    @intrinsic
    def outer(typing_context, outer, c, m):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, dtype, lanes)
            fields = [builder.extract_value(arguments[0], i) for i in range(7)]
            for i in (0, 3):
                fields[i] = builder.inttoptr(fields[i], emit.scalar.as_pointer())
            c = emit.unpack(arguments[1])

            def rows_at(i, rows):
                here = fields[:2] + [builder.add(fields[2], i)] + fields[3:]
                _emit_outer(emit, here, c.down(emit, i), rows, vectors)

            cover(builder, arguments[2], heights(), rows_at)
            return context.get_dummy_value()

        return types.void(outer, c, m), generate

    return outer


@cache
def make_layers(dtype: np.dtype[Any], lanes: int, consume):
    """Compile ``descend(chain, block, sink, part, parts)``: a part of the rows of all gradients.

    ``consume(chain, block, start, count, sink)`` receives the gradient of ``count`` parameters from
    ``start`` on in ``block``, a few rows at a time, while they are in a cache. ``block`` holds
    ``shapes().tile_height`` rows.
    """
    height, vectors, size = shapes().tile_height, shapes().tile_vectors, dtype.itemsize
    broad, narrow = _make_outer(dtype, lanes, vectors), _make_outer(dtype, lanes, 1)
    width = vectors * lanes

    @inner
    @named(dtype.name, lanes)
    def rows_of(Q, first, T, block, m, ld, k):
        """The gradient of m rows, all columns of it, in ``block``."""
        start = 0
        while start < ld:
            outer = _Outer(Q.address, Q.rows, first, T, ld, start, k)
            C = View(block + start * size, ld, 1)
            if ld - start >= width:
                broad(outer, C, m)
                start += width
            else:
                narrow(outer, C, m)
                start += lanes

    @inner
    @named(dtype.name, lanes)
    def descend(chain, block, sink, part, parts):
        for f in range(chain.depth):
            row = factor_row(chain, f)
            rows, ld, T = row[ROWS], row[LD], turned(chain, f, lanes)
            first, last = rows_share(rows, part, parts)
            for r in range(first, last, height):
                m = min(height, last - r)
                start = row[PARAMS] + r * ld
                if f == chain.depth - 1:
                    gradient = shift(last_gradient(chain, lanes), r * ld)
                    consume(chain, gradient, start, m * ld, sink)
                else:
                    Q = suffix(chain, f + 1)
                    rows_of(Q, r, T, address(block), m, ld, chain.k)
                    consume(chain, block, start, m * ld, sink)

    return descend
