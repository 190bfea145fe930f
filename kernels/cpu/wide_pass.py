"""The pass over the data of a network with many outputs: for some of them, all of the data.

The outputs lie along the lanes of the vectors, as in :mod:`.many_maps`. What comes of it stands in
the products of the chain: the pass reads the first suffix product, the weights, and leaves the
gradient as the first pulled-back product, both in panels. Loss and gradient of an output depend on
no other one, nor on which outputs are taken together.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..specs import Loss
from ..system.caches import cache_bytes
from .entries import Entries, make_entries, pack_entries
from .jit import inner, lanes_for, named, padded, spliced
from .lp_loss import FLUSH, Data, gram, rows_of
from .many_maps import Places, Tile, make_slopes
from .panels import in_panels, make_product
from .picked import tile_at
from .pointers import shift
from .shapes import shapes
from .simd import View, at
from .wide_chain import make_times
from .wide_layout import end_to_end_gradient, end_to_end_matrix, pull, suffix

#: Outputs that are not many, however short a vector is.
_FEW = 8
#: Rows that are shared in place of outputs: this many times as many as features or outputs.
_ROWS = 32
#: Outputs from which on X may come from further away than the second-level cache.
_OUTPUTS = 64


class PassMemory(NamedTuple):
    """What a rank writes in a pass.

    ``residuals`` is the address of a tile of them for one panel. ``sums`` points to float64 numbers
    that all ranks write, each for its outputs: in the form "direct" the gradient, laid out like the
    product, and then the sums of the values and the squares of the gradient, one a panel, at the
    number of its first vector.
    """

    residuals: int
    sums: Any


def is_wide(n: int, d: int, k: int, dtype: np.dtype[Any], form: str) -> bool:
    """Whether a run is for these kernels: several vectors of outputs, and data at hand.

    Every rank reads all of X, for its own outputs. So X is at home in a second-level cache, or the
    outputs are so many that reading it is little beside them, and the rows are not so many more
    than features and outputs that it were better to share these. Observed entries are for these
    kernels only, measurements never.
    """
    if form in ("entries", "measurements", "coupled"):
        return form == "entries"
    if k <= max(wide_lanes(d, k, dtype), _FEW) or (form == "direct" and n > _ROWS * max(d, k)):
        return False
    return form != "direct" or k >= _OUTPUTS or n * d * dtype.itemsize <= cache_bytes(2)


def wide_lanes(d: int, k: int, dtype: np.dtype[Any]) -> int:
    """Elements in a vector, along features and outputs alike."""
    return min(lanes_for(d, dtype), lanes_for(k, dtype))


def pack_wide(
    X: np.ndarray, Y: np.ndarray, loss: Loss, lanes: int, widths: tuple[int, ...]
) -> Data | Entries:
    """Lay out the data for the passes of wide networks of these ``widths``.

    That is X (n, d) and Y (n, k); or X'X, and X'Y in panels; or the diagonal (d,), and Y (d, k) in
    panels; or observed entries.
    """
    n, d, k = len(X), widths[0], widths[-1]
    if loss.form == "entries":
        return pack_entries(X, Y, k, d, lanes)
    ld, rest, tile = padded(d, lanes), 0.0, _tile_rows(n)
    if loss.form == "direct":
        flat_X, flat_Y = rows_of(X, ld), rows_of(Y, k)
    elif loss.form == "gram":
        XX, YX, rest = gram(X, Y)
        flat_X, flat_Y = rows_of(XX, ld), in_panels(YX.T, ld, lanes)
        n = d
    else:
        flat_X, flat_Y = rows_of(X.reshape(1, d), ld), in_panels(Y, ld, lanes)
        n, rest = 1, loss.rest
    flush = max(FLUSH // tile, 1)
    return Data(flat_X, flat_Y, n, d, ld, k, tile, flush, True, False, rest)


def _tile_rows(n: int) -> int:
    """Rows of X in a tile: as equal as can be, and no more than four times ``many_rows``."""
    most = 4 * shapes().many_rows
    return padded(-(-n // -(-n // most)), 4)


def wide_sums_size(ld: int, k: int, lanes: int, form: str) -> int:
    """Float64 numbers in the sums of a pass."""
    columns = padded(k, lanes)
    return (ld * columns if form == "direct" else 0) + 2 * (columns // lanes)


@cache
def _make_direct(dtype: np.dtype[Any], lanes: int, kind: str):
    vectors, size, zero = shapes().tile_vectors, dtype.itemsize, dtype.type(0)
    broad, narrow = (make_slopes(dtype, lanes, count, kind, ask=False) for count in (vectors, 1))
    collect, collect_narrow = (
        make_product(dtype, lanes, count, transposed=True, ask=False) for count in (vectors, 1)
    )

    @spliced
    def direct(data, chain, memory, span, backwards, scale, p):
        d, ld, k = data.d, data.ld, data.k
        W, G = suffix(chain, 0), pull(chain, 0)
        first, last = span
        begin, end = first * lanes * ld, last * lanes * ld
        sums, losses = memory.sums, shift(memory.sums, (k + lanes - 1) // lanes * lanes * ld)
        gradient = end_to_end_gradient(chain)
        for i in range(begin, end):
            gradient[i] = zero
        for v in range(first, last):
            losses[v] = 0.0
        totals = np.empty(vectors * lanes)
        places = Places(0, 0, memory.residuals, at(totals, 0))
        n_tiles = (data.n + data.tile - 1) // data.tile
        if n_tiles > data.flush:
            for i in range(begin, end):
                sums[i] = 0.0
        for i in range(n_tiles):
            row = (n_tiles - 1 - i if backwards else i) * data.tile
            rows = min(data.tile, data.n - row)
            X, Y = tile_at(data, row, rows)
            tile = Tile(X, Y, rows, d, ld, k, 0)
            v = first
            while v < last:
                start, width = v * lanes, lanes * (vectors if last - v >= vectors else 1)
                count, here = min(width, k - start), start * ld * size
                R, target = View(places.R, width, 1), View(G.address + here, width, 1)
                if width > lanes:
                    broad(tile, W.address + here, places, start, count, p)
                    collect(View(X, ld, 1), R, target, d, rows, 0, 0)
                else:
                    narrow(tile, W.address + here, places, start, count, p)
                    collect_narrow(View(X, ld, 1), R, target, d, rows, 0, 0)
                loss = losses[v]
                for c in range(count):
                    loss += totals[c]
                losses[v] = loss
                v += width // lanes
            if n_tiles > data.flush and (i % data.flush == data.flush - 1 or i == n_tiles - 1):
                for j in range(begin, end):
                    sums[j] += np.float64(gradient[j])
                for j in range(begin, end):
                    gradient[j] = zero
        if n_tiles > data.flush:
            for i in range(begin, end):
                gradient[i] = scale * sums[i]
        else:
            for i in range(begin, end):
                gradient[i] = scale * np.float64(gradient[i])

    return direct


@cache
def _make_gram(dtype: np.dtype[Any], lanes: int, kind: str):
    vectors, times = shapes().tile_vectors, make_times(dtype, lanes, transposed=False)

    @spliced
    def from_gram(data, chain, memory, span, backwards, scale, p):
        d, ld = data.d, data.ld
        first, last = span
        begin, end = first * lanes * ld, last * lanes * ld
        weights, gradient = end_to_end_matrix(chain), end_to_end_gradient(chain)
        losses = memory.sums
        for i in range(begin, end):
            gradient[i] = -data.Y[i]
        X = View(at(data.X, 0), ld, 1)
        times(X, suffix(chain, 0), pull(chain, 0), (d, d), (first, last), 0)
        v = first
        while v < last:
            step = vectors if last - v >= vectors else 1
            total = 0.0
            for i in range(v * lanes * ld, (v + step) * lanes * ld):
                total += weights[i] * (gradient[i] - data.Y[i])
            losses[v] = total
            v += step
        for i in range(begin, end):
            gradient[i] = scale * gradient[i]

    return from_gram


@cache
def _make_diagonal(dtype: np.dtype[Any], lanes: int, kind: str):
    vectors = shapes().tile_vectors

    @spliced
    def diagonal(data, chain, memory, span, backwards, scale, p):
        ld = data.ld
        weights, gradient = end_to_end_matrix(chain), end_to_end_gradient(chain)
        losses = memory.sums
        v = span[0]
        while v < span[1]:
            step = vectors if span[1] - v >= vectors else 1
            width, start, total = step * lanes, v * lanes * ld, 0.0
            for j in range(data.d):
                s, here = np.float64(data.X[j]), start + j * width
                for i in range(here, here + width):
                    gradient[i] = s * np.float64(weights[i]) - np.float64(data.Y[i])
            for i in range(start, start + ld * width):
                total += np.float64(gradient[i]) * np.float64(gradient[i])
            for j in range(data.d):
                s, here = scale * np.float64(data.X[j]), start + j * width
                for i in range(here, here + width):
                    gradient[i] = s * np.float64(gradient[i])
            losses[v] = total
            v += step

    return diagonal


#: The passes by form.
_PASSES = {
    "direct": _make_direct,
    "gram": _make_gram,
    "diagonal": _make_diagonal,
    "entries": make_entries,
}


@cache
def make_wide_pass(dtype: np.dtype[Any], lanes: int, form: str, kind: str = "lp"):
    """Compile ``own_pass(data, chain, memory, span, backwards, scale, p)``.

    It reads the weights of the outputs in the vectors of ``span``, first and last, and leaves
    ``scale`` times their unscaled gradients, and in ``memory.sums`` their sums of values and the
    squares of the norms of these gradients.
    """
    own = _PASSES[form](dtype, lanes, kind)
    vectors, room = shapes().tile_vectors, make_room(lanes, form)

    @spliced
    def own_pass(data, chain, memory, span, backwards, scale, p):
        own(data, chain, memory, span, backwards, scale, p)
        gradient, count = end_to_end_gradient(chain), (data.k + lanes - 1) // lanes
        squares, v = shift(memory.sums, room(data) + count), span[0]
        while v < span[1]:
            step, square = vectors if span[1] - v >= vectors else 1, 0.0
            for i in range(v * lanes * data.ld, (v + step) * lanes * data.ld):
                square += np.float64(gradient[i]) * np.float64(gradient[i])
            squares[v] = square
            v += step

    return own_pass


@cache
def make_room(lanes: int, form: str):
    """Compile ``room(data)``: how many numbers of a gradient are in the sums before the losses."""
    direct = form == "direct"

    @inner
    @named(lanes, form)
    def room(data):
        return (data.k + lanes - 1) // lanes * lanes * data.ld if direct else 0

    return room


@inner
def totals(data, parts, lanes, vectors):
    """Add up what the passes for all outputs have left: the sum of the values, and |G|^2.

    ``parts`` points behind the gradient in the sums.
    """
    count = (data.k + lanes - 1) // lanes
    loss, square, v = data.rest, 0.0, 0
    while v < count:
        loss += parts[v]
        square += parts[count + v]
        v += vectors if count - v >= vectors else 1
    return loss, square
