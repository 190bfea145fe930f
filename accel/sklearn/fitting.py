"""A fitted map: by Newton's method with a proof, or with the best intercepts."""

import math
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from accel._core.problem import Problem
from accel._core.weighting import weight_roots
from accel._optimum.any_problem import optimum
from accel._optimum.certificate import Basis, Rows, gap_at
from accel._optimum.optimum import Optimum, Proof, for_proofs, proven, rounding
from accel._optimum.rank import centred_rcond, singular_values, usual_rcond
from accel._runs.history import History
from accel._support.arrays import Array
from accel.sklearn.scaled_problem import ScaledProblem, median_spread

__all__ = [
    "Fit",
    "best_intercepts",
    "newton",
    "newton_of_loss",
    "one_record",
    "separates",
    "user_gap",
]

_EPS = float(np.finfo(np.float64).eps)
_HIDING = 0.1  # over the usual rcond: median distances from which a sample may hide all others


@dataclass(frozen=True, eq=False)
class Fit:
    """The result of a solver.

    Attributes
    ----------
    W : (k, d) float64 array
        The map, in the units of the problem.
    iterations : int
        At least 1.
    history : History
    trouble : str
        Why the minimum was not reached to the tolerance; empty if it was.
    status : {"converged", "completed", "diverged", "saddle", "separable"}
    dual_gap, learning_rate : float
        Nan where there is none.
    rank : int or None
    singular : (min(n, d),) array or None
        Rank and singular values of the features, the intercept apart; only by Newton's method.
    doubt : str
        Why the rank might be another, and what to do; empty if it is clear.
    proof : Proof or None
        Of the minimum; only by Newton's method.
    slopes : (k, n) array or None
        With penalties what the proof is made of.
    allowed : float
        With penalties the gap that the tolerance allows, in the units of the user.
    """

    W: Array
    iterations: int
    history: History
    trouble: str
    status: str
    dual_gap: float = math.nan
    learning_rate: float = math.nan
    rank: int | None = None
    singular: Array | None = None
    doubt: str = ""
    proof: Proof | None = None
    slopes: Array | None = None
    allowed: float = math.nan


def one_record(step: int, loss: float, slope: float, size: float, began: float) -> History:
    """The history of a fit that began at this time and is known by its end alone."""
    seconds = time.perf_counter() - began
    L, G, W, S = (np.array([float(value)]) for value in (loss, slope, size, seconds))
    return History(np.array([step]), L, G, W, S)


def newton(
    scaled: ScaledProblem, X: Array, max_iter: int, tol: float, rcond: float | None, backend: str
) -> Fit:
    """Find the minimum of an l_p loss by ``optimum``, up to a duality gap of tol times the loss.

    X is in the units of the user.
    """
    began, problem = time.perf_counter(), scaled.problem
    best, proof = proven(problem, tol, max_iter, backend, _errors(scaled, rcond))
    fit = _as_fit(best, began, max_iter)
    return replace(
        fit,
        rank=max(best.rank - scaled.intercept, 0),
        singular=singular_values(proof.R, scaled.intercept),
        doubt=_doubt(best, scaled, X, rcond, ", or set rcond"),
        proof=proof,
    )


def newton_of_loss(scaled: ScaledProblem, X: Array, max_iter: int, tol: float, backend: str) -> Fit:
    """Find the minimum of any loss, as ``newton`` does, with a gap in the units of the problem."""
    began, rcond = time.perf_counter(), _errors(scaled, None)
    best = optimum(scaled.problem, tol=tol, max_iter=max_iter, backend=backend, rcond=rcond)
    return replace(_as_fit(best, began, max_iter), doubt=_doubt(best, scaled, X, None, ""))


def _errors(scaled: ScaledProblem, rcond: float | None) -> Any:
    """The rcond, by column where means were subtracted."""
    X = scaled.problem.host.X
    within = usual_rcond(X.dtype) if rcond is None else rcond
    if not scaled.intercept:
        return within
    return centred_rcond(X, scaled.x.mean / scaled.x.scale, within)


def _as_fit(best: Optimum, began: float, max_iter: int) -> Fit:
    """The fit of an optimum, whose rank is not looked at."""
    size = float(np.linalg.norm(best.W))
    history = one_record(best.iterations, best.loss, best.gradient_norm, size, began)
    trouble = "" if best.converged else f"the duality gap is still {best.duality_gap:.3g}"
    if trouble and best.iterations < max_iter:
        trouble += ", and rounding errors leave no more to gain"
    status = "converged" if best.converged else "completed"
    if best.status == "separable":
        status, trouble = "separable", "the labels can be separated"
    steps = max(best.iterations, 1)
    return Fit(best.W, steps, history, trouble, status, dual_gap=best.duality_gap)


def _doubt(best: Optimum, scaled: ScaledProblem, X: Array, rcond: float | None, way: str) -> str:
    """A warning if the rank of X (n, d), in the units of the user, might be another."""
    n, d = X.shape
    within = usual_rcond(scaled.problem.dtype) if rcond is None else rcond
    rank, doubt = max(best.rank - scaled.intercept, 0), ""
    if best.doubtful:
        values = f"{best.doubtful} singular value{'s' if best.doubtful > 1 else ''}"
        doubt = (
            f"X has rank {rank} of {d} by rcond={within:.2g}, with {values} within a factor of ten "
            "of that limit: coef_ may hang on rounding errors of X; leave out features that others "
            f"determine{way}"
        )
    if rank < min(n - scaled.intercept, d):
        doubt = _outlier_warning(X, rank) or doubt
    return doubt


