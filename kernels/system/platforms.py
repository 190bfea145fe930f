"""Which system and processor this is, and how to ask the libraries of macOS and Windows."""

import ctypes
import platform
import sys
from typing import Any

__all__ = [
    "arm64",
    "described",
    "kernel32",
    "macos",
    "sysctl",
    "sysctl_number",
    "windows",
    "x86",
]

#: What only some systems have has no type on the others.
_ctypes: Any = ctypes


def windows() -> bool:
    """Whether this is Windows."""
    return sys.platform == "win32"


def macos() -> bool:
    """Whether this is macOS."""
    return sys.platform == "darwin"


def x86() -> bool:
    """Whether the processor is a 64-bit one of Intel's kind."""
    return platform.machine() in ("x86_64", "AMD64")


def arm64() -> bool:
    """Whether the processor is a 64-bit Arm; Windows and macOS each have a name of their own."""
    return platform.machine() in ("aarch64", "arm64", "ARM64")


def described() -> str:
    """The name and release of the system, and the kind of processor."""
    return f"{platform.system()} {platform.release()}, {platform.machine()}"


def kernel32() -> Any:
    """The library of Windows' system calls; functions whose types are set are the caller's own."""
    return _ctypes.WinDLL("kernel32")


def sysctl(name: str) -> bytes:
    """Return what macOS knows under a name, as it lies in memory; nothing if it knows none such."""
    library, size = ctypes.CDLL(None), ctypes.c_size_t(0)
    none = (None, ctypes.c_size_t(0))  # nothing is set
    if library.sysctlbyname(name.encode(), None, ctypes.byref(size), *none) != 0:
        return b""
    value = ctypes.create_string_buffer(size.value)
    if library.sysctlbyname(name.encode(), value, ctypes.byref(size), *none) != 0:
        return b""
    return value.raw[: size.value]


def sysctl_number(name: str) -> int:
    """Return a number that macOS knows under a name, of 4 or 8 bytes; 0 if it knows none such."""
    return int.from_bytes(sysctl(name), sys.byteorder)
