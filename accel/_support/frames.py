"""Data frames of pandas and Polars, and their columns, as arrays.

Each column of a frame has a dtype of its own, while an array has one for all. NumPy makes an array
of objects if truth values are beside numbers, or if numbers are missing. So the columns are
converted one by one, and an error names the column. Neither library is imported here.
"""

import sys
from typing import Any

import numpy as np

from accel._support import arrays

__all__ = ["as_array", "columns", "is_frame", "names"]

_LIBRARIES = ("pandas", "polars")


def _is(value: object, kind: str) -> bool:
    """Whether it is of a class of this name, ``DataFrame`` or ``Series``, of pandas or Polars.

    An instance can only exist if its library has been imported.
    """
    classes = (getattr(sys.modules.get(library), kind, None) for library in _LIBRARIES)
    return any(isinstance(value, of) for of in classes if isinstance(of, type))


def is_frame(value: object) -> bool:
    """Whether it is a data frame, or a column of one."""
    return _is(value, "DataFrame") or _is(value, "Series")


def columns(value: Any) -> list[tuple[str, Any]]:
    """Return the columns, each after a text that names it in messages; one for a column."""
    if _is(value, "Series"):
        return [("", value)]
    named = value.items() if hasattr(value, "items") else ((c.name, c) for c in value.get_columns())
    return [(f" in column {label!r:.60}", column) for label, column in named]


def names(value: object) -> tuple[str, ...] | None:
    """Return the names of the columns of a frame, or of a column; None where not all are text."""
    if _is(value, "Series"):
        labels = [value.name]  # type: ignore[attr-defined]
    elif _is(value, "DataFrame"):
        labels = list(value.columns)  # type: ignore[attr-defined]
    else:
        return None
    return tuple(labels) if all(isinstance(label, str) for label in labels) else None


def as_array(name: str, value: Any) -> Any:
    """Return the numbers of a frame (n, d) or a column (n,), without a copy where that is possible.

    Truth values become 0 and 1. The dtype is the one that NumPy promotes those of the columns to.

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
    arrays.log_copy(out, "out of the columns of a data frame")
    return out


def _numbers(name: str, column: Any, place: str, where: str) -> Any:
    """Return the numbers of one column.

    ``place`` formats a row number as the place of a missing number, ``where`` names the column.
    """
    pandas = hasattr(column, "isna")
    known = column.dropna() if pandas else column.drop_nulls()
    # pandas below 2.2 makes objects of nullable numbers unless asked for their NumPy dtype.
    part = np.asarray(known, dtype=getattr(column.dtype, "numpy_dtype", None))
    if part.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {column.dtype}{where}")
    if len(known) < len(column):
        row = int(np.argmax(np.asarray(column.isna() if pandas else column.is_null())))
        raise ValueError(
            f"{name} must not have missing values, got one at {name}[{place.format(row)}]{where}"
        )
    return part
