"""Numbers with twice the digits of float64: a sum of two, and a bound of the error.

The sums of products, most of the work, are made by a backend (``kernels/reference/twofold.py``).
"""

from typing import NamedTuple

import numpy as np

from accel._support.arrays import Array
from accel._support.backends import resolve
from accel.kernels.reference import twofold as reference
from accel.kernels.reference.twofold import EPS, two_product, two_sum

__all__ = ["EPS", "Twofold", "added", "dot", "total", "two_product", "two_sum"]


class Twofold(NamedTuple):
    """Numbers ``high + low``, with an absolute error of at most ``error``; arrays of one shape."""

    high: Array
    low: Array
    error: Array

    def rounded(self) -> tuple[Array, Array]:
        """The numbers in float64, and a bound of their errors."""
        value = self.high + self.low
        return value, self.error + EPS * np.abs(value)


def total(x: Array) -> Twofold:
    """The sum of x (m,), float64; the error is bounded as that of ``dot`` of the reference."""
    return Twofold(*reference.total(x))


def dot(A: Array, x: Array, backend: str = "auto") -> Twofold:
    """``x' A`` for A (m, k) and x (m,), both float64."""
    return Twofold(*resolve(backend).twofold.dot(A, x))


def added(a: Twofold, b: Array) -> Twofold:
    """``a + b`` for float64 numbers b."""
    high, lost = two_sum(a.high, b)
    return Twofold(high, a.low + lost, a.error + 4 * EPS**2 * (np.abs(a.high) + np.abs(b)))
