r"""Newton's method for one output of an l_p problem.

Let ``A = X T`` have orthonormal columns, each row being accurate relative to its own size, and
substitute ``w = w_0 + T z``. The problem becomes

.. math:: \min_z F(z) = \frac1n \sum_i |r_i|^p, \qquad r = A z - y,

which does not depend on the conditioning of X (5e9 for ``X'X`` of the gas data). y is the targets
less ``X w_0``, so that rounding errors of large targets do not hide small residuals. The method
starts at z = 0 and is damped by Armijo backtracking.

- p = 2: its first step is the minimum, but for rounding errors.
- p > 2: F has a second derivative, which the backend's fused Hessian kernel computes.
- p < 2: the second derivative is infinite at r = 0. So ``|r|^p`` is replaced by
  ``(r^2 + e^2)^(p/2)``, which is larger by at most e^p, and the smoothing e is reduced by factors
  of ten, each time that the smoothed loss is nearer to its minimum than the smoothing has raised
  it. Newton's method for the smoothed loss would make steps of length e only. So it is applied to
  the equations ``A'v = 0`` and ``v (r^2 + e^2)^{1-p/2} = r`` in the unknowns z and v, the slopes
  (Chan, Golub and Mulet 1999), where e does not limit the steps. For p = 1 each e ends with an
  attempt to jump to a vertex, a point that interpolates as many rows as the rank: those with the
  smallest residuals.

For p < 2 the fit hardly depends on a row far away, though the loss of that row may be more than
1e16 times that of all others. So every quantity that decides something (in the line search, the
choice of the best point, the gap, the smoothing) is a sum of differences row by row, never a
difference of two sums.

``certificate.py`` bounds how far the best point is from the minimum, by slopes v with ``A'v = 0``.
They are the slopes after the next Newton step, to first order, which satisfy that up to rounding
errors; those are then removed. (The slopes of the iterate itself, projected, would do for p > 1,
but not for p = 1, where all but a few are 1 or -1.)
"""

import math
from collections.abc import Callable

import numpy as np

from accel._optimum.certificate import capped_loss, gap_terms, trimmed_median, weighted
from accel._optimum.twofold import EPS
from accel._support.arrays import Array

# The next smoothing e is _SHRINK times the last, or the median residual if that is smaller, but at
# least _FASTEST times the last.
_SHRINK, _FASTEST = 0.1, 1e-3
# For p = 1, e is reduced once the decrease that a step predicts is below this part of what the
# smoothing adds to the loss.
_SETTLED = 0.1
_AGAIN = 0.01  # the first e of a round that begins near the minimum, in median residuals
_ARMIJO = 1e-4  # the part of the decrease that Newton's model predicts which a step must reach
_SHORTEST = 1e-18  # the shortest step that is tried
_GRAIN = 4 * EPS  # the part of the loss at the start that rounding errors of the targets make
_TRIED = 8  # how many rows are tried for the basis of a vertex, in multiples of the rank
_INFEASIBLE = 1e-12  # the largest |A'v| / |v| that counts as rounding errors
_PARALLEL = 1e-8  # a row whose part independent of others is smaller than this depends on them
_EDGES = 256  # edges that are followed at a time are as many as this divided by the rank
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
    reference_loss : callable
        Of the sizes (n,) of the residuals: the loss, as a sum, that the gap is compared with.

    Attributes
    ----------
    z, r : (rank,), (n,) array
        The best point, and its residuals.
    slopes : (n,) array
        The v that proves most.
    gap : float
        What they prove: ``sum |r|^p`` is at most this above its minimum, rounding errors aside.
    reference : float
        The ``reference_loss`` at the best point.
    decrement : float
        Newton's decrement, the root of ``g' H^{-1} g``, at the last step.
    iterations : int
        Newton steps so far.
    """

    def __init__(
        self, A: Array, y: Array, p: float, reference_loss: Callable[[Array], float]
    ) -> None:
        self.A, self.y, self.p, self.reference_loss = A, y, p, reference_loss
        self.z, self.r = np.zeros(A.shape[1]), -y
        self.slopes = np.zeros_like(y)
        self.gap = float(np.sum(np.abs(y) ** p))
        self.reference = reference_loss(np.abs(self.r))
        self.decrement = 0.0
        self.iterations = 0

    def residual(self, z: Array) -> Array:
        """Return ``A z - y``."""
        r: Array = self.A @ z - self.y
        return r

    def offer(self, z: Array, r: Array, by: Array | None = None) -> None:
        """Keep the point z if it is better than the best so far.

        Its residuals are r; ``by`` is r less those of the best point, computed here by default.
        """
        if by is None:
            by = self.A @ (z - self.z)
        better = float(np.sum(loss_changes(self.r, by, self.p, 0.0)))
        if better < 0:
            self.z, self.r = z, r
            self.gap += better
            self.reference = self.reference_loss(np.abs(r))

    def propose(self, v: Array) -> None:
        """Keep the slopes v, with ``A'v = 0``, if they prove a smaller gap of the best point."""
        top = float(np.abs(v).max())
        if not math.isfinite(top):
            return
        if self.p == 1 and top > 1:
            v = v / top if top > 1 + 8 * EPS else np.clip(v, -1.0, 1.0)
        gap = float(np.sum(gap_terms(self.r, v - slopes(self.r, self.p, 0.0), self.p)))
        if gap < self.gap:
            self.slopes, self.gap = v, gap

    def met(self, tol: float) -> bool:
        """Whether the gap is at most tol times the reference loss."""
        return self.gap <= tol * self.reference


