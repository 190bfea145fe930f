"""Fits with penalties, or with nonnegative coefficients, and the proof in the units of the user."""

import math
import time
from dataclasses import dataclass, replace

import numpy as np

from accel._core.weighting import weight_roots
from accel._optimum.certificate import Rows
from accel._optimum.optimum import for_proofs, rounding
from accel._optimum.penalised import minimise
from accel._optimum.penalised_proof import penalised_gap
from accel._optimum.penalised_task import Point, Task
from accel._optimum.penalty import Penalty
from accel._optimum.rank import column_norms
from accel._optimum.twofold import EPS
from accel._support import memory
from accel._support.arrays import Array
from accel.sklearn.fitting import Fit, one_record
from accel.sklearn.scaled_problem import ScaledProblem

__all__ = ["Penalties", "penalised", "with_user_gap"]

_ROUNDING = 64 * EPS  # times sqrt(n) and the targets: residuals below it are rounding errors
_GRAIN = 8  # what the units of coefficients and data are in the dtype, of their roundings together
_FAR = 10  # times what the tolerance allows, a gap from which a fit has not converged
_DEPENDENT = 1e-12  # relative singular values below which columns are taken to be dependent


@dataclass(frozen=True)
class Penalties:
    """What ``LpRegressor`` adds to the mean, in the units of the user.

    Attributes
    ----------
    l1, l2 : float
    nonnegative : bool
    """

    l1: float
    l2: float
    nonnegative: bool

    def __bool__(self) -> bool:
        return bool(self.l1 or self.l2 or self.nonnegative)

    def of(self, features: int) -> Penalty:
        """The penalty of so many coefficients, in the units of the user."""
        ones = np.ones(features)
        return Penalty(self.l1 * ones, self.l2 * ones, self.nonnegative)


def penalised(scaled: ScaledProblem, penalties: Penalties, max_iter: int, tol: float) -> Fit:
    """Minimise the mean and the penalties, output by output, to a gap of tol times their sum."""
    began, problem = time.perf_counter(), scaled.problem
    X, Y = (a.astype(np.float64, copy=False) for a in (problem.host.X, problem.host.Y))
    d, n, p = scaled.x.mean.size, problem.n, problem.p
    _require_memory(n, d)
    ones = np.ascontiguousarray(X[:, -1]) if scaled.intercept else None
    peak, sizes = column_norms(X[:, :d])
    sizes = peak * sizes / math.sqrt(n)
    used = np.flatnonzero(sizes > 0)  # a constant feature beside an intercept is of no use
    A = X[:, used] / sizes[used]
    free = penalties.nonnegative and not penalties.l1 and not penalties.l2
    dependent = free and _dependent(A, ones)
    W = np.zeros((problem.k, problem.d))
    slopes, points, values = np.zeros((problem.k, n)), list[Point](), list[float]()
    missing, allowed = 0.0, 0.0
    for i, y in enumerate(Y.T):
        unit, scale = float(np.abs(y).max()) or 1.0, float(scaled.y.scale[i])
        # A coefficient of the task is this many of the user, and the loss of the task so many.
        coefficient = unit * scale / (sizes[used] * scaled.x.scale[used])
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            share = n / p * np.float64(unit * scale) ** -p
            penalty = penalties.of(len(used)).scaled(share * coefficient, share * coefficient**2)
        _require_finite(penalty, p)
        task = Task(A, ones, y / unit, p, penalty, dependent)
        point = minimise(task, tol, max_iter)
        W[i, used] = unit * point.c / sizes[used]
        if ones is not None:
            W[i, -1] = unit * point.b
        top = float(np.abs(point.r).max()) or 1.0
        slopes[i] = point.v / top ** (p - 1)
        points.append(point)
        values.append(p / n * unit**p * point.value)
        reference = _reference(task, point)
        missing = max(missing, point.gap / (reference or 1.0))
        with np.errstate(over="ignore", under="ignore"):
            allowed += float(tol * p / n * np.float64(unit * scale) ** p * reference)
    steps, spent = sum(point.steps for point in points), any(p_.steps >= max_iter for p_ in points)
    trouble = ""
    if not missing <= tol:
        trouble = f"the duality gap is still {missing:.3g} of what is minimised"
        trouble += "" if spent else ", and rounding errors leave no more to gain"
    size = float(np.linalg.norm(W))
    history = one_record(steps, math.fsum(values), math.nan, size, began)
    status = "completed" if trouble else "converged"
    return Fit(W, max(steps, 1), history, trouble, status, slopes=slopes, allowed=allowed)


