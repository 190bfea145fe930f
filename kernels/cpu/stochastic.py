"""Compiled training steps with batches, by a team or by a rank on its own.

A step has two phases, or four if its iterate is to be recorded or evaluated,

    all, judge       the pass over all data, for all models at once, then each one is judged by it;
    batch, descend   the pass over the rows of the step, for all models, then each one descends.

Each is cut into parts for the ranks, as in :mod:`.advance`. A rank on its own has one part, and
flags that nobody reads. The rows of a step are a function of its number, and all models have the
same.
"""

from functools import cache
from typing import Any

import numpy as np

from . import team
from .epilogue import (
    ACTIVE,
    EPILOGUE,
    EVALUATE,
    FIRST_BATCH,
    HEEDING,
    MODEL_SIZE,
    STATUS,
    STEP,
    STOP_AT,
    STOP_REQUEST,
    P,
    Room,
    chain_of,
    close_ranks,
    here_of,
    is_due,
    judge,
    multiply,
    point_into,
    reduce,
    scales_of,
    settle,
    squared_slope,
)
from .factor_chain import end_to_end_gradient, end_to_end_matrix
from .jit import entry, inner, spliced
from .lp_loss import make_forward
from .norms import root
from .picked import pick_all, pick_batch, space_in
from .pointers import pointer

#: The phases of a step, in ``progress[EPILOGUE]``.
ALL, JUDGE, BATCH, DESCEND = range(4)


@inner
def _begin_step(run):
    """Leader: which phase a step begins with."""
    run.progress[EPILOGUE] = ALL if is_due(run, run.progress[STEP]) else BATCH


@inner
def _turn(run, size):
    """Leader: what comes after a phase, and whether another one does."""
    control, progress = run.control, run.progress
    phase = progress[EPILOGUE]
    progress[EPILOGUE] = phase + 1
    if phase in (ALL, BATCH):
        return True
    if control[EVALUATE]:
        return False
    close_ranks(run, size)
    if progress[ACTIVE] == 0:
        return False
    if phase == JUDGE:
        return True
    progress[STEP] += 1
    _begin_step(run)
    stopped = progress[HEEDING] and control[STOP_REQUEST]
    return progress[STEP] < progress[STOP_AT] and not stopped


@cache
def make_stochastic(dtype: np.dtype[Any], lanes: int, form: str, kind: str):
    """Make the kernel ``advance(sampled, shared, scratch, flags, rank)``, called by every rank."""
    forward = make_forward(dtype, lanes, form, kind)

    @spliced
    def publish(chain, run, place, size):
        """Leave W where the pass reads it."""
        W, start = end_to_end_matrix(chain), place * size
        for i in range(size):
            run.weights[start + i] = W[i]

    @inner
    def judge_all(run, chain, model, step, loss, size):
        """Judge and record an iterate by all data."""
        gradient_norm = root(squared_slope(chain), end_to_end_gradient(chain), size)
        iterate = end_to_end_matrix(chain), size, gradient_norm
        status = judge(run, iterate, model, step, loss)
        if run.control[EVALUATE] == 0:
            run.models[model * MODEL_SIZE + STATUS] = status

    @entry("stochastic", dtype.name, lanes, form, kind)
    def advance(sampled, shared, scratch, flags, rank):
        data, run = sampled.all_data, point_into(shared)
        size, progress, p = data.k * data.ld, run.progress, run.limits[P]
        work, (parts, length), sums = scratch.work[rank], scratch.sums.shape, pointer(scratch.sums)
        here = here_of(run, Room(pointer(scratch.block[rank]), pointer(scratch.spare[rank])))
        space = space_in(work, data, sampled.rows.shape[1])
        ranks, phase = scratch.work.shape[0], 0
        first, last = parts * rank // ranks, parts * (rank + 1) // ranks
        if rank == 0:
            last = parts  # its own, and then those that nobody has begun with
            if progress[ACTIVE] == 0:
                return
            for place in range(progress[ACTIVE]):
                model = run.active[place]
                multiply(run, here, model)
                publish(chain_of(run, model), run, place, size)
            _begin_step(run)
        while True:
            # The leader treats a single model alone, which saves waiting.
            models = progress[EPILOGUE] == JUDGE or progress[EPILOGUE] == DESCEND
            alone = parts == 1 or (rank == 0 and models and progress[ACTIVE] == 1)
            if rank > 0:
                phase = team.await_leader(flags, phase)
                if phase == 0:
                    return
            elif not alone:
                phase += 1
                team.release(flags, phase)
            for part in range(first, 1 if alone else last):
                if not alone and not team.claim(flags, part, phase):
                    continue
                count, step, turn = progress[ACTIVE], progress[STEP], progress[EPILOGUE]
                begin, end = count * part // parts, count * (part + 1) // parts
                if alone:
                    begin, end = 0, count
                place_of_step = step - run.control[FIRST_BATCH]
                if turn in (ALL, BATCH):
                    begin, end = 0, 0
                    if turn == ALL:
                        rows = pick_all(sampled, space, part, parts)
                    else:
                        rows = pick_batch(sampled, space, step, place_of_step, part, parts)
                    mine = shared.weights[: count * size]
                    tiles = (rows.n + data.tile - 1) // data.tile
                    backwards = step % 2 == 1
                    forward(rows, mine, work, scratch.sums[part], 0, tiles, backwards, p)
                value, slope = scales_of(run)
                if turn == DESCEND:
                    share = data.n / sampled.counts[place_of_step]
                    value, slope = share * value, share * slope
                for place in range(begin, end):
                    model = run.active[place]
                    chain = chain_of(run, model)
                    loss = reduce(chain, sums, parts, length, place, (value, slope))
                    if turn == JUDGE:
                        judge_all(run, chain, model, step, loss, size)
                    else:
                        settle(run, here, model, step, (loss, squared_slope(chain)))
                        publish(chain, run, place, size)
                if not alone:
                    team.arrive(flags, part, phase)
            if rank > 0:
                continue
            if not alone and not team.await_units(flags, phase):
                return
            if not _turn(run, size):
                return

    return advance
