"""Readers of NumPy's files, .npz and .npy."""

import functools
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from accel._files import npy, paths
from accel._files.npy import Members
from accel._files.paths import unreadable
from accel._support import validation
from accel._support.arrays import Array
from accel.datasets import columns
from accel.datasets.columns import Columns, Wanted

__all__ = ["read_npy", "read_npz"]

_log = logging.getLogger("accel")

#: What others call X and y, in small letters: scikit-learn, Keras and people.
_FEATURES = ("x", "x_train", "xtrain", "train_x", "data", "features", "inputs")
_TARGETS = (
    "y", "y_train", "ytrain", "train_y", "target", "targets", "labels", "label", "outputs",
)  # fmt: skip
_NAMING = "name the arrays by features and target (--features KEY --target KEY)"


class _Unnamed(ValueError):
    """Which arrays are X and y has to be said."""


def _fit(held: Members, features: str, target: str) -> bool:
    """Whether two arrays are a matrix and as many targets, by their headers."""
    first, second = held.header(features), held.header(target)
    if first is None or second is None or features == target:
        return False
    (of_X, numbers), (of_y, targets) = first, second
    real = numbers.kind in "biuf" and targets.kind in "biuf"
    return real and len(of_X) == 2 and len(of_y) in (1, 2) and of_X[0] == of_y[0]


def _guess(where: str, held: Members, X: str | None, y: str | None) -> tuple[str, str]:
    """The names of the arrays that are X and y, where None is asked for and these are not there."""
    if (X or "X") in held and (y or "y") in held:
        return X or "X", y or "y"
    first = [X] if X else [name for name in held.names if name.lower() in _FEATURES]
    second = [y] if y else [name for name in held.names if name.lower() in _TARGETS]
    pairs = [(a, b) for a in first for b in second if a in held and b in held and _fit(held, a, b)]
    if len(pairs) == 1:
        _log.warning("%s: %s is taken for X, and %s for y", where, *pairs[0])
        return pairs[0]
    if pairs:
        told = ", or ".join(f"{a} and {b}" for a, b in pairs[:5])
        raise _Unnamed(f"X and y may be {told}: {_NAMING}")
    lacking = next(name for name in (X or "X", y or "y") if name not in held)
    raise _Unnamed(f"no array {lacking!r} in it, it holds {held.told()}; {_NAMING}")


def _names(where: str, asked: Wanted, keys: list[list[str]], held: Members) -> list[str]:
    """The names of the arrays to read: the features', the targets', and that of their names."""
    X, y = ([str(word) for word in words or ()] for words in (asked.features, asked.target))
    if len(X) <= 1 and len(y) <= 1:
        X, y = ([name] for name in _guess(where, held, *(w[0] if w else None for w in (X, y))))
    else:
        X, y = X or ["X"], y or ["y"]
    keys += [X, y, []]
    head = held.header(X[0]) if len(X) == 1 and X[0] in held else None
    names = held.header("feature_names") if head and "feature_names" in held else None
    if head and names and names[1].kind == "U" and names[0] == head[0][1:2]:
        keys[-1].append("feature_names")
    for name in (*X, *y):
        if name not in held:
            raise _Unnamed(f"no array {name!r} in it, it holds {held.told()}; {_NAMING}")
    return [name for part in keys for name in part]


def _joined(keys: list[str], parts: list[Array]) -> tuple[Array, tuple[str, ...]]:
    """Arrays (n,) or (n, m) side by side, and names for the columns: the array's, numbered."""
    parts = [validation.numeric(name, a, ndim=(1, 2)) for name, a in zip(keys, parts, strict=True)]
    if len({len(a) for a in parts}) > 1:
        told = ", ".join(f"{name} {a.shape}" for name, a in zip(keys, parts, strict=True))
        raise ValueError(f"arrays must have as many rows, got {told}")
    names = tuple(
        name for key, a in zip(keys, parts, strict=True) for name in columns.names_of(key, a)
    )
    return np.column_stack(parts), names


def _features(
    asked: Wanted, keys: list[str], parts: list[Array], given: list[Array]
) -> tuple[Array, tuple[str, ...]]:
    X = parts[0]
    if len(parts) > 1 or (asked.features and X.ndim == 1):
        return _joined(keys, parts)
    names = columns.names_of("x", X) if X.ndim == 2 else ()
    if given:
        words = [" ".join(str(word).split()) for word in given[0]]
        given_names = [word or name for word, name in zip(words, names, strict=True)]
        names = tuple(columns.unique(given_names))
    return X, names


def read_npz(path: Path, asked: Wanted | None = None) -> Columns:
    """Arrays X and y of a .npz.

    ``features`` and ``target`` name other arrays; several of them are put side by side. Where none
    are named and there are no X and y, a pair of names that others use is taken if exactly one
    fits, and a warning is logged. An array ``feature_names`` of d texts names the features.

    Parameters
    ----------
    path : Path
    asked : Wanted, optional
        None is for the arrays X and y, no others.
    """
    where, keys = paths.text(path), list[list[str]]()
    try:
        chooser = None if asked is None else functools.partial(_names, where, asked, keys)
        arrays = npy.load_npz(path, chooser or ("X", "y"))
    except npy.DAMAGED as error:
        told = str(error) if isinstance(error, _Unnamed) else error
        raise unreadable(path, told) from error
    asked, keys = asked or Wanted(), keys or [["X"], ["y"], []]
    of_X, of_y = len(keys[0]), len(keys[1])
    parts, targets = arrays[:of_X], arrays[of_X : of_X + of_y]
    try:
        X, names = _features(asked, keys[0], parts, arrays[of_X + of_y :])
        y, of_targets = targets[0], columns.names_of(keys[1][0], targets[0])
        if of_y > 1:
            y, of_targets = _joined(keys[1], targets)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error
    if asked.drop_missing and X.ndim == 2 and y.ndim in (1, 2):
        X, y = columns.without_missing(where, X, y, [*names, *of_targets])
    try:
        X, y = columns.checked(where, X, y)
    except ValueError as error:
        missing = [int(np.isnan(a).sum()) if a.dtype.kind == "f" else 0 for a in (X, y)]
        if "must be finite" in str(error) and any(missing):
            told = columns.counted(zip("Xy", missing, strict=True))
            raise ValueError(f"{error}; {told}; {columns.REMEDY}") from error
        raise
    return Columns(X, y, names, of_targets)


class _Entries:
    """The columns and entries of an array, by their indices."""

    def column(self, j: int) -> str:
        return f"column [:, {j}]"

    def cell(self, row: int, j: int) -> str:
        return f"entry [{row}, {j}]"


def read_npy(path: Path, asked: Wanted) -> Columns:
    """A 2-D array in a .npy. The target is its last column, or those of the numbers asked for."""
    try:
        table = npy.load_npy(path)
    except npy.DAMAGED as error:
        raise unreadable(path, error) from error
    where = paths.text(path)
    count = columns.width(where, table)
    chosen = columns.choose(where, asked, count, None)
    taken: Sequence[int] = range(count)
    if chosen.features is not None:
        taken = chosen.features + chosen.targets
        table = table[:, taken]
    return columns.split(where, table, taken, None, chosen, asked.drop_missing, _Entries())
