"""Explicit SIMD: the two register tiles that all heavy work is made of, as LLVM code.

Numba has no vector type, and its loop vectoriser finds neither tile. Both read strided matrices
described by a ``View`` and keep their sums in registers:

``dots``  out[r] = sum_t A[r, t] b[t]
    ``rows`` rows at once, vectors along t; the sums of the rows are folded into one vector.
``rank``  C[r, v] += sum_t A[r, t] B[t, v]
    ``rows`` rows by ``vectors`` vectors of C stay in registers while t runs; A is broadcast.
    On its way it asks for the lines of B that lie ``ahead`` elements further on, so that they
    travel to the first-level cache while the arithmetic runs out of it.

``matvec`` and ``accumulate`` cover whole matrices with them. The contiguous dimension of B and C
(of A and b in ``dots``) is always padded to whole vectors, so that there are no remainders along
it; rows are covered by taller tiles first and single rows last.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import inner, vector_registers


class View(NamedTuple):
    """A strided matrix: element (i, j) is ``data[start + i * row + j * col]``; ``data`` is 1-D."""

    data: np.ndarray
    start: int
    row: int
    col: int


class Tiles(NamedTuple):
    """The compiled matrix routines of one dtype and vector length."""

    matvec: Any
    accumulate: Any
    accumulate_row: Any


_I32 = ir.IntType(32)
_I64 = ir.IntType(64)
_FUSE = ("contract",)


class _Emitter:
    """Emits loads, stores and arithmetic on vectors of ``lanes`` elements."""

    def __init__(self, context, builder, dtype, lanes: int) -> None:
        self.context, self.builder, self.lanes = context, builder, lanes
        self.scalar = ir.DoubleType() if dtype.itemsize == 8 else ir.FloatType()
        self.vector = ir.VectorType(self.scalar, lanes)
        self.itemsize = dtype.itemsize
        self.zero = ir.Constant(self.vector, [0.0] * lanes)

    def at(self, base, *terms):
        """Address of an element: ``base`` plus products of the (value, value or int) terms."""
        offset = _I64(0)
        for left, right in terms:
            right = _I64(right) if isinstance(right, int) else right
            offset = self.builder.add(offset, self.builder.mul(left, right))
        return self.builder.gep(base, [offset])

    def unpack(self, view_type, view):
        """Pointer to a view's first element, its row stride and its column stride."""
        array, start, row, col = (self.builder.extract_value(view, i) for i in range(4))
        struct = self.context.make_array(view_type.types[0])(self.context, self.builder, array)
        return self.builder.gep(struct.data, [start]), row, col

    def load(self, address, shift: int = 0):
        pointer = self.builder.bitcast(
            self.builder.gep(address, [_I64(shift)]), self.vector.as_pointer()
        )
        return self.builder.load(pointer, align=self.itemsize)

    def store(self, value, address, shift: int = 0):
        pointer = self.builder.bitcast(
            self.builder.gep(address, [_I64(shift)]), value.type.as_pointer()
        )
        self.builder.store(value, pointer, align=self.itemsize)

    def broadcast(self, address):
        first = self.builder.insert_element(
            ir.Constant(self.vector, ir.Undefined), self.builder.load(address), _I32(0)
        )
        return self.shuffle(first, first, [0] * self.lanes)

    def shuffle(self, left, right, lanes):
        mask = ir.Constant(ir.VectorType(_I32, len(lanes)), list(lanes))
        return self.builder.shuffle_vector(left, right, mask)

    def fma(self, left, right, total):
        product = self.builder.fmul(left, right, flags=_FUSE)
        return self.builder.fadd(product, total, flags=_FUSE)

    def prefetch(self, address):
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, _I32, _I32, _I32])
        function = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0")
        read, keep, data = _I32(0), _I32(3), _I32(1)
        self.builder.call(function, [self.builder.bitcast(address, byte), read, keep, data])

    def variables(self, count: int):
        """Vectors of zeros that LLVM keeps in registers."""
        return [cgutils.alloca_once_value(self.builder, self.zero) for _ in range(count)]

    def fold(self, vectors):
        """Sum each of 2^m <= lanes vectors over its lanes: a vector of the sums, in order."""
        rows = len(vectors)
        while len(vectors) > 1:
            vectors = [self._add_neighbours(a, b, 2 * self.lanes) for a, b in _pairs(vectors)]
        (total,) = vectors
        while total.type.count > rows:
            total = self._add_neighbours(total, total, total.type.count)
        return total

    def _add_neighbours(self, left, right, lanes: int):
        even = self.shuffle(left, right, range(0, lanes, 2))
        odd = self.shuffle(left, right, range(1, lanes, 2))
        return self.builder.fadd(even, odd)


def _pairs(items):
    return zip(items[::2], items[1::2], strict=True)


def _make_dots(dtype, lanes: int, rows: int):
    """out[0, r] = sum_{t < n} A[r, t] b[0, t] for ``rows`` rows; n is a multiple of ``lanes``."""

    @intrinsic
    def dots(typing_context, a, b, out, n):
        def generate(context, builder, signature, arguments):
            emit = _Emitter(context, builder, dtype, lanes)
            (a_at, a_row, _), (b_at, _, _), (out_at, _, _) = (
                emit.unpack(kind, value)
                for kind, value in zip(signature.args[:3], arguments[:3], strict=True)
            )
            heads = [emit.at(a_at, (a_row, r)) for r in range(rows)]
            totals = emit.variables(rows)
            with cgutils.for_range(builder, builder.sdiv(arguments[3], _I64(lanes))) as loop:
                t = (loop.index, lanes)
                factor = emit.load(emit.at(b_at, t))
                for head, total in zip(heads, totals, strict=True):
                    product = emit.fma(emit.load(emit.at(head, t)), factor, builder.load(total))
                    builder.store(product, total)
            group = min(rows, lanes)
            for first in range(0, rows, group):
                sums = emit.fold([builder.load(v) for v in totals[first : first + group]])
                emit.store(sums, out_at, first)
            return context.get_dummy_value()

        return types.void(a, b, out, types.intp), generate

    return dots


