"""NumPy's files from untrusted sources: nothing in them is executed, and every size is checked.

A header may claim any shape, and NumPy would allocate memory for it at once. A compressed member
may unpack to a thousand times its size.
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

_HEAD = 2**14  # bytes; NumPy refuses headers above 10 000
# A member may unpack to _FREE bytes, or to _RATIO times the size of the file: numbers do not
# compress more than that.
_FREE, _RATIO = 2**28, 100
_NPZ = (b"PK\x03\x04", b"PK\x05\x06")


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Suppress the warnings of NumPy, and of Python's compiler, about headers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def header(head: bytes) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Parse the first bytes of a .npy: shape, dtype, and the offset of the numbers.

    Raises
    ------
    one of ``DAMAGED``
    """
    stream = io.BytesIO(head)
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    try:
        shape, _, dtype = read(stream)
    except tokenize.TokenError as error:  # str() of it would be a tuple
        raise ValueError(error.args[0]) from error
    return shape, dtype, stream.tell()


def _check_header(head: bytes, size: int) -> None:
    """Check that the first bytes of a .npy claim no more numbers than its size allows."""
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
        If it is something else, holds pickled objects, or claims more numbers than there are.
    """
    with path.open("rb") as stream:
        _check(stream)


def _check(stream: BinaryIO) -> None:
    """Check that a file is a .npy and as long as it says."""
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
    """Read the arrays of these names from a .npz, and no others.

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
                    names_held = validation.listed(held) or "nothing"
                    raise ValueError(f"no array {name!r} in it, it holds {names_held}")
            return [_member(archive, held[name], size) for name in names]


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, size: int) -> Array:
    # zipfile never unpacks more than the declared size.
    if info.file_size > max(_FREE, _RATIO * size):
        raise ValueError(
            f"{validation.shown(info.filename)} would unpack to {info.file_size} bytes, out of a "
            f"file of {size}"
        )
    with archive.open(info) as stream:
        _check_header(stream.read(_HEAD), info.file_size)
    with archive.open(info) as stream:  # anew: after seek() zipfile may skip the checksum
        array: Array = npy.read_array(stream, allow_pickle=False)
    return array
