r"""A bound of how far a point is from the minimum of an l_p loss, rounding errors included.

Let ``r = X w - y`` be the residuals of a point w, and v any vector with ``X'v = 0``. Fenchel's
inequality, ``|a|^p >= p v a - (p-1) |v|^q`` with q = p/(p-1), holds for every row of every other
point. Summed over the rows it bounds the loss of all other points from below by
``p v'r - (p-1) sum |v_i|^q``, since v'r is the same at every point. So n times the distance of w
from the minimum is at most n times the duality gap, which is

.. math:: \sum_i f_i, \qquad f_i = |r_i|^p - p v_i r_i + (p-1) |v_i|^q \ge 0.

f_i is 0 where v_i is the slope ``s_i = |r_i|^{p-1} sign(r_i)``, and at the minimum ``X's = 0``, so
that v = s will do. Near it ``v_i = (1 + t) s_i`` with a small t, and f_i is ``|r_i|^p h(t)`` with
``h(t) = (p-1) (|1+t|^q - 1 - q t)``. For p = 1 it is ``|r_i| - v_i r_i``, and every ``|v_i|`` must
be at most 1. Every f_i is computed without cancellation, so that one row that dominates the loss
leaves the digits of the others intact. r is computed with twice the digits of float64.

For a v in floating point ``X'v`` is not exactly 0. With ``A = X T`` of nearly orthonormal columns
let ``rho = A'v``. There are two ways to correct the bound for it; the smaller result is used:

- Every other point is ``w + T zeta`` with ``|zeta| <= |A zeta| / sigma``, sigma the smallest
  singular value of A. If its loss is no larger, ``|A zeta| <= |r| + |r*|``, r* its residuals. Then
  v'r differs between the two points by at most ``|rho| |A zeta| / sigma``: add p times that.
- For p < 2 one row may dominate |r|, and the first bound be useless. But ``v + c`` with
  ``c = -omega A (A' omega A)^{-1} rho`` satisfies ``A'(v + c) = 0`` for any weights omega. So take
  for each row the largest f_i between v_i - |c_i| and v_i + |c_i|, and weights that make c large
  only where residuals are small.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from accel._optimum.basis import Basis
from accel._optimum.twofold import EPS, Twofold, added, dot, total, two_product, two_sum
from accel._support.arrays import Array

__all__ = [
    "Basis",
    "Gap",
    "Rows",
    "Slopes",
    "capped_loss",
    "gap_at",
    "gap_terms",
    "row_weights",
    "trimmed_median",
    "weighted",
]

_BLOCK = 2**15  # numbers at a time: a few arrays of them stay in the cache
# In units of the median residual:
_CAP = 10.0  # what larger residuals are cut to in the loss that a gap is compared with
_FAR = 1e3  # larger residuals may dominate the loss
_NEAR = 1e-4  # smaller residuals get the weight of this one
_TINY = 1e-290  # smaller slopes have lost digits to underflow
_SURE = 1e4  # residuals of at least this times their error have powers that are accurate


def _sizes(v: Array, X: Array) -> Array:
    """``|v|' |X|``, without a copy of X."""
    total, rows = np.zeros(X.shape[1]), max(_BLOCK // X.shape[1], 1)
    for i in range(0, len(X) if v.any() else 0, rows):
        total += np.abs(v[i : i + rows]) @ np.abs(X[i : i + rows])
    return total


@dataclass(frozen=True, eq=False)
class Rows:
    """The data of one output, whose residuals are ``r = root * (X w + b - y)``.

    Attributes
    ----------
    X : (n, d) float64 array
    y : (n,) float64 array
    root : (n,) array or None
        What each row is multiplied by: the p-th root of a sample weight. None stands for ones.
    center : (d,) array or None
        None if there is no intercept b. Else ``columns`` and ``products`` are about the matrix
        ``[X - center, 1]``, in which large means cost no digits.
    backend : str
        Whose dot products with twice the digits to use.
    """

    X: Array
    y: Array
    root: Array | None = None
    center: Array | None = None
    backend: str = "auto"

    def residual(self, w: Array, b: float = 0.0) -> tuple[Array, Array]:
        """Return r, and a bound of the error of each."""
        r, error = added(added(dot(self.X.T, w, self.backend), np.asarray(b)), -self.y).rounded()
        if self.root is None:
            return r, error
        return self.root * r, self.root * (error + EPS * np.abs(r))

    def columns(self) -> Array:
        """The columns (n, d), or (n, d + 1) with an intercept, in floating point."""
        columns = self.X
        if self.center is not None:
            n, d = columns.shape
            columns = np.ones((n, d + 1))
            np.subtract(self.X, self.center, out=columns[:, :d])
        return columns if self.root is None else columns * self.root[:, np.newaxis]

    def products(self, v: Array, low: Array) -> tuple[Array, Array]:
        """Return ``C'(v + low)`` of the matrix C that ``columns`` rounds, and bounds of the errors.

        ``low`` is what rounding took from v.
        """
        if self.root is not None:
            v, lost = two_product(v, self.root)
            low = low * self.root + lost
        few = (len(v) + 8) * EPS
        g = added(dot(self.X, v, self.backend), low @ self.X)
        error = few * _sizes(low, self.X)
        if self.center is not None:
            ones = added(total(v), low.sum())
            rough = ones.error + few * np.abs(low).sum()
            product, lost = two_product(self.center, ones.high)
            g = added(added(g, -product), -lost - self.center * ones.low)
            error += np.abs(self.center) * (rough + 4 * EPS * np.abs(ones.low)) + EPS * np.abs(lost)
            g = Twofold(*(np.append(a, b) for a, b in zip(g, ones, strict=True)))
            error = np.append(error, rough)
        value, grain = g.rounded()
        return value, grain + error


class Gap(NamedTuple):
    """A bound of the distance of a loss ``sum |r|^p`` from its minimum.

    Attributes
    ----------
    r : (n,) array
        The residuals.
    unit : float
        The largest of them in size.
    loss, gap : float
        The loss, and the bound, both divided by ``unit^p``.

    Where products overflow, as they do beyond 1e299, unit, loss and gap are infinite: nothing is
    proved.
    """

    r: Array
    unit: float
    loss: float
    gap: float


def trimmed_median(size: Array, skip: int) -> float:
    """The median of sizes (n,) without the ``skip`` smallest of them; 0 if none is left."""
    if skip >= len(size):
        return 0.0
    return float(np.partition(size, (len(size) + skip) // 2)[(len(size) + skip) // 2])


def capped_loss(size: Array, p: float, skip: int) -> float:
    """``sum |r|^p``, for p < 2 of residuals cut to ten times their median.

    A gap is compared with this loss: one row that dominates the uncut loss would let any gap pass
    for small. The median leaves out the ``skip`` smallest residuals, since the fit may interpolate
    as many rows.
    """
    if p < 2:
        size = np.minimum(size, _CAP * trimmed_median(size, skip))
    with np.errstate(over="ignore"):
        return float(np.sum(size**p))


def _h(t: Array, p: float) -> Array:
    """An upper bound of ``h(t) = (p-1) (|1+t|^q - 1 - q t)``, without cancellation at small t."""
    q = p / (p - 1)
    steepest = np.clip(t, 0.0, 0.5) if q > 2 else np.clip(t, -0.5, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        bound: Array = 0.5 * q * t**2 * (1 + steepest) ** (q - 2)  # by Taylor's theorem
        far = ~(np.abs(t) <= 0.01 / q)
        if far.any():
            u = t[far]
            power = np.abs(1 + u) ** q
            bound[far] = (p - 1) * (power - 1 - q * u) + 8 * EPS * p * (1 + q) * (1 + power)
    bound *= 1 + 16 * EPS * (1 + q)
    return bound


def gap_terms(r: Array, delta: Array, p: float) -> Array:
    """The f_i of every row, rounding errors aside, for residuals r and ``v = s + delta``."""
    size, sign = np.abs(r), np.sign(r)
    if p == 1:
        return -size * sign * delta
    s = size ** (p - 1)
    with np.errstate(all="ignore"):
        t = sign * delta / s
        near = np.abs(t) < 0.5  # not where s = 0
        terms: Array = size**p * _h(np.where(near, t, 0.0), p)
        if not near.all():
            far = ~near
            u, r, size = (sign * s + delta)[far], r[far], size[far]
            terms[far] = size**p - p * u * r + (p - 1) * np.abs(u) ** (p / (p - 1))
    return terms


def _corners(r: Array, error: Array, v: Array, extra: Array, p: float) -> Array:
    """The largest f_i over residuals in r +- error and slopes in v +- extra.

    f is convex in either, so that the largest value is at a corner of that rectangle.
    """
    q, most = p / (p - 1), np.zeros_like(r)
    for a in (r - error, r + error):
        for u in (v - extra, v + extra):
            power, product, dual = np.abs(a) ** p, p * u * a, (p - 1) * np.abs(u) ** q
            rounding = 8 * EPS * (1 + p + q) * (power + np.abs(product) + dual)
            most = np.maximum(most, power - product + dual + rounding)
    return most


class Slopes(NamedTuple):
    """Residuals divided by the largest, and slopes v.

    Attributes
    ----------
    r, error : (n,) array
        The residuals, and bounds of their errors.
    s : (n,) array
        The slopes ``|r|^{p-1} sign(r)``.
    delta : (n,) array
        v - s.
    tied : (n,) bool array
        Rows whose v is taken to be ``s + delta`` with the s of the exact residual. The rounding
        error of s then counts in ``A'v``, and not in their f_i.
    p : float
    """

    r: Array
    error: Array
    s: Array
    delta: Array
    tied: Array
    p: float

    @classmethod
    def at(cls, r: Array, error: Array, v: Array, p: float, far: float = math.inf) -> Self:
        """Make it from residuals and slopes v; rows with residuals above ``far`` are tied.

        For p = 1 all are whose sign is sure.
        """
        size = np.abs(r)
        s, sure = np.sign(r) * size ** (p - 1), size > (error if p == 1 else _SURE * error)
        if p == 1:
            s[~sure] = 0.0
        tied = sure & ((size > far) | (p == 1))
        delta = v - s
        delta[tied & (np.abs(delta) <= 64 * EPS * np.abs(s))] = 0.0
        return cls(r, error, s, delta, tied, p)

    def moved(self, by: Array) -> Self:
        """Change v."""
        return self._replace(delta=self.delta + by)

    def power_error(self) -> Array:
        """A bound of the relative error of s, for residuals of at least ``_SURE`` errors."""
        size = np.maximum(np.abs(self.r), _SURE * self.error)
        size[size == 0] = 1.0
        power = 4 * EPS * (1 + (self.p - 1) * np.abs(np.log(size)))
        return (self.p - 1) * (self.error / size) * 1.1 + (power if self.p > 1 else 0.0)

    def gap_sum(self, extra: Array) -> float:
        """Bound ``sum f_i`` over all slopes in v +- extra.

        For p = 1 it is infinite if one of them may be above 1 in size.
        """
        r, error, s, delta, tied, p = self
        size = np.abs(r) + error
        if p == 1:
            sign = np.sign(r)
            below = np.where(tied, -delta * sign, 1 - np.abs(s + delta))  # 1 - |v|
            if np.any(below < extra) or np.any(np.where(tied, below, 0.0) + extra > 2):
                return math.inf
            return float(np.sum(size * np.where(tied, below + extra, 2 - below + extra)))
        sure = (np.abs(r) >= _SURE * error) & (np.abs(s) > _TINY)
        slope = np.where(sure, np.abs(s), 1.0)
        known = self.power_error()
        t, wide = delta * np.sign(r) / slope, extra / slope
        wide = wide * (1 + known) + known * (np.abs(t) + ~tied)
        t, wide = np.where(sure, t, 0.0), np.where(sure, wide, 0.0)
        terms = size**p * np.maximum(_h(t - wide, p), _h(t + wide, p))
        if not sure.all():
            near, v = ~sure, s + delta
            terms[near] = _corners(r[near], error[near], v[near], extra[near], p)
        return float(np.sum(terms))


def weighted(A: Array, weights: Array) -> Array:
    """``A' diag(weights) A``, as ``B'B``, of which BLAS computes one half."""
    rows = A * np.sqrt(weights)[:, np.newaxis]
    product: Array = rows.T @ rows
    return product


def _polished(point: Slopes, basis: Basis, weights: Array, K: tuple[Array, Array]) -> Slopes:
    """Move v towards the null space of A', each row in proportion to its weight.

    K is the eigendecomposition of ``A' diag(weights) A``: values (rank,) and vectors (rank, rank).
    """
    A, delta, (values, vectors) = basis.A, point.delta, K
    inverse = np.zeros_like(values)
    np.divide(1, values, out=inverse, where=values > 1e-14 * values.max(initial=0.0))
    for _ in range(2):
        rho = A.T @ (point.s + delta)
        delta = delta - weights * (A @ (vectors @ (inverse * (vectors.T @ rho))))
        if point.p == 1:
            delta = np.clip(point.s + delta, -1.0, 1.0) - point.s
    return point._replace(delta=delta)


def row_weights(point: Slopes, rank: int) -> Array:
    """The omega of the second correction, for p < 2: how much a row's v may change."""
    p, size = point.p, np.abs(point.r)
    if p == 1:
        weights: Array = np.maximum(1 - np.abs(point.s + point.delta), 0.0)
        return weights
    least = _NEAR * trimmed_median(size, rank)
    weights = np.maximum(size, max(least, 1e-300)) ** (p - 2)
    weights /= weights.max()
    return weights


def gap_at(rows: Rows, w: Array, basis: Basis, p: float, v: Array, b: float = 0.0) -> Gap:
    """Bound the distance of ``sum |r|^p`` at w from its minimum over all ``w + T zeta``.

    Parameters
    ----------
    rows : Rows
    w : (d,) float64 array
    basis : Basis
        Of the columns of the rows.
    p : float
    v : (n,) array
        Slopes for the residuals divided by the largest of them, with ``A'v`` near 0. The better
        they are, the smaller the gap; the bound holds for any.
    b : float
        The intercept.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        (r, error), n = rows.residual(w, b), len(rows.y)
        unit = float((np.abs(r) + error).max())
    if unit == 0:
        return Gap(r, 0.0, 0.0, 0.0)
    if not math.isfinite(unit):
        return Gap(r, math.inf, math.inf, math.inf)
    scaled, error = r / unit, error / unit
    size, rank = np.abs(scaled), basis.A.shape[1]
    error += EPS * size
    loss = float(total(size**p).rounded()[0])
    most = float(np.sum((size + error) ** p)) * (1 + 64 * EPS * (1 + p))
    far = _FAR * trimmed_median(size, rank) if 1 < p < 2 else math.inf
    point = Slopes.at(scaled, error, v, p, far)
    orthonormal = np.ones(basis.A.shape[1]), np.eye(basis.A.shape[1])
    if p >= 2:
        weights, K = np.ones(n), orthonormal
    else:
        weights = row_weights(point, rank)
        K = np.linalg.eigh(weighted(basis.A, weights)) if basis.A.size else orthonormal
    point = _polished(point, basis, weights, K)
    gap = most
    if basis.least > 0:
        with np.errstate(over="ignore", invalid="ignore"):
            rho = _null_space_error(rows, point, basis)
        if math.isnan(rho):
            return Gap(r, math.inf, math.inf, math.inf)
        reach = 2 * n ** max(0.5 - 1 / p, 0.0) * most ** (1 / p) / basis.least
        if p == 1:
            reach = min(reach, _reach(point, basis))
        gap = min(gap, point.gap_sum(np.zeros(n)) + p * rho * reach)
        lost = n * EPS * float(np.sum(K[0])) + 2 * basis.error * float(weights.max())
        least = float(K[0].min(initial=math.inf)) - 2 * lost
        if p < 2 and least > 0:
            gap = min(
                gap, point.gap_sum(weights * basis.row_norms * (rho / least) * (1 + 64 * EPS))
            )
    return Gap(r, unit, loss, gap * (1 + 64 * EPS))


def _null_space_error(rows: Rows, point: Slopes, basis: Basis) -> float:
    """A bound of ``|rho| = |A'v|`` for the exact ``A = X T``."""
    v, lost = two_sum(point.s, point.delta)
    sums, error = rows.products(v, lost)
    T = basis.T
    value = float(np.linalg.norm(T.T @ sums))
    grain = (len(T) + 4) * EPS * np.abs(sums) + error
    value += float(np.linalg.norm(np.abs(T).T @ grain))
    if point.tied.any():
        unsure = np.where(point.tied, np.abs(point.s) * point.power_error(), 0.0)
        if point.p > 1:
            value += float(np.sum(unsure * (basis.row_norms + basis.error)))
    return value * (1 + 64 * EPS)


def _reach(point: Slopes, basis: Basis) -> float:
    """For p = 1: a bound of the distance |zeta| to a minimum, not enlarged by rows far away.

    Let F be the rows far away, N the others. A point ``w + T zeta`` whose loss is no larger has
    ``sum_N |r*| <= sum_N |r| + |A_F zeta|_1``, so ``|A_N zeta|_1 - |A_F zeta|_1 <= 2 sum_N |r|``.
    On the left ``|x|_1 >= |x|^2 / |x|_inf`` for ``x = A_N zeta``, and ``|x|_1 <= sqrt(len F) |x|``
    for ``x = A_F zeta``; solve for |zeta|.
    """
    size, A = np.abs(point.r), basis.A
    far = size > _FAR * trimmed_median(size, A.shape[1])
    lost = len(A) * EPS * A.shape[1] + 2 * basis.error
    squares = A[far].T @ A[far]
    away = float(np.linalg.norm(squares, 2)) + lost if far.any() else 0.0
    near = basis.least**2 - away
    widest = float(basis.row_norms[~far].max(initial=0.0)) + basis.error
    slope = near / widest - math.sqrt(np.count_nonzero(far) * away) if widest else 0.0
    if slope <= 0:
        return math.inf
    return 2 * float(np.sum((size + point.error)[~far])) / slope * (1 + 64 * EPS)
