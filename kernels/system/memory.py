"""The memory that this process may still take, and the size of its pages."""

import ctypes
import math
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

from . import platforms

__all__ = ["available", "page_bytes"]

_PROC = Path("/proc")
_GROUPS = Path("/sys/fs/cgroup")
#: File names of limit and usage, and the prefix of entries in ``memory.stat``, by the name of the
#: hierarchy in ``/proc/self/cgroup``: empty for version 2 of control groups.
_FILES = {
    "": ("memory.max", "memory.current", ""),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
}


class _Status(ctypes.Structure):
    """MEMORYSTATUSEX of Windows."""

    _fields_ = [
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("total_physical", ctypes.c_uint64),
        ("available_physical", ctypes.c_uint64),
        ("total_commit", ctypes.c_uint64),
        ("available_commit", ctypes.c_uint64),
        ("total_virtual", ctypes.c_uint64),
        ("available_virtual", ctypes.c_uint64),
        ("available_extended_virtual", ctypes.c_uint64),
    ]


def page_bytes() -> int:
    """Return the bytes of a page: 4 KiB on most machines, 16 or 64 on some with Arm processors."""
    return mmap.PAGESIZE


def available() -> float:
    """Return the bytes that this process may still take: the least that any limit leaves.

    Limits are those of the machine, of the containers and of the process. Pages of files that the
    system can drop count as free, and so does swap.

    Returns
    -------
    float
        Infinite if the system tells no limit.
    """
    if platforms.windows():
        return _of_windows()
    machine = _of_macos() if platforms.macos() else _of_linux()
    return min([machine, *_containers(), _limit()])


def _numbers(path: Path, separator: str | None = None) -> dict[str, int]:
    """Read a file with a name and a number in each line; other lines are left out."""
    rows = [line.split(separator) for line in path.read_text().splitlines()]
    return {row[0]: int(row[1].split()[0]) for row in rows if len(row) > 1}


def _of_linux() -> float:
    try:
        sizes = _numbers(_PROC / "meminfo", ":")
        return 1024.0 * (sizes["MemAvailable"] + sizes.get("SwapFree", 0))
    except (OSError, ValueError, KeyError):
        return _physical()


def _physical() -> float:
    """Return the bytes of memory of a POSIX system."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return math.inf


def _of_macos() -> float:
    """Return the part of the memory that the kernel says it could free, or all if it does not say.

    Free pages alone would be far too few: the system fills the memory with what it can drop.
    """
    size = platforms.sysctl_number("hw.memsize") or _physical()
    percent = platforms.sysctl_number("kern.memorystatus_level")
    return size * percent / 100 if percent else float(size)


def _of_windows() -> float:
    """Return what may still be committed: Windows promises no memory that it does not have."""
    status = _Status(length=ctypes.sizeof(_Status))
    if not platforms.kernel32().GlobalMemoryStatusEx(ctypes.byref(status)):
        return math.inf
    return float(min(status.available_commit, status.available_virtual))


def _containers() -> Iterator[float]:
    """Yield the bytes left by each limit of the control groups that this process is in."""
    try:
        lines = (_PROC / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, hierarchy, path = line.split(":", 2)
        if hierarchy not in _FILES:
            continue
        limit, usage, prefix = _FILES[hierarchy]
        root = _GROUPS / hierarchy
        # In a container its own group may be mounted as the root, whatever the path says.
        inside = root / path.lstrip("/")
        for group in (inside, *inside.parents):
            if not group.is_relative_to(root):
                break
            try:
                most, used = (int((group / name).read_text()) for name in (limit, usage))
                pages = _numbers(group / "memory.stat")
            except (OSError, ValueError):
                continue  # no such group here, or no limit ("max")
            files = (pages.get(f"{prefix}{kind}_file", 0) for kind in ("active", "inactive"))
            yield float(max(most - used + sum(files), 0))


def _limit() -> float:
    """Return the bytes left by the limit of this process, ``ulimit -v``."""
    try:
        import resource

        most, _ = resource.getrlimit(resource.RLIMIT_AS)
        if most == resource.RLIM_INFINITY:
            return math.inf
        pages = int((_PROC / "self" / "statm").read_text().split()[0])
    except (ImportError, OSError, ValueError):
        return math.inf
    return float(max(most - pages * page_bytes(), 0))
