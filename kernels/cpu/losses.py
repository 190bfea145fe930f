"""What becomes of the predictions of a pass, for every kind of loss: slopes, values, curvatures.

l_p is in :mod:`.powers`; here are the others, as vectors, too. A kernel is compiled for one kind,
and the number p that it is given is that of the kind. The kinds of a residual take the difference
of product and target, those of a margin both, a target being a label of -1 or +1; of rows that only
fill up a vector the target is 0, and so are the value and the slope.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import cgutils

from .any_power import Vectors, intrinsic, log_of_sum, splat, spread
from .exponentials import (
    decaying,
    exponential,
    exponential_less_one,
    log_one_plus,
    minus_inverse,
)
from .powers import by_kind
from .simd import EXACT, add_wide

_LOG_2 = 0.6931471805599453
#: Rows of a lane whose growths are multiplied before a logarithm is taken.
_GROUP = 16


class Value(NamedTuple):
    """The values of a vector of rows: ``term``, or log(1 + ``growth``) - ``term``."""

    term: Any
    growth: Any = None


class Values:
    """The sum of the values in each lane, vector after vector, in float64.

    Terms are rounded to the dtype, and added. A logarithm takes as long as all the rest of the
    logistic loss, so there is one for up to 16 rows of a lane: log(1 + a) + log(1 + b) is
    log(1 + (a + b + a b)). Nothing cancels there: losses far below eps keep their digits, too.
    """

    def __init__(self, builder, vector, kind: str) -> None:
        self._builder, self._vector = builder, vector
        wide = ir.VectorType(ir.DoubleType(), vector.count)
        self._total = cgutils.alloca_once_value(builder, splat(wide, 0.0))
        self._growth = None
        if kind == "logistic":
            self._growth = cgutils.alloca_once_value(builder, splat(vector, 0.0))

    def begin(self) -> None:
        """Set the sum to 0."""
        total = self._total
        self._builder.store(splat(total.type.pointee, 0.0), total)

    def add(self, value: Value) -> None:
        """Add a vector of values."""
        if value.growth is None:
            add_wide(self._builder, self._total, value.term)
        else:
            v = Vectors(self._builder, self._vector)
            add_wide(self._builder, self._total, self._builder.fneg(value.term))
            before = self._builder.load(self._growth)
            both = v.fma(before, value.growth, v.add(before, value.growth))
            self._builder.store(both, self._growth)

    def add_logarithm(self) -> None:
        """End a group, of 16 rows at most."""
        if self._growth is not None:
            v = Vectors(self._builder, self._vector)
            add_wide(self._builder, self._total, log_one_plus(v, self._builder.load(self._growth)))
            self._builder.store(v.constant(0.0), self._growth)

    def add_logarithm_after(self, index) -> None:
        """End a group if it is full, given the number of the last vector of the tile."""
        if self._growth is not None:
            builder, last = self._builder, ir.IntType(64)(_GROUP - 1)
            full = builder.icmp_unsigned("==", builder.and_(index, last), last)
            with builder.if_then(full):
                self.add_logarithm()

    def load(self):
        """Return the sums, a vector of float64; the last group has to be ended."""
        return self._builder.load(self._total)


def whole_value(builder, value: Value):
    """Return the values as one vector."""
    if value.growth is None:
        return value.term
    v = Vectors(builder, value.term.type)
    return v.subtract(log_one_plus(v, value.growth), value.term)


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
    e = v.add(less, 1.0)
    return v.multiply(less, minus_inverse(v, e)), e


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
    """exp(-|z|), and -1 / (1 + exp(-|z|))."""
    e = decaying(v, v.builder.fneg(intrinsic(v.builder, "fabs", z)))
    return e, minus_inverse(v, e)


def _logistic(builder, vector, p):
    zero = splat(vector, 0.0)

    def step(builder, z):
        v = Vectors(builder, vector)
        e, inverse = _decay(v, z)
        slope = v.multiply(inverse, _select(builder, z, ">=", zero, e, splat(vector, 1.0)))
        # log(1 + exp(-z)), with what is as large as |z| apart.
        return slope, Value(_select(builder, z, "<", zero, z, zero), e)

    return step


def _exponential(builder, vector, p):
    def step(builder, z):
        value = exponential(Vectors(builder, vector), builder.fneg(z))
        return builder.fneg(value), Value(value)

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
        slope, value = step(builder, product)
        return slope, Value(value)

    return take


def _of_margin(step):
    def take(builder, product, target):
        v = Vectors(builder, product.type)
        slope, value = step(builder, v.multiply(product, target))
        there = intrinsic(builder, "fabs", target)
        if value.growth is None:
            value = Value(v.multiply(value.term, there))
        else:  # the term of a margin of 0 is 0
            value = Value(value.term, v.multiply(value.growth, there))
        return v.multiply(slope, target), value

    return take


def by_loss(builder, vector, kind: str, p, body: Callable[[Any], None]) -> None:
    """Emit ``body(take)`` once, or for l_p once for each kind of p, and branch over them.

    ``take(builder, product, target)`` returns slopes, and values as a ``Value``, of vectors of that
    type; the target is None where the product is the residual already. What leaves ``body`` has to
    go through variables in memory.
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
        e, inverse = _decay(v, v.add(r, r))
        inverse = v.add(inverse, inverse)
        return v.multiply(e, v.multiply(inverse, inverse))
    if kind == "logistic":
        e, inverse = _decay(v, r)
        return v.multiply(e, v.multiply(inverse, inverse))
    return exponential(v, builder.fneg(r))
