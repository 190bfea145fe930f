r"""Newton's method for one output of an l_p problem.

With ``A = X T`` of orthonormal columns, whose rows are right beside their own size, and
``w = w_0 + T z`` the loss reads

.. math:: \min_z F(z) = \frac1n \sum_i |r_i|^p, \qquad r = A z - y,

in which the conditioning of X, 5e9 for the gas data's ``X'X``, plays no part any more. y is what
w_0 leaves of the targets, so small residuals are not drowned by the rounding errors of large
targets. From z = 0 Newton's method with Armijo backtracking sets out.

- p = 2: that is the minimum already.
- p > 2: F has a second derivative; the backend's fused Hessian kernel computes it.
- p < 2: the second derivative is infinite at r = 0, so ``|r|^p`` is replaced by
  ``(r^2 + e^2)^(p/2)``, at most e^p above it, and e falls by factors of ten whenever less is left
  to gain than the smoothing adds. Newton's method for that has steps of length e only; that for the
  pair of equations ``A'v = 0`` and ``v (r^2 + e^2)^{1-p/2} = r`` in z and the slopes v has not
  (Chan, Golub and Mulet 1999). For p = 1 each e ends with an attempt to jump to the vertex: rows as
  many as the rank, those with the least residuals, are interpolated.

For p < 2 the fit hardly depends on a row far away, whose loss may be more than 1e16 times that of
all others: so whatever decides here (line search, best point, gap, smoothing) is a sum of
differences of single rows, never a difference of sums. How far the best point is from the minimum
tells ``certificate.py``, by slopes v with ``A'v = 0``: the slopes to first order after the next
Newton step, which have ``A'v = 0``, made so up to rounding errors. (The iterate's own slopes,
projected, would do, but not for p = 1, where all but a few are 1 or -1.)
"""

import math
from collections.abc import Callable

import numpy as np

from accel._optimum.certificate import bulk, counted, distances, weighted
from accel._optimum.twofold import EPS
from accel._support.arrays import Array

_SHRINK = 0.1  # the smoothing e, unless the median residual is less: then to that,
_FASTEST = 1e-3  # but not by more than this
_SETTLED = 0.1  # of what the smoothing adds: what is left to gain when e falls, for p = 1
_AGAIN = 0.01  # of the median residual: the first e of a round that begins near the minimum
_ARMIJO = 1e-4
_SHORTEST = 1e-18
_GRAIN = 4 * EPS  # of the loss at the start: rounding errors of the targets
_TRIED = 8  # times the rank: rows that may be the basis of a vertex
_INFEASIBLE = 1e-12  # A'v beside v: more than rounding errors
_PARALLEL = 1e-8  # what is left of a row that depends on others
_EDGES = 256  # over the rank: edges in a row
_TINY = float(np.finfo(np.float64).tiny)


class Search:
    """The best point and the best slopes so far, for one output.

    Parameters
    ----------
    A : (n, rank) array
        With orthonormal columns.
    y : (n,) array
        Of largest size 1.
    p : float
    counted : callable
        The loss, as a sum, that the gap is compared with, of the sizes (n,) of the residuals.
    """

    def __init__(self, A: Array, y: Array, p: float, counted: Callable[[Array], float]) -> None:
        self.A, self.y, self.p, self.counted = A, y, p, counted
        self.rows = np.sqrt(np.einsum("ij,ij->i", A, A))
        self.z, self.r = np.zeros(A.shape[1]), -y
        self.slopes = np.zeros_like(y)
        self.gap = float(np.sum(np.abs(y) ** p))
        self.enough = counted(np.abs(self.r))
        self.decrement = 0.0
        self.iterations = 0

    def residual(self, z: Array) -> Array:
        """``A z - y``."""
        r: Array = self.A @ z - self.y
        return r

    def offer(self, z: Array, r: Array, by: Array | None = None) -> None:
        """Keep the point z with residuals r, ``by`` from the best ones so far, if it is better."""
        if by is None:
            by = self.A @ (z - self.z)
        better = float(np.sum(change(self.r, by, self.p, 0.0)))
        if better < 0:
            self.z, self.r = z, r
            self.gap += better
            self.enough = self.counted(np.abs(r))

    def propose(self, v: Array) -> None:
        """Keep these slopes, whose ``A'v`` is 0, if they prove more of the best point."""
        top = float(np.abs(v).max())
        if not math.isfinite(top):
            return
        if self.p == 1 and top > 1:
            v = v / top if top > 1 + 8 * EPS else np.clip(v, -1.0, 1.0)
        gap = float(np.sum(distances(self.r, v - slopes(self.r, self.p, 0.0), self.p)))
        if gap < self.gap:
            self.slopes, self.gap = v, gap

    def met(self, tol: float) -> bool:
        """Whether the gap is at most tol times what counts of the loss."""
        return self.gap <= tol * self.enough


