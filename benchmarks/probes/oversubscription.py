"""``python -m benchmarks probes oversubscription``: more threads than CPUs, busy CPUs.

The gas-sized problem (2565 x 128, float64, p = 4), depth 2: time of a step by the number of threads
asked for, the median of interleaved rounds, and its ratio to the best; then the time of several
runs at once in Python threads beside that of the same runs one after the other; then, with a busy
process for every CPU beside it, what is left of a run's speed. Half of it would be a fair share.
"""

import argparse
import contextlib
import functools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import accel
from accel.datasets import make_ill_conditioned
from benchmarks.harness import machine, page
from benchmarks.harness.data import SHAPES
from benchmarks.harness.timing import elapsed, in_turn, medians

N, D, _ = SHAPES["gas"]
THREADS = (1, 2, 4, 8, 16)
AT_ONCE = 8
BUSY = "while True: pass"


def runner(steps: int) -> Callable[[int], float]:
    """A function of the number of threads: the seconds that a run's steps take."""
    data = make_ill_conditioned(N, D)
    problem = accel.LpProblem(data.X, data.y, p=4)
    network = accel.LinearNetwork.for_problem(problem, depth=2, init="balanced")
    rule = accel.GradientDescent(1e-4)

    def run(threads: int) -> float:
        return accel.train(problem, network, rule, steps, backend="cpu", threads=threads).seconds

    run(1)  # compiled
    return run


def by_threads(run: Callable[[int], float], rounds: int) -> dict[int, float]:
    """Median seconds for each number of threads, all in turn."""
    calls = {threads: functools.partial(run, threads) for threads in THREADS}
    return medians(in_turn(calls, rounds))


def at_once(run: Callable[[int], float], threads: int, rounds: int) -> tuple[float, float]:
    """Median seconds of eight runs one after the other, and of eight in threads of their own."""

    def together() -> None:
        workers = [threading.Thread(target=run, args=(threads,)) for _ in range(AT_ONCE)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    def one_by_one() -> None:
        for _ in range(AT_ONCE):
            run(threads)

    calls = {call: functools.partial(elapsed, call) for call in (one_by_one, together)}
    seconds = medians(in_turn(calls, rounds))
    return seconds[one_by_one], seconds[together]


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """Processes that never rest, for as long as the block lasts."""
    started = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(processes)]
    try:
        time.sleep(0.5)
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def print_table(title: str, seconds: dict[int, float], best: float, steps: int) -> None:
    rows = [
        [threads, f"{1e6 * value / steps:.1f}", f"{value / best:.2f}"]
        for threads, value in seconds.items()
    ]
    table = page.table(["threads", "us a step", "to the best"], rows, text=())
    print(f"\n{title}\n\n{table}", flush=True)


def main(arguments: list[str]) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks probes oversubscription",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--steps", type=int, default=3000, help="of each run")
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args(arguments)
    cpus, run = machine.peer_threads(), runner(given.steps)
    print(f"{machine.cpu_name()}, {cpus} CPUs, {N} x {D} float64, p = 4, {given.steps} steps")
    alone = by_threads(run, given.rounds)
    best = min(alone.values())
    print_table("Nothing else to do", alone, best, given.steps)
    one_by_one, together = at_once(run, cpus, max(given.rounds // 3, 1))
    print(
        f"\n{AT_ONCE} runs of {cpus} threads: {one_by_one:.3f} s in turn, {together:.3f} s at "
        f"once, {together / one_by_one:.2f} times as long"
    )
    with busy(cpus):
        shared = by_threads(run, given.rounds)
    print_table(f"{cpus} busy processes beside it", shared, best, given.steps)
    return 0
