"""The best pair of a point and of slopes that prove it, of one output of a convex loss."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from accel._optimum.certificate import weighted
from accel._optimum.conjugates import Conjugate
from accel._optimum.newton import ridged
from accel._optimum.twofold import EPS
from accel._support.arrays import Array

__all__ = ["BestPair", "Step"]

_INFEASIBLE = 1e-11  # the largest |A'v| / |v| that counts as rounding errors
_GRAIN = 16 * EPS  # the same, relative to the slopes at the start


class Step(NamedTuple):
    """A step of Newton's method from some predictions.

    Attributes
    ----------
    by : array of the shape of z
        The step.
    moves : array
        The changes of the predictions.
    decrease : float
        Of the sum of losses, as the slopes predict it.
    slopes, after : array
        The slopes there, and after the step to first order.
    """

    by: Array
    moves: Array
    decrease: float
    slopes: Array
    after: Array


class BestPair:
    """The best pair so far: of all points ``m = m_0 + A z``, and of all slopes.

    Parameters
    ----------
    A : (n, rank) array
        With nearly orthonormal columns.
    start : (n,) array
        The predictions m_0, or residuals, at z = 0.
    side : Conjugate
    reference : callable
        Of predictions (n,): the loss, as a sum, that a gap is compared with.

    Attributes
    ----------
    z, m : (rank,), (n,) array
        The point, and its predictions.
    v : (n,) array
        The slopes.
    gap : float
        What they prove, rounding errors aside.
    decrement : float
        Newton's, the root of ``g' H^{-1} g`` for the sum of losses, at the last step.
    iterations : int
        Newton steps so far.
    """

    def __init__(
        self, A: Array, start: Array, side: Conjugate, reference: Callable[[Array], float]
    ) -> None:
        self.A, self.start, self.side, self.reference = A, start, side, reference
        self.z, self.m = np.zeros(A.shape[1]), start
        self.v = np.zeros_like(start)
        self.gap = math.inf
        self._grain = _GRAIN * float(np.linalg.norm(side.slopes(start)))  # for slopes near 0
        self.decrement = 0.0
        self.iterations = 0

    def predictions(self, z: Array) -> Array:
        """Return ``m_0 + A z``."""
        m: Array = self.start + self.A @ z
        return m

    def offer(self, z: Array, m: Array, v: Array) -> bool:
        """Keep the point z with predictions m, and v, if they prove a smaller gap; say whether."""
        if not (np.all(np.isfinite(v)) and np.all(np.isfinite(m))):
            return False
        low, high = self.side.domain
        outside = float(np.max(np.maximum(low - v, v - high), initial=0.0))
        if outside > 8 * EPS * float(np.abs(v).max()):
            return False
        v = np.clip(v, low, high)
        if float(np.linalg.norm(self.A.T @ v)) > max(
            _INFEASIBLE * float(np.linalg.norm(v)), self._grain
        ):
            return False
        gap = float(np.sum(self.side.terms(m, v)))
        if not gap < self.gap:
            return False
        self.z, self.m, self.v, self.gap = z, m, v, gap
        return True

    def met(self, tol: float) -> bool:
        """Whether the gap is at most tol times the reference loss."""
        return self.gap <= tol * self.reference(self.m)

    def newton_step(self, m: Array) -> Step | None:
        """The step from predictions m; None where something overflows or nothing is curved."""
        s, weights = self.side.slopes(m), self.side.curvatures(m)
        g = self.A.T @ s
        if not (np.all(np.isfinite(g)) and np.all(np.isfinite(weights))):
            return None
        H = ridged(weighted(self.A, weights), float(weights.max(initial=0.0)))
        if H is None:
            return None
        by = -np.linalg.solve(H, g)
        moves = self.A @ by
        return Step(by, moves, -float(g @ by), s, s + weights * moves)

    def bent(self, m: Array, s: Array) -> float:
        """How much the losses at m are above what slopes s at another point predict for it."""
        return float(np.sum(self.side.terms(m, s)))

    def least_margin(self, m: Array) -> float:
        """The least margin of predictions m."""
        return float(np.min(self.side.labels * m))
