"""What becomes of the predictions of a pass, for every kind of loss: slopes, values, curvatures.

l_p is in :mod:`.powers`; here are the others, as vectors, too. A kernel is compiled for one kind,
and the number p that it is given is that of the kind. The kinds of a residual take the difference
of product and target, those of a margin both, a target being a label of -1 or +1; of rows that only
fill up a vector the target is 0, and so are the value and the slope.
"""

from collections.abc import Callable
from typing import Any

from .any_power import Vectors, intrinsic, log_of_sum, splat, spread
from .exponentials import decaying, exponential, exponential_less_one, log_one_plus
from .powers import by_kind
from .simd import EXACT

_LOG_2 = 0.6931471805599453


def _select(builder, left, sign, right, yes, no):
    return builder.select(builder.fcmp_ordered(sign, left, right), yes, no)


def _huber(builder, vector, p):
    delta = spread(builder, vector, p)
    least = builder.fneg(delta)

    def step(builder, r):
        v = Vectors(builder, vector)
        slope = _select(builder, r, ">", delta, delta, _select(builder, r, "<", least, least, r))
        return slope, v.multiply(slope, v.subtract(r, v.multiply(slope, 0.5)))

    return step


def _sides(builder, vector, p):
    """1 - tau and tau in every lane."""
    tau = spread(builder, vector, p)
    return builder.fsub(splat(vector, 1.0), tau, flags=EXACT), tau


def _pinball(builder, vector, p):
    above, below = _sides(builder, vector, p)
    below, zero = builder.fneg(below), splat(vector, 0.0)

    def step(builder, r):
        # Where r is 0 or NaN, the slope is, too.
        slope = _select(builder, r, ">", zero, above, _select(builder, r, "<", zero, below, r))
        return slope, Vectors(builder, vector).multiply(slope, r)

    return step


def _expectile(builder, vector, p):
    above, below = _sides(builder, vector, p)
    zero = splat(vector, 0.0)

    def step(builder, r):
        v = Vectors(builder, vector)
        half = v.multiply(_select(builder, r, ">", zero, above, below), r)
        return v.add(half, half), v.multiply(half, r)

    return step


def _tangent(v: Vectors, size):
    """Tanh of a number that is not negative, and exp(-2 x)."""
    twice = v.multiply(size, -2.0)
    most = v.constant(-50.0)
    less = exponential_less_one(v, _select(v.builder, twice, "<", most, most, twice))
    tangent = v.builder.fdiv(v.builder.fneg(less), v.add(less, 2.0), flags=EXACT)
    return tangent, v.add(less, 1.0)


def _log_cosh(builder, vector, p):
    def step(builder, r):
        v = Vectors(builder, vector)
        size = intrinsic(builder, "fabs", r)
        tangent, e = _tangent(v, size)
        # -log(1 - tanh^2) / 2 near 0, where the other way would lose digits: 1 - tanh^2 > 0.7.
        near = v.compare(size, "<", 0.6)
        square = builder.fneg(v.multiply(tangent, tangent))
        log = log_of_sum(v, builder.select(near, square, e))
        far = v.add(v.subtract(size, v.constant(_LOG_2)), log)
        value = builder.select(near, v.multiply(log, -0.5), far)
        return intrinsic(builder, "copysign", tangent, r), value

    return step


def _decay(v: Vectors, z):
    """exp(-|z|), and 1 / (1 + exp(-|z|))."""
    e = decaying(v, v.builder.fneg(intrinsic(v.builder, "fabs", z)))
    return e, v.builder.fdiv(v.constant(1.0), v.add(e, 1.0), flags=EXACT)


def _logistic(builder, vector, p):
    zero = splat(vector, 0.0)

    def step(builder, z):
        v = Vectors(builder, vector)
        e, inverse = _decay(v, z)
        slope = _select(builder, z, ">=", zero, v.multiply(e, inverse), inverse)
        value = _select(builder, z, "<", zero, builder.fneg(z), zero)
        return builder.fneg(slope), v.add(value, log_one_plus(v, e))

    return step


def _exponential(builder, vector, p):
    def step(builder, z):
        value = exponential(Vectors(builder, vector), builder.fneg(z))
        return builder.fneg(value), value

    return step


_RESIDUALS = {
    "huber": _huber,
    "pinball": _pinball,
    "expectile": _expectile,
    "logcosh": _log_cosh,
}
_MARGINS = {"logistic": _logistic, "exponential": _exponential}


def _of_residual(step):
    def take(builder, product, target):
        if target is not None:
            product = builder.fsub(product, target, flags=EXACT)
        return step(builder, product)

    return take


def _of_margin(step):
    def take(builder, product, target):
        v = Vectors(builder, product.type)
        slope, value = step(builder, v.multiply(product, target))
        return v.multiply(slope, target), v.multiply(value, v.multiply(target, target))

    return take


def by_loss(builder, vector, kind: str, p, body: Callable[[Any], None]) -> None:
    """Emit ``body(take)`` once, or for l_p once for each kind of p, and branch over them.

    ``take(builder, product, target)`` returns slopes and values of vectors of that type; the target
    is None where the product is the residual already. What leaves ``body`` has to go through
    variables in memory.
    """
    if kind == "lp":
        by_kind(builder, vector, p, lambda step: body(_of_residual(step)))
    elif kind in _RESIDUALS:
        body(_of_residual(_RESIDUALS[kind](builder, vector, p)))
    else:
        body(_of_margin(_MARGINS[kind](builder, vector, p)))


def emit_curvature(builder, r, kind: str, p):
    """Emit the curvatures of a vector of residuals, or of margins, of another kind than l_p."""
    v = Vectors(builder, r.type)
    zero, one = v.constant(0.0), v.constant(1.0)
    if kind == "huber":
        size, delta = intrinsic(builder, "fabs", r), spread(builder, r.type, p)
        return _select(builder, size, "<=", delta, one, _select(builder, size, ">", delta, zero, r))
    if kind == "pinball":
        return v.multiply(r, 0.0)
    if kind == "expectile":
        above, below = (v.add(side, side) for side in _sides(builder, r.type, p))
        return _select(builder, r, ">", zero, above, _select(builder, r, "<=", zero, below, r))
    if kind == "logcosh":
        e = decaying(v, v.multiply(intrinsic(builder, "fabs", r), -2.0))
        whole = v.add(e, 1.0)
        return v.multiply(
            v.builder.fdiv(v.multiply(e, 4.0), whole, flags=EXACT),
            v.builder.fdiv(one, whole, flags=EXACT),
        )
    if kind == "logistic":
        e, inverse = _decay(v, r)
        return v.multiply(e, v.multiply(inverse, inverse))
    return exponential(v, builder.fneg(r))
