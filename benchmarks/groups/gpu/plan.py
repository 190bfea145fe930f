"""The kernels of the cases, for ``python -m accel.kernels.cuda.warm``, which starts this.

Every run of ours is made, on data that have a shape and no content.
"""

import sys
from typing import Any

import numpy as np

from accel.kernels.cuda import planning
from benchmarks.groups.gpu import ceilings, data
from benchmarks.groups.gpu.cases import BLOCKS, CASES, ON_GPU, SCANNED
from benchmarks.harness.cases import OURS, SINGLE_RUNS
from benchmarks.harness.data import shape_of
from benchmarks.peers import Sweep

_SOME = (2, 4, 8, 16, 32)


def shaped(name: str, dtype: str, quick: bool = False) -> tuple[Any, Any, str]:
    """X and Y of a case, which are never read or written, so that they take no memory."""
    n, d, k = (*data.VAST, 1) if name == "vast" else shape_of(name)
    return np.empty((n, d), dtype), np.empty((n, k), dtype), "no content"


def main() -> int:
    if planning.DEVICE is None:
        print(f"{planning.PLANNING} is not set: kernels would be launched", file=sys.stderr)
        return 2
    for case in CASES:
        run, _ = case.descent(1, load=shaped)
        if case.models > 1:  # figure 3, too, sweeps over some rates on these data
            for count in _SOME:
                ON_GPU.build(OURS, Sweep(run.descents[:count]))
        for name in {OURS, SINGLE_RUNS} & set(case.contenders):
            ON_GPU.build(name, run)
        for blocks in BLOCKS if case.name in SCANNED else ():
            try:
                ON_GPU.build(OURS, run, blocks=blocks)
            except ValueError:  # too few for the data: no figure in the scan, either
                continue
    for blocks in BLOCKS:
        ceilings.waiting(ceilings.loop_module(), blocks)
    return 0


if __name__ == "__main__":
    sys.exit(main())
