"""The minimum of a convex loss other than l_p, over all linear maps, and how far a map is from it.

Every output by itself, except for the cross-entropy (``classes.py``), which couples them:

- pinball: an interior point method, and from there to a vertex;
- Huber, log-cosh: the interior point method, and Newton's method for the last digits;
- expectile: Newton's method;
- logistic, exponential: Newton's method, watched for labels that can be separated.

Losses of residuals are minimised in rounds, each from the residuals of the last one, computed with
twice the digits, so that rounding errors of large targets do not hide small residuals.
"""

import math
from typing import NamedTuple

import numpy as np

from accel._optimum.basis import Basis, decompose
from accel._optimum.best_pair import BestPair
from accel._optimum.certificate import Rows, trimmed_median
from accel._optimum.conjugates import Conjugate
from accel._optimum.fenchel import Bound, bound_at
from accel._optimum.interior import interior_point, to_vertex
from accel._optimum.separation import watch_output
from accel._optimum.smooth import newton
from accel._optimum.twofold import EPS
from accel._support.arrays import Array
from accel.kernels.specs import Loss

__all__ = ["Found", "Stop", "solve_output", "status_of"]

_ROUNDING = 64 * EPS  # times sqrt(n) and the targets: residuals below it are rounding errors
_CAP = (
    10.0  # in median residuals: what larger ones are cut to in the loss that gaps are relative to
)
_LAST = 4  # Newton steps that follow the interior point method, for digits beyond its tolerance
_EXACT = 1e-14  # the relative gap at which they stop
_VERTEX = 1e-13  # the relative gap to reach for pinball, where a vertex has all digits
_PROGRESS = 0.5  # rounds go on while each reduces the gap to this part of the last one


class Stop(NamedTuple):
    """When to stop, and what counts as 0.

    Attributes
    ----------
    tol : float
        The relative gap to reach.
    max_iter : int
        The largest number of Newton steps, of each output.
    rcond : float or (d,) array
        The errors of the entries of X, as in ``optimum``.
    """

    tol: float
    max_iter: int
    rcond: float | Array


class Found(NamedTuple):
    """The minimum, of one output or of all that are coupled.

    Attributes
    ----------
    W : (k, d) array
    loss, gap, rounding : float
        As of ``fenchel.Bound``: sums over the samples until the factor f/n is put to them.
    reference : float
        The loss that the gap is compared with.
    decrement : float
        The square of Newton's decrement.
    iterations : int
    slopes : (k, n) array
        Those that prove the gap.
    status : str
        As of ``Optimum``.
    """

    W: Array
    loss: float
    gap: float
    rounding: float
    reference: float
    decrement: float
    iterations: int
    slopes: Array
    status: str


def status_of(gap: float, reference: float, tol: float, spent: bool) -> str:
    """The status of a minimum that exists: whether the gap is met, and if not, why."""
    if gap <= tol * reference:
        return "optimal"
    return "max_iter" if spent else "stalled"


def _reference(side: Conjugate, m: Array, y: Array, rank: int) -> float:
    """The loss, as a sum, that the gap at predictions, or residuals, m is compared with.

    That of the targets y, at W = 0, if the residuals are rounding errors of them. Where slopes are
    bounded, a fit hardly depends on rows far away: so most of them count, and they are cut to ten
    times the median.
    """
    if side.of_margins:
        return float(np.sum(side.values(m)))
    size, targets = np.abs(m), np.abs(y)
    noise = _ROUNDING * math.sqrt(len(y))
    if float(size.max()) <= noise * float(targets.max()):
        m = -y
    elif side.boxed:
        middle, usual = trimmed_median(size, rank), trimmed_median(targets, 0)
        if middle <= noise * usual:
            m, middle = -y, usual
        m = np.clip(m, -_CAP * middle, _CAP * middle)
    return float(np.sum(side.values(m)))


def _improve(best: BestPair, tol: float, max_iter: int, *, again: bool) -> None:
    """Minimise a loss of residuals; ``again`` if z = 0 is near the minimum already."""
    kind = best.side.kind
    if kind in ("huber", "logcosh"):
        if again:
            newton(best, tol, min(max_iter, best.iterations + _LAST))
        if not best.met(tol):
            interior_point(best, tol, max_iter)
            newton(best, _EXACT, min(max_iter, best.iterations + _LAST))
    elif kind == "pinball":
        if again:
            to_vertex(best)
        if not best.met(tol):
            interior_point(best, tol, max_iter)
            to_vertex(best)
    else:
        newton(best, tol, max_iter)


