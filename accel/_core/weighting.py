r"""Sample weights: the rows and targets whose mean loss is the weighted mean of the user's.

A loss with :math:`\ell(c m, c y) = c^s \ell(m, y)` for all c > 0 takes weights by its data: the
sample of weight w is the one whose row and target are both multiplied by :math:`w^{1/s}`.
"""

from typing import Any

import numpy as np

from accel._support import arrays, validation
from accel._support.arrays import Array, aligned_empty
from accel.losses import Loss

__all__ = ["checked_sample_weight", "kept_rows", "required_degree", "scaled_rows", "weight_roots"]

_BLOCK = 2**16  # numbers that are converted to float64 at a time


def checked_sample_weight(value: Any, n: int) -> Array:
    """Return the weights of n samples in float64, on the host.

    Raises
    ------
    TypeError, ValueError
        If they are no n finite real numbers of at least 0, or all 0.
    """
    given = validation.numeric("sample_weight", value, ndim=(1,))
    if len(given) != n:
        raise ValueError(f"sample_weight must hold a number for each of {n} rows, got {len(given)}")
    weight = given.astype(np.float64)
    validation.all_finite("sample_weight", weight, given)
    if (weight < 0).any():
        row = int(np.argmax(weight < 0))
        raise ValueError(f"sample_weight must be >= 0, got sample_weight[{row}] = {weight[row]:g}")
    if not weight.any():
        raise ValueError("sample_weight must not be 0 for every sample")
    return weight


def required_degree(loss: Loss) -> float:
    """Return the s of a loss that takes sample weights.

    Raises
    ------
    ValueError
        If the loss takes none.
    """
    if loss.degree is None:
        raise ValueError(
            f"sample_weight is for losses that scale with the residual, Lp, Pinball and Expectile, "
            f"got {loss!r}: repeat rows instead"
        )
    return loss.degree


def weight_roots(weight: Array, degree: float) -> Array:
    """The factors (n,) of the rows that make the loss the weighted mean; weights above 0."""
    share = weight / weight.max()  # so that no mean overflows
    root: Array = (share / share.mean()) ** (1 / degree)
    return root


def kept_rows(a: Array, kept: Array) -> Array:
    """Return the rows of an array, wherever it is, for which kept (n,) is True."""
    rows: Array = a[arrays.as_device("sample_weight", kept) if arrays.on_device(a) else kept]
    return rows


def scaled_rows(a: Array, root: Array, dtype: np.dtype[Any]) -> Array:
    """Return every row times its root, in this dtype, where ``a`` is; products are in float64."""
    if arrays.on_device(a):
        column = arrays.as_device("sample_weight", root).reshape(-1, 1)
        return arrays.laid_out(a * column, dtype)
    out = aligned_empty(a.shape, dtype)
    rows = max(1, _BLOCK // a.shape[1])
    for begin in range(0, len(a), rows):
        part = slice(begin, begin + rows)
        np.multiply(a[part], root[part, np.newaxis], out=out[part], casting="same_kind")
    return out
