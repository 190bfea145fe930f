"""Philox4x32-10 and numbers made of its words, in loops that LLVM turns into vectors.

Words lie in 64-bit integers, where the product of two is one instruction (vpmuludq) and its halves
are a shift and a mask. Logarithm, sine and cosine are polynomials and nothing is contracted: every
operation is rounded alone, as IEEE 754 says, so that a number has the same bits in a vector of any
width and on any machine. Gaussians differ from NumPy's formula by at most 4 eps of the radius.

Fillers take a pointer, to be written from number ``first`` on; each number is written once, and
nothing beside them. ``Counter`` says which numbers they are.
"""

import math
from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..reference.philox import MULTIPLIERS, ROUNDS, WEYL
from .jit import inlined, inlined_as_written, inner
from .processor import vector_bytes


class Counter(NamedTuple):
    """A stream, a step and a seed: all of a counter and its key but the block, as integers."""

    stream: int
    step: int
    seed: int


_FIRST, _SECOND = (np.uint64(multiplier) for multiplier in MULTIPLIERS)
_WEYL_0, _WEYL_1 = (np.uint64(step) for step in WEYL)
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)

#: A float64 below 2^51 plus this has its integer part, rounded, in its lowest bits.
_MAGIC = 1.5 * 2.0**52
_MAGIC_BITS = np.float64(_MAGIC).view(np.int64)
_ONE_BITS = np.float64(1.0).view(np.int64)
_EXPONENT = np.int64(52)
#: The logarithm's argument is taken from sqrt(1/2) on; the bits of that.
_ROOT_BITS = np.float64(math.sqrt(0.5)).view(np.int64)
_LOG_2 = math.log(2)

#: 2 artanh(s) = s A(s^2), sin x = x S(x^2) and cos x = C(x^2): so many terms of their series that
#: what is left out is below 2^-54 of the result for |s| <= 0.172 and |x| <= pi / 4.
_ARTANH = tuple(2 / (2 * k + 1) for k in range(11))
_SINE = tuple((-1) ** k / math.factorial(2 * k + 1) for k in range(9))
_COSINE = tuple((-1) ** k / math.factorial(2 * k) for k in range(10))


def _reinterpreted(name, source, target):
    """Make an intrinsic that reads the bits of one type as another one."""

    @intrinsic
    def reinterpret(typing_context, value):
        kind = {types.int64: ir.IntType(64), types.float64: ir.DoubleType()}[target]

        def generate(context, builder, signature, arguments):
            return builder.bitcast(arguments[0], kind)

        return target(source), generate

    reinterpret.__name__ = name
    return reinterpret


@intrinsic
def in_widest_vectors(typing_context):
    """Have the loops of the function that says this in the widest vectors that there are.

    LLVM takes half of AVX-512's for fear of a lower clock; here that takes twice as long.
    """

    def generate(context, builder, signature, arguments):
        # llvmlite knows few attributes by name, and writes all that it is given as they are.
        width = f'"prefer-vector-width"="{8 * vector_bytes()}"'
        set.add(builder.function.attributes, width)
        return context.get_dummy_value()

    return types.void(), generate


_bits = _reinterpreted("bits", types.float64, types.int64)
_float = _reinterpreted("float", types.int64, types.float64)


@inlined
def pair(block, counter):
    """Return the two 64-bit numbers of a block."""
    a, b = np.uint64(block), np.uint64(counter.stream)
    c, d = np.uint64(counter.step) & _LOW, np.uint64(counter.step) >> _HALF
    k, m = np.uint64(counter.seed) & _LOW, np.uint64(counter.seed) >> _HALF
    for _ in range(ROUNDS):
        p, q = a * _FIRST, c * _SECOND
        a, b, c, d = (q >> _HALF) ^ b ^ k, q & _LOW, (p >> _HALF) ^ d ^ m, p & _LOW
        k, m = (k + _WEYL_0) & _LOW, (m + _WEYL_1) & _LOW
    return a | (b << _HALF), c | (d << _HALF)


@inlined
def index(z, n):
    """Make of a 64-bit number a random integer below n < 2^32."""
    n = np.uint64(n) & _LOW
    upper, lower = (z >> _HALF) * n, (z & _LOW) * n
    return np.int64((upper + (lower >> _HALF)) >> _HALF)


