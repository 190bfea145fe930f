"""What reports are written with: CSV, times as people read them, numbers that JSON has."""

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from accel._runs.results import History
from accel._support.arrays import Array

COLUMNS = tuple(f.name for f in fields(History))


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def records(history: History) -> Iterable[tuple[Any, ...]]:
    return zip(*(getattr(history, name).tolist() for name in COLUMNS), strict=True)


def history_csv(path: Path, history: History, distances: Array | None = None) -> None:
    """Write a history, one line a record; distances from the optimum, if given, come first."""
    if distances is None:
        write_rows(path, COLUMNS, records(history))
        return
    rows = (
        (distance, *record)
        for distance, record in zip(distances.tolist(), records(history), strict=True)
    )
    write_rows(path, ("distance", *COLUMNS), rows)


def duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1 or unit == "us":
            return f"{seconds * factor:.3g} {unit}"
    raise AssertionError


def finite(value: float) -> float | None:
    """The value, or None where JSON has no number for it."""
    return value if math.isfinite(value) else None
