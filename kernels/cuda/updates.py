"""Optimiser steps, an element at a time, by whichever thread holds its gradient.

The state of the parameter at ``memory[place]`` lies one and two times ``stride`` further on.
Where a square has overflowed, ``s - s`` makes NaN of it: otherwise the parameter would stand still
for ever.

Group RMSProp is not one of these: it needs the sum of squares of a whole group before. ``groups``
has its steps in a run, here is what they are made of.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import cuda, types

from ..reference.schedules import together
from ..specs import (
    ADADELTA,
    ADAGRAD,
    ADAM,
    GRADIENT_DESCENT,
    GROUP_RMSPROP,
    LANGEVIN,
    MOMENTUM,
    NESTEROV,
    PARAMETERS,
    RMSPROP,
    Rule,
)
from .jit import THREADS, Kernel, as_like, device, pointer, xp
from .philox import gaussian
from .planning import makes_kernel
from .reduce import SUMS_SIZE, block_sum, this_thread

#: Layout of a row of ``rules``; three say where in the programs of a run those of RATE, DECAY and A
#: begin, 0 for none. Langevin's rule has the kind of gradient descent, and is NOISY (``noise``).
(
    KIND, RATE, DECAY, A, B, EPS, RATE_PROGRAM, DECAY_PROGRAM, A_PROGRAM, NOISY, RULE_SIZE,
) = range(11)  # fmt: skip
#: How many constants of a rule may be scheduled.
SCHEDULABLE = A + 1 - RATE

#: In place of a kind of rule: it is looked up in every update. MIXED is ANY where some of the rules
#: are group RMSProp, whose steps are made in another way. They are no kinds that a row may have.
ANY, MIXED = 9, 10


class Constants(NamedTuple):
    """A rule in a certain step, in the run's dtype.

    ``spread`` is Adam's second correction, or that of a group's mean.
    """

    kind: int
    stride: int
    eta: float
    keep: float
    a: float
    b: float
    rest_a: float
    rest_b: float
    eps: float
    spread: float


def make_rule(kind: int, hyper: tuple[float, ...]) -> np.ndarray:
    """Lay out a rule for the kernels, without its programs."""
    noisy = kind == LANGEVIN
    kind = GRADIENT_DESCENT if noisy else kind
    return np.array([kind, *hyper, *(0.0,) * SCHEDULABLE, noisy], np.float64)


def make_rules(rules: Sequence[Rule]) -> tuple[np.ndarray, np.ndarray]:
    """Lay out the rules of a run, a row each, and return the programs of all of them, too."""
    rows = np.stack([make_rule(rule.kind, rule.hyper) for rule in rules])
    rows[:, RATE_PROGRAM:NOISY], programs = together(rules)
    return rows, programs


@device
def prepare(rules, at, step, corrections, place):
    """One thread: leave the two corrections for the step-th update, which counts from 1."""
    if rules[at + KIND] == ADAM or rules[at + KIND] == GROUP_RMSPROP:
        corrections[place] = 1.0 - rules[at + A] ** float(step)
    if rules[at + KIND] == ADAM:
        corrections[place + 1] = math.sqrt(1.0 - rules[at + B] ** float(step))


@cache
def make_constants(dtype: np.dtype[Any], scheduled: int = 0) -> Any:
    """Make ``constants(rules, at, stride, corrections, place)``, after ``prepare``.

    With ``scheduled`` rate, decay and a are not the rule's, but stand so far behind ``place``.
    """
    scalar, tiny = dtype.type, float(np.finfo(dtype).tiny)

    @device
    def constants(rules, at, stride, corrections, place):
        kind, rate, spread = int(rules[at + KIND]), rules[at + RATE], 1.0
        a, b, decay = rules[at + A], rules[at + B], rules[at + DECAY]
        if scheduled:
            rate, decay = corrections[place + scheduled], corrections[place + scheduled + 1]
            a = corrections[place + scheduled + 2]
        keep = 1.0 - rate * decay
        if kind == ADAM:
            rate, spread = rate / corrections[place], corrections[place + 1]
        if kind == GROUP_RMSPROP:
            spread = corrections[place]
        return Constants(
            kind, stride, scalar(rate), scalar(keep), scalar(a), scalar(b), scalar(1.0 - a),
            scalar(1.0 - b), scalar(max(rules[at + EPS], tiny)), scalar(spread),
        )  # fmt: skip

    return constants


@cache
def make_update(kind: int) -> Any:
    """Make ``update(memory, place, g, rule)``: one step of one parameter, whose gradient is g.

    With the kind of rule known, or ANY.
    """

    @device
    def update(memory, place, g, rule):
        does = rule.kind if kind == ANY else kind
        w = memory[place]
        step = g
        if does != GRADIENT_DESCENT:
            first = place + rule.stride
            s = memory[first]
            if does == MOMENTUM:
                s = rule.a * s + g
                step = s
            elif does == NESTEROV:
                s = rule.a * s + g
                step = g + rule.a * s
            elif does == ADAGRAD:
                s += g * g
                step = g / (math.sqrt(s) + rule.eps) + (s - s)
            elif does == RMSPROP:
                s = rule.a * s + rule.rest_a * (g * g)
                step = g / (math.sqrt(s) + rule.eps) + (s - s)
            elif does == ADADELTA:
                t = memory[first + rule.stride]
                s = rule.a * s + rule.rest_a * (g * g)
                step = math.sqrt(t + rule.eps) / math.sqrt(s + rule.eps) * g + (s - s)
                memory[first + rule.stride] = rule.a * t + rule.rest_a * (step * step)
            elif does == ADAM:
                t = rule.b * memory[first + rule.stride] + rule.rest_b * (g * g)
                s = rule.a * s + rule.rest_a * g
                step = s / (math.sqrt(t) / rule.spread + rule.eps) + (t - t)
                memory[first + rule.stride] = t
            memory[first] = s
        memory[place] = rule.keep * w - rule.eta * step

    return update


@cache
def make_mean(dtype: np.dtype[Any]) -> Any:
    """Make ``average(memory, place, square, rule)``: a group's mean with its new sum of squares.

    One thread calls it; the mean stands at ``memory[place]``.
    """
    scalar = dtype.type

    @device
    def average(memory, place, square, rule):
        before = float(memory[place])
        memory[place] = scalar(float(rule.a) * before + float(rule.rest_a) * square)

    return average


@device
def below(memory, place, rule):
    """Return what gradients are divided by in a group whose mean is ``memory[place]``."""
    s = float(memory[place])
    return math.sqrt(s / float(rule.spread)) + float(rule.eps) + (s - s)


@cache
def make_move(dtype: np.dtype[Any]) -> Any:
    """Make ``move(memory, place, g, rule, divisor)``: one parameter, divisor is from ``below``."""
    scalar = dtype.type

    @device
    def move(memory, place, g, rule, divisor):
        memory[place] = rule.keep * memory[place] - rule.eta * (g / scalar(divisor))

    return move


@makes_kernel
def _make_group_kernel(dtype: np.dtype[Any]) -> Kernel:
    """Make ``update(memory, grads, rules, ends, factors, step)`` for one block.

    ``ends[f]`` to ``ends[f + 1]`` is factor f.
    """
    constants, average, move = make_constants(dtype), make_mean(dtype), make_move(dtype)

    def update(memory, grads, rules, ends, factors, step):
        thread = this_thread()
        corrections = cuda.shared.array(2, types.float64)
        doubles = cuda.shared.array(SUMS_SIZE, types.float64)
        if thread == 0:
            prepare(rules, 0, step, corrections, 0)
        cuda.syncthreads()
        rule = constants(rules, 0, ends[factors], corrections, 0)
        by_factor = rules[B] != 0.0
        groups = factors if by_factor else 1
        for f in range(groups):
            first, end = ends[f], ends[f + 1 if by_factor else factors]
            square = 0.0
            for i in range(first + thread, end, THREADS):
                square += float(grads[i]) * float(grads[i])
            square = block_sum(square, doubles)
            mean = first + rule.stride
            if thread == 0:
                average(memory, mean, square, rule)
            cuda.syncthreads()
            divisor = below(memory, mean, rule)
            for i in range(first + thread, end, THREADS):
                move(memory, i, grads[i], rule, divisor)

    signature = [pointer(dtype), pointer(dtype), pointer(np.float64), pointer(np.int64)]
    return Kernel(update, [*signature, types.int64, types.int64], (dtype.name, "in_groups"))


@makes_kernel
def _make_kernel(dtype: np.dtype[Any]) -> Kernel:
    constants, update_one = make_constants(dtype), make_update(ANY)

    def update(memory, grads, rules, count, step):
        corrections = cuda.shared.array(2, types.float64)
        if cuda.threadIdx.x == 0:
            prepare(rules, 0, step, corrections, 0)
        cuda.syncthreads()
        rule = constants(rules, 0, count, corrections, 0)
        place = cuda.grid(1)
        if place < count:
            update_one(memory, place, grads[place], rule)

    signature = [pointer(dtype), pointer(dtype), pointer(np.float64), types.int64, types.int64]
    return Kernel(update, signature, (dtype.name,))


@makes_kernel
def _make_noise_kernel(dtype: np.dtype[Any]) -> Kernel:
    """Make ``disturb_once(memory, rules, count, step)``: Langevin's noise, behind ``update``."""
    scalar = dtype.type

    def disturb_once(memory, rules, count, step):
        place, scale = cuda.grid(1), math.sqrt(2.0 * rules[RATE] * rules[A])
        if place < count and scale != 0.0:
            number = gaussian(place, PARAMETERS, step - 1, int(rules[B]))
            memory[place] += scalar(scale * number)

    signature = [pointer(dtype), pointer(np.float64), types.int64, types.int64]
    return Kernel(disturb_once, signature, (dtype.name,))


def update(
    kind: int,
    params: Any,
    grads: Any,
    state: Any,
    hyper: tuple[float, ...],
    step: int,
    starts: Sequence[int] = (0,),
) -> None:
    """One step in place; ``state`` is (slots, n_params), ``step`` counts from 1.

    The factors begin at ``starts``.
    """
    count, dtype = params.size, np.dtype(params.dtype)
    memory = xp.concatenate([xp.asarray(part).ravel() for part in (params, state)])
    rules = xp.asarray(make_rule(kind, hyper))
    if kind == GROUP_RMSPROP:
        ends = xp.asarray(np.array([*starts, count], np.int64))
        arguments = (memory, xp.asarray(grads), rules, ends, len(starts), step)
        _make_group_kernel(dtype).prepared(1, arguments)()
    else:
        blocks = -(-count // THREADS)
        arguments = (memory, xp.asarray(grads), rules, count, step)
        _make_kernel(dtype).prepared(blocks, arguments)()
        if kind == LANGEVIN:
            _make_noise_kernel(dtype).prepared(blocks, (memory, rules, count, step))()
    params[...] = as_like(params, memory[:count])
    state[...] = as_like(state, memory[count:].reshape(state.shape))
