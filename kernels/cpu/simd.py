"""Explicit SIMD: the two register tiles that all heavy work is made of, as LLVM code.

Numba has no vector type, and its loop vectoriser finds neither tile. Both read strided matrices
described by a ``View`` and keep their sums in registers:

``dots``  out[c, r] = sum_t A[r, t] B[c, t]
    ``rows`` rows of A by ``columns`` rows of B, vectors along t; then the sums of the rows are
    folded into one vector a column.
``rank``  C[r, v] += sum_t A[r, t] B[t, v]
    ``rows`` rows by ``vectors`` vectors of C stay in registers while t runs; A is broadcast.

``dots`` and ``accumulate`` cover whole matrices with them. The contiguous dimension of B and C
(of A and B in ``dots``) is always padded to whole vectors, so that there are no remainders along
it; what larger tiles leave over is covered by smaller ones.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import LINE, inner, named
from .processor import vector_registers
from .shapes import shapes


class View(NamedTuple):
    """A strided matrix: element (i, j) lies ``i * row + j * col`` elements after ``address``.

    An address and no array, since Numba would count references to the array, atomically, in
    every call of the innermost loops. The caller keeps the array alive.
    """

    address: int
    row: int
    col: int


class Tiles(NamedTuple):
    """The compiled matrix routines of one dtype and vector length."""

    dots: Any
    accumulate: Any
    weighted_sum: Any


class Matrix(NamedTuple):
    """A ``View`` inside an intrinsic: LLVM values."""

    pointer: Any
    row: Any
    col: Any

    def down(self, emit: "Emitter", i: Any) -> "Matrix":
        """Skip i rows."""
        return self._replace(pointer=emit.at(self.pointer, (self.row, i)))

    def right(self, emit: "Emitter", j: Any) -> "Matrix":
        """Skip j columns of a matrix whose rows are contiguous."""
        return self._replace(pointer=emit.at(self.pointer, (j, 1)))


_I32 = ir.IntType(32)
_I64 = ir.IntType(64)
_FUSE = ("contract",)
#: For arithmetic to be done as it is written. Numba gives its own flags to what has none; this one
#: permits only that the sign of 0 is lost.
EXACT = ("nsz",)


class Emitter:
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

    def unpack(self, view):
        """Read a ``View``."""
        address, row, col = (self.builder.extract_value(view, i) for i in range(3))
        return Matrix(self.builder.inttoptr(address, self.scalar.as_pointer()), row, col)

    def load(self, address, shift: int = 0, lanes: int = 0):
        """Load the vector ``shift`` elements after the address, or only ``lanes`` of it."""
        kind = ir.VectorType(self.scalar, lanes) if lanes else self.vector
        pointer = self.builder.bitcast(self.builder.gep(address, [_I64(shift)]), kind.as_pointer())
        return self.builder.load(pointer, align=self.itemsize)

    def store(self, value, address, shift: int = 0):
        """Store a vector ``shift`` elements after the address."""
        pointer = self.builder.bitcast(
            self.builder.gep(address, [_I64(shift)]), value.type.as_pointer()
        )
        self.builder.store(value, pointer, align=self.itemsize)

    def broadcast(self, address):
        """Load one element into every lane."""
        return self.spread(self.builder.load(address), self.vector)

    def spread(self, value, kind):
        """Put a number into every lane of a vector of the type ``kind``."""
        first = self.builder.insert_element(ir.Constant(kind, ir.Undefined), value, _I32(0))
        return self.shuffle(first, first, [0] * kind.count)

    def shuffle(self, left, right, lanes):
        """Pick lanes out of two vectors."""
        mask = ir.Constant(ir.VectorType(_I32, len(lanes)), list(lanes))
        return self.builder.shuffle_vector(left, right, mask)

    def fma(self, left, right, total):
        """Compute ``left * right + total``."""
        product = self.builder.fmul(left, right, flags=_FUSE)
        return self.builder.fadd(product, total, flags=_FUSE)

    def prefetch(self, address, *, near: bool = False, write: bool = False):
        """Ask for a cache line in the second-level cache, or ``near``: in the first.

        With ``write`` it is asked for to be written to.
        """
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, _I32, _I32, _I32])
        function = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0")
        intent, keep, data = _I32(int(write)), _I32(3 if near else 2), _I32(1)
        self.builder.call(function, [self.builder.bitcast(address, byte), intent, keep, data])

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

    def transposed(self, vectors):
        """Transpose the squares that q vectors hold side by side, q a power of two."""
        step = 1
        while step < len(vectors):
            low = [self.lanes + i - step if i & step else i for i in range(self.lanes)]
            high = [self.lanes + i if i & step else i + step for i in range(self.lanes)]
            for i in range(len(vectors)):
                if not i & step:
                    pair = vectors[i], vectors[i + step]
                    vectors[i], vectors[i + step] = (
                        self.shuffle(*pair, low),
                        self.shuffle(*pair, high),
                    )
            step *= 2
        return vectors

    def columns(self, rows):
        """Load the square that starts at the addresses of its rows, transposed."""
        # A piece of 128 bits can be loaded into any part of a register, and within such parts a
        # shuffle costs least: so rows i, i + piece, ... are laid side by side, and squares turned.
        piece = min(16 // self.itemsize, self.lanes)
        columns = []
        for start in range(0, self.lanes, piece):
            squares = [
                self.joined([self.load(row, start, piece) for row in rows[first::piece]])
                for first in range(piece)
            ]
            columns += self.transposed(squares)
        return columns

    def joined(self, pieces):
        """Put 2^m short vectors side by side."""
        while len(pieces) > 1:
            count = 2 * pieces[0].type.count
            pieces = [self.shuffle(a, b, range(count)) for a, b in _pairs(pieces)]
        return pieces[0]

    def _add_neighbours(self, left, right, lanes: int):
        even = self.shuffle(left, right, range(0, lanes, 2))
        odd = self.shuffle(left, right, range(1, lanes, 2))
        return self.builder.fadd(even, odd, flags=EXACT)


def _pairs(items):
    return zip(items[::2], items[1::2], strict=True)


def added(builder, vectors):
    """Add 2^m vectors up in pairs."""
    while len(vectors) > 1:
        vectors = [builder.fadd(a, b, flags=EXACT) for a, b in _pairs(vectors)]
    return vectors[0]


def folded(emit: Emitter, groups):
    """The sum of all lanes of all vectors, of each group of 2^m variables."""
    builder, sums = emit.builder, []
    for group in groups:
        total = emit.fold([added(builder, [builder.load(vector) for vector in group])])
        sums.append(builder.extract_element(total, _I32(0)))
    return sums


def add_wide(builder, total, vector):
    """Add a vector to one of float64 in memory, rounded before it is added."""
    value = widened(builder, vector)
    builder.store(builder.fadd(builder.load(total), value, flags=EXACT), total)


def widened(builder, vector):
    """Convert a vector to float64."""
    wide = ir.VectorType(ir.DoubleType(), vector.type.count)
    return vector if vector.type == wide else builder.fpext(vector, wide)


@intrinsic
def at(typing_context, array, index):
    """Address of ``array[index]``, for a ``View``."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.ptrtoint(builder.gep(data, [arguments[1]]), _I64)

    return types.intp(array, types.intp), generate


