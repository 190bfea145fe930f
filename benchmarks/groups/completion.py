"""``python -m benchmarks completion``: matrix completion beside loops of PyTorch.

The standard instance, 100 x 100 of rank 5, by networks of depth 2 to 4 and full width, in float64;
`benchmarks/test_matrix.py` has the same runs under pytest-benchmark. One loop is as the field
writes it: the product of the factors, the observed entries, backward, and an optimiser. The other
one makes the gradients by hand, into buffers. Each runs with one thread and with all; its quicker
number counts. After so many steps all must have the same factors.
"""

import functools
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import accel
from accel._support.backends import resolve
from accel.kernels.specs import ModelSpec
from benchmarks.harness import page, report
from benchmarks.harness.records import Record
from benchmarks.harness.rows import Options, rows_command
from benchmarks.harness.timing import PAUSE, elapsed, in_turn
from benchmarks.peers.common import require
from benchmarks.peers.completion import Loop, autograd, by_hand

STEPS, AGREE = 100, 1e-9  # steps after which factors agree, relative to the largest number
TARGET = 5.0  # times as fast as the loop as the field writes it
ROUNDS, SECONDS = 7, 0.4
OURS, PLAIN, BY_HAND = "accel", "PyTorch", "PyTorch by hand"


@dataclass(frozen=True)
class Case:
    """A run: the matrix, how many of its entries are seen, and the network and rule."""

    size: int
    observed: int
    depth: int
    rule: str
    rank: int = 5

    @property
    def title(self) -> str:
        """The case in words."""
        return (
            f"{self.size} x {self.size}, {self.observed} entries, depth {self.depth}, {self.rule}"
        )

    @functools.cached_property
    def problem(self) -> accel.MatrixCompletion:
        """What is seen of a random matrix."""
        return accel.datasets.make_low_rank(
            (self.size, self.size), self.rank, self.observed
        ).problem

    @functools.cached_property
    def network(self) -> accel.LinearNetwork:
        """A start from which something is left to learn: entries of 0.1 in the product."""
        scale = 0.1 ** (1 / self.depth) / self.size**0.5
        return accel.LinearNetwork.for_problem(self.problem, self.depth, scale=scale)

    @property
    def optimizer(self) -> accel.Optimizer:
        """The rule with the constants of the study: a small rate, which all depths survive."""
        if self.rule == "gradient descent":
            return accel.GradientDescent(0.1)
        return accel.GroupRMSProp(1e-3, eps=1e-4)

    @property
    def name(self) -> str:
        """The case in one word."""
        rule = "gd" if self.rule == "gradient descent" else "rmsprop"
        return f"{self.size}-{self.observed}-n{self.depth}-{rule}"

    def loop(self, who: str, threads: int) -> Loop:
        """A contender's run from the start."""
        return LOOPS[who](self.problem, self.network, self.optimizer, threads)


CASES = (
    *(
        Case(100, 2000, depth, rule)
        for rule in ("gradient descent", "GroupRMSProp")
        for depth in (2, 3, 4)
    ),
    Case(100, 5000, 3, "GroupRMSProp"),
)


def ours(
    problem: accel.MatrixCompletion,
    network: accel.LinearNetwork,
    optimizer: accel.Optimizer,
    threads: int,
) -> Loop:
    """Steps of a run of accel."""
    model = ModelSpec(network.widths, network.params, optimizer.rule)
    loop = problem.loop(resolve("cpu"), [model], threads, "direct")
    return loop.advance, lambda: loop.params(0)


#: Everybody; the name of ours begins with "accel".
LOOPS: dict[str, Callable[..., Loop]] = {OURS: ours, PLAIN: autograd, BY_HAND: by_hand}


def quick_form(case: Case) -> Case:
    """The case on a small matrix."""
    return replace(case, size=12, observed=60, rank=2)


