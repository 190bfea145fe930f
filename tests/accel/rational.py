"""The l_p loss in 80 digits, points of lower loss, exact ranks: references for certificates."""

import itertools
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np

DIGITS = 80


def decimals(a):
    """The exact values of floats."""
    return [Decimal(float(v)) for v in np.ravel(a)]


def residuals(X, y, w):
    return [sum(a * b for a, b in zip(x, w, strict=True)) - t for x, t in zip(X, y, strict=True)]


def loss(X, y, w, p, weights):
    powers = [abs(r) ** p for r in residuals(X, y, w)]
    return sum(s * power for s, power in zip(weights, powers, strict=True)) / sum(weights)


def solved(A, b):
    """Solve by Gaussian elimination; None if A is singular up to its last digits."""
    rows = [[*row, v] for row, v in zip(A, b, strict=True)]
    least = max(abs(v) for row in A for v in row) / 10 ** (DIGITS // 2)
    for i in range(len(rows)):
        top = max(range(i, len(rows)), key=lambda j: abs(rows[j][i]))
        if abs(rows[top][i]) <= least:
            return None
        rows[i], rows[top] = rows[top], rows[i]
        for j in range(len(rows)):
            if j != i:
                factor = rows[j][i] / rows[i][i]
                rows[j] = [u - factor * v for u, v in zip(rows[j], rows[i], strict=True)]
    return [row[-1] / row[i] for i, row in enumerate(rows)]


def damped_newton(loss_at, step_at, w, steps):
    """The least loss of damped Newton iterates from w; ``step_at(w)`` is None where there is none.

    A step is halved until it leads down.
    """
    best = loss_at(w)
    for _ in range(steps):
        step = step_at(w)
        if step is None:
            break
        for halvings in range(12):
            there = [a + b / 2**halvings for a, b in zip(w, step, strict=True)]
            value = loss_at(there)
            if value < best:
                w, best = there, value
                break
        else:
            break
    return best


def descended(X, y, w, p, weights, steps=6):
    """The least loss of the iterates of Newton's method from w, for p > 1."""
    d = len(w)

    def step_at(w):
        g, H = [Decimal(0)] * d, [[Decimal(0)] * d for _ in range(d)]
        for x, r, s in zip(X, residuals(X, y, w), weights, strict=True):
            if r != 0:
                slope, curvature = s * abs(r) ** (p - 1), s * (p - 1) * abs(r) ** (p - 2)
                for i in range(d):
                    g[i] -= slope.copy_sign(r * slope) * x[i]
                    for j in range(d):
                        H[i][j] += curvature * x[i] * x[j]
        return solved(H, g)

    return damped_newton(lambda w: loss(X, y, w, p, weights), step_at, w, steps)


def least_found(X, y, w, p, weights=None):
    """The loss at w, and the least loss of points around it, in 80 digits."""
    with localcontext() as context:
        context.prec = DIGITS
        X, y, w, p = [decimals(x) for x in X], decimals(y), decimals(w), Decimal(float(p))
        weights = decimals(np.ones(len(y)) if weights is None else weights)
        here = loss(X, y, w, p, weights)
        if p > 1:
            return here, descended(X, y, w, p, weights)
        best = here
        for some in itertools.combinations(range(len(y)), len(w)):
            vertex = solved([X[i] for i in some], [y[i] for i in some])
            if vertex is not None:
                best = min(best, loss(X, y, vertex, p, weights))
        return here, best


def rank(X):
    """The rank of a matrix of floats, in exact arithmetic."""
    rows, rank = [[Fraction(float(v)) for v in row] for row in X], 0
    for j in range(len(rows[0])):
        pivot = next((i for i in range(rank, len(rows)) if rows[i][j]), None)
        if pivot is None:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        for i in range(rank + 1, len(rows)):
            factor = rows[i][j] / rows[rank][j]
            rows[i] = [u - factor * v for u, v in zip(rows[i], rows[rank], strict=True)]
        rank += 1
    return rank