def halves(most: int) -> list[int]:
    """List the powers of two from ``most`` down to 1."""
    return [1 << i for i in reversed(range(most.bit_length()))]


def cover(builder, length, steps, body):
    """Cut ``length`` into pieces of ``steps`` (constants, largest first, the last one 1 piece).

    Emits one loop a step size; ``body(position, step)`` emits what is done to one piece.
    """
    position = _I64(0)
    for step in steps:
        count = builder.sdiv(builder.sub(length, position), _I64(step))
        with cgutils.for_range(builder, count) as loop:
            body(builder.add(position, builder.mul(loop.index, _I64(step))), step)
        position = builder.add(position, builder.mul(count, _I64(step)))


def _emit_dots(emit: Emitter, a, b, out, n, rows: int, columns: int):
    """out[c, r] = sum_{t < n} A[r, t] B[c, t] for a tile of A's rows by B's; n whole vectors."""
    builder, lanes = emit.builder, emit.lanes
    left = [emit.at(a.pointer, (a.row, r)) for r in range(rows)]
    right = [emit.at(b.pointer, (b.row, c)) for c in range(columns)]
    totals = emit.variables(rows * columns)
    with cgutils.for_range(builder, builder.sdiv(n, _I64(lanes))) as loop:
        t = (loop.index, lanes)
        factors = [emit.load(emit.at(head, t)) for head in right]
        for r, head in enumerate(left):
            term = emit.load(emit.at(head, t))
            for c, factor in enumerate(factors):
                total = totals[c * rows + r]
                builder.store(emit.fma(term, factor, builder.load(total)), total)
    group = min(rows, lanes)
    for c in range(columns):
        target = emit.at(out.pointer, (out.row, c))
        for first in range(0, rows, group):
            start = c * rows + first
            sums = emit.fold([builder.load(total) for total in totals[start : start + group]])
            emit.store(sums, target, first)


