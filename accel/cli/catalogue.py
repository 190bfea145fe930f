"""Data by the words of the command line: a name, a name with settings, or a file."""

import csv
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from accel import datasets
from accel._files import paths
from accel._support import validation
from accel.datasets import readers

__all__ = ["NAMES", "Opened", "Reading", "open_data"]


class _Entry(NamedTuple):
    load: Callable[..., datasets.Dataset]
    standardize: bool
    defaults: dict[str, float]


_ENTRIES = {
    "diabetes": _Entry(datasets.load_diabetes, True, {}),
    "gas": _Entry(datasets.load_gas_ethanol, True, {}),
    # In units of its own: standardised, the two points would be one and its mirror image.
    "two-points": _Entry(datasets.two_points, False, {"y1": 10.0, "y2": 1.0}),
    "ill-conditioned": _Entry(
        datasets.make_ill_conditioned,
        True,
        {"n": 1000, "d": 20, "condition": 1e4, "seed": 0, "noise": 0.1, "k": 1},
    ),
}

#: What ``open_data`` knows by name.
NAMES = tuple(_ENTRIES)


class Reading(NamedTuple):
    """How a file is read, in the words of the options; not for data with names.

    Attributes
    ----------
    target, features : str or None
        Names or numbers of columns, with commas between; a name with a comma stands in quotes.
    drop_missing : bool
    """

    target: str | None = None
    features: str | None = None
    drop_missing: bool = False


@dataclass(frozen=True, eq=False)
class Opened:
    """Data, and whether it is meant to be standardised.

    Attributes
    ----------
    dataset : Dataset
    standardize : bool
    path : Path or None
        The file it came from, if it was named by its path.
    """

    dataset: datasets.Dataset
    standardize: bool
    path: Path | None = None


def open_data(text: str, reading: Reading | None = None) -> Opened:
    """Load what the text names.

    Parameters
    ----------
    text : str
        ``diabetes``, ``gas``, ``two-points`` or ``ill-conditioned``; the synthetic ones may be
        followed by settings, as in ``ill-conditioned:n=500,d=10``. Else the path of a file
        that ends in one of ``readers.READERS``, ``.csv`` and ``.tsv`` compressed or not.
    reading : Reading, optional
        Which columns of a file are taken, and what of missing values.

    Returns
    -------
    Opened

    Raises
    ------
    TypeError, ValueError
        If there is no such data, or settings or columns do not fit it.
    FileNotFoundError, ImportError
        If the data is not here and cannot be had.
    """
    path = paths.given("data", text)
    target, features, drop_missing = reading or Reading()
    if readers.ending(path) or not paths.refusal(path):
        words = _words("--target", target), _words("--features", features)
        return Opened(datasets.load_file(path, *words, drop_missing), True, path)
    name, _, settings = text.partition(":")
    if name not in _ENTRIES:
        if path.parent != Path(".") or path.suffix:
            raise readers.expected(text)
        files = (f"a {suffix} file" for suffix in readers.READERS)
        validation.unknown("data", name, [*NAMES, *files])
    if target is not None:
        raise ValueError(
            f"a target column can be chosen for files only, not for {name}; --target-distance is "
            "the distance from the optimum"
        )
    if features is not None or drop_missing:
        raise ValueError(f"--features and --drop-missing are for files only, not for {name}")
    entry = _ENTRIES[name]
    return Opened(entry.load(**_settings(name, settings, entry)), entry.standardize)


def _words(option: str, text: str | None) -> list[str] | None:
    """The names in the text of an option, with commas between."""
    if text is None:
        return None
    words = [word.strip() for word in next(csv.reader([text], skipinitialspace=True), [])]
    if not all(words) or not words:
        raise ValueError(
            f"{option} must be names or numbers of columns such as a,b,c, "
            f"got {validation.shown(text)}"
        )
    return words


def _settings(name: str, text: str, entry: _Entry) -> dict[str, float]:
    values = dict(entry.defaults)
    for setting in filter(None, text.split(",")):
        key, _, value = setting.partition("=")
        if key not in values:
            known = ", ".join(values) or "none"
            raise ValueError(f"{name} has no setting {validation.shown(key)}, it has {known}")
        whole = inspect.signature(entry.load).parameters[key].annotation is int
        try:
            values[key] = int(value) if whole else float(value)
        except ValueError:
            kind = "an integer" if whole else "a number"
            raise ValueError(f"{key} must be {kind}, got {validation.shown(value)}") from None
    return values
