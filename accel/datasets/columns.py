"""Which columns of a file are features and which are targets, and what of missing values is told.

Every reader ends here, so that options and messages are the same for all formats.
"""

import logging
import numbers
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from accel._support import validation
from accel._support.arrays import Array

__all__ = [
    "IN_PLACE_OF_TEXT", "REMEDY", "Chosen", "Columns", "Places", "Wanted", "by_number", "checked",
    "choose", "counted", "names_of", "short", "split", "unique", "wanted", "width",
    "without_missing",
]  # fmt: skip

_log = logging.getLogger("accel")

#: What to do about missing values: the end of a message.
REMEDY = "drop_missing=True (--drop-missing) leaves out their rows"

#: What to do about text: the end of a message.
IN_PLACE_OF_TEXT = (
    "choose columns of numbers by features (--features), or write numbers in place of text, as "
    "pandas.get_dummies(frame, dtype=int) does"
)

_TOLD, _LONG = 5, 40  # columns that a message lists, and the characters of each


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


class Wanted(NamedTuple):
    """What is asked of a file.

    Attributes
    ----------
    features, target : tuple of str and int, or None
        Names or numbers of columns; None for the format's own choice.
    drop_missing : bool
    """

    features: tuple[str | int, ...] | None = None
    target: tuple[str | int, ...] | None = None
    drop_missing: bool = False


class Chosen(NamedTuple):
    """Numbers of columns of a file, from 0; no features are all that are no targets."""

    features: list[int] | None
    targets: list[int]


class Places(Protocol):
    """How messages name the columns and cells of a file, which are counted from 0 here."""

    def column(self, j: int) -> str:
        """Name a column."""

    def cell(self, row: int, j: int) -> str:
        """Name a cell."""


def wanted(features: Any, target: Any, drop_missing: Any) -> Wanted:
    """Check the arguments of ``load_file``.

    Raises
    ------
    TypeError
        If features or target are neither names nor numbers of columns, or drop_missing is no bool.
    ValueError
        If a list is empty.
    """
    return Wanted(
        _words("features", features),
        _words("target", target),
        validation.flag("drop_missing", drop_missing),
    )


def _words(name: str, value: Any) -> tuple[str | int, ...] | None:
    if value is None:
        return None
    refused = TypeError(
        f"{name} must be the name or the number of a column, or a list of them, "
        f"got {validation.shown(value)}"
    )
    if isinstance(value, bytes | dict | set | frozenset):  # a set has no order
        raise refused
    single = isinstance(value, str | numbers.Number | bool) or not hasattr(value, "__iter__")
    words = [value] if single else validation.members(name, value)
    for word in words:
        if isinstance(word, bool) or not isinstance(word, str | numbers.Integral):
            raise refused
    return tuple(word if isinstance(word, str) else int(word) for word in words)


def width(where: str, table: Array) -> int:
    """The number of columns of a table, at least two.

    Raises
    ------
    ValueError
        If there are fewer.
    """
    if table.ndim != 2 or table.shape[1] < 2:
        raise ValueError(
            f"{where}: expected rows of at least two columns, features and a target, "
            f"got an array of shape {table.shape}"
        )
    return int(table.shape[1])


def choose(where: str, asked: Wanted, count: int, header: Sequence[str] | None) -> Chosen:
    """Find the columns that are asked for.

    Parameters
    ----------
    where : str
        What messages begin with.
    asked : Wanted
    count : int
        The number of columns of the file.
    header : sequence of str, optional
        Their names.

    Raises
    ------
    ValueError
        If there is no such column, or one is asked for twice.
    """
    words = (-1,) if asked.target is None else asked.target
    targets = _numbers(where, "target", words, count, header)
    if asked.features is None:
        if len(targets) == count:
            raise ValueError(f"{where}: target names all {count} columns, so no feature is left")
        return Chosen(None, targets)
    features = _numbers(where, "features", asked.features, count, header)
    for j in features:
        if j in targets:
            unsaid = "" if asked.target else "; the target is the last column, unless it is named"
            raise ValueError(
                f"{where}: {_label(j, header)} is among the features, and is the target{unsaid}"
            )
    return Chosen(features, targets)


def _label(j: int, header: Sequence[str] | None) -> str:
    return f"column {validation.shown(header[j])}" if header and header[j] else f"column number {j}"


def _numbers(
    where: str,
    name: str,
    words: tuple[str | int, ...],
    count: int,
    header: Sequence[str] | None,
) -> list[int]:
    columns = [_number(where, name, word, count, header) for word in words]
    for at, j in enumerate(columns):
        if j in columns[:at]:
            raise ValueError(f"{where}: {name} has {_label(j, header)} twice")
    return columns


def _number(
    where: str, name: str, word: str | int, count: int, header: Sequence[str] | None
) -> int:
    """The number of a column, from its name, or its number from 0 or (below 0) the end."""
    if isinstance(word, str) and header and word in header:
        if header.count(word) > 1:
            raise ValueError(
                f"{where}: the header has {header.count(word)} columns {word!r}; say which by its "
                "number, from 0"
            )
        return header.index(word)
    nameless = f"it has no header, so {name} must be the number of a column, from 0"
    return by_number(where, name, word, count, header, nameless)


def by_number(
    where: str, name: str, word: str | int, count: int, names: Sequence[str] | None, nameless: str
) -> int:
    """The number of a column, from its number from 0 or (below 0) the end.

    What is no number is refused as a name that is not among ``names``; without names the message
    begins with ``nameless``.
    """
    try:
        number = int(word)  # on the command line numbers are text
    except ValueError:
        if not names:
            raise ValueError(f"{where}: {nameless}, got {validation.shown(word)}") from None
        try:
            validation.unknown(name, str(word), list(names))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    if not -count <= number < count:
        raise ValueError(f"{where}: {name} must be >= {-count} and < {count}, got {number}")
    return number % count


