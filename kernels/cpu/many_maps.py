"""The pass over the data for several maps: the many of a sweep, or those of several outputs.

Many maps lie along the lanes of the vectors, ``width`` maps a panel: the weights of a panel are
(d, width), the residuals of a tile of rows (rows, width), its gradients (d, width). Both halves of
the pass are matrix products in which an element of X meets vectors of maps,

    residuals (rows, width) += X (rows, d) weights (d, width)
    gradients (d, width)    += X' (d, rows) slopes (rows, width)

so no vector is ever folded: every number is a sum in the order of the features, or of the rows. It
depends neither on the other maps nor on the place among them. In a panel that is not full the
features lie along the lanes in the second product, which changes no bit; so few maps that even the
first would leave most lanes idle are for :mod:`.few_maps`.

Residuals start from -y, and margins from 0. The sum of the values of a tile has ``lanes`` parts,
row i in part i modulo ``lanes``, which are folded in pairs.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..specs import MARGIN_KINDS
from .few_maps import make_few, most_few
from .few_maps import work_size as few_work_size
from .jit import inner, named, padded, spliced
from .many_powers import make_panel_powers
from .panels import block_of, make_product, make_targets, make_transpose
from .picked import is_picked, tile_at
from .shapes import shapes
from .simd import View, at, tiles


def _panel_width(lanes: int) -> int:
    """Maps in a panel."""
    return lanes * shapes().tile_vectors


def tile_rows(lanes: int) -> int:
    """Rows of X in a tile, whole vectors of them: with few maps they lie along the lanes."""
    return padded(shapes().many_rows, lanes)


def work_size(columns: int, ld: int, tile: int, lanes: int) -> int:
    """Elements of scratch that a thread needs for a pass over at most so many columns."""
    whole = -(-columns // lanes) * lanes
    many = (2 * whole + lanes) * ld + tile * _panel_width(lanes)
    return max(many, few_work_size(min(columns, most_few(lanes)), ld, tile, lanes))


@cache
def make_split(lanes: int):
    """Compile ``panel_of(first, columns)``."""
    width = _panel_width(lanes)

    @spliced
    def panel_of(first, columns):
        """Where the panel with a column starts, and its width: one vector for what is left over."""
        start = first // width * width
        if columns - start > width - lanes:
            return start, width
        return first // lanes * lanes, lanes

    return panel_of


@cache
def make_moves(dtype: np.dtype[Any], lanes: int):
    """Compile the ways of weights into panels and of gradients out of them."""
    zero = dtype.type(0)
    transpose, panel_of = make_transpose(dtype, lanes), make_split(lanes)

    @inner
    @named(dtype.name, lanes)
    def into(weights, panels, columns, ld):
        """panel[t, c] = weights[c, t]; zero beyond the columns."""
        for first in range(0, columns, lanes):
            start, width = panel_of(first, columns)
            panel = panels[start * ld + first - start :]
            if columns - first >= lanes:
                W = View(at(weights, first * ld), ld, 1)
                transpose(W, View(at(panel, 0), width, 1), lanes, ld)
            else:
                for t in range(ld):
                    for c in range(lanes):
                        inside = first + c < columns
                        panel[t * width + c] = weights[(first + c) * ld + t] if inside else zero

    @inner
    @named(dtype.name, lanes)
    def out_of(panels, unscaled, columns, ld, scratch):
        """Move the gradients into the float64 sums, and start again from zero."""
        for first in range(0, columns, lanes):
            start, width = panel_of(first, columns)
            count = min(lanes, columns - first) * ld
            if columns - start < width:
                gradients = panels[first * ld : first * ld + count]
            else:
                gradients = scratch[:count]
                panel = View(at(panels, start * ld + first - start), width, 1)
                transpose(panel, View(at(scratch, 0), ld, 1), ld, lanes)
            total = unscaled[first * ld : first * ld + count]
            for i in range(count):
                total[i] += np.float64(gradients[i])
        panels[:] = zero

    return into, out_of


class Places(NamedTuple):
    """Addresses of what a tile and a panel need: no references are counted in the inner loops.

    Weights and gradients in panels, the residuals and losses (a column) of one panel.
    """

    W: int
    G: int
    R: int
    totals: int


class Tile(NamedTuple):
    """A tile of the data: addresses of X and Y, its shape, and how far on the next one lies."""

    X: int
    Y: int
    rows: int
    d: int
    ld: int
    k: int
    ahead: int


@cache
def make_slopes(
    dtype: np.dtype[Any], lanes: int, vectors: int, kind: str = "lp", *, ask: bool = True
):
    """Compile ``slopes(tile, W, places, first, count, p)``: the first half of what a tile takes.

    W is the address of a panel of weights, (d, width). ``places.R`` becomes the slopes of its maps,
    whose targets are ``count`` columns of Y from ``first`` on, and ``places.totals`` their sums of
    values. With ``ask`` the next tile travels to the second-level cache meanwhile.
    """
    width, depth, size = vectors * lanes, shapes().depth, dtype.itemsize
    multiply = make_product(dtype, lanes, vectors, transposed=False, ask=ask)
    targets = make_targets(dtype, lanes, vectors)
    differentiate, margin = make_panel_powers(dtype, lanes, kind), kind in MARGIN_KINDS

    @inner
    @named(dtype.name, lanes, vectors, kind, ask)
    def slopes(tile, W, places, first, count, p):
        R = View(places.R, width, 1)
        if not margin:
            targets(View(tile.Y, tile.k, 1), R, tile.rows, first, count)
        block = block_of(tile.d, depth)
        for t in range(0, tile.d, block):
            weights = View(W + t * width * size, width, 1)
            X = View(tile.X + t * size, tile.ld, 1)
            multiply(
                X,
                weights,
                R,
                tile.rows,
                min(block, tile.d - t),
                tile.ahead,
                1 if margin and t == 0 else 0,
            )
        for v in range(vectors):
            r, totals = places.R + v * lanes * size, places.totals + v * lanes * 8
            differentiate(r, tile.Y, totals, tile.rows, width, p)

    return slopes


@cache
def _make_block(dtype: np.dtype[Any], lanes: int, vectors: int, kind: str):
    """Compile what is done with one tile of X and one panel of so many vectors."""
    width, size = vectors * lanes, dtype.itemsize
    slopes = make_slopes(dtype, lanes, vectors, kind)
    collect = make_product(dtype, lanes, vectors, transposed=True, ask=False)
    accumulate = tiles(dtype, lanes).accumulate

    @inner
    @named(dtype.name, lanes, vectors, kind)
    def block(tile, places, start, count, p):
        d, ld = tile.d, tile.ld
        W, G = places.W + start * ld * size, places.G + start * ld * size
        slopes(tile, W, places, start % tile.k, count, p)
        R, X = View(places.R, width, 1), View(tile.X, ld, 1)
        if count == width:
            collect(X, R, View(G, width, 1), d, tile.rows, 0, 0)
        else:
            S = View(places.R, 1, width)
            accumulate(S, X, View(G, ld, 1), count, ld, tile.rows)

    return block


@cache
def _make_many(dtype: np.dtype[Any], lanes: int, kind: str):
    vectors = shapes().tile_vectors
    broad, narrow = (_make_block(dtype, lanes, count, kind) for count in (vectors, 1))
    into_panels, out_of_panels = make_moves(dtype, lanes)
    panel_of, zero = make_split(lanes), dtype.type(0)

    @inner
    @named(dtype.name, lanes, kind)
    def many(data, weights, work, sums, first, last, backwards, p):
        d, ld, k = data.d, data.ld, data.k
        columns = weights.size // ld
        size = (columns + lanes - 1) // lanes * lanes * ld
        W, G, spare = work[:size], work[size : 2 * size], work[2 * size : 2 * size + lanes * ld]
        R, losses = work[2 * size + lanes * ld :], sums[sums.size - columns // k :][::-1]
        totals = np.empty(vectors * lanes)
        places = Places(at(W, 0), at(G, 0), at(R, 0), at(totals, 0))
        into_panels(weights, W, columns, ld)
        G[:] = zero
        for i in range(first, last):
            row = (first + last - 1 - i if backwards else i) * data.tile
            rows = min(data.tile, data.n - row)
            ahead = (-data.tile if backwards else data.tile) * ld if i < last - 1 else 0
            if is_picked(data):
                ahead = 0
            X, Y = tile_at(data, row, rows)
            start = model = output = 0
            while start < columns:
                start, width = panel_of(start, columns)
                count = min(width, columns - start)
                tile = Tile(X, Y, rows, d, ld, k, ahead if start == 0 else 0)
                if width > lanes:
                    broad(tile, places, start, count, p)
                else:
                    narrow(tile, places, start, count, p)
                for c in range(count):
                    losses[model] += totals[c]
                    output += 1
                    if output == k:
                        model, output = model + 1, 0
                start += width
            if (i - first) % data.flush == data.flush - 1 or i == last - 1:
                out_of_panels(G, sums, columns, ld, spare)

    return many


@cache
def make_many_maps(dtype: np.dtype[Any], lanes: int, kind: str = "lp"):
    """Compile the pass for a run with several columns, each an output of a map.

    Parameters and results are those of ``make_forward``.
    """
    many, few = _make_many(dtype, lanes, kind), make_few(dtype, lanes, kind)
    most = most_few(lanes)

    @spliced
    def forward(data, weights, work, sums, first, last, backwards, p):
        if weights.size // data.ld <= most:
            few(data, weights, work, sums, first, last, backwards, p)
        else:
            many(data, weights, work, sums, first, last, backwards, p)

    return forward
