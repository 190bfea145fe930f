"""The pass over observed entries of the end-to-end matrix: a thread has a place that was seen.

The places are sorted on the host, once a run, and what was seen at a place lies together. So one
thread reads the map there, adds up the slopes of all that was seen, and writes the sum to where the
gradient has it: no two threads write to one place, and where nothing was seen the gradient keeps
the zeros that it was made with. Losses are added up block by block in an order that depends on the
entries and the device alone. A place that was seen very often is one thread's work all the same.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda, types

from ..specs import Loss
from .jit import THREADS, Kernel, blocks_at_once, pointer, record, xp
from .losses import Code, code_of, make_differentiate
from .planning import makes_kernel
from .powers import Data
from .reduce import SUMS_SIZE, block_sum, this_thread

#: Blocks that share a multiprocessor: as many threads as it can have, since all wait for memory.
_AT_ONCE = 8


@makes_kernel
def make_entries(dtype: np.dtype[Any], code: Code) -> Kernel:
    """Make ``entries(data, weights, partials, losses, running, p)``: blocks are (models, chunks).

    The sums of slopes go to ``partials`` (models, k, d), a loss a chunk to ``losses`` (slots,
    models, k), where its place means nothing. It leaves out models that are not ``running``.
    """
    differentiate = make_differentiate(dtype, code)

    def entries(data, weights, partials, losses, running, p):
        thread, model, chunk = this_thread(), cuda.blockIdx.x, cuda.blockIdx.y
        if running[model] == 0:
            return
        doubles = cuda.shared.array(SUMS_SIZE, types.float64)
        n, k, start, loss = data.n, data.k, model * data.k * data.d, 0.0
        for i in range(chunk * THREADS + thread, n, cuda.gridDim.y * THREADS):
            at = start + data.X[i]
            w, total = weights[at], 0.0
            for e in range(data.X[n + i], data.X[n + i + 1]):
                slope, value = differentiate(w, data.Y[e], p)
                total += float(slope)
                loss += float(value)
            partials[at] = total
        loss = block_sum(loss, doubles)
        if thread == 0:
            losses[(chunk // k * cuda.gridDim.x + model) * k + chunk % k] = loss

    seen = record(Data, dtype, {"X": np.int64, "Y": None, "n": int, "d": int, "k": int})
    signature = [seen, pointer(dtype), pointer(np.float64), pointer(np.float64)]
    signature += [pointer(np.int64), types.float64]
    return Kernel(entries, signature, (dtype.name, code))


def pack_entries(places: np.ndarray, values: np.ndarray, k: int, d: int) -> Data:
    """Put entries (m, 2) of a matrix (k, d), and what was seen (m, 1), in the form of ``Data``."""
    flat = places[:, 0] * d + places[:, 1]
    order = np.argsort(flat, kind="stable")
    flat = flat[order]
    first = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    index = np.concatenate([flat[first], first, [len(flat)]])
    return Data(xp.asarray(index), xp.asarray(values[order, 0]), len(first), d, k)


def chunks_of(data: Data) -> int:
    """Return how many blocks share the places, whatever the company of a model."""
    return min(-(-data.n // THREADS), blocks_at_once(_AT_ONCE))


def prepared(
    data: Data, weights: Any, loss: Loss, running: Any, partials: Any, losses: Any
) -> Callable[[], None]:
    """Return a function that launches a pass for the maps in ``weights``."""
    return make_entries(weights.dtype, code_of(loss)).prepared(
        (len(running), chunks_of(data)),
        (data, weights, partials, losses, running, float(loss.p)),
    )
