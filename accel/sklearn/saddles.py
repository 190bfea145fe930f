r"""Where descent on the factors of a network comes to rest without being at a minimum.

Balanced factors of depth N move a singular value s of their product W, with vectors u and v, by

.. math:: \dot s = -N s^{2 - 2/N} u^\top G v - N \lambda s,

G the gradient with respect to W, :math:`\lambda` the weight decay (Arora, Cohen, Hazan 2018,
theorem 3). From depth 2 on one that is 0 stays 0, whatever G is: each W of less than full rank at
which the others have come to rest is a stationary point. The loss itself is convex, so without
decay it is no local minimum unless G is 0: it is a saddle.

Decay adds :math:`\lambda N / 2 \sum s^{2/N}` to the loss. At depth 2 that is :math:`\lambda` times
the nuclear norm; the sum stays convex, and W is the minimum where the largest singular value of G
on the unused singular vectors is at most :math:`\lambda`. From depth 3 on the slope of
:math:`s^{2/N}` at 0 is infinite: every such W is a local minimum, W = 0 always, however small
:math:`\lambda` is.

So a minimum is told from the rest by a search further away: along the direction -u v' in which the
loss falls most among the singular vectors that W does not use.
"""

import math
from typing import NamedTuple

import numpy as np

from accel._core.problem import Problem
from accel._support.arrays import Array
from accel.kernels.reference.losses import value_and_slope
from accel.kernels.reference.norms import norm

__all__ = ["Trap", "trap"]

_UNUSED = 0.01  # a singular value is unused below this part of the largest, and of the best one
_LENGTHS = 24  # steps of a line search, each half of the one before


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
    U, sizes, Vt = np.linalg.svd(W, full_matrices=False)
    residual = problem.host.X @ W.T - problem.host.Y  # for labels a scale of what predictions lack
    for rank in range(min(width, len(sizes))):
        if rank and sizes[rank] >= _UNUSED * sizes[0]:
            continue
        left, right = U[:, :rank], Vt[:rank]
        unused = G - left @ (left.T @ G)
        unused -= (unused @ right.T) @ right
        if not 0 < norm(unused) < math.inf:
            break
        left, _, right = np.linalg.svd(unused / norm(unused), full_matrices=False)
        moved = np.outer(problem.host.X @ right[0], left[:, 0])
        lengths = _lengths(residual, moved)
        if sizes[rank] >= _UNUSED * lengths[0]:
            continue
        losses = [_loss(problem, residual - t * moved) for t in lengths]
        values = np.array(losses) + decay * depth / 2 * lengths ** (2 / depth)
        best = int(np.argmin(values))
        if loss - values[best] > tol * loss and sizes[rank] < _UNUSED * lengths[best]:
            used = (U[:, :rank] * sizes[:rank]) @ Vt[:rank]
            lower = used - lengths[best] * np.outer(left[:, 0], right[0])
            return Trap(_reason(rank, depth, decay), lower)
    if decay and depth > 2 and not _is_minimum(loss, G, sizes, depth, decay):
        return Trap(f"{_reason(0, depth, decay)} that may not be the lowest", None)
    return None


def _lengths(residual: Array, moved: Array) -> Array:
    """Steps t of a line search; at the longest ``residual - t moved`` exceeds the residual."""
    ratios = [size(residual) / (size(moved) or 1.0) for size in (norm, lambda a: np.abs(a).max())]
    lengths: Array = 2 * max(ratios) * 0.5 ** np.arange(_LENGTHS)
    return lengths


def _loss(problem: Problem, residual: Array) -> float:
    labels = problem.loss_function.classifies
    Y = problem.host.Y if labels else np.zeros_like(residual)
    with np.errstate(over="ignore", under="ignore"):
        values, _ = value_and_slope(problem.spec, residual + Y if labels else residual, Y)
        return problem.factor / problem.n * float(np.sum(values))


def _is_minimum(loss: float, G: Array, sizes: Array, depth: int, decay: float) -> bool:
    r"""Whether W is not nearly 0, or convexity proves that 0 is the minimum, decay included.

    A lower point has :math:`\lambda N / 2 \, s^{2/N} < L(0)` for every singular value, and since
    :math:`L(W) \ge L(0) - \sum s |G|`, one of :math:`s |G| > \lambda N / 2 \, s^{2/N}` at least.
    """
    slope = float(np.linalg.norm(G.astype(np.float64), 2))
    if not (slope and loss):
        return True
    power, share = depth / (depth - 2), decay * depth / 2
    if sizes[0] and math.log(sizes[0] / _UNUSED) >= power * math.log(decay / slope):
        return True  # decay is stronger than the loss below decay / slope to that power only
    return power * math.log(share / slope) >= depth / 2 * math.log(loss / share)


def _reason(rank: int, depth: int, decay: float) -> str:
    where = "where W is 0" if rank == 0 else f"of rank {rank}"
    if decay and depth > 2:
        return f"weight_decay at depth {depth} holds the factors at a local minimum {where}"
    return f"the factors are held at a saddle {where}"
