"""Optimiser steps, in place on a stretch of the flat parameters.

One kernel serves all rules: it branches on the kind of rule once a call, outside the loops.
``rule`` points to float64 numbers: the kind, the five hyperparameters, and what depends on the step
number, hyperparameters that are scheduled among it, which ``prepare`` sets once a step. Padding has
gradient zero and stays zero under every rule.

Where a square has overflowed, a step divided by its root would be 0 from then on, as if the model
had come to rest. ``s - s``, which is 0 of any other number, makes NaN of it, and the run diverges.

Group RMSProp must know the gradients of a whole group before it moves any of it, and gradients are
never kept. So they are made twice: ``make_consumers`` compiles what takes them a stretch at a time,
adding up squares at first and moving the parameters then.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

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
    RMSPROP,
    Rule,
)
from .factor_chain import COLUMNS, FIELDS, LD, PARAMS, ROWS, Chain, factor_row
from .jit import entry, in_order, inner, named, spliced
from .noise import chain_on_stack, disturb, factor_at, make_noise
from .norms import sum_of_squares
from .pieces import FLOATS, INTEGER, caller, made_elsewhere, piece
from .pointers import pointer, shift
from .schedules import value

#: Layout of ``rule``. ``SQUARE`` is the sum of squares of a group, as far as it has been added up;
#: of Langevin's rule ``CORRECTION_1`` is the scale of the noise, ``CORRECTION_2`` the step from 0;
#: ``SCHEDULED`` how many of RATE, DECAY and A have a program, and then where in the programs of a
#: run that is, 0 for none.
(
    KIND, RATE, DECAY, A, B, EPS, CORRECTION_1, CORRECTION_2, SQUARE, SCHEDULED, RATE_PROGRAM,
    DECAY_PROGRAM, A_PROGRAM, RULE_SIZE,
) = range(14)  # fmt: skip


def make_rule(kind: int, hyper: tuple[float, ...]) -> np.ndarray:
    """Lay out a rule for the kernels, without its programs."""
    rule = np.zeros(RULE_SIZE)
    rule[KIND] = kind
    rule[RATE : EPS + 1] = hyper
    return rule


def make_rules(rules: Sequence[Rule]) -> tuple[np.ndarray, np.ndarray]:
    """Lay out the rules of a run, a row each, and return the programs of all of them, too."""
    rows = np.array([make_rule(rule.kind, rule.hyper) for rule in rules])
    places, programs = together(rules)
    rows[:, SCHEDULED] = np.count_nonzero(places, axis=1)
    rows[:, RATE_PROGRAM : A_PROGRAM + 1] = places
    return rows, programs


def set_rate(rule: np.ndarray, rate: float) -> None:
    """Set the rate of a rule, which does not go by a program any more."""
    rule[RATE] = rate
    rule[SCHEDULED] -= rule[RATE_PROGRAM] > 0
    rule[RATE_PROGRAM] = 0


class Memory(NamedTuple):
    """What an update needs beside parameters and gradients: pointers to the state and to the rule.

    The state has a slot of ``slot`` elements, as many as there are parameters, for every buffer
    that the rule keeps. ``noise`` is the address of the piece that adds it, 0 where no rule does.
    """

    state: Any
    slot: int
    rule: Any
    noise: int


class Sink(NamedTuple):
    """Where gradients go: whether they are only to be measured, and the memory of the update.

    ``squares`` points to float64 numbers, one a row of all factors, where ranks that have some rows
    each leave the sums of squares, and ``gradients`` to where they leave what they have measured,
    laid out like the parameters; a rank on its own needs neither.
    """

    memory: Memory
    measuring: bool
    squares: Any
    gradients: Any


_FOLLOWING = (FLOATS, FLOATS, INTEGER)
_follow = caller(*_FOLLOWING)


@made_elsewhere
def make_follow():
    """Make the piece for ``(rule, programs, step)``: what goes by a schedule, at steps from 0."""

    @piece("follow", arguments=_FOLLOWING)
    def follow(rule, programs, step):
        for i in range(A_PROGRAM + 1 - RATE_PROGRAM):
            place = int(rule[RATE_PROGRAM + i])
            if place > 0:
                rule[RATE + i] = value(shift(programs, place), step)
        return 0

    return follow


@inner
def prepare(rule, programs, step, follow):
    """Set what depends on the step number (from 1): what is scheduled, bias corrections, noise.

    ``follow`` is the address of the piece that follows schedules, 0 where there are none.
    """
    if rule[SCHEDULED] != 0:
        _follow(follow, (rule, programs, step - 1))
    if rule[KIND] == ADAM:
        rule[CORRECTION_1] = 1.0 - rule[A] ** step
        rule[CORRECTION_2] = np.sqrt(1.0 - rule[B] ** step)
    elif rule[KIND] == GROUP_RMSPROP:
        rule[CORRECTION_1] = 1.0 - rule[A] ** step
        rule[SQUARE] = 0.0
    elif rule[KIND] == LANGEVIN:
        rule[CORRECTION_1] = np.sqrt(2.0 * rule[RATE] * rule[A])
        rule[CORRECTION_2] = step - 1


@cache
def make_update(dtype: np.dtype[Any]):
    """Compile ``update(params, memory, grads, start, count)``.

    ``grads[:count]`` belongs to ``params[start : start + count]``; both are pointers.
    """
    scalar, tiny = dtype.type, float(np.finfo(dtype).tiny)

    @in_order
    @named(dtype.name)
    def update(params, memory, grads, start, count):
        rule = memory.rule
        kind = int(rule[KIND])
        # Not below the smallest normal number: 0 / 0 in the padding would be NaN.
        eta, eps = scalar(rule[RATE]), scalar(max(rule[EPS], tiny))
        a, b = scalar(rule[A]), scalar(rule[B])
        rest_a, rest_b = scalar(1.0 - rule[A]), scalar(1.0 - rule[B])
        keep = scalar(1.0 - rule[RATE] * rule[DECAY])
        w = shift(params, start)
        if kind in (GRADIENT_DESCENT, LANGEVIN):
            for i in range(count):
                w[i] = keep * w[i] - eta * grads[i]
            return
        s = shift(memory.state, start)
        if kind == MOMENTUM:
            for i in range(count):
                s[i] = a * s[i] + grads[i]
                w[i] = keep * w[i] - eta * s[i]
        elif kind == NESTEROV:
            for i in range(count):
                s[i] = a * s[i] + grads[i]
                w[i] = keep * w[i] - eta * (grads[i] + a * s[i])
        elif kind == ADAGRAD:
            for i in range(count):
                s[i] += grads[i] * grads[i]
                w[i] = keep * w[i] - eta * (grads[i] / (np.sqrt(s[i]) + eps) + (s[i] - s[i]))
        elif kind == RMSPROP:
            for i in range(count):
                s[i] = a * s[i] + rest_a * (grads[i] * grads[i])
                w[i] = keep * w[i] - eta * (grads[i] / (np.sqrt(s[i]) + eps) + (s[i] - s[i]))
        elif kind == ADADELTA:
            t = shift(s, memory.slot)
            for i in range(count):
                g = grads[i]
                s[i] = a * s[i] + rest_a * (g * g)
                delta = np.sqrt(t[i] + eps) / np.sqrt(s[i] + eps) * g + (s[i] - s[i])
                t[i] = a * t[i] + rest_a * (delta * delta)
                w[i] = keep * w[i] - eta * delta
        elif kind == ADAM:
            t = shift(s, memory.slot)
            rate = scalar(rule[RATE] / rule[CORRECTION_1])
            spread = scalar(1.0 / rule[CORRECTION_2])
            for i in range(count):
                g = grads[i]
                s[i] = a * s[i] + rest_a * g
                t[i] = b * t[i] + rest_b * (g * g)
                step = s[i] / (np.sqrt(t[i]) * spread + eps) + (t[i] - t[i])
                w[i] = keep * w[i] - rate * step

    return update


@inner
def _place_of_mean(chain, rule, f):
    """Where the mean of the group that factor f belongs to stands in the state."""
    return factor_row(chain, f if rule[B] != 0.0 else 0)[PARAMS]


@cache
def _make_end_of_factor(dtype: np.dtype[Any]):
    """Compile ``end_of_factor(chain, f, memory)``: the sum of squares has all of factor f."""
    scalar = dtype.type

    @in_order
    @named(dtype.name)
    def end_of_factor(chain, f, memory):
        rule = memory.rule
        if rule[B] != 0.0 or f == chain.depth - 1:
            place = _place_of_mean(chain, rule, f)
            before = np.float64(memory.state[place])
            memory.state[place] = scalar(rule[A] * before + (1.0 - rule[A]) * rule[SQUARE])
            rule[SQUARE] = 0.0

    return end_of_factor


@cache
def make_move(dtype: np.dtype[Any]):
    """Compile ``move(chain, block, start, count, memory)``, once the means are those of the step.

    It is the ``update`` of group RMSProp; the stretch is part of one factor.
    """
    scalar, tiny = dtype.type, float(np.finfo(dtype).tiny)

    @in_order
    @named(dtype.name)
    def move(chain, block, start, count, memory):
        rule, w = memory.rule, shift(chain.params, start)
        eta, keep = scalar(rule[RATE]), scalar(1.0 - rule[RATE] * rule[DECAY])
        s = np.float64(memory.state[_place_of_mean(chain, rule, factor_at(chain, start))])
        root = np.sqrt(s / rule[CORRECTION_1]) + max(rule[EPS], tiny)
        below = scalar(root + (s - s))
        for i in range(count):
            w[i] = keep * w[i] - eta * (block[i] / below)

    return move


@cache
def make_consumers(dtype: np.dtype[Any]):
    """Compile ``consume(chain, block, start, count, sink)``, for a rank on its own and for a share.

    Both take the gradient of ``count`` parameters from ``start`` on, in ``block``, and update them
    or, where they are only measured, add up their squares. A rank on its own is given all factors,
    one after the other and each from its beginning to its end. One that has some rows of each is
    given whole rows, or pieces of them, those of a row in their order; the sums of the rows are
    left in ``squares`` for ``make_conclude``, so that no bit depends on whose the rows are, and the
    gradients for ``make_move``.
    """
    move, end_of_factor = make_move(dtype), _make_end_of_factor(dtype)
    update_by_element = make_update(dtype)

    @inner
    @named(dtype.name)
    def update(chain, block, start, count, memory):
        rule = memory.rule
        update_by_element(chain.params, memory, block, start, count)
        if rule[KIND] == LANGEVIN and rule[CORRECTION_1] != 0.0:
            step, seed = np.int64(rule[CORRECTION_2]), np.int64(rule[B])
            scale = rule[CORRECTION_1]
            disturb(memory.noise, (chain_on_stack(chain), start, count, scale, step, seed))

    @inner
    @named(dtype.name)
    def measure(chain, block, start, count, memory):
        f = factor_at(chain, start)
        row = factor_row(chain, f)
        memory.rule[SQUARE] += sum_of_squares(block, count)
        if start + count == row[PARAMS] + row[ROWS] * row[LD]:
            end_of_factor(chain, f, memory)

    @inner
    @named(dtype.name)
    def measure_rows(chain, block, start, count, squares):
        f, place = factor_at(chain, start), 0
        for other in range(f):
            place += factor_row(chain, other)[ROWS]
        row = factor_row(chain, f)
        ld, offset = row[LD], start - row[PARAMS]
        column = offset % ld
        place += offset // ld
        rows, piece = (count // ld, ld) if column == 0 and count >= ld else (min(count, 1), count)
        for r in range(rows):
            square = sum_of_squares(shift(block, r * piece), piece)
            squares[place + r] = square if column == 0 else squares[place + r] + square

    @spliced
    def consume(chain, block, start, count, sink):
        if sink.memory.rule[KIND] != GROUP_RMSPROP:
            update(chain, block, start, count, sink.memory)
        elif sink.measuring:
            measure(chain, block, start, count, sink.memory)
        else:
            move(chain, block, start, count, sink.memory)

    @spliced
    def consume_share(chain, block, start, count, sink):
        if sink.memory.rule[KIND] != GROUP_RMSPROP:
            update(chain, block, start, count, sink.memory)
        else:
            measure_rows(chain, block, start, count, sink.squares)
            kept = shift(sink.gradients, start)
            for i in range(count):
                kept[i] = block[i]

    return consume, consume_share


@cache
def make_conclude(dtype: np.dtype[Any]):
    """Compile ``conclude(chain, sink)``: the means, from the sums of squares of all rows."""
    end_of_factor = _make_end_of_factor(dtype)

    @inner
    @named(dtype.name)
    def conclude(chain, sink):
        begin, rule = 0, sink.memory.rule
        for f in range(chain.depth):
            rows, total = factor_row(chain, f)[ROWS], 0.0
            for r in range(begin, begin + rows):
                total += sink.squares[r]
            rule[SQUARE] += total
            end_of_factor(chain, f, sink.memory)
            begin += rows

    return conclude


@cache
def _make_entry(dtype: np.dtype[Any]):
    inner_update = make_update(dtype)

    @entry("update", dtype.name)
    def whole(params, state, grads, rule, step):
        memory = Memory(pointer(state), params.size, pointer(rule), 0)
        prepare(memory.rule, memory.rule, step, 0)  # which has no programs
        inner_update(pointer(params), memory, pointer(grads), 0, params.size)

    return whole


@cache
def _make_entry_by_factors(dtype: np.dtype[Any]):
    consume, _ = make_consumers(dtype)

    @entry("update by factors", dtype.name)
    def whole(params, state, grads, rule, table, step, noise):
        memory = Memory(pointer(state), params.size, pointer(rule), noise)
        prepare(memory.rule, memory.rule, step, 0)  # which has no programs
        chain = Chain(pointer(table), table.shape[0], 1, pointer(params), pointer(params))
        gradients = pointer(grads)
        measures = 1 if memory.rule[KIND] == GROUP_RMSPROP else 0
        for turn in range(1 + measures):
            sink = Sink(memory, turn < measures, memory.rule, gradients)
            for f in range(chain.depth):
                row = factor_row(chain, f)
                start, count = row[PARAMS], row[ROWS] * row[LD]
                consume(chain, shift(gradients, start), start, count, sink)

    return whole


def update(
    kind: int,
    params: np.ndarray,
    grads: np.ndarray,
    state: np.ndarray,
    hyper: tuple[float, ...],
    step: int,
    starts: Sequence[int] = (0,),
) -> None:
    """One step in place; ``state`` is (slots, n_params), ``step`` counts from 1.

    The factors begin at ``starts``.
    """
    rule = make_rule(kind, hyper)
    if kind in (GROUP_RMSPROP, LANGEVIN):
        table = np.zeros((len(starts), FIELDS), np.int64)
        table[:, ROWS], table[:, PARAMS] = 1, starts
        sizes = np.diff([*starts, params.size])
        table[:, COLUMNS] = table[:, LD] = sizes
        step_by_factors = _make_entry_by_factors(params.dtype)
        noise = make_noise(params.dtype).address if kind == LANGEVIN else 0
        step_by_factors(params, state.reshape(-1), grads, rule, table, step, noise)
        return
    _make_entry(params.dtype)(params, state.reshape(-1), grads, rule, step)
