r"""The reference optimum of an l_p problem, with a proof of how good it is.

The loss separates over the outputs, so every output is a problem of its own. With the thin singular
value decomposition ``X = U S V'`` and ``w = V S^{-1} z`` it reads

.. math:: \min_z F(z) = \frac1n \sum_i |r_i|^p, \qquad r = U z - y,

in which the conditioning of X, 5e9 for the gas data's ``X'X``, plays no part any more, and whose
solution gives the w of least norm among those with the same predictions. y is what least squares
leave of the targets, so z = 0 is their solution, from which Newton's method with Armijo
backtracking sets out.

- p = 2: that is the minimum already.
- p > 2: F has a second derivative; the backend's fused Hessian kernel computes it.
- p < 2: the second derivative is infinite at r = 0, so ``|r|^p`` is replaced by
  ``(r^2 + e^2)^(p/2)``, at most e^p above it, and e falls by factors of ten. Newton's method for
  that has steps of length e only; that for the pair of equations ``U'v = 0`` and
  ``v (r^2 + e^2)^{1-p/2} = r`` in z and the slopes v has not (Chan, Golub and Mulet 1999). For
  p = 1 each e ends with an attempt to jump to the vertex: rows as many as the rank, those with the
  least residuals, are interpolated.

**Certificate.** Let ``U'v = 0``, q = p/(p-1). For every z Fenchel's inequality gives, for s >= 0,

.. math::
    n F(z) \ge \sum_i \left( p s v_i r_i - (p-1) |s v_i|^q \right)
    = p s A - (p-1) s^q B, \qquad A = -v'y, \; B = \sum_i |v_i|^q,

because v'r = -v'y whatever z is. The best s turns the right-hand side into ``A (A/B)^{p-1}`` for
A > 0 (for p = 1: ``A / max|v|``). At the optimum the slopes ``v_i = |r_i|^{p-1} sign(r_i)`` have
U'v = 0 and the bound is F itself. At an iterate the slopes to first order after the next Newton
step, which have U'v = 0 as well, are projected on the null space of U' to remove rounding errors.
(The iterate's own slopes, projected, would do, but not for p = 1, where all but a few are 1 or -1.)
What remains of U'v is charged to A: at the optimum ``|v'U z| <= |U'v| |z|``, and
``|z| <= |y| + |r|`` is bounded by the loss at hand. Errors of the sums are charged too.
"""

import math
from collections.abc import Callable

import numpy as np

from accel.validation import Array

_EPS = float(np.finfo(np.float64).eps)
#: Relative error of a NumPy sum: pairwise over blocks of 128, eight sums in each.
SUM_ERROR = 64 * _EPS
_LEAST_SMOOTHING = 1e-15
_SHRINK = 0.1
_ARMIJO = 1e-4
_TINY = float(np.finfo(np.float64).tiny)


class Search:
    """The best point and the best lower bound so far, for one output.

    Parameters
    ----------
    U : (n, rank) array
        With orthonormal columns.
    y : (n,) array
        The residuals of least squares, of largest size 1: what the columns of U explain of the
        targets would only add rounding errors.
    p : float
    """

    def __init__(self, U: Array, y: Array, p: float) -> None:
        self.U, self.y, self.p = U, y, p
        self.z = np.zeros(U.shape[1])
        self.value = _smoothed(y, p, 0.0)
        self.bound = 0.0
        self.decrement = 0.0
        self.iterations = 0

    def residual(self, z: Array) -> Array:
        """``U z - y``."""
        r: Array = self.U @ z - self.y
        return r

    def offer(self, z: Array, r: Array) -> None:
        """Keep the point z with residuals r if it is the best so far."""
        value = _smoothed(r, self.p, 0.0)
        if value < self.value:
            self.z, self.value = z, value

    def raise_bound(self, slopes: Array) -> None:
        """Improve the lower bound by these slopes, as the module's docstring has it."""
        U, y, p, n = self.U, self.y, self.p, len(self.y)
        v = slopes - U @ (U.T @ slopes)
        v -= U @ (U.T @ v)
        top = float(np.abs(v).max())
        if top == 0 or not math.isfinite(top):
            return
        v /= top  # the bound depends on the ray alone, and no power of v overflows now
        products = v * y
        spread = float(n) ** max(0.5 - 1 / p, 0.0) * (n * self.value) ** (1 / p)  # >= |r|
        A = -float(np.sum(products)) - SUM_ERROR * float(np.sum(np.abs(products)))
        A -= float(np.linalg.norm(U.T @ v)) * (float(np.linalg.norm(y)) + spread)
        if A <= 0:
            return
        B = 1.0 if p == 1 else float(np.sum(np.abs(v) ** (p / (p - 1)))) * (1 + SUM_ERROR)
        self.bound = max(self.bound, A * (A / B) ** (p - 1) / n)

    def met(self, tol: float) -> bool:
        """Whether the gap is at most tol times the value."""
        return self.value - self.bound <= tol * self.value


