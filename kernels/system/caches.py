"""The sizes of the caches of the first CPU, and those that are assumed if no system tells them."""

import ctypes
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from . import platforms

__all__ = ["Cache", "cache_bytes", "caches"]

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_UNITS = {"K": 1024, "M": 1024**2, "G": 1024**3}

#: Bytes by level where the system does not say: those of most laptops and cloud machines.
_ASSUMED = {1: 32 * 1024, 2: 512 * 1024, 3: 8 * 1024**2}
#: On 64-bit Arm, where virtual machines often say nothing: as servers and Apple silicon have.
_ASSUMED_ARM = {1: 64 * 1024, 2: 1024**2, 3: 8 * 1024**2}

#: The names of macOS, that of a performance core first. Where there are several kinds of cores, the
#: second is that of the smallest.
_SYSCTL = {
    1: ("hw.perflevel0.l1dcachesize", "hw.l1dcachesize"),
    2: ("hw.perflevel0.l2cachesize", "hw.l2cachesize"),
    3: ("hw.perflevel0.l3cachesize", "hw.l3cachesize"),
}

#: Values of enumerations in Windows' winnt.h.
_RELATION_CACHE, _UNIFIED, _DATA = 2, 0, 2


class Cache(NamedTuple):
    """A cache of data, or of data and instructions.

    Attributes
    ----------
    level : int
    size : int
        Bytes.
    users : str
        The CPUs that share it, such as "0-1"; empty if the system does not tell.
    """

    level: int
    size: int
    users: str


class _Description(ctypes.Structure):
    """CACHE_DESCRIPTOR, then what makes it as long as the union that it is a part of."""

    _fields_ = [
        ("level", ctypes.c_uint8),
        ("associativity", ctypes.c_uint8),
        ("line", ctypes.c_uint16),
        ("size", ctypes.c_uint32),
        ("type", ctypes.c_uint32),
        ("rest", ctypes.c_uint32),
    ]


class _Information(ctypes.Structure):
    """SYSTEM_LOGICAL_PROCESSOR_INFORMATION of 64-bit Windows."""

    _fields_ = [
        ("mask", ctypes.c_uint64),
        ("relationship", ctypes.c_uint32),
        ("padding", ctypes.c_uint32),
        ("cache", _Description),
    ]


@cache
def cache_bytes(level: int) -> int:
    """Return the bytes of the data cache of a level, 1, 2 or 3, as stated or else assumed."""
    assumed = (_ASSUMED_ARM if platforms.arm64() else _ASSUMED)[level]
    return next((each.size for each in caches() if each.level == level), assumed)


def caches() -> list[Cache]:
    """Return the caches of the first CPU that hold data; none if the system does not tell."""
    if platforms.macos():
        return list(_of_macos())
    return list(_of_windows() if platforms.windows() else _of_linux())


def _of_linux() -> Iterator[Cache]:
    for index in sorted(_CACHES.glob("index*")):
        try:
            kind, level, size = (
                (index / name).read_text().strip() for name in ("type", "level", "size")
            )
            if kind not in ("Data", "Unified"):
                continue
            told = (int(level), int(size[:-1]) * _UNITS[size[-1]])
        except (OSError, ValueError, KeyError, IndexError):
            continue  # as where a virtual machine hides some of it
        try:
            users = (index / "shared_cpu_list").read_text().strip()
        except OSError:
            users = ""
        yield Cache(*told, users)


def _of_macos() -> Iterator[Cache]:
    for level, names in _SYSCTL.items():
        size = next(filter(None, map(platforms.sysctl_number, names)), 0)
        if size:
            yield Cache(level, size, "")


def _of_windows() -> Iterator[Cache]:
    library, size = platforms.kernel32(), ctypes.c_uint32(0)
    library.GetLogicalProcessorInformation(None, ctypes.byref(size))  # asks for the size alone
    rows = (_Information * (size.value // ctypes.sizeof(_Information)))()
    if not library.GetLogicalProcessorInformation(rows, ctypes.byref(size)):
        return
    for row in rows:
        of_data = row.relationship == _RELATION_CACHE and row.cache.type in (_UNIFIED, _DATA)
        if of_data and row.mask & 1:
            yield Cache(row.cache.level, row.cache.size, _ranges(row.mask))


def _ranges(mask: int) -> str:
    """Write the bits that are set as Linux does, such as "0-3,8"."""
    ranges, bit = [], 0
    while mask >> bit:
        end = bit
        while mask >> end & 1:
            end += 1
        if end > bit:
            ranges.append(str(bit) if end == bit + 1 else f"{bit}-{end - 1}")
        bit = end + 1
    return ",".join(ranges)
