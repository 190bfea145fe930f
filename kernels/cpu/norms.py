"""Norms whose squares may overflow or vanish though they themselves do neither.

The sum of squares is tried first: only where it is out of range are the numbers scaled, so that the
ordinary case costs nothing. ``in_order``, since ``reassoc`` may undo the scaling. ``values`` is a
pointer to ``count`` numbers.
"""

import numpy as np

from .jit import in_order, inner

#: Below this a sum of squares may lack digits, or terms, that have vanished.
_LEAST = 1e-290


@in_order
def largest(values, count):
    """The largest absolute value, in float64; unspecified if there is a NaN."""
    most = 0.0
    for i in range(count):
        most = max(most, abs(np.float64(values[i])))
    return most


@inner
def out_of_range(square):
    """Whether a sum of squares in float64 has overflowed, or may have lost digits at the bottom."""
    return square < _LEAST or square == np.inf


@in_order
def _scaled_norm(values, count):
    unit = largest(values, count)
    if unit == 0.0 or unit == np.inf:
        return unit
    total = 0.0
    for i in range(count):
        part = np.float64(values[i]) / unit
        total += part * part
    return unit * np.sqrt(total)


@inner
def sum_of_squares(values, count):
    """The sum of squares, in float64 whatever the dtype, which may be out of range."""
    total = 0.0
    for i in range(count):
        total += np.float64(values[i]) * np.float64(values[i])
    return total


@inner
def root(square, values, count):
    """The Euclidean norm of numbers whose squares have been added up."""
    return _scaled_norm(values, count) if out_of_range(square) else np.sqrt(square)


@inner
def norm(values, count):
    """The Euclidean norm, in float64 whatever the dtype."""
    return root(sum_of_squares(values, count), values, count)
