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

from accel import memory
from accel.certificate import Basis, Rows, gap_at
from accel.layout import aligned_empty
from accel.network import LinearNetwork
from accel.optimizers import EndToEnd, GradientDescent, Momentum, Nesterov, Optimizer
from accel.optimum import Proof, optimum, proven, rounding
from accel.problem import LpProblem
from accel.results import History, Result
from accel.training import train
from accel.validation import Array

__all__ = ["Data", "Fit", "balanced", "descend", "newton", "random_map", "user_gap"]

_ROUNDS = 8  # of a first-order run, each with a rate found anew, or an intercept freed of decay
_START = 0.01  # root mean square of the weights that a run begins with
_FAR = 1e3  # times the median deviation: a standard deviation that few rows are most of
_NOISE = 32  # units in the last place: a gradient this small beside the first is rounding errors


@dataclass(frozen=True, eq=False)
class Data:
    """A problem and its units: ``(X - x_mean) / x_scale`` and a last column of ones.

    Attributes
    ----------
    problem : LpProblem
    x_mean, x_scale : (d,) float64 array
    y_mean, y_scale : (k,) float64 array
    intercept : bool
        Whether that column is there.
    """

    problem: LpProblem
    x_mean: Array
    x_scale: Array
    y_mean: Array
    y_scale: Array
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
        x_mean, x_scale = _moments(X, weight, intercept, scale)
        y_mean, y_scale = _moments(Y, weight, intercept, scale)
        if p < 2:
            x_mean, x_scale = _robust(X, weight, 1.0, intercept, scale, (x_mean, x_scale))
            y_mean, y_scale = _robust(Y, weight, p, intercept, scale, (y_mean, y_scale))
        X = _scaled(X, x_mean, x_scale, root, ones=intercept)
        problem = LpProblem(X, _scaled(Y, y_mean, y_scale, root), p)
        return cls(problem, x_mean, x_scale, y_mean, y_scale, intercept)

    def to_user(self, W: Array) -> tuple[Array, Array]:
        """Coefficients (k, d) and intercepts (k,) of a map of the problem."""
        coef = W[:, : self.x_mean.size] * self.y_scale[:, np.newaxis] / self.x_scale
        extra = W[:, -1] * self.y_scale if self.intercept else 0.0
        return coef, self.y_mean + extra - coef @ self.x_mean

    def from_user(self, coef: Array, intercept: Array) -> Array:
        """Go the way back."""
        W: Array = coef * self.x_scale / self.y_scale[:, np.newaxis]
        if not self.intercept:
            return W
        extra = (intercept - self.y_mean + coef @ self.x_mean) / self.y_scale
        return np.column_stack([W, extra])


def _root(weight: Array, p: float) -> Array:
    """What rows are multiplied by, so that the loss is the weighted mean."""
    root: Array = (weight / weight.mean()) ** (1 / p)
    return root


def _moments(a: Array, weight: Array | None, center: bool, scale: bool) -> tuple[Array, Array]:
    """Weighted mean and standard deviation of every column; 0 and 1 where they are not wanted."""
    mean, size = np.zeros(a.shape[1]), np.ones(a.shape[1])
    if center:
        constant = a.min(axis=0) == a.max(axis=0)
        share = np.ones(len(a)) if weight is None else weight
        mean = np.average(a, axis=0, weights=share)
        mean = np.where(constant, a[0], mean)  # exactly, lest rounding noise be blown up
    if scale:
        away = a - mean
        peak = np.abs(away).max(axis=0)
        peak[peak == 0] = 1.0
        away /= peak  # so that no square underflows
        size = peak * np.sqrt(np.average(away**2, axis=0, weights=weight))
        size[size == 0] = 1.0
    return mean, size


def _robust(
    a: Array, weight: Array | None, p: float, center: bool, scale: bool, usual: tuple[Array, Array]
) -> tuple[Array, Array]:
    """The usual mean and size, but where rows far away are most of the standard deviation.

    There a mean would cost the others their digits, where p < 2 hardly cares for the rows far away.
    So it is the number with the least loss of this p, and the median distance from that.
    """
    mean, size = (moment.copy() for moment in usual)
    deviation = size if scale else _moments(a, weight, center, scale=True)[1]
    root = np.ones(len(a)) if weight is None else _root(weight, p)
    for j, usually in enumerate(deviation.copy()):
        column = a[:, j].astype(np.float64)
        spread = float(np.median(np.abs(column - (np.median(column) if center else 0.0))))
        if not 0 < _FAR * spread < usually:
            continue
        if center:
            unit = np.abs(column).max()  # so that no power overflows
            mean[j] = unit * optimum(LpProblem(root[:, None], root * (column / unit), p)).W[0, 0]
        if scale:
            size[j] = float(np.median(np.abs(column - mean[j]))) or size[j]
    return mean, size


def _scaled(a: Array, mean: Array, scale: Array, root: Array | None, ones: bool = False) -> Array:
    """``(a - mean) / scale``, a column of ones if wanted, and every row times its root."""
    if not ones and root is None and not mean.any() and (scale == 1).all():
        return a
    d = a.shape[1]
    out = aligned_empty((len(a), d + ones), a.dtype)
    np.subtract(a, mean, out=out[:, :d], casting="same_kind")
    np.divide(out[:, :d], scale, out=out[:, :d], casting="same_kind")
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
    proof : Proof or None
        Of the minimum, by Newton's method.
    """

    W: Array
    iterations: int
    history: History
    trouble: str
    dual_gap: float = math.nan
    learning_rate: float = math.nan
    proof: Proof | None = None


def newton(problem: LpProblem, max_iter: int, tol: float, backend: str) -> Fit:
    """Find the minimum by ``optimum``, up to a duality gap of tol times the loss."""
    began = time.perf_counter()
    best, proof = proven(problem, tol, max_iter, backend)
    rows = (best.loss, best.gradient_norm, np.linalg.norm(best.W), time.perf_counter() - began)
    history = History(np.array([best.iterations]), *(np.array([float(row)]) for row in rows))
    trouble = "" if best.converged else f"the duality gap is still {best.duality_gap:.3g}"
    return Fit(best.W, max(best.iterations, 1), history, trouble, best.duality_gap, proof=proof)


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
    center = data.x_mean if data.intercept else None
    T = proof.T.copy()
    T[: X.shape[1]] /= data.x_scale[:, np.newaxis]
    total, basis = 0.0, Basis.of(Rows(X, Y[:, 0], root, center).columns(), T)
    for i, v in enumerate(proof.slopes):
        found = gap_at(Rows(X, Y[:, i], root, center), coef[i], basis, p, v, float(b[i]))
        with np.errstate(over="ignore"):
            unit = np.float64(found.unit) ** p / n
            total += float(
                unit * (found.gap + (1 if weight is None else 2) * rounding(p) * found.loss)
            )
    return total


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
