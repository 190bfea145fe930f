"""What memory there is, asked before much of it is taken.

Linux grants memory that it does not have, and kills the process that uses it. An estimate in
advance makes an error of that, at once and with a reason.
"""

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

__all__ = ["available", "require"]

_SMALL = 64 * 2**20  # bytes: up to here it is not worth asking
_PROC = Path("/proc")
_GROUPS = Path("/sys/fs/cgroup")
#: By the name of the hierarchy in ``/proc/self/cgroup``, which version 2 has none for.
_FILES = {
    "": ("memory.max", "memory.current", ""),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
}


def available() -> float:
    """Bytes that this process may still take: of the machine, its container and its own limit.

    Pages of files that the system would let go of count as free, and so does swap.

    Returns
    -------
    float
        Infinite where nothing is told.
    """
    return min([_machine(), *_containers(), _limit()])


def _numbers(path: Path, separator: str | None = None) -> dict[str, int]:
    """Of a file with a name and a number a line, those that are one."""
    rows = [line.split(separator) for line in path.read_text().splitlines()]
    return {row[0]: int(row[1].split()[0]) for row in rows if len(row) > 1}


def _machine() -> float:
    try:
        told = _numbers(_PROC / "meminfo", ":")
        return 1024.0 * (told["MemAvailable"] + told.get("SwapFree", 0))
    except (OSError, ValueError, KeyError):
        pass  # not Linux
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return math.inf


def _containers() -> Iterator[float]:
    """What is left of the limits of the control groups around this process."""
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
        # Within a container its own group may be the root, whatever the path says.
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
    """What is left of ``ulimit -v``."""
    try:
        import resource

        most, _ = resource.getrlimit(resource.RLIMIT_AS)
        if most == resource.RLIM_INFINITY:
            return math.inf
        pages = int((_PROC / "self" / "statm").read_text().split()[0])
    except (ImportError, OSError, ValueError):
        return math.inf
    return float(max(most - pages * resource.getpagesize(), 0))


def shown(size: float) -> str:
    """A number of bytes as people read it."""
    unit = "MiB"
    size /= 2**20
    for larger in ("GiB", "TiB", "PiB", "EiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.{0 if size >= 100 else 1}f} {unit}"


def require(what: str, needs: Mapping[str, float] | float) -> None:
    """Refuse what needs more memory than there is.

    Parameters
    ----------
    what : str
        Begins the message.
    needs : float, or mapping of str to float
        Bytes, an estimate. Of several parts the message names the largest.

    Raises
    ------
    MemoryError
    """
    parts = needs if isinstance(needs, Mapping) else {"": needs}
    total = sum(parts.values())
    if total <= _SMALL or total <= (room := available()):
        return
    largest = max(parts, key=lambda name: parts[name])
    mostly = f", {shown(parts[largest])} of it for {largest}" if largest else ""
    raise MemoryError(
        f"{what} needs about {shown(total)} of memory{mostly}, but {shown(room)} are available"
    )
