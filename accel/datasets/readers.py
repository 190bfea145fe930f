"""Readers of data files, one for each format: they return X, y and the names of the columns.

A file is opened once, and its numbers are checked once; it is read again only to say where a fault
is. X and y are finite and of one dtype, float32 or float64.

If anything is wrong with a file, a ValueError says so in one line that starts with its path. For
text it has the number of the line, from 1, header included, as editors count, and the name of the
column, or its number from 1 if it has no name; for an array it has the indices, from 0.
"""

import contextlib
import csv
import itertools
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from accel._files import npy, paths
from accel._files.paths import unreadable
from accel._support import memory, validation
from accel._support.arrays import Array

_log = logging.getLogger("accel")


class Columns(NamedTuple):
    """What a reader returns.

    Attributes
    ----------
    X : (n, d) array
    y : (n,) or (n, k) array
        Of the dtype of X.
    feature_names : tuple of d str
    target_names : tuple of k str
    """

    X: Array
    y: Array
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]


def names_of(stem: str, a: Array) -> tuple[str, ...]:
    """Names for the columns of an array that has none: y, or y0, y1 and so on."""
    return (stem,) if a.ndim == 1 else _numbered(a.shape[1], stem)


_DAMAGED = (*npy.DAMAGED, csv.Error)


def checked(where: object, X: object, y: object, *, finite: bool = False) -> tuple[Array, Array]:
    """Check X (n, d) and y (n,) or (n, k), and convert them to one dtype.

    Parameters
    ----------
    where : object
        What the message begins with: the path of a file.
    X, y : array_like
    finite : bool
        Whether the numbers are known to be finite in float64, so that they need not be read.

    Returns
    -------
    X, y : array
        Finite; float32 if both are, else float64.

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
        with np.errstate(invalid="ignore", over="ignore"):  # the check that follows tells
            X, y = (a.astype(np.float32 if single else np.float64, copy=False) for a in (X, y))
        if not finite:
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
    X, y = checked(paths.text(path), X, y)
    return Columns(X, y, _numbered(X.shape[1]), names_of(name, y))


def read_npy(path: Path, target: str | int | None = None) -> Columns:
    """A 2-D array in a .npy. The target is its last column, or that of the number ``target``."""
    try:
        table = npy.load_npy(path)
    except _DAMAGED as error:
        raise unreadable(path, error) from error
    return _split(path, table, None, target, lambda row, j: f"entry [{row}, {j}]")


class _Layout(NamedTuple):
    """What the first line of a .csv says about the others."""

    path: Path
    delimiter: str
    header: list[str] | None
    skipped: int  # the number of lines before the first row of numbers

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """The rows as text, each after the number of the line in which it begins."""
        with self.path.open(encoding="utf-8-sig", newline="") as stream:
            lines = itertools.islice(stream, self.skipped, None)
            reader, line = csv.reader(lines, delimiter=self.delimiter), self.skipped + 1
            for cells in reader:
                if cells:
                    yield line, cells
                line = self.skipped + reader.line_num + 1

    def column(self, j: int) -> str:
        """A column for a message: its name, or its number if it has no name of its own."""
        name = self.header[j] if self.header and j < len(self.header) else ""
        alone = name and self.header and self.header.count(name) == 1
        return f"column {validation.shown(name)}" if alone else f"column {j + 1}"

    def place(self, row: int, j: int) -> str:
        """Where the file has the number in this row and column of the table, both from 0."""
        with contextlib.suppress(*_DAMAGED):  # csv raises on numbers of very many digits
            line, _ = next(itertools.islice(self.rows(), row, None))
            return f"line {line}, {self.column(j)}"
        return f"row {row + 1} of numbers, {self.column(j)}"

    def fault(self) -> str:
        """Where the file is not a table of numbers, and why; empty if that cannot be found."""
        width = 0
        with contextlib.suppress(*_DAMAGED):
            for line, cells in self.rows():
                width = width or len(cells)
                if len(cells) != width:
                    return f"line {line} has {len(cells)} columns, the rows before it have {width}"
                for j, cell in enumerate(cells):
                    if not _is_number(cell) or "_" in cell or not cell.isascii():
                        what = f"could not convert string {validation.shown(cell)} to a number"
                        return f"line {line}, {self.column(j)}: {what}"
        return ""


def _layout(path: Path, lines: Iterator[str]) -> tuple[_Layout, Iterator[str]]:
    """Read the header, if there is one.

    Parameters
    ----------
    path : Path
        For the messages.
    lines : iterator of str
        Of the whole file.

    Returns
    -------
    layout : _Layout
    rows : iterator of str
        The lines from the first row of numbers on.
    """
    skipped, first = 0, ""
    for first in lines:
        if first.strip():
            break
        skipped += 1
    if first.count('"') % 2:
        raise ValueError("the first line opens a quote that it does not close")
    delimiter = max(",;\t", key=first.count)
    cells = [cell.strip() for cell in next(csv.reader([first], delimiter=delimiter), [])]
    counted = [str(j) for j in range(len(cells))]
    words = not all(_is_number(cell) for cell in cells if cell)
    header = cells if words or ["", *counted[:-1]] == cells != [""] else None
    ahead = [first] if header is None else _until_row(lines)
    if not any(line.strip() for line in ahead):
        raise ValueError("it has no rows of numbers")
    if header is None and cells == counted and len(cells) > 2:
        _log.warning(
            "%s: line %d, which counts the columns, is taken for numbers; a header must have a "
            "cell that is no number",
            paths.text(path),
            skipped + 1,
        )
    layout = _Layout(path, delimiter, header, skipped + (header is not None))
    return layout, itertools.chain(ahead, lines)


def read_csv(path: Path, target: str | int | None = None) -> Columns:
    """A table of numbers, separated by commas, semicolons or tabs, with or without a header.

    The first line is the header if one of its cells is neither empty nor a number, or if its first
    cell is empty and the others count the columns from 0, as pandas writes them. The target is the
    last column, or that of the name or number ``target``. A first column without a name that counts
    the rows is an index, as pandas and R write it: it is left out, and a warning is logged.
    """
    layout = None
    try:
        with path.open(encoding="utf-8-sig") as stream:
            layout, rows = _layout(path, stream)
            table = np.loadtxt(
                rows,
                delimiter=layout.delimiter,
                comments=None,
                quotechar='"',
                ndmin=2,
                encoding="utf-8",
            )
    except _DAMAGED as error:
        fault = "" if layout is None else layout.fault()
        raise unreadable(path, fault or error) from error
    header = layout.header
    if header is not None and len(header) != table.shape[1]:
        raise ValueError(
            f"{paths.text(path)}: the header has {len(header)} columns, the rows have "
            f"{table.shape[1]}"
        )
    return _split(path, table, header, target, layout.place)


def _until_row(lines: Iterator[str]) -> list[str]:
    """The next lines up to the first that is not blank, or up to the end."""
    ahead = []
    for line in lines:
        ahead.append(line)
        if line.strip():
            break
    return ahead


def _is_number(cell: str) -> bool:
    with contextlib.suppress(ValueError):
        float(cell)
        return True
    return False


def _numbered(d: int, stem: str = "x") -> tuple[str, ...]:
    return tuple(f"{stem}{j}" for j in range(d))


def _split(
    path: Path,
    table: Array,
    header: list[str] | None,
    target: str | int | None,
    place: Callable[[int, int], str],
) -> Columns:
    """Check a table (n, d + 1), and cut the target column out of it.

    Parameters
    ----------
    path : Path
        For the messages.
    table : array
    header : list of str or None
        The names of the columns.
    target : str, int or None
        As for ``read``.
    place : function
        Of a row and a column, from 0: says where in the file that number is.
    """
    if table.ndim != 2 or table.shape[1] < 2:
        raise ValueError(
            f"{paths.text(path)}: expected rows of at least two columns, features and a target, "
            f"got an array of shape {table.shape}"
        )
    columns = table.shape[1]
    column = _column(path, -1 if target is None else target, columns, header)
    _check_finite(path, table, place)
    rest = [j for j in range(columns) if j != column]
    if column != 0 and header and not header[0]:
        rest = _without_index(paths.text(path), table[:, 0], rest)
    # Numbers of more than 8 bytes, which are finite here, may overflow in float64.
    finite = table.dtype.itemsize <= 8
    X, y = checked(paths.text(path), table[:, rest], table[:, column], finite=finite)
    names = _numbered(columns if header else len(rest))
    if header is None:
        return Columns(X, y, names, ("y",))
    return Columns(X, y, tuple(header[j] or names[j] for j in rest), (header[column] or "y",))


def _without_index(where: str, first: Array, features: list[int]) -> list[int]:
    """The features without the first column, which has no name, if that counts the rows."""
    count = np.arange(len(first))  # pandas counts from 0, R from 1
    if not (np.all(first == count) or np.all(first == count + 1)):
        _log.warning(
            "%s: the first column has no name and is taken for a feature, x0; if it is an index, "
            "write the file without it",
            where,
        )
        return features
    if features == [0]:
        raise ValueError(
            f"{where}: expected features and a target, got an index, which is the first column, "
            "without a name, and one column more"
        )
    _log.warning(
        "%s: the first column has no name and counts the rows: it is an index, and is left out",
        where,
    )
    return features[1:]


def _check_finite(path: Path, table: Array, place: Callable[[int, int], str]) -> None:
    """Check that no number is NaN or infinite; the message has the place of the first one."""
    if table.dtype.kind != "f":
        return
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(table.sum()):
            return
    bad = np.argwhere(~np.isfinite(table))
    if len(bad):
        row, j = (int(i) for i in bad[0])
        raise ValueError(
            f"{paths.text(path)}: {place(row, j)} must be finite, got {table[row, j].item()}"
        )


def _column(path: Path, target: str | int, columns: int, header: list[str] | None) -> int:
    """The number of the target column, from its name, or its number from 0 or (below 0) the end."""
    if isinstance(target, str) and header and target in header:
        if header.count(target) > 1:
            raise ValueError(
                f"{paths.text(path)}: the header has {header.count(target)} columns {target!r}"
            )
        return header.index(target)
    try:
        number = int(target)  # on the command line numbers are text
    except (TypeError, ValueError):
        if not header:
            raise ValueError(
                f"{paths.text(path)}: it has no header, so target must be the number of a column, "
                f"got {validation.shown(target)}"
            ) from None
        try:
            validation.unknown("target", str(target), header)
        except ValueError as error:
            raise ValueError(f"{paths.text(path)}: {error}") from None
    if not -columns <= number < columns:
        raise ValueError(
            f"{paths.text(path)}: target must be >= {-columns} and < {columns}, got {number}"
        )
    return number % columns


#: The reader for each suffix.
READERS: dict[str, Callable[[Path, str | int | None], Columns]] = {
    ".npz": read_npz,
    ".npy": read_npy,
    ".csv": read_csv,
}


def read(path: str | os.PathLike[str], target: Any = None) -> Columns:
    """Read a file with the reader for its suffix.

    Parameters
    ----------
    path : path
    target : str, int or None
        The name or number of the target column, or in a .npz the name of the array that is y.
    """
    path = paths.given("path", path)
    if path.suffix.lower() not in READERS:
        raise ValueError(f"{paths.text(path)}: expected a file that ends in {', '.join(READERS)}")
    if reason := paths.refusal(path):
        raise ValueError(f"{paths.text(path)}: {reason}")
    if isinstance(target, bool) or not isinstance(target, str | int | None):
        raise TypeError(
            f"target must be the name or the number of a column, got {validation.shown(target)}"
        )
    memory.require(paths.text(path), 2 * path.stat().st_size)  # the table, and X without the target
    return READERS[path.suffix.lower()](path, target)
