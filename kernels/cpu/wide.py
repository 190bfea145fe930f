"""Compiled training steps of networks with many outputs, by a team or by a rank on its own.

A step of a model has two phases or, by group RMSProp, three, each cut into parts for the ranks:

    outputs   each part has some of the outputs: the factors are multiplied out for them, the pass
              goes over all data, the gradient is pulled back through the factors
              (:mod:`.wide_pass`, :mod:`.wide_chain`);
    measure   by group RMSProp, each part has some rows of every factor: their gradients' squares;
    layers    each part has some rows of every factor: their gradients, and the update.

After the first the leader judges the iterate. The models take turns, each for a stretch of steps in
which all that it needs stays in the caches. No number depends on how many parts there are.
"""

from functools import cache
from typing import Any

import numpy as np

from ..specs import END_TO_END, GROUP_RMSPROP, RUNNING
from . import team
from .epilogue import (
    ACTIVE,
    END,
    EPILOGUE,
    EVALUATE,
    FURTHEST,
    MODEL_SIZE,
    PLACE,
    SCALE,
    SLOPE,
    STATUS,
    STEP,
    STEPS,
    TURN,
    P,
    Room,
    chain_of,
    close_round,
    end_of_round,
    judge,
    point_into,
    step_end_to_end,
)
from .factor_chain import LD, ROWS, factor_row
from .jit import entry, inner, named
from .norms import root
from .pointers import pointer, shift
from .processor import cache_bytes
from .shapes import shapes
from .simd import at
from .updates import KIND, RULE_SIZE, Memory, Sink, make_conclude, make_consumers, prepare
from .wide_ahead import make_ahead
from .wide_chain import make_layers, make_outputs
from .wide_layout import end_to_end_gradient, end_to_end_matrix, last_gradient, make_share
from .wide_pass import PassMemory, make_room, make_wide_pass, totals

#: Multiply-adds of all models, tenths of a second, between two looks at whether to stop.
_WORK = 2**32
#: The phases of a step, in ``progress[EPILOGUE]``.
_OUTPUTS, _LAYERS, _MEASURE = range(3)


