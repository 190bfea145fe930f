"""Samples that a model is to predict: the columns of a file that it was fitted to, by their names.

Other columns may hold anything and are left out, so that a file may have text, and an index, and
may have the target or not. A file without names must have the model's columns in the model's order,
or, for a model of some columns of such a file, all columns up to the last of its numbers. Text is
read by the rules of the readers for training.
"""

import logging
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from accel._files import npy, paths, texts
from accel._files.paths import unreadable
from accel._support import frames, validation
from accel._support.arrays import Array
from accel.datasets import parquet, readers
from accel.datasets.columns import by_number, unique
from accel.datasets.layouts import (
    DAMAGED,
    MISSING,
    TRUTH,
    Empty,
    Layout,
    layout_of,
    number_in,
    uneven,
)

__all__ = ["SUFFIXES", "Samples", "Wanted", "read_samples", "samples_of"]

_log = logging.getLogger("accel")

_TEXT = (".csv", ".tsv")
#: The endings of files that ``read_samples`` reads, compression aside.
SUFFIXES = (*_TEXT, ".parquet", ".npy", ".npz")
_NUMBERED = re.compile(r"x(0|[1-9]\d{0,8})")  # the name of a column that has none


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

    def in_front(self) -> "_Places":
        """The same columns of a table that has no others, features first."""
        d, k = len(self.features), len(self.targets)
        return _Places([*range(d)], [*range(d, d + k)], self.ignored)


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
    if header is None:
        return _by_number(where, wanted, count)
    raw = [name or f"x{j}" for j, name in enumerate(header)]
    held, times = unique(raw), Counter(raw)
    targets = [_place(where, word, raw, count) for word in wanted.chosen or ()]
    needed = unique(wanted.features)
    missing = [name for name in needed if name not in held]
    if missing:
        raise ValueError(
            f"{where}: columns {validation.listed(missing)} missing, the model needs "
            f"{validation.listed(needed)}, the file has {validation.listed(held)}"
            f"{validation.suggestion(missing[0], held)}"
        )
    sought = []
    if wanted.chosen is None and all(t in held and t not in needed for t in wanted.targets):
        sought = list(wanted.targets)
    known = {*needed, *wanted.targets}
    for name in (*needed, *sought):
        if times[name] > 1 and f"{name} (2)" not in known:
            raise ValueError(
                f"{where}: the header has {times[name]} columns {validation.shown(name)}, of which "
                "the model knows one: give the others other names"
            )
    at = {name: j for j, name in enumerate(held)}
    features = [at[name] for name in needed]
    return _taken(where, features, targets or [at[name] for name in sought], held)


def _taken(where: str, features: list[int], targets: list[int], held: Sequence[str]) -> _Places:
    """These of the columns; a target may be no feature."""
    if both := [held[j] for j in targets if j in features]:
        raise ValueError(f"{where}: {validation.listed(both)} is a feature of the model, no target")
    used = {*features, *targets}
    return _Places(features, targets, tuple(name for j, name in enumerate(held) if j not in used))


def _by_number(where: str, wanted: Wanted, count: int) -> _Places:
    """The columns of a file without names: in the order of the model.

    A model of some columns of a file without names calls them by their numbers, "x2", "x0". They
    are those of this file, too, if it has as many and more.
    """
    targets = [_place(where, word, None, count) for word in wanted.chosen or ()]
    rest = [j for j in range(count) if j not in targets]
    d, found = len(wanted.features), [_NUMBERED.fullmatch(name) for name in wanted.features]
    numbers = [int(match[1]) for match in found if match]
    if len(set(numbers)) == d and numbers != [*range(d)]:
        if d < count and max(numbers) < count:
            places = _taken(where, numbers, targets, [f"x{j}" for j in range(count)])
            _log.warning(
                "%s: without names of columns, those of the model's numbers are taken, from 0: %s",
                where,
                validation.listed(map(str, numbers)),
            )
            return places
        if numbers != sorted(numbers):
            raise ValueError(
                f"{where}: the model has the columns {validation.listed(wanted.features)}, in this "
                f"order, and the file {count} without names: put a line of names above them"
            )
    if len(rest) != d:
        raise ValueError(
            f"{where}: without names of columns it must have those of the model, "
            f"{d}: {validation.listed(wanted.features)}, got {len(rest)} "
            "columns; --target is the number, from 0, of one that holds the target"
        )
    return _Places(rest, targets, ())


