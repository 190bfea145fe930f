r"""Descent on the factors of a network until a rule says that it has converged.

The kernels have one stopping rule: the gradient with respect to the end-to-end matrix is small. It
is not small at a minimum with weight decay, or among maps of bounded rank. The rules here look at
the factors every hundred steps, at the cost of one pass over the data.
"""

import math
import sys
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np

from accel._core.network import LinearNetwork
from accel._core.optimizers import USUAL_RATES, EndToEnd, Momentum, Nesterov, Optimizer
from accel._core.problem import Problem
from accel._runs.checks import RunOptions, limits
from accel._runs.history import HISTORY, History
from accel._runs.results import Result
from accel._runs.run import Check
from accel._runs.training import train_until
from accel._support.arrays import Array
from accel._support.backends import resolve
from accel.kernels.reference.norms import norm
from accel.losses import Lp
from accel.sklearn.fitting import Fit
from accel.sklearn.saddles import trap
from accel.sklearn.starts import balanced

__all__ = ["descend"]

_ROUNDS = 8  # the fewest rounds of a run, each with a new rate or the intercept freed of decay
_CHECK_STEPS = 100  # between two checks of a rule of this module
_PATIENCE = 4  # checks in a row at which the loss has not fallen
#: Optimisers that rescale the gradient but not the decay, so that no gradient vanishes where they
#: end. (AdaDelta's two scales cancel once it has settled.)
_RESCALING = ("adagrad", "rmsprop", "group-rmsprop", "adam")
_ESCAPES = 4  # for each singular value: attempts to leave a trap, since factors may fall back
_NOISE = 32  # units in the last place of the first gradient: one so small is rounding errors


@dataclass(frozen=True, eq=False)
class _SmallGradient:
    """The rule that the gradient with respect to the factors, decay included, is small."""

    problem: Problem
    widths: tuple[int, ...]
    optimizer: Optimizer
    decay: float
    small: float

    def __call__(self, params: Array) -> bool:
        chain, widths = resolve("reference").factor_chain, self.widths
        with np.errstate(over="ignore", invalid="ignore"):
            params = params.astype(np.float64)
            W = chain.end_to_end(params, widths)
            if not np.isfinite(W).all():  # the run is diverging
                return False
            G = self.problem.gradient(W).astype(np.float64)
            if isinstance(self.optimizer, EndToEnd):  # its W stands for balanced factors
                width, depth = min(W.shape), self.optimizer.depth
                noise = max(W.shape) * float(np.finfo(self.problem.dtype).eps)
                factors = balanced(W, depth, width, noise)
                params = np.concatenate([a.ravel() for a in factors])
                widths = (widths[0], *[width] * (depth - 1), widths[-1])
            slope = chain.gradients(params, widths, G) + self.decay * params
            return bool(norm(slope) <= self.small)


@dataclass(eq=False)
class _LossAtRest:
    """The rule that the least loss has fallen by less than a fraction tol in the last checks."""

    problem: Problem
    widths: tuple[int, ...]
    tol: float
    lowest: float = field(default=math.inf, init=False)
    checks: int = field(default=0, init=False)

    def __call__(self, params: Array) -> bool:
        with np.errstate(over="ignore", invalid="ignore"):
            W = resolve("reference").factor_chain.end_to_end(params, self.widths)
            if not np.isfinite(W).all():
                return False
            loss = self.problem.loss(W)
        self.checks = 0 if loss < (1 - self.tol) * self.lowest else self.checks + 1
        self.lowest = min(self.lowest, loss)
        return self.checks >= _PATIENCE


def descend(
    problem: Problem,
    network: LinearNetwork,
    optimizer: Optimizer,
    max_iter: int,
    tol: float,
    *,
    auto: bool,
    intercept: bool,
    options: RunOptions,
) -> Fit:
    r"""Train a network until the gradient is tol times what it is at W = 0.

    For p > 2 also until it is tol times what it would be if all rows pulled in one direction, see
    ``_at_rest``.

    Parameters
    ----------
    problem, network, optimizer
        As for ``train``.
    max_iter : int
    tol : float
    auto : bool
        Whether ``train`` finds the rate, which follows the loss: anew for every round.
    intercept : bool
        Whether the last feature is that of the intercept, which weight decay shall spare; only for
        losses of residuals.
    options : RunOptions

    Notes
    -----
    Weight decay acts on all parameters. To spare the intercept, its value after a round is
    subtracted from the targets and set to 0: in the limit nothing is left to decay (the proximal
    point method, for one variable). A round is an eighth of the run, or less if it converges.

    With decay, or hidden layers too narrow for every map, it is the gradient with respect to the
    factors, decay included, that has to be small: see ``_SmallGradient``. Momentum multiplies the
    gradient by 1 / (1 - mu) in the long run; the decay is divided by 1 - mu, too, so that the
    minimum does not depend on mu. AdaGrad, RMSProp, also in groups, and Adam rescale the gradient
    but not the decay, and come to rest, or circle, where no gradient vanishes: for them the loss
    has to have come to rest, see ``_LossAtRest``.

    If the factors are at a saddle at the end of a round, or at a local minimum that decay makes,
    the next round begins at a lower map (see ``saddles``), if there are steps left.
    """
    run = _Descent(problem, network, optimizer, max_iter, tol, auto, intercept, options)
    while run.status == "completed" and run.made < max_iter:
        run.advance()
    return run.fit()


