r"""The whole training loop: gradient descent on :math:`L^N(W_1, ..., W_N) = L(W_N \cdots W_1)`.

One iterate after the other: multiply the factors to :math:`W_e`, take the loss and its gradient G
there, then stop, or move every factor by the rule. The end-to-end rule runs on a single factor,

.. math:: W \leftarrow (1 - \eta\lambda N) W - \eta P_W(G),

which is gradient descent on the preconditioned gradient, with N times the decay.

A run holds any number of models. They go side by side, each as if it were alone, and leave the run
one by one as they end.

Of an entrywise map (:mod:`.entrywise`) the vectors take the place of the factors.

With batches (:mod:`.batches`) the loss and the gradient that an update goes by are those of the
rows of the step; what is recorded, and what ends a run, are those of all data.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np

from ..protocols import Array, Snapshot
from ..specs import (
    CONVERGED,
    DIVERGED,
    END_TO_END,
    GRADIENT_DESCENT,
    LABELS,
    RUNNING,
    STATE_SLOTS,
    TARGET,
    Batches,
    Loss,
    ModelSpec,
    Rule,
)
from . import entries, entrywise, factor_chain, schedules
from .batches import rows
from .lp_loss import (
    diagonal_loss_and_gradient,
    gram,
    gram_loss_and_gradient,
    loss_and_gradient,
)
from .norms import norm
from .philox import gaussians, signs
from .precondition import precondition
from .updates import update


class BaseTrainingLoop(ABC):
    """A run without its data: for each model its factors, its optimiser's memory and its fate.

    A subclass has the data, and makes the passes over them.

    Parameters
    ----------
    models : sequence of ModelSpec
        At least one; their initial factors are copied. ``widths`` are ``(d, n_1, ..., k)``, and
        ``(d, k)`` for the end-to-end rule; see there for entrywise maps.

    Attributes
    ----------
    step : int
        Updates made so far by the models that are still in the run.
    active : (A,) int array
        The models that are still in the run.
    statuses, steps : (M,) int arrays
        RUNNING, CONVERGED, TARGET or DIVERGED, and updates made, for each model.
    threads : int
        1, unless a subclass has more.
    """

    def __init__(self, models: Sequence[ModelSpec]) -> None:
        self._models = list(models)
        self._params = [model.params.copy() for model in self._models]
        self._state = [
            np.zeros((STATE_SLOTS[model.rule.kind], model.params.size), model.params.dtype)
            for model in self._models
        ]
        self._history: list[tuple[int, Array]] = []
        self._stop_requested = False
        self.active: Array = np.arange(len(self._models))
        self.statuses = np.full(len(self._models), RUNNING)
        self.steps = np.zeros(len(self._models), np.int64)
        self.step = 0
        self.threads = 1

    @abstractmethod
    def _pass(self, m: int) -> tuple[Array, float, Array]:
        """End-to-end matrix, loss and gradient of a model's current iterate."""

    @property
    def _has_batches(self) -> bool:
        """Whether the passes of updates go over other rows than ``_pass``."""
        return False

    def _batch_pass(self, m: int) -> tuple[Array, float, Array]:
        """The same by the rows of the current step."""
        return self._pass(m)

    def _end_to_end(self, m: int) -> Array:
        """End-to-end matrix of a model's current iterate."""
        model, params = self._models[m], self._params[m]
        if model.entrywise is not None:
            return entrywise.end_to_end(params, model.entrywise)
        return factor_chain.end_to_end(params, model.widths)

    def _gradients(self, m: int, G: Array) -> Array:
        """Gradients of a model's factors, flat, from that of its end-to-end matrix."""
        model, params = self._models[m], self._params[m]
        if model.entrywise is not None:
            return entrywise.gradients(params, model.entrywise, G)
        return factor_chain.gradients(params, model.widths, G)

    def _starts(self, m: int) -> list[int]:
        """Where each of a model's factors, or vectors, begins among its parameters."""
        model = self._models[m]
        if model.entrywise is not None:
            size = model.params.size
            return list(range(0, size, size // model.entrywise.vectors))
        return factor_chain.starts_of(model.widths)

    def _update(self, m: int, W: Array, G: Array) -> None:
        rule, params = self._models[m].rule, self._params[m]
        kind, hyper = rule.kind, schedules.at(rule, int(self.steps[m]))
        if kind == END_TO_END:
            rate, decay, a, b, eps = hyper
            grads = precondition(W, G, int(a)).ravel()
            kind, hyper = GRADIENT_DESCENT, (rate, a * decay, a, b, eps)
        else:
            grads = self._gradients(m, G)
        self.steps[m] += 1
        update(kind, params, grads, self._state[m], hyper, self.steps[m], self._starts(m))

    def _judge(self, value: float, slope: float, tol: float, target: float) -> int:
        if not (math.isfinite(value) and math.isfinite(slope)):
            return DIVERGED
        if tol > 0 and slope <= tol:
            return CONVERGED
        return TARGET if value <= target else RUNNING

    @np.errstate(over="ignore", invalid="ignore")  # a run may diverge: that is a status
    def advance(
        self, steps: int, record_every: int = 0, tol: float = 0.0, target: float = -math.inf
    ) -> None:
        """Make up to ``steps`` updates of every model in the run.

        Before each, the current iterate is judged in this order: with a loss or gradient that is
        not finite the model has DIVERGED; the iterate is recorded if its step is a multiple of
        ``record_every``; with a gradient norm of at most ``tol`` > 0 it has CONVERGED, with a loss
        of at most ``target`` it has met its TARGET. A model that has ended leaves the run, its
        iterate stays as it is. A request to stop ends the call after the step in hand.

        With batches only an iterate that is to be recorded is judged so; of the others, and of the
        batches, no more is asked than that loss and gradient are finite.
        """
        for _ in range(steps):
            due = record_every > 0 and self.step % record_every == 0
            record = np.full((len(self._models), self._columns), np.nan)
            for m in self.active:
                if due or not self._has_batches:
                    W, value, G = self._pass(m)
                    slope = norm(G)
                    self.statuses[m] = self._judge(value, slope, tol, target)
                    if self.statuses[m] != DIVERGED:
                        record[m, :3] = value, slope, norm(W)
                if self._has_batches and self.statuses[m] == RUNNING:
                    W, value, G = self._batch_pass(m)
                    self.statuses[m] = self._judge(value, norm(G), 0.0, -math.inf)
                    if self.statuses[m] == RUNNING:
                        record[m, 3] = value
                if self.statuses[m] == RUNNING:
                    self._update(m, W, G)
            if due and not np.isnan(record).all():
                self._history.append((self.step, record))
            self.active = self.active[self.statuses[self.active] == RUNNING]
            if not len(self.active):
                return
            self.step += 1
            if self._stop_requested:
                self._stop_requested = False
                return

    def take_history(self) -> tuple[Array, Array]:
        """The history recorded since the last call.

        Returns
        -------
        steps : (m,) int array
        rows : (m, M, 3) or, with batches, (m, M, 4) float64 array
            Loss, Frobenius norms of G and of W_e, loss of the batch; nan for a model that was not
            in the run.
        """
        history, self._history = self._history, []
        steps, shape = np.array([step for step, _ in history], np.int64), (-1, len(self._models))
        return steps, np.array([rows for _, rows in history]).reshape(*shape, self._columns)

    @property
    def _columns(self) -> int:
        """Numbers of a record."""
        return 4 if self._has_batches else 3

    @np.errstate(over="ignore", invalid="ignore")
    def evaluate(self) -> Array:
        """Steps, loss and norms of every model's current iterate, (M, 4), recorded nowhere."""
        rows = []
        for m in range(len(self._models)):
            W, value, G = self._pass(m)
            rows.append((self.steps[m], value, norm(G), norm(W)))
        return np.array(rows)

    def params(self, model: int) -> Array:
        """A copy of a model's current factors."""
        return self._params[model].copy()

    def device_params(self, model: int) -> Array:
        """The same as ``params``: the run is on the host."""
        return self.params(model)

    def set_rate(self, model: int, rate: float) -> None:
        """Change the learning rate of a model for the steps to come, and end its schedule."""
        rule = self._models[model].rule
        constant = Rule(rule.kind, (rate, *rule.hyper[1:]), (None, *rule.programs[1:]))
        self._models[model] = self._models[model]._replace(rule=constant)

    def snapshot(self) -> Snapshot:
        """The state of the run, without its history, to go back to with ``restore``."""
        fates = np.column_stack([self.statuses, self.steps])
        state = np.concatenate([state.ravel() for state in self._state])
        return Snapshot(self.step, self.active.copy(), fates, np.concatenate(self._params), state)

    def restore(self, snapshot: Snapshot, models: Iterable[int] | None = None) -> None:
        """Go back, any number of times; from there the run repeats itself bit by bit.

        With ``models`` only those go back, and only they are in the run then.
        """
        self.step, self.active = snapshot.step, snapshot.active.copy()
        if models is not None:
            self.active = np.array(list(models), np.int64)
        chosen = range(len(self._models)) if models is None else self.active
        for flat, own in ((snapshot.params, self._params), (snapshot.state, self._state)):
            ends = np.cumsum([part.size for part in own])
            parts = np.split(flat, ends[:-1])
            for m in chosen:
                own[m][...] = parts[m].reshape(own[m].shape)
        for m in chosen:
            self.statuses[m], self.steps[m] = snapshot.fates[m]

    def stop(self) -> None:
        """Ask the run to stop after the step in hand; from another thread, too."""
        self._stop_requested = True

    def close(self) -> None:  # noqa: B027 - a subclass need not have anything to give back
        """Nothing to give back here."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()


class TrainingLoop(BaseTrainingLoop):
    """A run on data that are here.

    Parameters
    ----------
    X : (n, d) array, or (d,) in the form "diagonal", or as ``Loss`` says
    Y : (n, k) array
    loss : Loss
        For p = 2 its form may replace the data by their Gram matrices, or say that they are a
        diagonal matrix; or that the data are entries or measurements of the matrix itself.
    models : sequence of ModelSpec
    threads : int
        Ignored: NumPy decides.
    batches : Batches, optional
        The rows of each step, for a pass over the data, or entries or measurements; by default all.
    """

    def __init__(
        self,
        X: Array,
        Y: Array,
        loss: Loss,
        models: Sequence[ModelSpec],
        threads: int = 1,
        batches: Batches | None = None,
    ) -> None:
        super().__init__(models)
        self._X, self._Y, self._loss, self._batches = X, Y, loss, batches
        self._gram = gram(X, Y) if loss.form == "gram" else None
        self._batch: tuple[int, Array, Array] | None = None

    @property
    def _has_batches(self) -> bool:
        return self._batches is not None

    def _pass(self, m: int) -> tuple[Array, float, Array]:
        return self._pass_over(m, self._X, self._Y)

    def _batch_pass(self, m: int) -> tuple[Array, float, Array]:
        assert self._batches is not None
        if self._batch is None or self._batch[0] != self.step:  # all models have the same
            size, shuffle, seed, noise, plus_minus = self._batches
            own = rows(len(self._X), size, shuffle, seed, self.step)
            Y = self._Y[own]
            if noise:
                make = signs if plus_minus else gaussians
                fresh = make(0, self._Y.size, LABELS, self.step, seed).reshape(self._Y.shape)
                Y = (Y + noise * fresh[own]).astype(Y.dtype)
            self._batch = self.step, self._X[own], Y
        return self._pass_over(m, *self._batch[1:])

    def _pass_over(self, m: int, X: Array, Y: Array) -> tuple[Array, float, Array]:
        W = self._end_to_end(m)
        if self._loss.form == "diagonal":
            return W, *diagonal_loss_and_gradient(X, Y, W, self._loss)
        if self._loss.form == "entries":
            return W, *entries.loss_and_gradient(X, Y, W, self._loss)
        if self._loss.form == "measurements":
            return W, *entries.measured_loss_and_gradient(X, Y, W, self._loss)
        if self._gram is None:
            return W, *loss_and_gradient(X, Y, W, self._loss)
        return W, *gram_loss_and_gradient(*self._gram, len(X), W, self._loss.factor)
