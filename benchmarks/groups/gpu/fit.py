"""``python -m benchmarks gpu fit RECORD...``: what things cost in a step, from measured steps.

It fits the constants of the planner's estimates (``kernels/cuda/estimates.py``) to the records of
``python -m benchmarks gpu``, by non-negative least squares of relative errors, one set a compute
capability, and writes ``kernels/cuda/costs.py`` from these alone. A cost that the records do not
identify keeps its value in ``PRIOR``. Sweeps are predicted, not fitted.
Devices of one capability share what is fitted, whatever their memory: name the records of all.
Exit code 2, and no file, if the records do not suffice.
"""

import argparse
import itertools
import re
import shlex
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from accel.kernels.cuda import estimates
from accel.kernels.cuda.estimates import Terms
from benchmarks import ROOT
from benchmarks.groups.gpu.cases import CASES
from benchmarks.harness import page, records
from benchmarks.harness.cases import OURS, Case

COSTS = ROOT / "kernels" / "cuda" / "costs.py"

#: The costs that are assumed where no record identifies them, on sm_90. The record of 2026-11-28
#: does not identify: an exchange (no run of one block was measured: it could as well be a part of
#: ``rest``); polls (from 8 to 132 blocks a square looks like a line: either term alone would do,
#: polls for 0.06); launches (12 us, measured on that H200 beside 20 000 x 128, in no record);
#: launches by the host (50 us); multiply-adds (a multiprocessor makes 128 a cycle, of which half
#: are counted on); stages (3 us a kernel in a graph); products (a lane's multiply-adds by half as
#: many loads from shared memory: 40 a cycle). The others are an H200's, rounded.
PRIOR = Terms(
    rest=6000.0,
    instruction=0.9,
    exchange=1100.0,
    block=10.0,
    poll=0.05,
    pair=0.05,
    factor=1500.0,
    chain=0.4,
    launches=24_000.0,
    by_host=100_000.0,
    byte=1 / 2100,
    multiply_add=1 / 64,
    stage=6_000.0,
    product=1 / 40,
)
#: The order in which terms become free: each has to explain what those before it cannot.
_ORDER = ("rest", "instruction", "byte", "block", "chain", "factor", "pair", "poll", "exchange",
          "launches", "multiply_add", "by_host", "stage", "product")  # fmt: skip
#: A term is fitted if, at its prior value, it moves a figure by so much in a way that the terms
#: before it cannot: as much as figures of one layout in one session differ, alone or beside peers.
_SEEN = 0.03
#: Numbers of blocks that a scan must have, and figures beyond the terms that are fitted.
_COUNTS, _BEYOND = 4, 4
_DIGITS = 3
_SHAPE = re.compile(r"(\d+) x (\d+)")


class MeasuredStep(NamedTuple):
    """A measured step: how often things occur in it, and its time in cycles.

    ``fitted`` is False for what is only held against the fit; ``scan`` names the scan that it is a
    part of, and ``blocks`` its place there.
    """

    name: str
    counts: Terms
    cycles: float
    megahertz: float
    fitted: bool = True
    scan: str = ""
    blocks: int = 0

    def predicted(self, costs: Terms) -> float:
        """Cycles by the estimate."""
        return estimates.cycles(self.counts, costs)

    def error(self, costs: Terms) -> float:
        """The estimate's, relative to what was measured."""
        return self.predicted(costs) / self.cycles - 1.0


class FittedCosts(NamedTuple):
    """Costs, and which of them are fitted; the others are the prior's."""

    costs: Terms
    fitted: frozenset[str]


#: Blocks of a team and teams, by the case: for records that do not tell them.
Layouts = dict[str, tuple[int, int]]


def layouts_of(words: list[str]) -> Layouts:
    """The layouts that ``NAME=BLOCKS`` and ``NAME=TEAMSxBLOCKS`` name.

    Raises
    ------
    ValueError
        If a word has another form.
    """
    layouts = {}
    for part in words:
        match = re.fullmatch(r"([\w-]+)=(?:(\d+)x)?(\d+)", part)
        if not match:
            raise ValueError(f"{part!r} is neither NAME=BLOCKS nor NAME=TEAMSxBLOCKS")
        layouts[match[1]] = int(match[3]), int(match[2] or 1)
    return layouts