def split(
    where: str,
    table: Array,
    columns: Sequence[int],
    header: Sequence[str] | None,
    chosen: Chosen,
    drop_missing: bool,
    places: Places,
) -> Columns:
    """Check a table, and cut features and targets out of it.

    Parameters
    ----------
    where : str
        What messages begin with.
    table : (n, m) array
        Missing values are NaN.
    columns : sequence of m int
        The number in the file of each column of the table.
    header : sequence of str, optional
        The names of all columns of the file.
    chosen : Chosen
        All of them columns of the table.
    drop_missing : bool
    places : Places

    Raises
    ------
    ValueError
        If a number is infinite, or missing though ``drop_missing`` is false, or if no row is left.
    """
    at = {column: j for j, column in enumerate(columns)}
    targets, features = chosen.targets, chosen.features
    _check_finite(where, table, columns, drop_missing, places)
    if features is None:
        features = [column for column in columns if column not in targets]
        if features[0] == 0 and header and not header[0]:
            features = _without_index(where, table[:, at[0]], features)
    X = table[:, [at[column] for column in features]]
    single = len(targets) == 1
    y = table[:, at[targets[0]]] if single else table[:, [at[column] for column in targets]]
    if drop_missing:
        X, y = without_missing(where, X, y, [places.column(j) for j in (*features, *targets)])
    # Numbers of more than 8 bytes, which are finite here, may overflow in float64.
    X, y = checked(where, X, y, finite=table.dtype.itemsize <= 8)
    names, told = names_of("x", X), unique([name or f"x{j}" for j, name in enumerate(header or ())])
    if header is not None:
        names = tuple(told[j] for j in features)
    elif chosen.features is not None:
        names = tuple(f"x{j}" for j in features)
    unnamed = names_of("y", y)
    if header is not None:
        unnamed = tuple(told[j] if header[j] else unnamed[i] for i, j in enumerate(targets))
    return Columns(X, y, names, unnamed)


def unique(names: Sequence[str]) -> list[str]:
    """Names, each once: the second "a" is "a (2)"."""
    seen: dict[str, int] = {}
    taken, told = set[str](), []
    for name in names:
        count = seen.get(name, 0) + 1
        while (one := name if count == 1 else f"{name} ({count})") in taken:
            count += 1
        seen[name] = count
        taken.add(one)
        told.append(one)
    return told


def names_of(stem: str, a: Array) -> tuple[str, ...]:
    """Names for the columns of an array that has none: y, or y0, y1 and so on."""
    return (stem,) if np.ndim(a) != 2 else tuple(f"{stem}{j}" for j in range(np.shape(a)[1]))


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


def _check_finite(
    where: str, table: Array, columns: Sequence[int], drop_missing: bool, places: Places
) -> None:
    """Check that no number is infinite or missing; the message has the place of the first one."""
    if table.dtype.kind != "f":
        return
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(table.sum()):
            return
    bad = np.argwhere(np.isinf(table) if drop_missing else ~np.isfinite(table))
    if not len(bad):
        return
    row, j = (int(i) for i in bad[0])
    told = f"{places.cell(row, columns[j])} must be finite, got {table[row, j].item()}"
    if not drop_missing:
        missing = zip(columns, np.isnan(table).sum(axis=0).tolist(), strict=True)
        if said := counted((places.column(j), count) for j, count in missing):
            told += f"; {said}; {REMEDY}"
    raise ValueError(f"{where}: {told}")


def counted(missing: Iterable[tuple[str, int]]) -> str:
    """Say how many values are missing in which columns; empty if none are."""
    some = [f"{count} in {short(column)}" for column, count in missing if count]
    if not some:
        return ""
    more = f" and in {len(some) - _TOLD} more" if len(some) > _TOLD else ""
    return f"missing values: {', '.join(some[:_TOLD])}{more}"


def short(text: str) -> str:
    """A text for a list in a message: as it is, or the beginning of it."""
    return text if len(text) <= _LONG else f"{text[: _LONG - 3]}..."


def without_missing(where: str, X: Array, y: Array, names: Sequence[str]) -> tuple[Array, Array]:
    """Leave out the rows of X (n, d) and y (n,) or (n, k) that have a NaN, and log how many.

    Parameters
    ----------
    where : str
        What messages begin with.
    X, y : array
    names : sequence of d + k str
        Of the columns, for messages.

    Raises
    ------
    ValueError
        If no row is left.
    """
    if X.size == 0 or y.size == 0 or len(X) != len(y):  # which is refused later
        return X, y
    missing = np.concatenate([_missing(a.reshape(len(a), -1)) for a in (X, y)], axis=1)
    lacking: Array = np.asarray(missing.any(axis=1))
    counts = missing.sum(axis=0).tolist()
    rows, left = len(lacking), len(lacking) - int(lacking.sum())
    if left == rows:
        return X, y
    told = counted(zip(names, counts, strict=True))
    if not left:
        never = [short(name) for name, count in zip(names, counts, strict=True) if count == rows]
        named = ", ".join(never[:_TOLD])
        remedy = f"; leave out {named} by features (--features)" if never else ""
        raise ValueError(f"{where}: every row has a missing value; {told}{remedy}")
    _log.warning("%s: %d of %d rows are left out; %s", where, rows - left, rows, told)
    return X[~lacking], y[~lacking]


def _missing(table: Array) -> Array:
    mask: Array = np.isnan(table) if table.dtype.kind == "f" else np.zeros(table.shape, bool)
    return mask


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
