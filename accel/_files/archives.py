"""Files that are written completely or not at all; arrays and JSON in one file with a checksum."""

import contextlib
import glob
import hashlib
import io
import json
import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from accel._files import npy, paths
from accel._support.arrays import Array
from accel.kernels.system import files

_SEAL = 64  # bytes of the checksum, at the end of the file, where a zip has its comment
#: Exceptions that a foreign or damaged file causes; those that the machine causes are not included.
_DAMAGE = (KeyError, *(kind for kind in npy.DAMAGED if kind not in (MemoryError, OSError)))


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[io.BufferedRandom]:
    """Open a temporary file that replaces ``path`` once it is complete and on the disk.

    Until then, and if anything fails, the old file is left as it is.

    Yields
    ------
    binary file
        Open for writing and reading.

    Raises
    ------
    OSError
        Naming ``path``.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        try:
            with partial.open("w+b") as file:
                yield file
                files.flush(file)
            files.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error
    files.flush_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a file by ``replacing``, in UTF-8."""
    with replacing(path) as file:
        file.write(text.encode())


def remove_unfinished(path: Path) -> None:
    """Remove the temporary files of processes that were killed within ``replacing``."""
    with contextlib.suppress(OSError):
        for partial in path.parent.glob(f"{glob.escape(path.name)}.[0-9]*.part"):
            partial.unlink(missing_ok=True)


def write(path: Path, described: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Write or replace a file of arrays and JSON, in NumPy's npz format without pickle.

    Parameters
    ----------
    path : Path
        No suffix is added.
    described : mapping
        Written as JSON; ``"format"`` is the version of the format.
    arrays : mapping of str to array

    Raises
    ------
    OSError
        Naming ``path``.
    """
    members = {"json": np.array(json.dumps(described)), **arrays}
    with replacing(path) as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.comment = bytes(_SEAL)
            for name, array in members.items():
                info = zipfile.ZipInfo(f"{name}.npy")  # without the time: always the same bytes
                with archive.open(info, "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
        seal(file)


def seal(file: io.BufferedRandom | io.BytesIO) -> None:
    """Overwrite the last bytes of a file, which are zeros, with a checksum of the whole file."""
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(-_SEAL, os.SEEK_END)
    file.write(digest.encode())


def read(path: Path, known: int, *earlier: int) -> tuple[dict[str, Any], dict[str, Array]]:
    """Read a file that ``write`` wrote; to be called within ``reading``.

    Parameters
    ----------
    path : Path
    known : int
        The version of the format that it must have,
    *earlier : int
        or else one of these.

    Returns
    -------
    described : dict
    arrays : dict of str to array

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    if paths.refusal(path) == paths.SPECIAL:  # it may have no end
        raise ValueError(f"it is {paths.SPECIAL}")
    content = path.read_bytes()  # from here on errors are due to the content
    digest = hashlib.sha256(memoryview(content)[:-_SEAL])
    digest.update(bytes(_SEAL))
    if digest.hexdigest().encode() != content[-_SEAL:]:
        raise ValueError("its checksum is missing or wrong, so that it is damaged or another file")
    # Anyone can make a checksum, so the file may still be meant to fill the memory.
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("it is compressed")
        if sum(member.file_size for member in members) > len(content):
            raise ValueError("its parts are larger than the whole")
        arrays = {m.filename.removesuffix(".npy"): _array(archive.read(m)) for m in members}
    described = json.loads(str(arrays.pop("json")))
    version = described["format"]
    if version != known and version not in earlier:
        age = "a later" if version > known else "an earlier"
        raise ValueError(f"it is of format {version}, of {age} version of accel; ours is {known}")
    return described, arrays


def _array(content: bytes) -> Array:
    shape, dtype, begin = npy.header(content)
    if math.prod(shape) * dtype.itemsize != len(content) - begin:
        raise ValueError(f"an array of shape {shape} and {dtype} is not of that size")
    array: Array = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    return array


@contextlib.contextmanager
def reading(kind: str, path: Path) -> Iterator[None]:
    """Convert exceptions of the block that a damaged file causes to a ValueError that names it."""
    try:
        yield
    except _DAMAGE as error:
        reason = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise ValueError(f"{kind} {paths.text(path)} is not readable: {reason:.300}") from error
