"""Readers of data files: each returns X, y and the names of the columns, or says what is wrong.

Whatever is wrong with a file is a ValueError of one line that starts with its path.
"""

import contextlib
import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from accel import memory, npy, paths, validation
from accel.validation import Array

Columns = tuple[Array, Array, tuple[str, ...]]

_DAMAGED = (*npy.DAMAGED, csv.Error)


def checked(where: object, X: object, y: object) -> tuple[Array, Array]:
    """X (n, d) and y (n,) or (n, k), finite and of one dtype: float32 if both are, else float64.

    Raises
    ------
    ValueError
        Starting with ``where``.
    """
    try:
        X, y = validation.numeric("X", X, ndim=(2,)), validation.numeric("y", y, ndim=(1, 2))
        if len(X) != len(y):
            raise ValueError(
                f"X and y must have as many rows, got X of shape {X.shape} and y of shape {y.shape}"
            )
        single = X.dtype == np.float32 and y.dtype == np.float32
        for name, a in (("X", X), ("y", y)):
            advice = "save it as float64 if it may be rounded"
            validation.unrounded(name, a, np.dtype(np.float64), a, advice)
        with np.errstate(invalid="ignore", over="ignore"):  # found by the check
            X, y = (a.astype(np.float32 if single else np.float64, copy=False) for a in (X, y))
        validation.all_finite("X", X)
        validation.all_finite("y", y)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error
    return X, y


def read_npz(path: Path, target: str | int | None = None) -> Columns:
    """Arrays ``X`` and ``y`` of a .npz; ``target`` names another array to use as y."""
    name = "y" if target is None else str(target)
    try:
        X, y = npy.load_npz(path, ("X", name))
    except _DAMAGED as error:
        raise unreadable(path, error) from error
    X, y = checked(paths.told(path), X, y)
    return X, y, _numbered(X.shape[1])


def read_npy(path: Path, target: str | int | None = None) -> Columns:
    """A 2-D array in a .npy, the target being its last column or the one numbered ``target``."""
    try:
        table = npy.load_npy(path)
    except _DAMAGED as error:
        raise unreadable(path, error) from error
    return _split(path, table, None, target)


def read_csv(path: Path, target: str | int | None = None) -> Columns:
    """A table of numbers, separated by commas, semicolons or tabs, with or without a header.

    The first line is the header if one of its cells is neither empty nor a number. The target is
    the last column, or the one that ``target`` names or numbers.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            skipped, first = 0, ""
            for first in stream:
                if first.strip():
                    break
                skipped += 1
        if first.count('"') % 2:
            raise ValueError("the first line opens a quote that it does not close")
        delimiter = max(",;\t", key=first.count)
        cells = [cell.strip() for cell in next(csv.reader([first], delimiter=delimiter), [])]
        header = None if all(_is_number(cell) for cell in cells if cell) else cells
        if not first.strip() or (header and not _has_rows(path, skipped + 1)):
            raise ValueError("it has no rows of numbers")
        table = np.loadtxt(
            path,
            delimiter=delimiter,
            skiprows=skipped + (header is not None),
            comments=None,
            quotechar='"',
            ndmin=2,
            encoding="utf-8-sig",
        )
    except _DAMAGED as error:
        raise unreadable(path, error) from error
    if header is not None and len(header) != table.shape[1]:
        raise ValueError(
            f"{paths.told(path)}: the header has {len(header)} columns, the rows have "
            f"{table.shape[1]}"
        )
    return _split(path, table, header, target)


def _has_rows(path: Path, skip: int) -> bool:
    with path.open(encoding="utf-8-sig") as stream:
        return any(line.strip() for number, line in enumerate(stream) if number >= skip)


def _is_number(cell: str) -> bool:
    with contextlib.suppress(ValueError):
        float(cell)
        return True
    return False


def _numbered(d: int) -> tuple[str, ...]:
    return tuple(f"x{j}" for j in range(d))


def unreadable(path: Path, error: Exception) -> ValueError:
    """Return what to raise of a file that is damaged."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return ValueError(f"{paths.told(path)}: not readable: {' '.join(reason.split()):.300}")


def _split(path: Path, table: Array, header: list[str] | None, target: str | int | None) -> Columns:
    """Cut the target column out of a table."""
    if table.ndim != 2 or table.shape[1] < 2:
        raise ValueError(
            f"{paths.told(path)}: expected rows of at least two columns, features and a target, "
            f"got an array of shape {table.shape}"
        )
    columns = table.shape[1]
    column = _column(path, -1 if target is None else target, columns, header)
    rest = [j for j in range(columns) if j != column]
    X, y = checked(paths.told(path), table[:, rest], table[:, column])
    return X, y, tuple(header[j] for j in rest) if header else _numbered(columns - 1)


def _column(path: Path, target: str | int, columns: int, header: list[str] | None) -> int:
    """Number of the column that ``target`` names, or numbers from 0 (or from the end, below 0)."""
    if isinstance(target, str) and header and target in header:
        if header.count(target) > 1:
            raise ValueError(
                f"{paths.told(path)}: the header has {header.count(target)} columns {target!r}"
            )
        return header.index(target)
    try:
        number = int(target)  # the command line passes numbers as text
    except (TypeError, ValueError):
        if not header:
            raise ValueError(
                f"{paths.told(path)}: it has no header, so target must be the number of a column, "
                f"got {validation.shown(target)}"
            ) from None
        try:
            validation.unknown("target", str(target), header)
        except ValueError as error:
            raise ValueError(f"{paths.told(path)}: {error}") from None
    if not -columns <= number < columns:
        raise ValueError(
            f"{paths.told(path)}: target must be >= {-columns} and < {columns}, got {number}"
        )
    return number % columns


#: The reader for each suffix.
READERS: dict[str, Callable[[Path, str | int | None], Columns]] = {
    ".npz": read_npz,
    ".npy": read_npy,
    ".csv": read_csv,
}


def read(path: str | os.PathLike[str], target: Any = None) -> Columns:
    """Read a file by the reader for its suffix."""
    path = paths.given("path", path)
    if path.suffix.lower() not in READERS:
        raise ValueError(f"{paths.told(path)}: expected a file that ends in {', '.join(READERS)}")
    if reason := paths.refusal(path):
        raise ValueError(f"{paths.told(path)}: {reason}")
    if isinstance(target, bool) or not isinstance(target, str | int | None):
        raise TypeError(
            f"target must be the name or the number of a column, got {validation.shown(target)}"
        )
    memory.require(paths.told(path), 2 * path.stat().st_size)  # the table, and X without the target
    return READERS[path.suffix.lower()](path, target)
