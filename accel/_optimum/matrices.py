r"""The optimum of losses that see the matrix itself: the loss, and the least nuclear norm.

Such a loss has many minimisers wherever less is seen than the matrix has entries. All have the same
predictions, those of the observed entries or of the measurements, if the minimum is unique in
them; of the matrices with those, ``nuclear.py`` finds the one of least nuclear norm.

- Entries: the loss is a sum of one term for every entry, so each is minimised by itself. It is what
  was observed, exactly, unless observations of it differ or are labels; then it is the minimum of
  ``Problem`` on a column of ones.
- Measurements: that of ``Problem`` on the rows vec(A_e), with its proof. The matrix of least
  nuclear norm has the predictions m of that minimiser, m_0, but for rounding errors. For convex l
  and an error e of m_0, :math:`l(x) \ge 2 l(m_0) - \max(l(m_0 - e), l(m_0 + e))` wherever
  :math:`|x - m_0| \le e`; that, and the largest l(m) within the error of m, bound what the loss has
  gained.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from accel._core.matrix_problems import MatrixCompletion, MatrixFactorization, MatrixProblem
from accel._core.matrix_sensing import MatrixSensing
from accel._core.problem import Problem
from accel._optimum.certificate import Rows
from accel._optimum.nuclear import Entries, Measurements, MinimumNuclearNorm, least, require
from accel._optimum.optimum import STATUSES, Optimum, for_proofs, losses_at_zero, proven
from accel._optimum.rank import checked_rcond
from accel._optimum.twofold import EPS
from accel._support import memory, validation
from accel._support.arrays import Array
from accel._support.backends import resolve
from accel.kernels.reference.losses import value_and_slope
from accel.kernels.reference.norms import norm
from accel.kernels.specs import MARGIN_KINDS, Loss

__all__ = ["matrix_optimum"]

_NORM_TOL, _NORM_ITERATIONS = 1e-6, 5000  # of the nuclear norm: the defaults of its own function
_NOISE = 64 * EPS  # times sqrt(n) and what was measured: smaller residuals are rounding errors


def matrix_optimum(
    problem: MatrixProblem, tol: float, max_iter: int, backend: str, rcond: Any
) -> Optimum:
    """The part of ``optimum`` for problems that have no X and Y."""
    tol = validation.real("tol", tol, above=0)
    max_iter = validation.integer("max_iter", max_iter, least=1)
    resolve(backend)
    checked_rcond(rcond, problem.k * problem.d, problem.dtype)
    require(problem)
    if isinstance(problem, MatrixSensing):
        return _of_measurements(problem, tol, max_iter, backend, rcond)
    return _of_entries(problem, tol, max_iter)


def _observed(problem: MatrixProblem) -> tuple[Array, Array]:
    """Places of the observations, counted row by row, and their values in float64."""
    if isinstance(problem, MatrixFactorization):
        return np.arange(problem.n), problem.M.reshape(-1).astype(np.float64)
    assert isinstance(problem, MatrixCompletion)
    places = problem.places[:, 0] * problem.d + problem.places[:, 1]
    return places, problem.values[:, 0].astype(np.float64)


def _of_entries(problem: MatrixProblem, tol: float, max_iter: int) -> Optimum:
    """The optimum of entries that were observed."""
    n, loss, shape = problem.n, problem.loss_function, (problem.k, problem.d)
    flat, values = _observed(problem)
    places, first, inverse, counts = np.unique(
        flat, return_index=True, return_inverse=True, return_counts=True
    )
    ordered, starts = values[np.argsort(inverse, kind="stable")], np.cumsum(counts) - counts
    w = np.minimum.reduceat(ordered, starts)
    if problem.spec.kind in MARGIN_KINDS:  # as many labels of each kind have one minimum
        positive = np.add.reduceat(ordered > 0, starts, dtype=np.int64)
        _, chosen, like = np.unique(counts * (n + 1) + positive, True, True)
    else:
        chosen = np.flatnonzero(w != np.maximum.reduceat(ordered, starts))
        like = np.full(len(w), -1)
        like[chosen] = np.arange(len(chosen))
    found = []
    for start, count in zip(starts[chosen], counts[chosen], strict=True):
        several = Problem(np.ones((count, 1)), ordered[start : start + count], loss)
        found.append(proven(several, tol, max_iter, "reference", None)[0])
    fitted = like >= 0
    which = like[fitted]
    w[fitted] = np.array([best.W[0, 0] for best in found])[which] if found else 0.0
    share = counts[fitted] / n
    shares, squares = (np.bincount(which, share**q, len(found)) for q in (1, 2))
    roots = np.sqrt(squares)
    parts = list(zip(shares, found, strict=True))
    total = math.fsum(part * best.loss for part, best in parts)
    nuclear = least(Entries(shape, places, first, w), n, _NORM_TOL, _NORM_ITERATIONS)
    nuclear.W.ravel()[places] = w  # to the bit, so that the loss is that of w
    sizes = np.zeros(min(n, nuclear.W.size))
    sizes[: len(places)] = np.sqrt(np.sort(counts)[::-1])
    status = _status([best.status for best in found], nuclear)
    return Optimum(
        W=nuclear.W,
        loss=total,
        gradient_norm=math.hypot(
            *(a * best.gradient_norm for a, best in zip(roots, found, strict=True))
        ),
        newton_decrement=math.sqrt(sum(part * best.newton_decrement**2 for part, best in parts)),
        duality_gap=math.fsum(part * best.duality_gap for part, best in parts) + 8 * EPS * total,
        iterations=sum(best.iterations for best in found),
        converged=status == "optimal",
        rank=len(places),
        singular_values=sizes,
        doubtful=0,
        status=status,
        nuclear=nuclear,
    )


def _of_measurements(
    problem: MatrixSensing, tol: float, max_iter: int, backend: str, rcond: Any
) -> Optimum:
    """The optimum of linear measurements."""
    n, size = problem.n, problem.k * problem.d
    flat = Problem(problem.rows, problem.values, problem.loss_function)
    best = proven(flat, tol, max_iter, backend, rcond)[0]
    memory.require("the singular vectors of the measurements", {"them": 40.0 * min(n, size) * size})
    A, w = problem.rows.astype(np.float64, copy=False), best.W[0]
    U, sigma, Vt = np.linalg.svd(A, full_matrices=False)
    rank = int(np.sum(sigma > max(n, size) * EPS * sigma[0]))
    basis = Vt[:rank]
    seen = Measurements((problem.k, problem.d), basis, basis @ w)
    nuclear = least(seen, rank, _NORM_TOL, _NORM_ITERATIONS)
    coefficients = U[:, :rank] @ (nuclear.multipliers / sigma[:rank])
    W = w.reshape(problem.k, problem.d) if rank == size else nuclear.W
    nuclear = replace(nuclear, W=W, multipliers=coefficients)
    spec, lp = problem.spec, problem.spec.kind == "lp"
    rows = Rows(A, problem.values[:, 0].astype(np.float64), backend=for_proofs(backend, A.size, 2))
    loss, gained, slopes = _compared(spec, rows, w, W.reshape(-1))
    gap = best.duality_gap + gained
    converged = best.status
    if best.status == "optimal" and gained > tol * _reference(flat, W, loss):
        converged = "stalled"
    status = _status([converged], nuclear)
    return replace(
        best,
        W=W,
        loss=loss,
        gradient_norm=spec.factor / n * (spec.p if lp else 1.0) * norm(slopes @ A),
        duality_gap=gap,
        converged=status == "optimal",
        status=status,
        nuclear=nuclear,
    )


def _compared(spec: Loss, rows: Rows, before: Array, after: Array) -> tuple[float, float, Array]:
    """The loss after a change of W, at most how much it has gained, and the slopes after it."""
    n, labels = len(rows.y), np.zeros(len(rows.y))
    if spec.kind in MARGIN_KINDS:
        labels, rows = rows.y, replace(rows, y=labels)

    def values(m: Array) -> Array:
        return value_and_slope(spec, m, labels)[0]

    (m0, e0), (m, e) = rows.residual(before), rows.residual(after)
    most, least_of = (
        np.maximum(values(a - error), values(a + error)) for a, error in ((m, e), (m0, e0))
    )
    c = spec.factor / n
    gained = float(np.sum(most - 2 * values(m0) + least_of))
    rounding = (32 + 4 * spec.p) * EPS * float(np.sum(most + 2 * least_of))
    value, slopes = value_and_slope(spec, m, labels)
    same = np.array_equal(before, after)
    return c * math.fsum(value), 0.0 if same else c * max(gained + rounding, 0.0), slopes


def _reference(flat: Problem, W: Array, loss: float) -> float:
    """What a gap is compared with: the loss, or that at 0 if residuals are rounding errors."""
    if flat.spec.kind in MARGIN_KINDS:
        return loss
    y = flat.Y[:, 0].astype(np.float64)
    wrong = np.abs(flat.X @ W.reshape(-1) - y).max()
    noise = _NOISE * math.sqrt(len(y)) * np.abs(y).max()
    return float(losses_at_zero(flat).sum()) if wrong <= noise else loss


def _status(of_loss: list[str], nuclear: MinimumNuclearNorm) -> str:
    """The worst of them, and of the search for the least norm."""
    ended = {*of_loss, "optimal" if nuclear.converged else "max_iter"}
    return next((each for each in STATUSES if each in ended), "optimal")
