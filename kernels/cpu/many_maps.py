"""The pass over the data for several maps: the many of a sweep, or those of several outputs.

Many maps lie along the lanes of the vectors, ``width`` maps a panel: the weights of a panel are
(d, width), the residuals of a tile of rows (rows, width), its gradients (d, width). Both halves of
the pass are matrix products in which an element of X meets vectors of maps,

    residuals (rows, width) += X (rows, d) weights (d, width)
    gradients (d, width)    += X' (d, rows) slopes (rows, width)

so no vector is ever folded: every number is a sum in the order of the features, or of the rows.
It depends neither on the other maps nor on the place among them. Few maps would leave most lanes
idle: for them the tile of X is transposed, and the same sums are made with the rows, then the
features along the lanes, to the same bits,

    residuals (maps, rows) += weights (maps, d) X' (d, rows)
    gradients (maps, d)    += slopes (maps, rows) X (rows, d)

Residuals start from -y. The sum of |r|^p of a tile has ``lanes`` parts, row i in part i modulo
``lanes``, which are folded in pairs.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from .jit import aligned_zeros, inner, named, padded, spliced
from .many_powers import make_panel_powers
from .panels import make_transpose, panels
from .powers import make_differentiate
from .shapes import shapes
from .simd import View, at, tiles


def _panel_width(lanes: int) -> int:
    """Maps in a panel."""
    return lanes * shapes().tile_vectors


def _most_few(lanes: int) -> int:
    """So many maps are few."""
    return lanes // 2


def tile_rows(lanes: int) -> int:
    """Rows of X in a tile, whole vectors of them: with few maps they lie along the lanes."""
    return padded(shapes().many_rows, lanes)


def turned(X: np.ndarray, ld: int, columns: int, lanes: int) -> np.ndarray:
    """The tiles of X (n, ld), flat, transposed; none where they are transposed in every pass.

    That takes as long as the products of two or three maps: it pays to keep the tiles of small
    data, whereas large data are waited for in any case.
    """
    tile, n = tile_rows(lanes), X.size // ld
    kept = aligned_zeros(turned_size(n, ld, columns, lanes, X.dtype), X.dtype)
    if kept.size:
        rows = np.zeros((kept.size // ld, ld), X.dtype)
        rows[:n] = X.reshape(n, ld)
        kept.reshape(-1, ld, tile)[...] = rows.reshape(-1, tile, ld).transpose(0, 2, 1)
    return kept


def turned_size(n: int, ld: int, columns: int, lanes: int, dtype: np.dtype[Any]) -> int:
    """Elements of X that are kept transposed, whole tiles of them."""
    few = 1 < columns <= _most_few(lanes)
    if not few or n * ld * dtype.itemsize > shapes().kept_bytes:
        return 0
    return padded(n, tile_rows(lanes)) * ld


def work_size(columns: int, ld: int, tile: int, lanes: int) -> int:
    """Elements of scratch that a thread needs for a pass over at most so many columns."""
    whole = -(-columns // lanes) * lanes
    many = (2 * whole + lanes) * ld + tile * _panel_width(lanes)
    columns = min(columns, _most_few(lanes))
    return max(many, (columns + ld + 1) * tile + columns * ld)


@cache
def _make_split(lanes: int):
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
def _make_moves(dtype: np.dtype[Any], lanes: int):
    """Compile the ways of weights into panels and of gradients out of them."""
    zero = dtype.type(0)
    transpose, panel_of = make_transpose(dtype, lanes), _make_split(lanes)

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
            panel = View(at(panels, start * ld + first - start), width, 1)
            transpose(panel, View(at(scratch, 0), ld, 1), ld, lanes)
            count = min(lanes, columns - first) * ld
            total = unscaled[first * ld : first * ld + count]
            for i in range(count):
                total[i] += np.float64(scratch[i])
        panels[:] = zero

    return into, out_of


class _Places(NamedTuple):
    """Addresses of what a tile and a panel need: no references are counted in the inner loops.

    Weights and gradients in panels, the residuals and losses (a column) of one panel.
    """

    W: int
    G: int
    R: int
    totals: int


class _Tile(NamedTuple):
    """A tile of the data: addresses of X and Y, its shape, and how far on the next one lies."""

    X: int
    Y: int
    rows: int
    d: int
    ld: int
    k: int
    ahead: int


@cache
def _make_block(dtype: np.dtype[Any], lanes: int, vectors: int):
    """Compile what is done with one tile of X and one panel of so many vectors."""
    width, depth, size = vectors * lanes, shapes().depth, dtype.itemsize
    panel, differentiate = panels(dtype, lanes, vectors), make_panel_powers(dtype, lanes)
    multiply, collect, targets = panel.rows, panel.columns, panel.targets

    @inner
    @named(dtype.name, lanes, vectors)
    def block(tile, places, start, count, p):
        d, ld = tile.d, tile.ld
        R = View(places.R, width, 1)
        targets(View(tile.Y, tile.k, 1), R, tile.rows, start % tile.k, count)
        for t in range(0, d, depth):
            W = View(places.W + (start * ld + t * width) * size, width, 1)
            X = View(tile.X + t * size, ld, 1)
            multiply(X, W, R, tile.rows, min(depth, d - t), tile.ahead)
        for v in range(vectors):
            r, totals = places.R + v * lanes * size, places.totals + v * lanes * 8
            differentiate(r, totals, tile.rows, width, p)
        G = View(places.G + start * ld * size, width, 1)
        collect(View(tile.X, ld, 1), R, G, d, tile.rows)

    return block


@cache
def _make_many(dtype: np.dtype[Any], lanes: int):
    vectors = shapes().tile_vectors
    broad, narrow = _make_block(dtype, lanes, vectors), _make_block(dtype, lanes, 1)
    into_panels, out_of_panels = _make_moves(dtype, lanes)
    panel_of, zero = _make_split(lanes), dtype.type(0)

    @inner
    @named(dtype.name, lanes)
    def many(data, weights, work, sums, first, last, backwards, p):
        d, ld, k = data.d, data.ld, data.k
        columns = weights.size // ld
        size = (columns + lanes - 1) // lanes * lanes * ld
        W, G, spare = work[:size], work[size : 2 * size], work[2 * size : 2 * size + lanes * ld]
        R, losses = work[2 * size + lanes * ld :], sums[sums.size - columns // k :][::-1]
        totals = np.empty(vectors * lanes)
        places = _Places(at(W, 0), at(G, 0), at(R, 0), at(totals, 0))
        into_panels(weights, W, columns, ld)
        G[:] = zero
        for i in range(first, last):
            row = (first + last - 1 - i if backwards else i) * data.tile
            rows = min(data.tile, data.n - row)
            ahead = (-data.tile if backwards else data.tile) * ld if i < last - 1 else 0
            start = model = output = 0
            while start < columns:
                start, width = panel_of(start, columns)
                count = min(width, columns - start)
                X, Y = at(data.X, row * ld), at(data.Y, row * k)
                tile = _Tile(X, Y, rows, d, ld, k, ahead if start == 0 else 0)
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
def _make_few(dtype: np.dtype[Any], lanes: int):
    accumulate, transpose = tiles(dtype, lanes).accumulate, make_transpose(dtype, lanes)
    differentiate = make_differentiate(dtype, lanes)
    zero = dtype.type(0)

    @inner
    @named(dtype.name, lanes)
    def turn(data, row, rows, turned):
        """Transpose a tile of X; zero in the samples that pad the last vector."""
        ld, tile, whole = data.ld, data.tile, rows // lanes * lanes
        transpose(View(at(data.X, row * ld), ld, 1), View(at(turned, 0), tile, 1), whole, ld)
        for t in range(ld if whole < rows else 0):
            for i in range(whole, whole + lanes):
                turned[t * tile + i] = data.X[(row + i) * ld + t] if i < rows else zero

    @inner
    @named(dtype.name, lanes)
    def minus_targets(residuals, data, row, rows, whole, columns):
        k, tile = data.k, data.tile
        for c in range(columns):
            target, mine = row * k + c % k, residuals[c * tile : c * tile + whole]
            for s in range(rows):
                mine[s] = -data.Y[target + s * k]
            mine[rows:] = zero

    @inner
    @named(dtype.name, lanes)
    def few(data, weights, work, sums, first, last, backwards, p):
        ld, tile = data.ld, data.tile
        size = weights.size
        columns = size // ld
        G, R, none = work[:size], work[size:], work[size + columns * tile :]
        turned = none[tile:]
        losses = sums[sums.size - columns // data.k :][::-1]
        W, S = View(at(weights, 0), ld, 1), View(at(R, 0), tile, 1)
        G[:] = zero
        none[:tile] = zero  # the targets are in the residuals
        for i in range(first, last):
            row = (first + last - 1 - i if backwards else i) * tile
            rows = min(tile, data.n - row)
            whole = (rows + lanes - 1) // lanes * lanes
            minus_targets(R, data, row, rows, whole, columns)
            if data.turned.size == 0:
                turn(data, row, rows, turned)
                T = View(at(turned, 0), tile, 1)
            else:
                T = View(at(data.turned, row * ld), tile, 1)
            accumulate(W, T, S, columns, whole, data.d)
            for c in range(columns):
                losses[c // data.k] += differentiate(at(R, c * tile), at(none, 0), rows, p)
            X = View(at(data.X, row * ld), ld, 1)
            accumulate(S, X, View(at(G, 0), ld, 1), columns, ld, rows)
            if (i - first) % data.flush == data.flush - 1 or i == last - 1:
                for j in range(size):
                    sums[j] += np.float64(G[j])
                G[:] = zero

    return few


@cache
def make_many_maps(dtype: np.dtype[Any], lanes: int):
    """Compile the pass for a run with several columns, each an output of a map.

    Parameters and results are those of ``make_forward``.
    """
    many, few, most_few = _make_many(dtype, lanes), _make_few(dtype, lanes), _most_few(lanes)

    @spliced
    def forward(data, weights, work, sums, first, last, backwards, p):
        if weights.size // data.ld <= most_few:
            few(data, weights, work, sums, first, last, backwards, p)
        else:
            many(data, weights, work, sums, first, last, backwards, p)

    return forward
