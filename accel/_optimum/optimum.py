"""The reference optimum of an l_p problem, with a proof of how good it is."""

import logging
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from accel._core.problem import LpProblem, local_problem
from accel._optimum.basis import decompose
from accel._optimum.certificate import Basis, Rows, capped_loss, gap_at, trimmed_median
from accel._optimum.newton import Search, minimize
from accel._optimum.rank import checked_rcond
from accel._optimum.twofold import EPS
from accel._support import arrays, memory, validation
from accel._support.arrays import Array, aligned
from accel._support.backends import resolve
from accel.kernels.reference.norms import norm
from accel.kernels.specs import Loss

__all__ = ["Optimum", "optimum"]

_log = logging.getLogger("accel")

_ROUNDING = 64 * EPS  # times sqrt(n) and the targets: residuals below it are rounding errors
# The relative gap to reach at p = 1, where a vertex that is the minimum has all digits.
_VERTEX = 1e-13
_PROGRESS = 0.5  # rounds go on while each reduces the gap to this part of the last one
_WORTH = 2**16  # numbers in X from which twofold products are worth the 0.4 s that Numba loads
_LARGE = 64 * 2**20  # bytes: larger arrays are mentioned in the log


@dataclass(frozen=True, eq=False)
class Optimum:
    """A minimiser of the loss, and how far from the minimum it can be at most.

    Attributes
    ----------
    W : (k, d) float64 array
        Among all maps with the same predictions the one of least norm. If ``rcond`` decided that
        combinations of columns are rounding errors, in that norm the weights of each column are
        multiplied by the size of its errors.
    loss : float
        At W, in float64 whatever the dtype of the problem.
    gradient_norm : float
        Frobenius norm of the gradient at W. For p = 1 that of a subgradient (0 where r = 0), which
        need not vanish at the optimum.
    newton_decrement : float
        Root of ``g' H^{-1} g`` at the last Newton step, summed over the outputs; half its square
        estimates the distance from the minimum (of the smoothed loss for p < 2).
    duality_gap : float
        A proven bound: ``loss - minimum <= duality_gap`` in exact arithmetic, both for the exact
        loss at W and for ``loss``. It includes all rounding errors, also that of W to float64 and
        that of ``loss``, some 1e-15 of the loss. The minimum is taken over all maps that differ
        from W by a map in the row space of X without the combinations that count as 0.
    iterations : int
        Newton steps computed, over all outputs.
    converged : bool
        Whether the proven distance of W from the minimum met the tolerance for every output.
    rank : int
        Of X. Combinations of its columns that count as 0 by ``rcond`` are not used: loss, gap and
        W are those of the problem without them.
    singular_values : (min(n, d),) float64 array
        Of X, every column divided by its largest absolute value.
    doubtful : int
        How many combinations of columns are within a factor of ten of the limit below which they
        count as 0: so many might be added to the rank, or taken from it, by errors of X.
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


class _Output(NamedTuple):
    """The optimum of one output.

    Attributes
    ----------
    w : (d,) array
    loss, gap : float
        In the units of the problem, with its factor f/n.
    reference : float
        The loss that the gap is compared with, likewise.
    decrement : float
        The square of Newton's decrement.
    iterations : int
    slopes : (n,) array
        The v that prove the gap, for residuals divided by the largest.
    """

    w: Array
    loss: float
    gap: float
    reference: float
    decrement: float
    iterations: int
    slopes: Array


def _reference_loss(size: Array, y: Array, p: float, rank: int, unit: float) -> float:
    """The loss, as a sum, that a gap is compared with, all divided by ``unit^p``.

    That of the residuals, of sizes (n,) divided by ``unit``; or that of the targets y, the loss at
    W = 0, if the residuals (for p < 2 most of them) are rounding errors of the targets.
    """
    noise, targets = _ROUNDING * math.sqrt(len(y)), np.abs(y) / unit
    if p < 2:
        fits = trimmed_median(size, rank) <= noise * trimmed_median(targets, 0)
    else:
        fits = float(size.max()) <= noise * float(targets.max())
    return capped_loss(targets, p, 0) if fits else capped_loss(size, p, rank)


def _solve(
    X: Array, y: Array, basis: Basis, loss: Loss, stop: tuple[float, int], backend: str
) -> _Output:
    """Minimise the loss of one output in rounds, as long as they reduce the gap.

    Each round begins at the point of the last one, whose residuals, computed with twice the digits,
    are its targets. ``stop`` is the tolerance and the largest number of Newton steps.
    """
    A, T, p = basis.A, basis.T, loss.p
    rows = Rows(X, y, backend=for_proofs(backend, X.size, p))
    (tol, max_iter), (n, rank) = stop, A.shape
    w = np.zeros(X.shape[1])
    for _ in range(2):  # the second time removes rounding errors of the first
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
            return _reference_loss(size, y, p, rank, unit)

        search = Search(A, target, p, in_units)
        minimize(search, tol / 2, max_iter - iterations, hessian, again=best is not None)
        iterations += search.iterations
        w = w + T @ (unit * search.z)
        top = float(np.abs(search.r).max()) or 1.0
        bound = gap_at(rows, w, basis, p, search.slopes / top ** (p - 1))
        scale, c = bound.unit**p, loss.factor / n
        output = _Output(
            w=w,
            loss=c * scale * bound.loss,
            gap=c * scale * bound.gap,
            reference=c * _reference_loss(np.abs(bound.r), y, p, rank, 1.0),
            decrement=loss.factor * search.decrement**2 * unit**p,
            iterations=iterations,
            slopes=search.slopes / top ** (p - 1),
        )
        if best is not None and output.gap > _PROGRESS * best.gap:
            return (best if best.gap <= output.gap else output)._replace(iterations=iterations)
        best, r = output, bound.r
        done = best.gap <= enough * best.reference or math.isinf(best.gap)
        if done or iterations >= max_iter:
            return best


def for_proofs(backend: str, size: int, p: float) -> str:
    """Whose twofold products to use for X of this size, where the user asks for ``backend``."""
    return "reference" if backend == "auto" and size < _WORTH and p <= 2 else backend


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
    """The quantities that the bound of an optimum was computed from.

    Attributes
    ----------
    T : (d, rank) array
        ``X T`` has nearly orthonormal columns, which span the column space of X.
    slopes : (k, n) array
        Of each output, the v of ``certificate.py``, for residuals divided by the largest.
    R : (min(n, d), d) array
        Of a QR decomposition of X: ``R'R = X'X``.
    """

    T: Array
    slopes: Array
    R: Array


def rounding(p: float) -> float:
    """A bound of the relative rounding error of a loss that is summed in float64."""
    return (8 + 2 * p) * EPS


def proven(
    problem: LpProblem, tol: float, max_iter: int, backend: str, rcond: Any
) -> tuple[Optimum, Proof]:
    """Like ``optimum``, for which this does the work; return the proof as well."""
    local_problem(problem)
    tol = validation.real("tol", tol, above=0)
    max_iter = validation.integer("max_iter", max_iter, least=1)
    resolve(backend)
    rcond = checked_rcond(rcond, problem.d, problem.dtype)
    n, d, rank = problem.n, problem.d, min(problem.n, problem.d)
    copies = 13 + 8 * (problem.dtype != np.float64) + 8 * (problem.p < 2)
    needs = {"a basis of the columns": copies * n * d, "Newton's method": 64 * rank * rank}
    memory.require("the optimum", needs)
    p, c = problem.p, problem.factor / n
    losses_at_zero(problem)  # raises if one overflows
    X, Y = (a.astype(np.float64, copy=False) for a in (problem.host.X, problem.host.Y))
    if X.nbytes > _LARGE:
        _log.info("the optimum needs %.0f MiB for a basis of the columns", 2 * X.nbytes / 2**20)
    values, basis, doubtful, R = decompose(X, rcond)
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
        converged=all(output.gap <= tol * output.reference for output in outputs),
        rank=basis.T.shape[1],
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
        All is computed in float64 whatever its dtype, with memory for two to four copies of X.
    tol : float
        The duality gap to reach, relative to the loss. Where all residuals are below 1.4e-14
        sqrt(n) of the largest target, they count as rounding errors, since the minimum may be 0,
        and tol is relative to the loss at W = 0. For p < 2, where the fit hardly depends on rows
        far away, residuals are cut to ten times their median in the loss that the gap is compared
        with, and medians decide what rounding errors are. Where rounding W to float64 alone costs
        more than tol, as for targets of 1e12 with residuals of 1, tol is not reached.
    max_iter : int
        Newton steps for each output.
    backend : {"auto", "cpu", "cuda", "reference"}
        Whose Hessian kernel, for p > 2, and products with twice the digits to use; ``"auto"`` is
        ``"cpu"``, or NumPy where loading Numba is not worth it. NumPy computes the rest on the
        host, above all a basis of the columns of X; data on a GPU is copied there.
    rcond : float or (d,) array_like, optional
        How large the rounding errors in the entries of X are, relative to the root mean square of
        their column; 1e-12 by default, 4.8e-7 in float32. A combination ``X v`` of columns counts
        as 0 if it may consist of rounding errors:
        :math:`|X v| \le \sum_j |v_j| \, \mathrm{rcond}_j |x_j|`, v being a right singular vector of
        X with columns scaled to the same rounding errors. What is below ``max(n, d) * 2.2e-16`` of
        the largest singular value of X with columns scaled to the same size, the error of the
        decomposition, counts as 0 in any case. Give one number a column where columns differ, for
        example because large means were subtracted.

    Returns
    -------
    Optimum

    Raises
    ------
    TypeError, ValueError
        If problem is none, if tol is not above 0 or max_iter not at least 1, if the backend is
        unknown, if rcond is negative or no number, or if y is so large that the loss overflows.
    MemoryError
        If the machine has no memory for the basis.

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
