"""``python -m benchmarks compare OLD.json NEW.json``: what has become slower beyond the noise.

A median has changed if the difference is more than 5 % of the old one and more than the spread of
the two together, ``hypot(IQR, IQR)``. Fewer than three rounds have no meaningful spread: these
benchmarks are named, not judged. Peers and ceilings are judged as well, which shows how much the
machine has changed, but only ours can fail.
"""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

LEAST = 0.05
_FEWEST = 3


class Change(NamedTuple):
    """Of one benchmark: new over old median, whether that is beyond the noise, and what it is."""

    name: str
    ratio: float
    beyond: bool
    kind: str
    noise: float


class Comparison(NamedTuple):
    """Changes of what is in both; names of what is in one only, and of what has too few rounds."""

    changes: list[Change]
    gone: list[str]
    added: list[str]
    unjudged: list[str]


def compare(old: dict[str, Any], new: dict[str, Any]) -> Comparison:
    """Compare two documents of pytest-benchmark's format."""
    before, after = ({b["fullname"]: b for b in document["benchmarks"]} for document in (old, new))
    gone, added = [*before.keys() - after.keys()], [*after.keys() - before.keys()]
    comparison = Comparison([], gone, added, [])
    for name in before.keys() & after.keys():
        one, two = before[name]["stats"], after[name]["stats"]
        if min(one["rounds"], two["rounds"]) < _FEWEST or not one["median"]:
            comparison.unjudged.append(name)
            continue
        noise = math.hypot(one["iqr"], two["iqr"])
        beyond = abs(two["median"] - one["median"]) > max(noise, LEAST * one["median"])
        kind = after[name]["extra_info"].get("kind", "ours")
        change = Change(name, two["median"] / one["median"], beyond, kind, noise / one["median"])
        comparison.changes.append(change)
    for names in comparison[1:]:
        names.sort()
    comparison.changes.sort(key=lambda change: (-change.ratio, change.name))
    return comparison


def report(comparison: Comparison) -> str:
    """All changes beyond the noise, ours first; then what could not be judged."""
    lines = []
    for title, ours in (("ours", True), ("peers and ceilings", False)):
        here = [change for change in comparison.changes if (change.kind == "ours") == ours]
        if not here:
            continue
        beyond = [change for change in here if change.beyond]
        middle = float(np.median([change.ratio for change in here]))
        lines.append(
            f"{title}: {len(here)} compared, {len(beyond)} changed beyond the noise, "
            f"median new / old {middle:.3f}"
        )
        for change in beyond:
            word = "SLOWER" if change.ratio > 1 else "faster"
            lines.append(
                f"  {word} {change.ratio:.2f} times (noise {change.noise:.0%}): {change.name}"
            )
    for what, names in (
        ("only in the old file", comparison.gone),
        ("only in the new file", comparison.added),
        (f"not judged, fewer than {_FEWEST} rounds", comparison.unjudged),
    ):
        if names:
            lines += [f"{what}:", *(f"  {name}" for name in names)]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Exit code 1 if something of ours has become slower, 2 if a file cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks compare", description=__doc__)
    parser.add_argument("old", type=Path, metavar="OLD.json")
    parser.add_argument("new", type=Path, metavar="NEW.json")
    options = parser.parse_args(arguments)
    documents = []
    for path in (options.old, options.new):
        try:
            documents.append(json.loads(path.read_text()))
            print(f"{path}: {len(documents[-1]['benchmarks'])} benchmarks")
        except (OSError, ValueError, KeyError, TypeError) as error:
            print(f"{path}: no benchmarks: {error}", file=sys.stderr)
            return 2
    machines = [
        document.get("machine_info", {}).get("cpu", {}).get("brand_raw") for document in documents
    ]
    if machines[0] != machines[1]:
        print(f"two machines: {machines[0]} and {machines[1]}")
    comparison = compare(*documents)
    print(report(comparison))
    slower = [c for c in comparison.changes if c.beyond and c.ratio > 1 and c.kind == "ours"]
    return 1 if slower else 0
