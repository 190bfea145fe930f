"""``python -m benchmarks shapes``: which shapes of the passes over the data suit this machine.

Field by field, all candidates of `accel.kernels.cpu.shapes` are timed on the cases that the field
matters for, and the best one stays for the fields after it. Each candidate is compiled in a process
of its own, which stays alive and makes a sample whenever it is asked, so that all of them are timed
in turn. What is printed in the end is the row for the table of shapes.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import NamedTuple

import numpy as np

from benchmarks import ROOT
from benchmarks.harness import machine, page

_ONE_MAP = ("depth1-f64", "depth1-f32")
_MANY_MAPS = ("sweep64-f64", "sweep64-f32", "outputs32-f32")
#: The cases that each field of the shapes matters for; of one that is not here, all of them.
CASES = {
    "tile_bytes": _ONE_MAP,
    "many_rows": _MANY_MAPS,
    "tile_height": _MANY_MAPS,
    "tile_vectors": _MANY_MAPS,
    "depth": ("outputs32-f32",),
    "stream_bytes": ("tall-f32",),
    "ahead_bytes": ("tall-f32",),
}
ROUNDS, SECONDS = 11, 0.1
QUICK_ROUNDS, QUICK_SECONDS = 2, 0.005
#: By which share another value has to be faster than the present one to take its place.
LEAST = 0.01
VARIABLE = "ACCEL_SHAPES"

Choice = Mapping[str, int]
#: Seconds a step of a case under each of the choices, a list of samples each, taken in turn.
Measure = Callable[[str, Sequence[Choice]], list[list[float]]]


class Scan(NamedTuple):
    """The values of a field, the seconds a step of each case with each of them, and the best."""

    field: str
    values: tuple[int, ...]
    present: int
    seconds: dict[str, list[float]]
    best: int

    def ratios(self, case: str) -> list[float]:
        """Times of a case with each value, relative to that with the present one."""
        seconds = self.seconds[case]
        reference = seconds[self.values.index(self.present)]
        return [value / reference for value in seconds]


def scans(
    present: Choice, candidates: Mapping[str, Sequence[int]], measure: Measure
) -> Iterator[Scan]:
    """Scan one field after the other, with the best values of those before it."""
    chosen = dict(present)
    for field, tried in candidates.items():
        values = tuple(sorted({*tried, chosen[field]}))
        choices = [{**chosen, field: value} for value in values]
        seconds = {
            case: [float(np.median(samples)) for samples in measure(case, choices)]
            for case in CASES.get(field, tuple(dict.fromkeys(sum(CASES.values(), ()))))
        }
        scan = Scan(field, values, chosen[field], seconds, chosen[field])
        means = np.exp(np.mean([np.log(scan.ratios(case)) for case in seconds], axis=0))
        if means.min() < 1 - LEAST:
            scan = scan._replace(best=values[int(means.argmin())])
        chosen[field] = scan.best
        yield scan


def table(scan: Scan) -> str:
    """A line a value: microseconds a step of each case, and times the present value's."""
    rows = []
    for place, value in enumerate(scan.values):
        cells = [
            f"{1e6 * seconds[place]:.4g} ({scan.ratios(case)[place]:.3f})"
            for case, seconds in scan.seconds.items()
        ]
        marks = [word for word in ("present", "best") if value == getattr(scan, word)]
        rows.append([value, *cells, ", ".join(marks)])
    return page.table([scan.field, *scan.seconds, ""], rows, text=(len(scan.seconds) + 1,))


