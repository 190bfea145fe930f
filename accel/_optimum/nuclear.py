r"""The matrix of least nuclear norm among those that agree with what was seen, and a proof of it.

For linear measurements :math:`\mathcal A(W) = y`, of which observed entries are a kind,

.. math::
    \min_W \|W\|_* \ \text{ subject to } \mathcal A(W) = y
    \qquad = \qquad
    \max_\lambda \langle \lambda, y \rangle \ \text{ subject to } \|\mathcal A^*(\lambda)\|_2 \le 1.

The alternating direction method of multipliers, with penalty :math:`\rho`: singular values of Z - U
are lowered by :math:`1/\rho`; what comes out, over-relaxed, plus U is projected on the constraints,
which gives the next Z, and what the projection took away is the next U. It has the form
:math:`\mathcal A^*(\mu)`, and :math:`\lambda = -\rho \mu` tends to a solution of the dual problem.

The projection of W satisfies the constraints, so its norm is a bound from above; lambda divided by
the largest singular value of :math:`\mathcal A^*(\lambda)`, if that is above 1, gives one from
below.
"""

import logging
from dataclasses import dataclass

import numpy as np

from accel._core.matrix_problems import MatrixCompletion, MatrixProblem
from accel._core.matrix_sensing import MatrixSensing
from accel._support import memory, showing, validation
from accel._support.arrays import Array

__all__ = [
    "Entries",
    "Measurements",
    "MinimumNuclearNorm",
    "least",
    "minimum_nuclear_norm",
    "require",
]

_log = logging.getLogger("accel")

_RELAXED = 1.6  # of 1 to 2
_FIRST = 0.1  # of the largest singular value of the first Z: what 1/rho begins with
_CHECK = 10  # iterations between two looks at the gap
_BALANCE, _UNEVEN, _ADAPTED = 2.0, 3.0, 500  # rho's changes: factor, when, up to which iteration
_AGREES = 1e-8  # relative to the largest value: less is no contradiction of two observations


