"""Runs of one or many models: the loop kernel driven in chunks that leave the caller in control."""

import contextlib
import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import numpy as np

from accel._core.gram import shortfall
from accel._core.network import LinearNetwork
from accel._core.optimizers import Optimizer
from accel._core.problem import LpProblem
from accel._runs.checkpoints import Checkpoint, Place, of_models
from accel._runs.checks import Limits
from accel._runs.needs import run_needs
from accel._runs.pacing import pace_of
from accel._runs.progress import preparing, progress
from accel._runs.results import History, Result
from accel._runs.run import GROWING, Check, Ending, Run
from accel._runs.worker import Work
from accel._support import arrays, memory, validation
from accel._support.arrays import Array
from accel._support.backends import Backend, cpu_threads, resolve
from accel.kernels import specs
from accel.kernels.reference.norms import norm

_BLOCK = 2**20  # numbers of X that are looked at together

#: ``watch(step, losses)``: the newest losses known, nan for models that have ended.
Watch = Callable[[int, Array], object]


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


def _by_passes(problem: LpProblem, kernels: Backend, W: Array) -> tuple[float, Array]:
    """Loss and gradient by a pass over the data, for which nothing is laid out anew."""
    if problem.on_device or hasattr(problem, "resolve"):  # or on other machines
        return problem.loss_and_gradient(W, backend=kernels.name)
    loss, gradient = 0.0, np.zeros_like(W)
    rows = max(_BLOCK // problem.d, 1)
    for start in range(0, problem.n, rows):
        X, Y = problem.X[start : start + rows], problem.Y[start : start + rows]
        part = specs.Loss(problem.p, problem.factor * len(X) / problem.n)
        value, slope = resolve("reference").lp_loss.loss_and_gradient(X, Y, W, part)
        loss, gradient = loss + float(value), gradient + slope
    return loss, gradient


def _settle(problem: LpProblem, kernels: Backend, network: LinearNetwork, history: History) -> None:
    """Let the last record of a run by X'X be right where X'X has not the digits for it.

    Of a good fit its losses are rounding errors, of either sign.
    """
    np.maximum(history.loss, 0.0, out=history.loss)
    loss, weights = float(history.loss[-1]), float(history.weight_norm[-1])
    squares = problem._squares
    if math.isfinite(loss) and shortfall(*squares, problem.n, problem.factor, weights, 0.0, loss):
        loss, gradient = _by_passes(problem, kernels, network.end_to_end())
        history.loss[-1], history.gradient_norm[-1] = loss, norm(arrays.to_host(gradient))


def _end(
    run: Run, saved: Checkpoint | None, settle: Callable[[int, History], None]
) -> list[Ending]:
    if saved is not None:
        saved.keep(run.export(), last=True)
    endings = run.finish()
    for m, (*_, history) in enumerate(endings):
        settle(m, history)
    return endings


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
    check: Check | None = None,
    first_rate: Callable[[], float] | None = None,
) -> tuple[list[Result], float]:
    """Train models that have been checked, side by side; their results and the seconds it took.

    With ``first_rate`` there is one model: it finds the rate that the run begins with, which then
    follows the loss. The rule's own rate counts for nothing.

    Notes
    -----
    Whatever ``watch`` raises ends the run and is passed on; a true return value stops it.
    """
    problem = suited(problem, (network for network, _ in models), limits)
    kernels = kernels_for(problem, len(models), limits.steps, backend)
    # The steps of a run that may end by itself are a bound, and no reason to refuse its history.
    certain = limits.tol == 0 and limits.target == -math.inf and watch is None
    records = limits.steps // limits.record_every if certain else 0
    needs = run_needs(problem, models, records, kernels, cpu_threads(threads))
    memory.require("the run", needs)
    with preparing():
        loop = problem.loop(
            kernels,
            [specs.Model(net.widths, net.params.copy(), rule.rule) for net, rule in models],
            threads,
        )
    params = getattr(loop, "device_params", loop.params)
    pace = pace_of(problem, *models[0]) if first_rate is not None else None
    run = Run(loop, len(models), limits, shown or watch is not None, check, pace)
    saved: Checkpoint | None = None
    if checkpoint is not None:
        identity = of_models(problem, models, asdict(limits), kernels.name)
        if pace is not None:
            identity["optimizers"] = [f"{rule!r}, rate found" for _, rule in models]
        saved = Checkpoint(checkpoint, identity, GROWING)
    found = None

    def settle(m: int, history: History) -> None:
        if problem.method == "gram":
            _settle(problem, kernels, models[m][0].with_params(params(m)), history)

    with loop, ThreadPoolExecutor(1, "accel-train") as pool:
        if saved is not None and (found := saved.load(run.export())) is not None:
            run.resume(found)
        if pace is not None and first_rate is not None and found is None:
            run.begin(pace, first_rate())
        if saved is not None:
            if run.going:  # that nothing can be written there is better known now than in hours
                saved.save(run.export() if found is None else found)
            else:
                saved = None
        try:
            _drive(run, pool, limits.steps, watch, shown, saved)
        except KeyboardInterrupt:
            loop.stop()
        except BaseException:
            loop.stop()
            raise
        ending = Work(pool, lambda: _end(run, saved, settle))
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
    """Whether the answer of a callback is true; some, such as arrays, are neither."""
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
