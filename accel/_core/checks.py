"""The checks of a problem's data, loss and weights."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from accel._support import arrays, validation
from accel._support.arrays import Array, laid_out
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


def common_dtype(named: dict[str, Array]) -> np.dtype[Any]:
    """Return float32 if the first array is, else float64; TypeError if that would round one."""
    first = next(iter(named.values())).dtype
    dtype = np.dtype(np.float32 if first.kind == "f" and first.itemsize == 4 else np.float64)
    if any(a.dtype.kind == "f" and a.dtype.itemsize > dtype.itemsize for a in named.values()):
        got = " and ".join(f"{name} {a.dtype}" for name, a in named.items())
        raise TypeError(
            f"dtype must be given when values would be rounded, got {got}: "
            f'pass dtype="float32" or dtype="float64"'
        )
    return dtype


def chosen_dtype(dtype: object, named: dict[str, Array], given: Sequence[object]) -> np.dtype[Any]:
    """Return the dtype that the user gave, or without the common one, if it rounds no integer.

    ``given`` is what the arrays were made of.
    """
    if dtype is not None:
        return validation.float_dtype("dtype", dtype)
    common = common_dtype(named)
    for (name, a), before in zip(named.items(), given, strict=True):
        unrounded(name, a, common, before)
    return common


def ready(name: str, a: Array, dtype: np.dtype[Any]) -> Array:
    """Return an array of this dtype, laid out for the kernels; check that it is finite."""
    converted = laid_out(a, dtype)
    validation.all_finite(name, converted, a)
    return converted


def unrounded(name: str, a: Array, dtype: np.dtype[Any], given: object, first: int = 0) -> None:
    """Raise TypeError if ``dtype``, which the user did not give, would round an integer."""
    wider = "" if dtype.itemsize > 4 else ' or "float64", which may hold it'
    advice = f'pass dtype="{dtype}" to have it rounded{wider}'
    validation.unrounded(name, a, dtype, given, advice, first)


@runtime_checkable
class _HasMap(Protocol):
    def end_to_end(self) -> Array: ...


def as_map(W: object) -> object:
    """Return the end-to-end matrix (k, d) of a network, or what else stands for a linear map."""
    return W.end_to_end() if isinstance(W, _HasMap) else W


def checked_weights(W: object, k: int, d: int, *, device: bool = False) -> Array:
    """Check the shape of a linear map: (k, d), or (d,) for k = 1; on a GPU if allowed.

    A network is its end-to-end matrix.
    """
    given = validation.numeric("W", as_map(W), ndim=(1, 2), device=device)
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
