r"""Fits to a sparse X, which stays sparse: by products with it alone, for any p > 1.

Features are divided by their scale, and where there is an intercept, means are subtracted from
products and not from X: ``(X - 1 m') D w = X (D w) - (m' D w) 1``. The method is L-BFGS with bounds
(Byrd, Lu, Nocedal and Zhu 1995), SciPy's; with ``l1`` coefficients are differences of two numbers
of at least 0. It proves nothing, so that there is no duality gap.
"""

import logging
import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from accel._core import units
from accel._core.units import Units
from accel._support import memory
from accel._support.arrays import Array
from accel.sklearn.fitting import Fit, one_record
from accel.sklearn.penalised import Penalties

__all__ = ["SMALL", "SparseProblem", "dense", "fit_sparse"]

_log = logging.getLogger("accel")

#: Numbers in a matrix up to which a sparse one is made dense.
SMALL = 2**24
_ROUNDS = 20  # of L-BFGS, each with a smaller limit of the gradient
_PAIRS = 20  # of differences that the method keeps
_CONSTANT = 1e-14  # relative to the mean, a scale that is rounding errors
#: Relative to the same sum, a gradient along which the loss changes by rounding errors only.
_UNSEEN = 4 * math.sqrt(np.finfo(np.float64).eps)
_GRAIN = 32 * float(np.finfo(np.float64).eps)  # of a gradient, relative to the sum of its terms


def dense(X: Any) -> Array:
    """Return a sparse X as an array.

    Raises
    ------
    MemoryError
        If the machine has no memory for it.
    """
    numbers = float(math.prod(X.shape))
    size = numbers * X.dtype.itemsize
    needs = {"X, which at p > 1 only solver='gradient' takes sparse": size, "copies": 24 * numbers}
    memory.require("the fit with a dense X", needs)
    _log.info("made a dense array of the sparse X, of %s", memory.readable_size(size))
    array: Array = X.toarray(order="C")
    return array


@dataclass(frozen=True, eq=False)
class SparseProblem:
    """The problem in standard units, of a sparse X in the units of the user.

    Attributes
    ----------
    X : (n, d) sparse array of float64, by rows
    columns : (d, n) sparse array
        The transposed X, by rows.
    Y : (n, k) array
        Targets in standard units.
    share : (n,) array
        The weights, which add up to 1.
    p : float
    x, y : Units
        The mean of x is 0 without an intercept.
    intercept : bool
    """

    X: Any
    columns: Any
    Y: Array
    share: Array
    p: float
    x: Units
    y: Units
    intercept: bool

    @classmethod
    def of(
        cls, X: Any, Y: Array, weight: Array | None, p: float, *, intercept: bool
    ) -> "SparseProblem":
        """Scale sparse X (n, d) and Y (n, k), whose rows have positive weights (n,)."""
        memory.require("the fit", 4.0 * 12 * X.nnz + 8 * 6 * Y.size)
        n, d = X.shape
        X = X.tocsr().astype(np.float64)
        share = np.full(n, 1 / n) if weight is None else weight.astype(np.float64)
        share = share / share.max()
        share = share / share.sum()
        columns = X.T.tocsr()
        mean = columns @ share if intercept else np.zeros(d)
        away, stored = columns.copy(), columns.copy()
        away.data = (away.data - np.repeat(mean, np.diff(columns.indptr))) ** 2
        stored.data = np.ones_like(stored.data)
        square = away @ share + np.maximum(1 - stored @ share, 0.0) * mean**2
        square[square <= (_CONSTANT * mean) ** 2] = 0.0
        size = np.where(square > 0, np.sqrt(square), 1.0)
        y = Units.of("y", Y, share, center=intercept)
        standard = y.standard(Y, np.empty(Y.shape))
        return cls(X, columns, standard, share, p, Units(mean, 0 * mean, size), y, intercept)

    def to_user(self, W: Array) -> tuple[Array, Array]:
        """Convert (k, d + 1) in standard units to coefficients (k, d) and intercepts (k,)."""
        coef = units.coefficients(W[:, :-1], self.x, self.y)
        return coef, units.intercept(coef, self.x, self.y) + W[:, -1] * self.y.scale

    def from_user(self, coef: Array, intercept: Array) -> Array:
        """Convert coefficients and intercepts to (k, d + 1) in standard units."""
        W = coef * self.x.scale / self.y.scale[:, np.newaxis]
        left = np.zeros(len(coef))
        if self.intercept:
            left = (intercept - units.intercept(coef, self.x, self.y)) / self.y.scale
        return np.column_stack([W, left])

    def residual(self, w: Array, b: float, i: int) -> Array:
        """The residuals (n,) of output i."""
        w = w / self.x.scale
        r: Array = self.X @ w + (b - float(self.x.mean @ w)) - self.Y[:, i]
        return r

    def from_rows(self, v: Array) -> Array:
        """The transposed, centred and scaled X times v (n,)."""
        product: Array = (self.columns @ v - self.x.mean * v.sum()) / self.x.scale
        return product

    def sizes_from_rows(self, v: Array) -> Array:
        """A bound of the sums of the sizes of the terms of ``from_rows``."""
        product: Array = (abs(self.columns) @ v + np.abs(self.x.mean) * v.sum()) / self.x.scale
        return product


