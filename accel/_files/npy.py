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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from accel._support import validation
from accel._support.arrays import Array

__all__ = ["DAMAGED", "Members", "check_npy", "header", "load_npy", "load_npz", "most_unpacked"]

#: What NumPy and the standard library raise on a damaged or foreign file.
DAMAGED = (
    EOFError, MemoryError, OSError, OverflowError, RuntimeError, SyntaxError, TypeError, ValueError,
    lzma.LZMAError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip

_HEAD = 2**14  # bytes; NumPy refuses headers above 10 000
# A member may unpack to _FREE bytes, or to _RATIO times the size of the file: numbers do not
# compress more than that.
_FREE, _RATIO = 2**28, 100
_SHOWN = 30  # members whose shapes a message has
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


def most_unpacked(size: int) -> int:
    """The most bytes that a compressed file of this size may unpack to."""
    return max(_FREE, _RATIO * size)


class Members:
    """The arrays of an open .npz, by name: what their headers say."""

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        self._archive, self._size = archive, size
        self._infos = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}

    def __contains__(self, name: object) -> bool:
        return name in self._infos

    @property
    def names(self) -> list[str]:
        """The names, in the order of the file."""
        return list(self._infos)

    def header(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]] | None:
        """Shape and dtype of an array; None if its header cannot be read."""
        try:
            with self._archive.open(self._infos[name]) as stream:
                shape, dtype, _ = header(stream.read(_HEAD))
        except DAMAGED:
            return None
        return shape, dtype

    def told(self) -> str:
        """List the names and shapes, for a message; only the names of those after the first 30."""
        words = self.names
        for j, name in enumerate(words[:_SHOWN]):
            if head := self.header(name):
                words[j] = f"{name} {validation.shown(head[0])}"
        return validation.listed(words) or "nothing"

    def load(self, name: str) -> Array:
        """Read an array."""
        info = self._infos[name]
        # zipfile never unpacks more than the declared size.
        if info.file_size > most_unpacked(self._size):
            raise ValueError(
                f"{validation.shown(info.filename)} would unpack to {info.file_size} bytes, out of "
                f"a file of {self._size}"
            )
        with self._archive.open(info) as stream:
            _check_header(stream.read(_HEAD), info.file_size)
        with self._archive.open(info) as stream:  # anew: after seek() zipfile may skip the checksum
            array: Array = npy.read_array(stream, allow_pickle=False)
        return array


@_quietly()
def load_npz(path: Path, names: Sequence[str] | Callable[[Members], Sequence[str]]) -> list[Array]:
    """Read the arrays of these names from a .npz, and no others.

    Parameters
    ----------
    path : Path
    names : sequence of str, or function
        Of what the file holds: returns the names.

    Raises
    ------
    one of ``DAMAGED``
    """
    with path.open("rb") as stream:
        if stream.read(6) == npy.MAGIC_PREFIX:
            raise ValueError("it is a .npy by content, rename it")
        size = os.fstat(stream.fileno()).st_size
        with zipfile.ZipFile(stream) as archive:
            held = Members(archive, size)
            chosen = names(held) if callable(names) else names
            for name in chosen:
                if name not in held:
                    raise ValueError(f"no array {name!r} in it, it holds {held.told()}")
            return [held.load(name) for name in chosen]
