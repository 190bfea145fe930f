"""Sizes of this processor's caches, as the system states them."""

from functools import cache
from pathlib import Path

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
#: Bytes where the system does not say: those of the smallest processors of the last ten years.
_FALLBACK = {1: 32 * 1024, 2: 256 * 1024, 3: 2 * 1024 * 1024}
_UNITS = {"K": 1024, "M": 1024**2, "G": 1024**3}


@cache
def cache_bytes(level: int) -> int:
    """Return the bytes of the data cache of a level: 1, 2 or 3.

    Linux states them under ``/sys``; elsewhere, and where that cannot be read, 32 KiB, 256 KiB and
    2 MiB are assumed.
    """
    for index in sorted(_CACHES.glob("index*")):
        try:
            kind, at, size = (
                (index / name).read_text().strip() for name in ("type", "level", "size")
            )
            if kind in ("Data", "Unified") and int(at) == level:
                return int(size[:-1]) * _UNITS[size[-1]]
        except (OSError, ValueError, KeyError, IndexError):
            continue
    return _FALLBACK[level]
