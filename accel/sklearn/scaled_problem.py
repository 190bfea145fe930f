r"""The problem that an estimator solves: the user's data in units of their own, and the way back.

A sample of weight s counts s times in :math:`\sum_i s_i |r_i|^p`: it is the sample whose row and
target are both multiplied by :math:`s^{1/p}`. The intercept is the weight of one more column, of
ones: subtracting means does its work for p = 2 only (and is done besides, for its conditioning).
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from accel._core import units
from accel._core.problem import LpProblem, Problem
from accel._core.units import Units
from accel._core.weighting import required_degree, scaled_rows, weight_roots
from accel._optimum.any_problem import optimum
from accel._support import memory
from accel._support.arrays import Array, aligned_empty
from accel.kernels.reference.norms import norm
from accel.losses import Loss, Lp

__all__ = ["ScaledProblem", "median_spread", "require_range"]

_BLOCK = 2**16  # numbers of which the median is taken at a time
_TIED = 1e-12  # relative differences between sums of weights that are rounding errors
_FAR = 1e3  # a standard deviation of more than this times the median distance is due to outliers


@dataclass(frozen=True, eq=False)
class ScaledProblem:
    """The problem that is solved, whose X may have a last column of ones, and its units.

    Attributes
    ----------
    problem : Problem
    x, y : Units
        Of the d features and the k targets.
    intercept : bool
        Whether the column of ones is there.
    """

    problem: Problem
    x: Units
    y: Units
    intercept: bool

    @classmethod
    def of(
        cls, X: Array, Y: Array, weight: Array | None, p: float, *, intercept: bool, scale: bool
    ) -> Self:
        """Scale X (n, d) and Y (n, k), of one dtype, whose rows have positive weights (n,)."""
        memory.require("the fit", 3 * 8 * X.size)
        root = None
        if weight is not None:
            weight = weight.astype(np.float64) / weight.max()
            root = weight_roots(weight, p)
        x, y = (
            Units.of(name, a, weight, center=intercept, scale=scale)
            for name, a in (("X", X), ("y", Y))
        )
        if p < 2:
            x = _robust(X, weight, 1.0, intercept, scale, x)
            y = _robust(Y, weight, p, intercept, scale, y)
        problem = LpProblem(_converted(X, x, root, ones=intercept), _converted(Y, y, root), p)
        return cls(problem, x, y, intercept)

    @classmethod
    def with_loss(
        cls,
        X: Array,
        Y: Array,
        loss: Loss,
        weight: Array | None = None,
        *,
        intercept: bool,
        scale: bool,
    ) -> Self:
        """Scale X (n, d) only; Y (n, k) holds targets, or (n,) labels, of any loss.

        A loss may have a number in the units of y, as Huber's delta is: so targets keep their
        scale. With an intercept their medians are subtracted. Positive weights (n,) are for losses
        that have a ``degree``.
        """
        memory.require("the fit", 3 * 8 * X.size)
        root = None
        if weight is not None:
            weight = weight.astype(np.float64) / weight.max()
            root = weight_roots(weight, required_degree(loss))
        x = Units.of("X", X, weight, center=intercept, scale=scale)
        middle = None
        if intercept and not loss.classifies:
            middle = _medians(Y, weight).astype(np.float64)
            Y = np.subtract(Y, middle, dtype=np.float64).astype(Y.dtype)
        if root is not None:
            Y = scaled_rows(Y, root, Y.dtype)
        problem = Problem(_converted(X, x, root, ones=intercept), Y, loss)
        none, one = np.zeros(problem.k), np.ones(problem.k)
        return cls(problem, x, Units(none if middle is None else middle, none, one), intercept)

    def to_user(self, W: Array) -> tuple[Array, Array]:
        """Convert a map of the problem to coefficients (k, d) and intercepts (k,), in its dtype."""
        dtype = self.problem.dtype
        coef = units.coefficients(W[:, : self.x.mean.size], self.x, self.y)
        coef = coef.astype(dtype)  # first, so that the intercept makes up for its rounding
        extra = W[:, -1] * self.y.scale if self.intercept else 0.0
        return coef, (units.intercept(coef, self.x, self.y) + extra).astype(dtype)

    def from_user(self, coef: Array, intercept: Array) -> Array:
        """Convert coefficients and intercepts to the map (k, d or d + 1) of the problem."""
        x, y = self.x, self.y
        W: Array = coef * x.scale / y.scale[:, np.newaxis]
        if not self.intercept:
            return W
        extra = intercept - units.intercept(coef, x, y)
        return np.column_stack([W, extra / y.scale])


def _robust(
    a: Array, weight: Array | None, p: float, center: bool, scale: bool, usual: Units
) -> Units:
    """The usual units, but robust ones of columns whose standard deviation is due to outliers.

    Subtracting the mean of such a column would cost its other rows their digits, though for p < 2
    outliers hardly matter. So the constant with the least loss for this p takes the place of the
    mean, and the median distance from it that of the standard deviation.
    """
    deviation = usual.scale if scale else Units.of("X", a, weight, center=center).scale
    spread = median_spread(a, center)
    far = np.flatnonzero((spread > 0) & (_FAR * spread < deviation))
    if not len(far):
        return usual
    mean, rest, size = usual.mean.copy(), usual.rest.copy(), usual.scale.copy()
    root = np.ones(len(a)) if weight is None else weight_roots(weight, p)
    for j in far:
        column = a[:, j].astype(np.float64)
        if center:
            unit = np.abs(column).max()  # so that no power overflows
            best = optimum(LpProblem(root[:, None], root * (column / unit), p))
            mean[j], rest[j] = unit * best.W[0, 0], 0.0
        if scale:
            size[j] = float(np.median(np.abs(column - mean[j]))) or size[j]
    return Units(mean, rest, size)


def _medians(a: Array, weight: Array | None) -> Array:
    """The medians (k,) of the columns of a (n, k), whose rows count as often as they weigh."""
    if weight is None:
        return np.asarray(np.median(a, axis=0))
    order = np.argsort(a, axis=0)
    below = np.cumsum(weight[order], axis=0) / weight.sum()
    first = (below < 0.5 * (1 - _TIED)).sum(
        axis=0
    )  # the row at which half of the weight is reached
    after = np.minimum(first + (np.take_along_axis(below, first[None], 0)[0] < 0.5 * (1 + _TIED)),
                       len(a) - 1)  # fmt: skip
    low, high = (a[order[i, np.arange(a.shape[1])], np.arange(a.shape[1])] for i in (first, after))
    return np.asarray((low + high) / 2)


def median_spread(a: Array, center: bool) -> Array:
    """The median of ``|a|`` of every column (d,), or of the distance from its median."""
    spread, columns = np.empty(a.shape[1]), max(1, _BLOCK // len(a))
    for j in range(0, a.shape[1], columns):
        part = a[:, j : j + columns].T.astype(np.float64, order="C")
        if center:
            part -= np.median(part, axis=1, keepdims=True)
        spread[j : j + columns] = np.median(np.abs(part, out=part), axis=1)
    return spread


def _converted(a: Array, to: Units, root: Array | None, ones: bool = False) -> Array:
    """The columns in their units, a column of ones if asked for, and every row times its root."""
    if not ones and root is None and to.trivial:
        return a
    d = a.shape[1]
    out = aligned_empty((len(a), d + ones), a.dtype)
    to.standard(a, out[:, :d])
    out[:, d:] = 1
    if root is not None:
        np.multiply(out, root[:, np.newaxis], out=out, casting="same_kind")
    return out


def require_range(problem: Problem, *, descent: bool, scaled: bool | None) -> None:
    """Check that the loss at W = 0, to which every fit is compared, is a finite number.

    Parameters
    ----------
    problem : Problem
    descent : bool
        Whether the solver is a first-order one, which needs the gradient, too, in the dtype of the
        data; Newton's method is in float64.
    scaled : bool or None
        Whether the targets have variance 1 already; None if that is not to be had.

    Raises
    ------
    ValueError
        If the loss or gradient overflows, or vanishes though the targets do not.
    """
    Y, power = problem.host.Y.astype(np.float64, copy=False), problem.loss_function
    with np.errstate(over="ignore", under="ignore"):
        loss, slope = float(np.mean(power.value(np.zeros_like(Y), Y))), 0.0
        if descent:
            loss, G = problem.loss_and_gradient(np.zeros((problem.k, problem.d)))
            slope = norm(G)
    lost = descent and loss < np.finfo(problem.dtype).tiny and Y.any()
    if math.isfinite(loss) and math.isfinite(slope) and not lost:
        return
    names = "the loss at W = 0, or its gradient," if descent else "the loss at W = 0"
    units = " in units in which y has variance 1" if scaled else ""
    which = f"p = {power.p:g}" if isinstance(power, Lp) else repr(power)
    ways = ["take a smaller p"] if isinstance(power, Lp) else []
    ways += ["rescale y"] if scaled is None else [] if scaled else ["standardize=True"]
    raise ValueError(
        f"{names} {'vanishes' if lost else 'overflows'} for {which} in "
        f"{problem.dtype if descent else 'float64'}{units}: {', or '.join(ways)}"
    )