def separates(problem: Problem, W: Array) -> bool:
    """Whether a map (k, d) gives every label a margin above 0, whatever the rounding errors."""
    X, Y = problem.host.X.astype(np.float64, copy=False), problem.host.Y
    m, error = X @ W.T, _EPS * (problem.d + 2) * (np.abs(X) @ np.abs(W).T)
    if problem.k == 1:
        return bool(np.all(Y * m > error))
    chosen = Y > 0
    low = np.where(chosen, m - error, np.inf).min(axis=1)
    return bool(np.all(low > np.where(chosen, -np.inf, m + error).max(axis=1)))


def _outlier_warning(X: Array, rank: int) -> str:
    """A warning if rows of X (n, d) are so large that others count as rounding errors."""
    spread = median_spread(X, center=True)
    with np.errstate(over="ignore"):
        reach = X.max(axis=0).astype(np.float64) - X.min(axis=0)
        ratio = float(np.max(reach[spread > 0] / spread[spread > 0], initial=0.0))
    if ratio * usual_rcond(X.dtype) < _HIDING:
        return ""
    return (
        f"X has rank {rank} of {X.shape[1]}, with samples up to {ratio:.0e} times as far out as "
        "most, beside which the differences of the others count as rounding errors; leave those "
        "samples out"
    )


def user_gap(
    scaled: ScaledProblem,
    proof: Proof,
    X: Array,
    Y: Array,
    weight: Array | None,
    coef: Array,
    b: Array,
    backend: str,
) -> float:
    """Bound how far the loss in the units of the user is above its minimum, rounding included.

    Parameters
    ----------
    scaled : ScaledProblem
        Made of X, Y and weight.
    proof : Proof
        Of its minimum. The basis and slopes, rescaled, serve in the units of the user as well.
    X, Y, weight : array
    coef : (k, d) array
    b : (k,) array
        The intercepts.
    backend : str

    Returns
    -------
    float
        For the (weighted) mean of ``|X coef + b - y|^p``, summed over the outputs.
    """
    p, n = scaled.problem.p, scaled.problem.n
    X, Y, coef, b = (a.astype(np.float64, copy=False) for a in (X, Y, coef, b))
    root = None if weight is None else weight_roots(weight.astype(np.float64) / weight.max(), p)
    center = scaled.x.mean if scaled.intercept else None
    T = proof.T.copy()
    T[: X.shape[1]] /= scaled.x.scale[:, np.newaxis]
    backend = for_proofs(backend, X.size, p)
    outputs = [Rows(X, y, root, center, backend) for y in Y.T]
    total, basis = 0.0, Basis.of(outputs[0].columns(), T)
    for i, v in enumerate(proof.slopes):
        bound = gap_at(outputs[i], coef[i], basis, p, v, float(b[i]))
        with np.errstate(over="ignore"):
            unit = np.float64(bound.unit) ** p / n
            total += float(
                unit * (bound.gap + (1 if weight is None else 2) * rounding(p) * bound.loss)
            )
    return total


def best_intercepts(problem: Problem, W: Array) -> Array:
    """W with the weights of its last feature, the intercepts, that are best for its other columns.

    The intercepts are then right for the coefficients even where those did not converge.
    """
    X, p = problem.host.X, problem.p
    ones = X[:, -1].astype(np.float64)  # times the roots of sample weights
    left = problem.host.Y - X[:, :-1] @ W[:, :-1].T.astype(np.float64)
    kept, best = ones > 0, W.copy()  # the root of a small weight may underflow to 0
    for i, target in enumerate(left.T):
        unit = float(np.abs(target).max())
        if not 0 < unit < math.inf:
            continue
        target = target / unit
        intercept = _best_intercept(ones[kept], target[kept], p)
        losses = [np.abs(target - ones * b) ** p for b in (intercept, W[i, -1] / unit)]
        if p == 1 or math.fsum(losses[0] - losses[1]) < 0:  # the median is exact
            best[i, -1] = unit * intercept
    return best


def _best_intercept(x: Array, y: Array, p: float) -> float:
    """The b with the least sum of ``|b x - y|^p``, all x above 0: the root of the derivative."""
    values = y / x
    if p == 1:  # the median of the values with weights x
        order = np.argsort(values)
        below = np.cumsum(x[order])
        return float(values[order[np.searchsorted(below, below[-1] / 2)]])

    def slope(b: float) -> float:  # up to a factor, so that the powers do not all underflow
        r = b * x - y
        return float(x @ (np.sign(r) * (np.abs(r) / (np.abs(r).max() or 1.0)) ** (p - 1)))

    low, high = float(values.min()), float(values.max())
    if slope(low) >= 0 or slope(high) <= 0:  # all values are equal, up to rounding errors
        return low
    from scipy.optimize import brentq  # scikit-learn has it

    return float(brentq(slope, low, high, xtol=1e-300, rtol=1e-15, maxiter=1000))
