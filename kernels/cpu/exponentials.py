"""Exponentials, and what follows from them, as LLVM code on vectors, in their precision.

With log(2) in two parts, x = k log(2) + r for the nearest integer k, and e^x = 2^k 2^g for g =
r log2(e), between -1/2 and 1/2. The product of k and the high part of log(2) is exact, with or
without fused arithmetic, so the error does not grow with |x|. The polynomials are those of
:mod:`.any_power`. ``exponential`` is wrong by at most 3 eps, and the others by 6 eps of the result.
"""

from typing import Any, NamedTuple

from .any_power import Vectors, log_of_sum, scaled, split_normal

_LOG2_E = 1.4426950408889634
_LOG_2 = 0.6931471805599453


class _Parts(NamedTuple):
    """log(2) as a sum, the high part with so few digits that its products with all k are exact.

    ``least`` is a number whose exponential is just above the least normal number.
    """

    high: float
    low: float
    least: float


_PARTS = {
    64: _Parts(float.fromhex("0x1.62e42feep-1"), float.fromhex("0x1.a39ef35793c76p-33"), -708.0),
    32: _Parts(float.fromhex("0x1.63p-1"), float.fromhex("-0x1.bd0106p-13"), -87.0),
}


def _reduced(v: Vectors, x) -> tuple[Any, Any]:
    """Find k and g, e^x = 2^k 2^g."""
    parts = _PARTS[v.form.bits]
    k = v.subtract(v.fma(x, _LOG2_E, v.magic), v.magic)
    rest = v.fma(k, v.constant(-parts.low), v.fma(k, -parts.high, x))
    return k, v.multiply(rest, _LOG2_E)


def _polynomial(v: Vectors, g):
    """Compute (2^g - 1) / g."""
    return v.polynomial(g, map(v.constant, v.form.exp))


def exponential(v: Vectors, x):
    """Compute e^x in every lane: 0 and inf where it is too small or large, NaN of NaN."""
    k, g = _reduced(v, x)
    result = scaled(v, v.fma(g, _polynomial(v, g), 1.0), k)
    e = v.multiply(x, _LOG2_E)
    result = v.builder.select(v.compare(e, "<", v.form.low), v.constant(0.0), result)
    ordinary = v.compare(e, "<=", v.form.high)
    return v.builder.select(ordinary, result, v.add(x, float("inf")))


def decaying(v: Vectors, x):
    """Compute e^x, for x up to 0: 0 where it is below the normal numbers, NaN of NaN."""
    k, g = _reduced(v, x)
    power = v.power_of_two(v.add(k, v.magic))
    result = v.multiply(v.fma(g, _polynomial(v, g), 1.0), power)
    below = v.compare(x, "<", _PARTS[v.form.bits].least)
    return v.builder.select(below, v.constant(0.0), result)


def exponential_less_one(v: Vectors, x):
    """Compute e^x - 1, for x from -50 to 0."""
    k, g = _reduced(v, x)
    power = v.power_of_two(v.add(k, v.magic))
    less = v.multiply(g, _polynomial(v, g))
    return v.fma(power, less, v.subtract(power, v.constant(1.0)))


def minus_inverse(v: Vectors, t):
    """Compute -1 / (1 + t), for t from 0 to 1, NaN of NaN; wrong by at most 2 eps.

    A division takes as long as thirty multiply-adds. The best polynomial of degree 2, by
    Chebyshev's, is wrong by a part of 1/99, and each of two steps of Halley's method takes the
    third power of that.
    """
    x = v.add(t, 1.0)
    inverse = v.fma(v.fma(t, -32 / 99, v.constant(80 / 99)), t, -98 / 99)
    for _ in range(2):
        wrong = v.fma(x, inverse, 1.0)
        inverse = v.fma(v.fma(wrong, wrong, wrong), inverse, inverse)
    return inverse


def log_one_plus(v: Vectors, t):
    """Compute log(1 + t), for t from 0 to 2^16, NaN of NaN."""
    n, rest = split_normal(v, v.add(t, 1.0))
    small = v.builder.fcmp_unordered("<", t, v.constant(0.4142))  # or NaN
    n = v.builder.select(small, v.constant(0.0), n)
    rest = v.builder.select(small, t, rest)
    return v.fma(n, v.constant(_LOG_2), log_of_sum(v, rest))
