"""Runs of one or many models, chunk by chunk, with callback, checkpoint and Ctrl-C in between."""

import contextlib
import logging
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

from accel._core.base import BaseProblem
from accel._core.digits import shortfall
from accel._core.network import Network
from accel._core.optimizers import Langevin, Optimizer
from accel._runs.checkpoints import Checkpoint
from accel._runs.checks import Limits, RunOptions
from accel._runs.ends import Data, End, Facts, State, owners_in
from accel._runs.history import History
from accel._runs.intervals import records_of
from accel._runs.methods import ROTATED, Model, methods_of, pass_work
from accel._runs.pacing import pace_of
from accel._runs.progress import progress
from accel._runs.recorder import Recorder, checked
from accel._runs.results import Result
from accel._runs.resuming import Before
from accel._runs.rotating import begin, needs_of
from accel._runs.run import Check, Ending, Run
from accel._runs.saddles import stands_still
from accel._runs.worker import Work
from accel._support import memory, validation
from accel._support.arrays import Array
from accel._support.backends import Backend, cpu_threads
from accel.kernels import specs
from accel.kernels.reference.norms import norm
from accel.schedules.schedule import Schedule

_log = logging.getLogger("accel")


def kernels_for(
    problem: BaseProblem,
    models: Sequence[Model],
    methods: Sequence[str],
    steps: int,
    backend: str,
    batches: specs.Batches | None = None,
) -> Backend:
    """Return the backend that will train models on a problem, each by its method."""
    work = sum(
        pass_work(problem, network, method)
        for (network, _), method in zip(models, methods, strict=True)
    )
    diagonal = any(isinstance(network.structure, specs.Entrywise) for network, _ in models)
    noisy = any(isinstance(optimizer, Langevin) for _, optimizer in models)
    unmet = diagonal or noisy or batches is not None
    if backend == "auto" and unmet and not problem.on_device:
        backend = "cpu"  # CUDA kernels that have never met a GPU
    return problem.resolve(backend, work=work, steps=steps)


def backend_for(
    problem: BaseProblem,
    models: Sequence[Model],
    limits: Limits,
    backend: str,
    batches: specs.Batches | None = None,
) -> str:
    """Return the name of the backend that a run of these models would take."""
    methods = _methods(problem, models, limits, batches)
    return kernels_for(problem, models, methods, limits.steps, backend, batches).name


def _methods(
    problem: BaseProblem, models: Sequence[Model], limits: Limits, batches: specs.Batches | None
) -> list[str]:
    """The method of each model; with batches, passes over rows."""
    if batches is not None:
        return ["direct"] * len(models)
    return methods_of(problem, models, limits)


def _settle(
    problem: BaseProblem, method: str, kernels: Backend, network: Network, history: History
) -> None:
    """Correct the last record of a run where its form of the loss has not the digits for it.

    The losses of a good fit by X'X are then rounding errors, of either sign.
    """
    if method == "gram":
        np.maximum(history.loss, 0.0, out=history.loss)
    loss, weights = float(history.loss[-1]), float(history.weight_norm[-1])
    if not math.isfinite(loss):
        return
    if shortfall(method, problem.squares, problem.n, problem.factor, weights, target=loss):
        loss, gradient = problem.single_pass(network.end_to_end(), kernels)
        history.loss[-1], history.gradient_norm[-1] = loss, norm(gradient)


def _true_ending(ending: Ending, method: str, limits: Limits) -> Ending:
    """Return the ending of a run whose last record was corrected: nothing reached, if that is so.

    Before a run nobody knows how large its weights become, and rounding errors grow with them.
    """
    status, at, made, seconds, history = ending
    loss, size = float(history.loss[-1]), float(history.gradient_norm[-1])
    if status == "target" and loss > limits.target:
        what = f"target = {limits.target:.3g}: the loss is {loss:.3g}"
    elif status == "converged" and size > limits.tol:
        what = f"tol = {limits.tol:.3g}: the gradient norm is {size:.3g}"
    else:
        return ending
    _log.warning(
        "the run ended at step %d by rounding errors of the method %r, above %s; method='direct' "
        "has the digits", made, method, what,
    )  # fmt: skip
    return "completed", at, made, seconds, history


