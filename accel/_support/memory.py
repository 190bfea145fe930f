"""Available memory, which is checked before much of it is taken.

Linux grants memory that it does not have, and kills the process that uses it. With an estimate in
advance there is a MemoryError instead, at once and with a reason.
"""

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = ["available", "readable_size", "require"]

_SMALL = 64 * 2**20  # bytes: less is not checked
_PROC = Path("/proc")
_GROUPS = Path("/sys/fs/cgroup")
#: File names of limit and usage, and the prefix of entries in ``memory.stat``, by the name of the
#: hierarchy in ``/proc/self/cgroup``: empty for version 2 of control groups.
_FILES = {
    "": ("memory.max", "memory.current", ""),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
}


def available() -> float:
    """Return the bytes that this process may still take: the least that any limit leaves.

    Limits are those of the machine, of the containers and of the process. Pages of files that the
    system can drop count as free, and so does swap.

    Returns
    -------
    float
        Infinite if the system tells no limit.
    """
    return min([_machine(), *_containers(), _limit()])


def _numbers(path: Path, separator: str | None = None) -> dict[str, int]:
    """Read a file with a name and a number in each line; other lines are left out."""
    rows = [line.split(separator) for line in path.read_text().splitlines()]
    return {row[0]: int(row[1].split()[0]) for row in rows if len(row) > 1}


def _machine() -> float:
    try:
        sizes = _numbers(_PROC / "meminfo", ":")
        return 1024.0 * (sizes["MemAvailable"] + sizes.get("SwapFree", 0))
    except (OSError, ValueError, KeyError):
        pass  # not Linux
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return math.inf


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
    return float(max(most - pages * resource.getpagesize(), 0))


def readable_size(size: float) -> str:
    """Return a number of bytes as text for people, from MiB to EiB."""
    unit = "MiB"
    size /= 2**20
    for larger in ("GiB", "TiB", "PiB", "EiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.{0 if size >= 100 else 1}f} {unit}"


def require(what: str, needs: Mapping[str, float] | float) -> None:
    """Raise MemoryError if something needs more memory than is available.

    Parameters
    ----------
    what : str
        What needs it: the beginning of the message.
    needs : float, or mapping of str to float
        Estimate in bytes. If it has several parts, the message names the largest.

    Raises
    ------
    MemoryError
    """
    parts = needs if isinstance(needs, Mapping) else {"": needs}
    total = sum(parts.values())
    if total <= _SMALL or total <= (room := available()):
        return
    largest = max(parts, key=lambda name: parts[name])
    mostly = f", {readable_size(parts[largest])} of it for {largest}" if largest else ""
    raise MemoryError(
        f"{what} needs about {readable_size(total)} of memory{mostly}, "
        f"but {readable_size(room)} are available"
    )
