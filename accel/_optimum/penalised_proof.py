r"""A bound of how far coefficients are from the minimum of an l_p loss with penalties.

It is the bound of ``certificate.py`` with penalties beside the loss, whose conjugates are in
``penalty.py``: for any slopes v with ``o'v = 0``, o being the column of the intercept,
whose ``t = -A'v`` have finite conjugates, the distance from the minimum is at most the sum of the
f_i of all rows, divided by p, and of the terms of all coefficients, in units in which the loss is
``sum |r|^p / p``. What floating point adds:

- The residuals are computed with twice the digits; an error is left, for which the f_i are
  bounded.
- So is ``A'v``. A coefficient with squares takes any t, and the largest term for t +- its error
  counts; for another one all of t +- error have to be inside: v is shrunk by the factor that brings
  them there, and where 0 is the boundary, moved by least squares.
- ``o'v`` is not exactly 0: v + c is, with ``c = -omega o (o'v) / (o' omega o)`` for any weights
  omega, as in ``certificate.py``. The largest f_i for v +- c counts, and ``|A'c|`` is added to the
  error of A'v.
- For p = 1, where no v may exceed 1 in size, omega is ``1 - |v|``. If no residual is 0, all v are
  +-1 and cannot be moved at all: then they are shrunk first, by a share of about 1e-13.
- For nonnegative coefficients without penalties whose columns make up for each other, as do those
  of classes beside an intercept, slopes may have to be on the boundary itself, and can be but up to
  rounding errors. Then the bound is one among coefficients that, times the norms of their columns,
  are at most ``_REACH`` times as large as the largest of these and of the residuals.
"""

import math
from typing import NamedTuple

import numpy as np

from accel._optimum.certificate import Rows, Slopes, row_weights
from accel._optimum.penalty import Penalty
from accel._optimum.rank import column_norms
from accel._optimum.twofold import EPS, total, two_sum
from accel._support.arrays import Array

__all__ = ["PenalisedGap", "penalised_gap"]

_REACH = 1e6
_ROOM = 64 * EPS  # relative, of slopes that have been shrunk
_INWARD = 1e-13  # the least share that slopes for p = 1 are shrunk by, if they prove nothing as is
_TRIES = 3


class PenalisedGap(NamedTuple):
    """What is minimised, and a bound of its distance from the minimum.

    Attributes
    ----------
    loss : float
        The mean of ``|r|^p``.
    penalty : float
    gap : float
        Of the sum of both, rounding errors of them in float64 included.
    """

    loss: float
    penalty: float
    gap: float


def penalised_gap(
    rows: Rows, w: Array, b: float, p: float, v: Array, penalty: Penalty, rounding: float
) -> PenalisedGap:
    """Bound the distance of ``mean |r|^p`` and penalties from the minimum.

    Parameters
    ----------
    rows : Rows
    w : (d,) float64 array
    b : float
        The intercept.
    p : float
    v : (n,) array
        Slopes for the residuals divided by the largest of them. The better they are, the smaller
        the gap; the bound holds for any.
    penalty : Penalty
        Beside the mean.
    rounding : float
        A bound of the relative rounding error of a mean.
    """
    n, cost = len(rows.y), penalty.value(w)
    with np.errstate(over="ignore", invalid="ignore"):
        (r, error) = rows.residual(w, b)
        unit = float((np.abs(r) + error).max())
    if not (math.isfinite(unit) and math.isfinite(cost)):
        return PenalisedGap(math.inf, cost, math.inf)
    if unit == 0:
        return PenalisedGap(0.0, cost, cost * (1 + 64 * EPS))
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        size = np.float64(unit) ** p / n
        here, spread = w / unit, error / unit + EPS * np.abs(r / unit)
        inner = penalty.scaled(unit / (p * size), unit**2 / (p * size))
        loss = float(size * total(np.abs(r / unit) ** p).rounded()[0])
        most = float(size * np.sum((np.abs(r / unit) + spread) ** p)) * (1 + 64 * EPS * (1 + p))
        best = most + cost  # no minimum is below 0
        first, inside, bound = Slopes.at(r / unit, spread, v, p), False, math.nan
        for slopes in (first, _inward(rows, first)) if p == 1 else (first,):
            for _ in range(_TRIES):
                slopes, bound, inside = _attempt(rows, slopes, here, inner, n)
                if not math.isnan(bound):
                    best = min(best, float(p * size * bound) * (1 + 64 * EPS * (1 + p)))
                if inside:
                    break
            if inside and not math.isnan(bound):
                break
        lost = rounding * loss + (len(w) + 16) * EPS * cost
    return PenalisedGap(loss, cost, best + lost)


