"""Optimiser steps, in place on a stretch of the flat parameters.

One kernel serves all rules: it branches on the kind of rule once a call, outside the loops.
``rule`` points to float64 numbers: the kind, the five hyperparameters, and what depends on the step
number, which ``prepare`` sets once a step. Padding has gradient zero and stays zero under every
rule.

Where a square has overflowed, a step divided by its root would be 0 from then on, as if the model
had come to rest. ``s - s``, which is 0 of any other number, makes NaN of it, and the run diverges.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..specs import ADADELTA, ADAGRAD, ADAM, GRADIENT_DESCENT, MOMENTUM, NESTEROV, RMSPROP
from .jit import entry, in_order, inner, named
from .pointers import pointer, shift

#: Layout of ``rule``.
KIND, RATE, DECAY, A, B, EPS, CORRECTION_1, CORRECTION_2, RULE_SIZE = range(9)


def make_rule(kind: int, hyper: tuple[float, ...]) -> np.ndarray:
    """Lay out a rule for the kernels."""
    rule = np.zeros(RULE_SIZE)
    rule[KIND] = kind
    rule[RATE : EPS + 1] = hyper
    return rule


class Memory(NamedTuple):
    """What an update needs beside parameters and gradients: pointers to the state and to the rule.

    The state has a slot of ``slot`` elements, as many as there are parameters, for every buffer
    that the rule keeps.
    """

    state: Any
    slot: int
    rule: Any


@inner
def prepare(rule, step):
    """Set what depends on the step number (from 1): Adam's bias corrections."""
    if rule[KIND] == ADAM:
        rule[CORRECTION_1] = 1.0 - rule[A] ** step
        rule[CORRECTION_2] = np.sqrt(1.0 - rule[B] ** step)


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
        if kind == GRADIENT_DESCENT:
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


@cache
def _make_entry(dtype: np.dtype[Any]):
    inner_update = make_update(dtype)

    @entry("update", dtype.name)
    def whole(params, state, grads, rule, step):
        memory = Memory(pointer(state), params.size, pointer(rule))
        prepare(memory.rule, step)
        inner_update(pointer(params), memory, pointer(grads), 0, params.size)

    return whole


def update(
    kind: int,
    params: np.ndarray,
    grads: np.ndarray,
    state: np.ndarray,
    hyper: tuple[float, ...],
    step: int,
) -> None:
    """One step in place; ``state`` is (slots, n_params), ``step`` counts from 1."""
    rule = make_rule(kind, hyper)
    _make_entry(params.dtype)(params, state.reshape(-1), grads, rule, step)
