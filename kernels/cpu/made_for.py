"""What compiled kernels are made for, and why those on the disk do not fit.

A small file beside the kernels lists for which versions and processors some were compiled there. It
is read and written where a kernel is not found, and costs nothing where all are. Nothing but words
depends on it.
"""

import contextlib
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import llvmlite
import numba
from llvmlite import binding as llvm
from numba import config
from numba.core.codegen import get_host_cpu_features
from numba.np.numpy_support import numpy_version

from ..sources import sources
from ..system.files import replace
from .processor import vector_bytes
from .shapes import shapes

__all__ = ["made_for", "reason"]

#: Kernels of different versions of Python lie side by side, and are never taken for each other.
_NAME = f"accel-made-for.py{sys.version_info[0]}{sys.version_info[1]}.json"
_MOST = 16  # entries of the list, the newest last
#: In words, with the name of a fact: those whose values mean something to a user, and the others.
_TOLD = {"numba": "Numba", "llvmlite": "llvmlite", "numpy": "NumPy", "processor": "the processor"}
_OTHERS = {
    "features": "other features of the processor",
    "vector_bytes": "other vectors",
    "shapes": "other sizes of the caches",
    "sources": "another version of accel",
}


@cache
def _of_process() -> dict[str, str]:
    """Facts that cannot change within a process; which features Numba takes was read at its start.

    Of NumPy's version Numba looks at the first two numbers.
    """
    features = config.CPU_FEATURES
    return {
        "numba": numba.__version__,
        "llvmlite": llvmlite.__version__,
        "numpy": ".".join(map(str, numpy_version)),
        "processor": config.CPU_NAME or llvm.get_host_cpu_name(),
        "features": get_host_cpu_features() if features is None else features,
    }


def made_for() -> dict[str, str]:
    """Return what a kernel that is compiled now is made for, by the name of the fact."""
    return {
        **_of_process(),
        "vector_bytes": str(vector_bytes()),
        "shapes": " ".join(map(str, shapes())),
        "sources": str(sources(__package__)),
    }


def _read(path: Path) -> list[dict[str, str]]:
    """Read the list; what is damaged or missing is an empty one."""
    try:
        given: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return []
    whole = isinstance(given, list) and all(isinstance(entry, dict) for entry in given)
    return given if whole else []


def _write(path: Path, entries: list[dict[str, str]]) -> None:
    """Replace the list as a whole; one that cannot be written is left as it is."""
    with contextlib.suppress(OSError):
        new = path.with_name(f"{path.name}.{uuid4().hex}.tmp")  # read by all who read the kernels
        try:
            new.write_text(json.dumps(entries, indent=1), encoding="utf-8")
            replace(new, path)
        except OSError:
            new.unlink(missing_ok=True)


def _difference(old: dict[str, str], new: dict[str, str]) -> str:
    """Say in what kernels made for ``old`` differ from those made for ``new``."""
    changed = [name for name, value in new.items() if old.get(name) != value]
    told = [f"{_TOLD[name]} {old[name]}, now {new[name]}"
            for name in changed if name in _TOLD and name in old]  # fmt: skip
    # A processor of another name has other features, and of those the vectors are a part.
    others = [] if told else [_OTHERS[name] for name in changed if name in _OTHERS]
    return "; ".join(told or others[:1] or ["something else"])


_seen: set[Path] = set()  # folders that this process has given a reason for


def reason(folder: str) -> str:
    """Say why a kernel is not found in a folder, and note that there will be one.

    Parameters
    ----------
    folder : str
        Where the kernels lie.

    Returns
    -------
    str
        The first time in a process, what has changed, if the folder has kernels and none is for
        the present versions and processor; else that these are not the first ones there; empty if
        they are.
    """
    path, now = Path(folder) / _NAME, made_for()
    first = path not in _seen
    _seen.add(path)
    known = _read(path)
    others = [entry for entry in known if entry != now]
    if len(others) == len(known):
        _write(path, [*known, now][-_MOST:])
        if first and known:
            return f"those on the disk are for {_difference(known[-1], now)}"
    return "the first time with these versions on this machine" if others else ""
