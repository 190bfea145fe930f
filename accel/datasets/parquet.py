"""Reader of .parquet, by Polars, or by pandas with an engine of its own."""

import contextlib
import importlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from accel._files import paths
from accel._files.paths import unreadable
from accel._support import memory, validation
from accel._support.arrays import Array
from accel.datasets import columns
from accel.datasets.columns import Columns, Wanted

__all__ = ["Frame", "frame_of", "read_parquet", "reading"]

_INDEX = re.compile(r"__index_level_\d+__")  # as pandas names what is no column of a frame
_INDEXES = re.compile(rb'"index_columns"\s*:\s*(?=\[)')  # in what pandas tells of a frame


class Frame(NamedTuple):
    """A file as a library reads it: the names of its columns, the kinds of them, the values.

    What pandas wrote of an index is no column. No values are read before they are asked for, if the
    library can do without.
    """

    header: list[str]
    kinds: list[str]
    numeric: list[bool]
    values: Callable[[list[int]], list[Any]]  # of the columns of these numbers, as it has them


class _Places(NamedTuple):
    header: list[str]

    def column(self, j: int) -> str:
        return f"column {validation.shown(self.header[j])}"

    def cell(self, row: int, j: int) -> str:
        return f"row {row + 1}, {self.column(j)}"


def _index(path: Path) -> set[str]:
    """The names of the columns that are the index of a frame of pandas.

    The end of a file has text of the writer's, of pandas a JSON with the key ``index_columns``: of
    its entries those that are text are columns. Polars reads it since 1.31 only.
    """
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(size - 8, 0))
        length = int.from_bytes(stream.read(4), "little")
        stream.seek(max(size - 8 - length, 0))
        footer = stream.read(length)
    if not (found := _INDEXES.search(footer)):
        return set()
    text = footer[found.end() :].decode(errors="replace")
    names, _ = json.JSONDecoder().raw_decode(text)
    return {name for name in names if isinstance(name, str)}


def _by_polars(path: Path) -> Frame:
    polars = importlib.import_module("polars")
    schema = polars.read_parquet_schema(path)
    index = _index(path)
    schema = {
        name: kind
        for name, kind in schema.items()
        if name not in index and not _INDEX.fullmatch(name)
    }
    header = list(schema)

    def values(wanted: list[int]) -> list[Any]:
        rows = polars.scan_parquet(path).select(polars.len()).collect().item()
        memory.require(paths.text(path), 24 * rows * len(wanted))  # also the table, and X
        frame = polars.read_parquet(path, columns=[header[j] for j in wanted])
        series = [frame[header[j]] for j in wanted]
        return [
            one.cast(polars.Float64) if isinstance(one.dtype, polars.Decimal) else one
            for one in series
        ]

    numeric = [kind.is_numeric() or kind == polars.Boolean for kind in schema.values()]
    return Frame(header, [str(kind) for kind in schema.values()], numeric, values)


def _by_pandas(path: Path) -> Frame:
    pandas = importlib.import_module("pandas")
    frame = pandas.read_parquet(path)
    parts = [frame.iloc[:, j] for j in range(frame.shape[1])]
    return Frame(
        [str(name) for name in frame.columns],
        [str(part.dtype) for part in parts],
        [bool(pandas.api.types.is_numeric_dtype(part.dtype)) for part in parts],
        lambda wanted: [parts[j] for j in wanted],
    )


def frame_of(path: Path) -> Frame:
    """The file by the first library that is here.

    Raises
    ------
    ImportError
        If none is.
    """
    for read in (_by_polars, _by_pandas):
        try:
            return read(path)
        except ImportError:  # also of pandas if it has no engine
            continue
    raise ImportError(
        f"{paths.text(path)}: a .parquet is read by Polars, or by pandas with pyarrow: "
        "pip install 'implicit-accel[parquet]'"
    )


def _array(name: str, values: Any) -> Array:
    """The numbers of a column, with NaN for those that are missing.

    Raises
    ------
    TypeError
        If an integer would be rounded.
    """
    known = values.dropna() if hasattr(values, "isna") else values.drop_nulls()
    # pandas below 2.2 makes objects of nullable numbers unless asked for their NumPy dtype.
    numbers: Array = np.asarray(known, dtype=getattr(values.dtype, "numpy_dtype", None))
    advice = "save it as float64 if it may be rounded"
    validation.unrounded(name, numbers, np.dtype(np.float64), numbers, advice)
    if len(known) == len(values):
        return numbers if numbers.dtype == np.float32 else numbers.astype(np.float64, copy=False)
    lacking = np.asarray(values.isna() if hasattr(values, "isna") else values.is_null(), bool)
    whole = np.full(len(values), np.nan, np.float32 if numbers.dtype == np.float32 else np.float64)
    whole[~lacking] = numbers
    return whole


def _read(path: Path, asked: Wanted) -> Columns:
    where, frame = paths.text(path), frame_of(path)
    header, places = frame.header, _Places(frame.header)
    count = columns.width(where, np.empty((1, len(header))))
    chosen = columns.choose(where, asked, count, header)
    taken = list(range(count)) if chosen.features is None else chosen.features + chosen.targets
    texts = [j for j in taken if not frame.numeric[j]]
    if texts:
        some = [(columns.short(places.column(j)), frame.kinds[j]) for j in texts[:5]]
        told = ", ".join(f"{name} of {kind:.30}" for name, kind in some)
        more = f" and {len(texts) - 5} more" if len(texts) > 5 else ""
        raise ValueError(
            f"{where}: columns must hold numbers, got {told}{more}: {columns.IN_PLACE_OF_TEXT}"
        )
    try:
        parts = [
            _array(places.column(j), values)
            for j, values in zip(taken, frame.values(taken), strict=True)
        ]
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from error
    table = np.column_stack(parts)
    return columns.split(where, table, taken, header, chosen, asked.drop_missing, places)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """A context in which what a library raises of a damaged file is a ValueError that names it."""
    try:
        yield
    except (ImportError, MemoryError, KeyboardInterrupt, SystemExit):
        raise
    except ValueError as error:
        if str(error).startswith(paths.text(path)):
            raise
        raise unreadable(path, error) from error
    except BaseException as error:  # Polars panics on some damaged files: that is no Exception
        raise unreadable(path, f"{type(error).__name__}: {error}") from error


def read_parquet(path: Path, asked: Wanted) -> Columns:
    """Columns of numbers or truth values. The target is the last column, or those asked for.

    What pandas wrote of an index is left out. Missing values are nulls and NaN.

    Raises
    ------
    ImportError
        If neither Polars nor pandas with an engine is installed.
    """
    with reading(path):
        return _read(path, asked)
