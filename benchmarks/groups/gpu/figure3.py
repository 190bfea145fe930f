"""Figure 3 right of the paper at full length, with the grids of its learning rates."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.harness.data import find_gas
from benchmarks.peers.common import Gap, one_line

TITLE = "figure 3 right, full length with its grids"
MUST, STRIVE = 60.0, 15.0  # seconds
LIMIT = 120.0  # seconds, after which a run is given up


class _GivenUpError(Exception):
    """The run has taken longer than its limit."""


def measure(quick: bool, limit: float = LIMIT, backend: str = "cuda") -> dict[str, Any]:
    """Wall-clock seconds of one run of what ``accel reproduce --figures 3r`` runs.

    All of it counts: the reference optimum, the sweeps of the search, the drawings, the report. A
    fiftieth of it runs before, so that nothing is compiled while the clock is running.

    Raises
    ------
    Gap
        If the data or a library is missing, or if it takes longer than the limit.
    """
    run = _prepared(backend)
    with tempfile.TemporaryDirectory() as folder:
        warm = run(True, Path(folder) / "warm", limit)
        record = run(quick, Path(folder) / "timed", limit)
    return record | {"warm_up_seconds": warm["seconds"]}


def _prepared(backend: str) -> Callable[[bool, Path, float], dict[str, Any]]:
    path = find_gas()
    if path is None:
        raise Gap("the gas data is not here: ACCEL_DATA names it")
    try:
        from accel.experiments.reproduce import Settings, reproduce
    except ImportError as error:
        raise Gap(one_line(error)) from error
    from accel import LpProblem, standardize
    from accel.datasets import load_gas_ethanol

    gas = load_gas_ethanol(path)
    scaled = standardize(gas.X, gas.y)

    def make(p: float) -> LpProblem:
        return LpProblem(scaled.X, scaled.y, p=p, dtype="float64")

    def run(quick: bool, out: Path, limit: float) -> dict[str, Any]:
        begin = time.perf_counter()

        def watch(*_: object) -> None:
            if time.perf_counter() - begin > limit:
                raise _GivenUpError

        try:
            settings = Settings(figures=("3r",), quick=quick, backend=backend)
            report = reproduce(settings, out, make, progress=watch)
        except _GivenUpError:
            raise Gap(f"given up after {limit:g} s") from None
        return {
            "seconds": time.perf_counter() - begin,
            "training_seconds": report["seconds"]["training"],
            "stages": report["seconds"]["stages"],
            "figures": report["figures"],
            "quick": quick,
        }

    return run
