"""The batches of a streamed run: rows chosen on the host, gathered on the device before each pass.

The CPU's kernel makes the rows of many steps at once, while the device is busy with others. Before
the pass of a step ``gather`` copies its rows, one after the other, and their targets, which then
may have noise, to where that pass reads them as if they were all data. A batch that is smaller than
the others is filled up with rows of zeros, which add nothing to any loss (``losses``); so a step is
the same kernels whatever its number, and a CUDA graph can hold it. Where a batch is all rows in
order, only targets are copied.

The step in hand is counted in ``control``: by what follows a pass over a batch, since a graph can
tell its kernels nothing.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numba import cuda, types

from .. import specs
from ..cpu.batches import Batches
from ..specs import LABELS
from .epilogue import (
    BEGIN,
    LIMITS_SIZE,
    RECORD_EVERY,
    SCALE,
    SLOPES,
    STEP,
    TARGET_LOSS,
    Shared,
    run_type,
)
from .jit import THREADS, WARP, Kernel, blocks_at_once, pointer, record, xp
from .needs import steps_at_hand
from .philox import gaussian, sign
from .planning import makes_kernel
from .powers import Data, data_type
from .reduce import this_thread

#: Blocks of ``gather`` that share a multiprocessor: as many threads as it can have.
_AT_ONCE = 8

#: What becomes of the targets, by the name that a kernel has for it.
PLAIN, GAUSSIANS, SIGNS = "plain", "gaussians", "signs"


class Tape(NamedTuple):
    """The rows of consecutive steps: ``rows`` (steps, size) and ``counts`` (steps,), int32.

    ``first`` (1,) is the first of these steps.
    """

    rows: Any
    counts: Any
    first: Any


@makes_kernel
def make_gather(dtype: np.dtype[Any], k: int, group: int, noise: str) -> Kernel:
    """Make the kernel ``gather(data, batch, tape, run, limits, seed, scale)``.

    The rows of the step in hand, and ``scale`` times noise, go from ``data`` to ``batch``; so many
    lanes in a ``group`` copy a row. In a group of none all rows are taken, in order, and X is left
    where it is. ``limits`` get what sums over these rows are multiplied by.
    """
    scalar, copies, noisy = dtype.type, group > 0, noise != PLAIN
    lanes = max(group, 1)
    draw = sign if noise == SIGNS else gaussian

    def gather(data, batch, tape, run, limits, seed, scale):
        first = cuda.blockIdx.x * THREADS + this_thread()
        width, size, step = cuda.gridDim.x * THREADS, batch.n, run.control[STEP]
        at, count = 0, size
        if copies:
            place = step - tape.first[0]
            at, count = place * size, np.int64(tape.counts[place])
        if first == 0:
            share = float(data.n) / float(count)
            limits[SLOPES] = share * run.limits[SLOPES]
            limits[SCALE] = share * run.limits[SCALE]
        if copies:
            inner, d = first & (lanes - 1), data.d
            for r in range(first // lanes, size, width // lanes):
                there = r < count
                source = np.int64(tape.rows[at + r]) * d if there else 0
                for c in range(inner, d, lanes):
                    batch.X[r * d + c] = data.X[source + c] if there else scalar(0)
        for i in range(first, size * k, width):
            r, y = i // k, scalar(0)
            if r < count:
                number = i
                if copies:
                    number = np.int64(tape.rows[at + r]) * k + i % k
                y = data.Y[number]
                if noisy:
                    y = scalar(float(y) + scale * draw(number, LABELS, step, seed))
            batch.Y[i] = y

    tape_type = record(Tape, dtype, {"rows": np.int32, "counts": np.int32, "first": np.int64})
    signature = [data_type(dtype), data_type(dtype), tape_type, run_type(dtype)]
    signature += [pointer(np.float64), types.int64, types.float64]
    return Kernel(gather, signature, (dtype.name, k, group, noise))


class Sampled:
    """The rows of a run's steps, and what is the batches' own of what its kernels share.

    Parameters
    ----------
    batches : specs.Batches
    data : Data
        All rows, of the run's dtype.
    run : Shared
    control : (CONTROL_SIZE,) int64 array
        The host's copy of ``run.control``, as of the launch in hand.

    Attributes
    ----------
    data : Data
        What the pass of a step reads.
    run : Shared
        The run's, but with the limits of batches, by which no model converges or meets its target;
        its ``history`` is (records, M), and has the losses of batches.
    gather : callable
        Queues the kernel that brings the rows of the step in hand.
    """

    def __init__(
        self, batches: specs.Batches, data: Data, run: Shared, control: np.ndarray
    ) -> None:
        (n, d, k), dtype, size = data[2:], data.Y.dtype, batches.size
        whole = size == n and batches.shuffle != "replacement"
        self._control, self._rows = control, None if whole else Batches(n, *batches[:3])
        self._steps = steps_at_hand(size)
        room = 1 if whole else self._steps * size
        self._tape = Tape(
            xp.zeros(room, np.int32), xp.zeros(self._steps, np.int32), xp.zeros(1, np.int64)
        )
        X = data.X if whole else xp.zeros(size * d, dtype)
        self.data = Data(X, xp.zeros(size * k, dtype), size, d, k)
        limits = np.zeros(LIMITS_SIZE)
        limits[TARGET_LOSS] = -np.inf
        records, count, _ = run.history.shape
        self.run = run._replace(
            limits=xp.asarray(limits), history=xp.full((records, count), np.nan)
        )
        group = 0 if whole else min(1 << (d - 1).bit_length(), WARP)
        noise = PLAIN if not batches.noise else SIGNS if batches.signs else GAUSSIANS
        most = -(-size * max(group, k) // THREADS)
        self.gather = make_gather(dtype, k, group, noise).prepared(
            min(most, blocks_at_once(_AT_ONCE)),
            (data, self.data, self._tape, run, self.run.limits, int(batches.seed),
             float(batches.noise)),
        )  # fmt: skip

    def pieces(self, steps: int) -> Iterator[tuple[int, bool]]:
        """Cut the steps of the launch in hand: yield how many come next, when their rows are there.

        With them comes whether the first of them is to be recorded. No other one is.
        """
        step, every = int(self._control[BEGIN]), int(self._control[RECORD_EVERY])
        end, filled = step + steps, step
        while step < end:
            if step == filled:
                filled = min(step + self._steps, end)
                self._fill(step, filled)
            due = every > 0 and step % every == 0
            after = min(filled, (step // every + 1) * every) if every else filled
            yield after - step, due
            step = after

    def _fill(self, first: int, end: int) -> None:
        """Make the rows of these steps, and have them copied after what has been queued before."""
        if self._rows is None:
            return
        count, size = end - first, self.data.n
        rows, counts = np.zeros((count, size), np.int32), np.zeros(count, np.int32)
        self._rows.fill(rows, counts, first)
        self._tape.rows[: count * size] = xp.asarray(rows.reshape(-1))
        self._tape.counts[:count] = xp.asarray(counts)
        self._tape.first[...] = xp.asarray(np.array([first], np.int64))
