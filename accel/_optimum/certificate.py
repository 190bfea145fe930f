r"""A bound of how far a point is from the minimum of an l_p loss, rounding errors included.

For residuals ``r = X w - y`` and any v with ``X'v = 0``, Fenchel's inequality
``|a|^p >= p v a - (p-1) |v|^q``, q = p/(p-1), for every row of another point says that its loss is
at least ``p v'r - (p-1) sum |v_i|^q``, since v'r is the same at every point. So n times the gap is

.. math:: \sum_i f_i, \qquad f_i = |r_i|^p - p v_i r_i + (p-1) |v_i|^q \ge 0,

where v_i is the slope ``s_i = |r_i|^{p-1} sign(r_i)`` plus a small ``t s_i``, and f_i is
``|r_i|^p h(t)`` with ``h(t) = (p-1) (|1+t|^q - 1 - q t)``; for p = 1 it is ``|r_i| - v_i r_i``
and no v_i may be above 1 in size. Every term is computed without cancellation, so one row that
dominates the loss does not drown the others. r comes with twice the digits of float64.

A v in floating point has an ``X'v`` that is not 0. With ``A = X T`` of nearly orthonormal columns
let ``rho = A'v``. There are two ways to pay for it, and the lesser bound counts:

- another point is ``w + T zeta`` with ``|zeta| <= |A zeta| / sigma``, sigma the least singular
  value of A, and if it is not worse ``|A zeta| <= |r| + |r*|``: add ``p |rho| |A zeta| / sigma``.
- for p < 2, where one row may dominate |r|: ``v + c`` with ``c = -omega A (A' omega A)^{-1} rho``
  satisfies ``A'(v + c) = 0`` for any weights omega. So take the largest f_i between v_i - |c_i| and
  v_i + |c_i|, and weights that let rows with small residuals pay.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from accel._optimum.twofold import EPS, Twofold, added, dot, total, two_product, two_sum
from accel._support.arrays import Array, aligned

__all__ = ["Basis", "Gap", "Rows", "bulk", "counted", "distances", "gap_at", "weighted"]

_CAP = 10.0  # medians: a residual counts as far as this
_FAR = 1e3  # medians: from here on a row may dominate the loss
_NEAR = 1e-4  # medians: residuals below this weigh no more
_TINY = 1e-290  # a slope of which digits are lost
_SURE = 1e4  # times its error: a residual whose power is known


@dataclass(frozen=True, eq=False)
class Rows:
    """The data of one output: ``r = root * (X w + b - y)``, where ``X w`` is all without a center.

    Attributes
    ----------
    X : (n, d) float64 array
    y : (n,) float64 array
    root : (n,) array or None
        Each row times this, 1 for None.
    center : (d,) array or None
        If there is an intercept, columns and bases are those of ``[X - center, 1]``, lest large
        means cost digits.
    """

    X: Array
    y: Array
    root: Array | None = None
    center: Array | None = None

    def residual(self, w: Array, b: float = 0.0) -> tuple[Array, Array]:
        """Return r, and how far each is from the exact number at most."""
        r, error = added(added(dot(self.X.T, w), np.asarray(b)), -self.y).rounded()
        if self.root is None:
            return r, error
        return self.root * r, self.root * (error + EPS * np.abs(r))

    def columns(self) -> Array:
        """The columns (n, d), or (n, d + 1) with an intercept, in floating point."""
        columns = self.X
        if self.center is not None:
            columns = np.column_stack([columns - self.center, np.ones(len(columns))])
        return columns if self.root is None else columns * self.root[:, np.newaxis]

    def sums(self, v: Array, low: Array) -> tuple[Array, Array]:
        """The columns' products with ``v + low``, and how far from the exact ones at most."""
        if self.root is not None:
            v, lost = two_product(v, self.root)
            low = low * self.root + lost
        few = (len(v) + 8) * EPS
        g = added(dot(self.X, v), low @ self.X)
        error = few * (np.abs(low) @ np.abs(self.X)) if low.any() else np.zeros(g.high.shape)
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


@dataclass(frozen=True, eq=False)
class Basis:
    """``A = X T`` (n, rank) with nearly orthonormal columns, in exact arithmetic.

    Attributes
    ----------
    A : (n, rank) array
        In floating point.
    T : (d, rank) array
    rows : (n,) array
        Norms of the rows of A.
    error : float
        Bounds the Frobenius norm of what rounding did to A.
    least : float
        Below the least singular value of the exact A; 0 if nothing is known.
    """

    A: Array
    T: Array
    rows: Array
    error: float
    least: float

    @classmethod
    def of(cls, columns: Array, T: Array) -> Self:
        """Make it from X, its entries right to one rounding or two, and T."""
        A = aligned(columns @ T)
        peak = np.maximum(columns.max(axis=0), -columns.min(axis=0))
        peak[peak == 0] = 1.0
        scaled = columns / peak  # so that no square overflows
        sizes = np.sqrt(np.einsum("ij,ij->j", scaled, scaled))
        with np.errstate(under="ignore"):
            widths = np.linalg.norm(peak[:, np.newaxis] * T, axis=1)
        error = (len(T) + 8) * EPS * float(sizes @ widths)
        off = float(np.linalg.norm(A.T @ A - np.eye(A.shape[1])))
        least = math.sqrt(max(1 - off - len(A) * EPS * A.shape[1], 0.0)) - error
        rows = np.sqrt(np.einsum("ij,ij->i", A, A))
        return cls(A, T, rows, error, max(least, 0.0))