def fit_sparse(
    problem: SparseProblem, penalties: Penalties, start: Array, max_iter: int, tol: float
) -> Fit:
    """Minimise until the projected gradient is tol times that at 0, or rounding errors.

    Parameters
    ----------
    problem : SparseProblem
    penalties : Penalties
    start : (k, d + 1) array
        Coefficients and intercepts, in standard units.
    max_iter : int
        For each output.
    tol : float

    Returns
    -------
    Fit
        Whose W is (k, d + 1), the intercepts last.
    """
    began, k = time.perf_counter(), problem.Y.shape[1]
    W, troubles = np.zeros_like(start), []
    steps, losses, slope = 0, [], 0.0
    for i in range(k):
        W[i], value, norm, iterations, trouble = _minimise(
            problem, i, penalties, start[i], max_iter, tol
        )
        steps, slope = steps + iterations, math.hypot(slope, norm)
        losses.append(value)
        troubles += [trouble] if trouble else []
    size = float(np.linalg.norm(W))
    history = one_record(steps, math.fsum(losses), slope, size, began)
    status = "completed" if troubles else "converged"
    return Fit(W, max(steps, 1), history, "; ".join(troubles[:1]), status)


def _minimise(
    problem: SparseProblem, i: int, penalties: Penalties, start: Array, max_iter: int, tol: float
) -> tuple[Array, float, float, int, str]:
    """Minimise for output i; return point, value, gradient norm, iterations and trouble."""
    from scipy.optimize import minimize  # scikit-learn has it

    p, d, scale = problem.p, len(start) - 1, float(problem.y.scale[i])
    per = scale / problem.x.scale  # of the user, a coefficient of 1
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        power = np.float64(scale) ** p
        lam, kappa = penalties.l1 * per / power, penalties.l2 * per**2 / power
    split = bool(penalties.l1) and not penalties.nonnegative
    if not (np.isfinite(lam).all() and np.isfinite(kappa).all()):
        raise ValueError("l1 and l2 must be finite in units in which y is of size 1: rescale y")

    def coefficients(a: Array) -> Array:
        return a[:d] - a[d:-1] if split else a[:-1]

    def value_and_slope(a: Array) -> tuple[float, Array]:
        c = coefficients(a)
        r = problem.residual(c, float(a[-1]), i)
        size = np.abs(r)
        v = problem.share * p * np.sign(r) * size ** (p - 1)
        g = problem.from_rows(v) + kappa * c
        value = float(problem.share @ size**p + kappa @ c**2 / 2)
        last = [v.sum() if problem.intercept else 0.0]
        if split:
            value += float(lam @ (a[:d] + a[d:-1]))
            return value, np.concatenate([g + lam, lam - g, last])
        value += float(lam @ a[:-1])
        return value, np.concatenate([g + lam, last])

    low = np.full(2 * d + 1 if split else d + 1, 0.0 if split or penalties.nonnegative else -np.inf)
    low[-1] = -np.inf
    first = np.concatenate([np.maximum(start[:-1], 0), np.maximum(-start[:-1], 0), start[-1:]])
    if not split:
        first = np.maximum(start, low)
    zero = np.zeros_like(low)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        at_zero, slope = value_and_slope(zero)
        if not (math.isfinite(at_zero) and np.isfinite(slope).all()):
            raise ValueError(f"the loss at W = 0 overflows for p = {p:g}: take a smaller p")
        limit = tol * float(np.abs(_projected(zero, slope, low)).max())
        bounds = [(None if math.isinf(bound) else bound, None) for bound in low]
        a, steps, trouble = first, 0, ""
        for _ in range(_ROUNDS):
            options = {"maxiter": max_iter - steps, "maxfun": 20 * max_iter, "maxcor": _PAIRS,
                       "ftol": 0.0, "gtol": limit}  # fmt: skip
            found = minimize(
                value_and_slope, a, jac=True, bounds=bounds, method="L-BFGS-B", options=options
            )
            a, steps = np.asarray(found.x), steps + int(found.nit)
            value, slope = value_and_slope(a)
            left = np.abs(_projected(a, slope, low))
            r = np.abs(problem.residual(coefficients(a), float(a[-1]), i))
            sizes = problem.sizes_from_rows(problem.share * p * r ** (p - 1))
            largest = float(sizes.max(initial=0.0))
            # For p > 2 gradients vanish along with residuals: what they could be is what counts.
            limit = max(min(limit, tol * largest), _GRAIN * largest)
            trouble = ""
            if left.max() <= limit:
                break
            if not found.nit and left.max() <= _UNSEEN * largest:
                break
            trouble = f"the gradient is still {left.max() / limit:.3g} times what tol allows"
            if steps >= max_iter or not found.nit:
                break
    return np.append(coefficients(a), a[-1]), value, float(np.linalg.norm(left)), steps, trouble


def _projected(a: Array, slope: Array, low: Array) -> Array:
    """The gradient, without what points out of the bounds."""
    inside: Array = np.where((a <= low) & (slope > 0), 0.0, slope)
    return inside
