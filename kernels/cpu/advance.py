"""Compiled training steps, without Python inside: a thread team makes a chunk of them.

All models of a run advance together; a single run is a run with one model. A step has two phases,

    the pass, cut into parts of the tiles, for all models at once;
    the epilogue, for each model: add up the partial gradients in the order of the parts, judge the
        iterate, update the factors, multiply them out for the next pass;

then the leader drops models that have ended. A part is a unit of the team's, and so is the share of
the models that has its number. The leader treats a single model alone, which saves a phase; data
too small to be cut have one phase, in which each unit makes pass and epilogue of its models.

So the bits of a model depend on the number of parts, but not on the other models of the run, nor on
which of them leave. There is a part for every thread that the caller asks for, but no more ranks
than processors: more would spend their time waiting for each other to get one. Nothing but
parameters, state and step number is carried from step to step, so results do not depend on where a
run is cut into chunks. :mod:`.loop` holds a run and calls this.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..specs import CONVERGED, DIVERGED, END_TO_END, RUNNING, TARGET
from . import team
from .factor_chain import (
    PARAMS,
    Chain,
    end_to_end_gradient,
    end_to_end_matrix,
    make_end_to_end,
    make_gradients,
)
from .jit import entry, inner, spliced
from .lp_loss import make_forward, make_gram_forward
from .norms import norm
from .precondition import apply as precondition
from .updates import DECAY, KIND, RATE, A, make_update, prepare

#: Entries of ``control`` (int64). EVALUATE asks for one pass without an update, ACTIVE is the
#: number of models still in the run, RECORDS that of the rows written to the history, GOING tells
#: whether another step follows, and EPILOGUE in which of a step's two phases the team is.
(STEP, STOP_AT, RECORD_EVERY, RECORDS, ACTIVE, STOP_REQUEST, EVALUATE, GOING, EPILOGUE,
 CONTROL_SIZE) = range(10)  # fmt: skip
#: Entries of ``limits`` (float64).
P, SCALE, TOL, TARGET_LOSS, LIMITS_SIZE = range(5)
#: Columns of ``models`` (int64): the rows of its factors in the table, its status and its steps.
FIRST, LAST, STATUS, STEPS, MODEL_SIZE = range(5)


class Shared(NamedTuple):
    """The memory that the team shares.

    ``active[:control[ACTIVE]]`` are the models in the run; ``weights`` holds their end-to-end
    matrices in that order. ``table``, ``rules`` and the flat ``params``, ``products`` and ``state``
    hold all models, one after the other. ``history`` is (records, models, 3).
    """

    control: np.ndarray
    limits: np.ndarray
    models: np.ndarray
    active: np.ndarray
    table: np.ndarray
    rules: np.ndarray
    params: np.ndarray
    products: np.ndarray
    state: np.ndarray
    weights: np.ndarray
    history: np.ndarray


class Scratch(NamedTuple):
    """Memory with a row for each rank to write, in ``sums`` for each part; every rank reads all."""

    work: np.ndarray
    sums: np.ndarray
    block: np.ndarray
    spare: np.ndarray


class Memory(NamedTuple):
    """The memory that the update of one model needs beside its parameters."""

    state: np.ndarray
    rule: np.ndarray


@inner
def _reduce(run, chain, sums, place):
    """Add up the partial sums: G becomes the first pulled-back product, the loss is returned."""
    G, total = end_to_end_gradient(chain), sums[0]
    start, loss = place * G.size, sums.shape[1] - 1 - place
    for part in range(1, sums.shape[0]):
        other = sums[part]
        for i in range(start, start + G.size):
            total[i] += other[i]
        total[loss] += other[loss]
    scale = run.limits[SCALE] * run.limits[P]
    for i in range(G.size):
        G[i] = scale * total[start + i]
    return run.limits[SCALE] * total[loss]


@inner
def _judge(run, chain, model, loss):
    """Record the iterate if it is due; the status that it gives the model."""
    control, limits = run.control, run.limits
    gradient_norm = norm(end_to_end_gradient(chain))
    due = control[RECORD_EVERY] > 0 and control[STEP] % control[RECORD_EVERY] == 0
    finite = np.isfinite(loss) and np.isfinite(gradient_norm)
    if control[EVALUATE] or (due and finite):
        row = run.history[control[RECORDS], model]
        row[0], row[1], row[2] = loss, gradient_norm, norm(end_to_end_matrix(chain))
    if control[EVALUATE]:
        return RUNNING
    if not finite:
        return DIVERGED
    if limits[TOL] > 0.0 and gradient_norm <= limits[TOL]:
        return CONVERGED
    return TARGET if loss <= limits[TARGET_LOSS] else RUNNING


@inner
def _close_ranks(run, size):
    """Drop the models that have ended; the weights of the others move up."""
    active, weights, kept = run.active, run.weights, 0
    for place in range(run.control[ACTIVE]):
        if run.models[active[place], STATUS] == RUNNING:
            if kept < place:
                active[kept] = active[place]
                for i in range(size):
                    weights[kept * size + i] = weights[place * size + i]
            kept += 1
    run.control[ACTIVE] = kept


@inner
def _turn(run, size):
    """Leader: end a step, and say whether another one follows."""
    control = run.control
    every = control[RECORD_EVERY]
    if control[EVALUATE] or (every > 0 and control[STEP] % every == 0):
        control[RECORDS] += 1
    control[GOING] = 0
    if control[EVALUATE]:
        return
    _close_ranks(run, size)
    if control[ACTIVE] > 0:
        control[STEP] += 1
        control[GOING] = control[STEP] < control[STOP_AT] and control[STOP_REQUEST] == 0


@cache
def make_advance(dtype: np.dtype[Any], lanes: int):
    """Make the kernel: chunks of steps of all models, called by every rank of the team."""
    forward = make_forward(dtype, lanes)
    gram_forward = make_gram_forward(dtype, lanes)
    update = make_update(dtype)
    multiply = make_end_to_end(dtype, lanes)

    @spliced
    def consume(chain, block, start, count, memory):
        update(chain.params, memory.state, block, start, count, memory.rule)

    descend = make_gradients(dtype, lanes, consume)

    @spliced
    def step_end_to_end(data, chain, rule, block, spare):
        W, G = end_to_end_matrix(chain), end_to_end_gradient(chain)
        precondition(W, G, data.k, data.d, data.ld, int(rule[A]), block, spare)
        keep, start = 1.0 - rule[RATE] * rule[DECAY] * rule[A], chain.table[0, PARAMS]
        for c in range(data.k):
            for i in range(c * data.ld, c * data.ld + data.d):  # the block's padding is not zero
                w = chain.params[start + i]
                chain.params[start + i] = keep * w - rule[RATE] * block[i]

    @spliced
    def chain_of(data, run, model):
        table = run.table[run.models[model, FIRST] : run.models[model, LAST]]
        return Chain(table, data.k, run.params, run.products)

    @spliced
    def publish(chain, run, place):
        """Multiply the factors out and leave W where the pass reads it."""
        multiply(chain)
        W = end_to_end_matrix(chain)
        row = run.weights[place * W.size : (place + 1) * W.size]
        for i in range(W.size):
            row[i] = W[i]

    @spliced
    def epilogue(data, run, sums, first, place, block, spare):
        """Take one model from the sums of the pass to its next iterate."""
        model = run.active[place]
        chain, rule = chain_of(data, run, model), run.rules[model]
        loss = _reduce(run, chain, sums, place - first)
        status = _judge(run, chain, model, loss)
        if not run.control[EVALUATE]:
            run.models[model, STATUS] = status
        if status == RUNNING and not run.control[EVALUATE]:
            if rule[KIND] == END_TO_END:
                step_end_to_end(data, chain, rule, block, spare)
            else:
                prepare(rule, run.control[STEP] + 1)
                descend(chain, block, Memory(run.state, rule))
            run.models[model, STEPS] += 1
            publish(chain, run, place)

    @entry("advance", dtype.name, lanes)
    def advance(data, run, scratch, by_models, flags, rank):
        control, p, parts = run.control, run.limits[P], scratch.sums.shape[0]
        size, n_tiles = data.k * data.ld, (data.n + data.tile - 1) // data.tile
        work, block, spare = scratch.work[rank], scratch.block[rank], scratch.spare[rank]
        ranks, phase = scratch.work.shape[0], 0
        first, last = parts * rank // ranks, parts * (rank + 1) // ranks
        if rank == 0:
            last = parts  # its own, and then those that nobody has begun with
            for place in range(control[ACTIVE]):
                publish(chain_of(data, run, run.active[place]), run, place)
            control[EPILOGUE] = 0
        while True:
            alone = rank == 0 and control[EPILOGUE] == 1 and control[ACTIVE] == 1
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
                count, backwards = control[ACTIVE], control[STEP] % 2 == 1
                begin, end = count * part // parts, count * (part + 1) // parts
                sums, origin = scratch.sums, 0
                if by_models:
                    sums, origin = scratch.sums[part : part + 1], begin
                    mine = run.weights[begin * size : end * size]
                    if data.from_gram:
                        gram_forward(data, mine, work, sums[0])
                    else:
                        forward(data, mine, work, sums[0], 0, n_tiles, backwards, p)
                elif alone:
                    begin, end = 0, 1
                elif control[EPILOGUE] == 0:
                    begin, end = 0, 0
                    mine = run.weights[: count * size]
                    top, bottom = n_tiles * part // parts, n_tiles * (part + 1) // parts
                    forward(data, mine, work, sums[part], top, bottom, backwards, p)
                for place in range(begin, end):
                    epilogue(data, run, sums, origin, place, block, spare)
                if not alone:
                    team.arrive(flags, part, phase)

            if rank > 0:
                continue
            if not alone and not team.await_units(flags, phase):
                return
            if not by_models:
                control[EPILOGUE] = 1 - control[EPILOGUE]
            if control[EPILOGUE] == 0:
                _turn(run, size)
                if not control[GOING]:
                    return

    return advance