def loss_changes(r: Array, by: Array, p: float, e: float) -> Array:
    """The change of ``(r^2 + e^2)^(p/2)`` in every row, if r changes by ``by``."""
    with np.errstate(all="ignore"):  # a step may be far too long, and is shortened then
        before, after = (np.hypot(a, e) if e else np.abs(a) for a in (r, r + by))
        return _power_differences(before, after, by * (2 * r + by), p)


def _power_differences(before: Array, after: Array, squares: Array, p: float) -> Array:
    """``after^p - before^p`` without cancellation, given the difference of the squares."""
    with np.errstate(all="ignore"):
        if p == 1:
            return np.where(squares == 0, 0.0, squares / (before + after))
        if p == 2:
            return squares
        if p == 4:
            fourth: Array = squares * (before**2 + after**2)
            return fourth
        x = squares / before**2
        small = np.abs(x) < 0.5  # not where it is nan
        near = before**p * np.expm1(p / 2 * np.log1p(np.where(small, x, 0.0)))
        return np.where(small, near, after**p - before**p)


def slopes(r: Array, p: float, e: float) -> Array:
    """The derivative of ``(r^2 + e^2)^(p/2)`` by r, divided by p."""
    if e == 0:
        exact: Array = np.sign(r) * np.abs(r) ** (p - 1)
        return exact
    size = np.hypot(r, e)
    return (r / size) * size ** (p - 1)


def curvatures(r: Array, v: Array, p: float, e: float) -> Array:
    """The derivatives (n,) of the slopes by the residuals: weights of the Newton step.

    For p < 2 that of v by r in the second equation, ``v (r^2 + e^2)^{1-p/2} = r``. The Hessian is
    ``p/n A' diag(weights) A``.
    """
    if e == 0:
        return np.ones_like(r) if p == 2 else (p - 1) * np.abs(r) ** (p - 2)
    size = np.hypot(r, e)
    agreement = np.clip(v * size ** (1 - p) * (r / size), -1.0, 1.0)
    return size ** (p - 2) * (1 - (2 - p) * agreement)


def inside(v: Array, after: Array) -> Array:
    """Go from v, whose entries are below 1 in size, towards ``after``, so that they stay so."""
    step = after - v
    room = np.where(step > 0, 1 - v, 1 + v)
    farthest = np.min(room / np.maximum(np.abs(step), _TINY))
    between: Array = v + min(1.0, 0.99 * float(farthest)) * step
    return between


