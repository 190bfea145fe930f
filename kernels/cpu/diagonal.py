"""The pass for p = 2 over diagonal data: elementwise, O(k d), one model at a time.

With the diagonal s and the targets of an output in the order of its weights, row c of W meets

    residuals  r_i = s_i w_i - y_i
    loss       sum_i r_i^2
    gradient   scale * s_i r_i

Nothing is added up but the loss. The data are float64 and so is all arithmetic, whatever the dtype
of the run: only W and G are of that. A row has a sum of its own, four vectors of them that are then
added and folded. More outputs than a vector has lanes are for :mod:`.wide_pass`.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..specs import Loss
from .jit import aligned_zeros, entry, inlined, lanes_for, named, row_length
from .pointers import address, pointer, shift
from .simd import EXACT, Emitter, cover, folded, widened

_I64 = ir.IntType(64)
_DOUBLE = ir.DoubleType()

#: Sums of squares in flight, enough to hide the latency of a multiply-add.
_SUMS = 4


class Diagonal(NamedTuple):
    """The diagonal ``s`` (``ld``), targets ``Y``, flat, k rows of ``ld``, and what the loss adds.

    Both are float64, d elements in a row and zeros behind. A step takes ``cost`` multiply-adds.
    """

    s: np.ndarray
    Y: np.ndarray
    d: int
    ld: int
    k: int
    rest: float
    cost: int


def pack_diagonal(s: np.ndarray, Y: np.ndarray, rest: float, cost: int) -> Diagonal:
    """Lay out s (d,) and Y (d, k) for a run of the dtype of s; copies."""
    d, k = Y.shape
    ld = row_length(d, s.dtype)
    padded, targets = aligned_zeros(ld, np.float64), aligned_zeros(k * ld, np.float64)
    padded[:d], targets.reshape(k, ld)[:, :d] = s, Y.T
    return Diagonal(padded, targets, d, ld, k, rest, cost)


def _emit_row(emit: Emitter, s, y, w, g, ld, scale):
    """The gradient of a row goes to ``g``; the sums of the squares of its residuals and of it."""
    builder, lanes = emit.builder, emit.lanes
    wide = Emitter(emit.context, builder, np.dtype(np.float64), lanes)
    totals, factor = wide.variables(_SUMS), wide.spread(scale, wide.vector)
    squares = wide.variables(_SUMS)

    def vectors(position, length):
        (left, target, weights, gradient) = (emit.at(a, (position, 1)) for a in (s, y, w, g))
        for i in range(length // lanes):
            diagonal, weight = wide.load(left, i * lanes), emit.load(weights, i * lanes)
            weight = widened(builder, weight)
            residual = wide.fma(diagonal, weight, builder.fneg(wide.load(target, i * lanes)))
            total = builder.load(totals[i])
            builder.store(wide.fma(residual, residual, total), totals[i])
            slope = builder.fmul(builder.fmul(diagonal, residual, flags=EXACT), factor, flags=EXACT)
            if emit.vector != wide.vector:
                slope = builder.fptrunc(slope, emit.vector)
            emit.store(slope, gradient, i * lanes)
            slope = widened(builder, slope)
            builder.store(wide.fma(slope, slope, builder.load(squares[i])), squares[i])

    cover(builder, ld, (_SUMS * lanes, lanes), vectors)
    return folded(wide, (totals, squares))


def _make_row(dtype, lanes: int):
    @intrinsic
    def row(typing_context, s, y, w, g, ld, scale):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, dtype, lanes)
            kinds = _DOUBLE, _DOUBLE, emit.scalar, emit.scalar
            places = [
                builder.inttoptr(number, kind.as_pointer())
                for number, kind in zip(arguments[:4], kinds, strict=True)
            ]
            sums = _emit_row(emit, *places, *arguments[4:])
            return context.make_tuple(builder, signature.return_type, sums)

        return types.UniTuple(types.float64, 2)(*(types.intp,) * 5, types.float64), generate

    return row


@cache
def make_diagonal_pass(dtype: np.dtype[Any], lanes: int, kind: str = "lp"):
    """Compile ``one_pass(data, W, G, work, scale, p)``.

    G becomes ``scale`` times half the gradient of the sum of the loss, which is returned with the
    sum of squares of G. Nothing else is written, and p is 2. W and G are pointers.
    """
    row = _make_row(dtype, lanes)

    @inlined
    @named(dtype.name, lanes)
    def one_pass(data, W, G, work, scale, p):
        s, Y, ld = address(pointer(data.s)), pointer(data.Y), data.ld
        total, square = data.rest, 0.0
        for c in range(data.k):
            start = c * ld
            y, w, g = address(shift(Y, start)), address(shift(W, start)), address(shift(G, start))
            terms = row(s, y, w, g, ld, scale)
            total, square = total + terms[0], square + terms[1]
        return total, square

    return one_pass


@cache
def _make_entry(dtype: np.dtype[Any], lanes: int):
    one_pass = make_diagonal_pass(dtype, lanes)

    @entry("diagonal", dtype.name, lanes)
    def whole(data, W, G, scale):
        return one_pass(data, pointer(W), pointer(G), pointer(W), scale, 2.0)

    return whole


def diagonal_loss_and_gradient(
    s: np.ndarray, Y: np.ndarray, W: np.ndarray, loss: Loss
) -> tuple[float, np.ndarray]:
    """Loss and end-to-end gradient (k, d) at W where the matrix of data is diagonal."""
    (k, d), scale = W.shape, loss.factor / len(s)
    data = pack_diagonal(s, Y, loss.rest, 0)
    weights, G = (aligned_zeros(k * data.ld, s.dtype) for _ in range(2))
    weights.reshape(k, data.ld)[:, :d] = W
    total, _ = _make_entry(s.dtype, lanes_for(d, s.dtype))(data, weights, G, 2.0 * scale)
    return scale * total, G.reshape(k, data.ld)[:, :d].copy()
