"""The whole training loop on the device; the host queues steps and reads every model's status.

A problem whose data fit on the chip runs there (``resident``), thousands of steps a launch. Any
other has its data streamed once a step, after which one block a model goes on (``streaming``) or,
with wide networks of several outputs, all blocks do (``wide``); so has every run with batches
(``batches``) or with Langevin's rule (``noise``). Results do not depend on where a run is cut into
launches, nor on the other models of the run, but for the rounding of cuBLAS on the products route
(see ``lp_loss``): that depends on which models were in the run when ``advance`` began.
"""

import contextlib
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..protocols import Snapshot
from ..specs import RUNNING, Batches, Loss, ModelSpec
from . import planning
from .batches import Sampled
from .entries import pack_entries
from .epilogue import (
    ACTIVE,
    BEGIN,
    CONTROL_SIZE,
    COUNT,
    EVALUATE,
    FAILED,
    LIMITS_SIZE,
    RECORD_EVERY,
    SCALE,
    SLOPES,
    STATUS,
    STEP,
    STEPS,
    STOP_AT,
    TARGET_LOSS,
    TOL,
    YY,
    Models,
    P,
    Shared,
)
from .jit import ON_HOST, xp
from .launch import Launcher, Resident, plan, stream
from .losses import slope_scale
from .lp_loss import gram, pack, pack_diagonal, pack_gram
from .updates import RATE, RATE_PROGRAM, SCHEDULABLE

#: Numbers of history, and of a schedule's values, that fit between two launches, and rows at most.
_HISTORY, _RECORDS = 2**20, 4096
#: Steps of a first launch, how much more the next may make, and what one should take (seconds):
#: a request to stop is heard between two of them, and displays end launches that take seconds.
_FIRST, _GROWTH, _LAUNCH_SECONDS = 64, 8, 0.05


