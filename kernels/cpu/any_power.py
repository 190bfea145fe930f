"""x to any real power, as LLVM code on vectors: exp(q log x), in the precision of the vectors.

With x = 2^n (1 + t), 1 + t from sqrt(1/2) to sqrt(2), x^q is 2^e for e = q n + q log2(1 + t). The
nearest integer k of e becomes an exponent, and the rest, between -1/2 and 1/2, goes through a
polynomial. The product q n may be large, and what it is wrong by is the relative error of the
result. So q is split into a high part whose products with all n are exact and a low one, and k is
subtracted from the exact product before anything is rounded: the error does not grow with |log x|.

The error is at most (1.5 + 0.75 |q|) eps of the result, and beside that a unit in the last place
where the result is below the normal numbers. The largest of a million x of all sizes were, in eps:

==============  ======  =====  =====  ===  ====  ====  ====
q               0.0001  0.1    1.2    2.3  7     11    29
float64         0.55    1.06   1.14   1.2  2.7   3.6   9.5
float32         0.51    0.92   1.07   1.5  2.2   3.4   8.9
without fusing  0.57    1.21   1.34   1.8  3.2   4.9   12.0
==============  ======  =====  =====  ===  ====  ====  ====

x = 0, inf and NaN are their own powers.

All of it is generic LLVM code: no conversion between floating point and 64-bit integers, which AVX2
does not have, since an integer below 2^51 that is added to 1.5 * 2^52 stands in the lowest bits of
the sum. ``fmuladd`` is fused where the processor can fuse, and then always.
"""

from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import cgutils

from .simd import EXACT

_DOUBLE = ir.DoubleType()
_I64 = ir.IntType(64)
_LOG2_E = 1.4426950408889634


class _Format(NamedTuple):
    """A floating-point format: digits after the leading one, the bias of the exponent, and so on.

    ``sqrt_half`` is sqrt(1/2) as an integer, and ``split`` how many digits of a float64 q make up
    its low part. ``low`` and ``high`` lie beyond all e whose 2^e is a number above 0 and below inf.
    The coefficients are those of minimax polynomials in t for (log(1 + t) - t) / t^2, and in g for
    (2^g - 1) / g, with errors below 2^-56 of 1 (float64), 2^-29 (float32).
    """

    bits: int
    digits: int
    bias: int
    sqrt_half: int
    split: int
    low: float
    high: float
    log: tuple[float, ...]
    exp: tuple[float, ...]


_FLOAT64 = _Format(
    bits=64, digits=52, bias=1023, sqrt_half=0x3FE6A09E667F3BCD, split=11, low=-1080.0, high=1025.0,
    log=(
        -0.4999999999999991, 0.3333333333332033, -0.2500000000002823, 0.2000000000338123,
        -0.1666666666589975, 0.14285713959897686, -0.12499999737699899, 0.11111126918809228,
        -0.10000025206665257, 0.09090480431839988, -0.08332340064998918, 0.07698879641161943,
        -0.07163472293273619, 0.06615441124756685, -0.06016853055715542, 0.05977373405905997,
        -0.06860311132370432, 0.06385125150447303, -0.02826509776016506,
    ),
    exp=(
        0.6931471805599453, 0.24022650695910133, 0.05550410866482174, 0.009618129107593333,
        0.0013333558146378871, 0.0001540353045807753, 1.5252733867658105e-05,
        1.3215434817841903e-06, 1.0178046423924389e-07, 7.073860035139208e-09,
        4.4573917180330086e-10,
    ),
)  # fmt: skip
_FLOAT32 = _Format(
    bits=32, digits=23, bias=127, sqrt_half=0x3F3504F3, split=37, low=-155.0, high=129.0,
    log=(
        -0.49999976, 0.3333332, -0.2500243, 0.20002787, -0.16593477, 0.14160262, -0.13332736,
        0.13058129, -0.07607528,
    ),
    exp=(0.6931472, 0.2402265, 0.05550328, 0.009618004, 0.0013400271, 0.00015476318),
)  # fmt: skip