def change(r: Array, by: Array, p: float, e: float) -> Array:
    """``(r^2 + e^2)^(p/2)`` of every row after r has changed, less that before."""
    with np.errstate(all="ignore"):  # far too long a step, to be cut
        return _rise(np.hypot(r, e), np.hypot(r + by, e), by * (2 * r + by), p)


def _rise(before: Array, after: Array, squares: Array, p: float) -> Array:
    """``after^p - before^p``, given the difference of their squares."""
    with np.errstate(all="ignore"):
        if p == 1:
            return np.where(squares == 0, 0.0, squares / (before + after))
        if p == 2:
            return squares
        x = squares / before**2
        small = np.abs(x) < 0.5  # not where it is nan
        near = before**p * np.expm1(p / 2 * np.log1p(np.where(small, x, 0.0)))
        return np.where(small, near, after**p - before**p)


def slopes(r: Array, p: float, e: float) -> Array:
    """The derivative of ``(r^2 + e^2)^(p/2)`` by the residuals, but for the factor p."""
    if e == 0:
        found: Array = np.sign(r) * np.abs(r) ** (p - 1)
        return found
    size = np.hypot(r, e)
    return (r / size) * size ** (p - 1)


def _weights(r: Array, v: Array, p: float, e: float) -> Array:
    """The second derivative but for p/n; for p < 2 the slope of v by r in ``v size^(2-p) = r``."""
    if e == 0:
        return np.ones_like(r) if p == 2 else (p - 1) * np.abs(r) ** (p - 2)
    size = np.hypot(r, e)
    agreement = np.clip(v * size ** (1 - p) * (r / size), -1.0, 1.0)
    return size ** (p - 2) * (1 - (2 - p) * agreement)


def _inside(v: Array, after: Array) -> Array:
    """Go from v, inside the unit cube, nearly as far towards ``after`` as stays inside."""
    step = after - v
    room = np.where(step > 0, 1 - v, 1 + v)
    farthest = np.min(room / np.maximum(np.abs(step), _TINY))
    inside: Array = v + min(1.0, 0.99 * float(farthest)) * step
    return inside


def _ridged(H: Array, largest: float) -> Array | None:
    """H with the least ridge that makes it positive definite in floating point.

    ``largest`` bounds the eigenvalues of H. Below the ridge, some 1e-16 of that, curvature is
    rounding error, and so is the gradient: rows that contribute next to nothing to the loss.
    """
    ridge = EPS * largest
    for _ in range(8):
        damped: Array = H + ridge * np.eye(len(H))
        try:
            np.linalg.cholesky(damped)
            return damped
        except np.linalg.LinAlgError:
            ridge *= 100
    return None


def _step_length(r: Array, by: Array, p: float, e: float, decrease: float) -> float:
    """Armijo backtracking from 1; 0 if no step improves on rounding errors."""
    t = 1.0
    while t > _SHORTEST:
        terms = change(r, t * by, p, e)
        gain, grain = -float(np.sum(terms)), EPS * float(np.sum(np.abs(terms)))
        if gain >= _ARMIJO * t * decrease > 0:
            return t
        if abs(gain) <= 4 * grain:
            return 0.0
        t /= 2
    return 0.0


def _in_null_space(A: Array, v: Array, weights: Array, H: Array, p: float) -> Array | None:
    """Remove the rounding errors of ``A'v``: every row by its weight, lest large ones suffer.

    None if they are more than that.
    """
    if p >= 2:
        v = v - A @ (A.T @ v)
        v -= A @ (A.T @ v)
        return v
    for _ in range(2):
        if p == 1:
            v = np.clip(v, -1.0, 1.0)
        v = v - weights * (A @ np.linalg.solve(H, p / len(v) * (A.T @ v)))
    return v if _feasible(A, v) else None


def _feasible(A: Array, v: Array) -> bool:
    return float(np.linalg.norm(A.T @ v)) <= _INFEASIBLE * float(np.linalg.norm(v))


def _independent(A: Array, order: Array) -> Array | None:
    """Return the first rows in this order that span the space; None if too many do not."""
    rank = A.shape[1]
    Q, rows = np.zeros((rank, rank)), list[int]()
    for i in order[: _TRIED * rank]:
        left = A[i]
        for _ in range(2):
            left = left - (Q[: len(rows)] @ left) @ Q[: len(rows)]
        size = float(np.linalg.norm(left))
        if size > _PARALLEL * float(np.linalg.norm(A[i])):
            Q[len(rows)] = left / size
            rows.append(int(i))
            if len(rows) == rank:
                return np.array(rows)
    return None