@dataclass(frozen=True, eq=False)
class MinimumNuclearNorm:
    """A matrix that agrees with what was seen, and how far its norm is from the least.

    Attributes
    ----------
    W : (k, d) float64 array
    nuclear_norm : float
        Of W.
    lower_bound : float
        No matrix that agrees with what was seen has a lower one. Like ``nuclear_norm`` it has
        rounding errors of some 1e-15 of it.
    multipliers : (n,) float64 array
        Those that prove the bound: for entries the values of a matrix that is 0 elsewhere, for
        measurements the coefficients of a sum of them, whose largest singular value is at most 1.
        Its inner product with what was seen is the bound. 0 for observations that repeat others.
    residual : float
        The largest difference of W from what was seen.
    rank : int
        How many singular values the method's last step left; W has about that rank.
    iterations : int
    converged : bool
        Whether the gap met the tolerance.
    """

    W: Array
    nuclear_norm: float
    lower_bound: float
    multipliers: Array
    residual: float
    rank: int
    iterations: int
    converged: bool

    def __repr__(self) -> str:
        return showing.line(
            self,
            W=self.W.shape,
            nuclear_norm=f"{self.nuclear_norm:.6g}",
            gap=f"{self.gap:.2g}",
            rank=self.rank,
            converged=self.converged,
        )

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a table of the main facts."""
        return showing.table(
            {
                "W": self.W.shape,
                "nuclear norm": f"{self.nuclear_norm:.6g}",
                "lower bound": f"{self.lower_bound:.6g}, {self.gap:.3g} below",
                "residual": f"{self.residual:.3g}",
                "rank": self.rank,
                "iterations": self.iterations,
                "converged": self.converged,
            }
        )

    @property
    def gap(self) -> float:
        """``nuclear_norm - lower_bound``: how far the norm can be from the least one."""
        return self.nuclear_norm - self.lower_bound


class Entries:
    """The constraints that some entries of a (k, d) matrix are known, each entry once.

    Attributes
    ----------
    places : (m,) int array
        Of the entries, counted row by row.
    first : (m,) int array
        The first observation of each.
    y : (m,) float64 array
        The entries.
    """

    def __init__(self, shape: tuple[int, int], places: Array, first: Array, y: Array) -> None:
        self.shape, self.places, self.first, self.y = shape, places, first, y

    @classmethod
    def of(cls, problem: MatrixCompletion) -> "Entries":
        """Those that were observed; a ValueError if two observations contradict each other."""
        flat = problem.places[:, 0] * problem.d + problem.places[:, 1]
        values = problem.values[:, 0].astype(np.float64)
        places, first, inverse = np.unique(flat, return_index=True, return_inverse=True)
        y = values[first]
        wrong = np.abs(y[inverse] - values)
        if wrong.max() > _AGREES * np.abs(values).max():
            row, column = problem.places[int(wrong.argmax())]
            raise ValueError(
                "no matrix agrees with all observations: they contradict each other, as at "
                f"row {row}, column {column}"
            )
        return cls((problem.k, problem.d), places, first, y)

    def apply(self, W: Array) -> Array:
        """The entries of W."""
        entries: Array = W.ravel()[self.places]
        return entries

    def adjoint(self, numbers: Array) -> Array:
        """The matrix with these entries, and zeros."""
        W = np.zeros(self.shape)
        W.ravel()[self.places] = numbers
        return W

    def solve(self, numbers: Array) -> Array:
        """The numbers whose adjoint has these entries."""
        return numbers


class Measurements:
    """The constraints that some linear measurements of a (k, d) matrix are known.

    Attributes
    ----------
    A : (m, k d) float64 array
        Linearly independent rows, the measurements.
    first : (m,) int array
        0, 1, 2, ...
    y : (m,) float64 array
        What is measured.

    Raises
    ------
    ValueError
        If the rows are not independent, up to rounding errors of their products.
    """

    def __init__(self, shape: tuple[int, int], A: Array, y: Array, what: object = "them") -> None:
        self.shape, self.y, self._A = shape, y, A
        self.first = np.arange(len(A))
        products = A @ A.T
        independent = len(A) <= A.shape[1]
        if independent:
            values = np.linalg.eigvalsh(products)
            independent = bool(values[0] > len(A) * np.finfo(np.float64).eps * values[-1])
        if not independent:
            raise ValueError(f"the measurements must be linearly independent, got {what!r}")
        self._inverse = np.linalg.inv(products)

    @classmethod
    def of(cls, problem: MatrixSensing) -> "Measurements":
        """Those of a problem."""
        A = problem.rows.astype(np.float64, copy=False)
        return cls((problem.k, problem.d), A, problem.values[:, 0].astype(np.float64), problem)

    def apply(self, W: Array) -> Array:
        """The measurements of W."""
        measured: Array = self._A @ W.ravel()
        return measured

    def adjoint(self, numbers: Array) -> Array:
        """The sum of the matrices of the measurements with these coefficients."""
        combined: Array = (numbers @ self._A).reshape(self.shape)
        return combined

    def solve(self, numbers: Array) -> Array:
        """The coefficients whose sum has these measurements."""
        coefficients: Array = self._inverse @ numbers
        return coefficients


def _lowered(V: Array, by: float) -> tuple[Array, int]:
    """The matrix with singular values lowered by so much, to 0 at most, and how many are left."""
    u, sigma, vt = np.linalg.svd(V, full_matrices=False)
    rank = int(np.sum(sigma > by))
    return (u[:, :rank] * (sigma[:rank] - by)) @ vt[:rank], rank


def _nuclear(W: Array) -> float:
    return float(np.linalg.svd(W, compute_uv=False).sum())


def _only(seen: Entries | Measurements) -> MinimumNuclearNorm:
    """The only matrix there is, where as many numbers are known as it has entries."""
    W = seen.adjoint(seen.solve(seen.y))
    u, sigma, vt = np.linalg.svd(W, full_matrices=False)
    multipliers = seen.solve(seen.apply(u @ vt))
    multipliers /= max(float(np.linalg.norm(seen.adjoint(multipliers), 2)), 1.0)
    bound, norm = float(multipliers @ seen.y), float(sigma.sum())
    residual = float(np.abs(seen.apply(W) - seen.y).max())
    rank = int(np.linalg.matrix_rank(W))
    return MinimumNuclearNorm(W, norm, min(bound, norm), multipliers, residual, rank, 0, True)


def _solve(seen: Entries | Measurements, tol: float, max_iter: int) -> MinimumNuclearNorm:
    """The method above; the numbers that were seen are not all 0."""
    if len(seen.y) == seen.shape[0] * seen.shape[1]:
        return _only(seen)
    Z = seen.adjoint(seen.solve(seen.y))
    U, rho = np.zeros_like(Z), 1 / (_FIRST * float(np.linalg.norm(Z, 2)))
    best, upper, lower = Z, _nuclear(Z), 0.0
    proof, rank, iteration = np.zeros_like(seen.y), 0, 0
    while iteration < max_iter and upper - lower > tol * upper:
        iteration += 1
        W, rank = _lowered(Z - U, 1 / rho)
        before, V = Z, _RELAXED * W + (1 - _RELAXED) * Z + U
        mu = seen.solve(seen.apply(V) - seen.y)
        U = seen.adjoint(mu)
        Z = V - U
        if iteration % _CHECK and iteration < max_iter:
            continue
        feasible = W
        for _ in range(2):  # the second time removes rounding errors of the first
            feasible = feasible - seen.adjoint(seen.solve(seen.apply(feasible) - seen.y))
        norm = _nuclear(feasible)
        if norm < upper:
            best, upper = feasible, norm
        multipliers = -rho * mu
        multipliers /= max(float(np.linalg.norm(rho * U, 2)), 1.0)
        bound = float(multipliers @ seen.y)
        if bound > lower:
            proof, lower = multipliers, bound
        if iteration <= _ADAPTED:
            primal = np.linalg.norm(W - Z) / np.linalg.norm(Z)
            dual = np.linalg.norm(Z - before) / (np.linalg.norm(U) or 1.0)
            if max(primal, dual) > _UNEVEN * min(primal, dual):
                change = _BALANCE if primal > dual else 1 / _BALANCE
                rho, U = rho * change, U / change
    residual = float(np.abs(seen.apply(best) - seen.y).max())
    converged = upper - lower <= tol * upper
    return MinimumNuclearNorm(best, upper, lower, proof, residual, rank, iteration, converged)


def least(seen: Entries | Measurements, n: int, tol: float, max_iter: int) -> MinimumNuclearNorm:
    """Return the matrix of least nuclear norm of which this is known.

    Parameters
    ----------
    seen : Entries or Measurements
    n : int
        The number of observations; those that are not the first of an entry get the multiplier 0.
    tol : float
        The gap to reach, relative to the norm.
    max_iter : int
    """
    scale = float(np.abs(seen.y).max())
    multipliers = np.zeros(n)
    if scale == 0:
        return MinimumNuclearNorm(np.zeros(seen.shape), 0.0, 0.0, multipliers, 0.0, 0, 0, True)
    seen.y = seen.y / scale  # nothing overflows then
    found = _solve(seen, tol, max_iter)
    multipliers[seen.first] = found.multipliers
    norm, bound, residual = (
        scale * size for size in (found.nuclear_norm, found.lower_bound, found.residual)
    )
    if not found.converged:
        _log.info("the gap to the least nuclear norm is %.2g of it", found.gap / found.nuclear_norm)
    return MinimumNuclearNorm(
        W=scale * found.W,
        nuclear_norm=norm,
        lower_bound=bound,
        multipliers=multipliers,
        residual=residual,
        rank=found.rank,
        iterations=found.iterations,
        converged=found.converged,
    )


def require(problem: MatrixProblem) -> None:
    """Raise a MemoryError if there is no memory for the method."""
    k, d, n = problem.k, problem.d, problem.n
    needs = {"matrices of that shape": 8.0 * 16 * k * d, "what was seen": 8.0 * 8 * n}
    if isinstance(problem, MatrixSensing):
        needs |= {"products of measurements": 8.0 * 3 * n * n}
        if problem.dtype != np.float64:
            needs |= {"measurements in float64": 8.0 * problem.A.size}
    memory.require("the least nuclear norm", needs)


def minimum_nuclear_norm(
    problem: MatrixCompletion | MatrixSensing, *, tol: float = 1e-6, max_iter: int = 5000
) -> MinimumNuclearNorm:
    r"""Return the matrix of least nuclear norm among those that agree with what was seen.

    The convex reference for what a deep network recovers from a small start. Its loss is 0: p,
    scale and an optimiser play no part in it.

    Parameters
    ----------
    problem : MatrixCompletion or MatrixSensing
        All is computed in float64 whatever its dtype.
    tol : float
        The proven gap to reach, relative to the norm.
    max_iter : int
        An iteration takes a singular value decomposition of a k x d matrix: some milliseconds for
        100 x 100, where some hundred iterations reach 1e-6.

    Returns
    -------
    MinimumNuclearNorm

    Raises
    ------
    TypeError, ValueError
        If problem is of another kind, if tol is not above 0 or max_iter not at least 1, if
        observations of the same entry contradict each other, or if measurements are linearly
        dependent.
    MemoryError
        If the machine has no memory for a dozen k x d matrices, or for the n x n matrix of
        products of measurements.

    References
    ----------
    Candes, Recht (2009), "Exact matrix completion via convex optimization", Found. Comput. Math. 9.
    Boyd, Parikh, Chu, Peleato, Eckstein (2011), "Distributed optimization and statistical learning
    via the alternating direction method of multipliers", Found. Trends Mach. Learn. 3.

    Examples
    --------
    >>> import accel
    >>> problem = accel.MatrixCompletion((2, 2), [0, 0, 1], [0, 1, 0], [1.0, 2.0, 2.0])
    >>> best = accel.minimum_nuclear_norm(problem)
    >>> best.converged
    True
    """
    if not isinstance(problem, MatrixCompletion | MatrixSensing):
        raise TypeError(
            "problem must be of type MatrixCompletion or MatrixSensing, "
            f"got {validation.shown(problem)}"
        )
    tol = validation.real("tol", tol, above=0)
    max_iter = validation.integer("max_iter", max_iter, least=1)
    require(problem)
    seen = (
        Entries.of(problem) if isinstance(problem, MatrixCompletion) else Measurements.of(problem)
    )
    return least(seen, problem.n, tol, max_iter)
