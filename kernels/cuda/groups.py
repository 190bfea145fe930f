"""A step of group RMSProp by the threads of one block, which have gradients an element at a time.

All gradients are made twice, since none is kept: first their squares are added up, factor by
factor, and the means of the groups follow from them; then every parameter moves.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import cuda

from .entrywise import make_descend
from .factor_chain import PARAMS, TABLE
from .jit import THREADS, WARP, device
from .reduce import block_sums, this_thread
from .updates import below, make_mean, make_move


class Group(NamedTuple):
    """What a thread needs: the rule, four numbers of its own, and the room of ``block_sums``.

    The first of the numbers is the thread's sum of squares, or what it divides by.
    """

    rule: Any
    numbers: Any
    doubles: Any
    at: int


@device
def _place_of_mean(table, f, group):
    """Return where the mean of the group that factor f belongs to stands."""
    first = f if group.rule.b != 0 else 0
    return table[first * TABLE + PARAMS] + group.rule.stride


@device
def _add(memory, place, g, group):
    group.numbers[0] += float(g) * float(g)


@cache
def _make_conclude(dtype: np.dtype[Any]) -> Any:
    average = make_mean(dtype)

    @device
    def conclude(memory, table, f, depth, group):
        """Take what has been added up into the mean, where a group ends before factor f."""
        if f > 0 and (group.rule.b != 0 or f == depth):
            block_sums(group.numbers, 1, THREADS // WARP, group.doubles, group.at)
            if this_thread() == 0:
                average(memory, _place_of_mean(table, f - 1, group), group.numbers[0], group.rule)
            group.numbers[0] = 0.0

    return conclude


@device
def _look_up(memory, table, f, depth, group):
    if f < depth:
        group.numbers[0] = below(memory, _place_of_mean(table, f, group), group.rule)


@cache
def _make_consume(dtype: np.dtype[Any]) -> Any:
    move = make_move(dtype)

    @device
    def consume(memory, place, g, group):
        move(memory, place, g, group.rule, group.numbers[0])

    return consume


@cache
def make_group_step(dtype: np.dtype[Any], structure: str) -> Any:
    """Make ``step_group(block, depth, k, rule, numbers)``: update all factors.

    ``numbers`` are the four of ``block_sums``, of which nothing is left.
    """
    measure = make_descend(dtype, structure, _add, _make_conclude(dtype))
    descend = make_descend(dtype, structure, _make_consume(dtype), _look_up)

    @device
    def step_group(block, depth, k, rule, numbers):
        group = Group(rule, numbers, block.doubles, block.at_sums)
        numbers[0] = 0.0
        measure(block.memory, block.table, depth, k, group)
        cuda.syncthreads()
        descend(block.memory, block.table, depth, k, group)

    return step_group
