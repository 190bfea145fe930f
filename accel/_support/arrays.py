"""Arrays on the host and on a GPU: how they are told apart, and the ways between.

On the GPU they are CuPy's. Other libraries' arrays become that without a copy, through DLPack or
``__cuda_array_interface__``; CuPy is imported when the first one comes.
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

LARGE = 64 * 2**20  # bytes: a copy above this is worth a word in the log
_CUDA = (2, 13)  # DLPack's kDLCUDA and kDLCUDAManaged


def on_device(a: Any) -> bool:
    """Whether an object is an array in the memory of a CUDA device."""
    if isinstance(a, np.ndarray):
        return False
    if hasattr(a, "__dlpack_device__"):
        return int(a.__dlpack_device__()[0]) in _CUDA
    return hasattr(a, "__cuda_array_interface__")


def as_device(name: str, a: Any) -> Any:
    """Return a CuPy array: without a copy of what is on the device, else with one.

    Raises
    ------
    ValueError
        If there is no device that can be used, or if the array is on another one than the first.
    """
    reason = "NUMBA_ENABLE_CUDASIM is set" if gpu.simulated() else gpu.missing()
    if reason:
        raise ValueError(f"{name} is on a CUDA device, which cannot be used here: {reason}")
    cupy = import_module("cupy")
    if isinstance(a, cupy.ndarray):
        array = a
    elif on_device(a) and hasattr(a, "__dlpack__"):  # it waits for what still writes to the array
        array = cupy.from_dlpack(a)
    else:
        array = cupy.asarray(a)
        if not on_device(a):
            tell(array, "to the GPU")
    if array.device.id != 0:
        raise ValueError(
            f"{name} must be on CUDA device 0, got device {array.device.id}: "
            "choose a device by CUDA_VISIBLE_DEVICES"
        )
    return array


def contiguous(a: Any, dtype: np.dtype[Any]) -> Any:
    """Return a CuPy array in C order and this dtype; itself, not copied, if it is that already."""
    out = import_module("cupy").ascontiguousarray(a, dtype=dtype)
    if out is not a:
        tell(out, "on the GPU")
    return out


def as_host(a: Any) -> Any:
    """Return a NumPy array of anything that is not on a device, without a copy of an array."""
    if hasattr(a, "__dlpack__") and not hasattr(a, "__array__"):
        return np.from_dlpack(a)
    return np.asarray(a)


def to_host(a: Any, out: Any = None) -> Any:
    """Return a NumPy array: a copy, in ``out`` if that is given, of a CuPy array."""
    if not on_device(a):
        return np.asarray(a)
    copy = a.get(out=out)
    tell(copy, "to the host")
    return copy


def tell(copy: Any, where: str) -> None:
    """Say in the log that a copy was made, if it is a large one."""
    if copy.nbytes > LARGE:
        _log.info("copied %s %s (%.0f MiB) %s", copy.shape, copy.dtype, copy.nbytes / 2**20, where)


_LINE = 64  # bytes: a cache line, and the widest vector register


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
    with np.errstate(over="ignore"):  # an overflow to float32 is found by the check that follows
        np.copyto(out, array, casting="same_kind")
    tell(out, "into aligned memory")
    return out


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Memory for such an array, not initialised; a MemoryError if there is not as much."""
    size = math.prod(shape) * dtype.itemsize
    memory.require(f"an array of shape {shape}", size)
    raw = np.empty(size + _LINE, np.uint8)
    start = -raw.__array_interface__["data"][0] % _LINE
    return raw[start : start + size].view(dtype).reshape(shape)


def laid_out(a: Array, dtype: np.dtype[Any]) -> Array:
    """Return an array as the kernels want it, on the side where it is; not copied if it is so."""
    if on_device(a):
        found: Array = contiguous(a, dtype)
        return found
    return aligned(a, dtype)
