"""Files of arrays and a JSON text: NumPy's npz, no pickle, complete or not there at all."""

import io
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from accel.validation import Array

#: What zipfile, NumPy and our own checks make of a file that is none of ours, or a damaged one.
DAMAGE = (
    ValueError, TypeError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error
)  # fmt: skip


def write(path: Path, described: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Write a file, or replace it once the new one is complete and on the disk.

    Parameters
    ----------
    path : Path
        Taken as it is, no suffix is added.
    described : mapping
        What JSON can hold.
    arrays : mapping of str to array
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            np.savez(file, allow_pickle=False, json=np.array(json.dumps(described)), **arrays)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """Read what ``write`` wrote.

    Raises
    ------
    OSError
        If the file cannot be read.
    one of ``DAMAGE``
        If it is something else.
    """
    content = io.BytesIO(path.read_bytes())  # what fails from here on is the file's fault
    archive = np.load(content, allow_pickle=False)
    if not isinstance(archive, Mapping):
        raise ValueError("it holds a single array")
    arrays = {name: archive[name] for name in archive}
    described = json.loads(str(arrays.pop("json")))
    return described, arrays


def reason(error: Exception) -> str:
    """Say what a ``DAMAGE`` error means, after 'path is no ...: '."""
    return f"no {error}" if isinstance(error, KeyError) else str(error)
