"""CSV files: any rows, and the history of a run."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from accel._runs.history import HISTORY, History
from accel._support.arrays import Array

__all__ = ["COLUMNS", "history_csv", "history_rows", "write_rows"]

#: The columns that every history has.
COLUMNS = HISTORY


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def history_rows(history: History, distances: Array | None = None) -> Iterator[tuple[Any, ...]]:
    """One row a record: its ``COLUMNS``, after the distance from the optimum if it is given."""
    columns = [getattr(history, name).tolist() for name in COLUMNS]
    if distances is not None:
        columns = [distances.tolist(), *columns]
    return zip(*columns, strict=True)


def history_csv(path: Path, history: History, distances: Array | None = None) -> None:
    """Write a history with all that was recorded; distances from the optimum, if given, first."""
    columns = history.columns()
    if distances is not None:
        columns = {"distance": distances, **columns}
    write_rows(path, list(columns), zip(*(c.tolist() for c in columns.values()), strict=True))
