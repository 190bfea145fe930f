"""The pass for a loss that couples the outputs of a sample: the cross-entropy of a soft-max.

The maps take turns with each tile of X: all outputs of one, in the panels of :mod:`.many_maps`,
then the soft-max of a row, whose outputs lie along the lanes, and their share of the gradient.
"""

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .any_power import Vectors, splat, spread
from .differentiate import FirstLanes
from .exponentials import exponential
from .jit import inner, named, padded
from .many_maps import make_moves, make_split
from .panels import block_of, make_product
from .picked import tile_at
from .shapes import shapes
from .simd import EXACT, Emitter, View, at, tiles

_DOUBLE = ir.DoubleType()


def work_size(columns: int, k: int, ld: int, tile: int, lanes: int) -> int:
    """Elements of scratch that a thread needs: two sets of panels for each map, one of rows."""
    width = padded(k, lanes)
    return columns // k * 2 * width * ld + lanes * ld + 2 * width * tile


def _reduced(builder, name, start, vector):
    """Reduce a vector to a number, in the order of its lanes, beginning with ``start``."""
    arguments = [vector] if start is None else [start, vector]
    bits = "f64" if vector.type.element == _DOUBLE else "f32"
    signature = ir.FunctionType(vector.type.element, [each.type for each in arguments])
    full = f"llvm.vector.reduce.{name}.v{vector.type.count}{bits}"
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, full), arguments)


def _with_emitter(dtype, lanes: int, count_of_addresses: int, scalars, body):
    """Make an intrinsic of some addresses, float64 numbers and the lanes that count."""
    parameters = (*(types.intp,) * count_of_addresses, *scalars, types.intp)

    def generate(context, builder, signature, arguments):
        emit = Emitter(context, builder, dtype, lanes)
        pointer = emit.scalar.as_pointer()
        addresses = [builder.inttoptr(a, pointer) for a in arguments[:count_of_addresses]]
        numbers = [spread(builder, emit.vector, a) for a in arguments[count_of_addresses:-1]]
        inside = FirstLanes(emit, arguments[-1])
        value = body(emit, inside, addresses, numbers)
        if value.type != _DOUBLE:
            value = builder.fpext(value, _DOUBLE)
        return value

    return parameters, generate


def _make_most(dtype, lanes: int):
    def body(emit, inside, addresses, numbers):
        vector = inside.load(addresses[0], splat(emit.vector, float("-inf")))
        return _reduced(emit.builder, "fmax", None, vector)

    parameters, generate = _with_emitter(dtype, lanes, 1, (), body)

    @intrinsic
    def most(typing_context, row, count):
        """Return the largest of the first lanes of a row."""
        return types.float64(*parameters), generate

    return most


def _make_raise(dtype, lanes: int):
    def body(emit, inside, addresses, numbers):
        builder, (row, out), (most,) = emit.builder, addresses, numbers
        less = builder.fsub(inside.load(row), most, flags=EXACT)
        sizes = inside.only(exponential(Vectors(builder, emit.vector), less))
        emit.store(sizes, out)
        return _reduced(builder, "fadd", ir.Constant(emit.scalar, 0.0), sizes)

    parameters, generate = _with_emitter(dtype, lanes, 2, (types.float64,), body)

    @intrinsic
    def raised(typing_context, row, out, most, count):
        """Write exp(m - most) of the first lanes of a row; their sum is returned."""
        return types.float64(*parameters), generate

    return raised


def _make_soften(dtype, lanes: int):
    def body(emit, inside, addresses, numbers):
        builder, (row, sizes, targets), (inverse, log) = emit.builder, addresses, numbers
        v = Vectors(builder, emit.vector)
        y, m = inside.load(targets), inside.load(row)
        emit.store(v.subtract(v.multiply(emit.load(sizes), inverse), y), row)
        values = inside.only(v.multiply(y, v.subtract(log, m)))
        return _reduced(builder, "fadd", ir.Constant(emit.scalar, 0.0), values)

    scalars = (types.float64, types.float64)
    parameters, generate = _with_emitter(dtype, lanes, 3, scalars, body)

    @intrinsic
    def soften(typing_context, row, sizes, targets, inverse, log, count):
        """Write the slopes over the predictions in a row; the sum of the values is returned."""
        return types.float64(*parameters), generate

    return soften