def clock(record: dict[str, Any]) -> tuple[float, str]:
    """The clock of the multiprocessors in MHz, and which of the record's it is.

    The higher one of those at the start and at the end: a GPU at rest may have a low one.

    Raises
    ------
    ValueError
        If the record has none.
    """
    device, megahertz = record["machine"]["device"], {}
    for when in ("at_start", "at_end"):
        number = re.match(r"\d+(\.\d+)?", device.get(when, {}).get("clocks.sm", ""))
        if number:
            megahertz[when] = float(number[0])
    if not megahertz:
        raise ValueError("no clock is told, so that microseconds cannot be made cycles")
    when = max(megahertz, key=lambda key: megahertz[key])
    return megahertz[when], f"clocks.sm {when}"


def measured_steps(
    record: dict[str, Any], layouts: Layouts
) -> tuple[list[MeasuredStep], list[str]]:
    """The steps of a record that the model covers, and the others, each with its reason.

    Raises
    ------
    ValueError
        If it is no whole run on a GPU, or has no clock.
    """
    if record["group"] != "gpu" or record["quick"]:
        raise ValueError("no record of a whole run of `python -m benchmarks gpu`")
    megahertz, _ = clock(record)
    steps, left = [], []
    for part in (_scans(record), _barriers(record), _cases(record, layouts), _copy(record)):
        for name, counts, microseconds, more in part:
            if isinstance(counts, str):
                left.append(f"{name}: {counts}")
            else:
                steps.append(
                    MeasuredStep(name, counts, microseconds * megahertz, megahertz, **more)
                )
    return steps, left


#: A name; counts, or why there are none; microseconds; further fields of ``MeasuredStep``.
_Rows = Iterator[tuple[str, Terms | str, float, dict[str, Any]]]


def _resident(case: Case, n: int, d: int, blocks: int) -> Terms:
    itemsize = np.dtype(case.dtype).itemsize
    return estimates.resident(n, d, 1, itemsize, blocks, _chain(case, d))


def _chain(case: Case, d: int) -> estimates.Chain:
    widths = (d, *case.widths, 1)
    return estimates.chain(widths, sum(a * b for a, b in itertools.pairwise(widths)))


def _shape(source: str) -> tuple[int, int]:
    match = _SHAPE.search(source)
    if not match:
        raise ValueError(f"no shape in {source!r}")
    return int(match[1]), int(match[2])


def _scans(record: dict[str, Any]) -> _Rows:
    known = {case.name: case for case in CASES}
    sources = {case["name"]: case["data"] for case in record["cases"]}
    for part in record["scan"]:
        name = part["case"]
        source = part.get("data") or sources.get(name, "")
        if name not in known or not source:
            yield f"scan of {name}", "nothing tells its data", 0.0, {}
            continue
        for row in part["rows"]:
            if "gap" not in row:
                counts = _resident(known[name], *_shape(source), row["blocks"])
                label = f"{name}, {row['blocks']} blocks"
                yield label, counts, row["median_us"], {"scan": name, "blocks": row["blocks"]}


def _barriers(record: dict[str, Any]) -> _Rows:
    for row in (record["ceilings"] or {"barrier": []})["barrier"]:
        if "gap" not in row:
            # One number a block, in float64: see ``ceilings``.
            chain = estimates.chain((1, 1), 1)
            counts = estimates.resident(row["blocks"], 1, 1, 8, row["blocks"], chain)
            yield f"exchange alone, {row['blocks']} blocks", counts, row["microseconds"], {}