def begin_sums(emit: Emitter, totals, targets, fresh=None):
    """Load sums, variables of 0, from their targets, unless ``fresh`` is there and not 0."""
    builder = emit.builder

    def load():
        for total, target in zip(totals, targets, strict=True):
            builder.store(emit.load(*target), total)

    if fresh is None:
        load()
    else:
        with builder.if_then(builder.icmp_signed("==", fresh, _I64(0))):
            load()


def emit_rank(emit: Emitter, a, b, c, n, rows: int, vectors: int, soon=None, fresh=None):
    """C[r, v] += sum_{t < n} A[r, t] B[t, v] for ``rows`` rows and ``vectors`` vectors of C.

    Where ``fresh``, an integer, is not 0, C starts from 0, whatever it holds. Meanwhile the
    second-level cache is asked for as many elements as A has, from ``soon`` on.
    """
    builder, lanes = emit.builder, emit.lanes
    totals = emit.variables(rows * vectors)
    targets = [
        (emit.at(c.pointer, (c.row, r)), v * lanes) for r in range(rows) for v in range(vectors)
    ]
    begin_sums(emit, totals, targets, fresh)
    with cgutils.for_range(builder, n) as loop:
        here = emit.at(b.pointer, (loop.index, b.row))
        terms = [emit.load(here, v * lanes) for v in range(vectors)]
        if soon is not None:
            for byte in range(0, rows * emit.itemsize, LINE):
                place = emit.at(soon, (loop.index, rows), (_I64(byte // emit.itemsize), 1))
                emit.prefetch(place)
        for r in range(rows):
            weight = emit.broadcast(emit.at(a.pointer, (a.row, r), (loop.index, a.col)))
            for v in range(vectors):
                total = totals[r * vectors + v]
                builder.store(emit.fma(terms[v], weight, builder.load(total)), total)
    for total, target in zip(totals, targets, strict=True):
        emit.store(builder.load(total), *target)


def _make_dots(dtype, lanes: int):
    # Sixteen sums, two columns of eight, hide the latency of the multiply-add; with half as many
    # registers eight have to do.
    widths = (2, 1) if vector_registers() > 16 else (1,)

    @intrinsic
    def dots(typing_context, a, b, out, m, columns, n):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, dtype, lanes)
            (a, b, out), (m, columns, n) = map(emit.unpack, arguments[:3]), arguments[3:]

            def columns_at(j, width):
                right, target = b.down(emit, j), out.down(emit, j)

                def rows_at(i, rows):
                    below = target.right(emit, i)
                    _emit_dots(emit, a.down(emit, i), right, below, n, rows, width)

                cover(builder, m, (8, 1), rows_at)

            cover(builder, columns, widths, columns_at)
            return context.get_dummy_value()

        return types.void(a, b, out, *(types.intp,) * 3), generate

    return dots


def _make_accumulate(dtype, lanes: int, heights: tuple[int, ...]):
    @intrinsic
    def accumulate(typing_context, a, b, c, m, columns, n):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, dtype, lanes)
            (a, b, c), (m, columns, n) = map(emit.unpack, arguments[:3]), arguments[3:]

            def rows_at(i, rows):
                above, target = a.down(emit, i), c.down(emit, i)

                def columns_at(j, width):
                    panel, tile = b.right(emit, j), target.right(emit, j)
                    emit_rank(emit, above, panel, tile, n, rows, width // lanes)

                cover(builder, columns, _widths(lanes, rows), columns_at)

            cover(builder, m, heights, rows_at)
            return context.get_dummy_value()

        return types.void(a, b, c, *(types.intp,) * 3), generate

    return accumulate


def heights() -> tuple[int, ...]:
    """Heights of the register tiles, highest first."""
    height = shapes().tile_height
    return height, *(rows for rows in (4, 2, 1) if rows < height)


def _widths(lanes: int, rows: int) -> list[int]:
    """Widths of the tiles that are ``rows`` high, widest first."""
    # Sums, a vector of B each, and a broadcast element of A; for one row B comes from memory.
    vectors = vector_registers() // 2 if rows == 1 else (vector_registers() - 1) // (rows + 1)
    return [lanes << i for i in reversed(range(vectors.bit_length()))]


@cache
def tiles(dtype: np.dtype[Any], lanes: int) -> Tiles:
    """Build the matrix routines of one dtype and vector length.

    ``dots(A, B, out, m, columns, n)``: out (columns, m) = B (columns, n) times A (m, n)'; n whole
    vectors. No number depends on how many columns or rows there are.
    ``accumulate(A, B, C, m, columns, n)``: C (m, columns) += A (m, n) B (n, columns); columns
    whole vectors. ``weighted_sum(A, B, C, columns, n)``: the same for m = 1.
    """
    emitted_dots = _make_dots(dtype, lanes)
    emitted_tiles = _make_accumulate(dtype, lanes, heights())
    emitted_row = _make_accumulate(dtype, lanes, (1,))

    @inner
    @named(dtype.name, lanes)
    def dots(a, b, out, m, columns, n):
        emitted_dots(a, b, out, m, columns, n)

    @inner
    @named(dtype.name, lanes)
    def accumulate(a, b, c, m, columns, n):
        emitted_tiles(a, b, c, m, columns, n)

    @inner
    @named(dtype.name, lanes)
    def weighted_sum(a, b, c, columns, n):
        emitted_row(a, b, c, 1, columns, n)

    return Tiles(dots, accumulate, weighted_sum)


def _make_ask(*, write: bool):
    @intrinsic
    def ask(typing_context, address, size):
        def generate(context, builder, signature, arguments):
            byte = ir.IntType(8).as_pointer()
            start, size = arguments
            lines = builder.sdiv(builder.add(size, _I64(LINE - 1)), _I64(LINE))
            emit = Emitter(context, builder, np.dtype(np.float64), 1)
            with cgutils.for_range(builder, lines) as loop:
                place = builder.add(start, builder.mul(loop.index, _I64(LINE)))
                emit.prefetch(builder.inttoptr(place, byte), write=write)
            return context.get_dummy_value()

        return types.void(types.intp, types.intp), generate

    return ask


#: ``ask_to_read(address, size)`` asks for so many bytes in the second-level cache, to be read;
#: ``ask_to_write`` takes them from the caches of other processors, to be written.
ask_to_read, ask_to_write = _make_ask(write=False), _make_ask(write=True)