class Exponent(NamedTuple):
    """An exponent q in every lane: its high and low part, and q log2(e)."""

    high: Any
    low: Any
    per_log: Any


def splat(vector, value):
    """Return a constant that stands in every lane of a vector type; floats are rounded to it."""
    return ir.Constant(vector, [value] * vector.count)


def intrinsic(builder, name, *operands):
    """Call LLVM's intrinsic of that name for vectors."""
    vector = operands[0].type
    suffix = "f64" if vector.element == _DOUBLE else "f32"
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(vector, [vector] * len(operands)),
        f"llvm.{name}.v{vector.count}{suffix}",
    )
    return builder.call(function, operands)


def exponent(builder, vector, q) -> Exponent:
    """Spread q, a float64 and not beyond 1e30 in size, over the lanes of a vector type."""
    form = _FLOAT64 if vector.element == _DOUBLE else _FLOAT32
    mask = _I64(-1 << form.split)
    high = builder.bitcast(builder.and_(builder.bitcast(q, _I64), mask), _DOUBLE)
    low = builder.fsub(q, high, flags=EXACT)
    per_log = builder.fmul(q, _DOUBLE(_LOG2_E), flags=EXACT)
    return Exponent(*(spread(builder, vector, part) for part in (high, low, per_log)))


def spread(builder, vector, value):
    """Return a float64 in every lane of a vector type, rounded to it."""
    if vector.element != _DOUBLE:
        value = builder.fptrunc(value, vector.element)
    undefined, first = ir.Constant(vector, ir.Undefined), ir.IntType(32)(0)
    one = builder.insert_element(undefined, value, first)
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(one, one, zeros)


class Vectors:
    """Arithmetic on the vectors of one type and on the integers that their bits are."""

    def __init__(self, builder, vector) -> None:
        self.builder, self.vector = builder, vector
        self.form = _FLOAT64 if vector.element == _DOUBLE else _FLOAT32
        self.integers = ir.VectorType(ir.IntType(self.form.bits), vector.count)
        #: The bits of x + magic, shifted left by ``digits``, are those of 2^x.
        self.magic = 1.5 * 2.0**self.form.digits + self.form.bias

    def constant(self, value):
        """Return a number in every lane, an integer or a float."""
        return splat(self.integers if isinstance(value, int) else self.vector, value)

    def add(self, left, right):
        """Compute left + right."""
        return self.builder.fadd(left, self._operand(right), flags=EXACT)

    def subtract(self, left, right):
        """Compute left - right."""
        return self.builder.fsub(left, self._operand(right), flags=EXACT)

    def multiply(self, left, right):
        """Compute left * right."""
        return self.builder.fmul(left, self._operand(right), flags=EXACT)

    def fma(self, left, right, total):
        """Compute left * right + total, fused where the processor can."""
        return intrinsic(self.builder, "fmuladd", left, self._operand(right), self._operand(total))

    def compare(self, left, sign, right):
        """Compare; false where NaN is among them."""
        return self.builder.fcmp_ordered(sign, left, self._operand(right))

    def _operand(self, value):
        return self.constant(value) if isinstance(value, float) else value

    def integer(self, x):
        """Return the bits of a vector."""
        return self.builder.bitcast(x, self.integers)

    def number(self, bits):
        """Return the vector with these bits."""
        return self.builder.bitcast(bits, self.vector)

    def where(self, condition, value: int):
        """Return an integer where a condition holds, else 0."""
        return self.builder.select(condition, self.constant(value), self.constant(0))

    def power_of_two(self, with_magic):
        """Return 2^x, given x + magic for an integer x that a normal number has."""
        shift = self.constant(self.form.digits)
        return self.number(self.builder.shl(self.integer(with_magic), shift))

    def polynomial(self, x, coefficients):
        """Sum of c_i x^i, neighbours first: a few short chains in place of a long one."""
        terms = list(coefficients)
        while len(terms) > 1:
            pairs = [self.fma(x, b, a) for a, b in zip(terms[::2], terms[1::2], strict=False)]
            terms = pairs + terms[2 * len(pairs) :]
            x = self.multiply(x, x) if len(terms) > 1 else x
        return terms[0]