def _make_rank(dtype, lanes: int, rows: int, vectors: int):
    """C[r, v] += sum_{t < n} A[r, t] B[t, v] for ``rows`` rows and ``vectors`` vectors of C."""

    @intrinsic
    def rank(typing_context, a, b, c, n, ahead):
        def generate(context, builder, signature, arguments):
            emit = _Emitter(context, builder, dtype, lanes)
            (a_at, a_row, a_col), (b_at, b_row, _), (c_at, c_row, _) = (
                emit.unpack(kind, value)
                for kind, value in zip(signature.args[:3], arguments[:3], strict=True)
            )
            n, ahead = arguments[3:]
            totals = emit.variables(rows * vectors)
            targets = [
                (emit.at(c_at, (c_row, r)), v * lanes) for r in range(rows) for v in range(vectors)
            ]
            for total, target in zip(totals, targets, strict=True):
                builder.store(emit.load(*target), total)
            with cgutils.for_range(builder, n) as loop:
                here = emit.at(b_at, (loop.index, b_row))
                terms = [emit.load(here, v * lanes) for v in range(vectors)]
                for v in range(vectors):
                    emit.prefetch(emit.at(here, (ahead, 1), (_I64(v), lanes)))
                for r in range(rows):
                    weight = emit.broadcast(emit.at(a_at, (a_row, r), (loop.index, a_col)))
                    for v in range(vectors):
                        total = totals[r * vectors + v]
                        builder.store(emit.fma(terms[v], weight, builder.load(total)), total)
            for total, target in zip(totals, targets, strict=True):
                emit.store(builder.load(total), *target)
            return context.get_dummy_value()

        return types.void(a, b, c, types.intp, types.intp), generate

    return rank


def _down_the_rows(cover, rows: int, rest):
    """Apply ``cover`` to ``rows`` rows of A and C at a time, ``rest`` to those left over."""

    @inner
    def down(a, b, c, m, columns, n, ahead):
        i = 0
        while i + rows <= m:
            block = View(a.data, a.start + i * a.row, a.row, a.col)
            cover(block, b, View(c.data, c.start + i * c.row, c.row, 1), columns, n, ahead)
            i += rows
        if i < m:
            block = View(a.data, a.start + i * a.row, a.row, a.col)
            target = View(c.data, c.start + i * c.row, c.row, 1)
            rest(block, b, target, m - i, columns, n, ahead)

    return down


def _across_the_columns(rank, width: int, rest):
    """Apply ``rank`` to ``width`` columns of B and C at a time, ``rest`` to those left over."""

    @inner
    def across(a, b, c, columns, n, ahead):
        j = 0
        while j + width <= columns:
            panel = View(b.data, b.start + j, b.row, 1)
            rank(a, panel, View(c.data, c.start + j, c.row, 1), n, ahead)
            j += width
        if j < columns:
            panel = View(b.data, b.start + j, b.row, 1)
            rest(a, panel, View(c.data, c.start + j, c.row, 1), columns - j, n, ahead)

    return across


@inner
def _nothing_across(a, b, c, columns, n, ahead):
    pass


@inner
def _nothing_down(a, b, c, m, columns, n, ahead):
    pass


@cache
def tiles(dtype: np.dtype[Any], lanes: int) -> Tiles:
    """Build the matrix routines of one dtype and vector length.

    ``matvec(A, b, out, m, n)``: out[r] = sum_{t<n} A[r, t] b[t] for r < m; n whole vectors.
    ``accumulate(A, B, C, m, columns, n, ahead)``: C (m, columns) += A (m, n) B (n, columns);
    columns whole vectors. ``accumulate_row(A, B, C, columns, n, ahead)``: the same for m = 1.
    """
    eight, one = _make_dots(dtype, lanes, 8), _make_dots(dtype, lanes, 1)

    @inner
    def matvec(a, b, out, m, n):
        r = 0
        while r + 8 <= m:
            eight(
                View(a.data, a.start + r * a.row, a.row, 1),
                b,
                View(out.data, out.start + r, 0, 1),
                n,
            )
            r += 8
        while r < m:
            one(
                View(a.data, a.start + r * a.row, a.row, 1),
                b,
                View(out.data, out.start + r, 0, 1),
                n,
            )
            r += 1

    # Half of the registers hold sums: enough to hide the latency of the multiply-add.
    sums = vector_registers() // 2
    accumulate, accumulate_row = _nothing_down, None
    for rows in (1, 4, 8):
        across = _nothing_across
        for vectors in sorted({1, max(1, sums // rows // 4), sums // rows}):
            rank = _make_rank(dtype, lanes, rows, vectors)
            across = _across_the_columns(rank, vectors * lanes, across)
        accumulate_row = accumulate_row or across
        accumulate = _down_the_rows(across, rows, accumulate)
    return Tiles(matvec, accumulate, accumulate_row)
