"""The group ``scaling``: our time a step against one size at a time, and the peak of memory.

All points of a series are timed round-robin, so every round has a slope of its own: the table gives
the median of these slopes, in log-log, beside the one to expect.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.groups.scaling import memory
from benchmarks.harness import machine, page, records, report, timing
from benchmarks.harness.cases import OURS, Case
from benchmarks.harness.data import SHAPES
from benchmarks.harness.records import Record
from benchmarks.harness.reference import reference_params, start
from benchmarks.harness.registry import Settings
from benchmarks.peers import Stepper

ROUNDS, SECONDS = 9, 0.1


@dataclass(frozen=True)
class Series:
    """Cases that differ in one thing, whose ``values`` are the abscissae.

    `expected` is the slope of log time against log value that the work suggests, `why` says how.
    """

    variable: str
    setting: str
    expected: float
    why: str
    values: tuple[int, ...]

    @property
    def title(self) -> str:
        """What is varied, and what is not."""
        return f"time against {self.variable}: {self.setting}"

    def case(self, value: int) -> Case:
        """The case at one value."""
        sizes = {"n": 20_000, "d": 128, "k": 1, "depth": 1, "width": 32, "models": 1}
        if self.variable in ("depth", "width"):
            sizes |= {"n": SHAPES["gas"][0], "depth": 3}
        if self.variable == "models":
            sizes |= {"n": SHAPES["gas"][0]}
        sizes[self.variable] = value
        return Case(
            name=f"{self.variable}-{value}",
            title=f"{self.variable} = {value}",
            data="x".join(str(sizes[name]) for name in "ndk"),
            dtype="float32" if self.variable in ("n", "d", "k", "threads") else "float64",
            p=4.0,
            widths=(sizes["width"],) * (sizes["depth"] - 1),
            learning_rate=1e-4,
            steps=10,
            contenders=(OURS,),
            targets=(),
            models=sizes["models"],
        )


def series(threads: int) -> tuple[Series, ...]:
    """All of them, on a machine with so many CPUs to use."""
    return (
        Series("n", "d = 128, float32", 1.0, "one read of X", (2**12, 2**14, 2**16, 2**18)),
        Series("d", "n = 20000, depth 1, float32", 1.0, "one read of X", (32, 64, 128, 256, 512)),
        Series("k", "20000 x 128, depth 1, float32", 1.0, "two products", (2, 4, 8, 16, 32)),
        Series("depth", "2565 x 128, width 32, float64", 0.0, "the pass rules", (1, 2, 3, 4, 8)),
        Series("width", "2565 x 128, depth 3, float64", 0.0, "the pass rules", (1, 4, 16, 64, 128)),
        Series("models", "2565 x 128, float64", 1.0, "two products", (2, 4, 8, 16, 32, 64)),
        Series("threads", "20000 x 128, depth 1, float32", -1.0, "rows shared out",
               tuple(range(1, threads + 1))),
    )  # fmt: skip


def measure(settings: Settings) -> Record:
    quick = settings.quick
    rounds = settings.rounds or (3 if quick else ROUNDS)
    seconds = settings.seconds or (0.005 if quick else SECONDS)
    content = records.record("scaling", quick, rounds=rounds, series=[], memory=[])
    for line in series(machine.peer_threads()):
        runs = {str(value): _run(line, value, quick) for value in line.values}
        samples = timing.interleaved(runs, rounds, seconds)
        content["series"].append(_series_record(line, samples))
        content["benchmarks"] += [
            records.entry(line.title, f"{line.variable}={s.name}", s.seconds, s.steps, kind="ours")
            for s in samples
        ]
        print(f"{line.title}: {_slope_words(content['series'][-1]['slope'])}", flush=True)
    content["memory"] = memory.measure(quick)
    return content


def _run(line: Series, value: int, quick: bool) -> Stepper:
    threads = value if line.variable == "threads" else machine.peer_threads()
    # Smaller by a factor of 20 in the quick form, whose slopes therefore say little.
    run, _ = line.case(value).descent(threads, quick)
    return start(OURS, run, reference_params(run))


def _series_record(line: Series, samples: Sequence[timing.Samples]) -> dict[str, Any]:
    seconds = np.array([s.seconds for s in samples])
    slopes = slope(np.array(line.values), seconds)
    return {
        "title": line.title,
        "variable": line.variable,
        "expected": line.expected,
        "why": line.why,
        "values": list(line.values),
        "medians": [s.median for s in samples],
        "slope": [float(q) for q in np.percentile(slopes, [50, 25, 75])] if len(slopes) else None,
    }


def slope(values: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Slopes of log seconds (points, rounds) against log values (points,), one a round."""
    if len(values) < 2:
        return np.empty(0)
    x = np.log(values) - np.log(values).mean()
    return x @ np.log(seconds) / (x @ x)


def _slope_words(quartiles: list[float] | None) -> str:
    return "no slope" if quartiles is None else "{:.2f} ({:.2f} to {:.2f})".format(*quartiles)


def markdown(content: Record) -> str:
    """Slopes beside the expected ones, with the times they come from; then the memory."""
    rows = []
    for line in content["series"]:
        times = ", ".join(
            f"{value}: {report.microseconds(median)}"
            for value, median in zip(line["values"], line["medians"], strict=True)
        )
        expected = f"{line['expected']:g} ({line['why']})"
        rows.append([line["title"], times, expected, _slope_words(line["slope"])])
    header = ["", "microseconds a step", "slope expected", "slope (quartiles)"]
    parts = [report.header(content), page.table(header, rows, text=(0, 1))]
    return "\n\n".join([*parts, memory.markdown(content["memory"])])


summary = markdown


def plots(content: Record) -> dict[str, bytes]:
    """Time against each size, log-log, with the expected slope through the last point."""
    from benchmarks.harness import plotting

    return plotting.scaling(content)
