"""``python -m benchmarks losses``: a step of every loss beside one of p = 4.

The gas data, or random data of its shape where that is not at hand, at depth 1, which leaves the
pass alone; all kinds in turn, medians of rounds. Labels are the signs of the targets.
`benchmarks/test_step.py` has the same steps under pytest-benchmark.
"""

import functools
import statistics
from collections.abc import Iterator
from typing import Any

import numpy as np

import accel
from accel import losses
from accel._support.backends import resolve
from accel.kernels.protocols import TrainingLoop
from accel.kernels.specs import ModelSpec
from benchmarks.harness import page, report, timing
from benchmarks.harness.data import load
from benchmarks.harness.records import Record
from benchmarks.harness.rows import Options, rows_command

ROUNDS, SECONDS = 9, 0.2
BASE = "lp"
#: Every loss, and how many times as long as p = 4 its step may take, where that is said.
LOSSES: dict[losses.Loss, float | None] = {
    losses.Lp(4.0): None,
    losses.Huber(1.0): 1.15,
    losses.Pinball(0.3): 1.15,
    losses.Expectile(0.3): None,
    losses.LogCosh(): None,
    losses.Logistic(): 1.3,
    losses.Exponential(): None,
}


#: Names of data, and dtypes.
DATA = (("gas", "float64"), ("gas", "float32"), ("diabetes", "float64"))


def loop(loss: losses.Loss, X: np.ndarray, Y: np.ndarray, threads: int) -> TrainingLoop:
    """A run that goes nowhere, by rate, of a loss."""
    targets = np.where(Y > 0, 1, -1).astype(Y.dtype) if loss.classifies else Y
    problem = accel.Problem(X, targets, loss)
    network = accel.LinearNetwork.for_problem(problem, depth=1)
    model = ModelSpec(network.widths, network.params, accel.GradientDescent(1e-9).rule)
    return problem.loop(resolve("cpu"), [model], threads, "direct")


def loops(data: str, dtype: str, threads: int, quick: bool) -> tuple[dict[str, Any], str]:
    """A run that goes nowhere of every loss, and where the data are from."""
    X, Y, source = load(data, dtype, quick)
    return {loss.name: loop(loss, X, Y, threads) for loss in LOSSES}, source


def measure(data: str, dtype: str, threads: int, rounds: int, quick: bool) -> dict[str, Any]:
    """The row of a data set and dtype, with samples in seconds a step."""
    made, source = loops(data, dtype, threads, quick)
    seconds = 0.01 if quick else SECONDS
    calls = {}
    for name, loop in made.items():
        count = max(1, round(seconds / timing.seconds_each(loop.advance, seconds / 5)))
        calls[name] = functools.partial(_sample, loop, count)
    samples = timing.in_turn(calls, rounds, timing.PAUSE)
    medians = {name: statistics.median(each) for name, each in samples.items()}
    most = {loss.name: limit for loss, limit in LOSSES.items()}
    return {
        "title": f"{source}, {dtype}", "seconds": medians,
        "ratios": {name: each / medians[BASE] for name, each in medians.items()},
        "most": most, "samples": samples,
    }  # fmt: skip


def _sample(loop: Any, count: int) -> float:
    return timing.elapsed(lambda: loop.advance(count)) / count


def summary(content: Record) -> str:
    """The table."""
    header = ["data", "p = 4, a step", *(loss.name for loss in LOSSES if loss.name != BASE)]
    lines = []
    for row in content["rows"]:
        cells = []
        for name, ratio in row["ratios"].items():
            most = row["most"][name]
            if name == BASE:
                continue
            word = "" if most is None else f" (must: {most:g}, {report.met_words(ratio <= most)})"
            cells.append(f"{ratio:.2f}{word}")
        lines.append([row["title"], f"{1e6 * row['seconds'][BASE]:.3g} us", *cells])
    about = f"{report.machine_line(content)}; medians of {content['rounds']} interleaved rounds."
    text = "Times of a step of each loss, by that of p = 4."
    return f"{about} {text}\n\n{page.table(header, lines, text=(0,))}"


def main(arguments: list[str]) -> int:
    """Measure and print."""

    def rows(options: Options) -> Iterator[dict[str, Any]]:
        for data, dtype in DATA:
            yield measure(data, dtype, options.threads, options.rounds, options.quick)

    rows_command("losses", __doc__, ROUNDS, rows, summary, arguments)
    return 0
