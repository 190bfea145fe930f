"""NumPy's files from anywhere: nothing in them is executed, and no size is taken on trust.

A header may promise any shape, for which NumPy would make room at once, and a packed member may
unpack to a thousand times its size.
"""

import contextlib
import io
import lzma
import math
import os
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from accel._support import validation
from accel._support.arrays import Array

__all__ = ["DAMAGED", "check_npy", "header", "load_npy", "load_npz"]

#: What NumPy and the standard library raise on a damaged or foreign file.
DAMAGED = (
    EOFError, MemoryError, OSError, OverflowError, RuntimeError, SyntaxError, TypeError, ValueError,
    lzma.LZMAError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip

_HEAD = 2**14  # bytes; NumPy takes no header above 10 000
_FREE, _RATIO = 2**28, 100  # bytes that a member may unpack to, or times the file; numbers do not
_NPZ = (b"PK\x03\x04", b"PK\x05\x06")


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep what NumPy and Python's compiler warn of in headers off the screen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def header(head: bytes) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Read a header out of the first bytes of a .npy: shape, dtype, and where the numbers begin.

    Raises
    ------
    one of ``DAMAGED``
    """
    stream = io.BytesIO(head)
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    try:
        shape, _, dtype = read(stream)
    except tokenize.TokenError as error:  # as text it is a tuple
        raise ValueError(error.args[0]) from error
    return shape, dtype, stream.tell()


def _check_header(head: bytes, size: int) -> None:
    """Check what the first bytes of a .npy of this size promise."""
    shape, dtype, begin = header(head)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are never loaded (allow_pickle=False)")
    promised, follow = math.prod(shape) * dtype.itemsize, size - begin
    if min(shape, default=0) < 0 or promised > follow:
        raise ValueError(
            f"its header promises the shape {validation.shown(shape)} of {dtype.itemsize} bytes "
            f"each, and {follow} bytes follow"
        )


@_quietly()
def check_npy(path: Path) -> None:
    """Check that a file is a .npy and as long as it says.

    Raises
    ------
    one of ``DAMAGED``
        If it is something else, holds pickled objects, or promises more numbers than there are.
    """
    with path.open("rb") as stream:
        _check(stream)


def _check(stream: BinaryIO) -> None:
    """Check what the first bytes of a file promise, as a .npy, by its size."""
    head, size = stream.read(_HEAD), os.fstat(stream.fileno()).st_size
    if head.startswith(_NPZ):
        raise ValueError("it is a .npz by content, rename it")
    _check_header(head, size)


@_quietly()
def load_npy(path: Path) -> Array:
    """Read the array of a .npy.

    Raises
    ------
    one of ``DAMAGED``
    """
    with path.open("rb") as stream:
        _check(stream)
        stream.seek(0)
        array: Array = npy.read_array(stream, allow_pickle=False)
    return array


@_quietly()
def load_npz(path: Path, names: Sequence[str]) -> list[Array]:
    """Read arrays of a .npz by their names, and nothing else of it.

    Raises
    ------
    one of ``DAMAGED``
    """
    with path.open("rb") as stream:
        if stream.read(6) == npy.MAGIC_PREFIX:
            raise ValueError("it is a .npy by content, rename it")
        size = os.fstat(stream.fileno()).st_size
        with zipfile.ZipFile(stream) as archive:
            held = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            for name in names:
                if name not in held:
                    told = validation.listed(held) or "nothing"
                    raise ValueError(f"no array {name!r} in it, it holds {told}")
            return [_member(archive, held[name], size) for name in names]


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, size: int) -> Array:
    # zipfile never unpacks more than is declared, so that is what counts.
    if info.file_size > max(_FREE, _RATIO * size):
        raise ValueError(
            f"{validation.shown(info.filename)} would unpack to {info.file_size} bytes, out of a "
            f"file of {size}"
        )
    with archive.open(info) as stream:
        _check_header(stream.read(_HEAD), info.file_size)
    with archive.open(info) as stream:
        array: Array = npy.read_array(stream, allow_pickle=False)
    return array
