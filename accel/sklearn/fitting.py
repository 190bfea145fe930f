r"""From data in the user's units to a fitted map in them: what the estimator's ``fit`` does.

A sample of weight s counts s times in :math:`\sum_i s_i |r_i|^p`: it is the sample whose row and
target are both multiplied by :math:`s^{1/p}`. The intercept is the weight of one more column, of
ones: subtracting means does its work for p = 2 only (and is done besides, for its conditioning).
"""

import math
import time
from dataclasses import dataclass
from typing import Self

import numpy as np

from accel._core import units
from accel._core.initializers import balanced_factors
from accel._core.problem import LpProblem
from accel._core.units import Units
from accel._optimum.certificate import Basis, Rows, gap_at
from accel._optimum.optimum import Proof, optimum, proven, rounding
from accel._optimum.rank import centred_rcond, singular_values, usual_rcond
from accel._runs.results import History
from accel._support import memory
from accel._support.arrays import Array, aligned_empty
from accel.kernels.reference.norms import norm

__all__ = [
    "Data",
    "Fit",
    "balanced",
    "best_intercepts",
    "downhill_map",
    "newton",
    "random_map",
    "require_range",
    "user_gap",
]

_START = 0.01  # root mean square of the weights that a run begins with
_BLOCK = 2**16  # numbers of which the median is taken at a time
_HIDING = 0.1  # over the usual rcond: median distances from which a sample may hide all others
_FAR = 1e3  # times the median deviation: a standard deviation that few rows are most of


@dataclass(frozen=True, eq=False)
class Data:
    """A problem and its units: of X and a last column of ones, and of Y.

    Attributes
    ----------
    problem : LpProblem
    x, y : Units
        Of d and of k columns.
    intercept : bool
        Whether the column of ones is there.
    """

    problem: LpProblem
    x: Units
    y: Units
    intercept: bool

    @classmethod
    def of(
        cls, X: Array, Y: Array, weight: Array | None, p: float, *, intercept: bool, scale: bool
    ) -> Self:
        """Make it from X (n, d), Y (n, k) of one dtype, and positive weights (n,)."""
        memory.require("the fit", 3 * 8 * X.size)
        root = None
        if weight is not None:
            weight = weight.astype(np.float64) / weight.max()
            root = _root(weight, p)
        x, y = (
            Units.of(name, a, weight, center=intercept, scale=scale)
            for name, a in (("X", X), ("y", Y))
        )
        if p < 2:
            x = _robust(X, weight, 1.0, intercept, scale, x)
            y = _robust(Y, weight, p, intercept, scale, y)
        problem = LpProblem(_in(x, X, root, ones=intercept), _in(y, Y, root), p)
        return cls(problem, x, y, intercept)

    def to_user(self, W: Array) -> tuple[Array, Array]:
        """Coefficients (k, d) and intercepts (k,) of a map of the problem, in its dtype."""
        dtype = self.problem.dtype
        coef = units.coefficients(W[:, : self.x.mean.size], self.x, self.y)
        coef = coef.astype(dtype)  # first, so that the intercept makes up for its rounding
        extra = W[:, -1] * self.y.scale if self.intercept else 0.0
        return coef, (units.intercept(coef, self.x, self.y) + extra).astype(dtype)

    def from_user(self, coef: Array, intercept: Array) -> Array:
        """Go the way back."""
        x, y = self.x, self.y
        W: Array = coef * x.scale / y.scale[:, np.newaxis]
        if not self.intercept:
            return W
        extra = intercept - units.intercept(coef, x, y)
        return np.column_stack([W, extra / y.scale])


def _root(weight: Array, p: float) -> Array:
    """What rows are multiplied by, so that the loss is the weighted mean."""
    root: Array = (weight / weight.mean()) ** (1 / p)
    return root


