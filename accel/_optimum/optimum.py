"""The reference optimum of an l_p problem, with a proof of how good it is."""

import logging
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from accel._core.problem import LpProblem, local_problem
from accel._optimum.certificate import Basis, Rows, bulk, counted, gap_at
from accel._optimum.newton import Search, minimize
from accel._optimum.rank import Rank, checked_rcond, decide
from accel._optimum.twofold import EPS
from accel._support import arrays, memory, validation
from accel._support.arrays import Array, aligned
from accel._support.backends import resolve
from accel.kernels.reference.norms import norm
from accel.kernels.specs import Loss

__all__ = ["Optimum", "optimum"]

_log = logging.getLogger("accel")

_ROUNDING = 64 * EPS  # relative to the targets, over sqrt(n): residuals that are rounding errors
_VERTEX = 1e-13  # relative gap at p = 1, where the minimum is known to all digits once it is found
_PROGRESS = 0.5  # of a round, in the gap
_LARGE = 64 * 2**20  # bytes: memory above this is worth a word in the log


@dataclass(frozen=True, eq=False)
class Optimum:
    """A minimiser of the loss, and how far from the minimum it can be at most.

    Attributes
    ----------
    W : (k, d) float64 array
        Of least norm among the maps with the same predictions; if combinations of columns count as
        rounding errors, with the weight of each column times those of the column.
    loss : float
        At W, in float64 whatever the dtype of the problem.
    gradient_norm : float
        Frobenius norm of the gradient at W. For p = 1 that of a subgradient (0 where r = 0), which
        need not vanish at the optimum.
    newton_decrement : float
        Root of ``g' H^{-1} g`` at the last Newton step, summed over the outputs; half its square
        estimates the distance from the minimum (of the smoothed loss for p < 2).
    duality_gap : float
        A proof: ``loss - minimum <= duality_gap`` in exact arithmetic, for the loss at W and for
        ``loss``. All rounding is part of it, also that of W to float64 and of ``loss``, some 1e-15
        of the loss. The minimum is that over all maps that differ from W by one in the row space
        of X, as its rank is found.
    iterations : int
        Newton steps computed, over all outputs.
    converged : bool
        Whether the proven distance of W from the minimum met the tolerance for every output.
    rank : int
        Of X; combinations of its columns that count as 0, by ``rcond``, are not used: loss, gap
        and W are about the maps without them.
    singular_values : (min(n, d),) float64 array
        Of X, every column divided by its largest absolute value.
    doubtful : int
        How many of them are within a factor of ten of the limit that decides about the rank.
    """

    W: Array
    loss: float
    gradient_norm: float
    newton_decrement: float
    duality_gap: float
    iterations: int
    converged: bool
    rank: int
    singular_values: Array
    doubtful: int


def _decompose(X: Array, rcond: float | Array) -> tuple[Array, Rank, Array]:
    """Singular values of X, its columns scaled to one size; what is used, S and M (d, rank); and R.

    The columns of ``X M / S`` are orthonormal, and ``w = M (z / S)`` is the vector of least norm
    with that ``X w``, see ``Optimum.W``. ``X = Q R`` with orthonormal columns of Q.
    """
    # With columns of one size: an error of 1e-16 of the largest would drown the small ones.
    scale = np.maximum(X.max(axis=0), -X.min(axis=0))
    nothing = scale == 0
    scale[nothing] = 1.0
    R = np.linalg.qr(X / scale, mode="r")  # without the left vectors it takes half the time
    _, S, Vt = np.linalg.svd(R, full_matrices=False)
    used = decide(S, Vt, scale, len(X), rcond)
    used.M[nothing] = 0.0  # but for rounding errors of LAPACK they were
    return S, used, R * scale


class _Output(NamedTuple):
    """What becomes of one output.

    The loss, its gap and what the gap is compared with are in the units of the problem, the
    decrement is squared, and the slopes are those of residuals divided by the largest.
    """

    w: Array
    loss: float
    gap: float
    counted: float
    decrement: float
    iterations: int
    slopes: Array


