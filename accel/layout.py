"""How data lies in memory: one C-contiguous block on a 64-byte boundary, in one dtype."""

import math
from typing import Any

import numpy as np

from accel import arrays, memory, validation
from accel.validation import Array

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
    if arrays.on_device(a):
        out = aligned_empty(a.shape, a.dtype)
        return aligned(arrays.to_host(a, out), dtype)
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
    arrays.tell(out, "into aligned memory")
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
    if arrays.on_device(a):
        found: Array = arrays.contiguous(a, dtype)
        return found
    return aligned(a, dtype)


def checked_data(X: object, y: object, *, device: bool = False) -> tuple[Array, Array]:
    """Check what can be told of X (n, d) and y (n,) or (n, k) without reading them.

    If one is on a GPU and ``device`` allows that, both will be; else none.
    """
    features = validation.numeric("X", X, ndim=(2,), device=device)
    targets = validation.numeric("y", y, ndim=(1, 2), device=device)
    if len(features) != len(targets):
        raise ValueError(
            f"X and y must have as many rows, got shapes {features.shape} and {targets.shape}"
        )
    if arrays.on_device(features) or arrays.on_device(targets):
        return arrays.as_device("X", features), arrays.as_device("y", targets)
    return features, targets


def common_dtype(X: Array, y: Array) -> np.dtype[Any]:
    """float32 if X is, else float64; refuses to round anything on its own."""
    single = X.dtype.kind == "f" and X.dtype.itemsize == 4
    dtype = np.dtype(np.float32 if single else np.float64)
    if any(a.dtype.kind == "f" and a.dtype.itemsize > dtype.itemsize for a in (X, y)):
        raise TypeError(
            f"dtype must be given when values would be rounded, got X {X.dtype} and y {y.dtype}: "
            f'pass dtype="float32" or dtype="float64"'
        )
    return dtype


def unrounded(name: str, a: Array, dtype: np.dtype[Any], given: object, first: int = 0) -> None:
    """Check that no integer is rounded, which ``dtype`` would ask for."""
    wider = "" if dtype.itemsize > 4 else ' or "float64", which may hold it'
    advice = f'pass dtype="{dtype}" to have it rounded{wider}'
    validation.unrounded(name, a, dtype, given, advice, first)


def checked_weights(W: object, k: int, d: int, *, device: bool = False) -> Array:
    """Check the shape of a linear map: (k, d), or (d,) for k = 1; on a GPU if allowed."""
    given = validation.numeric("W", W, ndim=(1, 2), device=device)
    if given.shape != (k, d) and not (k == 1 and given.shape == (d,)):
        raise ValueError(f"W must have shape {(k, d)}, got {given.shape}")
    return given
