"""Samples that a model is to predict: the columns of a file that it was fitted to, by their names.

Other columns may hold anything and are left out, so that a file may have text, and an index, and
may have the target or not. A file without names must have the model's columns in the model's order.
"""

import bz2
import contextlib
import csv
import gzip
import itertools
import lzma
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

from accel._files import npy, paths
from accel._files.paths import unreadable
from accel._support import frames, validation
from accel._support.arrays import Array

__all__ = ["SUFFIXES", "Samples", "Wanted", "read_samples", "samples_of", "unique"]

_OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_TEXT = (".csv", ".tsv")
#: The endings of files that ``read_samples`` reads, compression aside.
SUFFIXES = (*_TEXT, ".parquet", ".npy", ".npz")
#: What stands for a missing value, in small letters.
_MISSING = frozenset(
    ["", "?", "na", "n/a", "#n/a", "#na", "<na>", "nan", "-nan", "none", "null"]
)  # fmt: skip
_DAMAGED = (*npy.DAMAGED, csv.Error)


class Wanted(NamedTuple):
    """What a model needs of a file.

    Attributes
    ----------
    features : sequence of str
        Names of its columns, in its order.
    targets : sequence of str
        Names of what it predicts.
    chosen : sequence of str or None
        Names or numbers, from 0, of the file's columns that hold the targets; by default those of
        the names of the targets, if they are there.
    """

    features: Sequence[str]
    targets: Sequence[str]
    chosen: Sequence[str] | None = None


class Samples(NamedTuple):
    """What is in a file of what a model needs.

    Attributes
    ----------
    X : (m, d) float array
        Finite, columns in the order of the model.
    y : (m, k) float array or None
        The targets, finite, if they are there.
    ignored : tuple of str
        Columns that are neither.
    """

    X: Array
    y: Array | None
    ignored: tuple[str, ...]


class _Places(NamedTuple):
    """Numbers of columns, from 0."""

    features: list[int]
    targets: list[int]
    ignored: tuple[str, ...]


def unique(names: Sequence[str]) -> list[str]:
    """Names, each once: the second "a" is "a (2)"."""
    seen: dict[str, int] = {}
    told = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        told.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return told


def _places(where: str, wanted: Wanted, header: Sequence[str] | None, count: int) -> _Places:
    """Find the columns.

    Parameters
    ----------
    where : str
        What messages begin with.
    wanted : Wanted
    header : sequence of str, optional
        The names of the columns.
    count : int
        How many columns there are.
    """
    held = None if header is None else unique([name or f"x{j}" for j, name in enumerate(header)])
    targets = [_place(where, word, held, count) for word in wanted.chosen or ()]
    if held is None:
        rest = [j for j in range(count) if j not in targets]
        if len(rest) != len(wanted.features):
            raise ValueError(
                f"{where}: without names of columns it must have those of the model, "
                f"{len(wanted.features)}: {validation.listed(wanted.features)}, got {len(rest)} "
                "columns; --target is the number, from 0, of one that holds the target"
            )
        return _Places(rest, targets, ())
    needed = unique(wanted.features)
    missing = [name for name in needed if name not in held]
    if missing:
        raise ValueError(
            f"{where}: columns {validation.listed(missing)} missing, the model needs "
            f"{validation.listed(needed)}, the file has {validation.listed(held)}"
            f"{validation.suggestion(missing[0], held)}"
        )
    features = [held.index(name) for name in needed]
    if wanted.chosen is None and all(name in held for name in wanted.targets):
        targets = [held.index(name) for name in wanted.targets]
    if both := [held[j] for j in targets if j in features]:
        raise ValueError(f"{where}: {validation.listed(both)} is a feature of the model, no target")
    used = {*features, *targets}
    return _Places(features, targets, tuple(held[j] for j in range(count) if j not in used))