def solve_output(X: Array, y: Array, basis: Basis, loss: Loss, stop: Stop, backend: str) -> Found:
    """Minimise the loss of one output.

    Parameters
    ----------
    X : (n, d) float64 array
    y : (n,) float64 array
        Targets, or labels -1 and +1.
    basis : Basis
        Of the columns of X.
    loss : Loss
    stop : Stop
    backend : str
        Whose products with twice the digits to use.
    """
    side = Conjugate(loss, y if loss.kind in ("logistic", "exponential") else np.zeros(len(y)))
    if side.of_margins:
        return _labels(X, side, basis, stop, backend)
    A, T, tol, max_iter = basis.A, basis.T, stop.tol, stop.max_iter
    rows = Rows(X, y, backend=backend)
    w = np.zeros(X.shape[1])
    for _ in range(2):  # the second time removes rounding errors of the first
        w = w + T @ (A.T @ (y - X @ w))
    start, rank = rows.residual(w)[0], A.shape[1]
    v, iterations, last = np.zeros(len(y)), 0, None
    enough = min(tol, _VERTEX) if loss.kind == "pinball" else tol
    while True:
        best = BestPair(A, start, side, lambda m: _reference(side, m, y, rank))
        best.iterations = iterations
        if last is not None:
            best.v = v
        if rank:
            _improve(best, enough / 4, max_iter, again=last is not None)
        iterations = best.iterations
        w = w + T @ best.z
        bound = bound_at(side, rows, w, basis, best.v)
        reference = _reference(side, bound.m, y, rank)
        status = status_of(bound.gap, reference, tol, iterations >= max_iter)
        found = _found(w, bound, reference, best, status)
        if last is not None and not found.gap <= _PROGRESS * last.gap:
            return (found if found.gap < last.gap else last)._replace(iterations=iterations)
        met = found.gap <= enough * reference or not math.isfinite(found.gap)
        if met or iterations >= max_iter:
            return found
        last, start, v = found, bound.m, best.v


def _found(w: Array, bound: Bound, reference: float, best: BestPair, status: str) -> Found:
    """Put the minimum of one output together."""
    return Found(
        W=w[np.newaxis],
        loss=bound.loss,
        gap=bound.gap,
        rounding=bound.rounding,
        reference=reference,
        decrement=best.decrement**2,
        iterations=best.iterations,
        slopes=bound.v[np.newaxis],
        status=status,
    )


def _labels(X: Array, side: Conjugate, basis: Basis, stop: Stop, backend: str) -> Found:
    """Minimise a loss of margins, or find a map that separates the labels."""
    tol, max_iter, n, T = stop.tol, stop.max_iter, len(X), basis.T
    rows = Rows(X, np.zeros(n), backend=backend)
    best = BestPair(basis.A, np.zeros(n), side, lambda m: float(np.sum(side.values(m))))
    best.v = side.slopes(best.m)
    w = np.zeros(X.shape[1])
    watch = watch_output(best, rows, T, w)
    if basis.A.shape[1]:
        newton(best, tol / 4, max_iter, watch)
    w = T @ (watch.z if watch.found == "separable" else best.z)
    bound = bound_at(side, rows, w, basis, best.v)
    if watch.found == "separable":  # the infimum is 0
        bound = bound._replace(gap=bound.loss)
    elif watch.found:
        bound = _without(watch.zero, bound, side, X, w, stop, backend)
    status = status_of(bound.gap, bound.loss, tol, best.iterations >= max_iter)
    return _found(w, bound, bound.loss, best, "separable" if watch.found else status)


def _without(
    zero: Array, bound: Bound, side: Conjugate, X: Array, w: Array, stop: Stop, backend: str
) -> Bound:
    """The bound by the rows whose margins cannot grow alone: the losses of all others tend to 0."""
    if not zero.any():
        return bound
    some = Conjugate(side.loss, side.labels[zero])
    rows = Rows(X[zero], np.zeros(len(some.labels)), backend=backend)
    part = bound_at(some, rows, w, decompose(rows.X, stop.rcond).basis, bound.v[zero])
    v = np.zeros_like(bound.v)
    v[zero] = part.v
    rest = float(np.sum(side.values(bound.m)[~zero])) * (1 + 64 * EPS) + bound.rounding
    return bound._replace(gap=min(part.gap + rest, bound.gap), v=v)