class Gap(NamedTuple):
    """Residuals r (n,) of largest size ``unit``; their loss ``sum |r|^p`` and its gap.

    Both are divided by ``unit^p``; the gap bounds the distance from the minimum. All are infinite
    where products overflow, as they do beyond 1e299, and nothing is proved.
    """

    r: Array
    unit: float
    loss: float
    gap: float


def bulk(size: Array, skip: int) -> float:
    """The median of sizes (n,) without the least ``skip`` of them; 0 if none is left."""
    if skip >= len(size):
        return 0.0
    return float(np.partition(size, (len(size) + skip) // 2)[(len(size) + skip) // 2])


def counted(size: Array, p: float, skip: int) -> float:
    """``sum |r|^p``; for p < 2 a residual counts to at most ten times the median of the others.

    Lest a row that dominates the loss say how small a gap is. ``skip`` rows may be interpolated.
    """
    if p < 2:
        size = np.minimum(size, _CAP * bulk(size, skip))
    with np.errstate(over="ignore"):
        return float(np.sum(size**p))


def _h(t: Array, p: float) -> Array:
    """An upper bound of ``(p-1) (|1+t|^q - 1 - q t)``, without cancellation at small t."""
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


def distances(r: Array, delta: Array, p: float) -> Array:
    """The f of every row for residuals r and slopes ``s + delta``, as if these had no errors."""
    size, sign = np.abs(r), np.sign(r)
    if p == 1:
        return -size * sign * delta
    s = size ** (p - 1)
    with np.errstate(all="ignore"):
        t = sign * delta / s
        near = np.abs(t) < 0.5  # not where s = 0
        found: Array = size**p * _h(np.where(near, t, 0.0), p)
        if not near.all():
            far = ~near
            u, r, size = (sign * s + delta)[far], r[far], size[far]
            found[far] = size**p - p * u * r + (p - 1) * np.abs(u) ** (p / (p - 1))
    return found


def _corners(r: Array, error: Array, v: Array, extra: Array, p: float) -> Array:
    """The largest f for residuals r +- error and slopes v +- extra, which is at a corner."""
    q, most = p / (p - 1), np.zeros_like(r)
    for a in (r - error, r + error):
        for u in (v - extra, v + extra):
            power, product, dual = np.abs(a) ** p, p * u * a, (p - 1) * np.abs(u) ** q
            rounding = 8 * EPS * (1 + p + q) * (power + np.abs(product) + dual)
            most = np.maximum(most, power - product + dual + rounding)
    return most


class _Point(NamedTuple):
    """Residuals, of largest size about 1, their errors, slopes s and v - s; rows taken as exact."""

    r: Array
    error: Array
    s: Array
    delta: Array
    tied: Array
    p: float

    def power_error(self) -> Array:
        """The relative error of the slopes s, where residuals are known well enough."""
        size = np.maximum(np.abs(self.r), _SURE * self.error)
        size[size == 0] = 1.0
        power = 4 * EPS * (1 + (self.p - 1) * np.abs(np.log(size)))
        return (self.p - 1) * (self.error / size) * 1.1 + (power if self.p > 1 else 0.0)

    def excess(self, extra: Array) -> float:
        """Bound ``sum f_i`` over slopes that are within ``extra`` of v; inf if one is too large."""
        r, error, s, delta, tied, p = self
        size = np.abs(r) + error
        if p == 1:
            sign = np.sign(r)
            below = np.where(tied, -delta * sign, 1 - np.abs(s + delta))  # what is left to 1
            if np.any(below < extra) or np.any(np.where(tied, below, 0.0) + extra > 2):
                return math.inf
            return float(np.sum(size * np.where(tied, below + extra, 2 - below + extra)))
        sure = (np.abs(r) >= _SURE * error) & (np.abs(s) > _TINY)
        slope = np.where(sure, np.abs(s), 1.0)
        known = self.power_error()
        t, wide = delta * np.sign(r) / slope, extra / slope
        wide = wide * (1 + known) + known * (np.abs(t) + ~tied)
        t, wide = np.where(sure, t, 0.0), np.where(sure, wide, 0.0)
        found = size**p * np.maximum(_h(t - wide, p), _h(t + wide, p))
        if not sure.all():
            near, v = ~sure, s + delta
            found[near] = _corners(r[near], error[near], v[near], extra[near], p)
        return float(np.sum(found))


def weighted(A: Array, weights: Array) -> Array:
    """``A' diag(weights) A``, at half the price of a product of two matrices."""
    rows = A * np.sqrt(weights)[:, np.newaxis]
    product: Array = rows.T @ rows
    return product


def _polished(point: _Point, basis: Basis, weights: Array, K: tuple[Array, Array]) -> _Point:
    """Move v towards the null space of A', every row by as much as its weight allows."""
    A, delta, (values, vectors) = basis.A, point.delta, K
    inverse = np.zeros_like(values)
    np.divide(1, values, out=inverse, where=values > 1e-14 * values.max(initial=0.0))
    for _ in range(2):
        rho = A.T @ (point.s + delta)
        delta = delta - weights * (A @ (vectors @ (inverse * (vectors.T @ rho))))
        if point.p == 1:
            delta = np.clip(point.s + delta, -1.0, 1.0) - point.s
    return point._replace(delta=delta)


def _weights(point: _Point, basis: Basis) -> Array:
    p, size = point.p, np.abs(point.r)
    if p == 1:
        weights: Array = np.maximum(1 - np.abs(point.s + point.delta), 0.0)
        return weights
    least = _NEAR * bulk(size, basis.A.shape[1])
    weights = np.maximum(size, max(least, 1e-300)) ** (p - 2)
    weights /= weights.max()
    return weights


def gap_at(rows: Rows, w: Array, basis: Basis, p: float, v: Array, b: float = 0.0) -> Gap:
    """Bound the distance of ``sum |r|^p`` from its minimum over all ``w + T zeta``.

    Parameters
    ----------
    rows : Rows
    w : (d,) float64 array
    basis : Basis
        Of the columns of the rows.
    p : float
    v : (n,) array
        Slopes with A'v near 0, for the residuals divided by the largest of them.
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
    size = np.abs(scaled)
    error += EPS * size
    loss = math.fsum(size**p)
    most = float(np.sum((size + error) ** p)) * (1 + 64 * EPS * (1 + p))
    s, sure = np.sign(scaled) * size ** (p - 1), size > (error if p == 1 else _SURE * error)
    if p == 1:
        s[~sure] = 0.0
    tied = sure & (p == 1)
    if 1 < p < 2:
        tied = sure & (size > _FAR * bulk(size, basis.A.shape[1]))
    delta = v - s
    delta[tied & (np.abs(delta) <= 64 * EPS * np.abs(s))] = 0.0
    point = _Point(scaled, error, s, delta, tied, p)
    orthonormal = np.ones(basis.A.shape[1]), np.eye(basis.A.shape[1])
    if p >= 2:
        weights, K = np.ones(n), orthonormal
    else:
        weights = _weights(point, basis)
        K = np.linalg.eigh(weighted(basis.A, weights)) if basis.A.size else orthonormal
    point = _polished(point, basis, weights, K)
    gap = most
    if basis.least > 0:
        rho = _infeasibility(rows, point, basis)
        reach = 2 * n ** max(0.5 - 1 / p, 0.0) * most ** (1 / p) / basis.least
        if p == 1:
            reach = min(reach, _reach(point, basis))
        gap = min(gap, point.excess(np.zeros(n)) + p * rho * reach)
        lost = n * EPS * float(np.sum(K[0])) + 2 * basis.error * float(weights.max())
        least = float(K[0].min(initial=math.inf)) - 2 * lost
        if p < 2 and least > 0:
            gap = min(gap, point.excess(weights * basis.rows * (rho / least) * (1 + 64 * EPS)))
    return Gap(r, unit, loss, gap * (1 + 64 * EPS))


def _infeasibility(rows: Rows, point: _Point, basis: Basis) -> float:
    """A bound of ``|A'v|`` for the exact A."""
    v, lost = two_sum(point.s, point.delta)
    total, error = rows.sums(v, lost)
    T = basis.T
    value = float(np.linalg.norm(T.T @ total))
    grain = (len(T) + 4) * EPS * np.abs(total) + error
    value += float(np.linalg.norm(np.abs(T).T @ grain))
    if point.tied.any():
        unsure = np.where(point.tied, np.abs(point.s) * point.power_error(), 0.0)
        if point.p > 1:
            value += float(np.sum(unsure * (basis.rows + basis.error)))
    return value * (1 + 64 * EPS)


def _reach(point: _Point, basis: Basis) -> float:
    """For p = 1: a bound of the distance |zeta| to a minimum that rows far away have no part in.

    Let F be those rows, N the others. A point that is not worse has
    ``sum_N |r*| <= sum_N |r| + |A_F zeta|_1``, so ``|A_N zeta|_1 - |A_F zeta|_1 <= 2 sum_N |r|``.
    On the left ``|x|_1 >= |x|^2 / |x|_inf`` and ``|x|_1 <= sqrt(len F) |x|``.
    """
    size, A = np.abs(point.r), basis.A
    far = size > _FAR * bulk(size, A.shape[1])
    lost = len(A) * EPS * A.shape[1] + 2 * basis.error
    squares = A[far].T @ A[far]
    away = float(np.linalg.norm(squares, 2)) + lost if far.any() else 0.0
    near = basis.least**2 - away
    widest = float(basis.rows[~far].max(initial=0.0)) + basis.error
    slope = near / widest - math.sqrt(np.count_nonzero(far) * away) if widest else 0.0
    if slope <= 0:
        return math.inf
    return 2 * float(np.sum((size + point.error)[~far])) / slope * (1 + 64 * EPS)
