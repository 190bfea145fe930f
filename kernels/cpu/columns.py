"""The pass over small data for one map with one output: X kept by columns, vectors along the rows.

Rows of a few features are too short for vectors along them. So X is transposed here, and a block of
some vectors of rows goes through the whole pass in registers:

    residuals  r = sum_t x_t w_t - y, a column x_t at a time, w_t in every lane;
    losses     the slopes, such as |r|^(p-1) sign(r), and the values, |r|^p;
    gradient   G_t += x_t slope, one vector for each feature.

At the end of the pass the lanes of each G_t are added up. Rows are padded to whole vectors with
zeros in X and in y, and add nothing.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..specs import MARGIN_KINDS
from ..system.caches import cache_bytes
from .jit import aligned_zeros, entry, inlined, named, padded
from .losses import Values, by_loss
from .norms import sum_of_squares
from .pointers import address, pointer
from .processor import vector_bytes, vector_registers
from .simd import Emitter, cover, halves, widened

_I64 = ir.IntType(64)
_DOUBLE = ir.DoubleType()

#: Features at most: with more, rows are long enough for vectors along them.
_FEATURES = 32


class Columns(NamedTuple):
    """One output (k = 1) and its data: ``X`` is flat, d columns of ``rows`` elements; so is ``Y``.

    A pass takes ``cost`` multiply-adds.
    """

    X: np.ndarray
    Y: np.ndarray
    rows: int
    d: int
    k: int
    cost: int


class _View(NamedTuple):
    """The same inside the pass: addresses and numbers."""

    X: int
    Y: int
    rows: int
    d: int


def row_lanes(n: int, dtype: np.dtype[Any]) -> int:
    """Elements in a vector along n rows: 128 bits if those hold them all, else the full width."""
    least = 16 // dtype.itemsize
    return least if n <= least else vector_bytes() // dtype.itemsize


def fits(n: int, d: int, dtype: np.dtype[Any]) -> bool:
    """Whether data are so small that this pass is the better one.

    A block is read from the second-level cache at most once a pass, so that X may be larger than
    the first level.
    """
    size = padded(n, row_lanes(n, dtype)) * d * dtype.itemsize
    return d <= _FEATURES and size <= 2 * cache_bytes(1)


def pack_columns(X: np.ndarray, Y: np.ndarray) -> Columns:
    """Lay out X (n, d) and Y (n, 1) for the pass; copies."""
    n, d = X.shape
    rows = padded(n, row_lanes(n, X.dtype))
    columns, y = aligned_zeros(d * rows, X.dtype), aligned_zeros(rows, X.dtype)
    columns.reshape(d, rows)[:, :n] = X.T
    y[:n] = Y[:, 0]
    return Columns(columns, y, rows, d, 1, 2 * rows * d)


def columns_work_size(data: Columns, lanes: int) -> int:
    """Elements of scratch that a pass needs."""
    return data.d * lanes


def _emit_block(emit: Emitter, view, w, sums, take, position, count: int):
    """``count`` vectors of rows from vector ``position`` on.

    ``sums`` are the address of those of the gradient, and those of the values;
    ``take``, what becomes of predictions, and whether it wants the targets apart.
    """
    builder, (lane_sums, values), (take, margin) = emit.builder, sums, take
    x, y, rows, d = view
    first = builder.mul(position, _I64(emit.lanes))
    x, y = builder.gep(x, [first]), builder.gep(y, [first])
    residuals = emit.variables(count)
    for b, residual in enumerate(residuals):
        target = emit.zero if margin else builder.fneg(emit.load(y, b * emit.lanes))
        builder.store(target, residual)
    with cgutils.for_range(builder, d) as loop:
        column, weight = emit.at(x, (loop.index, rows)), emit.broadcast(emit.at(w, (loop.index, 1)))
        for b, residual in enumerate(residuals):
            term = emit.load(column, b * emit.lanes)
            builder.store(emit.fma(term, weight, builder.load(residual)), residual)
    slopes = []
    for b, residual in enumerate(residuals):
        target = emit.load(y, b * emit.lanes) if margin else None
        slope, value = take(builder, builder.load(residual), target)
        slopes.append(slope)
        values.add(value)
    values.add_logarithm()
    with cgutils.for_range(builder, d) as loop:
        column, here = emit.at(x, (loop.index, rows)), emit.at(lane_sums, (loop.index, emit.lanes))
        total = emit.load(here)
        for b, slope in enumerate(slopes):
            total = emit.fma(emit.load(column, b * emit.lanes), slope, total)
        emit.store(total, here)


def _emit_fold(emit: Emitter, lane_sums, gradient, scale, d):
    """gradient[t] = scale * (sum of the lanes of vector t), in float64, for t < d."""
    builder = emit.builder

    def features_at(t, count):
        here = emit.at(lane_sums, (t, emit.lanes))
        sums = emit.fold([emit.load(here, i * emit.lanes) for i in range(count)])
        wide = widened(builder, sums)
        factor = emit.spread(scale, wide.type)
        scaled = builder.fmul(wide, factor)
        if scaled.type != sums.type:
            scaled = builder.fptrunc(scaled, sums.type)
        emit.store(scaled, emit.at(gradient, (t, 1)))

    cover(builder, d, halves(emit.lanes), features_at)


def _make_pass(dtype, lanes: int, kind: str):
    height = vector_registers() // 4  # a quarter each for residuals and slopes

    @intrinsic
    def whole(typing_context, view, w, gradient, lane_sums, scale, p):
        def generate(context, builder, signature, arguments):
            emit = Emitter(context, builder, dtype, lanes)
            element = emit.scalar.as_pointer()
            x, y, rows, d = (builder.extract_value(arguments[0], i) for i in range(4))
            x, y, w, gradient, lane_sums = (
                builder.inttoptr(number, element) for number in (x, y, *arguments[1:4])
            )
            values = Values(builder, emit.vector, kind)
            with cgutils.for_range(builder, d) as loop:
                emit.store(emit.zero, emit.at(lane_sums, (loop.index, lanes)))

            def all_rows(take):
                def rows_at(position, count):
                    view, sums = (x, y, rows, d), (lane_sums, values)
                    how = take, kind in MARGIN_KINDS
                    _emit_block(emit, view, w, sums, how, position, count)

                cover(builder, builder.sdiv(rows, _I64(lanes)), halves(height), rows_at)

            by_loss(builder, emit.vector, kind, arguments[5], all_rows)
            _emit_fold(emit, lane_sums, gradient, arguments[4], d)
            wide = ir.VectorType(_DOUBLE, lanes)
            add_up = cgutils.get_or_insert_function(
                builder.module,
                ir.FunctionType(_DOUBLE, [_DOUBLE, wide]),
                f"llvm.vector.reduce.fadd.v{lanes}f64",
            )
            operands = [_DOUBLE(0.0), values.load()]
            return builder.call(add_up, operands, fastmath=("reassoc",))

        arguments = view, *(types.intp,) * 3, types.float64, types.float64
        return types.float64(*arguments), generate

    return whole


@cache
def make_columns_pass(dtype: np.dtype[Any], lanes: int, kind: str = "lp"):
    """Compile ``one_pass(data, W, G, lane_sums, scale, p)``.

    The sum of the values is returned, and that of the squares of G. ``G[:d]`` becomes ``scale``
    times the unscaled gradient; ``lane_sums`` is scratch. W, G and it are pointers.
    """
    whole = _make_pass(dtype, lanes, kind)

    @inlined
    @named(dtype.name, lanes, kind)
    def one_pass(data, W, G, lane_sums, scale, p):
        view = _View(address(pointer(data.X)), address(pointer(data.Y)), data.rows, data.d)
        total = whole(view, address(W), address(G), address(lane_sums), scale, p)
        return total, sum_of_squares(G, data.d)

    return one_pass


@cache
def make_columns_entry(dtype: np.dtype[Any], lanes: int, kind: str = "lp"):
    """Compile the pass, to be called from Python with arrays."""
    one_pass = make_columns_pass(dtype, lanes, kind)

    @entry("columns", dtype.name, lanes, kind)
    def whole(data, W, G, lane_sums, scale, p):
        total, _ = one_pass(data, pointer(W), pointer(G), pointer(lane_sums), scale, p)
        return total

    return whole
