"""Whether there is a GPU that can be used, and if not, what is missing.

The driver is called through ctypes, so that nothing is imported where there is no GPU. Compilers
are looked for only where there is one.
"""

import ctypes
import os
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

from accel._support import toolkit
from accel.kernels.system import nvidia

__all__ = ["Gpu", "device", "missing", "simulated"]

_PACKAGES = {"numba-cuda": "numba_cuda", "cupy": "cupy"}  # packages, and a module of each
_OLDEST = {12: (7, 0), 13: (7, 5)}  # by CUDA version, the oldest compute capability it supports
#: Values of enumerations in cuda.h.
_ERROR_NO_DEVICE = 100
_MULTIPROCESSORS, _MAJOR, _MINOR = 16, 75, 76


@dataclass(frozen=True)
class Gpu:
    """The device that is used, the first of the driver's.

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
    """Something is missing; the message says what."""


def _load() -> Any:
    try:
        return nvidia.load_driver()
    except OSError:
        raise _Missing(f"no NVIDIA driver: {nvidia.driver_library()} was not found") from None


def _packages(cuda: int) -> None:
    """Check that there are the packages; the driver supports that major version of CUDA."""
    for package, module in _PACKAGES.items():
        if find_spec(module) is None:
            remedy = toolkit.install(toolkit.present() or cuda)
            raise _Missing(f"the package {package} is not installed: {remedy}")


def _compilers() -> dict[str, int]:
    """Look for compilers and CuPy; return the major CUDA version of each, where it is known."""
    libraries = {name: toolkit.find(name) for name in (*toolkit.NEEDED, "nvJitLink")}
    for name in toolkit.NEEDED:
        if (library := libraries[name]) and library.problem:
            raise _Missing(f"{name} cannot be loaded: {library.problem}")
    absent = [name for name in toolkit.NEEDED if (library := libraries[name]) and library.absent]
    if absent:
        raise _Missing(toolkit.absence(absent))
    majors = {name: library.major for name, library in libraries.items() if library is not None}
    if (built := toolkit.cupy()) is not None:
        majors["CuPy"] = built.major
    return {name: major for name, major in majors.items() if major is not None}


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
    """Call a function of the driver whose first argument is a pointer to the number it writes."""
    number = kind()
    _check(driver, getattr(driver, function)(ctypes.byref(number), *arguments))
    return int(number.value)


def _first(driver: Any) -> Gpu:
    """Return the driver's first device."""
    _check(driver, driver.cuInit(0))
    newest = _number(driver, "cuDriverGetVersion")
    if not _number(driver, "cuDeviceGetCount"):
        raise _Missing(_no_device())
    handle = _number(driver, "cuDeviceGet", 0)
    text = ctypes.create_string_buffer(256)
    _check(driver, driver.cuDeviceGetName(text, len(text), handle))
    major, minor, multiprocessors = (
        _number(driver, "cuDeviceGetAttribute", attribute, handle)
        for attribute in (_MAJOR, _MINOR, _MULTIPROCESSORS)
    )
    memory = _number(driver, "cuDeviceTotalMem_v2", handle, kind=ctypes.c_size_t)
    return Gpu(
        text.value.decode(errors="replace"),
        (major, minor),
        memory,
        multiprocessors,
        (newest // 1000, newest % 1000 // 10),
    )


def _check_compilers(gpu: Gpu) -> None:
    """Check that there are compilers that support this device and are no newer than its driver."""
    majors = _compilers()
    # Every driver of CUDA 12 reads the PTX that libnvvm is asked for, see kernels/cuda/jit.py.
    older = ""  # what else helps, if CUDA 12 supports this device and its driver
    if gpu.cuda[0] >= 12 and gpu.capability >= _OLDEST[12]:
        older = f"in a new environment, {toolkit.install(12)}"
    for name, major in majors.items():
        if name not in ("libnvvm", "libdevice") and gpu.cuda[0] < major:
            raise _Missing(
                f"the NVIDIA driver supports CUDA {gpu.cuda[0]}.{gpu.cuda[1]}, {name} needs "
                f"{major}.0: update the driver{older and f', or, {older}'}"
            )
    for name, major in majors.items():
        oldest = _OLDEST[min(max(major, min(_OLDEST)), max(_OLDEST))]
        if gpu.capability < oldest:
            raise _Missing(
                f"{gpu.name} has compute capability {gpu.capability[0]}.{gpu.capability[1]}, CUDA "
                f"{major} ({name}) needs at least {oldest[0]}.{oldest[1]}{older and f': {older}'}"
            )


@cache
def _device_or_reason() -> Gpu | str:
    """Return the device, or what is missing; looked up once a process."""
    try:
        driver = _load()
        _packages(_number(driver, "cuDriverGetVersion") // 1000)
        gpu = _first(driver)
        _check_compilers(gpu)
        return gpu
    except _Missing as missing:
        return str(missing)


def simulated() -> bool:
    """Whether the CUDA kernels run in Numba's simulator, on the CPU."""
    return os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"


def device() -> Gpu | None:
    """Return the device, or None if none can be used."""
    answer = _device_or_reason()
    return answer if isinstance(answer, Gpu) else None


def missing() -> str | None:
    """Return in one line what is missing for a device to be used, or None if nothing is."""
    answer = _device_or_reason()
    return answer if isinstance(answer, str) else None
