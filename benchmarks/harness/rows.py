"""A command that measures a table, one row after the other, and writes its record meanwhile."""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import report_folder
from benchmarks.harness import machine, records
from benchmarks.harness.records import Record


class Options(NamedTuple):
    """How to measure."""

    quick: bool
    rounds: int
    threads: int


def rows_command(
    name: str,
    about: str | None,
    rounds: int,
    rows: Callable[[Options], Iterable[dict[str, Any]]],
    summary: Callable[[Record], str],
    arguments: list[str],
) -> Record:
    """Parse options, measure, print the summary, and return the record.

    A row has a title and, under "samples", those of every contender in seconds. Contenders whose
    name begins with "accel" are ours, and so are all where none does.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks {name}",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="small data: proves that it runs")
    parser.add_argument("--rounds", type=int, help=f"samples of each ({rounds}; quick: 1)")
    parser.add_argument("--threads", type=int, default=2, help="CPUs at most (2)")
    parser.add_argument("--output", type=Path, help="JSON file (benchmarks/report/[quick/]...)")
    given = parser.parse_args(arguments)
    machine.restart_without_override()
    rounds = given.rounds or (1 if given.quick else rounds)
    path = given.output or report_folder(given.quick) / f"{name}.json"
    content = records.record(name, given.quick, rounds=rounds, rows=[])
    for row in rows(Options(given.quick, rounds, given.threads)):
        samples = row.pop("samples")
        ours = [each for each in samples if each.startswith("accel")] or list(samples)
        content["benchmarks"] += [
            records.entry(row["title"], each, values, kind="ours" if each in ours else "peer")
            for each, values in samples.items()
        ]
        content["rows"].append(row)
        records.write(content, path)
    print(summary(content))
    print(f"written to {path}")
    return content
