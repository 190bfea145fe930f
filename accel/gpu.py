"""The GPU: whether there is one that can be used, and if not, what is missing.

The driver itself is asked, through ctypes: to learn that there is no GPU, nothing is imported.
"""

import ctypes
import os
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from typing import Any

__all__ = ["Gpu", "device", "missing", "simulated"]

_DRIVER = "libcuda.so.1"
_INSTALL = "pip install 'implicit-accel[cuda]'"
_PACKAGES = {"numba-cuda": "numba_cuda", "cupy": "cupy"}  # what to import of them
_OLDEST = {12: (7, 0), 13: (7, 5)}  # compute capability that a CUDA toolkit can compile for
#: Of the enumerations in cuda.h.
_ERROR_NO_DEVICE = 100
_MULTIPROCESSORS, _MAJOR, _MINOR = 16, 75, 76


@dataclass(frozen=True)
class Gpu:
    """The device that is used: the first one that the driver shows.

    Attributes
    ----------
    name : str
    capability : (int, int)
        Compute capability.
    memory : int
        Bytes.
    multiprocessors : int
    cuda : (int, int)
        The newest CUDA that the driver supports.
    """

    name: str
    capability: tuple[int, int]
    memory: int
    multiprocessors: int
    cuda: tuple[int, int]


class _Missing(Exception):
    """Says what is missing."""


def _load() -> Any:
    try:
        return ctypes.CDLL(_DRIVER)
    except OSError:
        raise _Missing(f"no NVIDIA driver: {_DRIVER} was not found") from None


def _toolkit() -> int:
    """Return the major version of the CUDA toolkit that the installed packages bring."""
    for package, module in _PACKAGES.items():
        if find_spec(module) is None:
            raise _Missing(f"the package {package} is not installed: {_INSTALL}")
    try:
        metadata.version("cupy-cuda13x")
    except metadata.PackageNotFoundError:
        return 12
    return 13


def _check(driver: Any, status: int) -> None:
    if status == _ERROR_NO_DEVICE:
        raise _Missing(_no_device())
    if status:
        name = ctypes.c_char_p()
        driver.cuGetErrorName(status, ctypes.byref(name))
        reason = name.value.decode() if name.value else f"error {status}"
        raise _Missing(f"the NVIDIA driver does not work: {reason}")


def _no_device() -> str:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    why = "" if visible is None else f", and CUDA_VISIBLE_DEVICES is {visible!r}"
    return f"no CUDA device was found{why}"


def _number(driver: Any, function: str, *arguments: int, kind: Any = ctypes.c_int) -> int:
    """Call a function of the driver that writes a number through its first argument."""
    number = kind()
    _check(driver, getattr(driver, function)(ctypes.byref(number), *arguments))
    return int(number.value)


def _first(driver: Any, toolkit: int) -> Gpu:
    """Ask the driver for its first device."""
    _check(driver, driver.cuInit(0))
    newest = _number(driver, "cuDriverGetVersion")
    cuda = newest // 1000, newest % 1000 // 10
    if cuda[0] < toolkit:
        raise _Missing(
            f"the NVIDIA driver supports CUDA {cuda[0]}.{cuda[1]}, the installed packages need "
            f"{toolkit}.0: update the driver"
        )
    if not _number(driver, "cuDeviceGetCount"):
        raise _Missing(_no_device())
    handle = _number(driver, "cuDeviceGet", 0)
    text = ctypes.create_string_buffer(256)
    _check(driver, driver.cuDeviceGetName(text, len(text), handle))
    major, minor, multiprocessors = (
        _number(driver, "cuDeviceGetAttribute", attribute, handle)
        for attribute in (_MAJOR, _MINOR, _MULTIPROCESSORS)
    )
    name, oldest = text.value.decode(errors="replace"), _OLDEST[toolkit]
    if (major, minor) < oldest:
        raise _Missing(
            f"{name} has compute capability {major}.{minor}, CUDA {toolkit} needs at least "
            f"{oldest[0]}.{oldest[1]}"
        )
    memory = _number(driver, "cuDeviceTotalMem_v2", handle, kind=ctypes.c_size_t)
    return Gpu(name, (major, minor), memory, multiprocessors, cuda)


@cache
def _found() -> Gpu | str:
    """Return the device, or what is missing; asked once a process."""
    try:
        driver = _load()
        return _first(driver, _toolkit())
    except _Missing as missing:
        return str(missing)


def simulated() -> bool:
    """Whether the CUDA kernels run in Numba's simulator, on the CPU."""
    return os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"


def device() -> Gpu | None:
    """Return the device, if it can be used."""
    found = _found()
    return found if isinstance(found, Gpu) else None


def missing() -> str | None:
    """Return what is missing for a device to be used, in one line; None if nothing is."""
    found = _found()
    return found if isinstance(found, str) else None
