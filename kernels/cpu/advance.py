"""Compiled training steps of a team: data so large that every pass is worth cutting.

The ranks make a chunk of thousands of steps without Python in between. All models of a run advance
together; a single run is a run with one model. A step has two phases,

    the pass, cut into parts of the tiles, for all models at once;
    the epilogue, for each model (:mod:`.epilogue`);

then the leader drops models that have ended. A part is a unit of the team's, and so is the share of
the models that has its number. The leader treats a single model alone, which saves a phase.

So the bits of a model depend on the number of parts, but not on the other models of the run, nor on
which of them leave. There is a part for every thread that the caller asks for, but no more ranks
than processors: more would spend their time waiting for each other to get one. Nothing but
parameters, state and step number is carried from step to step, so results do not depend on where a
run is cut into chunks. :mod:`.loop` holds a run; what is too small to cut is for :mod:`.solo`.
"""

from functools import cache
from typing import Any

import numpy as np

from . import team
from .epilogue import (
    ACTIVE,
    EPILOGUE,
    EVALUATE,
    GOING,
    STEP,
    STOP_AT,
    STOP_REQUEST,
    P,
    Room,
    chain_of,
    close_ranks,
    here_of,
    multiply,
    point_into,
    reduce,
    scales_of,
    settle,
    squared_slope,
)
from .factor_chain import end_to_end_matrix
from .jit import entry, inner, spliced
from .lp_loss import make_forward
from .pointers import pointer


@inner
def _turn(run, size):
    """Leader: end a step, and say whether another one follows."""
    control, progress = run.control, run.progress
    progress[GOING] = 0
    if control[EVALUATE]:
        return
    close_ranks(run, size)
    if progress[ACTIVE] > 0:
        progress[STEP] += 1
        progress[GOING] = progress[STEP] < progress[STOP_AT] and control[STOP_REQUEST] == 0


@cache
def make_advance(dtype: np.dtype[Any], lanes: int, form: str, kind: str):
    """Make the kernel: chunks of steps of all models, called by every rank of the team."""
    forward = make_forward(dtype, lanes, form, kind)

    @spliced
    def publish(chain, run, place, size):
        """Leave W where the pass reads it."""
        W, start = end_to_end_matrix(chain), place * size
        for i in range(size):
            run.weights[start + i] = W[i]

    @entry("advance", dtype.name, lanes, form, kind)
    def advance(data, shared, scratch, flags, rank):
        run, size = point_into(shared), data.k * data.ld
        progress, p = run.progress, run.limits[P]
        work, (parts, length), sums = scratch.work[rank], scratch.sums.shape, pointer(scratch.sums)
        here = here_of(run, Room(pointer(scratch.block[rank]), pointer(scratch.spare[rank])))
        n_tiles = (data.n + data.tile - 1) // data.tile
        ranks, phase = scratch.work.shape[0], 0
        first, last = parts * rank // ranks, parts * (rank + 1) // ranks
        if rank == 0:
            last = parts  # its own, and then those that nobody has begun with
            for place in range(progress[ACTIVE]):
                model = run.active[place]
                multiply(run, here, model)
                publish(chain_of(run, model), run, place, size)
            progress[EPILOGUE] = 0
        while True:
            alone = rank == 0 and progress[EPILOGUE] == 1 and progress[ACTIVE] == 1
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
                count, step = progress[ACTIVE], progress[STEP]
                begin, end = count * part // parts, count * (part + 1) // parts
                if alone:
                    begin, end = 0, 1
                elif progress[EPILOGUE] == 0:
                    begin, end = 0, 0
                    mine = shared.weights[: count * size]
                    top, bottom = n_tiles * part // parts, n_tiles * (part + 1) // parts
                    forward(data, mine, work, scratch.sums[part], top, bottom, step % 2 == 1, p)
                for place in range(begin, end):
                    model = run.active[place]
                    chain = chain_of(run, model)
                    loss = reduce(chain, sums, parts, length, place, scales_of(run))
                    value = loss, squared_slope(chain)
                    settle(run, here, model, step, value)
                    publish(chain, run, place, size)
                if not alone:
                    team.arrive(flags, part, phase)

            if rank > 0:
                continue
            if not alone and not team.await_units(flags, phase):
                return
            progress[EPILOGUE] = 1 - progress[EPILOGUE]
            if progress[EPILOGUE] == 0:
                _turn(run, size)
                if not progress[GOING]:
                    return

    return advance