def _inward(rows: Rows, slopes: Slopes) -> Slopes:
    """Shrink slopes for p = 1, so that those at +-1 may be moved, by what ``o'v = 0`` asks of them.

    Moving v by ``omega o`` times a number keeps it within 1 as long as that number times o is at
    most 1, where omega is ``1 - |v|``, which is at least ``share`` after shrinking by that.
    """
    share, ones = _INWARD, np.ones_like(slopes.s) if rows.root is None else rows.root
    if rows.center is not None and (spread := float(ones @ ones)) > 0:
        off = abs(float(ones @ (slopes.s + slopes.delta)))
        share = min(max(share, 4 * off * float(ones.max()) / spread), 1.0)
    return slopes.moved(-share * (slopes.s + slopes.delta))


def _attempt(
    rows: Rows, slopes: Slopes, here: Array, penalty: Penalty, n: int
) -> tuple[Slopes, float, bool]:
    """Move slopes inside; return them, what they prove, and whether that needed no reach."""
    d, p = len(here), slopes.p
    omega = row_weights(slopes, d) if p < 2 else np.ones(n)
    ones = None if rows.center is None else np.ones(n) if rows.root is None else rows.root
    if ones is not None:
        sum_, spread = float(ones @ (slopes.s + slopes.delta)), float(omega @ ones**2)
        if spread > 0:
            slopes = slopes.moved(-omega * ones * (sum_ / spread))
    columns = rows.columns()
    t, error, extra = _products(rows, slopes, columns, ones, omega)
    high = _farthest(t, error, penalty)
    if (shrunk := penalty.shrinking(high, _ROOM)) < 1:
        slopes = slopes.moved((shrunk - 1) * (slopes.s + slopes.delta))
        t, error, extra = _products(rows, slopes, columns, ones, omega)
    elif not penalty.absolute and penalty.outside(high).any():
        near = (here > 0) | (t + 4 * error > 0)
        part, goal = columns[:, :d][:, near], (8 * error + t)[near]
        if ones is not None:
            part, goal = np.column_stack([part, ones]), np.append(goal, 0.0)
        root = np.sqrt(omega)
        change = np.linalg.lstsq((root[:, np.newaxis] * part).T, goal, rcond=1e-13)[0]
        slopes = slopes.moved(root * change)
        t, error, extra = _products(rows, slopes, columns, ones, omega)
    high = _farthest(t, error, penalty)
    beyond = np.where(penalty.kappa > 0, 0.0, np.maximum(high - penalty.lam * (1 - 16 * EPS), 0.0))
    fine = not beyond.any()
    cost = 0.0
    if not fine:
        if not penalty.nonnegative or penalty.absolute:
            return slopes, math.nan, False
        peak, sizes = column_norms(columns[:, :d])
        sizes = peak * sizes
        largest = float((sizes * here).max()) + math.sqrt(n)
        reach = _REACH * largest / np.where(sizes > 0, sizes, 1.0)
        cost = float(beyond @ reach) * (1 + 64 * EPS)
    bound = slopes.gap_sum(extra) / p + penalty.most(here, t, error) + cost
    return slopes, bound if math.isfinite(bound) else math.nan, fine


def _farthest(t: Array, error: Array, penalty: Penalty) -> Array:
    """Of all slopes in t +- error those that are farthest out."""
    return t + error if penalty.nonnegative else np.abs(t) + error


def _products(
    rows: Rows, slopes: Slopes, columns: Array, ones: Array | None, omega: Array
) -> tuple[Array, Array, Array]:
    """Return t, a bound of its errors, and one (n,) of what v is moved by so that ``o'v = 0``."""
    high, low = two_sum(slopes.s, slopes.delta)
    sums, error = rows.products(high, low)
    if ones is None:
        return -sums, error, np.zeros_like(high)
    spread = float(omega @ ones**2) * (1 - 64 * EPS * math.sqrt(len(high)))
    off = abs(float(sums[-1])) + float(error[-1])
    extra = omega * ones * (off / spread if spread > 0 else math.inf) * (1 + 64 * EPS)
    d = columns.shape[1] - 1
    more = np.abs(columns[:, :d]).T @ extra * (1 + (len(high) + 8) * EPS)
    return -sums[:-1], error[:-1] + more, extra
