"""CSV files: any rows, and the history of a run."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from accel._runs.results import History
from accel._support.arrays import Array

__all__ = ["COLUMNS", "history_csv", "history_rows", "write_rows"]

#: The columns of a history.
COLUMNS = tuple(f.name for f in fields(History))


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
    """Write a history, one line a record; distances from the optimum, if given, come first."""
    header = COLUMNS if distances is None else ("distance", *COLUMNS)
    write_rows(path, header, history_rows(history, distances))
