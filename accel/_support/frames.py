"""Data frames and their columns, of pandas and of Polars, as arrays.

A frame keeps every column in a dtype of its own. NumPy, which has one for all, makes objects of
truth values beside numbers, and of numbers some of which are missing; so columns are taken one by
one, and a bad one is named. Neither library is imported here.
"""

import sys
from typing import Any

import numpy as np

from accel._support import arrays

__all__ = ["as_array", "columns", "is_frame"]

_LIBRARIES = ("pandas", "polars")


def _is(value: object, kind: str) -> bool:
    """Whether it is a ``DataFrame`` or ``Series``; if so, its library has been imported."""
    classes = (getattr(sys.modules.get(library), kind, None) for library in _LIBRARIES)
    return any(isinstance(value, of) for of in classes if isinstance(of, type))


def is_frame(value: object) -> bool:
    """Whether it is a data frame, or one column of such."""
    return _is(value, "DataFrame") or _is(value, "Series")


def columns(value: Any) -> list[tuple[str, Any]]:
    """Return the columns of a frame or a column, each with a text that tells which it is."""
    if _is(value, "Series"):
        return [("", value)]
    named = value.items() if hasattr(value, "items") else ((c.name, c) for c in value.get_columns())
    return [(f" in column {label!r:.60}", column) for label, column in named]


def as_array(name: str, value: Any) -> Any:
    """Return the numbers of a frame (n, d) or a column (n,); no copy if they lie in one array.

    Truth values are 0 and 1. The dtype is the one to which NumPy promotes those of the columns.

    Raises
    ------
    TypeError
        If a column holds something other than real numbers.
    ValueError
        If a number is missing.
    """
    if _is(value, "Series"):
        return _numbers(name, value, "{}", "")
    parts = [
        _numbers(name, column, f"{{}}, {j}", where)
        for j, (where, column) in enumerate(columns(value))
    ]
    dtypes = {part.dtype for part in parts}
    if len(dtypes) == 1:
        whole = np.asarray(value)
        if whole.dtype in dtypes:
            return whole
    out = np.empty(value.shape, np.result_type(*dtypes) if dtypes else np.float64)
    for j, part in enumerate(parts):
        out[:, j] = part
    arrays.tell(out, "out of the columns of a data frame")
    return out


def _numbers(name: str, column: Any, place: str, where: str) -> Any:
    """Return the numbers of one column, all of which have to be there; ``place`` takes a row."""
    pandas = hasattr(column, "isna")
    known = column.dropna() if pandas else column.drop_nulls()
    # pandas below 2.2 makes objects of nullable numbers, unless asked for what they stand for.
    part = np.asarray(known, dtype=getattr(column.dtype, "numpy_dtype", None))
    if part.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {column.dtype}{where}")
    if len(known) < len(column):
        row = int(np.argmax(np.asarray(column.isna() if pandas else column.is_null())))
        raise ValueError(
            f"{name} must not have missing values, got one at {name}[{place.format(row)}]{where}"
        )
    return part
