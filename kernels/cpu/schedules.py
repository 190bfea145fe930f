"""The programs of schedules, one step at a time, from within a run.

A step costs a binary search over the segments and one over a table, and so some tens of nanoseconds
even where a table has millions of entries. Every operation is made as it is written, so that bits
differ from the reference's only where a power or a sine of NumPy's does.
"""

import math
from functools import cache

import numpy as np

from ..specs import (
    BEGIN_OF,
    CONSTANT,
    CONSTANTS_OF_TERM,
    COSINE,
    COUNT_OF,
    EXPONENTIAL,
    INVERSE_POWER,
    KIND_OF_TERM,
    LINES_OF_TABLE,
    POLYNOMIAL,
    SEGMENT_SIZE,
    SEGMENTS,
    STAIRCASE,
    STEPS_OF_TABLE,
    TERM_SIZE,
    TERMS_OF,
    TIME_OF_TERM,
)
from .jit import as_written, entry
from .pointers import pointer, shift


@as_written
def _reached(numbers, stride, count, t):
    """How many of ``count`` ascending numbers, each ``stride`` after the last, are at most t."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if numbers[middle * stride] <= t:
            low = middle + 1
        else:
            high = middle
    return low


@as_written
def _half_wave(v):
    root = math.sin(0.5 * math.pi * (1.0 - v))
    return root * root


@as_written
def _from_table(kind, x, count, u):
    y, place = shift(x, count), _reached(x, 1, count, u)
    if kind == STEPS_OF_TABLE or place == count:
        return y[place]
    left = x[place - 1] if place > 0 else 0.0
    done = (u - left) / (x[place] - left)
    rest = 1.0 - done if kind == LINES_OF_TABLE else _half_wave(done)
    return y[place] * rest + y[place + 1] * (1.0 - rest)


@as_written
def _term(program, row, t):
    kind, c = int(row[KIND_OF_TERM]), shift(row, CONSTANTS_OF_TERM)
    if kind == CONSTANT:
        return c[0]
    u = max(t - row[TIME_OF_TERM], 0.0)
    if kind == POLYNOMIAL:
        rest = 1.0 - min(u / c[2], 1.0)
        if c[3] != 1.0:
            rest = rest ** c[3]
        return c[0] * rest + c[1] * (1.0 - rest)
    if kind in (EXPONENTIAL, STAIRCASE):
        power = u / c[2]
        if kind == STAIRCASE:
            power = math.floor(power)
        return min(max(c[0] * c[1] ** power, c[3]), c[4])
    if kind == COSINE:
        wave = _half_wave(min(u / c[2], 1.0))
        if c[3] != 1.0:
            wave = wave ** c[3]
        return c[0] * (c[1] + (1.0 - c[1]) * wave)
    if kind == INVERSE_POWER:
        return c[0] * (1.0 + u / c[1]) ** -c[2]
    return _from_table(kind, shift(program, int(c[0])), int(c[1]), u)


@as_written
def value(program, step):
    """Return the value of the program that a pointer leads to, at a step from 0 on."""
    t, count = float(step), int(program[0])
    rows = shift(program, SEGMENTS)
    segment = _reached(shift(rows, BEGIN_OF), SEGMENT_SIZE, count, t) - 1
    own = shift(rows, segment * SEGMENT_SIZE)
    total, terms = 1.0, int(own[COUNT_OF])
    for i in range(terms):
        total *= _term(program, shift(program, int(own[TERMS_OF]) + i * TERM_SIZE), t)
    return total


@cache
def _make_entry():
    @entry("values")
    def whole(program, steps, out):
        for i in range(steps.size):
            out[i] = value(pointer(program), steps[i])

    return whole


def values(program: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return the values of a program at steps (m,), int64, as float64."""
    out = np.empty(len(steps))
    _make_entry()(program, steps, out)
    return out