def power(builder, x, q: Exponent):
    """x^q in every lane, for x that are at least 0, or NaN; where q < 0, above 0 and below inf."""
    v = Vectors(builder, x.type)
    n, t = _split(v, x)
    log = log_of_sum(v, t)

    # k is e to the nearest integer, rest + q log2(1 + t) what it leaves. q n is exact, and so is
    # the difference: q n and k are multiples of the last digit of ``high`` and near each other.
    e = v.fma(q.per_log, log, v.multiply(q.high, n))
    k = v.subtract(v.add(e, v.magic), v.magic)
    rest = v.subtract(v.multiply(q.high, n), k)
    rest = v.fma(q.per_log, log, v.fma(q.low, n, rest))
    result = v.fma(rest, v.polynomial(rest, map(v.constant, v.form.exp)), 1.0)
    result = scaled(v, result, k)

    vanishes = builder.or_(v.compare(e, "<", v.form.low), v.compare(x, "==", 0.0))
    result = builder.select(vanishes, v.constant(0.0), result)
    ordinary = builder.and_(v.compare(e, "<=", v.form.high), v.compare(x, "<", float("inf")))
    return builder.select(ordinary, result, v.add(x, float("inf")))


def log_of_sum(v: Vectors, t):
    """Compute log(1 + t), for 1 + t from sqrt(1/2) to sqrt(2)."""
    return v.fma(v.multiply(t, t), v.polynomial(t, map(v.constant, v.form.log)), t)


def scaled(v: Vectors, x, k):
    """Multiply by 2^k, in two steps: 2^k itself may be too large or small for a normal number."""
    half = v.fma(k, 0.5, v.magic)
    other = v.add(v.subtract(k, v.subtract(half, v.magic)), v.magic)
    return v.multiply(v.multiply(x, v.power_of_two(half)), v.power_of_two(other))


def _split(v: Vectors, x):
    """Find n and t, x = 2^n (1 + t), of normal and subnormal x; anything for others."""
    builder, form = v.builder, v.form
    # Subnormal numbers are made normal: they are multiplied by 2^shift, all others by 1.
    shift = form.digits + 2
    subnormal = v.compare(x, "<", 2.0 ** (1 - form.bias))
    one = v.constant(form.bias << form.digits)
    factor = v.number(builder.add(one, v.where(subnormal, shift << form.digits)))
    return split_normal(v, v.multiply(x, factor), v.where(subnormal, shift))


def split_normal(v: Vectors, x, shift=None):
    """Find n and t, x = 2^(n + shift) (1 + t), of normal x; ``shift`` up to digits + 2, or 0."""
    builder, form = v.builder, v.form
    # The exponent of x / sqrt(1/2), and the digits that are left of it.
    above = v.constant((form.bias << form.digits) - form.sqrt_half)
    above = builder.add(v.integer(x), above)
    exponent = builder.lshr(above, v.constant(form.digits))
    digits = builder.and_(above, v.constant((1 << form.digits) - 1))
    mantissa = v.number(builder.add(digits, v.constant(form.sqrt_half)))

    exponent = exponent if shift is None else builder.sub(exponent, shift)
    # A negative number would spoil the bits of 2^digits; bias and twice the shift keep it above 0.
    more = 2 * (form.digits + 2)
    raised = builder.add(exponent, v.integer(v.constant(2.0**form.digits + more)))
    n = v.subtract(v.number(raised), 2.0**form.digits + more + form.bias)
    return n, v.subtract(mantissa, 1.0)
