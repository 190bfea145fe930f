"""Sums over a part of the rows, for data that lie in several places."""

from typing import Any

import numpy as np

from ..protocols import Array
from ..specs import Loss
from .lp_loss import loss_and_gradient

#: X (n, d) and Y (n, k).
Piece = tuple[Array, Array]


def row_length(d: int, dtype: np.dtype[Any]) -> int:
    """Length at which rows of d elements are kept: d, without padding.

    Parameters
    ----------
    d : int
    dtype : dtype

    Returns
    -------
    int
    """
    return d


def pieces(X: Array, Y: Array, d: int, block: int) -> list[Piece]:
    """Lay out rows for ``sums``: as one piece, since NumPy has its own threads.

    Parameters
    ----------
    X : (n, row_length) array
        Only the first d elements of a row are used.
    Y : (n, k) array
    d : int
    block : int
        Rows of a piece; ignored.

    Returns
    -------
    list of Piece
    """
    return [(X[:, :d], Y)]


@np.errstate(over="ignore", invalid="ignore")  # a run may diverge: that is a status
def sums(piece: Piece, W: Array, p: float, most: int) -> Array:
    """Unscaled sums over the rows of a piece: gradient and loss without their constant factors.

    Parameters
    ----------
    piece : Piece
    W : (M, k, d) array
        Maps.
    p : float
    most : int
        Maps of the largest pass; ignored.

    Returns
    -------
    (M k d + M,) float64 array
        The gradients ``sum_i |r|^(p-1) sign(r) x_i'``, (k, d) a map, then a map's ``sum |r|^p``.
    """
    X, Y = piece
    passes = [loss_and_gradient(X, Y, w, Loss(p, len(X))) for w in W]
    gradients = [np.divide(G, p, dtype=np.float64).reshape(-1) for _, G in passes]
    return np.concatenate([*gradients, [value for value, _ in passes]])
