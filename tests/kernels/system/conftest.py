"""Systems other than this one: stand-ins for the libraries that macOS and Windows are asked by."""

import ctypes
import os
import struct
import sys
from types import SimpleNamespace

import pytest

from accel.kernels.system import caches, platforms

THIS_PROCESS = 2**64 - 1  # the handle that GetCurrentProcess returns, -1 in 64 bits


class Mac:
    """The C library of a Mac that knows these names: numbers of 8 or 4 bytes, or texts."""

    def __init__(self, known):
        self.known = {name: self._laid_out(value) for name, value in known.items()}

    @staticmethod
    def _laid_out(value):
        if isinstance(value, str):
            return value.encode() + b"\0"
        return struct.pack("=q", value) if value >= 2**31 else struct.pack("=i", value)

    def sysctlbyname(self, name, value, size, new, new_size):
        assert (new, new_size.value) == (None, 0)
        known = self.known.get(name.decode())
        if known is None:
            return -1
        if value is not None:
            assert size._obj.value >= len(known)
            ctypes.memmove(value, known, len(known))
        size._obj.value = len(known)
        return 0


class Windows:
    """Windows' kernel32, with structures as its headers lay them out."""

    def __init__(self, mask=0, caches=(), memory=None):
        self.mask, self.caches, self.memory = mask, caches, memory
        self.names = []

        def current():
            return THIS_PROCESS if current.restype is ctypes.c_void_p else -1

        self.GetCurrentProcess = current

    def GetProcessAffinityMask(self, process, mine, all_):
        assert process.value == THIS_PROCESS
        if self.mask is None:
            return 0
        mine._obj.value, all_._obj.value = self.mask, 2**63 - 1
        return 1

    def GetLogicalProcessorInformation(self, rows, size):
        """``caches`` has masks, relationships, levels, sizes and types."""
        content = b"".join(
            struct.pack("<QIxxxxBBHIIxxxx", mask, relationship, level, 8, 64, length, kind)
            for mask, relationship, level, length, kind in self.caches
        )
        enough = size._obj.value >= len(content) > 0
        size._obj.value = len(content)
        if enough:
            ctypes.memmove(rows, content, len(content))
        return int(enough)

    def GlobalMemoryStatusEx(self, status):
        """``memory`` has what is available of physical, committed and virtual memory."""
        assert status._obj.length == 64
        if self.memory is None:
            return 0
        physical, committed, virtual = self.memory
        numbers = (2**40, physical, 2**41, committed, 2**47, virtual, 0)
        content = struct.pack("<IIQQQQQQQ", 64, 50, *numbers)
        ctypes.memmove(ctypes.addressof(status._obj), content, len(content))
        return 1


@pytest.fixture
def on(monkeypatch):
    """Set which system this is: ``on("darwin", library)`` or ``on("win32", library)``."""

    def on(name, library=None):
        def load(asked):
            loaded.append(asked)
            return library

        loaded = []
        monkeypatch.setattr(
            platforms, "sys", SimpleNamespace(platform=name, byteorder=sys.byteorder)
        )
        if name != "linux":
            monkeypatch.delattr(os, "sched_getaffinity", raising=False)
        monkeypatch.setattr(ctypes, "CDLL", load)
        monkeypatch.setattr(ctypes, "WinDLL", load, raising=False)
        caches.cache_bytes.cache_clear()
        return loaded

    yield on
    caches.cache_bytes.cache_clear()
