"""The matrix products of a pass for many maps, whose maps lie along the lanes of the vectors.

A panel holds the numbers of ``width`` maps, a few vectors of them: a row a feature, or a row a
sample. What meets it is an element of X in every lane.
"""

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import aligned_zeros, inner, named, padded
from .shapes import shapes
from .simd import Emitter, Matrix, cover, emit_rank, heights

_I64 = ir.IntType(64)


@cache
def make_product(
    dtype: np.dtype[Any],
    lanes: int,
    vectors: int,
    *,
    transposed: bool,
    ask: bool,
):
    """Compile ``product(A, B, C, m, n, ahead, fresh)``: C (m, width) += A (m, n) B (n, width).

    A is given by its transpose (n, m) if ``transposed``. With ``ask`` the elements that lie
    ``ahead`` of A travel to the second-level cache meanwhile. A ``fresh`` C starts from 0.
    """
    width = _I64(vectors * lanes)

    @intrinsic
    def emitted(typing_context, a, b, c, m, n, ahead, fresh):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, dtype, lanes)
            (a, b, c), (m, n, ahead, fresh) = map(emit.unpack, arguments[:3]), arguments[3:]
            # Strides that are known save the registers of addresses.
            strides = (_I64(1), a.row) if transposed else (a.row, _I64(1))
            a = Matrix(a.pointer, *strides)
            b, c = b._replace(row=width), c._replace(row=width)

            def rows_at(i, rows):
                here = a.down(emit, i)
                soon = builder.gep(here.pointer, [ahead]) if ask else None
                target = c.down(emit, i)
                emit_rank(emit, here, b, target, n, rows, vectors, soon=soon, fresh=fresh)

            cover(builder, m, heights(), rows_at)
            return context.get_dummy_value()

        return types.void(a, b, c, *(types.intp,) * 4), generate

    @inner
    @named(dtype.name, lanes, vectors, transposed, ask)
    def product(a, b, c, m, n, ahead, fresh):
        emitted(a, b, c, m, n, ahead, fresh)

    return product


@cache
def make_targets(dtype: np.dtype[Any], lanes: int, vectors: int):
    """Compile ``targets(Y, C, m, first, count)`` for panels of so many vectors.

    C[r, c] = -Y[r, first + c], modulo the columns of Y, and 0 from c = ``count`` on.
    """
    width = vectors * lanes

    @intrinsic
    def emitted(typing_context, y, c, m, first, count):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, dtype, lanes)
            (y, c), (m, first, count) = map(emit.unpack, arguments[:2]), arguments[2:]
            k, zero, one = y.row, _I64(0), _I64(1)
            one_target = builder.icmp_signed("==", k, one)
            whole = builder.icmp_signed("<=", builder.add(first, _I64(width)), k)

            def each_row(body):
                with cgutils.for_range(builder, m) as loop:
                    body(y.down(emit, loop.index).pointer, emit.at(c.pointer, (loop.index, width)))

            def same(source, target):
                value = builder.fneg(emit.broadcast(source))
                for v in range(vectors):
                    emit.store(value, target, v * lanes)

            def neighbours(source, target):
                for v in range(vectors):
                    value = emit.load(emit.at(source, (first, 1)), v * lanes)
                    emit.store(builder.fneg(value), target, v * lanes)

            def one_by_one(source, target):
                for v in range(vectors):
                    emit.store(emit.zero, target, v * lanes)
                builder.store(first, output)
                with cgutils.for_range(builder, count) as loop:
                    value = builder.load(builder.gep(source, [builder.load(output)]))
                    builder.store(builder.fneg(value), builder.gep(target, [loop.index]))
                    following = builder.add(builder.load(output), one)
                    past = builder.icmp_signed("==", following, k)
                    builder.store(builder.select(past, zero, following), output)

            output = cgutils.alloca_once_value(builder, zero)
            with builder.if_else(one_target) as (alone, others):
                with alone:
                    each_row(same)
                with others, builder.if_else(whole) as (inside, across):
                    with inside:
                        each_row(neighbours)
                    with across:
                        each_row(one_by_one)
            return context.get_dummy_value()

        return types.void(y, c, *(types.intp,) * 3), generate

    @inner
    @named(dtype.name, lanes, vectors)
    def targets(y, c, m, first, count):
        emitted(y, c, m, first, count)

    return targets


@inner
def block_of(n, most):
    """Cut n into equal blocks of at most ``most``, or a quarter more: the length of one."""
    if 4 * n <= 5 * most:
        return n
    count = (4 * n + 5 * most - 1) // (5 * most)
    return (n + count - 1) // count


def in_panels(matrix: np.ndarray, rows: int, lanes: int) -> np.ndarray:
    """Lay out a matrix in panels of its columns, flat and read-only; zeros fill up to ``rows``.

    Columns are filled up to whole vectors. A panel has ``shapes().tile_vectors`` of them, or one
    where fewer are left.
    """
    columns, width = padded(matrix.shape[1], lanes), shapes().tile_vectors * lanes
    flat, start = aligned_zeros(rows * columns, matrix.dtype), 0
    while start < columns:
        step = width if columns - start >= width else lanes
        part = matrix[:, start : start + step]
        panel = flat[start * rows : (start + step) * rows].reshape(rows, step)
        panel[: part.shape[0], : part.shape[1]] = part
        start += step
    flat.flags.writeable = False
    return flat


@cache
def make_transpose(dtype: np.dtype[Any], lanes: int):
    """Compile ``transpose(A, B, m, n)``: B (n, m) = A (m, n)', m and n whole vectors."""

    @intrinsic
    def emitted(typing_context, a, b, m, n):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, dtype, lanes)
            (a, b), (m, n) = map(emit.unpack, arguments[:2]), arguments[2:]

            def rows_at(i, _):
                def columns_at(j, _):
                    source = a.down(emit, i).right(emit, j)
                    target = b.down(emit, j).right(emit, i)
                    rows = [emit.at(source.pointer, (a.row, r)) for r in range(lanes)]
                    for c, column in enumerate(emit.columns(rows)):
                        emit.store(column, emit.at(target.pointer, (b.row, c)))

                cover(builder, n, (lanes,), columns_at)

            cover(builder, m, (lanes,), rows_at)
            return context.get_dummy_value()

        return types.void(a, b, types.intp, types.intp), generate

    @inner
    @named(dtype.name, lanes)
    def transpose(a, b, m, n):
        emitted(a, b, m, n)

    return transpose
