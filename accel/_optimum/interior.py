r"""Losses with bounded slopes by a primal-dual interior point method: pinball, Huber, log-cosh.

The loss of a residual r is ``max_v (v r - psi(v))`` over v between two bounds, ``low < 0 < high``,
with the conjugate psi: 0 for pinball, ``v^2/2`` for Huber's loss, an entropy for log-cosh. With
residuals ``r = r_0 + A z``, slacks ``a = v - low`` and ``b = high - v`` and their multipliers alpha
and beta, a minimum satisfies

.. math:: A'v = 0, \qquad r - \psi'(v) + \alpha - \beta = 0, \qquad
    \alpha_i a_i = \beta_i b_i = 0.

Newton's method is applied to these equations with the products at a small positive number, which
shrinks, by Mehrotra's prediction and correction. A step costs one product ``A' diag(weights) A``;
some 10 to 25 will do for any n, since v = 0 is an interior point that satisfies ``A'v = 0``: the
slopes prove a gap from the first step on.

A kink, or a curvature that vanishes far away, costs Newton's method on the loss itself many steps;
here it costs none. For pinball this is the method of Portnoy and Koenker (1997), "The Gaussian Hare
and the Laplacian Tortoise", for the dual problem with bounds. Pinball is half of the absolute
residual and a linear term, too, and so an l_1 problem with one more row, far away; but that row
would be the largest of X and of y, and rounding errors are relative to it.

``to_vertex`` takes the pinball loss from there to a minimum with all its digits.
"""

import math
from typing import NamedTuple

import numpy as np

from accel._optimum.best_pair import BestPair
from accel._optimum.certificate import weighted
from accel._optimum.newton import independent, ridged
from accel._optimum.twofold import EPS
from accel._support.arrays import Array

__all__ = ["interior_point", "to_vertex"]

_INSIDE = 0.99  # the part of the way to the boundary that a step goes at most
_FINISHED = 1e-13  # the relative gap below which steps are rounding errors
_IDLE = 4  # steps without a smaller gap after which there is none
_PIVOTS = 4096  # of a walk along edges: this divided by the rank, but not less than 16
_INTERPOLATED = 1e-11  # residuals below this part of the median one are 0