@inlined_as_written
def uniform(z):
    """Make of a 64-bit number a uniform one in (0, 1): its upper 52 bits, and half a unit."""
    return _float(np.int64(z >> np.uint64(12)) | _ONE_BITS) - (1.0 - 2.0**-53)


@inlined_as_written
def sign(z):
    """Make of a 64-bit number -1.0 or 1.0."""
    return _float(np.int64(z & np.uint64(1 << 63)) | _ONE_BITS)


def _polynomial(coefficients):
    """Compile a polynomial, by Horner's rule."""
    last, rest = coefficients[-1], coefficients[-2::-1]

    @inlined_as_written
    def polynomial(x):
        total = last
        for coefficient in rest:
            total = total * x + coefficient
        return total

    return polynomial


_artanh, _sine, _cosine = map(_polynomial, (_ARTANH, _SINE, _COSINE))


@inlined_as_written
def logarithm(u):
    """Compute log(u) of a normal number u > 0.

    With u = 2^e m, sqrt(1/2) <= m < sqrt(2), it is e log(2) + 2 artanh((m - 1) / (m + 1)).
    """
    bits = _bits(u)
    e = (bits - _ROOT_BITS) >> _EXPONENT
    m = _float(bits - (e << _EXPONENT))
    s = (m - 1.0) / (m + 1.0)
    return (_float(e + _MAGIC_BITS) - _MAGIC) * _LOG_2 + s * _artanh(s * s)


@inlined_as_written
def cosine_and_sine(v):
    """Compute cos(2 pi v) and sin(2 pi v) for 0 <= v <= 1: v to the next quarter is exact."""
    shifted = 4.0 * v + _MAGIC
    quarter = _bits(shifted) & np.int64(3)
    x = (4.0 * v - (shifted - _MAGIC)) * (math.pi / 2)
    c, s = _cosine(x * x), x * _sine(x * x)
    odd = quarter & np.int64(1)
    along, across = (s, c) if odd == 1 else (c, s)
    first = ((quarter + np.int64(1)) & np.int64(2)) << np.int64(62)
    second = (quarter & np.int64(2)) << np.int64(62)
    return _float(_bits(along) ^ first), _float(_bits(across) ^ second)


@inlined_as_written
def gaussian_pair(z, w):
    """Make of the two 64-bit numbers of a block two standard Gaussian ones."""
    r = math.sqrt(-2.0 * logarithm(uniform(z)))
    c, s = cosine_and_sine(uniform(w))
    return r * c, r * s


@inlined_as_written
def uniform_pair(z, w):
    """Make of them two uniform ones."""
    return uniform(z), uniform(w)


@inlined_as_written
def sign_pair(z, w):
    """Make of them two signs."""
    return sign(z), sign(w)


@inlined
def _same(z, w):
    return z, w


@inlined
def _write(out, i, number, counter):
    out[i] = number


def make_filler(make, put=_write):
    """Compile ``fill(out, first, count, counter)``: numbers ``first`` on of a stream, to ``out``.

    ``make(z, w)`` makes the two numbers of a block, ``put(out, i, number, counter)`` has them; the
    counter may be any tuple with the fields of ``Counter``, and others for ``put``. Whole blocks
    are made in one loop; what is half of a block, at the ends, by itself.
    """

    @inner
    def fill(out, first, count, counter):
        in_widest_vectors()
        if count <= 0:
            return
        odd = first & 1
        if odd:
            z, w = pair(first >> 1, counter)
            put(out, 0, make(z, w)[1], counter)
        start = (first + odd) >> 1
        blocks = (count - odd) >> 1
        for b in range(blocks):
            z, w = pair(start + b, counter)
            y0, y1 = make(z, w)
            put(out, odd + 2 * b, y0, counter)
            put(out, odd + 2 * b + 1, y1, counter)
        if (count - odd) & 1:
            z, w = pair(start + blocks, counter)
            put(out, count - 1, make(z, w)[0], counter)

    return fill


#: Numbers of a stream, at an element of any dtype that holds them: uint64, the others of floats.
fill_numbers, fill_uniforms, fill_gaussians, fill_signs = map(
    make_filler, (_same, uniform_pair, gaussian_pair, sign_pair)
)
