"""The Hessian of the network's loss in its factors times a vector: see the reference.

The second derivative of the loss takes one pass over the data, a few rows at a time: while they
are in the cache, two sets of dot products (with the map, and with the direction), weights, and the
rows' share of the result, all in float64. The chain is that of :mod:`.factor_chain`, twice: once
with the factors and once, in buffers of the same layout, with the derivatives of everything.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ..reference import curvature as reference
from ..specs import COUPLED_KINDS, MARGIN_KINDS, Loss
from .differentiate import make_weights
from .factor_chain import (
    LD,
    PARAMS,
    PULL,
    ROWS,
    SUFFIX,
    Chain,
    Layout,
    factor_row,
    make_end_to_end,
    suffix_product,
)
from .jit import aligned_zeros, entry, lanes_for, padded
from .pointers import address, pointer, shift
from .simd import View, at, tiles

#: Bytes of the rows of a tile, and of what they yield, which are to stay in the caches.
_TILE_BYTES = 2**18
_DOUBLE = np.dtype(np.float64)


@cache
def _make_pass(lanes: int, kind: str):
    routines = tiles(_DOUBLE, lanes)
    dots, accumulate = routines.dots, routines.accumulate
    weigh, margin = make_weights(lanes, kind), kind in MARGIN_KINDS

    @entry("hessian product", lanes, kind)
    def product(X, Y, W, V, work, H, rows, p):
        (n, d), k = X.shape, Y.shape[1]
        ld = W.size // k
        residuals, moves = rows * ld, rows * (ld + k)
        for first in range(0, n, rows):
            m = min(rows, n - first)
            for i in range(m):
                for j in range(d):
                    work[i * ld + j] = np.float64(X[first + i, j])
            tile = View(at(work, 0), ld, 1)
            moved = View(at(work, moves), rows, 1)
            dots(tile, View(at(W, 0), ld, 1), View(at(work, residuals), rows, 1), m, k, ld)
            dots(tile, View(at(V, 0), ld, 1), moved, m, k, ld)
            for c in range(k):
                for i in range(m):
                    if margin:
                        work[residuals + c * rows + i] *= np.float64(Y[first + i, c])
                    else:
                        work[residuals + c * rows + i] -= np.float64(Y[first + i, c])
                weigh(at(work, residuals + c * rows), m, p)
                for i in range(m):
                    work[moves + c * rows + i] *= work[residuals + c * rows + i]
            accumulate(moved, tile, View(at(H, 0), ld, 1), k, ld, m)

    return product


def hessian_product(
    X: np.ndarray, Y: np.ndarray, W: np.ndarray, V: np.ndarray, loss: Loss
) -> np.ndarray:
    """Second derivative (k, d) of the loss at W along V, in one pass on one thread, in float64."""
    (n, d), k = X.shape, Y.shape[1]
    if loss.kind in COUPLED_KINDS:
        return _coupled_product(X, Y, W, V, loss)
    lanes = lanes_for(d, _DOUBLE)
    ld = padded(d, lanes)
    rows = min(max(_TILE_BYTES // (8 * (ld + 2 * k)) // 8 * 8, 8), 128)
    work, H = (aligned_zeros(size, _DOUBLE) for size in (rows * (ld + 2 * k), k * ld))
    maps = [aligned_zeros(k * ld, _DOUBLE) for _ in range(2)]
    for flat, given in zip(maps, (W, V), strict=True):
        flat.reshape(k, ld)[:, :d] = given
    X, Y = np.ascontiguousarray(X), np.ascontiguousarray(Y)  # else compiled once more
    _make_pass(lanes, loss.kind)(X, Y, *maps, work, H, rows, float(loss.p))
    return loss.curvature_factor / n * H.reshape(k, ld)[:, :d]


def _coupled_product(
    X: np.ndarray, Y: np.ndarray, W: np.ndarray, V: np.ndarray, loss: Loss
) -> np.ndarray:
    """The same for outputs that are coupled: products of NumPy's, some rows at a time."""
    (n, d), total = X.shape, np.zeros(W.shape)
    rows = max(_TILE_BYTES // (8 * (d + len(W))), 1)
    for i in range(0, n, rows):
        x, y = X[i : i + rows], Y[i : i + rows]
        total += reference.hessian_product(
            x, y, W, V, loss._replace(factor=loss.factor * len(x) / n)
        )
    return total


#: What the kernel of a chain is called for: once at a point, and twice for every direction.
_POINT, _TANGENT, _PRODUCT = range(3)


@cache
def _make_chain(dtype: np.dtype[Any], lanes: int):
    routines = tiles(dtype, lanes)
    dots, accumulate = routines.dots, routines.accumulate
    multiply = make_end_to_end(dtype, lanes)

    @entry("second chain", dtype.name, lanes)
    def second(arrays, tangents, spare, product, stage):
        table, depth, k = pointer(arrays.table), arrays.depth, arrays.k
        chain = Chain(table, depth, k, pointer(arrays.params), pointer(arrays.products))
        moved = Chain(table, depth, k, pointer(tangents.params), pointer(tangents.products))
        if stage == _POINT:
            multiply(chain)
            for f in range(depth - 1):
                row, above = factor_row(chain, f), factor_row(chain, f + 1)
                W = View(address(shift(chain.params, row[PARAMS])), row[LD], 1)
                T = View(address(shift(chain.products, row[PULL])), row[LD], 1)
                below = shift(chain.products, above[PULL])
                dots(W, T, View(address(below), above[LD], 1), row[ROWS], k, row[LD])
            return
        if stage == _TANGENT:
            for f in range(depth - 2, -1, -1):
                row, above = factor_row(chain, f), factor_row(chain, f + 1)
                rows, ld, longer = row[ROWS], row[LD], above[LD]
                target = shift(moved.products, row[SUFFIX])
                for i in range(k * ld):
                    target[i] = 0
                out = View(address(target), ld, 1)
                S, D = suffix_product(chain, f + 1), suffix_product(moved, f + 1)
                W, V = shift(chain.params, row[PARAMS]), shift(moved.params, row[PARAMS])
                accumulate(View(address(D), longer, 1), View(address(W), ld, 1), out, k, ld, rows)
                accumulate(View(address(S), longer, 1), View(address(V), ld, 1), out, k, ld, rows)
            return
        for f in range(depth - 1):
            row, above = factor_row(chain, f), factor_row(chain, f + 1)
            rows, ld, longer = row[ROWS], row[LD], above[LD]
            W = View(address(shift(chain.params, row[PARAMS])), ld, 1)
            V = View(address(shift(moved.params, row[PARAMS])), ld, 1)
            T = View(address(shift(chain.products, row[PULL])), ld, 1)
            U = View(address(shift(moved.products, row[PULL])), ld, 1)
            below = shift(moved.products, above[PULL])
            dots(W, U, View(address(below), longer, 1), rows, k, ld)
            dots(V, T, View(at(spare, 0), longer, 1), rows, k, ld)
            for i in range(k * longer):
                below[i] += spare[i]
            for i in range(rows * ld):
                product[row[PARAMS] + i] = 0
            out = View(at(product, row[PARAMS]), ld, 1)
            S = View(address(suffix_product(chain, f + 1)), 1, longer)
            D = View(address(suffix_product(moved, f + 1)), 1, longer)
            accumulate(D, T, out, rows, ld, k)
            accumulate(S, U, out, rows, ld, k)
        row = factor_row(chain, depth - 1)
        last = shift(moved.products, row[PULL])
        for i in range(k * row[LD]):
            product[row[PARAMS] + i] = last[i]

    return second


class ChainCurvature:
    """The chain of factors at one point, for products with the Hessian along many directions."""

    def __init__(self, params: np.ndarray, widths: tuple[int, ...], G: np.ndarray) -> None:
        lanes = lanes_for(max(widths[:-1]), params.dtype)
        self._layout = layout = Layout(tuple(widths), params.dtype, lanes)
        size, table, depth = layout.n_params, layout.table, len(widths) - 1
        self._chains = [
            Chain(table, depth, layout.k, flat, aligned_zeros(layout.n_products, params.dtype))
            for flat in (layout.pad(params), aligned_zeros(size, params.dtype))
        ]
        self._spare = aligned_zeros(layout.k * int(table[:, LD].max()), params.dtype)
        self._product = aligned_zeros(size, params.dtype)
        self._kernel = _make_chain(params.dtype, lanes)
        self._pulled(0)[...] = G
        self._run(_POINT)

    def _run(self, stage: int) -> None:
        self._kernel(*self._chains, self._spare, self._product, stage)

    def _matrix(self, flat: np.ndarray, start: int) -> np.ndarray:
        """A matrix (k, d) that stands in a buffer, a view."""
        k, ld = self._layout.k, self._layout.table[0, LD]
        return flat[start : start + k * ld].reshape(k, ld)[:, : self._layout.widths[0]]

    def _pulled(self, chain: int) -> np.ndarray:
        """G, or its derivative, in its place."""
        return self._matrix(self._chains[chain].products, self._layout.table[0, PULL])

    def tangent(self, direction: np.ndarray) -> np.ndarray:
        """Derivative (k, d) of the end-to-end matrix as the factors move along a direction."""
        moved, row = self._chains[1], self._layout.table[0]
        self._layout.fill(moved.params, direction)
        self._run(_TANGENT)
        if moved.depth == 1:
            return self._matrix(moved.params, row[PARAMS])
        return self._matrix(moved.products, row[SUFFIX])

    def product(
        self, direction: np.ndarray, second: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray:
        """The Hessian times a direction, flat; ``second`` makes G's derivative of W's."""
        self._pulled(1)[...] = second(self.tangent(direction))
        self._run(_PRODUCT)
        return self._layout.unpad(self._product)
