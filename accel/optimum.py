"""The reference optimum of an l_p problem, with a proof of how good it is."""

import logging
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from accel import arrays, memory, validation
from accel.backends import resolve
from accel.kernels.reference.norms import norm
from accel.kernels.specs import Loss
from accel.layout import aligned
from accel.newton import SUM_ERROR, Search, minimize
from accel.problem import LpProblem, checked_problem
from accel.rank import checked_rcond, decide
from accel.validation import Array

__all__ = ["Optimum", "optimum"]

_log = logging.getLogger("accel")

_EPS = float(np.finfo(np.float64).eps)
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
        A proof: ``loss - minimum <= duality_gap``, up to the rounding errors of the singular value
        decomposition: 1e-16 times the condition number of X, its columns scaled to the same size.
    iterations : int
        Newton steps computed, over all outputs.
    converged : bool
        Whether the gap met the tolerance for every output.
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


class _Basis(NamedTuple):
    """U (n, rank) and S of a singular value decomposition of X, and M (d, rank).

    ``w = M (z / S)`` is the vector of least norm with ``X w = U z``, see ``Optimum.W``.
    """

    U: Array
    S: Array
    M: Array


class _Spectrum(NamedTuple):
    """The singular values of X, scaled by column, and how many decide narrowly about the rank."""

    values: Array
    doubtful: int


def _decompose(X: Array, rcond: float | Array) -> tuple[_Basis, _Spectrum]:
    # With columns of one size: an error of 1e-16 of the largest would drown the small ones.
    scale = np.maximum(X.max(axis=0), -X.min(axis=0))
    scale[scale == 0] = 1.0
    U, S, Vt = np.linalg.svd(X / scale, full_matrices=False)
    left, sizes, M, doubtful = decide(S, Vt, scale, len(X), rcond)
    return _Basis(aligned(U if left is None else U @ left), sizes, M), _Spectrum(S, doubtful)


class _Output(NamedTuple):
    """What becomes of one output: no map has a loss below ``bound``; the decrement is squared."""

    w: Array
    bound: float
    decrement: float
    iterations: int
    interpolated: bool


def _solve(
    X: Array, y: Array, basis: _Basis, loss: Loss, stop: tuple[float, int], backend: str
) -> _Output:
    U, S, M = basis
    tol, max_iter = stop
    z = U.T @ y
    z += U.T @ (y - U @ z)  # once more: the first product has rounding errors
    left = y - U @ z
    unit = float(np.abs(left).max())
    interpolated = unit <= 64 * _EPS * math.sqrt(len(y)) * float(np.abs(y).max())
    bound, decrement, iterations = 0.0, 0.0, 0
    if not interpolated:
        target = aligned(left / unit)

        def hessian(z: Array) -> Array:
            kernel = resolve(backend).lp_loss.hessian
            H: Array = arrays.to_host(kernel(U, target, z, loss._replace(factor=1.0)))
            return H

        search = Search(U, target, loss.p)
        minimize(search, tol / 2, max_iter, hessian)
        z += unit * search.z
        scale = loss.factor * unit**loss.p
        bound = scale * search.bound * (1 - loss.p * SUM_ERROR)
        decrement, iterations = scale * search.decrement**2, search.iterations
    w = M @ (z / S)
    w += M @ ((z - U.T @ (X @ w)) / S)  # one refinement: S spans many decades
    return _Output(w, bound, decrement, iterations, interpolated)


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
        The duality gap to reach, relative to the loss; relative to the loss at W = 0 where the data
        can be interpolated and the minimum is 0.
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
    checked_problem(problem)
    tol = validation.real("tol", tol, above=0)
    max_iter = validation.integer("max_iter", max_iter, least=1)
    resolve(backend)
    rcond = checked_rcond(rcond, problem.d, problem.dtype)
    n, d, rank = problem.n, problem.d, min(problem.n, problem.d)
    memory.require("the optimum", {"copies of X": 32 * n * d, "Newton's method": 64 * rank * rank})
    p, c, at_zero = problem.p, problem.factor / n, losses_at_zero(problem)
    X, Y = (a.astype(np.float64, copy=False) for a in (problem.host.X, problem.host.Y))
    if X.nbytes > _LARGE:
        _log.info("the optimum needs %.0f MiB for singular vectors", 2 * X.nbytes / 2**20)
    basis, spectrum = _decompose(X, rcond)
    outputs = [_solve(X, y, basis, problem.spec, (tol, max_iter), backend) for y in Y.T]
    W = np.array([output.w for output in outputs])
    residuals = W @ X.T - Y.T
    size = np.abs(residuals)
    losses = c * np.sum(size**p, axis=1)
    gaps = losses * (1 + SUM_ERROR) - np.array([output.bound for output in outputs])
    interpolated = np.array([output.interpolated for output in outputs])
    gradient = c * p * (np.sign(residuals) * size ** (p - 1)) @ X
    return Optimum(
        W=W,
        loss=float(np.sum(losses)),
        gradient_norm=norm(gradient),
        newton_decrement=math.sqrt(sum(output.decrement for output in outputs)),
        duality_gap=float(np.sum(np.maximum(gaps, 0.0))),
        iterations=sum(output.iterations for output in outputs),
        converged=bool(np.all(gaps <= tol * np.where(interpolated, at_zero, losses))),
        rank=len(basis.S),
        singular_values=spectrum.values,
        doubtful=spectrum.doubtful,
    )
