"""``python -m benchmarks methods``: the methods of a run side by side, by ``accel.train``.

At p = 2 a rule that commutes with rotations of the input runs in the singular vectors of X, and
with more features than samples in their row space, whatever p. Each case is run by that method and
by the one that takes its place without it, from the same start; after so many steps the two must
agree. A step is timed without the decomposition, which has a column of its own; all in turn,
medians of rounds.
"""

import argparse
import functools
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import accel
from benchmarks import report_folder
from benchmarks.harness import machine, page, records, report
from benchmarks.harness.records import Record
from benchmarks.harness.timing import PAUSE, elapsed, in_turn

STEPS, AGREE = 1000, 1e-9  # steps after which end-to-end matrices agree, relative to the largest


@dataclass(frozen=True)
class Case:
    """A run: its data, its network, how many models, two methods, and what is asked of the first.

    The target is in microseconds a step, or in times as fast as the second method.
    """

    n: int
    d: int
    p: float
    depth: int
    width: int | None
    models: int
    methods: tuple[str, str]
    steps: int
    microseconds: float | None = None
    ratio: float | None = None

    @property
    def title(self) -> str:
        """The case in words."""
        width = "" if self.width is None else f", width {self.width}"
        models = "" if self.models == 1 else f", {self.models} models"
        return f"{self.n} x {self.d}, p = {self.p:g}, depth {self.depth}{width}{models}"

    @functools.cached_property
    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Standard normal X, scaled to eigenvalues about 1, and a noisy linear target."""
        rng = np.random.default_rng(0)
        X = rng.standard_normal((self.n, self.d))
        y = X @ rng.standard_normal(self.d) / np.sqrt(self.d) + 0.3 * rng.standard_normal(self.n)
        return X, y

    def problem(self, method: str) -> accel.LpProblem:
        """A problem that holds no decomposition yet."""
        return accel.LpProblem(*self.data, self.p, method=method)

    @functools.cached_property
    def models_at_start(self) -> list[tuple[accel.LinearNetwork, accel.GradientDescent]]:
        """Models at rates up to a tenth of the stable one, which all methods survive."""
        problem = self.problem("direct")
        network = accel.LinearNetwork.for_problem(
            problem, self.depth, self.width, init="balanced", seed=0
        )
        rate = 0.1 * accel.stable_rate(problem, network, accel.GradientDescent(1.0))
        return [
            (network, accel.GradientDescent(rate * (m + 1) / self.models))
            for m in range(self.models)
        ]

    def run(self, method: str, steps: int) -> tuple[list[np.ndarray], float, float]:
        """End-to-end matrices, seconds of the steps, and all other seconds of the call."""
        problem, outcome = self.problem(method), []
        whole = elapsed(
            lambda: outcome.append(accel.sweep(problem, self.models_at_start, steps, backend="cpu"))
        )
        swept = outcome[0]
        assert {result.method for result in swept} == {method}
        matrices = [result.network.end_to_end() for result in swept]
        return matrices, swept.seconds, whole - swept.seconds


SPECTRAL, ROWSPACE = ("spectral", "gram"), ("rowspace", "direct")
CASES = (
    Case(2565, 128, 2.0, 1, None, 1, SPECTRAL, 200_000, microseconds=0.2),
    Case(2565, 128, 2.0, 3, 1, 1, SPECTRAL, 200_000, microseconds=0.3),
    Case(2565, 128, 2.0, 1, None, 64, SPECTRAL, 10_000, microseconds=6.0),
    Case(100, 20_000, 4.0, 1, None, 1, ROWSPACE, 400, ratio=20.0),
    Case(100, 20_000, 4.0, 3, 1, 1, ROWSPACE, 400, ratio=20.0),
    Case(100, 20_000, 4.0, 3, 10, 1, ROWSPACE, 400, ratio=20.0),
)


def quick_form(case: Case) -> Case:
    """The case on small data, for few steps."""
    shape = (64, 8) if case.n > case.d else (8, 64)
    return replace(case, n=shape[0], d=shape[1], steps=100)


def difference(case: Case, steps: int) -> float:
    """The largest difference of the two methods after so many steps, relative to the largest."""
    ours, theirs = (case.run(method, steps)[0] for method in case.methods)
    return max(
        float(np.max(abs(a - b)) / np.max(abs(b))) for a, b in zip(ours, theirs, strict=True)
    )


def measure(case: Case, rounds: int, steps: int) -> dict[str, Any]:
    """The row of a case, with the samples of both methods in seconds a step."""
    apart = difference(case, steps)
    beside: dict[str, list[float]] = {method: [] for method in case.methods}

    def sample(method: str) -> float:
        _, seconds, other = case.run(method, case.steps)
        beside[method].append(other)
        return seconds / case.steps

    calls: dict[str, Callable[[], float]] = {
        method: functools.partial(sample, method) for method in case.methods
    }
    samples = in_turn(calls, rounds, PAUSE)
    ours, theirs = (statistics.median(samples[method]) for method in case.methods)
    asked = None if case.microseconds is None else f"{case.microseconds:g} us"
    met = case.microseconds is None or 1e6 * ours <= case.microseconds
    if case.ratio is not None:
        asked, met = f"{case.ratio:g}x", theirs / ours >= case.ratio
    return {
        "title": case.title, "methods": case.methods, "apart": apart, "agree": apart <= AGREE,
        "seconds": [ours, theirs], "beside": statistics.median(beside[case.methods[0]]),
        "asked": asked, "met": bool(met), "samples": samples,
    }  # fmt: skip


def summary(content: Record) -> str:
    """The table."""
    lines = [
        [
            row["title"],
            f"{row['methods'][0]}, {1e6 * row['seconds'][0]:.3g} us",
            f"{row['methods'][1]}, {1e6 * row['seconds'][1]:.3g} us",
            f"{row['seconds'][1] / row['seconds'][0]:.3g}",
            f"{1e3 * row['beside']:.3g} ms",
            f"{row['apart']:.1e}",
            f"must: {row['asked']}",
            report.met_words(row["met"]),
        ]
        for row in content["rows"]
    ]
    header = ["run", "a step", "without it", "times as fast", "beside the steps", "apart"]
    table = page.table([*header, "target", "met"], lines, text=(0, 1, 2, 6, 7))
    about = f"{report.machine_line(content)}; medians of {content['rounds']} interleaved rounds."
    return f"{about}\n\n{table}"


def main(arguments: list[str]) -> int:
    """Exit code 1 if two methods do not agree."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks methods",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="small data: proves that it runs")
    parser.add_argument("--rounds", type=int, help="samples of each method (7; quick: 1)")
    parser.add_argument("--output", type=Path, help="JSON file (benchmarks/report/[quick/]...)")
    options = parser.parse_args(arguments)
    machine.restart_without_override()
    rounds = options.rounds or (1 if options.quick else 7)
    path = options.output or report_folder(options.quick) / "methods.json"
    content = records.record("methods", options.quick, rounds=rounds, rows=[])
    for case in map(quick_form, CASES) if options.quick else CASES:
        row = measure(case, rounds, 50 if options.quick else STEPS)
        content["benchmarks"] += [
            records.entry(row["title"], method, samples, kind="ours")
            for method, samples in row.pop("samples").items()
        ]
        content["rows"].append(row)
        records.write(content, path)
    print(summary(content))
    print(f"written to {path}")
    return 0 if all(row["agree"] for row in content["rows"]) else 1