def _robust(
    a: Array, weight: Array | None, p: float, center: bool, scale: bool, usual: Units
) -> Units:
    """The usual units, but where rows far away are most of the standard deviation.

    There a mean would cost the others their digits, where p < 2 hardly cares for the rows far away.
    So it is the number with the least loss of this p, and the median distance from that.
    """
    deviation = usual.scale if scale else Units.of("X", a, weight, center=center).scale
    spread = _spread(a, center)
    far = np.flatnonzero((spread > 0) & (_FAR * spread < deviation))
    if not len(far):
        return usual
    mean, rest, size = usual.mean.copy(), usual.rest.copy(), usual.scale.copy()
    root = np.ones(len(a)) if weight is None else _root(weight, p)
    for j in far:
        column = a[:, j].astype(np.float64)
        if center:
            unit = np.abs(column).max()  # so that no power overflows
            best = optimum(LpProblem(root[:, None], root * (column / unit), p))
            mean[j], rest[j] = unit * best.W[0, 0], 0.0
        if scale:
            size[j] = float(np.median(np.abs(column - mean[j]))) or size[j]
    return Units(mean, rest, size)


def _spread(a: Array, center: bool) -> Array:
    """The median of ``|a|`` of every column (d,), or of the distance from its median."""
    spread, columns = np.empty(a.shape[1]), max(1, _BLOCK // len(a))
    for j in range(0, a.shape[1], columns):
        part = a[:, j : j + columns].T.astype(np.float64, order="C")
        if center:
            part -= np.median(part, axis=1, keepdims=True)
        spread[j : j + columns] = np.median(np.abs(part, out=part), axis=1)
    return spread


def _in(there: Units, a: Array, root: Array | None, ones: bool = False) -> Array:
    """Numbers in these units, a column of ones if wanted, and every row times its root."""
    if not ones and root is None and there.trivial:
        return a
    d = a.shape[1]
    out = aligned_empty((len(a), d + ones), a.dtype)
    there.standard(a, out[:, :d])
    out[:, d:] = 1
    if root is not None:
        np.multiply(out, root[:, np.newaxis], out=out, casting="same_kind")
    return out


@dataclass(frozen=True, eq=False)
class Fit:
    """What a solver found.

    Attributes
    ----------
    W : (k, d) float64 array
        The map, in the units of the problem.
    iterations : int
        At least 1.
    history : History
    trouble : str
        Why it is not the minimum to the tolerance; empty if it is.
    status : {"converged", "completed", "diverged", "saddle"}
    dual_gap, learning_rate : float
        Nan where there is none.
    rank : int or None
    singular : (min(n, d),) array or None
        Rank and singular values of the features, the intercept apart; None where no one looked.
    doubt : str
        Why that might be another, and what to do; empty if it is clear.
    proof : Proof or None
        Of the minimum, by Newton's method.
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


def newton(
    data: Data, X: Array, max_iter: int, tol: float, rcond: float | None, backend: str
) -> Fit:
    """Find the minimum by ``optimum``, up to a duality gap of tol times the loss.

    X is the data's, in the units of the user.
    """
    given, (n, d) = X, X.shape
    began, problem = time.perf_counter(), data.problem
    X, within = problem.host.X, usual_rcond(problem.dtype) if rcond is None else rcond
    each = centred_rcond(X, data.x.mean / data.x.scale, within) if data.intercept else within
    best, proof = proven(problem, tol, max_iter, backend, each)
    rows = (best.loss, best.gradient_norm, np.linalg.norm(best.W), time.perf_counter() - began)
    history = History(np.array([best.iterations]), *(np.array([float(row)]) for row in rows))
    trouble = "" if best.converged else f"the duality gap is still {best.duality_gap:.3g}"
    if trouble and best.iterations < max_iter:
        trouble += ", and rounding errors leave no more to gain"
    rank, doubt = max(best.rank - data.intercept, 0), ""
    if best.doubtful:
        values = f"{best.doubtful} singular value{'s' if best.doubtful > 1 else ''}"
        doubt = (
            f"X has rank {rank} of {d} by rcond={within:.2g}, with {values} within a factor of ten "
            "of that limit: coef_ may hang on rounding errors of X; leave out features that others "
            "determine, or set rcond"
        )
    if rank < min(n - data.intercept, d):
        doubt = _hidden(given, rank) or doubt
    return Fit(
        best.W, max(best.iterations, 1), history, trouble,
        "converged" if best.converged else "completed",
        dual_gap=best.duality_gap, rank=rank, singular=singular_values(proof.R, data.intercept),
        doubt=doubt, proof=proof,
    )  # fmt: skip


def _hidden(X: Array, rank: int) -> str:
    """Say so if samples may be so large that the rest of X (n, d) is rounding errors to them."""
    spread = _spread(X, center=True)
    with np.errstate(over="ignore"):
        reach = X.max(axis=0).astype(np.float64) - X.min(axis=0)
        times = float(np.max(reach[spread > 0] / spread[spread > 0], initial=0.0))
    if times * usual_rcond(X.dtype) < _HIDING:
        return ""
    return (
        f"X has rank {rank} of {X.shape[1]}, with samples up to {times:.0e} times as far out as "
        "most, beside which the differences of the others count as rounding errors; leave those "
        "samples out"
    )


def user_gap(
    data: Data, proof: Proof, X: Array, Y: Array, weight: Array | None, coef: Array, b: Array
) -> float:
    """Bound how far the loss in the units of the user is above its minimum, all rounding included.

    Parameters
    ----------
    data : Data
        Made of X, Y and weight.
    proof : Proof
        Of a minimum in its units: with a basis and slopes for these as well, but for their sizes.
    X, Y, weight : array
    coef : (k, d) array
    b : (k,) array
        The intercepts.

    Returns
    -------
    float
        About the (weighted) mean of ``|X coef + b - y|^p``, summed over the outputs.
    """
    p, n = data.problem.p, data.problem.n
    X, Y, coef, b = (a.astype(np.float64, copy=False) for a in (X, Y, coef, b))
    root = None if weight is None else _root(weight.astype(np.float64) / weight.max(), p)
    center = data.x.mean if data.intercept else None
    T = proof.T.copy()
    T[: X.shape[1]] /= data.x.scale[:, np.newaxis]
    total, basis = 0.0, Basis.of(Rows(X, Y[:, 0], root, center).columns(), T)
    for i, v in enumerate(proof.slopes):
        found = gap_at(Rows(X, Y[:, i], root, center), coef[i], basis, p, v, float(b[i]))
        with np.errstate(over="ignore"):
            unit = np.float64(found.unit) ** p / n
            total += float(
                unit * (found.gap + (1 if weight is None else 2) * rounding(p) * found.loss)
            )
    return total


def best_intercepts(problem: LpProblem, W: Array) -> Array:
    """W with the best weights that its last feature, the intercept's, can have beside the rest.

    So the intercept is right for the coefficients even where those are not.
    """
    X, p = problem.host.X, problem.p
    ones = X[:, -1].astype(np.float64)  # or what sample weights made of them
    left = problem.host.Y - X[:, :-1] @ W[:, :-1].T.astype(np.float64)
    kept, best = ones > 0, W.copy()  # the root of a weight may vanish beside the largest
    for i, target in enumerate(left.T):
        unit = float(np.abs(target).max())
        if not 0 < unit < math.inf:
            continue
        target = target / unit
        found = _line_minimum(ones[kept], target[kept], p)
        losses = [np.abs(target - ones * b) ** p for b in (found, W[i, -1] / unit)]
        if p == 1 or math.fsum(losses[0] - losses[1]) < 0:  # a median is exact
            best[i, -1] = unit * found
    return best


def _line_minimum(x: Array, y: Array, p: float) -> float:
    """The b with the least sum of ``|b x - y|^p``, all x above 0: the root of the slope."""
    values = y / x
    if p == 1:  # a median, every value with the weight x
        order = np.argsort(values)
        below = np.cumsum(x[order])
        return float(values[order[np.searchsorted(below, below[-1] / 2)]])

    def slope(b: float) -> float:  # up to a factor, so that no power of all vanishes
        r = b * x - y
        return float(x @ (np.sign(r) * (np.abs(r) / (np.abs(r).max() or 1.0)) ** (p - 1)))

    low, high = float(values.min()), float(values.max())
    if slope(low) >= 0 or slope(high) <= 0:  # a single value, but for rounding errors
        return low
    from scipy.optimize import brentq  # scikit-learn has it

    return float(brentq(slope, low, high, xtol=1e-300, rtol=1e-15, maxiter=1000))


def require_range(problem: LpProblem, *, descent: bool, scaled: bool) -> None:
    """Check that the loss where every fit is measured, at W = 0, is a number.

    Parameters
    ----------
    problem : LpProblem
    descent : bool
        Whether its gradient is needed, too, in the dtype of the data, and Newton's method is not.
    scaled : bool
        Whether the targets have variance 1 already.

    Raises
    ------
    ValueError
        If one overflows, or vanishes though the targets do not.
    """
    Y = problem.host.Y.astype(np.float64, copy=False)
    with np.errstate(over="ignore", under="ignore"):
        loss, slope = problem.factor * float(np.mean(np.sum(np.abs(Y) ** problem.p, axis=1))), 0.0
        if descent:
            loss, G = problem.loss_and_gradient(np.zeros((problem.k, problem.d)))
            slope = norm(G)
    lost = descent and loss < np.finfo(problem.dtype).tiny and Y.any()
    if math.isfinite(loss) and math.isfinite(slope) and not lost:
        return
    names = "the loss at W = 0, or its gradient," if descent else "the loss at W = 0"
    units = " in units in which y has variance 1" if scaled else ""
    raise ValueError(
        f"{names} {'vanishes' if lost else 'overflows'} for p = {problem.p:g} in "
        f"{problem.dtype if descent else 'float64'}{units}: take a smaller p"
        + ("" if scaled else ", or standardize=True")
    )


def random_map(problem: LpProblem, seed: int) -> Array:
    """A random map (k, d) near 0 in the row space of X, where descent on balanced factors remains.

    So what the data do not determine, such as the weight of a constant feature, stays 0. Each row
    is what the gradient would be if the targets were 0 and the map Gaussian: a random direction
    that repeating samples or giving them weights changes as little as the loss.

    No singular value of the product of balanced factors can pass through 0. So each is given the
    sign with which it goes downhill from W = 0, away from the saddle.
    """
    slopes = problem.gradient(np.zeros((problem.k, problem.d))).astype(np.float64)
    return _near_zero(_random_rows(problem, seed), slopes)


def downhill_map(problem: LpProblem) -> Array:
    """As ``random_map``, but each row goes straight downhill, if not for a tenth that is random.

    Else the rows might be one multiple of each other (for p = 1 they are if the targets have the
    same signs), and balanced factors would be held to that rank.
    """
    slopes = problem.gradient(np.zeros((problem.k, problem.d))).astype(np.float64)
    rows = 0.1 * _random_rows(problem, 0) - _unit_rows(slopes)
    return _near_zero(rows * slopes.any(axis=1, keepdims=True), slopes)


def _random_rows(problem: LpProblem, seed: int) -> Array:
    W = np.random.default_rng(seed).standard_normal((problem.k, problem.d))
    with np.errstate(over="ignore"):
        largest = np.abs(problem.X @ W.T).max(axis=0)
    W /= np.where((largest > 0) & np.isfinite(largest), largest, 1.0)[:, np.newaxis]  # no overflow
    without = LpProblem(problem.X, np.zeros_like(problem.Y), problem.p)
    return _unit_rows(without.gradient(W).astype(np.float64))


def _unit_rows(a: Array) -> Array:
    sizes = np.array([[norm(row)] for row in a])
    unit: Array = a / np.where(sizes > 0, sizes, 1.0)
    return unit


def _near_zero(W: Array, slopes: Array) -> Array:
    """W with singular values of the signs that go downhill, and with the size of a start."""
    U, sizes, Vt = np.linalg.svd(W, full_matrices=False)
    along = np.einsum("ir,ij,rj->r", U, slopes / (norm(slopes) or 1.0), Vt)
    signed: Array = (U * np.where(along > 0, -sizes, sizes)) @ Vt
    signed[:, ~W.any(axis=0)] = 0  # but for rounding errors it was
    return signed * (_START * math.sqrt(W.size) / (norm(signed) or 1.0))


def balanced(W: Array, depth: int, width: int, noise: float = 0.0) -> list[Array]:
    """Balanced factors of W, or of the map nearest to it with hidden layers of that width."""
    widths = (W.shape[1], *[width] * (depth - 1), W.shape[0])
    return balanced_factors(W, list(zip(widths[1:], widths[:-1], strict=True)), noise)
