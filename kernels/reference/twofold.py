"""Sums of products with twice the digits of float64, and a bound of the error that is left.

The rounding error of a product, or of a sum, of two float64 numbers is a float64 number itself, and
can be computed (Dekker 1971, Knuth). A dot product that adds up these errors as well is as accurate
as if computed with twice the digits (Ogita, Rump and Oishi 2005, "Accurate sum and dot product").
"""

import numpy as np

from ..protocols import Array

EPS = float(np.finfo(np.float64).eps)
_HALVES = 2.0**27 + 1  # Dekker's factor: splits 53 binary digits into two halves
LEAST = 2.0**-1060  # the rounding errors of smaller products underflow
_BLOCK = 2**15  # numbers at a time: a few arrays of them stay in the cache
_LARGEST = 1023  # the largest exponent of a float64


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """``a + b`` rounded to float64, and the rounding error: together the exact sum."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _split(a: Array) -> tuple[Array, Array]:
    """Two numbers of at most 26 binary digits whose sum is a: their products are exact."""
    shifted = _HALVES * a
    high = shifted - (shifted - a)
    return high, a - high


def two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """``a * b`` rounded to float64, and the rounding error: together the exact product.

    a has at least as many dimensions as b.
    """
    product = np.multiply(a, b, order="C")
    high, rest = np.multiply(a, _HALVES, order="C"), np.empty_like(product)  # as in _split
    np.subtract(high, a, out=rest)
    high -= rest
    np.subtract(a, high, out=rest)
    c, d = _split(b)
    lost = high * c
    lost -= product
    high *= d
    lost += high
    np.multiply(rest, c, out=high)
    lost += high
    rest *= d
    lost += rest
    return product, lost


def _summed(P: Array, size: Array) -> tuple[Array, Array]:
    """Sum P (m, k) over axis 0, as high and low; ``size`` (k,) is about the sum of ``|P|``.

    Adding a power of two above twice that sum, and subtracting it, rounds P to multiples of the
    last place of that power, which add up without an error. What that takes from P is rounded and
    summed in the same way, with a smaller power; what is left then is summed with rounding errors
    (Rump, Ogita and Oishi 2008, "Accurate floating-point summation").
    """
    unit, ones = np.ldexp(1.0, np.minimum(np.frexp(size)[1] + 2, _LARGEST)), np.ones(len(P))
    coarse = P + unit
    coarse -= unit
    rest = P - coarse
    high = ones @ coarse
    unit = unit * EPS * 2.0 ** len(P).bit_length()
    np.add(rest, unit, out=coarse)
    coarse -= unit
    rest -= coarse
    return high, ones @ coarse + ones @ rest


def _grain(m: int) -> float:
    """The error of a sum of m terms, relative to the sum of their sizes."""
    return float((m + 16) * (np.log2(m) + 4) * EPS**2 * (1 + m * EPS))


def total(x: Array) -> tuple[Array, Array, Array]:
    """The sum of x (m,), float64, as three numbers like those of ``dot``."""
    size = np.abs(x).sum()
    high, low = np.zeros(()), np.zeros(())
    for i in range(0, len(x), _BLOCK):
        here, more = _summed(x[i : i + _BLOCK], size)
        high, carried = two_sum(high, here)
        low = low + (more + carried)
    return high, low, _grain(len(x)) * size


def dot(A: Array, x: Array) -> tuple[Array, Array, Array]:
    """``x' A``, as the sum of two numbers each, and a bound of the errors of these sums.

    Parameters
    ----------
    A : (m, k) float64 array
    x : (m,) float64 array

    Returns
    -------
    high, low, error : (k,) arrays
        The error is at most ``(m + 16) (log2(m) + 4) eps^2`` times ``|x|' |A|``, where nothing
        overflows, and as much as a few denormal numbers.
    """
    m, k = A.shape
    high, low, size = np.zeros(k), np.zeros(k), np.zeros(k)
    rows = max(min(m, _BLOCK // min(k, 128)), 1)
    columns = max(_BLOCK // rows, 1)
    for i in range(0, m, rows):
        for j in range(0, k, columns):
            here = slice(j, j + columns)
            products, lost = two_product(A[i : i + rows, here], x[i : i + rows, np.newaxis])
            ones = np.ones(len(products))
            sizes = ones @ np.abs(products)
            size[here] += sizes
            sums, more = _summed(products, sizes)
            high[here], carried = two_sum(high[here], sums)
            low[here] += ones @ lost + more + carried
    return high, low, _grain(m) * size + m * LEAST * bool(x.any())