def _psi(kind: str, v: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """First and second derivative of the conjugate, given the slacks of v."""
    if kind == "huber":
        return v, np.ones_like(v)
    if kind == "logcosh":
        return np.log(a / b) / 2, 1 / (a * b)
    return np.zeros_like(v), np.zeros_like(v)


class _System(NamedTuple):
    """The equations of a step.

    Attributes
    ----------
    A : (n, rank) array
    H : (rank, rank) array
        ``A' diag(inverse) A``.
    inverse : (n,) array
        ``1 / (psi'' + alpha / a + beta / b)``.
    unexplained : (n,) array
        ``r - psi'(v)``.
    v : (n,) array
    slacks, multipliers : pair of (n,) arrays
        Of the lower and of the upper bound.
    """

    A: Array
    H: Array
    inverse: Array
    unexplained: Array
    v: Array
    slacks: tuple[Array, Array]
    multipliers: tuple[Array, Array]

    def direction(self, at_low: Array | float, at_high: Array | float) -> tuple[Array, ...]:
        """The step of z, v, alpha and beta towards products of these sizes."""
        (a, b), (alpha, beta) = self.slacks, self.multipliers
        g = self.unexplained + at_low / a - at_high / b
        dz = np.linalg.solve(self.H, -(self.A.T @ (self.v + self.inverse * g)))
        dv = self.inverse * (self.A @ dz + g)
        return dz, dv, (at_low - alpha * dv) / a - alpha, (at_high + beta * dv) / b - beta


def _longest(*pairs: tuple[Array, Array]) -> float:
    """The longest step, at most 1, for which all ``x + t dx`` stay positive."""
    t = 1.0
    for x, dx in pairs:
        down = dx < 0
        if down.any():
            t = min(t, _INSIDE * float(np.min(-x[down] / dx[down])))
    return t


def interior_point(best: BestPair, tol: float, max_iter: int) -> None:
    """Improve the pair until its gap is at most tol times the reference loss, or as far as it goes.

    Parameters
    ----------
    best : BestPair
        Of a loss with bounded slopes. The method begins at z = 0.
    tol : float
    max_iter : int
        The most steps that the pair may have made in the end.
    """
    A, kind, n = best.A, best.side.kind, len(best.start)
    low, high = best.side.domain
    z, r, v = np.zeros(A.shape[1]), best.start, np.zeros(n)
    a, b = -low, high.copy()
    level = float(np.mean(np.abs(r))) or 1.0
    alpha, beta = np.maximum(-r, 0.0) + level, np.maximum(r, 0.0) + level
    apart, idle = kind == "pinball", 0  # whether z and v may make steps of different lengths
    best.offer(z, r, v)
    while best.iterations < max_iter and idle < _IDLE and not best.met(max(tol, _FINISHED)):
        best.iterations += 1
        with np.errstate(all="ignore"):
            first, second = _psi(kind, v, a, b)
            inverse = 1 / (second + alpha / a + beta / b)
            H = ridged(weighted(A, inverse), float(inverse.max()))
            if H is None or not np.all(np.isfinite(H)):
                break

            here = _System(A, H, inverse, r - first, v, (a, b), (alpha, beta))
            dz, dv, da, db = here.direction(0.0, 0.0)
            mean = float(alpha @ a + beta @ b) / (2 * n)
            t, s = _longest((a, dv), (b, -dv)), _longest((alpha, da), (beta, db))
            after = float((alpha + s * da) @ (a + t * dv) + (beta + s * db) @ (b - t * dv))
            centre = mean * min(after / (2 * n) / mean, 1.0) ** 3
            dz, dv, da, db = here.direction(centre - da * dv, centre + db * dv)
            t, s = _longest((a, dv), (b, -dv)), _longest((alpha, da), (beta, db))
            if not apart:
                t = s = min(t, s)
            if not (np.all(np.isfinite(dz)) and np.all(np.isfinite(dv)) and max(t, s) > EPS):
                break
            v, a, b = v + t * dv, a + t * dv, b - t * dv
            z, alpha, beta = z + s * dz, alpha + s * da, beta + s * db
        r = best.predictions(z)
        best.decrement = math.sqrt(max(float(dz @ H @ dz), 0.0))
        idle = 0 if best.offer(z, r, v) else idle + 1


def to_vertex(best: BestPair) -> None:
    """For pinball: go to a vertex near the best point, and along edges downhill (simplex method).

    A vertex interpolates a basis, as many independent rows as the rank; the first basis is of the
    rows with the smallest residuals. The slopes of the other rows are at their bounds, or, where
    their residuals are 0, those of the best pair; those of the basis follow from ``A'v = 0``. If
    all are within the bounds, the vertex is the minimum. Else the row that is farthest outside
    leaves the basis, and the loss falls along the edge on which the others stay interpolated, up to
    where the residual of a row becomes 0 beyond which the loss would rise; that row enters.
    """
    A, (low, high) = best.A, best.side.domain
    size = np.abs(best.m)
    basis = independent(A, np.argsort(size, kind="stable"))
    if basis is None:
        return
    inverse = np.linalg.inv(A[basis])
    zero = _INTERPOLATED * float(np.median(np.abs(best.start)))
    for _ in range(max(_PIVOTS // A.shape[1], 16)):
        z = -(inverse @ best.start[basis])
        z -= inverse @ best.predictions(z)[basis]
        r = best.predictions(z)
        r[basis] = 0.0
        v = np.where(r > zero, high, np.where(r < -zero, low, best.v))
        v[basis] = 0.0
        v[basis] = -(v @ A) @ inverse
        above, below = (v - high)[basis], (low - v)[basis]
        outside = np.maximum(above, below)
        leaves = int(np.argmax(outside))
        rise = -float(outside[leaves])
        if rise >= -8 * EPS:
            break
        along = A @ (inverse[:, leaves] if above[leaves] > 0 else -inverse[:, leaves])
        ahead = np.flatnonzero(along * r < 0)
        ahead = ahead[np.argsort(-r[ahead] / along[ahead], kind="stable")]
        stops = np.flatnonzero(rise + (high[0] - low[0]) * np.cumsum(np.abs(along[ahead])) >= 0)
        if not len(stops):
            break
        enters = ahead[stops[0]]
        basis[leaves] = enters
        shares = A[enters] @ inverse
        inverse[:, leaves] /= shares[leaves]
        shares[leaves] = 0.0
        inverse -= np.outer(inverse[:, leaves], shares)
    best.offer(z, r, v)
