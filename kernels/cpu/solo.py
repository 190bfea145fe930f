"""Compiled training steps of one rank on its own: no team, no claims, nothing atomic.

Models do not interact. So where the data are too small for their passes to be cut, each rank has a
share of the models and makes thousands of steps of them without meeting another rank
(:mod:`.ranks`). Three kernels do that:

``make_joint``     all models of the share step by step, with one pass for all of them;
``make_singly``    each model by itself for a stretch of steps, everything it needs in the
                   first-level cache, with the pass of :mod:`.columns` for small data, that of
                   :mod:`.diagonal` for diagonal ones, or that of :mod:`.gram_pass` for one map;
``make_grouped``   a few models at a time for a stretch of steps, with the matrix product of
                   :mod:`.gram_pass`.

Whether the end-to-end matrix is a product or an entrywise map, only the pieces know that they call.
In none of them does a model's result depend on the share that it is in, nor on its place there.
"""

from functools import cache
from typing import Any

import numpy as np

from ..specs import RUNNING
from .columns import make_columns_pass
from .diagonal import make_diagonal_pass
from .epilogue import (
    ACTIVE,
    EVALUATE,
    HEEDING,
    MODEL_SIZE,
    SCALE,
    SLOPE,
    STATUS,
    STEP,
    STOP_AT,
    STOP_REQUEST,
    P,
    Room,
    chain_of,
    close_ranks,
    close_round,
    end_of_round,
    here_of,
    multiply,
    point_into,
    reduce,
    scales_of,
    settle,
    squared_slope,
)
from .factor_chain import end_to_end_gradient, end_to_end_matrix
from .gram_pass import make_gram_pass, make_gram_passes
from .jit import entry, inner, spliced
from .lp_loss import make_forward
from .pointers import pointer, shift

#: Multiply-adds of all models, a millisecond or so, between two looks at whether to stop.
_WORK = 2**22
#: The same where they are made in matrix products, which are some ten times as fast.
_PRODUCTS = 2**25

#: The passes for one model by itself.
_PASSES = {
    "columns": make_columns_pass,
    "diagonal": make_diagonal_pass,
    "gram": make_gram_pass,
}


@cache
def make_joint(dtype: np.dtype[Any], lanes: int, form: str, kind: str):
    """Make the kernel ``advance(data, shared, scratch)`` with one pass a step for all models."""
    forward = make_forward(dtype, lanes, form, kind)

    @entry("joint", dtype.name, lanes, form, kind)
    def advance(data, shared, scratch):
        run, size = point_into(shared), data.k * data.ld
        control, progress, p = run.control, run.progress, run.limits[P]
        sums, length = pointer(scratch.sums), scratch.sums.size
        here = here_of(run, Room(pointer(scratch.block), pointer(scratch.spare)))
        n_tiles = (data.n + data.tile - 1) // data.tile
        for place in range(progress[ACTIVE]):
            model = run.active[place]
            multiply(run, here, model)
            W = end_to_end_matrix(chain_of(run, model))
            for i in range(size):
                run.weights[place * size + i] = W[i]
        while progress[ACTIVE] > 0:
            count, step = progress[ACTIVE], progress[STEP]
            mine = shared.weights[: count * size]
            backwards = step % 2 == 1
            forward(data, mine, scratch.work, scratch.sums, 0, n_tiles, backwards, p)
            ended = False
            for place in range(count):
                model = run.active[place]
                chain = chain_of(run, model)
                loss = reduce(chain, sums, 1, length, place, scales_of(run))
                value = loss, squared_slope(chain)
                if settle(run, here, model, step, value) != RUNNING:
                    ended = True
                W = end_to_end_matrix(chain)
                for i in range(size):
                    run.weights[place * size + i] = W[i]
            if control[EVALUATE]:
                return
            if ended:
                close_ranks(run, size)
            if progress[ACTIVE] > 0:
                progress[STEP] += 1
            stopped = progress[HEEDING] and control[STOP_REQUEST]
            if progress[STEP] >= progress[STOP_AT] or stopped:
                return

    return advance


