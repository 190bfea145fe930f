"""Compiled training steps of networks with many outputs, by a team or by a rank on its own.

A step of a model has two phases or, by group RMSProp, three, each cut into parts for the ranks;
with batches there is one more where the iterate is to be recorded or evaluated:

    all       what "outputs" does, but over all data, and nothing is pulled back;
    outputs   each part has some of the outputs: the factors are multiplied out for them, the pass
              goes over all data, the gradient is pulled back through the factors
              (:mod:`.wide_pass`, :mod:`.wide_chain`);
    measure   by group RMSProp, each part has some rows of every factor: their gradients' squares;
    layers    each part has some rows of every factor: their gradients unless they have been
              measured, and the update.

What a part does in a phase is :func:`_make_phases`.

After the first the leader judges the iterate. The models take turns, each for a stretch of steps in
which all that it needs stays in the caches. No number depends on how many parts there are.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..specs import END_TO_END, GROUP_RMSPROP, RUNNING
from . import team
from .epilogue import (
    ACTIVE,
    END,
    EPILOGUE,
    EVALUATE,
    FIRST_BATCH,
    FOLLOW,
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
    here_of,
    is_due,
    judge,
    judge_batch,
    point_into,
    step_end_to_end,
)
from .factor_chain import LD, ROWS, factor_row
from .jit import entry, inner, named, spliced
from .norms import root
from .picked import pick_all, pick_batch, space_in
from .pointers import pointer, shift
from .shapes import shapes
from .simd import at
from .updates import (
    KIND,
    RULE_SIZE,
    make_conclude,
    make_consumers,
    prepare,
)
from .wide_layout import (
    end_to_end_gradient,
    end_to_end_matrix,
    last_gradient,
    make_span,
)
from .wide_pass import PassMemory, make_room, make_wide_pass, totals
from .wide_pieces import (
    PHASE_ALL,
    PHASE_LAYERS,
    PHASE_MEASURE,
    PHASE_OUTPUTS,
    Where,
    is_measured,
    layers,
    multiply,
    pull_back,
    sink_of,
)
from .wide_sampled import is_sampled, lowest_product, make_first_layer, make_sampled_outputs

#: Multiply-adds of all models, tenths of a second, between two looks at whether to stop.
_WORK = 2**32


@cache
def _make_begin_step(*, batches: bool):
    """Compile ``begin_step(run)``: the phase that a step of a model begins with."""

    @inner
    @named(batches)
    def begin_step(run):
        progress = run.progress
        progress[EPILOGUE] = PHASE_ALL if batches and is_due(run, progress[TURN]) else PHASE_OUTPUTS

    return begin_step


@cache
def _make_given(*, batches: bool):
    """Compile what there is to know of what a kernel is given, data or a ``Sampled``.

    ``all_of(given)`` are all data, ``rows_of(given)`` the most rows of a step, ``share_of(given,
    run)`` all rows over those of a pass, and ``data_of(given, run, work)`` what that goes over.
    """

    @spliced
    def itself(given):
        return given

    @spliced
    def rows_of_all(given):
        return given.n

    @spliced
    def one(given, run):
        return 1.0

    @spliced
    def for_all(given, run, work):
        return given

    if not batches:
        return itself, rows_of_all, one, for_all

    @spliced
    def all_of(given):
        return given.all_data

    @spliced
    def rows_of(given):
        return given.rows.shape[1]

    @spliced
    def share_of(given, run):
        if run.progress[EPILOGUE] == PHASE_ALL:
            return 1.0
        return given.all_data.n / given.counts[run.progress[TURN] - run.control[FIRST_BATCH]]

    @spliced
    def data_of(given, run, work):
        space, step = space_in(work, given.all_data, given.rows.shape[1]), run.progress[TURN]
        if run.progress[EPILOGUE] == PHASE_ALL:
            return pick_all(given, space, 0, 1)
        return pick_batch(given, space, step, step - run.control[FIRST_BATCH], 0, 1)

    return all_of, rows_of, share_of, data_of


@inner
def _begin(data, run, rows):
    """Leader: begin a round, in which each model in the run makes some steps over so many rows."""
    progress = run.progress
    chain, work = chain_of(run, run.active[0]), rows * data.d
    for f in range(chain.depth):
        row = factor_row(chain, f)
        work += 2 * row[ROWS] * row[LD]
    progress[END] = end_of_round(run, _WORK // (2 * work * data.k * progress[ACTIVE]))
    progress[PLACE], progress[TURN], progress[FURTHEST] = 0, progress[STEP], progress[STEP]


class _How(NamedTuple):
    """How a pass is made: whether backwards, to be recorded, or followed by an update."""

    backwards: bool
    recorded: bool
    descends: bool


@cache
def _make_phases(dtype: np.dtype[Any], lanes: int, form: str, kind: str):
    """Compile ``outputs(data, run, where, memory, how, scale, p)``, ``layers(...)``, ``count``.

    ``layers(data, run, where, room, sums)`` is the second phase of a part, ``room`` the address of
    scratch and a pointer to a block. ``count(data, chain)`` is how many numbers of the gradient of
    the end-to-end matrix stand in the chain.
    """
    own_pass, span_of = make_wide_pass(dtype, lanes, form, kind), make_span(lanes)

    @spliced
    def outputs(data, run, where, memory, how, scale, p):
        multiply(run, where, 0)
        chain, span = chain_of(run, where.model), span_of(data.k, where.part, where.parts)
        own_pass(data, chain, memory, span, how.backwards, scale, p)
        if how.descends:
            pull_back(run, where, 0)

    @spliced
    def all_layers(data, run, where, room, sums):
        layers(run, where, 0, sums)

    @spliced
    def count(data, chain):
        return (data.k + lanes - 1) // lanes * lanes * data.ld

    if form != "entries":
        return outputs, all_layers, count
    _, consume = make_consumers(dtype)
    sampled_outputs = make_sampled_outputs(dtype, lanes, kind)
    descend_first = make_first_layer(dtype, lanes, consume)

    @spliced
    def outputs_of_entries(data, run, where, memory, how, scale, p):
        chain, span = chain_of(run, where.model), span_of(data.k, where.part, where.parts)
        sampled = is_sampled(data, chain)
        lowest = lowest_product(chain) if sampled else 0
        # What is recorded is the norm of the whole matrix.
        multiply(run, where, 0 if how.recorded else lowest)
        if sampled:
            sampled_outputs(data, chain, memory, span, scale, p)
        else:
            own_pass(data, chain, memory, span, how.backwards, scale, p)
        if how.descends:
            pull_back(run, where, lowest)

    @spliced
    def layers_of_entries(data, run, where, room, sums):
        chain, rule = chain_of(run, where.model), shift(run.rules, where.model * RULE_SIZE)
        sampled = is_sampled(data, chain)
        if sampled and not is_measured(run, rule):
            descend_first(data, chain, room, sink_of(run, rule, sums), where.part, where.parts)
        layers(run, where, 1 if sampled else 0, sums)

    @spliced
    def count_of_entries(data, chain):
        sampled = is_sampled(data, chain)
        return data.values.size if sampled else (data.k + lanes - 1) // lanes * lanes * data.ld

    return outputs_of_entries, layers_of_entries, count_of_entries


@cache
def _make_turn(dtype: np.dtype[Any], lanes: int, form: str, kind: str, *, batches: bool):
    vectors, conclude = shapes().tile_vectors, make_conclude(dtype)
    room, (_, _, count) = make_room(lanes, form), _make_phases(dtype, lanes, form, kind)
    begin_step, (all_of, rows_of, share_of, _) = (
        _make_begin_step(batches=batches),
        _make_given(batches=batches),
    )

    @inner
    @named(dtype.name, lanes, form, batches)
    def turn(given, run, sums):
        """Leader: what comes after a phase, and whether another one does."""
        data = all_of(given)
        control, progress = run.control, run.progress
        model, step = run.active[progress[PLACE]], progress[TURN]
        fate, rule = shift(run.models, model * MODEL_SIZE), shift(run.rules, model * RULE_SIZE)
        phase = progress[EPILOGUE]
        if phase in (PHASE_OUTPUTS, PHASE_ALL):
            chain = chain_of(run, model)
            size = (data.k + lanes - 1) // lanes * lanes * data.ld
            loss, square = totals(data, shift(sums, room(data)), lanes, vectors)
            gradient_norm = root(square, end_to_end_gradient(chain), count(data, chain))
            if batches and phase == PHASE_OUTPUTS:
                loss *= share_of(given, run) * run.limits[SCALE]
                status = judge_batch(run, model, step, loss, gradient_norm)
            else:
                iterate = end_to_end_matrix(chain), size, gradient_norm
                status = judge(run, iterate, model, step, run.limits[SCALE] * loss)
            progress[FURTHEST] = max(progress[FURTHEST], step)
            if control[EVALUATE] == 0:
                fate[STATUS] = status
                if status == RUNNING and phase == PHASE_ALL:
                    progress[EPILOGUE] = PHASE_OUTPUTS
                    return True
                if status == RUNNING:
                    prepare(rule, run.programs, step + 1, control[FOLLOW])
                    progress[EPILOGUE] = (
                        PHASE_MEASURE if rule[KIND] == GROUP_RMSPROP else PHASE_LAYERS
                    )
                    return True
        elif phase == PHASE_MEASURE:
            conclude(chain_of(run, model), sink_of(run, rule, sums))
            progress[EPILOGUE] = PHASE_LAYERS
            return True
        else:
            fate[STEPS] += 1
            progress[TURN] = step + 1
            if step + 1 < progress[END]:
                begin_step(run)
                return True
        progress[PLACE] += 1
        if progress[PLACE] < progress[ACTIVE]:
            progress[TURN] = progress[STEP]
            begin_step(run)
            return True
        if control[EVALUATE]:
            return False
        if not close_round(run, progress[END], progress[FURTHEST]):
            return False
        _begin(data, run, rows_of(given))
        begin_step(run)
        return True

    return turn


@inner
def _how(run):
    """How the pass of the step is made whose turn it is."""
    evaluates, step = run.control[EVALUATE] != 0, run.progress[TURN]
    descends = not evaluates and run.progress[EPILOGUE] != PHASE_ALL
    return _How(step % 2 == 1, is_due(run, step), descends)


@cache
def make_wide(
    dtype: np.dtype[Any], lanes: int, form: str, kind: str = "lp", *, batches: bool = False
):
    """Make the kernel ``advance(given, shared, scratch, flags, rank)``, called by every rank.

    A rank on its own has one part, and flags that nobody reads. What is given are the data or, with
    ``batches``, a ``Sampled``.
    """
    turn = _make_turn(dtype, lanes, form, kind, batches=batches)
    begin_step, (all_of, rows_of, share_of, data_of) = (
        _make_begin_step(batches=batches),
        _make_given(batches=batches),
    )
    outputs, own_layers, _ = _make_phases(dtype, lanes, form, kind)

    @entry("wide", dtype.name, lanes, form, kind, batches)
    def advance(given, shared, scratch, flags, rank):
        data, run = all_of(given), point_into(shared)
        progress, slope, p = run.progress, run.limits[SLOPE], run.limits[P]
        parts, ranks = flags.size // team.SPACING - 2, scratch.work.shape[0]
        sums = pointer(scratch.sums)
        memory = PassMemory(at(scratch.work[rank], 0), sums)
        room = Room(pointer(scratch.block[rank]), pointer(scratch.spare[rank]))
        here = here_of(run, room)
        first, last, phase = parts * rank // ranks, parts * (rank + 1) // ranks, 0
        if rank == 0:
            last = parts  # its own, and then those that nobody has begun with
            if progress[ACTIVE] == 0:
                return
            _begin(data, run, rows_of(given))
            begin_step(run)
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
                where = Where(here, model, part, parts)
                if progress[EPILOGUE] == PHASE_OUTPUTS or progress[EPILOGUE] == PHASE_ALL:
                    how, scale = _how(run), slope * share_of(given, run)
                    mine = data_of(given, run, scratch.work[rank])
                    outputs(mine, run, where, memory, how, scale, p)
                elif run.rules[model * RULE_SIZE + KIND] != END_TO_END:
                    own_layers(data, run, where, (memory.residuals, room.block), sums)
                elif part == 0:
                    gradient = last_gradient(chain_of(run, model), lanes)
                    step_end_to_end(run, here, model, gradient)
                if parts > 1:
                    team.arrive(flags, part, phase)
            if rank > 0:
                continue
            if parts > 1 and not team.await_units(flags, phase):
                return
            if not turn(given, run, sums):
                return

    return advance
