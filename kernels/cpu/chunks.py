"""Sums over a part of the rows, for data that lie in several places."""

import numpy as np

from ..specs import Loss
from .jit import row_length
from .lp_loss import Data, buffers, for_maps, pack_rows, run_pass

__all__ = ["pieces", "row_length", "sums"]


def pieces(X: np.ndarray, Y: np.ndarray, d: int, block: int) -> list[Data]:
    """Lay out rows for ``sums``, ``block`` rows a piece; X is not copied, Y may be."""
    starts = range(0, len(X), block)
    return [pack_rows(X[start : start + block], Y[start : start + block], d) for start in starts]


def sums(piece: Data, W: np.ndarray, loss: Loss, most: int) -> np.ndarray:
    """Unscaled sums of a piece for maps W (M, k, d), flat: gradients, then losses."""
    piece = for_maps(piece, most)
    weights, work, total = buffers(piece, W, loss.kind)
    run_pass(piece, weights, work, total, loss)
    gradients = total[: weights.size].reshape(-1, piece.ld)[:, : piece.d]
    return np.concatenate([gradients.reshape(-1), total[weights.size :][::-1]])
