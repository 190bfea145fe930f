"""The ceilings of a step, measured in the same run: bandwidth of a copy, time of a barrier."""

import functools
import importlib
from typing import Any

import numpy as np

from accel.kernels import specs
from benchmarks.groups.gpu.cases import BLOCKS
from benchmarks.harness import timing
from benchmarks.peers.common import one_line
from benchmarks.peers.cuda.cupy_peers import copying

_BYTES = 2**31
_BARRIERS = 20_000


def measure(xp: Any, loop: Any, rounds: int, seconds: float, quick: bool) -> dict[str, Any]:
    """Both ceilings; `loop` is the module of the training loop.

    The copy's bandwidth counts bytes read and bytes written.
    """
    nbytes = _BYTES // 32 if quick else _BYTES
    run = copying(xp, xp.ones(nbytes // 4, "float32"))
    (copy,) = timing.interleaved({"copy": run}, rounds, seconds, pause=0.0)
    rates = sorted(2 * nbytes / sample / 1e9 for sample in copy.seconds)
    return {
        "copy": {
            "bytes": nbytes,
            "gigabytes_per_second": 2 * nbytes / copy.median / 1e9,
            "samples": rates,
        },
        "barrier": [_barrier(loop, blocks) for blocks in BLOCKS],
    }


def loop_module() -> Any:
    """The loop of our CUDA backend."""
    return importlib.import_module("accel.kernels.cuda.loop")


def waiting(loop: Any, blocks: int) -> Any:
    """A resident run whose steps have next to nothing to compute: one number a block.

    Blocks wait for each other once a step, when each sends its sums to all others; here these are
    two words.
    """
    X, Y = np.ones((blocks, 1)), np.zeros((blocks, 1))
    rule = specs.Rule(specs.GRADIENT_DESCENT, (1e-9, 0.0, 0.0, 0.0, 0.0))
    model = specs.ModelSpec((1, 1), np.ones(1), rule)
    return loop.TrainingLoop(X, Y, specs.Loss(4.0), [model], blocks=blocks)


def _barrier(loop: Any, blocks: int) -> dict[str, Any]:
    try:
        return {"blocks": blocks, "microseconds": 1e6 * _barrier_seconds(loop, blocks)}
    except Exception as error:  # more blocks than fit the device, for one
        return {"blocks": blocks, "gap": one_line(error)}


def _barrier_seconds(loop: Any, blocks: int) -> float:
    run = waiting(loop, blocks)
    run.advance(_BARRIERS)
    call = functools.partial(timing.elapsed, functools.partial(run.advance, _BARRIERS))
    return timing.medians(timing.in_turn({"barrier": call}, 5))["barrier"] / _BARRIERS