def contenders(case: Case, threads: int) -> dict[str, Callable[[int], tuple[float, np.ndarray]]]:
    """For each of them and each number of threads: seconds of so many steps, and the factors."""
    require("torch")
    runs: dict[str, Callable[[int], tuple[float, np.ndarray]]] = {}
    for count in sorted({1, threads}):
        for who in LOOPS:
            runs[f"{who}, {count}"] = functools.partial(_timed, case, who, count)
    return runs


def _timed(case: Case, who: str, threads: int, steps: int) -> tuple[float, np.ndarray]:
    advance, params = case.loop(who, threads)
    advance(2)  # what is made at the first step is no part of a run
    return elapsed(lambda: advance(steps)), params()


def factors_after(case: Case, who: str, threads: int, steps: int) -> np.ndarray:
    """A contender's factors, in one piece."""
    advance, params = case.loop(who, threads)
    advance(steps)
    return params()


def apart(params: np.ndarray, others: np.ndarray) -> float:
    """The largest difference of factors, relative to the largest number of the latter."""
    return float(np.max(abs(params - others)) / np.max(abs(others)))


def difference(case: Case, threads: int, steps: int) -> float:
    """The largest difference of anybody's factors from ours, relative to the largest number."""
    alone = factors_after(case, OURS, 1, steps)
    runs = (OURS, threads), (PLAIN, 1), (BY_HAND, 1)
    return max(apart(factors_after(case, who, count, steps), alone) for who, count in runs)


def measure(case: Case, threads: int, rounds: int, seconds: float, steps: int) -> dict[str, Any]:
    """The row of a case, with the samples of all in seconds a step."""
    largest = difference(case, threads, steps)
    calls: dict[str, Callable[[], float]] = {}
    for name, run in contenders(case, threads).items():
        count = max(1, round(seconds / (run(20)[0] / 20)))
        calls[name] = functools.partial(lambda run, count: run(count)[0] / count, run, count)
    samples = in_turn(calls, rounds, PAUSE)
    medians = {name: statistics.median(each) for name, each in samples.items()}
    best = {
        who: min((medians[name], name) for name in medians if name.rpartition(", ")[0] == who)
        for who in (OURS, PLAIN, BY_HAND)
    }
    ratio = best[PLAIN][0] / best[OURS][0]
    return {
        "title": case.title, "apart": largest, "agree": largest <= AGREE,
        "best": {who: [each, name] for who, (each, name) in best.items()},
        "target": TARGET, "met": ratio >= TARGET, "samples": samples,
    }  # fmt: skip


def summary(content: Record) -> str:
    """The table."""
    lines = []
    for row in content["rows"]:
        best = row["best"]
        ours = best[OURS][0]
        cells = [f"{1e6 * ours:.3g} us"]
        for who in (PLAIN, BY_HAND):
            cells += [f"{1e6 * best[who][0]:.3g} us", f"{best[who][0] / ours:.3g}"]
        target = f"must: {row['target']:g}x {PLAIN}"
        lines.append(
            [row["title"], *cells, f"{row['apart']:.1e}", target, report.met_words(row["met"])]
        )
    header = ["run", "a step", PLAIN, "times as fast", BY_HAND, "times as fast", "apart"]
    table = page.table([*header, "target", "met"], lines, text=(0, 7, 8))
    about = f"{report.machine_line(content)}; medians of {content['rounds']} interleaved rounds."
    return f"{about}\n\n{table}"


def main(arguments: list[str]) -> int:
    """Exit code 1 if the factors of two do not agree."""

    def rows(options: Options) -> Iterator[dict[str, Any]]:
        seconds, steps = (0.01, 20) if options.quick else (SECONDS, STEPS)
        for case in map(quick_form, CASES) if options.quick else CASES:
            yield measure(case, options.threads, options.rounds, seconds, steps)

    content = rows_command("completion", __doc__, ROUNDS, rows, summary, arguments)
    return 0 if all(row["agree"] for row in content["rows"]) else 1
