"""Runs of one or many models: the loop kernel driven in chunks that leave the caller in control."""

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from accel import arrays, memory, validation
from accel.backends import Backend, cpu_threads, resolve
from accel.checkpoints import Checkpoint, Place, of_models
from accel.kernels import specs
from accel.kernels.reference.norms import norm
from accel.network import LinearNetwork
from accel.optimizers import EndToEnd, Optimizer
from accel.problem import LpProblem
from accel.progress import preparing, progress
from accel.results import History, Result, Status
from accel.validation import Array
from accel.work import Work

_CHUNK_SECONDS = 0.1
_GROWTH = 16  # of a chunk over the one before: the first step, with cold caches, says little
_FEW = 16  # steps; chunks this short record every one of them, so that no pass is needed to look
_RECORDS = 1000
_MOST_STEPS = 2**53  # the kernels count them in float64
_DROPPED = -1  # beside the codes of the kernels
_GROWING = ("steps", "rows", "clock", "loop_active")  # of what a run exports

#: ``watch(step, losses)``: the newest losses known, nan for models that have ended.
Watch = Callable[[int, Array], object]

_Ending = tuple[Status, int | None, int, float, History]  # int: diverged_at, steps; float: seconds


@dataclass(frozen=True)
class Limits:
    """When to look, and when to stop; checked.

    Attributes
    ----------
    steps, record_every : int
    tol, target : float
    rungs : tuple of (int, int)
        At these steps, ascending, so many models stay: those with the lowest losses.
    """

    steps: int
    record_every: int
    tol: float
    target: float
    rungs: tuple[tuple[int, int], ...] = ()


