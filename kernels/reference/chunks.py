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
def sums(piece: Piece, W: Array, loss: Loss, most: int) -> Array:
    """Unscaled sums over the rows of a piece: gradient and loss without their constant factors.

    Parameters
    ----------
    piece : Piece
    W : (M, k, d) array
        Maps.
    loss : Loss
        Without its factor.
    most : int
        Maps of the largest pass; ignored.

    Returns
    -------
    (M k d + M,) float64 array
        The gradients ``sum_i l' x_i'`` of the kernels' slopes l', (k, d) a map, then a map's sum of
        values.
    """
    X, Y = piece
    plain = loss._replace(factor=float(len(X)))
    passes = [loss_and_gradient(X, Y, w, plain) for w in W]
    scale = plain.slope_factor / len(X)
    gradients = [np.divide(G, scale, dtype=np.float64).reshape(-1) for _, G in passes]
    return np.concatenate([*gradients, [value for value, _ in passes]])
