"""Damped Newton's method for a convex loss that has a slope everywhere.

The slopes after a Newton step, to first order, ``s + curvature * by``, satisfy ``A'v = 0`` up to
rounding errors, so that every step proves a gap of the point that it leads to; near the minimum
the gap falls as fast as the distance. Changes of the loss are sums of ``conjugates.py``'s f, row by
row, never differences of two sums.

The steps for Huber's and the expectile loss, which are quadratic in pieces, are those of the
semismooth Newton method: they end at the minimum itself once the pieces are the right ones.
"""

import math
from collections.abc import Callable

import numpy as np

from accel._optimum.best_pair import BestPair, Step
from accel._optimum.twofold import EPS
from accel._support.arrays import Array

__all__ = ["newton"]

_ARMIJO = 1e-4  # the part of the predicted decrease that a step must reach
_SHORTEST = 1e-18  # the shortest step that is tried
_IDLE = 3  # whole steps without a smaller gap after which there is none, near the minimum
_GRAIN = 4 * EPS  # relative changes of the predictions that are rounding errors
_FINE = 1e-6  # the relative gap that counts as near


def newton(
    best: BestPair,
    tol: float,
    max_iter: int,
    watch: Callable[[Array, float, float], bool] | None = None,
) -> None:
    """Improve the pair, from its point, until its gap is at most tol times the reference loss.

    Parameters
    ----------
    best : BestPair
    tol : float
    max_iter : int
        The most steps that the pair may have made in the end.
    watch : callable, optional
        Of labels: of every point z, its least margin and the largest change of a prediction in the
        last step. Where it returns True the method ends. It is asked before the gap is.
    """
    z, m, idle, size = best.z, best.m, 0, math.inf
    while True:
        if watch is not None and watch(z, best.least_margin(m), size):
            return
        if best.met(tol) or best.iterations >= max_iter or idle >= _IDLE:
            return
        best.iterations += 1
        step = best.newton_step(m)
        if step is None:
            return
        best.decrement = math.sqrt(max(step.decrease, 0.0))
        t = _step_length(best, m, step)
        if t == 0:
            best.offer(z, m, step.after)
            return
        z = z + t * step.by
        m = best.predictions(z)
        size = t * float(np.abs(step.moves).max())
        better = best.offer(z, m, step.after)
        if size <= _GRAIN * float(np.abs(m).max()):
            return
        idle = 0 if better or t < 1 or not best.met(_FINE) else idle + 1


def _step_length(best: BestPair, m: Array, step: Step) -> float:
    """The length of a step, by Armijo backtracking from 1; 0 if rounding errors exceed all gains.

    ``m`` are the predictions where it begins.
    """
    t = 1.0
    while t > _SHORTEST and step.decrease > 0:
        if best.bent(m + t * step.moves, step.slopes) <= (1 - _ARMIJO) * t * step.decrease:
            return t
        t /= 2
    return 0.0