def _with_rate(history: History, optimizer: Optimizer) -> History:
    """Add the rate of a rule that is scheduled, of the update that follows each iterate."""
    rate = optimizer.learning_rate
    if not isinstance(rate, Schedule):
        return history
    return replace(history, recorded={"rate": rate(history.step), **history.recorded})


def _end(
    run: Run,
    checkpoint: Checkpoint | None,
    export: Callable[[], dict[str, Array]],
    settle: Callable[[int, Ending], Ending],
    kept: Callable[[dict[str, Array]], End] | None,
) -> tuple[list[Ending], End | None]:
    """How each model ended, and what the run can go on from if that is kept."""
    if checkpoint is not None:
        checkpoint.keep(export(), last=True)
    endings, state = run.end(kept=kept is not None)
    endings = [settle(m, ending) for m, ending in enumerate(endings)]
    return endings, None if kept is None else kept(state)


def _of_state(models: Sequence[Model]) -> dict[str, float]:
    """Bytes of what results keep for runs that go on from them."""
    size = sum(
        network.n_params * network.dtype.itemsize * (1 + specs.STATE_SLOTS[rule.rule.kind])
        for network, rule in models
    )
    copies = 1 if len(models) == 1 else 3  # whose each number is, and a snapshot meanwhile
    return {"the state at the end": float(copies * size)}


