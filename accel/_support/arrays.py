"""Arrays on the host and on a GPU: where one is, copies between the two, and the layout in memory.

On the host they are NumPy arrays, on a GPU CuPy arrays. Other libraries' arrays on a GPU become
CuPy arrays without a copy, through DLPack or ``__cuda_array_interface__``. CuPy is imported when
the first one is passed.
"""

import logging
import math
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel._support import gpu, memory

__all__ = [
    "LARGE",
    "Array",
    "aligned",
    "aligned_empty",
    "as_device",
    "as_host",
    "contiguous",
    "laid_out",
    "on_device",
    "to_host",
]

Array = NDArray[Any]

_log = logging.getLogger("accel")

LARGE = 64 * 2**20  # bytes: larger copies are mentioned in the log
_CUDA = (2, 13)  # DLPack's kDLCUDA and kDLCUDAManaged


def on_device(a: Any) -> bool:
    """Whether an object is an array in the memory of a CUDA device."""
    if isinstance(a, np.ndarray):
        return False
    if hasattr(a, "__dlpack_device__"):
        return int(a.__dlpack_device__()[0]) in _CUDA
    return hasattr(a, "__cuda_array_interface__")


def as_device(name: str, a: Any) -> Any:
    """Return a CuPy array: a view of what is on the device, a copy of what is on the host.

    Raises
    ------
    ValueError
        If there is no device that can be used, or if the array is on another device than the first.
    """
    reason = "NUMBA_ENABLE_CUDASIM is set" if gpu.simulated() else gpu.missing()
    if reason:
        raise ValueError(f"{name} is on a CUDA device, which cannot be used here: {reason}")
    cupy = import_module("cupy")
    if isinstance(a, cupy.ndarray):
        array = a
    elif on_device(a) and hasattr(a, "__dlpack__"):  # waits for kernels that write to the array
        array = cupy.from_dlpack(a)
    else:
        array = cupy.asarray(a)
        if not on_device(a):
            log_copy(array, "to the GPU")
    if array.device.id != 0:
        raise ValueError(
            f"{name} must be on CUDA device 0, got device {array.device.id}: "
            "choose a device by CUDA_VISIBLE_DEVICES"
        )
    return array


def contiguous(a: Any, dtype: np.dtype[Any]) -> Any:
    """Return a CuPy array in C order and of this dtype; ``a`` itself if it is like that."""
    out = import_module("cupy").ascontiguousarray(a, dtype=dtype)
    if out is not a:
        log_copy(out, "on the GPU")
    return out


def as_host(a: Any) -> Any:
    """Return a NumPy array of anything that is not on a device; arrays are not copied."""
    if hasattr(a, "__dlpack__") and not hasattr(a, "__array__"):
        return np.from_dlpack(a)
    return np.asarray(a)


def to_host(a: Any, out: Any = None) -> Any:
    """Return a NumPy array; a CuPy array is copied, to ``out`` if that is given."""
    if not on_device(a):
        return np.asarray(a)
    copy = a.get(out=out)
    log_copy(copy, "to the host")
    return copy


def log_copy(copy: Any, where: str) -> None:
    """Log that a copy was made, if it is large."""
    if copy.nbytes > LARGE:
        _log.info("copied %s %s (%.0f MiB) %s", copy.shape, copy.dtype, copy.nbytes / 2**20, where)


_LINE = 64  # bytes: the size of a cache line, and of the widest vector register


def aligned(a: Any, dtype: Any = None) -> Array:
    """Return ``a`` as a C-contiguous NumPy array that starts on a 64-byte boundary.

    Parameters
    ----------
    a : array_like or CuPy array
    dtype : dtype, optional
        Of the result; that of ``a`` by default.

    Returns
    -------
    ndarray
        ``a`` itself, not copied, if it is laid out like that already.
    """
    if on_device(a):
        out = aligned_empty(a.shape, a.dtype)
        return aligned(to_host(a, out), dtype)
    array: Array = np.asarray(a)
    dtype = array.dtype if dtype is None else np.dtype(dtype)
    if (
        array.dtype == dtype
        and array.flags.c_contiguous
        and array.__array_interface__["data"][0] % _LINE == 0
    ):
        return array
    out = aligned_empty(array.shape, dtype)
    with np.errstate(over="ignore"):  # the check that follows reports an overflow
        np.copyto(out, array, casting="same_kind")
    log_copy(out, "into aligned memory")
    return out


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return an uninitialised C-contiguous NumPy array that starts on a 64-byte boundary.

    Raises MemoryError if there is not enough memory.
    """
    size = math.prod(shape) * dtype.itemsize
    memory.require(f"an array of shape {shape}", size)
    raw = np.empty(size + _LINE, np.uint8)
    start = -raw.__array_interface__["data"][0] % _LINE
    return raw[start : start + size].view(dtype).reshape(shape)


def laid_out(a: Array, dtype: np.dtype[Any]) -> Array:
    """Return the array as kernels need it, on the host or the GPU, wherever it is.

    It is not copied if it is of this dtype and laid out like that already.
    """
    if on_device(a):
        ready: Array = contiguous(a, dtype)
        return ready
    return aligned(a, dtype)