def _place(where: str, word: str, held: Sequence[str] | None, count: int) -> int:
    """The number of a column, from its name or its number."""
    if held is not None and word in held:
        return held.index(word)
    try:
        number = int(word)
    except ValueError:
        if held is None:
            raise ValueError(
                f"{where}: without names of columns, target must be the number of one, from 0, got "
                f"{validation.shown(word)}"
            ) from None
        try:
            validation.unknown("target", word, list(held))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    if not -count <= number < count:
        raise ValueError(f"{where}: target must be >= {-count} and < {count}, got {number}")
    return number % count


def samples_of(
    where: str, wanted: Wanted, table: Array, header: Sequence[str] | None = None
) -> Samples:
    """Return the samples of a table (m, c) of numbers.

    Raises
    ------
    ValueError
        Beginning with ``where``, if columns are missing or numbers are not finite.
    """
    table = _numeric(where, "X", table, (2,))
    places = _places(where, wanted, header, table.shape[1])
    return _split(where, table, places)


def _numeric(where: str, name: str, a: Any, ndim: tuple[int, ...]) -> Array:
    try:
        return validation.numeric(name, a, ndim=ndim)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


def _split(where: str, table: Array, places: _Places) -> Samples:
    X, y = (table[:, columns].astype(np.float64) for columns in (places.features, places.targets))
    for name, part in (("X", X), ("y", y)):
        try:
            if part.size:
                validation.all_finite(name, part)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    return Samples(X, y if places.targets else None, places.ignored)


def read_samples(path: Path, wanted: Wanted) -> Samples:
    """Read the columns of a file that a model needs.

    Parameters
    ----------
    path : path
        ``.csv`` or ``.tsv``, plain or compressed, ``.parquet``; or ``.npy`` with a 2-D array; or
        ``.npz`` with an array X, or exactly one other of two dimensions and the model's columns,
        and perhaps an array y.
    wanted : Wanted

    Raises
    ------
    ValueError
        In a line that begins with the path, if it cannot be read, or if columns or values are
        missing.
    """
    where = paths.text(path)
    if reason := paths.refusal(path):
        raise ValueError(f"{where}: {reason}")
    last = path.suffix.lower()
    kind = Path(path.stem).suffix.lower() if last in _OPENERS else last
    try:
        if kind in _TEXT:
            return _read_text(path, where, wanted)
        if last == ".parquet":
            frame = _parquet(path)
            places = _places(where, wanted, [str(name) for name in frame.columns], frame.shape[1])
            columns = [*places.features, *places.targets]
            names = [frame.columns[j] for j in columns]
            try:
                numbers = frames.as_array(where, frame[names])
            except TypeError as error:  # text
                raise ValueError(str(error)) from error
            d = len(places.features)
            taken = _Places([*range(d)], [*range(d, len(columns))], places.ignored)
            return _split(where, numbers, taken)
        if last == ".npy":
            return samples_of(where, wanted, npy.load_npy(path))
        if last == ".npz":
            return _read_npz(path, where, wanted)
    except _DAMAGED as error:
        if str(error).startswith(where):
            raise
        raise unreadable(path, error) from error
    raise ValueError(f"{where}: expected a file that ends in {', '.join(SUFFIXES)}")


def _parquet(path: Path) -> Any:
    """Read a data frame by the library that is there; their exceptions are of many kinds."""
    try:
        with contextlib.suppress(ImportError):
            import polars

            return polars.read_parquet(path)
        import pandas as pd

        return pd.read_parquet(path)
    except ImportError as error:
        raise ImportError(
            f"{paths.text(path)}: .parquet needs Polars or pandas: {error}"
        ) from error
    except Exception as error:
        raise unreadable(path, error) from error