def _smoothed(r: Array, p: float, e: float) -> float:
    """The mean of ``|r|^p``, or of ``(r^2 + e^2)^(p/2)`` for e > 0."""
    with np.errstate(over="ignore"):  # far too long a step, to be cut
        return float(np.mean((np.abs(r) if e == 0 else np.hypot(r, e)) ** p))


def _slopes(r: Array, p: float, e: float) -> Array:
    """The derivative of ``_smoothed`` by the residuals, but for the factor p/n."""
    if e == 0:
        return np.sign(r) * np.abs(r) ** (p - 1)
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
    change = after - v
    room = np.where(change > 0, 1 - v, 1 + v)
    farthest = np.min(room / np.maximum(np.abs(change), _TINY))
    inside: Array = v + min(1.0, 0.99 * float(farthest)) * change
    return inside


def _newton_direction(H: Array, g: Array, largest: float) -> Array:
    """Solve ``H x = -g`` with the least ridge that makes H positive definite in floating point.

    ``largest`` bounds the eigenvalues of H. Below the ridge, some 1e-16 of that, curvature is
    rounding error, and so is the gradient: rows that contribute next to nothing to the loss.
    """
    ridge = _EPS * largest
    for _ in range(8):
        damped = H + ridge * np.eye(len(g))
        try:
            np.linalg.cholesky(damped)
            step: Array = np.linalg.solve(damped, -g)
            return step
        except np.linalg.LinAlgError:
            ridge *= 100
    return np.zeros_like(g)


def _step_length(r: Array, change: Array, p: float, e: float, decrease: float) -> float:
    """Armijo backtracking from 1; 0 if no step improves on rounding errors."""
    value, t = _smoothed(r, p, e), 1.0
    while _ARMIJO * t * decrease > _EPS / 4 * value:
        if _smoothed(r + t * change, p, e) <= value - _ARMIJO * t * decrease:
            return t
        t /= 2
    return 0.0


def _jump_to_vertex(search: Search, r: Array) -> None:
    """For p = 1: interpolate the rows with the least residuals; the dual solution is exact too."""
    U, rank = search.U, search.U.shape[1]
    order = np.argsort(np.abs(r), kind="stable")
    basis, rest = order[:rank], order[rank:]
    try:
        z = np.linalg.solve(U[basis], search.y[basis])
        after = search.residual(z)
        after[basis] = 0.0
        slopes = np.sign(after)
        slopes[basis] = np.linalg.solve(U[basis].T, -(U[rest].T @ slopes[rest]))
    except np.linalg.LinAlgError:
        return
    search.offer(z, search.residual(z))
    search.raise_bound(slopes)


def minimize(search: Search, tol: float, max_iter: int, hessian: Callable[[Array], Array]) -> None:
    """Improve the search until its gap is at most ``tol`` times its value.

    Parameters
    ----------
    search : Search
    tol : float
    max_iter : int
    hessian : callable
        For p > 2: the second derivative (rank, rank) of the mean of ``|U z - y|^p`` at z.
    """
    U, p, n, z = search.U, search.p, len(search.y), search.z
    r = search.residual(z)
    if not len(z):  # X = 0: nothing to choose, and every v is in the null space
        search.raise_bound(_slopes(r, p, 0.0))
        return
    e = 0.0 if p >= 2 else float(np.sqrt(np.mean(r**2)))
    v = _slopes(r, p, e)
    while not search.met(tol) and search.iterations < max_iter:
        search.iterations += 1
        slopes = _slopes(r, p, e)
        g = p / n * (U.T @ slopes)
        weights = _weights(r, v, p, e)
        H = hessian(z) if p > 2 else p / n * ((U * weights[:, np.newaxis]).T @ U)
        step = _newton_direction(H, g, p / n * float(weights.max()))
        change = U @ step
        decrease = max(-float(g @ step), 0.0)
        search.decrement = math.sqrt(decrease)
        after = slopes + weights * change
        search.raise_bound(after)
        if search.met(tol):
            break
        t = _step_length(r, change, p, e, decrease)
        z = z + t * step
        r = search.residual(z)
        search.offer(z, r)
        v = _inside(v, after) if p == 1 else after
        if t == 0 or decrease <= _SHRINK * e**p:
            if p == 1:
                _jump_to_vertex(search, r)
            e *= _SHRINK
            if e < _LEAST_SMOOTHING:  # for p >= 2 e is 0: rounding errors ended the search
                break
