"""Files that every worker can reach, as dask arrays that are read where they are used."""

import os
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize

from accel._files import npy, paths
from accel._files.paths import unreadable
from accel._support import validation
from accel._support.arrays import Array

__all__ = ["from_npy"]

_CHUNK_BYTES = 128 * 2**20


def from_npy(path: str | os.PathLike[str], rows: int | None = None) -> Any:
    """Open a ``.npy`` file as a dask array of row chunks, each mapped into the worker's memory.

    ``dask.array.from_array`` of a memory-mapped array would send its content along with the tasks;
    here the tasks hold the path.

    Parameters
    ----------
    path : path-like
        In C order; the workers must find it under the same path.
    rows : int, optional
        Of a chunk; by default as many as fill 128 MiB.

    Returns
    -------
    dask.array.Array

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not a NumPy file, or in Fortran order, or if rows is less than 1.

    Examples
    --------
    >>> import numpy as np
    >>> from accel.distributed import from_npy
    >>> np.save("X.npy", np.ones((5, 3)))
    >>> from_npy("X.npy", rows=2).chunks
    ((2, 2, 1), (3,))
    """
    path = paths.given("path", path).absolute()
    if paths.refusal(path) == paths.SPECIAL:
        raise ValueError(f"{paths.text(path)}: {paths.SPECIAL}")
    try:
        npy.check_npy(path)
        whole = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except npy.DAMAGED as error:
        raise unreadable(path, error) from error
    if whole.ndim == 0 or not whole.flags.c_contiguous:
        raise ValueError(f"{path} must hold an array of rows in C order, got shape {whole.shape}")
    if rows is None:
        rows = max(_CHUNK_BYTES // max(whole[:1].nbytes, 1), 1)
    rows = validation.integer("rows", rows, least=1)
    stat = path.stat()
    name = f"accel-npy-{tokenize(str(path), rows, stat.st_size, stat.st_mtime_ns)}"
    starts = range(0, len(whole), rows)
    chunks = (
        tuple(min(rows, len(whole) - start) for start in starts),
        *((size,) for size in whole.shape[1:]),
    )
    graph = {
        (name, i, *(0,) * (whole.ndim - 1)): (_mapped, str(path), start, chunks[0][i])
        for i, start in enumerate(starts)
    }
    return da.Array(graph, name, chunks=chunks, dtype=whole.dtype)


def _mapped(path: str, start: int, rows: int) -> Array:
    """Map rows of the file into memory."""
    mapped: Array = np.load(path, mmap_mode="r", allow_pickle=False)[start : start + rows]
    return mapped