def _cases(record: dict[str, Any], layouts: Layouts) -> _Rows:
    known = {case.name: case for case in CASES}
    for measured in record["cases"]:
        name = measured["name"]
        row = next(row for row in measured["contenders"] if row["contender"] == OURS)
        if name not in known or "gap" in row:
            yield name, "not measured", 0.0, {}
            continue
        case, (n, d) = known[name], _shape(measured["data"])
        if row["note"] == "wide":
            yield name, _wide(record, case, measured["data"]), row["median_us"], {}
            continue
        if row["note"] == "streaming":
            if case.models > 1:
                yield name, "a streamed sweep, which is not a figure of this model", 0.0, {}
                continue
            itemsize = np.dtype(case.dtype).itemsize
            processors = record["machine"]["device"]["multiprocessors"]
            chain = _chain(case, d)
            counts = estimates.streaming(n, d, 1, itemsize, processors, False, chain, PRIOR)
            yield name, counts, row["median_us"], {}
            continue
        layout = (row["blocks"], row["teams"]) if "blocks" in row else layouts.get(name)
        if layout is None:
            yield name, "its record does not tell its blocks, nor does --layout", 0.0, {}
            continue
        blocks, teams = layout
        rounds = -(-case.models // teams)
        counts = Terms(*(rounds * count for count in _resident(case, n, d, blocks)))
        blocks_of = f"{teams} x {blocks}" if teams > 1 else f"{blocks}"
        label = f"{name}, {blocks_of} blocks beside its peers"
        yield label, counts, row["median_us"], {"fitted": case.models == 1}


def _wide(record: dict[str, Any], case: Case, source: str) -> Terms:
    """A step with many blocks a model, its pass by products of ours."""
    (n, d), k = _shape(source), int(source.partition(" to ")[2].partition(",")[0])
    itemsize, widths = np.dtype(case.dtype).itemsize, (d, *case.widths, k)
    size = sum(a * b for a, b in itertools.pairwise(widths))
    processors = record["machine"]["device"]["multiprocessors"]
    parts = (
        estimates.blocks_pass(case.form, n, d, k, itemsize, processors, case.models),
        estimates.wide(widths, size, size, itemsize, processors, case.models),
    )
    return Terms(*(sum(counts) for counts in zip(*parts, strict=True)))


def _copy(record: dict[str, Any]) -> _Rows:
    if record["ceilings"]:
        copied = record["ceilings"]["copy"]
        nbytes = 2 * copied["bytes"]
        microseconds = nbytes / copied["gigabytes_per_second"] / 1e3
        yield "a device copy", Terms(byte=nbytes), microseconds, {}


def fit(steps: list[MeasuredStep], prior: Terms = PRIOR) -> FittedCosts:
    """Fit costs to those figures that are to be fitted.

    Raises
    ------
    ValueError
        If they are too few.
    """
    from scipy.optimize import nnls

    used = [step for step in steps if step.fitted]
    counts = {len([f for f in used if f.scan == name]) for name in {f.scan for f in used} - {""}}
    if max(counts, default=0) < _COUNTS:
        raise ValueError(
            f"no scan with {_COUNTS} numbers of blocks or more: `--case scan` measures them"
        )
    # Shares of the measured time that the terms have at their prior values.
    scale = np.array(prior)
    shares = np.array([step.counts for step in used]) * scale
    shares /= np.array([step.cycles for step in used])[:, None]
    free = _free(shares)
    if len(used) < len(free) + _BEYOND:
        raise ValueError(
            f"{len(used)} figures are too few for {len(free)} costs: {len(free) + _BEYOND} at least"
        )
    kept = [place for place in range(len(scale)) if place not in free]
    factors, _ = nnls(shares[:, free], 1.0 - shares[:, kept].sum(axis=1))
    values = list(prior)
    for place, factor in zip(free, factors, strict=True):
        values[place] = float(f"{prior[place] * factor:.{_DIGITS}g}")
    return FittedCosts(Terms(*values), frozenset(Terms._fields[place] for place in free))


def _free(shares: np.ndarray) -> list[int]:
    """Terms that the figures tell apart, as places in ``Terms``."""
    free: list[int] = []
    for name in _ORDER:
        place = Terms._fields.index(name)
        column, others = shares[:, place], shares[:, free]
        seen = column - others @ np.linalg.lstsq(others, column, rcond=None)[0]
        if np.abs(seen).max(initial=0.0) >= _SEEN:
            free.append(place)
    return sorted(free)


def report(steps: list[MeasuredStep], made: FittedCosts) -> str:
    """What was measured beside what is predicted, the costs, and how good a choice of blocks is."""
    rows = [
        [
            step.name,
            f"{step.cycles / step.megahertz:.2f}",
            f"{step.predicted(made.costs) / step.megahertz:.2f}",
            f"{step.error(made.costs):+.1%}",
            "" if step.fitted else "predicted only",
        ]
        for step in steps
    ]
    parts = [page.table(["step", "measured, us", "estimate, us", "error", ""], rows)]
    costs = [
        [name, f"{cost:g}", _how(name, cost, made)] for name, cost in made.costs._asdict().items()
    ]
    parts.append(page.table(["cost", "cycles", ""], costs))
    for name in dict.fromkeys(step.scan for step in steps if step.scan):
        of_scan = [step for step in steps if step.scan == name]
        best = min(of_scan, key=lambda step: step.cycles)
        taken = min(of_scan, key=lambda step: step.predicted(made.costs))
        parts.append(
            f"{name}: of the scanned ones {taken.blocks} blocks are the fastest by estimate; "
            f"{best.blocks} are, and {taken.blocks} take {taken.cycles / best.cycles - 1:.1%} more."
        )
    return "\n\n".join(parts)


def _how(name: str, cost: float, made: FittedCosts) -> str:
    if name not in made.fitted:
        return "an estimate: not identified by these records"
    return "fitted" if cost else "fitted: these records ask for none"


class Entry(NamedTuple):
    """All that a compute capability's costs are made from."""

    capability: tuple[int, int]
    about: str
    made: FittedCosts
    steps: list[MeasuredStep]


def entry(capability: tuple[int, int], several: dict[str, Any], layouts: Layouts) -> Entry:
    """Fit the costs of one compute capability from records by their names, and print the tables.

    Raises
    ------
    ValueError
        If they do not suffice.
    """
    steps, devices = [], []
    for name, record in several.items():
        here, left = measured_steps(record, layouts)
        steps += here
        for line in left:
            print(f"left out of {name}: {line}")
        megahertz, which = clock(record)
        about = record["machine"]["device"]["name"]
        devices.append(f"{about}, {name}, {megahertz:.0f} MHz ({which})")
    made = fit(steps)
    print(f"compute capability {'.'.join(map(str, capability))}\n\n{report(steps, made)}\n")
    return Entry(capability, "; ".join(devices), made, steps)


def text(command: list[str], entries: list[Entry]) -> str:
    """The content of ``costs.py``; `command` is what it is written by, word by word."""
    lines = [
        'r"""What things cost in a step, in cycles of a multiprocessor: see ``estimates``.',
        "",
        "Written by the following command; edit nothing here.",
        "",
        *_wrapped(shlex.join(command), "    ", " \\"),
        '"""',
        "",
        "#: By compute capability.",
        "COSTS = {",
    ]
    for capability, about, made, steps in entries:
        errors = np.array([step.error(made.costs) for step in steps if step.fitted])
        told = (
            f"{about}: {len(errors)} figures, met within {np.abs(errors).max():.1%}, by root mean "
            f"square {np.sqrt(np.mean(errors**2)):.1%}."
        )
        lines += _wrapped(told, "    # ")
        lines.append(f"    {capability}: {{")
        for name, cost in made.costs._asdict().items():
            comment = "" if name in made.fitted else "  # an estimate, which no figure here tells"
            lines.append(f'        "{name}": {cost!r},{comment}')
        lines.append("    },")
    return "\n".join([*lines, "}", ""])


def _wrapped(words: str, before: str, behind: str = "") -> list[str]:
    lines = textwrap.wrap(
        words, 98, initial_indent=before, subsequent_indent=before,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return [f"{line}{behind}" for line in lines[:-1]] + lines[-1:]


def main(arguments: list[str]) -> int:
    """Exit code 2 if the records cannot be read or do not suffice."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu fit", description=__doc__)
    parser.add_argument("records", type=Path, nargs="+", metavar="RECORD")
    parser.add_argument(
        "--layout",
        action="append",
        default=[],
        metavar="CASE=[TEAMSx]BLOCKS",
        help="of a resident case, for records that do not tell it; repeatable",
    )
    parser.add_argument("--output", type=Path, default=COSTS, help="kernels/cuda/costs.py")
    options = parser.parse_args(arguments)
    try:
        layouts, by_capability = layouts_of(options.layout), {}
        for path in options.records:
            record, path = records.read(path), path.resolve()
            name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
            major, minor = record["machine"]["device"]["compute_capability"].split(".")
            several = by_capability.setdefault((int(major), int(minor)), {})
            several[name.as_posix()] = record
        entries = [
            entry(capability, several, layouts)
            for capability, several in sorted(by_capability.items())
        ]
    except (OSError, ValueError, KeyError) as error:
        print(f"nothing is fitted: {error}", file=sys.stderr)
        return 2
    names = [name for several in by_capability.values() for name in several]
    asked = [f"--layout={told}" for told in options.layout]
    command = ["python", "-m", "benchmarks", "gpu", "fit", *names, *asked]
    options.output.write_text(text(command, entries), encoding="utf-8")
    print(f"written to {options.output}")
    return 0
