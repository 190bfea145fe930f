"""Our own contenders, and the ceiling: one plain read of the data."""

import functools
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmarks.peers.common import Descent, Run, suffix_products


def ours(run: Descent) -> Run:
    from accel.kernels import specs
    from accel.kernels.cpu.loop import TrainingLoop

    rule = specs.Rule(specs.GRADIENT_DESCENT, (run.learning_rate, 0.0, 0.0, 0.0, 0.0))
    loss = specs.Loss(run.p, 1.0, run.gram)
    model = specs.Model(run.widths, run.params, rule)
    loop = TrainingLoop(run.X, run.Y, loss, [model], threads=run.threads)

    def advance(steps: int) -> None:
        loop.advance(steps)
        if not len(loop.active):
            raise RuntimeError(f"the run stopped at step {loop.step}, code {loop.statuses[0]}")

    return Run(advance, lambda: loop.params(0))


def ours_depth_1(run: Descent) -> Run:
    """The same data at depth 1, from the same end-to-end matrix: what a deep step is held to."""
    start = suffix_products(run.factors(run.params))[0].ravel()
    return ours(
        replace(run, widths=(run.widths[0], run.outputs), params=np.ascontiguousarray(start))
    )


def read_once(run: Descent) -> Run:
    """A plain sum over X with the same threads: a step can not be faster than this one read."""
    import numba

    data, threads = run.X.ravel(), run.threads
    total = _parallel_sum()

    def advance(steps: int) -> None:
        numba.set_num_threads(threads)
        for _ in range(steps):
            total(data, threads)

    return Run(advance, run.params.copy)


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
