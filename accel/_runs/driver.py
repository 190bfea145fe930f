"""Runs of one or many models, chunk by chunk, with callback, checkpoint and Ctrl-C in between."""

import contextlib
import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import numpy as np

from accel._core.base import Problem
from accel._core.gram import shortfall
from accel._core.network import LinearNetwork
from accel._core.optimizers import Optimizer
from accel._runs.checkpoints import Checkpoint, of_models
from accel._runs.checks import Limits, RunOptions
from accel._runs.pacing import pace_of
from accel._runs.progress import preparing, progress
from accel._runs.results import History, Result
from accel._runs.run import GROWING, Check, Ending, Run
from accel._runs.worker import Work
from accel._support import memory, validation
from accel._support.backends import Backend, cpu_threads
from accel.kernels import specs
from accel.kernels.reference.norms import norm


def kernels_for(problem: Problem, models: int, steps: int, backend: str) -> Backend:
    """Return the backend that will train so many models on a problem."""
    rows = problem.d if problem.method == "gram" else problem.n
    work = 2.0 * rows * problem.d * problem.k * models
    return problem.resolve(backend, work=work, steps=steps)


def suited(problem: Problem, networks: Iterable[LinearNetwork], limits: Limits) -> Problem:
    """Return the problem with a method that has the digits for these limits."""
    if problem.method != "gram":
        return problem
    weights = 0.0
    if limits.tol > 0 or limits.target > -math.inf:
        with np.errstate(over="ignore", invalid="ignore"):  # overflow is a status of the run
            weights = max(norm(network.end_to_end()) for network in set(networks))
    return problem.suited(weights, limits.tol, limits.target)


def _settle(problem: Problem, kernels: Backend, network: LinearNetwork, history: History) -> None:
    """Correct the last record of a run by X'X where X'X has not the digits for it.

    The losses of a good fit are then rounding errors, of either sign.
    """
    np.maximum(history.loss, 0.0, out=history.loss)
    loss, weights = float(history.loss[-1]), float(history.weight_norm[-1])
    if not math.isfinite(loss):
        return
    if shortfall(*problem.squares, problem.n, problem.factor, weights, tol=0.0, target=loss):
        loss, gradient = problem.single_pass(network.end_to_end(), kernels)
        history.loss[-1], history.gradient_norm[-1] = loss, norm(gradient)


def _end(
    run: Run, checkpoint: Checkpoint | None, settle: Callable[[int, History], None]
) -> list[Ending]:
    if checkpoint is not None:
        checkpoint.keep(run.export(), last=True)
    endings = run.finish()
    for m, (*_, history) in enumerate(endings):
        settle(m, history)
    return endings


def run_models(
    problem: Problem,
    models: Sequence[tuple[LinearNetwork, Optimizer]],
    limits: Limits,
    options: RunOptions,
    *,
    check: Check | None = None,
    first_rate: Callable[[], float] | None = None,
) -> tuple[list[Result], float]:
    """Train models that have been checked, side by side; their results and the seconds it took.

    With ``first_rate`` there is one model: the function returns the rate that the run begins with,
    which then follows the loss. The rule's own rate counts for nothing.

    Notes
    -----
    Whatever the callback raises ends the run and is passed on; a true return value stops it.
    """
    problem = suited(problem, (network for network, _ in models), limits)
    kernels = kernels_for(problem, len(models), limits.steps, options.backend)
    # A run that may end by itself can make fewer steps: its full history is no reason to refuse it.
    certain = limits.tol == 0 and limits.target == -math.inf and options.callback is None
    records = limits.steps // limits.record_every if certain else 0
    starts = [specs.ModelSpec(net.widths, net.params, rule.rule) for net, rule in models]
    threads = cpu_threads(options.threads)
    of_run = kernels.needs.run_bytes(problem.shape, starts, records, threads)
    memory.require("the run", problem.needs(kernels) | of_run)
    with preparing():
        loop = problem.loop(kernels, starts, options.threads)
    pace = pace_of(problem, *models[0]) if first_rate is not None else None
    watched = options.progress or options.callback is not None
    run = Run(loop, len(models), limits, watched, check, pace)
    checkpoint: Checkpoint | None = None
    if options.checkpoint is not None:
        identity = of_models(problem, models, asdict(limits), kernels.name)
        if pace is not None:
            identity["optimizers"] = [f"{rule!r}, rate found" for _, rule in models]
        checkpoint = Checkpoint(options.checkpoint, identity, GROWING)
    saved = None  # what the checkpoint holds of an earlier call

    def settle(m: int, history: History) -> None:
        if problem.method == "gram":
            network = models[m][0].with_params(loop.device_params(m))
            _settle(problem, kernels, network, history)

    with ThreadPoolExecutor(1, "accel-train") as pool:
        if checkpoint is not None and (saved := checkpoint.load(run.export())) is not None:
            run.resume(saved)
        if pace is not None and first_rate is not None and saved is None:
            run.begin(pace, first_rate())
        if checkpoint is not None:
            if run.going:  # fail now, not in hours, if the file cannot be written
                checkpoint.save(run.export() if saved is None else saved)
            else:
                checkpoint = None
        try:
            _drive(run, pool, limits.steps, options, checkpoint)
        except KeyboardInterrupt:
            loop.stop()
        except BaseException:
            loop.stop()
            raise
        ending = Work(pool, lambda: _end(run, checkpoint, settle))
        with contextlib.suppress(KeyboardInterrupt):  # it is ending already
            ending.result()
        results = [
            Result(
                network=network.with_params(loop.device_params(m)),
                history=history,
                status=status,
                steps=made,
                seconds=seconds,
                diverged_at=diverged_at,
                optimizer=optimizer if pace is None else replace(optimizer, learning_rate=run.rate),
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
) -> None:
    """Make chunk after chunk in the worker, so that this thread is free to take a Ctrl-C."""
    with progress(options.progress, steps) as report:
        while run.going:
            Work(pool, run.advance).result()
            if run.lost:
                return
            step, losses = run.newest
            report(run.loop.step, float(np.nanmin(losses, initial=math.inf)))
            if checkpoint is not None and checkpoint.due:
                Work(pool, lambda: checkpoint.keep(run.export())).result()
            if options.callback is not None and _true(options.callback(step, losses)):
                return
