"""CSV files: any rows, and the history of a run."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from accel._runs.history import HISTORY, History
from accel._support.arrays import Array

__all__ = ["history_csv", "history_rows", "write_rows"]


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def history_rows(history: History, distances: Array) -> Iterator[tuple[Any, ...]]:
    """One row a record: the distance from the optimum, and what every history has."""
    columns = [distances, *(history[name] for name in HISTORY)]
    return zip(*(column.tolist() for column in columns), strict=True)


def history_csv(path: Path, history: History, distances: Array | None = None) -> None:
    """Write a history with all that was recorded; distances from the optimum, if given, first."""
    columns = history.columns()
    if distances is not None:
        columns = {"distance": distances, **columns}
    write_rows(path, list(columns), zip(*(c.tolist() for c in columns.values()), strict=True))
