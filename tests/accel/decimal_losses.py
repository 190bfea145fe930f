"""The losses beside l_p in 60 digits, and points of lower loss: references for certificates."""

import itertools
from decimal import Decimal, localcontext

from .rational import damped_newton, decimals, residuals, solved

PRECISION = 60


def sample(kind, p, r):
    """Value, slope and curvature of one residual, or of one margin times its label."""
    one = Decimal(1)
    low, high = Decimal(float(p)), Decimal(1 - float(p))
    if kind == "huber":
        if abs(r) <= low:
            return r * r / 2, r, one
        return low * (abs(r) - low / 2), low.copy_sign(r), 0 * one
    if kind == "pinball":
        return (high * r, high, 0 * one) if r > 0 else (-low * r, -low, 0 * one)
    if kind == "expectile":
        a = high if r > 0 else low
        return a * r * r, 2 * a * r, 2 * a
    e = (-2 * abs(r) if kind == "logcosh" else -abs(r)).exp()
    if kind == "logcosh":
        slope = ((1 - e) / (1 + e)).copy_sign(r)
        return abs(r) + ((1 + e) / 2).ln(), slope, 4 * e / (1 + e) ** 2
    if kind == "logistic":
        value = max(-r, 0 * one) + (1 + e).ln()
        return value, -(e if r > 0 else one) / (1 + e), e / (1 + e) ** 2
    value = (-r).exp()
    return value, -value, value


def rows_of(kind, X, y):
    """Rows and targets for which a prediction less its target is the residual, or the margin."""
    rows, y = [decimals(x) for x in X], decimals(y)
    if kind in ("logistic", "exponential"):
        return [[t * a for a in x] for x, t in zip(rows, y, strict=True)], [Decimal(0)] * len(y)
    return rows, y


def mean_loss(kind, p, X, y, w):
    """The mean loss of Decimals."""
    return sum(sample(kind, p, r)[0] for r in residuals(X, y, w)) / len(y)


def _descended(kind, p, X, y, w, steps=8):
    d = len(w)

    def step_at(w):
        parts = [sample(kind, p, r) for r in residuals(X, y, w)]
        g = [-sum(s * x[i] for x, (_, s, _) in zip(X, parts, strict=True)) for i in range(d)]
        H = [
            [sum(c * x[i] * x[j] for x, (_, _, c) in zip(X, parts, strict=True)) for j in range(d)]
            for i in range(d)
        ]
        return solved(H, g) if any(any(row) for row in H) else None

    return damped_newton(lambda w: mean_loss(kind, p, X, y, w), step_at, w, steps)


def least_found(kind, p, X, y, w):
    """The mean loss at w, and the least of points around it, in 60 digits."""
    with localcontext() as context:
        context.prec = PRECISION
        X, y = rows_of(kind, X, y)
        w = decimals(w)
        here = mean_loss(kind, p, X, y, w)
        if kind != "pinball":
            return here, _descended(kind, p, X, y, w)
        best = here
        for some in itertools.combinations(range(len(y)), len(w)):
            vertex = solved([X[i] for i in some], [y[i] for i in some])
            if vertex is not None:
                best = min(best, mean_loss(kind, p, X, y, vertex))
        return here, best
