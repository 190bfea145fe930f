"""The streaming step: after a pass over the data, one block a model takes it from there.

Nothing comes back to the host between steps, so that thousands of them can be queued, or held by a
CUDA graph.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import cuda, types

from ..specs import DIVERGED, END_TO_END, RUNNING
from .entrywise import PRODUCT, make_multiply
from .epilogue import (
    BATCH,
    BEGIN,
    CORRECTIONS,
    DEPTH,
    DOUBLES,
    EVALUATE,
    LOOK,
    MODEL_SIZE,
    N_PARAMS,
    QUADRATIC,
    RECORD_EVERY,
    SCALE,
    SLOPES,
    SQUARE,
    START,
    STATUS,
    STEP,
    STEPS,
    STOP_AT,
    TARGET_LOSS,
    TOL,
    WEIGHTS,
    WHOLE,
    YY,
    Block,
    bring_table,
    judge,
    make_enter,
    make_step,
    record_batch,
    record_row,
    run_type,
)
from .factor_chain import COLUMNS, SUFFIX, TABLE
from .jit import THREADS, WARP, Kernel, device, pointer, record
from .lp_loss import data_type
from .planning import makes_kernel
from .reduce import SUMS, SUMS_SIZE, block_sums, this_thread
from .updates import ANY, RULE_SIZE, make_constants, prepare

#: Slots that a thread asks for at a time.
_FLIGHT = 16


class Sums(NamedTuple):
    """The sums that a pass has left, and the maps that the next one reads; see ``lp_loss.Pass``.

    ``going`` is 1 for each active model that is running.
    """

    weights: Any
    partials: Any
    losses: Any
    going: Any
    slots: int
    loss_slots: int


def shared_bytes(dtype: np.dtype[Any], deepest: int) -> int:
    """Return the bytes of shared memory that a block of ``epilogue`` needs."""
    doubles = deepest * TABLE + SUMS_SIZE + DOUBLES + THREADS
    return 8 * doubles + THREADS * dtype.itemsize


@device
def add_slots(partials, first, step, slots, stride, at):
    """Add up one entry over every step-th slot, several of which are on their way at a time."""
    terms, total, slot = cuda.local.array(_FLIGHT, np.float64), 0.0, first
    while slot < slots:
        for i in range(_FLIGHT):
            there = slot + i * step
            terms[i] = partials[there * stride + at] if there < slots else 0.0
        for i in range(_FLIGHT):
            total += terms[i]
        slot += _FLIGHT * step
    return total


@makes_kernel
def make_epilogue(
    dtype: np.dtype[Any],
    k: int,
    form: str,
    kind: int = ANY,
    structure: str = PRODUCT,
    role: str = WHOLE,
) -> Kernel:
    """Make the kernel ``epilogue(data, run, sums, deepest)``, a block for each active model.

    With ``EVALUATE`` a model's iterate is recorded and nothing else. Models that are not ``going``,
    or have made their steps, stay as they are. The end-to-end rule with several outputs is left to
    the host. ``kind`` is ANY, or MIXED if a rule is group RMSProp, ``structure`` what makes the
    maps, and ``role`` what the pass was for.
    """
    enter, take_step = make_enter(dtype, form), make_step(dtype, kind, structure)
    direct, diagonal = form == "direct", form == "diagonal"
    looks, of_batch = role == LOOK, role == BATCH
    constants, warps, itemsize = make_constants(dtype), THREADS // WARP, dtype.itemsize

    def epilogue(data, run, sums, deepest):
        thread, place, maps = this_thread(), cuda.blockIdx.x, cuda.gridDim.x * k
        if of_batch and thread == 0 and place == 0:
            run.control[STEP] += 1
        model = run.active[place]
        row, at_rule, size = model * MODEL_SIZE, model * RULE_SIZE, k * data.d
        evaluate, step = run.control[EVALUATE] != 0, run.models[row + STEPS]
        ended = sums.going[place] == 0 or step >= run.control[STOP_AT]
        if ended and not evaluate:
            return
        table = cuda.shared.array(0, np.int64)
        doubles = cuda.shared.array(0, np.float64)
        floats = cuda.shared.array(0, dtype)
        at_sums = deepest * TABLE
        extra = at_sums + SUMS_SIZE
        at_parts = extra + DOUBLES
        scratch = (at_parts + THREADS) * (8 // itemsize)
        block = Block(run.memory, table, doubles, floats, scratch, at_sums)
        bring_table(run, model, table, run.models[row + START])

        values, loss = cuda.local.array(SUMS, np.float64), 0.0
        if not diagonal:
            values[0] = 0.0
            for slot in range(thread, sums.loss_slots * k, THREADS):
                values[0] += sums.losses[slot // k * maps + place * k + slot % k]
            block_sums(values, 1, warps, doubles, at_sums)
            loss = values[0]
        cuda.syncthreads()

        every = run.control[RECORD_EVERY]
        due = evaluate or (every > 0 and step % every == 0)
        kind = int(run.rules[at_rule])
        everything = (due and not of_batch) or kind == END_TO_END
        scale = run.limits[SLOPES]
        for i in range(SUMS):
            values[i] = 0.0
        # Where there are more threads than entries of the gradient, several share the slots of one.
        parts = max(min(THREADS // size, sums.slots), 1)
        part, e = thread // size, thread % size
        stride, start = maps * data.d, place * size
        if diagonal:
            for entry in range(thread, size, THREADS):
                enter(data, block, entry, 0.0, scale, everything, values)
        elif parts > 1:
            total = 0.0
            if part < parts:
                total = add_slots(sums.partials, part, parts, sums.slots, stride, start + e)
            doubles[at_parts + thread] = total
            cuda.syncthreads()
            if thread < size:
                for other in range(1, parts):
                    total += doubles[at_parts + other * size + thread]
                enter(data, block, e, total, scale, everything, values)
        else:
            for entry in range(thread, size, THREADS):
                total = add_slots(sums.partials, 0, 1, sums.slots, stride, start + entry)
                enter(data, block, entry, total, scale, everything, values)
        wanted = SUMS if everything else SQUARE + 1 if direct else QUADRATIC + 1
        if thread == 0:
            prepare(run.rules, at_rule, step + 1, doubles, extra + CORRECTIONS)
        block_sums(values, wanted, warps, doubles, at_sums)
        if not direct:
            loss = values[QUADRATIC] + run.limits[YY]
        loss *= run.limits[SCALE]
        status = judge(loss, values[SQUARE], run.limits[TOL], run.limits[TARGET_LOSS])
        if thread == 0 and due and (evaluate or status != DIVERGED):
            at = 0 if evaluate else step // every - (run.control[BEGIN] + every - 1) // every
            if of_batch:
                record_batch(run, model, at, loss)
            else:
                record_row(run, model, at, loss, values[SQUARE], values[WEIGHTS])
        if evaluate:
            return
        if not looks and status == RUNNING and (k == 1 or kind != END_TO_END):
            at = extra + CORRECTIONS
            rule = constants(run.rules, at_rule, run.models[row + N_PARAMS], doubles, at)
            take_step(run, model, block, run.models[row + DEPTH], k, rule, values)
            for i in range(thread, size, THREADS):
                sums.weights[place * size + i] = run.memory[table[SUFFIX] + i]
        if thread == 0:
            run.models[row + STATUS] = status
            if status != RUNNING:
                sums.going[place] = 0
            elif not looks:
                run.models[row + STEPS] = step + 1

    kinds = {"weights": None, "partials": np.float64, "losses": np.float64, "going": np.int64}
    sums = record(Sums, dtype, {**kinds, "slots": int, "loss_slots": int})
    signature = [data_type(dtype), run_type(dtype), sums, types.int64]
    roles = (role,) if role else ()
    return Kernel(epilogue, signature, (dtype.name, k, form, kind, structure, *roles))


@makes_kernel
def make_publish(dtype: np.dtype[Any], k: int, structure: str = PRODUCT) -> Kernel:
    """Make the kernel ``publish(run, weights, deepest)``: the maps of all active models."""
    multiply, itemsize = make_multiply(dtype, structure), dtype.itemsize

    def publish(run, weights, deepest):
        thread, place = this_thread(), cuda.blockIdx.x
        model = run.active[place]
        row = model * MODEL_SIZE
        table = cuda.shared.array(0, np.int64)
        floats = cuda.shared.array(0, dtype)
        bring_table(run, model, table, run.models[row + START])
        cuda.syncthreads()
        scratch = deepest * TABLE * (8 // itemsize)
        multiply(run.memory, table, run.models[row + DEPTH], k, floats, scratch)
        size = k * table[COLUMNS]
        for i in range(thread, size, THREADS):
            weights[place * size + i] = run.memory[table[SUFFIX] + i]

    signature = [run_type(dtype), pointer(dtype), types.int64]
    return Kernel(publish, signature, (dtype.name, k, structure))
