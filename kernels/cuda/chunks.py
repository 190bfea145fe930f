"""Sums over a part of the rows, for data that lie in several places."""

from typing import Any

import numpy as np

from ..specs import Loss
from .jit import to_host, xp
from .lp_loss import Pass, on_device, pack
from .powers import Data


def row_length(d: int, dtype: np.dtype[Any]) -> int:
    """Return the length at which rows of d elements are kept: d, without padding."""
    return d


def pieces(X: Any, Y: Any, d: int, block: int) -> list[Data]:
    """Copy rows to the device as one piece, only the first d elements of each row of X."""
    return [pack(X[:, :d], Y)]


def sums(piece: Data, W: np.ndarray, loss: Loss, most: int) -> np.ndarray:
    """Unscaled sums of a piece for maps W (M, k, d), flat on the host: gradients, then losses."""
    models, k, _ = W.shape
    weights, running = on_device(W.reshape(-1)), xp.ones(models, np.int64)
    one = Pass(piece, weights, loss._replace(form="direct"), running, most=most * k)
    one()
    losses = one.losses.sum(axis=0).reshape(models, k).sum(axis=1)
    return to_host(xp.concatenate([one.partials.sum(axis=0).reshape(-1), losses]))