@inner
def _begin(data, run):
    """Leader: begin a round, in which each model in the run makes some steps."""
    progress = run.progress
    chain, work = chain_of(run, run.active[0]), data.n * data.d
    for f in range(chain.depth):
        row = factor_row(chain, f)
        work += 2 * row[ROWS] * row[LD]
    progress[END] = end_of_round(run, _WORK // (2 * work * data.k * progress[ACTIVE]))
    progress[PLACE], progress[TURN], progress[EPILOGUE] = 0, progress[STEP], _OUTPUTS
    progress[FURTHEST] = progress[STEP]


@cache
def _make_turn(dtype: np.dtype[Any], lanes: int, form: str):
    vectors, conclude = shapes().tile_vectors, make_conclude(dtype)
    room = make_room(lanes, form)

    @inner
    @named(dtype.name, lanes, form)
    def turn(data, run, sums):
        """Leader: what comes after a phase, and whether another one does."""
        control, progress = run.control, run.progress
        model, step = run.active[progress[PLACE]], progress[TURN]
        fate, rule = shift(run.models, model * MODEL_SIZE), shift(run.rules, model * RULE_SIZE)
        if progress[EPILOGUE] == _OUTPUTS:
            chain = chain_of(run, model)
            size = (data.k + lanes - 1) // lanes * lanes * data.ld
            loss, square = totals(data, shift(sums, room(data)), lanes, vectors)
            gradient_norm = root(square, end_to_end_gradient(chain), size)
            iterate = end_to_end_matrix(chain), size, gradient_norm
            status = judge(run, iterate, model, step, run.limits[SCALE] * loss)
            progress[FURTHEST] = max(progress[FURTHEST], step)
            if control[EVALUATE] == 0:
                fate[STATUS] = status
                if status == RUNNING:
                    prepare(rule, step + 1)
                    progress[EPILOGUE] = _MEASURE if rule[KIND] == GROUP_RMSPROP else _LAYERS
                    return True
        elif progress[EPILOGUE] == _MEASURE:
            sink = Sink(Memory(run.state, run.total, rule), True, sums)
            conclude(chain_of(run, model), sink)
            progress[EPILOGUE] = _LAYERS
            return True
        else:
            fate[STEPS] += 1
            progress[TURN], progress[EPILOGUE] = step + 1, _OUTPUTS
            if step + 1 < progress[END]:
                return True
        progress[PLACE] += 1
        if progress[PLACE] < progress[ACTIVE]:
            progress[TURN] = progress[STEP]
            return True
        if control[EVALUATE]:
            return False
        if not close_round(run, progress[END], progress[FURTHEST]):
            return False
        _begin(data, run)
        return True

    return turn


@cache
def make_wide(dtype: np.dtype[Any], lanes: int, form: str, kind: str = "lp"):
    """Make the kernel ``advance(data, shared, scratch, flags, rank)``, called by every rank.

    A rank on its own has one part, and flags that nobody reads.
    """
    own_pass = make_wide_pass(dtype, lanes, form, kind)
    turn = _make_turn(dtype, lanes, form)
    multiply, pull_back = make_outputs(dtype, lanes)
    (_, consume), share = make_consumers(dtype), make_share()
    # Factors that have room in half of the second level are asked for ahead.
    near = cache_bytes(2) // 2 // dtype.itemsize
    before_outputs, before_layers = make_ahead(dtype, lanes)

    descend = make_layers(dtype, lanes, consume)

    @entry("wide", dtype.name, lanes, form, kind)
    def advance(data, shared, scratch, flags, rank):
        run = point_into(shared)
        progress, slope, p = run.progress, run.limits[SLOPE], run.limits[P]
        parts, ranks = flags.size // team.SPACING - 2, scratch.work.shape[0]
        vectors, sums = (data.k + lanes - 1) // lanes, pointer(scratch.sums)
        memory = PassMemory(at(scratch.work[rank], 0), sums)
        room = Room(pointer(scratch.block[rank]), pointer(scratch.spare[rank]))
        ahead = parts > 1 and run.total <= near
        first, last, phase = parts * rank // ranks, parts * (rank + 1) // ranks, 0
        if rank == 0:
            last = parts  # its own, and then those that nobody has begun with
            if progress[ACTIVE] == 0:
                return
            _begin(data, run)
        while True:
            if rank > 0:
                phase = team.await_leader(flags, phase)
                if phase == 0:
                    return
            elif parts > 1:
                phase += 1
                team.release(flags, phase)
            for part in range(first, last):
                if parts > 1 and not team.claim(flags, part, phase):
                    continue
                model = run.active[progress[PLACE]]
                chain = chain_of(run, model)
                if progress[EPILOGUE] == _OUTPUTS:
                    span = share(vectors, part, parts), share(vectors, part + 1, parts)
                    if ahead:
                        before_outputs(chain, part, parts)
                    multiply(chain, span[0], span[1])
                    backwards = progress[TURN] % 2 == 1
                    own_pass(data, chain, memory, span, backwards, slope, p)
                    if run.control[EVALUATE] == 0:
                        pull_back(chain, span[0], span[1])
                else:
                    rule = shift(run.rules, model * RULE_SIZE)
                    if ahead:
                        before_layers(chain, part, parts)
                    if rule[KIND] != END_TO_END:
                        # Between two passes nothing else is in the sums.
                        measuring = progress[EPILOGUE] == _MEASURE
                        sink = Sink(Memory(run.state, run.total, rule), measuring, sums)
                        descend(chain, room.block, sink, part, parts)
                    elif part == 0:
                        step_end_to_end(chain, last_gradient(chain, lanes), rule, room)
                if parts > 1:
                    team.arrive(flags, part, phase)
            if rank > 0:
                continue
            if parts > 1 and not team.await_units(flags, phase):
                return
            if not turn(data, run, sums):
                return

    return advance
