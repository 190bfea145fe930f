"""``python -m benchmarks probes leaks``: does memory grow with the number of runs?

Short runs by ``train``, ``sweep`` and ``LpRegressor.fit``, ten thousand of each: the process's
resident memory after a warm-up and at the end, threads and open files included.
"""

import argparse
import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

import accel
from benchmarks.harness import page

WARM_UP = 200


class Held(NamedTuple):
    """What the process holds: resident memory, Python threads, open files."""

    bytes: int
    threads: int
    files: int


def held() -> Held:
    """Ask the system, after the collector has run."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    size = pages * os.sysconf("SC_PAGE_SIZE")
    return Held(size, threading.active_count(), len(os.listdir("/proc/self/fd")))


def calls(threads: int = 2) -> dict[str, Callable[[], object]]:
    """One short run of each kind."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((600, 64)), rng.standard_normal(600)  # two parts for two threads
    problem = accel.LpProblem(X, y, p=4)
    network = accel.LinearNetwork.for_problem(problem, depth=2)
    rules = [accel.Adam(0.01), accel.GradientDescent(0.01), accel.GradientDescent(1e9)]

    def train() -> object:
        return accel.train(problem, network, rules[0], 20, backend="cpu", threads=threads)

    def sweep() -> object:  # the last model diverges
        models = [(network, rule) for rule in rules]
        return accel.sweep(problem, models, 20, backend="cpu", threads=threads)

    by_name: dict[str, Callable[[], object]] = {"train": train, "sweep": sweep}
    try:
        from accel.sklearn import LpRegressor
    except ImportError:
        return by_name
    few, targets = X[:100, :8], y[:100]
    for solver in ("newton", "gradient"):
        model = LpRegressor(p=3, solver=solver, tol=0.1)
        by_name[f"LpRegressor.fit, {solver}"] = lambda model=model: model.fit(few, targets)
    return by_name


def growth(call: Callable[[], object], runs: int, warm_up: int = WARM_UP) -> tuple[Held, Held]:
    """What is held after the warm-up, and after so many runs more."""
    for _ in range(warm_up):
        call()
    before = held()
    for _ in range(runs):
        call()
    return before, held()


def main(arguments: list[str]) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks probes leaks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=10_000, help="of each kind")
    given = parser.parse_args(arguments)
    header = ["MiB before", "MiB after", "bytes a run", "threads", "files"]
    print(page.head([f"{given.runs} runs of", *header]))
    for name, call in calls().items():
        before, after = growth(call, given.runs)
        cells = [
            name,
            f"{before.bytes / 2**20:.1f}",
            f"{after.bytes / 2**20:.1f}",
            f"{(after.bytes - before.bytes) / given.runs:.0f}",
            f"{before.threads} to {after.threads}",
            f"{before.files} to {after.files}",
        ]
        print(page.row(cells), flush=True)
    return 0
