r"""Schedules: constants of a rule that go from step to step.

A program is a schedule as the kernels take it, one flat array of float64. It has segments, sorted
by the step that they begin at; the value at step t, which counts from 0, is the product of the
terms of the last segment that has begun. With :math:`u = \max(t - b, 0)`, b where the term's time
begins, and :math:`v = \min(u / T, 1)` the terms are

===============  ==============================================================  ==================
term             value                                                           constants
===============  ==============================================================  ==================
CONSTANT         c                                                               c
POLYNOMIAL       :math:`i f + e (1 - f)` with :math:`f = (1 - v)^p`              i, e, T, p
EXPONENTIAL      :math:`i r^{u / T}`, at least l and at most m                   i, r, T, l, m
STAIRCASE        the same with :math:`\lfloor u / T \rfloor`                     i, r, T, l, m
COSINE           :math:`i (a + (1 - a) ((1 + \cos \pi v) / 2)^p)`                i, a, T, p
INVERSE_POWER    :math:`i (1 + u / T)^{-p}`                                      i, T, p
STEPS_OF_TABLE   :math:`y_j`, j the number of the :math:`x_1 < ... < x_m` that   where the table is,
                 are at most u                                                   m
LINES_OF_TABLE   on the line from :math:`y_j` at :math:`x_j` to the next point;  the same
                 :math:`x_0 = 0`, and :math:`y_m` from :math:`x_m` on
WAVES_OF_TABLE   the same with half a wave of a cosine in place of the line      the same
===============  ==============================================================  ==================

The half wave is computed as :math:`\sin^2(\pi (1 - v) / 2)`, which is right to a few eps of itself
near its end, too, and 0 there. A table has :math:`x_1, ..., x_m` and then :math:`y_0, ..., y_m`.
The names of the terms and the layout of a program are in :mod:`accel.kernels.specs`; where
something lies in a program is counted from its beginning.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..protocols import Array
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
    Rule,
)


class Term(NamedTuple):
    """A factor of a segment.

    Its kind, its constants, the step that its time begins at, and for the kinds that have one its
    table, which takes the place of the constants.
    """

    kind: int
    constants: tuple[float, ...]
    begin: int = 0
    table: Array | None = None


#: The step that it begins at, and its terms.
Segment = tuple[int, tuple[Term, ...]]


def program_of(segments: Sequence[Segment]) -> Array:
    """Lay out a program; the segments are sorted by where they begin, the first begins at 0.

    A table that several terms have is there once.
    """
    listed = [term for _, terms in segments for term in terms]
    tables = {id(term.table): term.table for term in listed if term.table is not None}
    at_terms = SEGMENTS + SEGMENT_SIZE * len(segments)
    place = at_terms + TERM_SIZE * len(listed)
    places = {}
    for key, numbers in tables.items():
        places[key], place = place, place + len(numbers)
    program = np.zeros(place)
    program[0] = len(segments)
    rows = program[SEGMENTS:at_terms].reshape(-1, SEGMENT_SIZE)
    for row, (begin, terms) in zip(rows, segments, strict=True):
        row[[BEGIN_OF, TERMS_OF, COUNT_OF]] = begin, at_terms, len(terms)
        for kind, constants, time, table in terms:
            own = program[at_terms : at_terms + TERM_SIZE]
            own[KIND_OF_TERM], own[TIME_OF_TERM] = kind, time
            if table is not None:
                constants = (places[id(table)], len(table) // 2)
            own[CONSTANTS_OF_TERM : CONSTANTS_OF_TERM + len(constants)] = constants
            at_terms += TERM_SIZE
    for key, numbers in tables.items():
        program[places[key] : places[key] + len(numbers)] = numbers
    return program


def _half_wave(v: Array) -> Array:
    """Half a wave of a cosine, from 1 at v = 0 to 0 at v = 1."""
    wave: Array = np.sin(0.5 * np.pi * (1.0 - v)) ** 2
    return wave


def _from_table(kind: int, x: Array, y: Array, u: Array) -> Array:
    place = np.searchsorted(x, u, side="right")
    if kind == STEPS_OF_TABLE:
        steps: Array = y[place]
        return steps
    after = np.minimum(place, len(x) - 1)
    left = np.where(after > 0, x[after - 1], 0.0)
    done = np.minimum((u - left) / (x[after] - left), 1.0)
    rest = 1.0 - done if kind == LINES_OF_TABLE else _half_wave(done)
    value: Array = np.where(place < len(x), y[after] * rest + y[after + 1] * (1.0 - rest), y[-1])
    return value


def _term(program: Array, row: Array, steps: Array) -> Array:
    kind, c = int(row[KIND_OF_TERM]), row[CONSTANTS_OF_TERM:]
    u = np.maximum(steps - row[TIME_OF_TERM], 0.0)
    value: Array
    if kind == CONSTANT:
        value = np.full(len(u), c[0])
    elif kind == POLYNOMIAL:
        rest = (1.0 - np.minimum(u / c[2], 1.0)) ** c[3]
        value = c[0] * rest + c[1] * (1.0 - rest)
    elif kind in (EXPONENTIAL, STAIRCASE):
        value = c[0] * c[1] ** (np.floor(u / c[2]) if kind == STAIRCASE else u / c[2])
        value = np.minimum(np.maximum(value, c[3]), c[4])
    elif kind == COSINE:
        wave = _half_wave(np.minimum(u / c[2], 1.0))
        value = c[0] * (c[1] + (1.0 - c[1]) * wave ** c[3])
    elif kind == INVERSE_POWER:
        value = c[0] * (1.0 + u / c[1]) ** -c[2]
    else:
        place, count = int(c[0]), int(c[1])
        middle = place + count
        table, values = program[place:middle], program[middle : middle + count + 1]
        value = _from_table(kind, table, values, u)
    return value


def value(program: Array, steps: Any) -> Array:
    """Return the value of a program at each step.

    Parameters
    ----------
    program : 1-D array, as ``program_of`` returns it
    steps : (m,) array of whole numbers
        From 0 on.

    Returns
    -------
    (m,) float64 array

    Notes
    -----
    With eps that of float64, a term has an error of a few eps times the sum of the absolute values
    of what its formula adds up, plus that of a power's base times the exponent.
    """
    t = np.asarray(steps, np.float64)
    count = int(program[0])
    rows = program[SEGMENTS : SEGMENTS + SEGMENT_SIZE * count].reshape(-1, SEGMENT_SIZE)
    own = np.searchsorted(rows[1:, BEGIN_OF], t, side="right")
    values = np.ones(len(t))
    for segment in np.unique(own):
        here = own == segment
        first, terms = int(rows[segment, TERMS_OF]), int(rows[segment, COUNT_OF])
        table = program[first : first + TERM_SIZE * terms].reshape(-1, TERM_SIZE)
        with np.errstate(over="ignore"):  # a rate may grow beyond all numbers
            for row in table:
                values[here] *= _term(program, row, t[here])
    return values


def together(rules: Sequence[Rule]) -> tuple[Array, Array]:
    """Return the programs of the rules of a run in one array, and where each begins in it.

    A program that several rules have is there once.

    Returns
    -------
    places : (M, 3) int64 array
        Of ``Rule.programs``; 0, where no program begins, for None.
    programs : 1-D float64 array
    """
    places, parts = np.zeros((len(rules), 3), np.int64), [np.zeros(1)]
    known, end = {}, 1
    for row, rule in zip(places, rules, strict=True):
        for i, program in enumerate(rule.programs):
            if program is None:
                continue
            if id(program) not in known:
                known[id(program)], end = end, end + len(program)
                parts.append(program)
            row[i] = known[id(program)]
    return places, np.concatenate(parts)


def at(rule: Rule, step: int) -> tuple[float, float, float, float, float]:
    """Return the constants of a rule at a step, which counts from 0."""
    hyper = list(rule.hyper)
    for i, program in enumerate(rule.programs):
        if program is not None:
            hyper[i] = float(value(program, [step])[0])
    rate, decay, a, b, eps = hyper
    return rate, decay, a, b, eps
