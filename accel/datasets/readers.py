"""Readers of data files, one for each format: they return X, y and the names of the columns.

A file is opened once, and its numbers are checked once; it is read again only to say where a fault
is. X and y are finite and of one dtype, float32 or float64.

If anything is wrong with a file, a ValueError says so in one line that starts with its path. For
text it has the number of the line, from 1, header included, as editors count, and the name of the
column, or its number from 1 if it has no name; for an array it has the indices, from 0.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accel._files import paths
from accel._files.texts import COMPRESSED
from accel._support import memory
from accel.datasets.arrays import read_npy, read_npz
from accel.datasets.columns import Columns, Wanted, wanted
from accel.datasets.parquet import read_parquet
from accel.datasets.tables import read_table

__all__ = ["ENDINGS", "READERS", "ending", "expected", "read", "stem"]

#: The reader for each ending.
READERS: dict[str, Callable[[Path, Wanted], Columns]] = {
    ".npz": read_npz,
    ".npy": read_npy,
    ".csv": read_table,
    ".tsv": read_table,
    ".parquet": read_parquet,
}

#: The endings, for messages.
ENDINGS = (
    f"{', '.join(READERS)}; .csv and .tsv may be compressed and end in {', '.join(COMPRESSED)}"
)

_WORKBOOKS = (".xls", ".xlsx", ".ods")


def ending(path: Path) -> str:
    """The key in ``READERS`` of a file, by the end of its name; empty if there is none."""
    last = path.suffix.lower()
    before = Path(path.stem).suffix.lower()
    if last in COMPRESSED and READERS.get(before) is read_table:
        return before
    return last if last in READERS else ""


def stem(path: Path) -> str:
    """The name of a file without its ending."""
    return Path(path.stem).stem if path.suffix.lower() in COMPRESSED else path.stem


def expected(path: object) -> ValueError:
    """Return the exception for a file whose ending is none of ours."""
    sheet = Path(str(path)).suffix.lower() in _WORKBOOKS
    remedy = ": save the sheet as .csv" if sheet else ""
    return ValueError(f"{paths.text(path)}: expected a file that ends in {ENDINGS}{remedy}")


def read(
    path: str | os.PathLike[str],
    target: Any = None,
    features: Any = None,
    drop_missing: Any = False,
) -> Columns:
    """Read a file with the reader for its ending.

    Parameters
    ----------
    path : path
    target, features : str, int, or sequence of these, optional
        Names or numbers of columns, or in a .npz the names of arrays.
    drop_missing : bool
        Whether rows with missing values are left out.
    """
    path = paths.given("path", path)
    asked, kind = wanted(features, target, drop_missing), ending(path)
    if not kind:
        raise expected(path)
    if reason := paths.refusal(path):
        raise ValueError(f"{paths.text(path)}: {reason}")
    memory.require(paths.text(path), 2 * path.stat().st_size)  # the table, and X without the target
    return READERS[kind](path, asked)