def _place(where: str, word: str, header: Sequence[str] | None, count: int) -> int:
    """The number of a column, from its name or its number."""
    held = None if header is None else unique(header)
    if header is not None and header.count(word) > 1:
        raise ValueError(
            f"{where}: the header has {header.count(word)} columns {validation.shown(word)}; say "
            "which is the target by its number, from 0"
        )
    if held is not None and word in held:
        return held.index(word)
    nameless = "without names of columns, target must be the number of one, from 0"
    return by_number(where, "target", word, count, held, nameless)


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
        ``.csv`` or ``.tsv``, plain or compressed, read as for training; ``.parquet``; or ``.npy``
        with a 2-D array; or ``.npz`` with an array X, or exactly one other of two dimensions and
        the model's columns, and perhaps an array y, and ``feature_names``, the texts that name the
        columns.
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
    last = readers.ending(path)
    try:
        if last in _TEXT:
            return _read_text(path, where, wanted)
        if last == ".parquet":
            return _read_parquet(path, where, wanted)
        if last == ".npy":
            return samples_of(where, wanted, npy.load_npy(path))
        if last == ".npz":
            return _read_npz(path, where, wanted)
    except DAMAGED as error:
        if str(error).startswith(where):
            raise
        raise unreadable(path, error) from error
    raise ValueError(f"{where}: expected a file that ends in {', '.join(SUFFIXES)}")


def _read_parquet(path: Path, where: str, wanted: Wanted) -> Samples:
    with parquet.reading(path):
        frame = parquet.frame_of(path)
        places = _places(where, wanted, frame.header, len(frame.header))
        taken = [*places.features, *places.targets]
        columns = []
        for j, values in zip(taken, frame.values(taken), strict=True):
            try:
                columns.append(frames.as_array(where, values))
            except (TypeError, ValueError) as error:  # text, or a number that is missing
                raise ValueError(f"{error} in column {frame.header[j]!r:.60}") from error
    return _split(where, np.column_stack(columns), places.in_front())


def _names(held: npy.Members, name: str) -> list[str]:
    """Return ``[name]``, and that of the names of its columns if there are as many texts."""
    head = held.header(name)
    names = held.header("feature_names") if head and "feature_names" in held else None
    fit = head and names and names[1].kind == "U" and names[0] == head[0][1:2]
    return [name, "feature_names"] if fit else [name]


def _read_npz(path: Path, where: str, wanted: Wanted) -> Samples:
    held: list[str] = []
    d = len(wanted.features)

    def chosen(members: npy.Members) -> list[str]:
        held.extend(members.names)
        if "X" in members:
            return _names(members, "X")
        heads = {name: members.header(name) for name in held}
        fit = [
            name for name, head in heads.items() if head and len(head[0]) == 2 and head[0][1] == d
        ]
        if len(fit) != 1:
            raise ValueError(
                f"{where}: it must hold an array X, or one of {d} columns, it holds "
                f"{validation.listed(held)}"
            )
        return _names(members, fit[0])

    X, *names = npy.load_npz(path, chosen)
    header = [" ".join(str(word).split()) for word in names[0]] if names else None
    name = wanted.chosen[0] if wanted.chosen else "y"
    if wanted.chosen and name not in held:
        raise ValueError(f"{where}: no array {validation.shown(name)} in it")
    samples = samples_of(where, wanted._replace(chosen=None), X, header)
    if name not in held:
        return samples
    (y,) = npy.load_npz(path, [name])
    y = _numeric(where, "y", y, (1, 2)).reshape(len(y), -1)
    if len(y) != len(X):
        raise ValueError(f"{where}: X and y must have as many rows, got {len(X)} and {len(y)}")
    k = y.shape[1]
    return samples._replace(y=_split(where, y, _Places([*range(k)], [], ())).X)


def _read_text(path: Path, where: str, wanted: Wanted) -> Samples:
    try:
        with texts.opened(path) as stream:
            layout, lines = layout_of(path, stream, unique(wanted.features))
            places = _places(where, wanted, layout.header, layout.width)
            columns = [*places.features, *places.targets]
            rows = [*_numbers(layout, lines, columns)]
    except Empty as error:
        raise ValueError(f"{where}: {error}") from error
    except UnicodeDecodeError as error:
        raise unreadable(path, f"{error}; {texts.foreign(path)}") from error
    numbers = np.array(rows, np.float64).reshape(-1, len(columns))
    return _split(where, numbers, places.in_front())


def _numbers(layout: Layout, lines: Iterator[str], columns: Sequence[int]) -> Iterator[list[float]]:
    """The numbers of these columns, row by row; a column of truth values holds 1 and 0."""
    truths: dict[int, bool] = {}
    for line, cells in layout.records(lines, columns):
        if len(cells) != layout.width:
            raise ValueError(uneven(line, cells, layout.width))
        yield [_number(layout, cells[j], line, j, truths) for j in columns]


def _number(layout: Layout, cell: str, line: int, j: int, truths: dict[int, bool]) -> float:
    """The number in a cell; in a column that begins with a truth value, that of another one."""
    word = TRUTH.get(cell.strip().lower())
    truth = truths.setdefault(j, word is not None)
    number = number_in(cell) if word is None else float(word)
    if number is not None and math.isfinite(number) and truth == (word is not None):
        return number
    where = f"line {line}, {layout.column(j)}"
    if cell.strip().lower() in MISSING:
        raise ValueError(
            f"{where}: no value; a prediction needs all features: fill it in, or leave out the row"
        )
    kind = "truth value, as the first of its column is" if truth else "number"
    raise ValueError(f"{where}: {validation.shown(cell)} is no {kind}")