def limits(steps: int, record_every: int | None, tol: float, target: float | None) -> Limits:
    """Check what ``train`` and ``sweep`` were given, and fill in what was left out."""
    steps = validation.integer("steps", steps, least=1, most=_MOST_STEPS)
    if record_every is None:
        record_every = -(-steps // _RECORDS)
    record_every = validation.integer("record_every", record_every, least=1, most=_MOST_STEPS)
    tol = validation.real("tol", tol, least=0)
    goal = -math.inf if target is None else validation.real("target", target)
    return Limits(steps, record_every, tol, goal)


def check_callback(callback: object) -> None:
    """Check that it can be called, if it is there."""
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable, got {validation.shown(callback)}")


def check_model(problem: LpProblem, network: LinearNetwork, optimizer: Optimizer) -> None:
    """Check that the three are what they should be and fit together."""
    kinds: list[tuple[str, object, type]] = [
        ("problem", problem, LpProblem),
        ("network", network, LinearNetwork),
        ("optimizer", optimizer, Optimizer),
    ]
    for name, value, kind in kinds:
        if not isinstance(value, kind):
            raise TypeError(
                f"{name} must be of type {kind.__name__}, got {validation.shown(value)}"
            )
    if (network.widths[0], network.widths[-1]) != (problem.d, problem.k):
        raise ValueError(
            f"network must map d = {problem.d} features to k = {problem.k} outputs, "
            f"got widths {network.widths}"
        )
    if network.dtype != problem.dtype:
        raise TypeError(
            f"network and problem must have one dtype, got {network.dtype} and {problem.dtype}"
        )
    if isinstance(optimizer, EndToEnd) and network.depth != 1:
        raise ValueError(
            f"EndToEnd needs a network of depth 1, got depth {network.depth}: its own depth "
            f"({optimizer.depth}) is that of the net it stands for"
        )


class _Run:
    """A run in progress.

    Its methods are called in the worker thread, where no KeyboardInterrupt can come between an
    update and its record.
    """

    def __init__(self, loop: Any, models: int, limits: Limits, watched: bool) -> None:
        self.loop = loop
        self.codes = np.full(models, specs.RUNNING)
        self.newest = (0, np.full(models, math.nan))  # the last step whose losses are known
        self._limits, self._watched = limits, watched
        self._diverged_at = np.full(models, -1)
        self._steps: list[Array] = []
        self._rows: list[Array] = []
        self._clock = [(0, 0.0)]  # (step, seconds) at the end of every chunk
        self._snapshots: deque[Any] = deque(maxlen=2)
        self._size = 1

    @property
    def going(self) -> bool:
        return bool(len(self.loop.active) and self.loop.step < self._limits.steps)

    @property
    def lost(self) -> bool:
        """Whether every model has diverged."""
        return bool((self.codes == specs.DIVERGED).all())

    def advance(self) -> None:
        """Make one chunk of steps."""
        loop, start, limits = self.loop, self.loop.step, self._limits
        rung = next((rung for rung in limits.rungs if rung[0] > start), (limits.steps, 0))
        size = min(self._size, min(rung[0], limits.steps) - start)
        self._snapshots.append(loop.snapshot())
        active = loop.active
        record_every = 1 if size <= _FEW else limits.record_every
        began = time.perf_counter()
        loop.advance(size, record_every, limits.tol, limits.target)
        seconds = time.perf_counter() - began
        self._clock.append((loop.step, self._clock[-1][1] + seconds))
        steps, rows = loop.take_history()
        due = steps % limits.record_every == 0
        self._steps.append(steps[due])
        self._rows.append(rows[due])
        self.codes[active] = loop.statuses[active]
        if len(steps):
            self.newest = (int(steps[-1]), rows[-1, :, 0])
        elif self._watched and len(loop.active):
            losses = np.where(self.codes == specs.RUNNING, loop.evaluate()[:, 1], math.nan)
            self.newest = (loop.step, losses)
        self._go_back(active[self.codes[active] == specs.DIVERGED])
        if rung in limits.rungs and loop.step == rung[0]:
            self._drop(rung[1])
        per_step = max(seconds, 1e-9) / max(loop.step - start, 1)
        self._size = max(1, min(int(_CHUNK_SECONDS / per_step), _GROWTH * size))

    def _go_back(self, diverged: Array) -> None:
        """Repeat these models, bit by bit, up to their last iterates with a finite loss."""
        if not len(diverged):
            return
        loop = self.loop
        now, ended = loop.snapshot(), loop.steps
        self._diverged_at[diverged] = ended[diverged]
        for m in diverged:
            goal = ended[m] - 1
            for snapshot in reversed(self._snapshots):
                if snapshot.step <= goal:
                    loop.restore(snapshot, [m])
                    while loop.step < goal:  # a request to stop may be pending; it ends one call
                        loop.advance(goal - loop.step)
                    break
            # Else the very first iterate is bad: there is nothing before it.
        loop.restore(now, [m for m in now.active if m not in diverged])

    def _drop(self, keep: int) -> None:
        """Let go of all but the models with the lowest losses."""
        last, active = self._settle(), self.loop.active
        order = active[np.argsort(last[active, 1], kind="stable")]
        self.codes[order[keep:]] = _DROPPED
        self.loop.restore(self.loop.snapshot(), np.sort(order[:keep]))

    def _settle(self) -> Array:
        """Find models that the very last update made diverge; evaluate all."""
        last: Array = self.loop.evaluate()
        bad = ~np.isfinite(last[:, 1:3]).all(axis=1) & (self.codes == specs.RUNNING)
        if bad.any():
            self.codes[bad] = specs.DIVERGED
            self._go_back(np.flatnonzero(bad))
            last = self.loop.evaluate()
        return last

    def finish(self) -> list[_Ending]:
        """Settle how each model ended."""
        last = self._settle()
        steps = np.concatenate([*self._steps, np.empty(0, np.int64)])
        rows = np.concatenate([*self._rows, np.empty((0, len(self.codes), 3))])
        return [self._ending(m, steps, rows[:, m], last[m]) for m in range(len(self.codes))]

    def _ending(self, m: int, steps: Array, rows: Array, last: Array) -> _Ending:
        own = ~np.isnan(rows[:, 0]) & (steps <= last[0])
        steps, rows = steps[own], rows[own]
        if not len(steps) or steps[-1] < last[0]:
            steps, rows = np.append(steps, last[0]), np.vstack([rows, last[1:]])
        at, clock = zip(*self._clock, strict=True)
        loss, gradient_norm, weight_norm = rows.T.copy()
        history = History(
            steps.astype(np.int64), loss, gradient_norm, weight_norm, np.interp(steps, at, clock)
        )
        made = int(last[0])
        diverged_at = int(self._diverged_at[m]) if self.codes[m] == specs.DIVERGED else None
        end = made if diverged_at is None else diverged_at
        seconds = float(np.interp(end, at, clock))
        return self._status(m, made, last), diverged_at, made, seconds, history

    @property
    def seconds(self) -> float:
        return self._clock[-1][1]

    def _status(self, m: int, made: int, last: Array) -> Status:
        code, limits = self.codes[m], self._limits
        if code == specs.DIVERGED:
            return "diverged"
        if code == _DROPPED:
            return "dropped"
        # Judged here for every ending: the kernels do not look at the iterate after the last step.
        if code == specs.CONVERGED or (limits.tol > 0 and last[2] <= limits.tol):
            return "converged"
        if code == specs.TARGET or last[1] <= limits.target:
            return "target"
        return "completed" if made >= limits.steps else "interrupted"

    def export(self) -> dict[str, Array]:
        """Everything that the rest of the run, and its results, depend on."""
        self._settle()  # or a model could need a snapshot from before to go back to
        return {
            "codes": self.codes,
            "diverged_at": self._diverged_at,
            "steps": np.concatenate([*self._steps, np.empty(0, np.int64)]),
            "rows": np.concatenate([*self._rows, np.empty((0, len(self.codes), 3))]),
            "clock": np.array(self._clock, np.float64),
            "size": np.array(self._size),
            **{f"loop_{k}": arrays.to_host(v) for k, v in self.loop.snapshot()._asdict().items()},
        }

    def resume(self, arrays: dict[str, Array]) -> None:
        """Go on from what ``export`` returned."""
        snapshot = type(self.loop.snapshot())(
            **{k.removeprefix("loop_"): v for k, v in arrays.items() if k.startswith("loop_")}
        )
        self.loop.restore(snapshot._replace(step=int(snapshot.step)))
        self.codes, self._diverged_at = arrays["codes"], arrays["diverged_at"]
        self._steps, self._rows = [arrays["steps"]], [arrays["rows"]]
        self._clock = [(int(step), float(seconds)) for step, seconds in arrays["clock"]]
        self._size = int(arrays["size"])


def kernels_for(problem: LpProblem, models: int, steps: int, backend: str) -> Backend:
    """Return the backend that will train so many models on a problem."""
    rows = problem.d if problem.method == "gram" else problem.n
    work = 2.0 * rows * problem.d * problem.k * models
    choose = getattr(problem, "resolve", resolve)  # data on other machines: theirs are meant
    chosen: Backend = choose(backend, work=work, steps=steps, on_device=problem.on_device)
    return chosen


def suited(problem: LpProblem, networks: Iterable[LinearNetwork], limits: Limits) -> LpProblem:
    """Return the problem by the method that has the digits for these limits."""
    if problem.method != "gram":
        return problem
    weights = 0.0
    if limits.tol > 0 or limits.target > -math.inf:
        with np.errstate(over="ignore", invalid="ignore"):  # the run will tell
            weights = max(norm(network.end_to_end()) for network in set(networks))
    return problem.suited(weights, limits.tol, limits.target)


def _end(run: _Run, saved: Checkpoint | None) -> list[_Ending]:
    if saved is not None:
        saved.keep(run.export(), last=True)
    return run.finish()


def run_models(
    problem: LpProblem,
    models: Sequence[tuple[LinearNetwork, Optimizer]],
    limits: Limits,
    *,
    watch: Watch | None,
    shown: bool,
    backend: str,
    threads: int | None,
    checkpoint: Place | None = None,
) -> tuple[list[Result], float]:
    """Train models that have been checked, side by side; their results and the seconds it took.

    Notes
    -----
    Whatever ``watch`` raises ends the run and is passed on; a true return value stops it.
    """
    problem = suited(problem, (network for network, _ in models), limits)
    kernels = kernels_for(problem, len(models), limits.steps, backend)
    # The steps of a run that may end by itself are a bound, and no reason to refuse its history.
    certain = limits.tol == 0 and limits.target == -math.inf and watch is None
    records = limits.steps // limits.record_every if certain else 0
    needs = memory.run_needs(problem, models, records, kernels, cpu_threads(threads))
    memory.require("the run", needs)
    with preparing():
        loop = problem.loop(
            kernels,
            [specs.Model(net.widths, net.params.copy(), rule.rule) for net, rule in models],
            threads,
        )
    params = getattr(loop, "device_params", loop.params)
    run = _Run(loop, len(models), limits, shown or watch is not None)
    saved: Checkpoint | None = None
    if checkpoint is not None:
        identity = of_models(problem, models, asdict(limits), kernels.name)
        saved = Checkpoint(checkpoint, identity, _GROWING)
    with loop, ThreadPoolExecutor(1, "accel-train") as pool:
        if saved is not None:
            begun = run.export()
            if (found := saved.load(begun)) is not None:
                run.resume(found)
            if run.going:  # that nothing can be written there is better known now than in hours
                saved.save(begun if found is None else found)
            else:
                saved = None
        try:
            _drive(run, pool, limits.steps, watch, shown, saved)
        except KeyboardInterrupt:
            loop.stop()
        except BaseException:
            loop.stop()
            raise
        ending = Work(pool, lambda: _end(run, saved))
        with contextlib.suppress(KeyboardInterrupt):  # it is ending already
            ending.result()
        results = [
            Result(
                network=network.with_params(params(m)),
                history=history,
                status=status,
                steps=made,
                seconds=seconds,
                diverged_at=diverged_at,
                optimizer=optimizer,
                p=problem.p,
                scale=problem.scale,
                method=problem.method,
                backend=kernels.name,
                threads=int(loop.threads),
            )
            for m, ((network, optimizer), (status, diverged_at, made, seconds, history)) in (
                enumerate(zip(models, ending.result(), strict=True))
            )
        ]
    return results, run.seconds


def _true(answer: object) -> bool:
    """Whether the answer of a callback is true; some, such as arrays, are neither."""
    try:
        return bool(answer)
    except Exception:
        raise TypeError(
            f"callback must return what is true or false, got {validation.shown(answer)}"
        ) from None


def _drive(
    run: _Run,
    pool: ThreadPoolExecutor,
    steps: int,
    watch: Watch | None,
    shown: bool,
    saved: Checkpoint | None,
) -> None:
    """Make chunk after chunk in the worker, so that this thread is free to take a Ctrl-C."""
    with progress(shown, steps) as report:
        while run.going:
            Work(pool, run.advance).result()
            if run.lost:
                return
            step, losses = run.newest
            report(run.loop.step, float(np.nanmin(losses, initial=math.inf)))
            if saved is not None and saved.due:
                Work(pool, lambda: saved.keep(run.export())).result()
            if watch is not None and _true(watch(step, losses)):
                return