def _to_vertex(search: Search, r: Array, edges: int) -> None:
    """For p = 1: interpolate the rows with the least residuals, and go on along edges downhill.

    At a vertex the slopes are known exactly: 1 or -1 outside its basis, and what ``A'v = 0`` says
    in it. If all are at most 1 in size this is the minimum. Else the loss falls along the edge on
    which the row of the largest one leaves the basis, up to the row where the loss begins to rise.
    """
    A, basis = search.A, _independent(search.A, np.argsort(np.abs(r), kind="stable"))
    if basis is None:
        return
    inverse = np.linalg.inv(A[basis])
    for _ in range(edges):
        z = inverse @ search.y[basis]
        z += inverse @ (search.y[basis] - A[basis] @ z)
        r = search.residual(z)
        r[basis] = 0.0
        v = np.sign(r)
        v[basis] = -(v @ A) @ inverse
        leaves = int(np.argmax(np.abs(v[basis])))
        rise = 1 - abs(v[basis[leaves]])
        if rise >= -8 * EPS:
            break
        along = A @ (np.sign(v[basis[leaves]]) * inverse[:, leaves])
        ahead = np.flatnonzero(along * r < 0)
        ahead = ahead[np.argsort(-r[ahead] / along[ahead], kind="stable")]
        stops = np.flatnonzero(rise + 2 * np.cumsum(np.abs(along[ahead])) >= 0)
        if not len(stops):
            break
        enters = ahead[stops[0]]
        basis[leaves] = enters
        shares = A[enters] @ inverse
        inverse[:, leaves] /= shares[leaves]
        shares[leaves] = 0.0
        inverse -= np.outer(inverse[:, leaves], shares)
    search.offer(z, r)
    if _feasible(A, v):
        search.propose(v)


def minimize(
    search: Search, tol: float, max_iter: int, hessian: Callable[[Array], Array], *, again: bool
) -> None:
    """Improve the search until its gap is at most ``tol`` times what counts of its loss.

    Parameters
    ----------
    search : Search
    tol : float
    max_iter : int
    hessian : callable
        For p > 2: the second derivative (rank, rank) of the mean of ``|A z - y|^p`` at z.
    again : bool
        Whether z = 0 is nearly the minimum already, so that for p < 2 less smoothing will do.
    """
    A, p, n, z, r = search.A, search.p, len(search.y), search.z, search.r
    rank = A.shape[1]
    if not rank:  # X = 0: nothing to choose, and every v is in the null space
        search.propose(slopes(r, p, 0.0))
        return
    e = float(np.sqrt(np.mean(r**2))) if p < 2 else 0.0
    if again and p < 2:
        e = _AGAIN * bulk(np.abs(r), rank) or e
    settled = _SETTLED if p == 1 else 1.0
    edges = max(_EDGES // rank, 2)
    grain = _GRAIN * counted(np.abs(r), p, rank)
    v = slopes(r, p, e)
    while not search.met(tol) and search.iterations < max_iter:
        search.iterations += 1
        s = slopes(r, p, e)
        g = p / n * (A.T @ s)
        weights = _weights(r, v, p, e)
        H = hessian(z) if p > 2 else p / n * weighted(A, weights)
        damped = _ridged(H, p / n * float(weights.max()))
        if damped is None:
            break
        step = np.linalg.solve(damped, -g)
        by = A @ step
        decrease = max(-float(g @ step), 0.0)
        search.decrement = math.sqrt(decrease)
        after = s + weights * by
        projected = _in_null_space(A, after, weights, damped, p)
        if projected is not None:
            search.propose(projected)
        if search.met(tol):
            if p == 1:
                _to_vertex(search, r, edges)
            break
        t = _step_length(r, by, p, e, n * decrease)
        best_here, z = search.z is z, z + t * step
        r = search.residual(z)
        search.offer(z, r, t * by if best_here else None)
        v = _inside(v, after) if p == 1 else after
        smoothing = 0.0
        if e:
            smoothing = float(np.sum(_rise(np.abs(r), np.hypot(r, e), np.full(n, e * e), p)))
        if t == 0 or n * decrease <= settled * smoothing:
            if p == 1:
                _to_vertex(search, r, edges)
            if search.gap <= grain:
                break
            e = max(min(_SHRINK * e, bulk(np.abs(r), rank)), _FASTEST * e)
            if e <= EPS * bulk(np.abs(search.y) + search.rows * float(np.linalg.norm(z)), 0):
                break  # rounding errors of r; for p >= 2 e is 0
