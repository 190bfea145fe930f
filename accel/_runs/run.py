"""A run in progress: its chunks of steps, their records, and how each model ended."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from accel._runs.checks import Limits
from accel._runs.exported import arrays_of, cut_arrays, cut_in, snapshot_in
from accel._runs.history import BATCH_LOSS, History
from accel._runs.intervals import Chosen, Every, records_of
from accel._runs.pacing import Pace
from accel._runs.recorder import Recorder
from accel._runs.replays import Replays
from accel._runs.results import Status
from accel._support.arrays import Array
from accel.kernels import specs
from accel.kernels.protocols import Snapshot, TrainingLoop

__all__ = ["Check", "Ending", "Run"]

_log = logging.getLogger("accel")

_CHUNK_SECONDS = 0.1
_GROWTH = 16  # how much longer a chunk may be than the last: the first step has cold caches
_FEW = 16  # steps: chunks no longer record every step, so that the newest loss needs no pass more
_LOOKS = 10  # with batches a loss is computed to be shown after so many times what it costs
_DROPPED = -1  # our own status code; kernels use 0 to 3

Ending = tuple[Status, int | None, int, float, History]  # int: diverged_at, steps; float: seconds


@dataclass(frozen=True)
class Check:
    """A stopping rule of the caller, for what the kernels do not know.

    Attributes
    ----------
    every : int
        Updates between two calls of ``settled``: it is called at the multiples of this number.
    settled : callable
        Whether a model has converged, given its flat factors on the host.
    """

    every: int
    settled: Callable[[Array], bool]


class Run:
    """A run in progress.

    Its methods are called in the worker thread, where no KeyboardInterrupt can come between an
    update and its record.

    Parameters
    ----------
    loop : TrainingLoop
    models : int
    limits : Limits
    watched : bool
        Whether the newest losses are wanted after every chunk.
    pace : Pace, optional
        Sets the rate in a run of one model, from ``begin`` or ``resume`` on.
    recorder : Recorder, optional
        Records the iterates beside loss and norms, at the steps of ``limits``.
    batches : bool
        Whether the steps have batches, whose loss is recorded, too.
    """

    def __init__(
        self,
        loop: TrainingLoop,
        models: int,
        limits: Limits,
        watched: bool,
        check: Check | None = None,
        pace: Pace | None = None,
        recorder: Recorder | None = None,
        *,
        batches: bool = False,
    ) -> None:
        self.loop = loop
        self._check = check
        self.codes = np.full(models, specs.RUNNING)
        self.newest = (0, np.full(models, math.nan))  # the last step whose losses are known
        self._limits, self._watched = limits, watched
        self._diverged_at = np.full(models, -1)
        self._steps: list[Array] = []
        self._rows: list[Array] = []
        self._clock = [(0, 0.0)]  # (step, seconds) at the end of every chunk
        self._records = records_of(limits.record_every, limits.steps)
        self._replays = Replays(loop, self._records if batches else None)
        self._size = 1
        self._pace, self._recorder = pace, recorder
        self._has_batches, self._columns = batches, 4 if batches else 3
        self._looked = (-math.inf, 0.0)  # when a loss was computed to be shown, and its seconds
        self._kept = None if pace is None else loop.snapshot()
        self._cut: dict[
            str, Array
        ] = {}  # where a stretch was judged before its end, as it was then

    @property
    def going(self) -> bool:
        """Whether there are steps left to make, and a model to make them with."""
        return bool(len(self.loop.active) and self.loop.step < self._limits.steps)

    @property
    def lost(self) -> bool:
        """Whether every model has diverged."""
        return bool((self.codes == specs.DIVERGED).all())

    def advance(self) -> None:
        """Make one chunk of steps."""
        loop, start, limits = self.loop, self.loop.step, self._limits
        rung = next((rung for rung in limits.rungs if rung[0] > start), (limits.steps, 0))
        stop = min(rung[0], limits.steps)
        if self._pace is not None:
            stop = int(min(stop, self._pace.end))
        size = min(self._size, stop - start)
        self._replays.begin_chunk()
        active = loop.active
        if self._check is not None:
            size = min(size, self._check.every - start % self._check.every)
        # With batches a record is a pass over all rows, and what it says may end the run.
        every_step = size <= _FEW and not self._has_batches
        began = time.perf_counter()
        seconds = self._make(size, Every(1) if every_step else self._records)
        per_step = max(time.perf_counter() - began, 1e-9) / max(loop.step - start, 1)
        self._clock.append((loop.step, self._clock[-1][1] + seconds))
        steps, rows = loop.take_history()
        due = self._records.due(steps)
        self._steps.append(steps[due])
        self._rows.append(rows[due])
        self.codes[active] = loop.statuses[active]
        if len(steps):
            self.newest = (int(steps[-1]), rows[-1, :, 0])
        elif self._watched and len(loop.active) and self._may_look:
            self._look()
        if self._pace is not None:
            self._judge(self._pace)
        self._go_back(active[self.codes[active] == specs.DIVERGED])
        if due.any():
            self._replays.recorded()
        if rung in limits.rungs and loop.step == rung[0]:
            self._drop(rung[1])
        # A stretch that was taken back leaves nothing new to check.
        if self._check is not None and loop.step > start and loop.step % self._check.every == 0:
            self._let_go(self._check)
        self._size = max(1, min(int(_CHUNK_SECONDS / per_step), _GROWTH * size))

    @property
    def _may_look(self) -> bool:
        """Whether a loss may be computed only to be shown: with batches that is long for a step."""
        at, cost = self._looked
        return not self._has_batches or time.perf_counter() - at >= _LOOKS * cost

    def _look(self) -> None:
        """Compute the newest losses."""
        began = time.perf_counter()
        losses = np.where(self.codes == specs.RUNNING, self.loop.evaluate()[:, 1], math.nan)
        self.newest = (self.loop.step, losses)
        ended = time.perf_counter()
        self._looked = ended, ended - began

    def _make(self, size: int, records: Every | Chosen) -> float:
        """Make so many steps, in pieces between the iterates to record; the seconds they took."""
        loop, limits, recorder = self.loop, self._limits, self._recorder
        end, seconds = loop.step + size, 0.0
        while loop.step < end and len(loop.active):
            stop = end
            if recorder is not None:
                recorder.take_active(loop, None if self._pace is None else self._pace.rate)
                stop = min(end, self._records.after(loop.step))
            stop, every = records.stretch(loop.step, stop)
            began = time.perf_counter()
            loop.advance(stop - loop.step, every, limits.tol, limits.target)
            seconds += time.perf_counter() - began
            if loop.step < stop:  # a request to stop, or the end of all models
                break
        return seconds

    def begin(self, pace: Pace, rate: float) -> None:
        """Follow the pace from now on, beginning with this rate."""
        pace.begin(rate, self._objective(pace))
        self.loop.set_rate(0, rate)

    def _objective(self, pace: Pace) -> float:
        """The current value that the pace judges by: the loss and the penalty of weight decay."""
        with np.errstate(over="ignore", invalid="ignore"):
            loss = float(self.loop.evaluate()[0, 1])
            return loss if pace.penalty is None else loss + pace.penalty(self.loop.params(0))

    @property
    def _end_of_kept(self) -> Snapshot:
        """The end of the last stretch that was kept, in a run with a pace."""
        assert self._kept is not None
        return self._kept

    def _judge(self, pace: Pace) -> None:
        """Keep the stretch or take it back, if it is at its end or the model has diverged."""
        loop, diverged = self.loop, self.codes[0] == specs.DIVERGED
        if math.isinf(pace.end) or not (
            diverged
            or (self.codes[0] == specs.RUNNING and loop.step >= min(pace.end, self._limits.steps))
        ):
            return
        value = math.inf if diverged else self._objective(pace)
        if loop.step < pace.end and math.isfinite(value) and not self._cut:
            self._cut = self._state()  # with more steps this stretch would have gone on
        if pace.keeps(loop.step, value):
            self._kept = loop.snapshot()
            if not diverged:
                self._replays.restart(self._kept)
        else:
            self._take_back(pace)
            _log.info("the loss rose: back to step %d, learning rate %.4g", loop.step, pace.rate)
        loop.set_rate(0, pace.rate)

    def _take_back(self, pace: Pace) -> None:
        """Return to the end of the last stretch that was kept, in all but clock and velocity."""
        kept = self._end_of_kept
        begun = kept._replace(state=pace.without_velocity(kept.state))
        self.loop.restore(begun)
        self._replays.restart(begun)
        self.codes[0] = specs.RUNNING
        steps, rows = self._recorded()
        self._steps, self._rows = [steps[steps < kept.step]], [rows[steps < kept.step]]
        if self._recorder is not None:
            self._recorder.forget(int(kept.step))
        before = [entry for entry in self._clock if entry[0] <= kept.step]
        self._clock = [*before, (int(kept.step), self._clock[-1][1])]

    def _go_back(self, diverged: Array) -> None:
        """Take these models back to their last iterates with a finite loss, to the bit."""
        if len(diverged):
            self._diverged_at[diverged] = self.loop.steps[diverged]
            self._replays.go_back(diverged)

    def _drop(self, keep: int) -> None:
        """End all models but those with the lowest losses."""
        last, active = self._settle(), self.loop.active
        order = active[np.argsort(last[active, 1], kind="stable")]
        self.codes[order[keep:]] = _DROPPED
        self.loop.restore(self.loop.snapshot(), np.sort(order[:keep]))

    def _let_go(self, check: Check) -> None:
        """End the models that have converged by the caller's rule."""
        settled = [m for m in self.loop.active if check.settled(self.loop.params(int(m)))]
        if settled:
            self.codes[settled] = specs.CONVERGED
            others = [m for m in self.loop.active if m not in settled]
            self.loop.restore(self.loop.snapshot(), others)

    def _settle(self) -> Array:
        """Mark the models that diverged at the very last update; return ``loop.evaluate()``."""
        last: Array = self.loop.evaluate()
        bad = ~np.isfinite(last[:, 1:3]).all(axis=1) & (self.codes == specs.RUNNING)
        if bad.any():
            self.codes[bad] = specs.DIVERGED
            if self._pace is not None:
                self._judge(self._pace)
            self._go_back(np.flatnonzero(bad & (self.codes == specs.DIVERGED)))
            last = self.loop.evaluate()
        return last

    def _recorded(self) -> tuple[Array, Array]:
        steps = np.concatenate([*self._steps, np.empty(0, np.int64)])
        return steps, np.concatenate([*self._rows, np.empty((0, len(self.codes), self._columns))])

    def finish(self) -> list[Ending]:
        """Return how each model ended."""
        if (
            self._pace is not None
            and self.loop.step > self._end_of_kept.step
            and self._worse(self._pace)
        ):
            self._take_back(self._pace)  # the run stopped in the middle of a stretch
        last = self._settle()
        steps, rows = self._recorded()
        return [self._ending(m, steps, rows[:, m], last[m]) for m in range(len(self.codes))]

    def _ending(self, m: int, steps: Array, rows: Array, last: Array) -> Ending:
        own = ~np.isnan(rows[:, 0]) & (steps <= last[0])
        steps, rows = steps[own], rows[own]
        if not len(steps) or steps[-1] < last[0]:
            ending = np.full(self._columns, math.nan)
            ending[:3] = last[1:]
            steps, rows = np.append(steps, last[0]), np.vstack([rows, ending])
        at, clock = zip(*self._clock, strict=True)
        loss, gradient_norm, weight_norm, *of_batch = rows.T.copy()
        for losses in of_batch:  # the last iterate may have had one, if the run ended at a record
            losses[-1] = math.nan
        beside = dict(zip([BATCH_LOSS], of_batch, strict=False))
        made = int(last[0])
        history = History(
            steps.astype(np.int64), loss, gradient_norm, weight_norm, np.interp(steps, at, clock),
            beside | self._recorded_beside(m, steps),
        )  # fmt: skip
        diverged_at = int(self._diverged_at[m]) if self.codes[m] == specs.DIVERGED else None
        end = made if diverged_at is None else diverged_at
        seconds = float(np.interp(end, at, clock))
        return self._status(m, made, last), diverged_at, made, seconds, history

    def _recorded_beside(self, m: int, steps: Array) -> dict[str, Array]:
        """What the recorder has of these steps, of which the last one is that of now."""
        if self._recorder is None:
            return {}
        rate = None if self._pace is None else self.rate
        self._recorder.take(self.loop, m, int(steps[-1]), rate)
        return self._recorder.at(m, steps)

    @property
    def rate(self) -> float:
        """The rate of the last stretch that was not taken back, in a run with a pace."""
        assert self._pace is not None
        state = self._pace.state
        return state.rate if self.loop.step > self._end_of_kept.step else state.kept

    def _worse(self, pace: Pace) -> bool:
        """Whether the current stretch would be taken back if it ended here."""
        return self.codes[0] == specs.RUNNING and not pace.would_keep(self._objective(pace))

    @property
    def seconds(self) -> float:
        """Seconds that the steps took so far."""
        return self._clock[-1][1]

    def _status(self, m: int, made: int, last: Array) -> Status:
        code, limits = self.codes[m], self._limits
        if code == specs.DIVERGED:
            return "diverged"
        if code == _DROPPED:
            return "dropped"
        # Checked for every ending, since kernels do not judge the iterate after the last step.
        if code == specs.CONVERGED or (limits.tol > 0 and last[2] <= limits.tol):
            return "converged"
        if code == specs.TARGET or last[1] <= limits.target:
            return "target"
        return "completed" if made >= limits.steps else "interrupted"

    def export(self) -> dict[str, Array]:
        """Return everything that the rest of the run, and its results, depend on."""
        # A model that diverged later would need a snapshot from before this one. With batches all
        # rows are asked at records only, so that it does not matter when a run is saved.
        if not self._has_batches:
            self._settle()
        return self.state()

    def end(self, *, kept: bool) -> tuple[list[Ending], dict[str, Array]]:
        """Return how each model ended and, if ``kept``, all that the run depends on if it goes on.

        That is the state from before what is only done at the end: a stretch that is taken back
        since it ends early, and with batches a divergence that no record shows.
        """
        if not kept:
            return self.finish(), {}
        if self._pace is None and not self._has_batches:
            return self.finish(), self.state()  # the former marks what diverged at the last step
        state = self.state()
        return self.finish(), state

    def state(self) -> dict[str, Array]:
        """Return the same as ``export`` of the current iterates, whether they are finite or not.

        The arrays stay as they are; those of a GPU are there.
        """
        return self._state() | cut_arrays(self._cut)

    def _state(self) -> dict[str, Array]:
        base = self._replays.base
        steps, rows = self._recorded()
        paced: dict[str, Array] = {}
        if self._pace is not None:
            paced = {"pace": self._pace.export(), **arrays_of("kept", self._end_of_kept)}
        recorded = {} if self._recorder is None else self._recorder.export()
        if self._pace is not None:  # records may be taken back, and others made in their places
            recorded = {name: array.copy() for name, array in recorded.items()}
        return {
            "codes": self.codes.copy(),
            "diverged_at": self._diverged_at.copy(),
            "steps": steps,
            "rows": rows,
            "clock": np.array(self._clock, np.float64),
            "size": np.array(self._size),
            **arrays_of("loop", self.loop.snapshot()),
            **({} if base is None else arrays_of("base", base)),
            **paced,
            **recorded,
        }

    def resume(self, arrays: Mapping[str, Array]) -> None:
        """Go on from what ``export`` returned, which is left as it is."""
        self.loop.restore(snapshot_in("loop", arrays))
        if self._pace is not None:
            self._kept = snapshot_in("kept", arrays)
            self._pace.resume(arrays["pace"])
            self.loop.set_rate(0, self._pace.rate)
        self.codes, self._diverged_at = arrays["codes"].copy(), arrays["diverged_at"].copy()
        self._steps, self._rows = [arrays["steps"]], [arrays["rows"]]
        self._clock = [(int(step), float(seconds)) for step, seconds in arrays["clock"]]
        self._size = int(arrays["size"])
        self._cut = cut_in(arrays)
        if self._has_batches:
            self._replays.restart(snapshot_in("base", arrays))
        if self._recorder is not None:
            self._recorder.resume(arrays)