class Sampler:
    """A process with the shapes of one choice, which times a step of a case when it is asked."""

    def __init__(self, case: str, choice: Choice, seconds: float, quick: bool) -> None:
        options = ["--sampler", case, "--seconds", str(seconds), *["--quick"] * quick]
        shapes = ",".join(f"{field}={value}" for field, value in choice.items())
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.shapes", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, VARIABLE: shapes},
        )
        self._name = f"{case} with {shapes}"

    def __enter__(self) -> "Sampler":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._process.kill()
        self._process.communicate()

    def answer(self) -> float:
        """Wait for a number: 0 as soon as it is ready, then the seconds a step of each sample."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name}: ended with code {self._process.wait()}")
        return float(json.loads(line))

    def sample(self) -> float:
        """Seconds a step, of one sample."""
        assert self._process.stdin is not None
        print(file=self._process.stdin, flush=True)
        return self.answer()


def measured(
    case: str, choices: Sequence[Choice], rounds: int, seconds: float, quick: bool
) -> list[list[float]]:
    """Seconds a step under each choice, by processes that are asked in turn."""
    from benchmarks.harness.timing import in_turn

    with contextlib.ExitStack() as stack:
        samplers = [
            stack.enter_context(Sampler(case, choice, seconds, quick)) for choice in choices
        ]
        for sampler in samplers:
            sampler.answer()
        calls = {place: sampler.sample for place, sampler in enumerate(samplers)}
        return list(in_turn(calls, rounds).values())


def _serve(name: str, seconds: float, quick: bool) -> None:
    """Be a `Sampler`'s process: hold our step of a case to the reference, then time it."""
    from benchmarks.harness.cases import CASES as known
    from benchmarks.harness.cases import OURS
    from benchmarks.harness.reference import reference_params, start
    from benchmarks.harness.timing import elapsed, seconds_each

    case = next(case for case in known if case.name == name)
    run, _ = case.descent(machine.peer_threads(), quick)
    stepper = start(OURS, run, reference_params(run))
    steps = max(1, round(seconds / seconds_each(stepper.advance, seconds / 5)))
    print(0.0, flush=True)
    for _ in sys.stdin:
        stepper.advance(max(1, steps // 10))  # caches and threads awake again
        print(elapsed(lambda: stepper.advance(steps)) / steps, flush=True)


def _caches() -> str:
    """The sizes of the data caches as the system tells them."""
    levels = ("SC_LEVEL1_DCACHE_SIZE", "SC_LEVEL2_CACHE_SIZE", "SC_LEVEL3_CACHE_SIZE")
    known = getattr(os, "sysconf_names", {})
    sizes = [os.sysconf(level) if level in known else 0 for level in levels]
    return ", ".join(f"{size // 1024} KiB" if size > 0 else "unknown" for size in sizes)


def main(arguments: list[str]) -> int:
    """Print a table a field, then the row; exit code 2 if there is no such field."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks shapes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--field", action="append", default=[], metavar="NAME", help="only this one; repeatable"
    )
    parser.add_argument("--quick", action="store_true", help="prove that it runs")
    parser.add_argument("--rounds", type=int, help=f"samples of each candidate ({ROUNDS})")
    parser.add_argument("--seconds", type=float, help=f"length of a sample ({SECONDS})")
    parser.add_argument("--threads", type=int, default=2, help="CPUs (2)")
    parser.add_argument("--sampler", metavar="CASE", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
    if options.sampler:
        _serve(options.sampler, seconds, options.quick)
        return 0
    from benchmarks.__main__ import pin

    pin(options.threads)
    from accel.kernels.cpu import shapes
    from accel.kernels.cpu.processor import vector_bytes, vector_registers

    candidates, present = shapes.CANDIDATES, shapes.shapes()
    if unknown := sorted(set(options.field) - set(candidates)):
        print(
            f"unknown field {', '.join(unknown)}; known: {', '.join(candidates)}", file=sys.stderr
        )
        return 2
    wanted = {field: candidates[field] for field in options.field or candidates}
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)

    def measure(case: str, choices: Sequence[Choice]) -> list[list[float]]:
        return measured(case, choices, rounds, seconds, options.quick)

    print(
        f"{machine.describe()['cpu']}: vectors of {vector_bytes()} bytes, {vector_registers()} "
        f"registers, caches of {_caches()}. Microseconds a step (relative to the present value), "
        f"medians of {rounds} rounds in turn.",
        flush=True,
    )
    for scan in scans(present._asdict(), wanted, measure):
        print(f"\n{table(scan)}", flush=True)
        present = present._replace(**{scan.field: scan.best})
    print(f"\nThe row for this machine:\n\n    {present!r}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
