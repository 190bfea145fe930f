"""The reference optimum of an l_p problem, with a proof of how good it is."""

import logging
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from accel import arrays, memory, validation
from accel.backends import resolve
from accel.kernels.reference.norms import norm
from accel.kernels.specs import Loss
from accel.layout import aligned
from accel.certificate import Basis, basis_of, bulk, counted, gap_at
from accel.newton import Search, minimize
from accel.problem import LpProblem, checked_problem
from accel.twofold import EPS
from accel.validation import Array

__all__ = ["Optimum", "optimum"]

_log = logging.getLogger("accel")

_ROUNDING = 64 * EPS
_LARGE = 64 * 2**20  # bytes: memory above this is worth a word in the log


@dataclass(frozen=True, eq=False)
class Optimum:
    """A minimiser of the loss, and how far from the minimum it can be at most.

    Attributes
    ----------
    W : (k, d) float64 array
        Of least norm among the maps with the same predictions.
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
    """

    W: Array
    loss: float
    gradient_norm: float
    newton_decrement: float
    duality_gap: float
    iterations: int
    converged: bool


class _Basis(NamedTuple):
    """A basis ``A = X T``, and the singular values S of X, its columns scaled to one size."""

    basis: Basis
    S: Array


def _decompose(X: Array) -> _Basis:
    # With columns of one size: an error of 1e-16 of the largest would drown the small ones.
    scale = np.maximum(X.max(axis=0), -X.min(axis=0))
    scale[scale == 0] = 1.0
    R = np.linalg.qr(X / scale, mode="r")
    S, Vt = np.linalg.svd(R, full_matrices=False)[1:]
    negligible = max(X.shape) * EPS * S[0]
    rank = int(np.count_nonzero(negligible < S))
    S, V, column = S[:rank], Vt[:rank].T, scale[:, np.newaxis]
    M = V / column
    if rank < X.shape[1]:
        rows = np.linalg.qr(V * column)[0]  # a basis of the row space of X
        M = rows @ (rows.T @ M)
    T = M / S
    condition = float(np.linalg.norm(S) * np.linalg.norm(column * T))
    return _Basis(basis_of(aligned(X @ T), T, condition), S)


class _Output(NamedTuple):
    """What becomes of one output; the decrement is squared, ``enough`` what tol is relative to."""

    w: Array
    loss: float
    gap: float
    enough: float
    decrement: float
    iterations: int


def _solve(
    X: Array, y: Array, basis: Basis, loss: Loss, stop: tuple[float, int], backend: str
) -> _Output:
    A, T, p = basis.A, basis.T, loss.p
    (tol, max_iter), (n, rank) = stop, A.shape

    def enough(size: Array, unit: float) -> float:
        """What the gap is compared with, by sizes of residuals, both in this unit."""
        least = _ROUNDING * math.sqrt(n) / unit
        if p < 2:
            fits = bulk(size, rank) <= least * bulk(np.abs(y), 0)
        else:
            fits = float(size.max()) <= least * float(np.abs(y).max())
        return counted(np.abs(y) / unit, p, 0) if fits else counted(size, p, rank)

    w = np.zeros(X.shape[1])
    for _ in range(2):  # once more: the first product has rounding errors
        w += T @ (A.T @ (y - X @ w))
    r = X @ w - y
    unit, iterations, best = float(np.abs(r).max()), 0, None
    unit = unit or 1.0
    while True:
        target = aligned(-r / unit)

        def hessian(z: Array, target: Array = target) -> Array:
            kernel = resolve(backend).lp_loss.hessian
            H: Array = arrays.to_host(kernel(A, target, z, loss._replace(factor=1.0)))
            return H

        search = Search(A, target, p, lambda size, unit=unit: enough(size, unit))
        minimize(search, tol / 2, max_iter - iterations, hessian, 1.5 if best is None else 0.01)
        iterations += search.iterations
        decrement = search.decrement**2 * unit**p
        w = w + T @ (unit * search.z)
        top = float(np.abs(X @ w - y).max()) or 1.0
        found = gap_at(X, y, w, basis, p, search.slopes * (unit / top) ** (p - 1))
        scale = loss.factor / n * found.unit**p
        output = _Output(w, scale*found.loss, scale*found.gap, loss.factor/n * enough(np.abs(found.r), 1.0), loss.factor*decrement, iterations)
        if DEBUG: print('   ', unit, search.iterations, search.gap, search.enough, found[1:], output.gap, output.enough)
        r, unit = found.r, found.unit or 1.0
        if best is not None and output.gap >= best.gap / 2:
            return min(best, output, key=lambda o: o.gap)._replace(iterations=iterations)
        best = output
        if output.gap <= tol * output.enough or iterations >= max_iter:
            return best
DEBUG=0

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
    problem: LpProblem, *, tol: float = 1e-10, max_iter: int = 200, backend: str = "auto"
) -> Optimum:
    """Minimise the loss of a problem over all linear maps, up to a proven distance.

    Parameters
    ----------
    problem : LpProblem
        Computed with in float64 whatever its dtype; memory for about three copies of X is needed.
        With the columns of X scaled to the same size, singular values below
        ``max(n, d) * 2.2e-16`` of the largest count as 0.
    tol : float
        The duality gap to reach, relative to the loss; relative to the loss at W = 0 where the data
        can be interpolated and the minimum is 0.
    max_iter : int
        Newton steps for each output.
    backend : {"auto", "cpu", "cuda", "reference"}
        Whose Hessian kernel to use for p > 2; ``"auto"`` is ``"cpu"``. All the rest, above all the
        singular value decomposition, NumPy computes on the host, where data on a GPU is copied.

    Returns
    -------
    Optimum

    Raises
    ------
    TypeError, ValueError
        If problem is none, if tol is not above 0 or max_iter not at least 1, if the backend is
        unknown, or if y is so large that the loss overflows.
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
    n, d, rank = problem.n, problem.d, min(problem.n, problem.d)
    memory.require("the optimum", {"copies of X": 32 * n * d, "Newton's method": 64 * rank * rank})
    p, c, at_zero = problem.p, problem.factor / n, losses_at_zero(problem)
    X, Y = (a.astype(np.float64, copy=False) for a in (problem.host.X, problem.host.Y))
    if X.nbytes > _LARGE:
        _log.info("the optimum needs %.0f MiB for singular vectors", 2 * X.nbytes / 2**20)
    basis = _decompose(X).basis
    outputs = [_solve(X, y, basis, problem.spec, (tol, max_iter), backend) for y in Y.T]
    global LAST; LAST = outputs
    W = np.array([output.w for output in outputs])
    residuals = W @ X.T - Y.T
    gradient = c * p * (np.sign(residuals) * np.abs(residuals) ** (p - 1)) @ X
    loss = math.fsum(output.loss for output in outputs)
    gap = math.fsum(output.gap for output in outputs)
    return Optimum(
        W=W,
        loss=loss,
        gradient_norm=norm(gradient),
        newton_decrement=math.sqrt(sum(output.decrement for output in outputs)),
        duality_gap=gap + (8 + 2 * p) * EPS * loss,
        iterations=sum(output.iterations for output in outputs),
        converged=all(output.gap <= tol * output.enough for output in outputs),
    )
