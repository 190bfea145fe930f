"""The programs of schedules on the device.

Streamed runs have ``follow`` between two passes: a thread a model writes what is scheduled into its
rule, where all that comes after reads it. A resident run makes thousands of steps in a launch, and
has no registers to spare for powers and cosines; so ``tabulate`` leaves the values for all steps
of the launch before, as many threads as there are values, and a step reads three numbers.
"""

import math
from typing import Any

import numpy as np
from numba import cuda, types

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
from .epilogue import ACTIVE, BEGIN, MODEL_SIZE, STEPS, run_type
from .jit import Kernel, device, pointer
from .planning import makes_kernel
from .updates import RATE, RATE_PROGRAM, RULE_SIZE, SCHEDULABLE

#: Terms of the sine's series: the next one is below the rounding errors up to pi/2.
_TERMS = 11


@device
def _reached(numbers, first, stride, count, t):
    """Return how many of ``count`` ascending numbers are at most t, one ``stride`` apart."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if numbers[first + middle * stride] <= t:
            low = middle + 1
        else:
            high = middle
    return low


@device
def _half_wave(v):
    """Return the half wave by Taylor's series of the sine, up to pi/2.

    The library's sine is made for any argument, with a table that a thread keeps in its stack.
    """
    y = 0.5 * math.pi * (1.0 - v)
    square, series = y * y, 0.0
    for i in range(_TERMS - 1, 0, -1):
        series = (1.0 - series) * square / float(2 * i * (2 * i + 1))
    root = y * (1.0 - series)
    return root * root


@device
def _from_table(kind, programs, x, count, u):
    y, place = x + count, _reached(programs, x, 1, count, u)
    if kind == STEPS_OF_TABLE or place == count:
        return programs[y + place]
    left = programs[x + place - 1] if place > 0 else 0.0
    done = (u - left) / (programs[x + place] - left)
    rest = 1.0 - done if kind == LINES_OF_TABLE else _half_wave(done)
    return programs[y + place] * rest + programs[y + place + 1] * (1.0 - rest)


@device
def _term(programs, start, row, t):
    kind, c = int(programs[row + KIND_OF_TERM]), row + CONSTANTS_OF_TERM
    first, second, third = programs[c], programs[c + 1], programs[c + 2]
    u = max(t - programs[row + TIME_OF_TERM], 0.0)
    if kind == CONSTANT:
        return first
    if kind == POLYNOMIAL:
        rest = (1.0 - min(u / third, 1.0)) ** programs[c + 3]
        return first * rest + second * (1.0 - rest)
    if kind == EXPONENTIAL or kind == STAIRCASE:  # noqa: SIM109 - no tuples on the device
        power = u / third
        if kind == STAIRCASE:
            power = math.floor(power)
        return min(max(first * second**power, programs[c + 3]), programs[c + 4])
    if kind == COSINE:
        wave = _half_wave(min(u / third, 1.0))
        return first * (second + (1.0 - second) * wave ** programs[c + 3])
    if kind == INVERSE_POWER:
        return first * (1.0 + u / second) ** -third
    return _from_table(kind, programs, start + int(first), int(second), u)


@device
def value(programs, start, step):
    """Return the value at a step, from 0 on, of the program that begins at ``start``."""
    t, count, rows = float(step), int(programs[start]), start + SEGMENTS
    segment = _reached(programs, rows + BEGIN_OF, SEGMENT_SIZE, count, t) - 1
    own = rows + segment * SEGMENT_SIZE
    total, at = 1.0, start + int(programs[own + TERMS_OF])
    for i in range(int(programs[own + COUNT_OF])):
        total *= _term(programs, start, at + i * TERM_SIZE, t)
    return total


@makes_kernel
def make_follow(dtype: np.dtype[Any]) -> Kernel:
    """Make the kernel ``follow(run, programs, seats)``, a thread for each of so many models.

    What is scheduled becomes that of the step that follows.
    """

    def follow(run, programs, seats):
        place = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if place >= seats:
            return
        model = run.active[place]
        step, at_rule = run.models[model * MODEL_SIZE + STEPS], model * RULE_SIZE
        for i in range(SCHEDULABLE):
            start = int(run.rules[at_rule + RATE_PROGRAM + i])
            if start > 0:
                run.rules[at_rule + RATE + i] = value(programs, start, step)

    signature = [run_type(dtype), pointer(np.float64), types.int64]
    return Kernel(follow, signature, (dtype.name,))


@makes_kernel
def make_tabulate(dtype: np.dtype[Any]) -> Kernel:
    """Make the kernel ``tabulate(run, programs, steps)``: rate, decay and a, for so many steps.

    They are left in ``run.schedule``, (active models, steps, 3), whether they are scheduled or not.
    """

    def tabulate(run, programs, steps):
        first = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        for e in range(first, run.control[ACTIVE] * steps, cuda.gridDim.x * cuda.blockDim.x):
            at_rule = run.active[e // steps] * RULE_SIZE
            for i in range(SCHEDULABLE):
                start = int(run.rules[at_rule + RATE_PROGRAM + i])
                now = run.rules[at_rule + RATE + i]
                if start > 0:
                    now = value(programs, start, run.control[BEGIN] + e % steps)
                run.schedule[SCHEDULABLE * e + i] = now

    signature = [run_type(dtype), pointer(np.float64), types.int64]
    return Kernel(tabulate, signature, (dtype.name,))