def _counted(size: Array, y: Array, p: float, rank: int, unit: float) -> float:
    """What a gap is compared with, for residuals of these sizes, all divided by ``unit``.

    The loss; that at W = 0 where the residuals, for p < 2 most of them, are rounding errors.
    """
    noise, targets = _ROUNDING * math.sqrt(len(y)), np.abs(y) / unit
    if p < 2:
        fits = bulk(size, rank) <= noise * bulk(targets, 0)
    else:
        fits = float(size.max()) <= noise * float(targets.max())
    return counted(targets, p, 0) if fits else counted(size, p, rank)


def _solve(
    X: Array, y: Array, basis: Basis, loss: Loss, stop: tuple[float, int], backend: str
) -> _Output:
    """Search in rounds: each begins where the last one ended, with exact residuals as targets."""
    A, T, p, rows = basis.A, basis.T, loss.p, Rows(X, y)
    (tol, max_iter), (n, rank) = stop, A.shape
    w = np.zeros(X.shape[1])
    for _ in range(2):  # once more: the first product has rounding errors
        w += T @ (A.T @ (y - X @ w))
    r, iterations, best = X @ w - y, 0, None
    enough = tol if p > 1 else min(tol, _VERTEX)
    while True:
        unit = float(np.abs(r).max()) or 1.0
        target = aligned(-r / unit)

        def hessian(z: Array, target: Array = target) -> Array:
            kernel = resolve(backend).lp_loss.hessian
            H: Array = arrays.to_host(kernel(A, target, z, loss._replace(factor=1.0)))
            return H

        def in_units(size: Array, unit: float = unit) -> float:
            return _counted(size, y, p, rank, unit)

        search = Search(A, target, p, in_units)
        minimize(search, tol / 2, max_iter - iterations, hessian, again=best is not None)
        iterations += search.iterations
        w = w + T @ (unit * search.z)
        top = float(np.abs(search.r).max()) or 1.0
        found = gap_at(rows, w, basis, p, search.slopes / top ** (p - 1))
        scale, c = found.unit**p, loss.factor / n
        output = _Output(
            w=w,
            loss=c * scale * found.loss,
            gap=c * scale * found.gap,
            counted=c * _counted(np.abs(found.r), y, p, rank, 1.0),
            decrement=loss.factor * search.decrement**2 * unit**p,
            iterations=iterations,
            slopes=search.slopes / top ** (p - 1),
        )
        if best is not None and output.gap > _PROGRESS * best.gap:
            return (best if best.gap <= output.gap else output)._replace(iterations=iterations)
        best, r = output, found.r
        done = best.gap <= enough * best.counted or math.isinf(best.gap)
        if done or iterations >= max_iter:
            return best


def losses_at_zero(problem: LpProblem) -> Array:
    """Return the loss of every output at W = 0, in float64.

    Raises
    ------
    ValueError
        If one overflows.
    """
    Y, c = problem.host.Y.astype(np.float64, copy=False), problem.factor / problem.n
    with np.errstate(over="ignore"):
        losses: Array = c * np.sum(np.abs(Y.T) ** problem.p, axis=1)
    if not np.all(np.isfinite(losses)):
        raise ValueError(f"the loss at W = 0 overflows for p = {problem.p:g}: standardize y first")
    return losses


class Proof(NamedTuple):
    """What proves an optimum: a basis ``X T`` of all maps, T (d, rank), and slopes (k, n).

    And an R (min(n, d), d) with the ``R'R = X'X`` of a QR decomposition.
    """

    T: Array
    slopes: Array
    R: Array


def rounding(p: float) -> float:
    """Relative rounding error of a loss summed with the digits of float64."""
    return (8 + 2 * p) * EPS


