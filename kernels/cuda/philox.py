"""Philox4x32-10 on the device, and the Gaussian numbers and signs that are made of its words.

Words lie in 64-bit integers whose upper halves are masked away: so the compiler sees that a product
of two is one multiplication of 32-bit registers. A thread makes the block of a number by itself,
and throws the other half of it away: whoever needs a number need not know its neighbours. Gaussians
are the reference's to a few units of the last place of the radius; what libdevice's logarithm,
sine and cosine round differently is all that sets them apart. Signs are the same.
"""

import math

import numpy as np

from ..reference.philox import MULTIPLIERS, ROUNDS, WEYL
from .jit import device
from .ptx import cospi, sinpi

_FIRST, _SECOND = (np.uint64(multiplier) for multiplier in MULTIPLIERS)
_WEYL_0, _WEYL_1 = (np.uint64(step) for step in WEYL)
_LOW, _HALF, _TOP, _FRACTION = (np.uint64(n) for n in (0xFFFFFFFF, 32, 63, 12))


@device
def pair(block, stream, step, seed):
    """Return the two 64-bit numbers of a block."""
    a, b = np.uint64(block), np.uint64(stream)
    c, d = np.uint64(step) & _LOW, np.uint64(step) >> _HALF
    k, m = np.uint64(seed) & _LOW, np.uint64(seed) >> _HALF
    for _ in range(ROUNDS):
        p, q = a * _FIRST, c * _SECOND
        a, b, c, d = (q >> _HALF) ^ b ^ k, q & _LOW, (p >> _HALF) ^ d ^ m, p & _LOW
        k, m = (k + _WEYL_0) & _LOW, (m + _WEYL_1) & _LOW
    return a | (b << _HALF), c | (d << _HALF)


@device
def uniform(z):
    """Make of a 64-bit number a uniform one in (0, 1)."""
    return (float(z >> _FRACTION) + 0.5) * 2.0**-52


@device
def gaussian(i, stream, step, seed):
    """Return number i of a stream as a standard Gaussian one."""
    z, w = pair(i >> 1, stream, step, seed)
    r, angle = math.sqrt(-2.0 * math.log(uniform(z))), 2.0 * uniform(w)
    return r * (cospi(angle) if i & 1 == 0 else sinpi(angle))


@device
def sign(i, stream, step, seed):
    """Return number i of a stream as -1.0 or 1.0."""
    z, w = pair(i >> 1, stream, step, seed)
    return 1.0 - 2.0 * float((z if i & 1 == 0 else w) >> _TOP)