class _Descent:
    """The state of ``descend``; ``status`` is "completed" until something else ends the run."""

    def __init__(
        self,
        problem: Problem,
        network: LinearNetwork,
        optimizer: Optimizer,
        max_iter: int,
        tol: float,
        auto: bool,
        intercept: bool,
        options: RunOptions,
    ) -> None:
        _, decay, momentum, *_ = optimizer.rule.hyper  # none of them is scheduled
        begin = norm(problem.gradient(np.zeros((problem.k, problem.d))))
        if begin == 0:  # W = 0 is a minimum
            network = network.with_params(np.zeros_like(network.params))
        if isinstance(optimizer, Momentum | Nesterov):
            optimizer = replace(optimizer, weight_decay=decay / (1 - momentum))
        self._problem, self._network, self._optimizer = problem, network, optimizer
        self._max_iter, self._tol, self._auto, self._options = max_iter, tol, auto, options
        self._decay, self._spared = decay, bool(decay) and intercept
        self._by_factors = bool(decay) or min(network.widths) < min(problem.d, problem.k)
        self._by_loss = bool(decay) and optimizer.name in _RESCALING
        self._least = _NOISE * float(np.finfo(problem.dtype).eps)
        self._small = min(max(tol, self._least) * (begin or 1.0), sys.float_info.max)
        # Optimisers that rescale the gradient lose their scales at the end of a round and keep one
        # rate throughout: for them the run is a single round.
        rescaling = self._by_factors and optimizer.name in USUAL_RATES
        rounds = _ROUNDS if (auto or self._by_factors) and not rescaling else 1
        self._size = -(-max_iter // rounds)
        self._shifted, self._shift = problem, np.zeros(problem.k)
        self._results: list[Result] = []
        self._lowest = math.inf  # loss of the rounds so far
        self._escapes = 0  # how often the run was continued from a lower map
        self.made, self.status, self._trouble = 0, "completed", ""

    def advance(self) -> None:
        """Run a round and judge its end."""
        result = self._round()
        self._results.append(result)
        self._network = cast(LinearNetwork, result.network)
        self._optimizer = result.optimizer
        if result.status == "diverged":
            at = self.made + (result.diverged_at or 0)
            self.status, self._trouble = "diverged", f"the run diverged at step {at}"
            return
        self.made += result.steps
        if self._spared:
            self._network, intercepts = _without_last(self._network)
            self._shift += intercepts
            self._shifted = _shifted(self._problem, self._shift)
        converged = self._converged(result)
        if not (converged and not self._by_factors) and self._escape(converged):
            return
        if converged:
            self.status = "converged"

    def _round(self) -> Result:
        """Train for the steps of a round, or until it converges."""
        steps = min(self._size, self._max_iter - self.made)
        result = train_until(
            self._shifted, self._network, self._optimizer,
            limits(steps, None, 0.0 if self._by_factors else self._small, None), self._options,
            Check(min(_CHECK_STEPS, self._size), self._rule()) if self._by_factors else None,
            auto_rate=self._auto,
        )  # fmt: skip
        if result.status == "interrupted":
            raise KeyboardInterrupt
        return result

    def _rule(self) -> _SmallGradient | _LossAtRest:
        problem, widths = self._shifted, self._network.widths
        if self._by_loss:
            return _LossAtRest(problem, widths, self._tol)
        return _SmallGradient(problem, widths, self._optimizer, self._decay, self._small)

    def _converged(self, result: Result) -> bool:
        """Whether the run can end with the network of this round."""
        converged = result.status == "converged"
        if self._by_loss:
            lowest, self._lowest = self._lowest, min(self._lowest, result.loss)
            return converged and not (self._spared and result.loss < (1 - self._tol) * lowest)
        if self._by_factors:
            return self._rule()(self._network.params)
        return self._at_rest(converged)

    def _at_rest(self, converged: bool) -> bool:
        """Whether the gradient is small, also relative to that of residuals of the same size.

        For p > 2 the gradient falls with the power p - 1 of the residuals: at p = 8 it is 1e-8
        times what it was where the residuals are a 14th of what they were, however far from the
        minimum that is. If it is not small in this sense, the run goes on with a new rate and a
        smaller bound. If a map fits the data exactly, the run goes on until the residuals are as
        small relative to the targets.
        """
        problem, power = self._shifted, self._shifted.loss_function
        if not isinstance(power, Lp) or power.p <= 2:
            return converged
        p = power.p
        host, W = problem.host, self._network.end_to_end()
        R = np.abs(host.X @ W.T - host.Y).astype(np.float64)
        largest, target = float(R.max()), float(np.abs(host.Y).max())
        if largest <= max(self._tol, self._least) * target:
            return True
        if not converged:
            return False
        rest = max(self._tol, self._least * max(1.0, target / largest))  # rounding errors of R
        rows = np.sqrt(np.sum(host.X.astype(np.float64) ** 2, axis=1))
        slopes = np.sqrt(np.sum((R / largest) ** (2 * p - 2), axis=1))
        with np.errstate(over="ignore"):
            scale = p * problem.factor * largest ** (p - 1) * float(np.mean(slopes * rows))
        small = min(self._small, rest * scale)
        if norm(problem.gradient(W)) <= small:
            return True
        self._small = small
        return False

    def _escape(self, converged: bool) -> bool:
        """If the factors are trapped, go on from a lower map or end the run; return whether so."""
        optimizer, network, W = self._optimizer, self._network, self._network.end_to_end()
        depth = optimizer.depth if isinstance(optimizer, EndToEnd) else network.depth
        width = min(network.widths)
        trapped = trap(self._shifted, W, depth, width, self._decay, self._tol)
        last = self.made >= self._max_iter or self._escapes >= _ESCAPES * min(W.shape)
        if trapped is None or (trapped.lower is None and not (converged or last)):
            return False
        if trapped.lower is None or last:
            self.status, self._trouble = "saddle", trapped.reason
            return True
        factors = balanced(trapped.lower, network.depth, max(network.widths[1:-1], default=0))
        self._network = network.with_params(np.concatenate([a.ravel() for a in factors]))
        self._lowest, self._escapes = math.inf, self._escapes + 1
        return True

    def fit(self) -> Fit:
        """Return the result."""
        W = self._network.end_to_end().astype(np.float64)
        if self._shift.any():
            W[:, -1] += self._shift
        trouble = self._trouble
        if self.status == "completed":
            fallen = f"the gradient has not fallen to {self._small:.3g}"
            trouble = "the loss has not come to rest" if self._by_loss else fallen
        rate, *_ = self._results[-1].optimizer.rule.hyper
        history = _joined([result.history for result in self._results])
        steps = max(sum(result.steps for result in self._results), 1)
        return Fit(W, steps, history, trouble, self.status, learning_rate=rate)


def _shifted(problem: Problem, shift: Array) -> Problem:
    """The problem with this much of the last feature subtracted from the targets."""
    if not shift.any():
        return problem
    Y = problem.Y - np.outer(problem.X[:, -1], shift)
    return Problem(problem.X, Y.astype(problem.dtype), problem.loss_function)


def _without_last(network: LinearNetwork) -> tuple[LinearNetwork, Array]:
    """A network that ignores the last feature, and the weights (k,) that this one gives it."""
    params, rows = network.params.copy(), network.widths[:2][::-1]
    params[: rows[0] * rows[1]].reshape(rows)[:, -1] = 0
    return network.with_params(params), network.end_to_end()[:, -1].astype(np.float64)


def _joined(histories: list[History]) -> History:
    """Join the histories of consecutive runs, each begun where the one before ended, into one."""
    first, *rest = histories
    columns = {name: [first[name]] for name in HISTORY}
    for history in rest:
        new = history.step > 0  # step 0 repeats the last record of the run before
        for name, column in columns.items():
            values = history[name][new]
            cumulative = name in ("step", "seconds")
            column.append(values + column[-1][-1] if cumulative else values)
    joined = {name: np.concatenate(column) for name, column in columns.items()}
    return History(**joined, recorded={})
