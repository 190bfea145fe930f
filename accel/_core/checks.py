"""The checks of a problem's data, loss and weights."""

from typing import Any

import numpy as np

from accel._support import arrays, validation
from accel._support.arrays import Array
from accel.losses import Loss, Lp


def checked_data(X: object, y: object, *, device: bool = False) -> tuple[Array, Array]:
    """Check X (n, d) and y (n,) or (n, k) as far as possible without reading their numbers.

    Both are returned on the GPU if one is there and ``device`` allows that, else on the host.
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


def common_dtype(X: Array, y: Array, name: str = "X") -> np.dtype[Any]:
    """Return float32 if X is, else float64; raise TypeError if that would round X or y."""
    single = X.dtype.kind == "f" and X.dtype.itemsize == 4
    dtype = np.dtype(np.float32 if single else np.float64)
    if any(a.dtype.kind == "f" and a.dtype.itemsize > dtype.itemsize for a in (X, y)):
        raise TypeError(
            f"dtype must be given when values would be rounded, "
            f"got {name} {X.dtype} and y {y.dtype}: "
            f'pass dtype="float32" or dtype="float64"'
        )
    return dtype


def unrounded(name: str, a: Array, dtype: np.dtype[Any], given: object, first: int = 0) -> None:
    """Raise TypeError if ``dtype``, which the user did not give, would round an integer."""
    wider = "" if dtype.itemsize > 4 else ' or "float64", which may hold it'
    advice = f'pass dtype="{dtype}" to have it rounded{wider}'
    validation.unrounded(name, a, dtype, given, advice, first)


def checked_weights(W: object, k: int, d: int, *, device: bool = False) -> Array:
    """Check the shape of a linear map: (k, d), or (d,) for k = 1; on a GPU if allowed."""
    given = validation.numeric("W", W, ndim=(1, 2), device=device)
    if given.shape != (k, d) and not (k == 1 and given.shape == (d,)):
        raise ValueError(f"W must have shape {(k, d)}, got {given.shape}")
    return given


def checked_method(loss: Loss, method: str, dtype: np.dtype[Any], methods: tuple[str, ...]) -> None:
    """Check a method, one of ``methods``, against loss and dtype."""
    validation.choice("method", method, methods)
    if method in ("gram", "spectral") and not loss.quadratic:
        raise ValueError(f"method {method!r} needs p = 2, got {_shown(loss)}")
    if method == "gram" and dtype != np.float64:
        raise ValueError(f"method 'gram' needs float64, got dtype {dtype}: it would lose digits")


def _shown(loss: Loss) -> str:
    return f"p = {loss.p:g}" if isinstance(loss, Lp) else f"the loss {loss!r}"