def ridged(H: Array, largest: float) -> Array | None:
    """Add the smallest ridge to H that makes it positive definite in floating point.

    ``largest`` is an upper bound of the eigenvalues of H. Curvature below the ridge, some 1e-16 of
    that bound, is rounding error, and so is the gradient along it: the rows concerned contribute
    next to nothing to the loss. None if no small ridge is enough.
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
    """The length of a step, by Armijo backtracking from 1; 0 if rounding errors exceed all gains.

    ``by`` is the change of r by the whole step, ``decrease`` the decrease of the summed loss that
    the gradient predicts for it.
    """
    t = 1.0
    while t > _SHORTEST:
        terms = loss_changes(r, t * by, p, e)
        gain, grain = -float(np.sum(terms)), EPS * float(np.sum(np.abs(terms)))
        if gain >= _ARMIJO * t * decrease > 0:
            return t
        if abs(gain) <= 4 * grain:
            return 0.0
        t /= 2
    return 0.0


def _in_null_space(A: Array, v: Array, weights: Array, H: Array, p: float) -> Array | None:
    """For p < 2: change v so that ``A'v = 0``, given that it is, but for rounding errors.

    Each row is changed in proportion to its weight, which spares rows with large residuals. None if
    ``A'v`` is more than rounding errors afterwards.
    """
    for _ in range(2):
        if p == 1:
            v = np.clip(v, -1.0, 1.0)
        v = v - weights * (A @ np.linalg.solve(H, p / len(v) * (A.T @ v)))
    return v if _feasible(A, v) else None


def _feasible(A: Array, v: Array) -> bool:
    return float(np.linalg.norm(A.T @ v)) <= _INFEASIBLE * float(np.linalg.norm(v))


def independent(A: Array, order: Array) -> Array | None:
    """The first linearly independent rows in this order, as many as the rank.

    None if they are not among the first ``_TRIED`` times the rank.
    """
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
    """For p = 1: go to a vertex near r, and from there along edges downhill (the simplex method).

    A vertex interpolates a basis, as many independent rows as the rank; the first basis is of the
    rows with the smallest residuals. The slopes of the other rows are 1 or -1, those of the basis
    follow from ``A'v = 0``. If all are at most 1 in size, the vertex is the minimum. Else the row
    with the largest slope leaves the basis, and the loss falls along the edge on which the others
    stay interpolated. The step ends where the residual of a row becomes 0 beyond which the loss
    would rise; that row enters the basis.
    """
    A, basis = search.A, independent(search.A, np.argsort(np.abs(r), kind="stable"))
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


def _largest_terms(A: Array, z: Array) -> Array:
    """Bounds of ``|A z|``."""
    bounds: Array = np.sqrt(np.einsum("ij,ij->i", A, A)) * float(np.linalg.norm(z))
    return bounds


def minimize(
    search: Search, tol: float, max_iter: int, hessian: Callable[[Array], Array], *, again: bool
) -> None:
    """Improve the search until its gap is at most ``tol`` times its reference loss.

    Parameters
    ----------
    search : Search
    tol : float
    max_iter : int
    hessian : callable
        For p > 2: the second derivative (rank, rank) of the mean of ``|A z - y|^p`` at z.
    again : bool
        Whether z = 0 is near the minimum already: for p < 2 less smoothing will do.
    """
    A, p, n, z, r = search.A, search.p, len(search.y), search.z, search.r
    rank = A.shape[1]
    if not rank:  # X = 0: there is one point only, and A'v = 0 for every v
        search.propose(slopes(r, p, 0.0))
        return
    e = float(np.sqrt(np.mean(r**2))) if p < 2 else 0.0
    if again and p < 2:
        e = _AGAIN * trimmed_median(np.abs(r), rank) or e
    settled = _SETTLED if p == 1 else 1.0
    edges = max(_EDGES // rank, 2)
    grain = _GRAIN * capped_loss(np.abs(r), p, rank)
    v = slopes(r, p, e)
    while not search.met(tol) and search.iterations < max_iter:
        search.iterations += 1
        s = slopes(r, p, e)
        g = p / n * (A.T @ s)
        weights = curvatures(r, v, p, e)
        step: Array
        if p == 2:  # the Hessian is p/n A'A
            damped, step = None, -n / p * g
        else:
            H = hessian(z) if p > 2 else p / n * weighted(A, weights)
            damped = ridged(H, p / n * float(weights.max()))
            if damped is None:
                break
            step = np.linalg.solve(damped, -g)
        by = A @ step
        decrease = max(-float(g @ step), 0.0)
        search.decrement = math.sqrt(decrease)
        after = s + weights * by
        if p >= 2 or damped is None:
            search.propose(after - A @ (A.T @ after))
        elif (projected := _in_null_space(A, after, weights, damped, p)) is not None:
            search.propose(projected)
        if search.met(tol):
            if p == 1:
                _to_vertex(search, r, edges)
            break
        t = _step_length(r, by, p, e, n * decrease)
        best_here, z = search.z is z, z + t * step
        r = search.residual(z)
        search.offer(z, r, t * by if best_here else None)
        v = inside(v, after) if p == 1 else after
        smoothing = 0.0
        if e:
            raised = _power_differences(np.abs(r), np.hypot(r, e), np.full(n, e * e), p)
            smoothing = float(np.sum(raised))
        if t == 0 or n * decrease <= settled * smoothing:
            if p == 1:
                _to_vertex(search, r, edges)
            if search.gap <= grain:
                break
            e = max(min(_SHRINK * e, trimmed_median(np.abs(r), rank)), _FASTEST * e)
            if e <= EPS * trimmed_median(np.abs(search.y) + _largest_terms(A, z), 0):
                break  # e is below the rounding errors of r, or 0 for p >= 2
