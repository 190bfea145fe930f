"""Norms whose squares may overflow or vanish though they themselves do neither."""

import math

import numpy as np

from ..protocols import Array


def norm(A: Array) -> float:
    """The Frobenius norm, a float, in float64 whatever the dtype; error at most ``size eps``."""
    A = A.astype(np.float64)
    unit = float(np.max(np.abs(A)))
    if not 0 < unit < math.inf:  # or NaN
        return unit
    return unit * float(np.linalg.norm(A / unit))
