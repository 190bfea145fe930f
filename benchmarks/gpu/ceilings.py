"""What no step can beat, measured in the same run: bandwidth of a copy, time of a grid barrier."""

import importlib
from typing import Any

from benchmarks import timing
from benchmarks.gpu.cases import BLOCKS
from benchmarks.gpu.peers.cupy_peers import copying
from benchmarks.peers.common import one_line

_BYTES = 2**31


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
            "samples_gigabytes_per_second": rates,
        },
        "barrier": [_barrier(loop, blocks) for blocks in BLOCKS],
    }


def loop_module() -> Any:
    """The loop of our CUDA backend."""
    return importlib.import_module("accel.kernels.cuda.loop")


def _barrier(loop: Any, blocks: int) -> dict[str, Any]:
    try:
        return {"blocks": blocks, "microseconds": 1e6 * float(loop.barrier_seconds(blocks))}
    except Exception as error:  # more blocks than fit the device, for one
        return {"blocks": blocks, "gap": one_line(error)}