class TrainingLoop:
    """A run in progress: full-batch descent of deep linear networks on one problem, in step.

    Parameters
    ----------
    X, Y : arrays, shapes (n, d), or (d,) in the form "diagonal", and (n, k), one dtype
        NumPy's are copied to the device, CuPy's are used where they are, once all is done that
        the stream that is current has been asked for: they may still be on their way there. Of
        other forms as ``Loss`` says; in the form "entries" NumPy's.
    loss : Loss
        In the form "gram" the dtype must be float64.
    models : sequence of ModelSpec
        At least one; ``widths`` from n_0 = d to n_N = k. Entrywise ones have one form.
    threads : int
        Ignored: it is meant for the CPU.
    batches : Batches, optional
        The rows of each step, in the forms "direct" and "measurements"; by default all.
    blocks : int, optional
        Blocks that share the rows of a resident run, for measurements; chosen by ``launch.plan``
        otherwise. With batches no run is resident.

    Attributes
    ----------
    engine : str
        "resident", "streaming", or "wide": streaming with many blocks a model.
    """

    threads = 1

    def __init__(
        self,
        X: Any,
        Y: Any,
        loss: Loss,
        models: Sequence[ModelSpec],
        threads: int = 1,
        batches: Batches | None = None,
        *,
        blocks: int | None = None,
    ) -> None:
        if batches is not None and loss.form not in ("direct", "measurements"):
            raise ValueError(f"batches are for passes over rows, got the form {loss.form!r}")
        if batches is not None and blocks is not None:
            raise ValueError(f"blocks are for runs without batches, got {blocks}")
        dtype, count, n = np.dtype(Y.dtype), len(models), len(X)
        self._stream = contextlib.nullcontext() if ON_HOST else _following_stream()
        with self._stream:
            self._models = Models(models, dtype)
            self._limits = np.zeros(LIMITS_SIZE)
            self._limits[P], self._limits[SCALE] = loss.p, loss.factor / n
            self._limits[SLOPES] = slope_scale(loss, n)
            if loss.form == "gram":
                XX, YX, self._limits[YY] = gram(xp.asarray(X), xp.asarray(Y))
                data = pack_gram(XX, YX, n)
            elif loss.form == "diagonal":
                data, self._limits[YY] = pack_diagonal(X, Y), loss.rest
            elif loss.form == "entries":
                data = pack_entries(X, Y, *self._models.shape)
            else:
                data = pack(X, Y)
                if loss.form == "measurements":  # data of one output, the map row by row
                    loss = loss._replace(form="direct")
            self._control = np.zeros(CONTROL_SIZE, np.int64)
            self._control[COUNT] = count
            self._rows = self._models.rows.copy()
            records = min(max(_HISTORY // (3 * count), 2), _RECORDS)
            scheduled = self._models.scheduled
            self._most = max(_HISTORY // (SCHEDULABLE * count), 1) if scheduled else None
            self._run = Shared(
                control=xp.asarray(self._control),
                limits=xp.asarray(self._limits),
                models=xp.asarray(self._rows),
                active=xp.zeros(count, np.int64),
                table=xp.asarray(self._models.table),
                rules=xp.asarray(self._models.rules),
                memory=self._models.memory,
                history=xp.full((records, count, 3), np.nan),
                schedule=xp.zeros(SCHEDULABLE * count * (self._most or 0) + 1, np.float64),
            )
            self._sampled: Sampled | None = None
            chosen = None if batches is not None else plan(data, loss, self._models, blocks)
            self._launcher: Launcher
            if batches is not None:
                self._sampled = Sampled(batches, data, self._run, self._control)
                self._launcher = stream(data, loss, self._models, self._run, self._sampled)
            elif chosen is None:
                self._launcher = stream(data, loss, self._models, self._run)
            else:
                self._launcher = Resident(data, loss, self._models, self._run, chosen)
            self._active = np.arange(count)
            self._partners: np.ndarray | None = None
            self._step, self._stop_requested = 0, False
            self._records: list[tuple[np.ndarray, np.ndarray]] = []
            self._launch_steps = _FIRST
            self.evaluate()  # compiles the kernels, or loads them from the disk

    @property
    def engine(self) -> str:
        """How the data are held and a model's work is shared out: see ``launch``."""
        return self._launcher.name

    @property
    def step(self) -> int:
        """Updates made so far by the models that are still in the run."""
        return self._step

    @property
    def active(self) -> np.ndarray:
        """Indices of the models that are still in the run."""
        return self._active.copy()

    @property
    def statuses(self) -> np.ndarray:
        """Status code of each model, (M,)."""
        return self._rows[:, STATUS].copy()

    @property
    def steps(self) -> np.ndarray:
        """Updates made by each model, (M,)."""
        return self._rows[:, STEPS].copy()

    def device_params(self, model: int) -> Any:
        """Flat parameters of a model, a copy on the device."""
        with self._stream:
            start = int(self._models.starts[model])
            copy = self._run.memory[start : start + self._models.layouts[model].n_params].copy()
            self._wait()
            return copy

    def params(self, model: int) -> np.ndarray:
        """Flat parameters of a model, a copy on the host."""
        return _on_host(self.device_params(model))

    def advance(
        self, steps: int, record_every: int = 0, tol: float = 0.0, target: float = -np.inf
    ) -> None:
        """Make at most ``steps`` updates of every active model; those that end leave the run."""
        if planning.DEVICE:  # nothing is launched: no model would ever have made its steps
            raise RuntimeError(f"{planning.PLANNING} is set: kernels are planned, not launched")
        self._limits[TOL], self._limits[TARGET_LOSS] = tol, target
        end = self._step + steps
        most = record_every * (len(self._run.history) - 1) if record_every else steps
        most = min(most, self._most or most)
        partners = self._active if self._partners is None else self._partners
        with self._stream, _a_run_may_diverge():
            self._run.limits[...] = xp.asarray(self._limits)
            while self._step < end and len(self._active):
                piece = min(self._launch_steps, most, end - self._step)
                self._make(piece, record_every, partners)
                if self._stop_requested and self._step < end:
                    self._stop_requested = False
                    return
        self._partners = None

    def _make(self, steps: int, record_every: int, partners: np.ndarray) -> None:
        """Queue so many steps, wait for them, and read every model's status and steps."""
        begin, before = self._step, self._active
        began = time.perf_counter()
        self._enter(before, begin, begin + steps, record_every)
        self._launcher.advance(self._active, partners, steps)
        self._fetch()
        seconds = time.perf_counter() - began
        if 2 * steps >= self._launch_steps:  # a few last steps say little
            self._launch_steps = int(
                min(max(_LAUNCH_SECONDS * steps / seconds, 1), _GROWTH * self._launch_steps)
            )
        self._active = before[self._rows[before, STATUS] == RUNNING]
        # Models in the run have made as many steps as each other; the last to end sets the count.
        self._step = int(self._rows[before if not len(self._active) else self._active, STEPS].max())
        if record_every:
            self._keep_history(begin, begin + steps, record_every)

    def _enter(
        self,
        active: np.ndarray,
        begin: int,
        stop_at: int,
        record_every: int,
        evaluate: bool = False,
    ) -> None:
        control = self._control
        control[[ACTIVE, BEGIN, STOP_AT, STEP]] = len(active), begin, stop_at, begin
        control[[RECORD_EVERY, EVALUATE, FAILED]] = record_every, evaluate, 0
        self._run.control[...] = xp.asarray(control)
        self._run.active[: len(active)] = xp.asarray(active)

    def _fetch(self) -> None:
        self._rows[...] = _on_host(self._run.models)
        if _on_host(self._run.control)[FAILED]:
            raise RuntimeError(
                "the blocks of a launch waited for each other in vain: is the GPU shared with "
                "a program that keeps some of them from running?"
            )

    def _keep_history(self, begin: int, stop_at: int, every: int) -> None:
        first = -(-begin // every) * every
        steps = np.arange(first, stop_at, every)
        if len(steps):
            rows = _on_host(self._run.history[: len(steps)]).copy()
            self._run.history[: len(steps)] = np.nan
            if self._sampled is not None:
                losses = self._sampled.run.history[: len(steps)]
                rows = np.concatenate([rows, _on_host(losses)[:, :, np.newaxis]], axis=2)
                losses[...] = np.nan
            self._records.append((steps, rows))

    def evaluate(self) -> np.ndarray:
        """Steps, loss, gradient norm and weight norm of every model now, (M, 4)."""
        everyone = np.arange(len(self._rows))
        with self._stream, _a_run_may_diverge():
            self._enter(everyone, 0, 0, 0, evaluate=True)
            self._launcher.evaluate(everyone)
            self._wait()
            rows = _on_host(self._run.history[0]).copy()
            self._run.history[0] = np.nan
            self._fetch()
        return np.column_stack([self.steps, rows])

    def take_history(self) -> tuple[np.ndarray, np.ndarray]:
        """Return what was recorded since the last call: steps (m,) and rows (m, M, 3 or 4).

        A row is loss, gradient norm, weight norm and, with batches, the loss of the batch; nan for
        a model that was not in the run.
        """
        records, self._records = self._records, []
        if not records:
            columns = 3 if self._sampled is None else 4
            return np.empty(0, np.int64), np.empty((0, len(self._rows), columns))
        steps, rows = (np.concatenate(parts) for parts in zip(*records, strict=True))
        recorded = ~np.isnan(rows[:, :, 0]).all(axis=1)
        return steps[recorded], rows[recorded]

    def set_rate(self, model: int, rate: float) -> None:
        """Change the learning rate of a model for the steps to come, and end its schedule."""
        self._models.rules[model, [RATE, RATE_PROGRAM]] = rate, 0.0
        with self._stream:
            self._run.rules[...] = xp.asarray(self._models.rules)
            self._wait()

    def snapshot(self) -> Snapshot:
        """Everything that the rest of the run depends on."""
        fates = self._rows[:, [STATUS, STEPS]]
        with self._stream:
            params, state = self._parts()
            self._wait()
        return Snapshot(self._step, self.active, fates, params, state)

    def _parts(self) -> tuple[Any, Any]:
        """Return all parameters, one model's after the other's, and all state: copies."""
        memory, models = self._run.memory, self._models
        starts = [int(start) for start in models.starts[:-1]]
        params = [
            memory[start : start + layout.n_params]
            for start, layout in zip(starts, models.layouts, strict=True)
        ]
        state = [
            memory[start + layout.n_params : start + layout.n_kept]
            for start, layout in zip(starts, models.layouts, strict=True)
        ]
        return xp.concatenate(params), xp.concatenate(state)

    def restore(self, snapshot: Snapshot, models: Iterable[int] | None = None) -> None:
        """Go back to a snapshot; the run repeats itself from there to the bit.

        With ``models`` only those go back, and only they are in the run then.
        """
        chosen = range(len(self._rows)) if models is None else [int(m) for m in models]
        with self._stream:
            params, state = xp.asarray(snapshot.params), xp.asarray(snapshot.state)
            at_params = at_state = 0
            for m, layout in enumerate(self._models.layouts):
                start, kept = int(self._models.starts[m]), layout.n_kept - layout.n_params
                if m in chosen:
                    self._rows[m, [STATUS, STEPS]] = snapshot.fates[m]
                    middle = start + layout.n_params
                    self._run.memory[start:middle] = params[at_params:][: layout.n_params]
                    self._run.memory[middle : middle + kept] = state[at_state:][:kept]
                at_params, at_state = at_params + layout.n_params, at_state + kept
            self._run.models[...] = xp.asarray(self._rows)
            self._wait()
        # A model that repeats alone what it did among others gets the same bits only if its passes
        # are laid out as before: for the same partners.
        self._partners = None if models is None else np.asarray(snapshot.active, np.int64)
        self._active = np.array(snapshot.active if models is None else chosen, np.int64)
        self._step = int(snapshot.step)

    def stop(self) -> None:
        """Ask the run to stop after the launch in hand; callable from any thread."""
        self._stop_requested = True

    def close(self) -> None:
        """Nothing to give back here: CuPy frees arrays with their last user."""

    def __enter__(self) -> "TrainingLoop":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def _wait(self) -> None:
        if not ON_HOST:
            self._stream.synchronize()


def _following_stream() -> Any:
    """Return a new stream whose work begins after that of the stream that is current.

    The default one is waited for anyway, but not those that users make with ``non_blocking``.
    """
    asked_for = xp.cuda.Event(disable_timing=True)
    asked_for.record(xp.cuda.get_current_stream())
    stream = xp.cuda.Stream()
    stream.wait_event(asked_for)
    return stream


def _a_run_may_diverge() -> Any:
    return np.errstate(over="ignore", invalid="ignore")


def _on_host(array: Any) -> np.ndarray:
    """Wait for the device, and return NumPy's copy of an array."""
    return array if ON_HOST else array.get()
