"""Text files, plain or compressed, that are opened the same way and read in bounded memory."""

import bz2
import contextlib
import gzip
import io
import lzma
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from accel._files import npy, paths
from accel._support import memory

__all__ = ["COMPRESSED", "foreign", "opened"]

_FIRST = 2**26  # unpacked bytes after which memory is asked for


@contextlib.contextmanager
def _member(stream: BinaryIO) -> Iterator[Any]:
    """The one file in a .zip; what a Mac adds about files is none."""
    with zipfile.ZipFile(stream) as archive:
        members = [
            info for info in archive.infolist()
            if not info.is_dir() and not info.filename.startswith("__MACOSX/")
        ]  # fmt: skip
        if len(members) != 1:
            raise ValueError(f"a .zip must hold one file, this one holds {len(members)}")
        with archive.open(members[0]) as member:
            yield member


#: How the content of a compressed file is opened, by the end of its name.
COMPRESSED: dict[str, Callable[[Any], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zip": _member,
}

_CONTENTS = {
    b"\x1f\x8b": "it is compressed by gzip: end its name in .gz",
    b"BZh": "it is compressed by bzip2: end its name in .bz2",
    b"\xfd7zXZ": "it is compressed by xz: end its name in .xz",
    b"PK\x03\x04": "it is a .zip or a workbook (.xlsx): save the sheet as text, as .csv",
    b"PAR1": "it is a .parquet by content, rename it",
    b"\x93NUMPY": "it is a .npy by content, rename it",
    b"\xff\xfe": "it is UTF-16: save it as UTF-8",
    b"\xfe\xff": "it is UTF-16: save it as UTF-8",
}


def foreign(path: Path) -> str:
    """Say what a file is, by its first bytes, that is not UTF-8 text."""
    with contextlib.suppress(OSError), path.open("rb") as stream:
        head = stream.read(8)
        for begin, told in _CONTENTS.items():
            if head.startswith(begin):
                return told
    return "save it as UTF-8"


class _Bounded(io.RawIOBase):
    """What a compressed file unpacks to: refused beyond what numbers could."""

    def __init__(self, path: Path, unpacked: BinaryIO, size: int) -> None:
        self._path, self._unpacked, self._size = path, unpacked, size
        self._count, self._next = 0, _FIRST

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer; raises ValueError or MemoryError if that is too much."""
        part = self._unpacked.read(len(buffer))
        buffer[: len(part)] = part
        self._count += len(part)
        if self._count > npy.most_unpacked(self._size):
            raise ValueError(f"it unpacks to over {self._count} bytes, out of {self._size}")
        if self._count > self._next:
            memory.require(paths.text(self._path), 2 * self._count)
            self._next *= 2
        return len(part)


@contextlib.contextmanager
def opened(path: Path, newline: str | None = None) -> Iterator[TextIO]:
    """Open a file of text in UTF-8, with or without a mark at its beginning.

    Parameters
    ----------
    path : Path
        Compressed if it ends in one of ``COMPRESSED``.
    newline : str, optional
        As for ``open``.

    Raises
    ------
    one of ``npy.DAMAGED``
        Also while it is read.
    """
    unpack = COMPRESSED.get(path.suffix.lower())
    if unpack is None:
        with path.open(encoding="utf-8-sig", newline=newline) as text:
            yield text
        return
    with path.open("rb") as packed, unpack(packed) as unpacked:
        bounded = _Bounded(path, unpacked, os.fstat(packed.fileno()).st_size)
        buffered = io.BufferedReader(bounded, 2**16)
        with io.TextIOWrapper(buffered, encoding="utf-8-sig", newline=newline) as text:
            yield text