def proven(
    problem: LpProblem, tol: float, max_iter: int, backend: str, rcond: Any
) -> tuple[Optimum, Proof]:
    """``optimum``, which see, with its proof."""
    local_problem(problem)
    tol = validation.real("tol", tol, above=0)
    max_iter = validation.integer("max_iter", max_iter, least=1)
    resolve(backend)
    rcond = checked_rcond(rcond, problem.d, problem.dtype)
    n, d, rank = problem.n, problem.d, min(problem.n, problem.d)
    memory.require("the optimum", {"copies of X": 32 * n * d, "Newton's method": 64 * rank * rank})
    p, c = problem.p, problem.factor / n
    losses_at_zero(problem)  # refused if one overflows
    X, Y = (a.astype(np.float64, copy=False) for a in (problem.host.X, problem.host.Y))
    if X.nbytes > _LARGE:
        _log.info("the optimum needs %.0f MiB for singular vectors", 2 * X.nbytes / 2**20)
    values, (sizes, M, doubtful), R = _decompose(X, rcond)
    basis = Basis.of(X, M / sizes)
    outputs = [_solve(X, y, basis, problem.spec, (tol, max_iter), backend) for y in Y.T]
    W = np.array([output.w for output in outputs])
    residuals = W @ X.T - Y.T
    gradient = c * p * (np.sign(residuals) * np.abs(residuals) ** (p - 1)) @ X
    loss = math.fsum(output.loss for output in outputs)
    best = Optimum(
        W=W,
        loss=loss,
        gradient_norm=norm(gradient),
        newton_decrement=math.sqrt(sum(output.decrement for output in outputs)),
        duality_gap=math.fsum(output.gap for output in outputs) + rounding(p) * loss,
        iterations=sum(output.iterations for output in outputs),
        converged=all(output.gap <= tol * output.counted for output in outputs),
        rank=len(sizes),
        singular_values=values,
        doubtful=doubtful,
    )
    return best, Proof(basis.T, np.array([output.slopes for output in outputs]), R)


def optimum(
    problem: LpProblem,
    *,
    tol: float = 1e-10,
    max_iter: int = 200,
    backend: str = "auto",
    rcond: Any = None,
) -> Optimum:
    r"""Minimise the loss of a problem over all linear maps, up to a proven distance.

    Parameters
    ----------
    problem : LpProblem
        Computed with in float64 whatever its dtype; memory for about three copies of X is needed.
    tol : float
        The duality gap to reach, relative to the loss; relative to the loss at W = 0 where all
        residuals are taken for rounding errors, below 1.4e-14 sqrt(n) of the largest target: the
        minimum may be 0 then. For p < 2, where the fit hardly depends on rows far away, a residual
        counts to at most ten times the median one in the loss that the gap is compared with (and
        medians decide about rounding errors). Where rounding W to float64 costs more than that, as
        for targets of 1e12 with residuals of 1, it is not reached.
    max_iter : int
        Newton steps for each output.
    backend : {"auto", "cpu", "cuda", "reference"}
        Whose Hessian kernel to use for p > 2; ``"auto"`` is ``"cpu"``. All the rest, above all the
        singular value decomposition, NumPy computes on the host, where data on a GPU is copied.
    rcond : float or (d,) array_like, optional
        How large the rounding errors in the entries of X are, relative to the root mean square of
        their column; 1e-12 by default, 4.8e-7 in float32. A combination ``X v`` of columns counts
        as 0 if that may be all that it is:
        :math:`|X v| \le \sum_j |v_j| \, \mathrm{rcond}_j |x_j|`, v a right singular vector of X
        with columns scaled to the same rounding errors. So does always what is below
        ``max(n, d) * 2.2e-16`` of the largest singular value of X with columns scaled to the same
        size, the error of the decomposition. Give more than one where columns differ, say because
        large means were subtracted.

    Returns
    -------
    Optimum

    Raises
    ------
    TypeError, ValueError
        If problem is none, if tol is not above 0 or max_iter not at least 1, if the backend is
        unknown, if rcond is negative or no number, or if y is so large that the loss overflows.
    MemoryError
        If the machine has no memory for the singular vectors.

    References
    ----------
    Boyd and Vandenberghe (2004), "Convex Optimization", sections 5.1.6 and 9.5.

    Examples
    --------
    >>> import accel
    >>> best = accel.optimum(accel.LpProblem([[1.0], [1.0], [1.0]], [0.0, 0.0, 3.0], p=2))
    >>> best.W, best.loss
    (array([[1.]]), 2.0)
    """
    return proven(problem, tol, max_iter, backend, rcond)[0]