def with_user_gap(
    fit: Fit,
    scaled: ScaledProblem,
    penalties: Penalties,
    data: tuple[Array, Array, Array | None],
    fitted: tuple[Array, Array],
    backend: str,
) -> Fit:
    """Bound how far what is minimised is above its minimum, in the units of the user.

    The fit says so if that is more than its tolerance and rounding errors account for.

    Parameters
    ----------
    fit : Fit
    scaled : ScaledProblem
    penalties : Penalties
    data : tuple
        X (n, d), Y (n, k), and the weights (n,) or None, as ``scaled`` was made of them.
    fitted : tuple
        Coefficients (k, d) and intercepts (k,), of the dtype of X.
    backend : str
    """
    assert fit.slopes is not None
    p, (X, Y, weight), grain = scaled.problem.p, data, float(np.finfo(fitted[0].dtype).eps)
    X, Y, coef, b = (a.astype(np.float64, copy=False) for a in (X, Y, *fitted))
    root = None if weight is None else weight_roots(weight.astype(np.float64), p)
    used = scaled.x.scale * np.abs(scaled.problem.host.X[:, : X.shape[1]]).max(axis=0) > 0
    used[0] |= not used.any()  # the sums need a column
    X, coef = X[:, used], coef[:, used]
    center = scaled.x.mean[used] if scaled.intercept else None
    backend = for_proofs(backend, X.size, p)
    lost = (1 if weight is None else 2) * rounding(p)
    total, grains, penalty = 0.0, 0.0, penalties.of(X.shape[1])
    for y, w, b_, v in zip(Y.T, coef, b, fit.slopes, strict=True):
        rows = Rows(X, y, root, center, backend)
        total += penalised_gap(rows, w, float(b_), p, v, penalty, lost).gap
        grains += _rounding(rows, w, float(b_), p, grain) + _GRAIN * grain * penalty.value(w)
    if fit.trouble or total <= _FAR * fit.allowed + grains:
        return replace(fit, dual_gap=total)
    trouble = f"the duality gap is {total:.3g} with all rounding errors, of {fit.allowed:.3g} that "
    trouble += "tol allows"
    if fitted[0].dtype == np.float32:
        trouble += ", as X was rounded to float32 in the units of the fit: take float64"
    return replace(fit, dual_gap=total, trouble=trouble, status="completed")


def _rounding(rows: Rows, w: Array, b: float, p: float, grain: float) -> float:
    """What the mean may change by with coefficients, and with data, by so much of themselves."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        r = np.abs(rows.X @ w + b - rows.y)
        spread = _GRAIN * grain * (np.abs(rows.X) @ np.abs(w) + abs(b) + np.abs(rows.y))
        if rows.root is not None:
            r, spread = r * rows.root, spread * rows.root
        return float(np.mean((r + spread) ** p - r**p))


def _reference(task: Task, point: Point) -> float:
    """What a gap is compared with: what is minimised, at 0 if residuals are rounding errors."""
    noise = _ROUNDING * math.sqrt(len(task.y)) * float(np.abs(task.y).max())
    if float(np.abs(point.r).max()) > noise:
        return point.value
    return float(np.sum(np.abs(task.y) ** task.p)) / task.p


def _dependent(A: Array, ones: Array | None) -> bool:
    """Whether the columns, that of the intercept too, may make up for each other."""
    columns = A if ones is None else np.column_stack([A, ones])
    n, d = columns.shape
    if d > n:
        return True
    values = np.linalg.svd(np.linalg.qr(columns, mode="r"), compute_uv=False)
    return bool(values[-1] <= _DEPENDENT * values[0])


def _require_finite(penalty: Penalty, p: float) -> None:
    """Raise ValueError if penalties overflow in the units of the fit."""
    if not (np.all(np.isfinite(penalty.lam)) and np.all(np.isfinite(penalty.kappa))):
        raise ValueError(
            f"l1 and l2 must be finite in units in which y is of size 1, for p = {p:g}: rescale y"
        )


def _require_memory(n: int, d: int) -> None:
    small = min(n, d)
    memory.require(
        "the fit", {"copies of X": 6 * 8 * n * d, "systems of equations": 5 * 8 * small * small}
    )
