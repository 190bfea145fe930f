"""The powers of a residual r: |r|^(p-1) sign(r) and |r|^p, as vectors, for any p from 1 on.

By products for p = 1, 2, 3 and 4, with a square root for these and a half, and for any other p by
logarithm and exponential (``any_power``). What becomes of a residual does not depend on its lane,
nor on how many there are.
"""

from llvmlite import ir

from .any_power import exponent, intrinsic, power, splat
from .simd import EXACT

_DOUBLE = ir.DoubleType()


def _multiply(builder, left, right):
    return builder.fmul(left, right, flags=EXACT)


def _first(builder, r):
    zero = splat(r.type, 0.0)
    sign = intrinsic(builder, "copysign", splat(r.type, 1.0), r)
    # Not "unordered or equal": the sign of NaN has to stay NaN.
    is_zero = builder.fcmp_ordered("==", r, zero)
    is_nan = builder.fcmp_unordered("uno", r, r)
    sign = builder.select(is_zero, zero, builder.select(is_nan, r, sign))
    return sign, intrinsic(builder, "fabs", r)


def _second(builder, r):
    return r, _multiply(builder, r, r)


def _third(builder, r):
    slope = _multiply(builder, r, intrinsic(builder, "fabs", r))
    return slope, _multiply(builder, slope, r)


def _fourth(builder, r):
    square = _multiply(builder, r, r)
    return _multiply(builder, square, r), _multiply(builder, square, square)


def _rooted(emit):
    """Emit the step for p + 1/2, given that for p."""

    def rooted(builder, r):
        slope, _ = emit(builder, r)
        root = intrinsic(builder, "sqrt", intrinsic(builder, "fabs", r))
        slope = _multiply(builder, slope, root)
        return slope, _multiply(builder, slope, r)

    return rooted


_PRODUCTS = {2.0: _second, 3.0: _third, 4.0: _fourth, 1.0: _first}
#: For each p that products and a square root are enough for: ``emit(builder, r)``.
KINDS = _PRODUCTS | {p + 0.5: _rooted(emit) for p, emit in _PRODUCTS.items()}


def _general(builder, vector, p):
    """Prepare the step for any p, a float64: the same kind of function as those of ``KINDS``."""
    q = exponent(builder, vector, less(builder, p, 1.0))

    def general(builder, r):
        size = intrinsic(builder, "fabs", r)
        slope = power(builder, size, q)
        return intrinsic(builder, "copysign", slope, r), _multiply(builder, slope, size)

    return general


def less(builder, p, shift: float):
    """Return p - shift as ``exponent`` admits it; every x but 1 is 0 or inf long before."""
    q, most = builder.fsub(p, _DOUBLE(shift), flags=EXACT), _DOUBLE(1e30)
    return builder.select(builder.fcmp_ordered("<", q, most), q, most)


def by_kind(builder, vector, p, body) -> None:
    """Branch over the kinds of p, a float64 that the kernel is given, and emit ``body`` for each.

    ``body(step)`` emits code once a kind; ``step(builder, r)`` returns what becomes of residuals,
    which have the type ``vector``: |r|^(p-1) sign(r), and |r|^p. What leaves ``body`` has to go
    through variables in memory.
    """
    done = builder.append_basic_block("done")
    for of_kind, emit in KINDS.items():
        it_is, others = (builder.append_basic_block(name) for name in (f"p{of_kind}", "others"))
        builder.cbranch(builder.fcmp_ordered("==", p, _DOUBLE(of_kind)), it_is, others)
        builder.position_at_end(it_is)
        body(emit)
        builder.branch(done)
        builder.position_at_end(others)
    body(_general(builder, vector, p))
    builder.branch(done)
    builder.position_at_end(done)
