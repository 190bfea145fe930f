r"""From data in the user's units to a fitted map in them: what the estimator's ``fit`` does.

A sample of weight s counts s times in :math:`\sum_i s_i |r_i|^p`: it is the sample whose row and
target are both multiplied by :math:`s^{1/p}`. The intercept is the weight of one more column, of
ones: subtracting means does its work for p = 2 only (and is done besides, for its conditioning).
"""

import math
import time
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self

import numpy as np

from accel import memory, units
from accel.layout import aligned_empty
from accel.network import LinearNetwork
from accel.optimizers import EndToEnd, GradientDescent, Momentum, Nesterov, Optimizer
from accel.optimum import optimum
from accel.problem import LpProblem
from accel.results import History, Result
from accel.training import train
from accel.units import Units
from accel.validation import Array

__all__ = ["Data", "Fit", "balanced", "descend", "newton", "random_map"]

_ROUNDS = 8  # of a first-order run, each with a rate found anew, or an intercept freed of decay
_START = 0.01  # root mean square of the weights that a run begins with
_NOISE = 32  # units in the last place: a gradient this small beside the first is rounding errors


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
            root = (weight / weight.mean()) ** (1 / p)  # so that the loss is the weighted mean
        x, y = (
            Units.of(name, a, weight, center=intercept, scale=scale)
            for name, a in (("X", X), ("y", Y))
        )
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
    dual_gap, learning_rate : float
        Nan where there is none.
    """

    W: Array
    iterations: int
    history: History
    trouble: str
    dual_gap: float = math.nan
    learning_rate: float = math.nan


def newton(problem: LpProblem, max_iter: int, tol: float, backend: str) -> Fit:
    """Find the minimum by ``optimum``, up to a duality gap of tol times the loss."""
    began = time.perf_counter()
    best = optimum(problem, tol=tol, max_iter=max_iter, backend=backend)
    rows = (best.loss, best.gradient_norm, np.linalg.norm(best.W), time.perf_counter() - began)
    history = History(np.array([best.iterations]), *(np.array([float(row)]) for row in rows))
    trouble = "" if best.converged else f"the duality gap is still {best.duality_gap:.3g}"
    return Fit(best.W, max(best.iterations, 1), history, trouble, dual_gap=best.duality_gap)


def random_map(problem: LpProblem, seed: int) -> Array:
    """A map (k, d) near 0 in the row space of X, where descent on balanced factors remains.

    So what the data do not determine, such as the weight of a constant feature, stays 0. Made of a
    gradient, it is as little changed by repeating samples or giving them weights as the loss is.
    """
    start = _START * np.random.default_rng(seed).standard_normal((problem.k, problem.d))
    W = problem.gradient(start).astype(np.float64)
    size = float(np.linalg.norm(W))
    return W * (np.linalg.norm(start) / size) if 0 < size < math.inf else start


def balanced(W: Array, depth: int, width: int) -> list[Array]:
    """Balanced factors of W, or of the map nearest to it with hidden layers of that width."""
    if depth == 1:
        return [W]
    U, sizes, Vt = np.linalg.svd(W, full_matrices=False)
    rank = min(width, len(sizes))
    factors = [np.zeros((width, width)) for _ in range(depth)]
    for factor in factors:
        factor[:rank, :rank] = np.diag(sizes[:rank] ** (1 / depth))
    factors[0] = factors[0][:, :rank] @ Vt[:rank]
    factors[0][:, ~W.any(axis=0)] = 0  # but for rounding errors it was
    factors[-1] = U[:, :rank] @ factors[-1][:rank]
    return factors


def descend(
    problem: LpProblem,
    network: LinearNetwork,
    optimizer: Optimizer,
    max_iter: int,
    tol: float,
    *,
    auto: bool,
    intercept: bool,
    **how: Any,
) -> Fit:
    r"""Train a network until the gradient is tol times what it is at W = 0.

    Parameters
    ----------
    problem, network, optimizer
        As for ``train``.
    max_iter : int
    tol : float
    auto : bool
        Whether ``train`` finds the rate: for each of the eighths of the run, since the curvature
        changes on the way. For p < 2 it has no bound and no rate need settle, so after the first
        eighth each has half the rate of the one before.
    intercept : bool
        Whether the last feature is that of the intercept, which weight decay shall spare.
    **how
        For ``train``.

    Notes
    -----
    Weight decay pulls at all parameters. To spare the intercept, the one found in an eighth of the
    run is subtracted from the targets and set to 0: where that ends, nothing is left to decay (the
    proximal point method, for one variable).

    With decay, or hidden layers too narrow for every map, it is the gradient with respect to the
    factors, decay included, that falls. Momentum multiplies the gradient by 1 / (1 - mu) in the
    long run, and the decay is made to, lest the minimum depend on mu.
    """
    decay, eps = optimizer.weight_decay, float(np.finfo(problem.dtype).eps)
    by_factors = bool(decay) or min(network.widths) < min(problem.d, problem.k)
    begin = float(np.linalg.norm(problem.gradient(np.zeros((problem.k, problem.d)))))
    small = max(tol, _NOISE * eps) * (begin or 1.0)
    if begin == 0:  # that is a minimum then
        network = network.with_params(np.zeros_like(network.params))
    if isinstance(optimizer, Momentum | Nesterov):
        optimizer = replace(optimizer, weight_decay=decay / (1 - optimizer.momentum))
    size = -(-max_iter // (_ROUNDS if auto or by_factors else 1))
    rates: Literal["auto"] | None = "auto" if auto else None
    shift, results, trouble = np.zeros(problem.k), list[Result](), ""
    for made in range(0, max_iter, size):
        result = train(
            _shifted(problem, shift), network, optimizer, min(size, max_iter - made),
            learning_rate=rates, tol=0.0 if by_factors else small, **how,
        )  # fmt: skip
        results.append(result)
        network = result.network
        if result.status == "interrupted":
            raise KeyboardInterrupt
        if result.status == "diverged":
            trouble = f"the run diverged at step {made + (result.diverged_at or 0)}"
            break
        if decay and intercept:
            network, found = _without_last(network)
            shift += found
        if result.status == "converged" or (
            by_factors and _slope(_shifted(problem, shift), result, network, decay) <= small
        ):
            trouble = ""
            break
        trouble = f"the gradient has not fallen to {small:.3g}"
        if auto and problem.p < 2:
            optimizer = replace(optimizer, learning_rate=result.optimizer.learning_rate / 2)
            rates = None
    W = network.end_to_end().astype(np.float64)
    if shift.any():
        W[:, -1] += shift
    steps, rate = sum(result.steps for result in results), results[-1].optimizer.learning_rate
    history = _joined([result.history for result in results])
    return Fit(W, max(steps, 1), history, trouble, learning_rate=rate)


def _shifted(problem: LpProblem, shift: Array) -> LpProblem:
    """The problem with this much of the last feature subtracted from the targets."""
    if not shift.any():
        return problem
    Y = problem.Y - np.outer(problem.X[:, -1], shift)
    return LpProblem(problem.X, Y.astype(problem.dtype), problem.p)


def _without_last(network: LinearNetwork) -> tuple[LinearNetwork, Array]:
    """A network that ignores the last feature, and the weights (k,) that this one gives it."""
    params, rows = network.params.copy(), network.widths[:2][::-1]
    params[: rows[0] * rows[1]].reshape(rows)[:, -1] = 0
    return network.with_params(params), network.end_to_end()[:, -1].astype(np.float64)


def _slope(problem: LpProblem, result: Result, network: LinearNetwork, decay: float) -> float:
    """The norm of the gradient with respect to the factors, decay included, from a plain step."""
    rule, rate = result.optimizer, result.optimizer.learning_rate
    if not isinstance(rule, EndToEnd):
        rule = GradientDescent(rate, weight_decay=decay)
    after = train(problem, network, rule, 1, backend=result.backend, threads=1)
    return float(np.linalg.norm(after.network.params - network.params)) / rate


def _joined(histories: list[History]) -> History:
    """The runs of which each went on where the one before ended, as one."""
    first, *rest = histories
    columns = [[getattr(first, f.name)] for f in fields(History)]
    for history in rest:
        new = history.step > 0  # at 0 it is where the last one ended
        for column, f in zip(columns, fields(History), strict=True):
            values = getattr(history, f.name)[new]
            goes_on = f.name in ("step", "seconds")
            column.append(values + column[-1][-1] if goes_on else values)
    return History(*(np.concatenate(column) for column in columns))
