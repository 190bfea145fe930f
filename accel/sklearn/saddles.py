"""Where descent on the factors of a network comes to rest without being at a minimum.

Why it does, ``accel._core.saddles`` says, which finds the directions that are tried here.
"""

import math
from typing import NamedTuple

import numpy as np

from accel._core.problem import Problem
from accel._core.saddles import LENGTHS, UNUSED, penalties, unused_directions
from accel._support.arrays import Array
from accel.kernels.reference.losses import value_and_slope
from accel.kernels.reference.norms import norm

__all__ = ["Trap", "trap"]


class Trap(NamedTuple):
    """A stationary point that is no minimum: its kind, and a map with a lower loss, if known."""

    reason: str
    lower: Array | None


def trap(
    problem: Problem, W: Array, depth: int, width: int, decay: float, tol: float
) -> Trap | None:
    """Tell whether balanced factors of W are at a saddle or a local minimum; None if not.

    Parameters
    ----------
    problem : Problem
    W : (k, d) array
    depth, width : int
        Of the network; the width is that of its narrowest layer.
    decay, tol : float
        A map is lower if its loss, decay included, is lower by more than tol times the loss.
    """
    if depth == 1:
        return None
    W = W.astype(np.float64)
    loss, G = problem.loss_and_gradient(W)
    residual = problem.host.X @ W.T - problem.host.Y  # for labels a scale of what predictions lack
    for rank, size, used, u, v in unused_directions(W, G, width):
        moved = np.outer(problem.host.X @ v, u)
        lengths = _lengths(residual, moved)
        if size >= UNUSED * lengths[0]:
            continue
        losses = [_loss(problem, residual - t * moved) for t in lengths]
        values = np.array(losses) + penalties(lengths, decay, depth)
        best = int(np.argmin(values))
        if loss - values[best] > tol * loss and size < UNUSED * lengths[best]:
            return Trap(_reason(rank, depth, decay), used - lengths[best] * np.outer(u, v))
    if decay and depth > 2 and not _is_minimum(loss, G, float(np.linalg.norm(W, 2)), depth, decay):
        return Trap(f"{_reason(0, depth, decay)} that may not be the lowest", None)
    return None


def _lengths(residual: Array, moved: Array) -> Array:
    """Steps t of a line search; at the longest ``residual - t moved`` exceeds the residual."""
    ratios = [size(residual) / (size(moved) or 1.0) for size in (norm, lambda a: np.abs(a).max())]
    lengths: Array = 2 * max(ratios) * 0.5 ** np.arange(LENGTHS)
    return lengths


def _loss(problem: Problem, residual: Array) -> float:
    labels = problem.loss_function.classifies
    Y = problem.host.Y if labels else np.zeros_like(residual)
    with np.errstate(over="ignore", under="ignore"):
        values, _ = value_and_slope(problem.spec, residual + Y if labels else residual, Y)
        return problem.factor / problem.n * float(np.sum(values))


def _is_minimum(loss: float, G: Array, largest: float, depth: int, decay: float) -> bool:
    r"""Whether W is not nearly 0, or convexity proves that 0 is the minimum, decay included.

    A lower point has :math:`\lambda N / 2 \, s^{2/N} < L(0)` for every singular value, and since
    :math:`L(W) \ge L(0) - \sum s |G|`, one of :math:`s |G| > \lambda N / 2 \, s^{2/N}` at least.
    """
    slope = float(np.linalg.norm(G.astype(np.float64), 2))
    if not (slope and loss):
        return True
    power, share = depth / (depth - 2), decay * depth / 2
    if largest and math.log(largest / UNUSED) >= power * math.log(decay / slope):
        return True  # decay is stronger than the loss below decay / slope to that power only
    return power * math.log(share / slope) >= depth / 2 * math.log(loss / share)


def _reason(rank: int, depth: int, decay: float) -> str:
    where = "where W is 0" if rank == 0 else f"of rank {rank}"
    if decay and depth > 2:
        return f"weight_decay at depth {depth} holds the factors at a local minimum {where}"
    return f"the factors are held at a saddle {where}"
