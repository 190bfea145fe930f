"""Mean and scale of every column of a table, and conversions to standard units and back.

Where a column lies far from 0 beside its spread, its mean needs more digits than float64 holds: at
1e15 neighbouring numbers are 0.125 apart. So a mean is two numbers, the nearest float64 and the
rest.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from accel._support.arrays import Array

__all__ = ["Units", "coefficients", "intercept"]

_BLOCK = 2**16  # numbers that are converted to float64 at a time


def _blocks(a: Array) -> Iterator[slice]:
    rows = max(1, _BLOCK * len(a) // max(a.size, 1))
    return (slice(begin, begin + rows) for begin in range(0, len(a), rows))


@dataclass(frozen=True, eq=False)
class Units:
    """Numbers in standard units are ``(user - mean - rest) / scale``, column by column.

    Attributes
    ----------
    mean, rest, scale : float64 array
        Of the shape of a row. The sum of mean and rest is the mean to twice the digits, mean is
        that sum rounded.
    """

    mean: Array
    rest: Array
    scale: Array

    @classmethod
    def of(
        cls,
        name: str,
        a: Array,
        weight: Array | None = None,
        *,
        center: bool = True,
        scale: bool = True,
    ) -> Self:
        """Return the units in which columns have mean 0 and mean square 1.

        Parameters
        ----------
        name : str
            Of the argument, for the error message.
        a : (n,) or (n, d) array
            Finite, of at most float64.
        weight : (n,) float64 array, optional
            How often each row counts, positive.
        center, scale : bool
            Without ``center`` the mean is 0, without ``scale`` the scale is 1. The scale is also 1
            for a column of zeros, and with ``center`` for a constant one.

        Raises
        ------
        ValueError
            If a mean, or a distance from it, overflows.
        """
        low, high = (np.asarray(end, np.float64) for end in (a.min(axis=0), a.max(axis=0)))
        units = cls(np.zeros(a.shape[1:]), np.zeros(a.shape[1:]), np.ones(a.shape[1:]))
        if center:
            with np.errstate(over="ignore", invalid="ignore"):
                units = units._centred(a, weight, low == high)
                ends = np.array([units._moved(low), units._moved(high)])
            if not np.isfinite(ends).all():
                raise ValueError(
                    f"{name} must have columns whose mean, and distances from it, are finite in "
                    f"float64, got values from {low.min():.4g} to {high.max():.4g}"
                )
        return units._scaled(a, weight, low, high) if scale else units

    def standard(self, a: Array, out: Array) -> Array:
        """Write numbers in these units to ``out``, of float32 or float64, and return that."""
        for rows in _blocks(a):
            np.divide(self._moved(a[rows]), self.scale, out=out[rows], casting="same_kind")
        return out

    def user(self, standard: Array) -> Array:
        """Return numbers in the user's units."""
        # From small to large, so that each sum is rounded once.
        back: Array = standard * self.scale + self.rest + self.mean
        return back

    @property
    def trivial(self) -> bool:
        """Whether standard units are the user's units."""
        return not self.mean.any() and bool((self.scale == 1).all())

    def _moved(self, a: Array) -> Array:
        # The first difference is exact near the mean, so that subtracting the rest has an effect.
        moved: Array = np.subtract(a, self.mean, dtype=np.float64)
        return moved - self.rest if self.rest.any() else moved

    def _centred(self, a: Array, weight: Array | None, constant: Array) -> Self:
        first = np.asarray(a[0], np.float64)
        there = type(self)(
            first, self.rest, self.scale
        )  # sums of distances from a row lose no digits
        mean = first + _average(there._moved, a, weight)
        mean = np.where(constant, first, mean)  # exact, or the scale would amplify rounding errors
        there = type(self)(mean, self.rest, self.scale)
        left = np.where(constant, 0.0, _average(there._moved, a, weight))
        total = np.asarray(mean + left)
        return type(self)(total, np.asarray(left - (total - mean)), self.scale)

    def _scaled(self, a: Array, weight: Array | None, low: Array, high: Array) -> Self:
        # Squares of tiny numbers underflow: divide by a power of two first, which is exact.
        peak = np.maximum(np.abs(self._moved(low)), np.abs(self._moved(high)))
        unit = np.ldexp(1.0, np.frexp(peak)[1] - 1)  # the next power of two may be infinite
        square = _average(lambda block: (self._moved(block) / unit) ** 2, a, weight)
        size = unit * np.sqrt(square)
        return type(self)(self.mean, self.rest, np.where(size > 0, size, 1.0))


def _average(function: Any, a: Array, weight: Array | None) -> Array:
    """Return the mean over rows of a function of them, weighted if there are weights."""
    total = np.zeros(a.shape[1:])
    for rows in _blocks(a):
        values = function(a[rows])
        if weight is not None:  # weights of 1 change no bit
            values = values * weight[rows].reshape(-1, *[1] * (values.ndim - 1))
        total += values.sum(axis=0)
    return np.asarray(total / (len(a) if weight is None else weight.sum()))


def coefficients(W: Array, x: Units, y: Units) -> Array:
    """Coefficients (d,) or (k, d) in the user's units, of a map between standard ones."""
    coef: Array = W * y.scale[..., np.newaxis] / x.scale
    return coef


def intercept(coef: Array, x: Units, y: Units) -> Array:
    """The intercept, 0-D or (k,), with which coefficients map the means to the means."""
    # The rests come last: the terms before are large and cancel.
    return np.asarray(y.mean - coef @ x.mean + (y.rest - coef @ x.rest))