def run_models(
    problem: BaseProblem,
    models: Sequence[Model],
    limits: Limits,
    options: RunOptions,
    *,
    check: Check | None = None,
    first_rate: Callable[[], float] | None = None,
    start: End | None = None,
) -> tuple[list[Result], float]:
    """Train models that have been checked, side by side; their results and the seconds it took.

    With ``first_rate`` there is one model: the function returns the rate that the run begins with,
    which then follows the loss. The rule's own rate counts for nothing. With ``start`` the run goes
    on from there, or from its checkpoint if that has more steps; models, batches and record are
    those of its own.

    Notes
    -----
    Whatever the callback raises ends the run and is passed on; a true return value stops it.
    """
    before = Before(problem, start, limits, options)  # what an earlier call has done
    saved, limits, options = before.saved, before.limits, before.options
    batches = options.batches
    methods = before.methods(models) or _methods(problem, models, limits, batches)
    starts = [network.spec(optimizer.rule) for network, optimizer in models]
    # A run that may end by itself can make fewer steps: its full history is no reason to refuse it.
    certain = limits.tol == 0 and limits.target == -math.inf and options.callback is None
    records = records_of(limits.record_every, limits.steps)
    most = records.count(limits.steps) if certain else 0
    of_records = checked(problem, models, options.record, most)
    threads = cpu_threads(options.threads)

    def backend_of(methods: Sequence[str]) -> Backend:
        kernels = kernels_for(problem, models, methods, limits.steps, options.backend, batches)
        needs = needs_of(problem, kernels, methods, starts, most, threads, batches)
        memory.require("the run", needs | of_records | (_of_state(models) if options.kept else {}))
        return kernels

    try:
        kernels = backend_of(methods)
    except MemoryError as error:
        if problem.method != "auto" or saved is not None or not set(methods) & set(ROTATED):
            raise
        _log.info("no rotation of the data: %s", error)
        methods = methods_of(problem, models, limits, rotations=False)
        kernels = backend_of(methods)
    recorder: Recorder | None = None
    if options.record:
        recorder = Recorder(problem, models, options.record, records, kernels)
    checkpoint = before.checkpoint(models, methods, kernels.name, found=first_rate is not None)
    with before.reading():
        arrays = None if saved is None else saved.arrays
        loop, rotation = begin(problem, kernels, methods, starts, options.threads, arrays, batches)
    pace = pace_of(problem, *models[0], batches) if first_rate is not None else None
    watched = options.progress or options.callback is not None
    run = Run(
        loop, len(models), limits, watched, check, pace, recorder, batches=batches is not None
    )

    def export() -> dict[str, Array]:
        return run.export() | rotation

    def end_of(state: dict[str, Array]) -> End:
        facts = Facts(
            backend=kernels.name, record_every=limits.record_every, found=pace is not None,
            batches=batches, record=options.record,
        )  # fmt: skip
        owners = owners_in(loop) if len(models) > 1 else None
        return End(
            models, methods, facts, state | rotation, Data(problem), problem.loss_function, owners
        )

    def settle(m: int, ending: Ending) -> Ending:
        if methods[m] == "gram" or (methods[m] == "spectral" and problem.dtype == np.float64):
            network = models[m][0].with_params(loop.device_params(m))
            _settle(problem, methods[m], kernels, network, ending[-1])
            return _true_ending(ending, methods[m], limits)
        return ending

    with ThreadPoolExecutor(1, "accel-train") as pool:
        before.resume(run, recorder, rotation)
        if pace is not None and first_rate is not None and saved is None:
            run.begin(pace, first_rate())
        if checkpoint is not None:
            if run.going:  # fail now, not in hours, if the file cannot be written
                checkpoint.save(export() if saved is None else saved.arrays)
            else:
                checkpoint = None
        try:
            _drive(run, pool, limits.steps, options, checkpoint, export)
        except KeyboardInterrupt:
            loop.stop()
        except BaseException:
            loop.stop()
            raise
        kept = end_of if options.kept else None
        ending = Work(pool, lambda: _end(run, checkpoint, export, settle, kept))
        with contextlib.suppress(KeyboardInterrupt):  # it is ending already
            ending.result()
        endings, end = ending.result()
        results = [
            _result(
                problem,
                kernels,
                network,
                network=network.with_params(loop.device_params(m)),
                history=history if pace is not None else _with_rate(history, optimizer),
                status=status,
                steps=made,
                seconds=seconds,
                diverged_at=diverged_at,
                optimizer=optimizer if pace is None else replace(optimizer, learning_rate=run.rate),
                loss_function=problem.loss_function,
                method=methods[m],
                backend=kernels.name,
                threads=int(loop.threads),
                scaling=problem.scaling,
                _state=None if end is None else State(end, m),
            )
            for m, ((network, optimizer), (status, diverged_at, made, seconds, history)) in (
                enumerate(zip(models, endings, strict=True))
            )
        ]
    return results, run.seconds


def _result(problem: BaseProblem, kernels: Backend, start: Network, **facts: Any) -> Result:
    """The result of these facts, and whether it ends at the saddle at which it began."""
    result = Result(**facts)
    with contextlib.suppress(KeyboardInterrupt):  # the run is over, and has its result
        if result.status == "completed" and stands_still(
            problem, kernels, start, result.network, result.optimizer, result.history
        ):
            return replace(result, at_saddle=True)
    return result


def _true(answer: object) -> bool:
    """Return whether the answer of a callback is true.

    Raises
    ------
    TypeError
        If its truth value is ambiguous, as that of an array is.
    """
    try:
        return bool(answer)
    except Exception:
        raise TypeError(
            f"callback must return what is true or false, got {validation.shown(answer)}"
        ) from None


def _drive(
    run: Run,
    pool: ThreadPoolExecutor,
    steps: int,
    options: RunOptions,
    checkpoint: Checkpoint | None,
    export: Callable[[], dict[str, Array]],
) -> None:
    """Make chunk after chunk in the worker, so that this thread is free to take a Ctrl-C."""
    with progress(options.progress, steps, options.name) as report:
        while run.going:
            Work(pool, run.advance).result()
            if run.lost:
                return
            step, losses = run.newest
            report(run.loop.step, float(np.nanmin(losses, initial=math.inf)))
            if checkpoint is not None and checkpoint.due:
                Work(pool, lambda: checkpoint.keep(export())).result()
            if options.callback is not None and _true(options.callback(step, losses)):
                return
