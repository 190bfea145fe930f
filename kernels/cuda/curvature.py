"""The Hessian of the network's loss in its factors times a vector: see the reference.

All of it are products of matrices, which cuBLAS makes, and elementwise weights between them; data
are taken some rows at a time, so that nothing as large as X is written.
"""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..specs import Loss
from .jit import as_like, xp
from .losses import curvature_along
from .lp_loss import TILE_BYTES, on_device

Widths = tuple[int, ...]


def hessian_product(X: Any, Y: Any, W: Any, V: Any, loss: Loss) -> Any:
    """Second derivative (k, d) of the loss at W along V, float64 throughout, a tile at a time."""
    A, targets = on_device(X), on_device(Y)
    maps = [on_device(a, np.float64) for a in (W, V)]
    (n, d), k = A.shape, targets.shape[1]
    H = xp.zeros((k, d), np.float64)
    rows = max(TILE_BYTES // (8 * (d + 3 * k)), 1)
    for first in range(0, n, rows):
        tile = A[first : first + rows].astype(np.float64)
        products, moves = (tile @ a.T for a in maps)
        moved = curvature_along(loss, products, targets[first : first + rows], moves)
        H += moved.T @ tile
    return as_like(W, (loss.curvature_factor / n) * H)


def _factors(flat: Any, widths: Widths) -> list[Any]:
    held, factors, start = xp.asarray(flat), [], 0
    for columns, rows in itertools.pairwise(widths):
        factors.append(held[start : start + rows * columns].reshape(rows, columns))
        start += rows * columns
    return factors


class ChainCurvature:
    """The chain of factors at one point, for products with the Hessian along many directions."""

    def __init__(self, params: Any, widths: Widths, G: Any) -> None:
        self._widths, self._given = widths, params
        self._factors = _factors(params, widths)
        self._suffixes = self._factors[-1:]  # the products of the factors from each on
        for W in self._factors[-2::-1]:
            self._suffixes.insert(0, self._suffixes[0] @ W)
        self._pulled = [xp.asarray(G)]
        for W in self._factors[:-1]:
            self._pulled.append(self._pulled[-1] @ W.T)

    def _moved(self, moves: list[Any]) -> list[Any]:
        """The derivatives of the suffixes as the factors move."""
        tangents = moves[-1:]
        chains = (self._factors[-2::-1], moves[-2::-1], self._suffixes[:0:-1])
        for W, V, S in zip(*chains, strict=True):
            tangents.insert(0, tangents[0] @ W + S @ V)
        return tangents

    def tangent(self, direction: Any) -> Any:
        """Derivative (k, d) of the end-to-end matrix as the factors move along a direction."""
        return as_like(self._given, self._moved(_factors(direction, self._widths))[0])

    def product(self, direction: Any, second: Callable[[Any], Any]) -> Any:
        """The Hessian times a direction, flat; ``second`` makes G's derivative of W's."""
        moves = _factors(direction, self._widths)
        tangents = self._moved(moves)
        U, blocks = xp.asarray(second(as_like(self._given, tangents[0]))), []
        chains = (self._factors, moves, self._suffixes[1:], tangents[1:], self._pulled)
        for W, V, S, D, T in zip(*chains, strict=False):  # to the last factor but one
            blocks.append((D.T @ T + S.T @ U).reshape(-1))
            U = U @ W.T + T @ V.T
        return as_like(self._given, xp.concatenate([*blocks, U.reshape(-1)]))
