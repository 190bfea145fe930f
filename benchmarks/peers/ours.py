"""Our own contenders, and the ceiling: one plain read of the data."""

import functools
import importlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.peers.common import Descent, Stepper, Sweep, suffix_products


def ours(run: Descent, backend: str = "cpu", **options: Any) -> Stepper:
    together = _together([run], backend, **options)
    return together._replace(params=lambda: together.params()[0])


def our_sweep(run: Sweep, backend: str = "cpu", **options: Any) -> Stepper:
    """All models over the same passes through the data."""
    return _together(run.descents, backend, **options)


def our_single_runs(run: Sweep, backend: str = "cpu") -> Stepper:
    """The same models one after the other, as a loop over ``train`` would run them."""
    runs = [ours(descent, backend) for descent in run.descents]

    def advance(steps: int) -> None:
        for single in runs:
            single.advance(steps)

    # A sample has to share its time among all of them, and each piece pays for starting its team.
    return Stepper(advance, lambda: np.stack([single.params() for single in runs]), 8, runs[0].note)


def _together(descents: Sequence[Descent], backend: str, **options: Any) -> Stepper:
    """`options` are those that the loop of one backend has beside the threads."""
    from accel.kernels import specs

    TrainingLoop = importlib.import_module(f"accel.kernels.{backend}.loop").TrainingLoop
    models = [
        specs.ModelSpec(
            run.widths,
            run.params,
            specs.Rule(specs.GRADIENT_DESCENT, (run.learning_rate, 0.0, 0.0, 0.0, 0.0)),
        )
        for run in descents
    ]
    run = descents[0]
    X, Y, loss = run.X, run.Y, specs.Loss(run.p, 1.0, run.form)
    if run.form == "diagonal":
        X, Y, loss, basis = _diagonal(run)
        models = [
            model._replace(params=_rotated(descent, descent.params, basis))
            for model, descent in zip(models, descents, strict=True)
        ]
    loop = TrainingLoop(X, Y, loss, models, threads=run.threads, **options)

    def advance(steps: int) -> None:
        loop.advance(steps)
        if len(loop.active) < len(models):
            raise RuntimeError(f"a run stopped by step {loop.step}, codes {loop.statuses}")

    def params() -> np.ndarray:
        stack = [loop.params(m) for m in range(len(models))]
        if run.form == "diagonal":
            stack = [_rotated(run, params, basis.T) for params in stack]
        return np.stack(stack)

    note = getattr(loop, "engine", "")
    layout = (loop._launcher.blocks, loop._launcher.teams) if note == "resident" else None
    return Stepper(advance, params, note=note, layout=layout)


def _diagonal(run: Descent) -> tuple[np.ndarray, np.ndarray, Any, np.ndarray]:
    """The singular values of X, the targets and the loss there, and the basis of X's rows, (d, d).

    A run from W_1 times the basis is that from W_1, rotated: what the method "spectral" of
    `accel.LpProblem` does.
    """
    from accel.kernels import specs

    (n, d), dtype = run.X.shape, run.X.dtype
    U, s, basis = np.linalg.svd(run.X.astype(np.float64), full_matrices=False)
    Z = U.T @ run.Y
    rest = float(np.sum(run.Y.astype(np.float64) ** 2) - np.sum(Z**2))
    loss = specs.Loss(run.p, d / n, "diagonal", rest)
    return s.astype(dtype), np.ascontiguousarray(Z, dtype), loss, basis.T


def _rotated(run: Descent, params: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """The parameters with W_1 times a basis of the inputs."""
    rotated = params.copy()
    first = run.factors(rotated)[0]
    first[...] = first @ basis
    return rotated


def ours_depth_1(run: Descent) -> Stepper:
    """The same data at depth 1, from the same end-to-end matrix: what a deep step is held to."""
    start = suffix_products(run.factors(run.params))[0].ravel()
    return ours(
        replace(run, widths=(run.widths[0], run.outputs), params=np.ascontiguousarray(start))
    )


def ours_p_4(run: Descent) -> Stepper:
    """The same data and start with p = 4: what a step with a fractional power is held to."""
    return ours(replace(run, p=4.0))


def read_once(run: Descent) -> Stepper:
    """A plain sum over X with the same threads: a step can not be faster than this one read."""
    import numba

    data, threads = run.X.ravel(), run.threads
    total = _parallel_sum()

    def advance(steps: int) -> None:
        numba.set_num_threads(threads)
        for _ in range(steps):
            total(data, threads)

    return Stepper(advance, run.params.copy)


@functools.cache
def _parallel_sum() -> Callable[[np.ndarray, int], float]:
    import numba

    @numba.njit(fastmath=True)
    def part(values):
        total = values.dtype.type(0)
        for i in range(len(values)):
            total += values[i]
        return total

    @numba.njit(parallel=True)
    def total(values, parts):
        sums = np.zeros(parts * 8)
        for t in numba.prange(parts):
            size = len(values)
            sums[8 * t] = part(values[t * size // parts : (t + 1) * size // parts])
        return sums.sum()

    return total