@cache
def make_singly(dtype: np.dtype[Any], lanes: int, form: str, kind: str):
    """Make the kernel ``advance(data, shared, scratch)`` with a pass for every model.

    ``lanes`` are the elements in the vectors of the pass.
    """
    one_pass = _PASSES[form](dtype, lanes, kind)

    @entry("singly", dtype.name, lanes, form, kind)
    def advance(data, shared, scratch):
        run = point_into(shared)
        control, progress, p = run.control, run.progress, run.limits[P]
        scale, slope = run.limits[SCALE], run.limits[SLOPE]
        work = pointer(scratch.work)
        here = here_of(run, Room(pointer(scratch.block), pointer(scratch.spare)))
        while progress[ACTIVE] > 0:
            begin, count = progress[STEP], progress[ACTIVE]
            end = end_of_round(run, _WORK // (data.cost * count))
            furthest = begin
            for place in range(count):
                model = run.active[place]
                chain = chain_of(run, model)
                multiply(run, here, model)
                W, G = end_to_end_matrix(chain), end_to_end_gradient(chain)
                for step in range(begin, end):
                    furthest = max(furthest, step)
                    total, square = one_pass(data, W, G, work, slope, p)
                    if settle(run, here, model, step, (scale * total, square)) != RUNNING:
                        break
            if control[EVALUATE]:
                return
            if not close_round(run, end, furthest):
                return

    return advance


@inner
def _gather(run, first, count):
    """Put the models that still run before the others, in their order; how many there are."""
    active, kept = shift(run.active, first), 0
    for place in range(count):
        model = active[place]
        if run.models[model * MODEL_SIZE + STATUS] == RUNNING:
            for behind in range(place, kept, -1):
                active[behind] = active[behind - 1]
            active[kept] = model
            kept += 1
    return kept


@cache
def make_grouped(dtype: np.dtype[Any], lanes: int):
    """Make the kernel ``advance(data, shared, scratch)`` with Gram passes for a few models."""
    multiply_rows, collect = make_gram_passes(lanes)

    @spliced
    def publish(chain, target, size):
        """Leave W where the product reads it."""
        W = end_to_end_matrix(chain)
        for i in range(size):
            target[i] = W[i]

    @entry("grouped", dtype.name, lanes)
    def advance(data, shared, scratch):
        run, size = point_into(shared), data.k * data.ld
        control, progress, scale = run.control, run.progress, run.limits[SCALE]
        work, slope = pointer(scratch.work), run.limits[SLOPE]
        here = here_of(run, Room(pointer(scratch.block), pointer(scratch.spare)))
        while progress[ACTIVE] > 0:
            begin, models = progress[STEP], progress[ACTIVE]
            end = end_of_round(run, _PRODUCTS // (data.cost * models))
            furthest, group = begin, data.group
            for first in range(0, models, group):
                count, step = min(group, models - first), begin
                for place in range(count):
                    model = run.active[first + place]
                    multiply(run, here, model)
                    publish(chain_of(run, model), shift(run.weights, place * size), size)
                while count > 0 and step < end:
                    furthest = max(furthest, step)
                    multiply_rows(data, run.weights, work, count * data.k)
                    ended = False
                    for place in range(count):
                        model = run.active[first + place]
                        chain = chain_of(run, model)
                        W, G = end_to_end_matrix(chain), end_to_end_gradient(chain)
                        product = shift(work, place * size)
                        total, square = collect(data, W, G, product, slope)
                        value = scale * total, square
                        if settle(run, here, model, step, value) != RUNNING:
                            ended = True
                        publish(chain, shift(run.weights, place * size), size)
                    step += 1
                    if ended and not control[EVALUATE]:
                        count = _gather(run, first, count)
                        for place in range(count):
                            chain = chain_of(run, run.active[first + place])
                            publish(chain, shift(run.weights, place * size), size)
            if control[EVALUATE]:
                return
            if not close_round(run, end, furthest):
                return

    return advance