@cache
def _make_rows(dtype: np.dtype[Any], lanes: int):
    most, raised, soften = (make(dtype, lanes) for make in (_make_most, _make_raise, _make_soften))
    panel_of, size = make_split(lanes), dtype.itemsize

    @inner
    @named(dtype.name, lanes)
    def rows_of(R, E, Y, rows, tile, k):
        """Turn predictions R, in panels of ``tile`` rows, into slopes; return the sum of values."""
        total = 0.0
        for i in range(rows):
            top = -np.inf
            for c in range(0, k, lanes):
                start, width = panel_of(c, k)
                here = (start * tile + i * width + c - start) * size
                top = max(top, most(R + here, min(lanes, k - c)))
            whole = 0.0
            for c in range(0, k, lanes):
                start, width = panel_of(c, k)
                here = (start * tile + i * width + c - start) * size
                whole += raised(R + here, E + here, top, min(lanes, k - c))
            inverse, log = 1.0 / whole, top + np.log(whole)
            for c in range(0, k, lanes):
                start, width = panel_of(c, k)
                here, there = (start * tile + i * width + c - start) * size, (i * k + c) * size
                total += soften(R + here, E + here, Y + there, inverse, log, min(lanes, k - c))
        return total

    return rows_of


@cache
def make_coupled(dtype: np.dtype[Any], lanes: int, kind: str):
    """Compile the pass for maps whose outputs are coupled.

    Parameters and results are those of ``make_forward``.
    """
    vectors, depth, size = shapes().tile_vectors, shapes().depth, dtype.itemsize
    into_panels, out_of_panels = make_moves(dtype, lanes)
    accumulate = tiles(dtype, lanes).accumulate
    panel_of, rows_of, zero = make_split(lanes), _make_rows(dtype, lanes), dtype.type(0)
    broad, narrow = (
        make_product(dtype, lanes, count, transposed=False, ask=False) for count in (vectors, 1)
    )
    collect, collect_narrow = (
        make_product(dtype, lanes, count, transposed=True, ask=False) for count in (vectors, 1)
    )

    @inner
    @named(dtype.name, lanes)
    def predict(x, w, r, rows, d, ld, width):
        """R = X W of a panel, at addresses, a block of features after the other."""
        block = block_of(d, depth)
        for t in range(0, d, block):
            X, W = View(x + t * size, ld, 1), View(w + t * width * size, width, 1)
            R, features, fresh = View(r, width, 1), min(block, d - t), 1 if t == 0 else 0
            if width > lanes:
                broad(X, W, R, rows, features, 0, fresh)
            else:
                narrow(X, W, R, rows, features, 0, fresh)

    @inner
    @named(dtype.name, lanes)
    def gather(x, s, g, rows, ld, width, count, d):
        """G += S'X of a panel, at addresses: in panels, or in rows where it is not full."""
        X, S, G = View(x, ld, 1), View(s, width, 1), View(g, width, 1)
        if count < width:
            accumulate(View(s, 1, width), X, View(g, ld, 1), count, ld, rows)
        elif width > lanes:
            collect(X, S, G, d, rows, 0, 0)
        else:
            collect_narrow(X, S, G, d, rows, 0, 0)

    @inner
    @named(dtype.name, lanes, kind)
    def coupled(data, weights, work, sums, first, last, backwards, p):
        d, ld, k, tile = data.d, data.ld, data.k, data.tile
        maps, panels = weights.size // (k * ld), (k + lanes - 1) // lanes * lanes
        length = panels * ld
        W, G = work[: maps * length], work[maps * length : 2 * maps * length]
        rest = work[2 * maps * length :]
        spare, R, E = rest[: lanes * ld], rest[lanes * ld :], rest[lanes * ld + panels * tile :]
        for m in range(maps):
            flat = weights[m * k * ld : (m + 1) * k * ld]
            into_panels(flat, W[m * length : (m + 1) * length], k, ld)
        G[:] = zero
        for i in range(first, last):
            row = (first + last - 1 - i if backwards else i) * tile
            rows = min(tile, data.n - row)
            X, Y = tile_at(data, row, rows)
            for m in range(maps):
                for c in range(0, k, lanes):
                    start, width = panel_of(c, k)
                    if c == start:
                        w, r = at(W, m * length + c * ld), at(R, c * tile)
                        predict(X, w, r, rows, d, ld, width)
                loss = rows_of(at(R, 0), at(E, 0), Y, rows, tile, k)
                sums[sums.size - 1 - m] += loss
                for c in range(0, k, lanes):
                    start, width = panel_of(c, k)
                    if c == start:
                        g = at(G, m * length + c * ld)
                        gather(X, at(R, c * tile), g, rows, ld, width, min(width, k - c), d)
            if (i - first) % data.flush == data.flush - 1 or i == last - 1:
                for m in range(maps):
                    gradients = G[m * length : (m + 1) * length]
                    out_of_panels(gradients, sums[m * k * ld : (m + 1) * k * ld], k, ld, spare)

    return coupled