def _read_npz(path: Path, where: str, wanted: Wanted) -> Samples:
    with zipfile.ZipFile(path) as archive:
        held = [name.removesuffix(".npy") for name in archive.namelist()]
    d = len(wanted.features)
    if "X" in held:
        (X,) = npy.load_npz(path, ["X"])
    else:
        arrays = dict(zip(held, npy.load_npz(path, held), strict=True))
        fit = [name for name, a in arrays.items() if a.ndim == 2 and a.shape[1] == d]
        if len(fit) != 1:
            raise ValueError(
                f"{where}: it must hold an array X, or one of {d} columns, it holds "
                f"{validation.listed(held)}"
            )
        X = arrays[fit[0]]
    name = wanted.chosen[0] if wanted.chosen else "y"
    if wanted.chosen and name not in held:
        raise ValueError(f"{where}: no array {validation.shown(name)} in it")
    samples = samples_of(where, wanted._replace(chosen=None), X)
    if name not in held:
        return samples
    (y,) = npy.load_npz(path, [name])
    y = _numeric(where, "y", y, (1, 2)).reshape(len(y), -1)
    if len(y) != len(X):
        raise ValueError(f"{where}: X and y must have as many rows, got {len(X)} and {len(y)}")
    k = y.shape[1]
    return samples._replace(y=_split(where, y, _Places([*range(k)], [], ())).X)


def _read_text(path: Path, where: str, wanted: Wanted) -> Samples:
    opened: Any = _OPENERS.get(path.suffix.lower(), open)
    with opened(path, "rt", encoding="utf-8-sig", newline="") as stream:
        table = _Table(stream)
        places = _places(where, wanted, table.header, table.width)
        columns = [*places.features, *places.targets]
        numbers = np.array([*table.numbers(columns)], np.float64).reshape(-1, len(columns))
    if not len(numbers):
        raise ValueError(f"{where}: it has no rows of numbers")
    d = len(places.features)
    taken = _Places([*range(d)], [*range(d, len(columns))], places.ignored)
    return _split(where, numbers, taken)


class _Table:
    """Rows of cells, and the names of the columns, where a line in front of them has any."""

    def __init__(self, stream: TextIO) -> None:
        comment, skipped, first = "", 0, ""
        for first in stream:
            if first.strip() and not first.startswith("#"):
                break
            comment, skipped, first = first.lstrip("# "), skipped + 1, ""
        delimiter = max(",;\t", key=first.count)
        lines = itertools.chain([first], stream)
        self._skipped, self._reader = skipped, csv.reader(lines, delimiter=delimiter)
        cells = _clean(next(self._reader, []))
        above = _clean(next(csv.reader([comment], delimiter=delimiter), []))
        words = any(_is_word(cell) for cell in cells)
        self.header = cells if words else None
        self.width, self._ahead = len(cells), [] if words else [cells]
        if not words and len(above) == len(cells) and any(map(_is_word, above)):
            self.header = above  # as NumPy writes the names

    def numbers(self, columns: Sequence[int]) -> Iterator[list[float]]:
        """The numbers of these columns, row by row."""
        for cells in itertools.chain(self._ahead, self._reader):
            if not cells:
                continue
            line = self._skipped + self._reader.line_num
            if len(cells) != self.width:
                raise ValueError(
                    f"line {line} has {len(cells)} columns, the rows before it have {self.width}"
                )
            yield [self._number(cells[j], line, j) for j in columns]

    def _number(self, cell: str, line: int, j: int) -> float:
        with contextlib.suppress(ValueError):
            if "_" not in cell:
                number = float(cell)
                if np.isfinite(number):
                    return number
        name = validation.shown(self.header[j]) if self.header and self.header[j] else j + 1
        if cell.strip().lower() in _MISSING:
            raise ValueError(
                f"line {line}, column {name}: no value; a prediction needs all features: fill it "
                "in, or leave out the row"
            )
        raise ValueError(f"line {line}, column {name}: {validation.shown(cell)} is no number")


def _clean(cells: Sequence[str]) -> list[str]:
    return [" ".join(cell.split()) for cell in cells]


def _is_word(cell: str) -> bool:
    """Whether a cell is neither a number nor the mark of a missing one."""
    with contextlib.suppress(ValueError):
        float(cell)
        return False
    return cell.lower() not in _MISSING
