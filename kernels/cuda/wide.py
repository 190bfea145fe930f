"""The streaming step of wide networks: their products and updates are shared out among all blocks.

After a pass over the data a step is a row of kernels, each of many blocks, in which the chain of
``factor_chain`` goes on by tiles (``products``)

    enter         the end-to-end gradient from the sums of the pass, and sums for the judgement
    verdict       a block a model judges the iterate, records it, and says who moves
    descend       for each factor but the last: its gradient, and the next pulled-back one
    update        every parameter; by group RMSProp after sums of squares, see ``wide_groups``
    multiply      for each factor but the last, backwards: the suffix products, up to the maps

All are for several models at once, which may differ in depth and widths; blocks that have nothing
to do end at once. Nothing comes back to the host between steps, so that a CUDA graph can hold them.

Why not cuBLAS, which has faster tiles? CuPy refuses to call it while a graph is captured, and by
the host each of its products takes some 15 us to be launched, for every model: in float64 at depth
3, what follows the pass would take at least 106 us a model. By ``estimates`` it takes 32, 43 and
177 us here at widths of 100, 200 and 500, for 16 models 55, 220 and 2500 us; with one block a model
1.9, 16 and 240 ms. Only from a width of about 350 on would cuBLAS be faster. Nor would the bits of
a model be its own: cuBLAS chooses its kernels by alignment and by the number of products in a call.
None of this has been measured yet.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import cuda, types

from ..specs import DIVERGED, END_TO_END, GROUP_RMSPROP, RUNNING
from .epilogue import (
    BATCH,
    BEGIN,
    DEPTH,
    DOUBLES,
    EVALUATE,
    FIRST,
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
    record_batch,
    record_row,
    run_type,
)
from .factor_chain import COLUMNS, PARAMS, PULL, ROWS, SUFFIX, TABLE
from .jit import THREADS, WARP, Kernel, device, record
from .planning import makes_kernel
from .powers import data_type
from .products import ENTRIES, PRODUCT_SIZE, TILE, Factor, make_product, tiles_over
from .reduce import SUMS, SUMS_SIZE, block_sums, this_thread
from .streaming import add_slots
from .updates import ANY, RULE_SIZE, make_constants, make_update, prepare

#: Most blocks that share the entries of a model's end-to-end gradient.
ENTER_BLOCKS = 128


class Wide(NamedTuple):
    """What the kernels share beside the run; see ``streaming.Sums`` for the first four.

    ``sums`` are those of ``block_sums`` of ``parts`` blocks a model. ``moves`` is 1 for each active
    model that makes the step in hand. A model's gradients begin in ``grads`` where ``places`` says,
    by its number in the run; that of the last factor is its pulled-back one already.
    """

    weights: Any
    partials: Any
    losses: Any
    going: Any
    moves: Any
    sums: Any
    grads: Any
    places: Any
    slots: int
    loss_slots: int
    parts: int


def wide_type(dtype: np.dtype[Any]) -> Any:
    """Return the Numba type of ``Wide``."""
    f8, i8 = np.float64, np.int64
    kinds = {"weights": None, "partials": f8, "losses": f8, "going": i8, "moves": i8, "sums": f8}
    numbers = {"slots": int, "loss_slots": int, "parts": int}
    return record(Wide, dtype, {**kinds, "grads": None, "places": i8, **numbers})


def shared_bytes(deepest: int) -> int:
    """Return the bytes of shared memory that a block of ``enter`` or ``verdict`` needs."""
    return 8 * (deepest * TABLE + SUMS_SIZE + DOUBLES)


@device
def _ended(run, wide, model, place):
    """Whether a model has nothing to do in this step; with ``EVALUATE`` all have."""
    if run.control[EVALUATE] != 0:
        return False
    return wide.going[place] == 0 or run.models[model * MODEL_SIZE + STEPS] >= run.control[STOP_AT]


@makes_kernel
def make_enter_all(dtype: np.dtype[Any], form: str) -> Kernel:
    """Make the kernel ``enter(data, run, wide, deepest)``: blocks are (parts, active models)."""
    enter_one, warps, diagonal = make_enter(dtype, form), THREADS // WARP, form == "diagonal"

    def enter(data, run, wide, deepest):
        thread, part, place = this_thread(), cuda.blockIdx.x, cuda.blockIdx.y
        model = run.active[place]
        if _ended(run, wide, model, place):
            return
        table = cuda.shared.array(0, np.int64)
        doubles = cuda.shared.array(0, np.float64)
        floats = cuda.shared.array(0, dtype)
        bring_table(run, model, table, run.models[model * MODEL_SIZE + START])
        block = Block(run.memory, table, doubles, floats, 0, deepest * TABLE)
        cuda.syncthreads()
        size = data.k * data.d
        stride, scale = cuda.gridDim.y * size, run.limits[SLOPES]
        values = cuda.local.array(SUMS, np.float64)
        for i in range(SUMS):
            values[i] = 0.0
        for e in range(part * THREADS + thread, size, wide.parts * THREADS):
            total = 0.0
            if not diagonal:
                total = add_slots(wide.partials, 0, 1, wide.slots, stride, place * size + e)
            enter_one(data, block, e, total, scale, True, values)
        block_sums(values, SUMS, warps, doubles, deepest * TABLE)
        if thread == 0:
            for i in range(SUMS):
                wide.sums[(place * wide.parts + part) * SUMS + i] = values[i]

    signature = [data_type(dtype), run_type(dtype), wide_type(dtype), types.int64]
    return Kernel(enter, signature, (dtype.name, form))


@makes_kernel
def make_verdict(dtype: np.dtype[Any], form: str, role: str = WHOLE) -> Kernel:
    """Make the kernel ``verdict(data, run, wide)``, a block for each active model.

    With ``EVALUATE`` a model's iterate is recorded and nothing else. ``role`` is what the pass was
    for.
    """
    warps, direct = THREADS // WARP, form == "direct"
    looks, of_batch = role == LOOK, role == BATCH

    def verdict(data, run, wide):
        thread, place, k = this_thread(), cuda.blockIdx.x, data.k
        model = run.active[place]
        row = model * MODEL_SIZE
        if of_batch and thread == 0 and place == 0:
            run.control[STEP] += 1
        if _ended(run, wide, model, place):
            if thread == 0:
                wide.moves[place] = 0
            return
        doubles = cuda.shared.array(SUMS_SIZE, np.float64)
        values, loss = cuda.local.array(SUMS, np.float64), 0.0
        if direct:
            values[0] = 0.0
            for slot in range(thread, wide.loss_slots * k, THREADS):
                values[0] += wide.losses[(slot // k * cuda.gridDim.x + place) * k + slot % k]
            block_sums(values, 1, warps, doubles, 0)
            loss = values[0]
            cuda.syncthreads()
        for i in range(SUMS):
            values[i] = 0.0
        for part in range(thread, wide.parts, THREADS):
            for i in range(SUMS):
                values[i] += wide.sums[(place * wide.parts + part) * SUMS + i]
        block_sums(values, SUMS, warps, doubles, 0)
        if thread > 0:
            return
        if not direct:
            loss = values[QUADRATIC] + run.limits[YY]
        loss *= run.limits[SCALE]
        status = judge(loss, values[SQUARE], run.limits[TOL], run.limits[TARGET_LOSS])
        evaluate, every = run.control[EVALUATE] != 0, run.control[RECORD_EVERY]
        step = run.models[row + STEPS]
        due = every > 0 and step % every == 0 and status != DIVERGED
        if evaluate or due:
            at = 0 if evaluate else step // every - (run.control[BEGIN] + every - 1) // every
            if of_batch:
                record_batch(run, model, at, loss)
            else:
                record_row(run, model, at, loss, values[SQUARE], values[WEIGHTS])
        goes_on = status == RUNNING and not evaluate
        wide.moves[place] = 1 if goes_on and not looks else 0
        if evaluate:
            return
        run.models[row + STATUS] = status
        if not goes_on:
            wide.going[place] = 0
        elif not looks:
            run.models[row + STEPS] = step + 1

    signature = [data_type(dtype), run_type(dtype), wide_type(dtype)]
    return Kernel(verdict, signature, (dtype.name, form, *((role,) if role else ())))


@makes_kernel
def make_descend_wide(dtype: np.dtype[Any]) -> Kernel:
    """Make the kernel ``descend(run, wide, f)``: blocks are (tiles, active models).

    The gradient of factor f, for which nothing but products is needed, and ``pull[f + 1]``.
    """
    pull, multiply_out = make_product(dtype, True, True), make_product(dtype, False, False)

    def descend(run, wide, f):
        tile, place = cuda.blockIdx.x, cuda.blockIdx.y
        model = run.active[place]
        row = model * MODEL_SIZE
        if wide.moves[place] == 0 or f + 1 >= run.models[row + DEPTH]:
            return
        memory, start = run.memory, run.models[row + START]
        at = (run.models[row + FIRST] + f) * TABLE
        rows, columns = run.table[at + ROWS], run.table[at + COLUMNS]
        params, pulled = run.table[at + PARAMS], start + run.table[at + PULL]
        suffix, below = start + run.table[at + TABLE + SUFFIX], start + run.table[at + TABLE + PULL]
        last = (run.models[row + FIRST] + run.models[row + DEPTH] - 1) * TABLE
        k = run.table[last + ROWS]
        shared = cuda.shared.array(PRODUCT_SIZE, dtype)
        totals = cuda.local.array(ENTRIES, dtype)
        over = tiles_over(rows)
        pulls = tiles_over(k) * over
        if tile < pulls:
            first, column = tile // over * TILE, tile % over * TILE
            left = Factor(memory, pulled, columns, k)
            right = Factor(memory, start + params, columns, rows)
            pull(left, right, first, column, 0, columns, shared, totals)
            for i in range(ENTRIES):
                e = this_thread() + THREADS * i
                c, r = first + e // TILE, column + e % TILE
                if c < k and r < rows:
                    memory[below + c * rows + r] = totals[i]
            return
        over, tile = tiles_over(columns), tile - pulls
        first, column = tile // over * TILE, tile % over * TILE
        if first >= rows:
            return
        left, right = Factor(memory, suffix, rows, rows), Factor(memory, pulled, columns, columns)
        multiply_out(left, right, first, column, 0, k, shared, totals)
        out = wide.places[model] + params
        for i in range(ENTRIES):
            e = this_thread() + THREADS * i
            r, j = first + e // TILE, column + e % TILE
            if r < rows and j < columns:
                wide.grads[out + r * columns + j] = totals[i]

    return Kernel(
        descend, [run_type(dtype), wide_type(dtype), types.int64], (dtype.name,), blocks=2
    )


@makes_kernel
def make_update_wide(dtype: np.dtype[Any]) -> Kernel:
    """Make the kernel ``update(run, wide)``: blocks are (any number, active models).

    The end-to-end rule is left to the host, group RMSProp to ``wide_groups``.
    """
    constants, update_one = make_constants(dtype), make_update(ANY)

    def update(run, wide):
        place, model = cuda.blockIdx.y, run.active[cuda.blockIdx.y]
        row, at_rule = model * MODEL_SIZE, model * RULE_SIZE
        kind = int(run.rules[at_rule])
        by_host, in_groups = kind == END_TO_END, kind == GROUP_RMSPROP
        if wide.moves[place] == 0 or by_host or in_groups:
            return
        corrections = cuda.shared.array(2, types.float64)
        if this_thread() == 0:
            prepare(run.rules, at_rule, run.models[row + STEPS], corrections, 0)
        cuda.syncthreads()
        count, start = run.models[row + N_PARAMS], run.models[row + START]
        rule = constants(run.rules, at_rule, count, corrections, 0)
        at = (run.models[row + FIRST] + run.models[row + DEPTH] - 1) * TABLE
        last, pulled = run.table[at + PARAMS], start + run.table[at + PULL]
        for i in range(cuda.blockIdx.x * THREADS + this_thread(), count, cuda.gridDim.x * THREADS):
            if i < last:
                gradient = wide.grads[wide.places[model] + i]
            else:
                gradient = run.memory[pulled + i - last]
            update_one(run.memory, start + i, gradient, rule)

    return Kernel(update, [run_type(dtype), wide_type(dtype)], (dtype.name,))


@makes_kernel
def make_multiply_wide(dtype: np.dtype[Any]) -> Kernel:
    """Make the kernel ``multiply(run, wide, f)``: blocks are (tiles, active models).

    ``suffix[f]``; the first one goes to the maps as well, also of a model with one factor.
    """
    multiply_out = make_product(dtype, True, False)

    def multiply(run, wide, f):
        tile, place = cuda.blockIdx.x, cuda.blockIdx.y
        model = run.active[place]
        row = model * MODEL_SIZE
        behind = run.models[row + DEPTH] - 1 - f
        if wide.moves[place] == 0 or behind < (0 if f == 0 else 1):
            return
        memory, start = run.memory, run.models[row + START]
        at = (run.models[row + FIRST] + f) * TABLE
        rows, columns = run.table[at + ROWS], run.table[at + COLUMNS]
        suffix, k = start + run.table[at + SUFFIX], run.table[at + behind * TABLE + ROWS]
        over = tiles_over(columns)
        first, column = tile // over * TILE, tile % over * TILE
        if first >= k:
            return
        shared = cuda.shared.array(PRODUCT_SIZE, dtype)
        totals = cuda.local.array(ENTRIES, dtype)
        if behind > 0:
            left = Factor(memory, start + run.table[at + TABLE + SUFFIX], rows, k)
            right = Factor(memory, start + run.table[at + PARAMS], columns, columns)
            multiply_out(left, right, first, column, 0, rows, shared, totals)
        for i in range(ENTRIES):
            e = this_thread() + THREADS * i
            c, j = first + e // TILE, column + e % TILE
            if c < k and j < columns:
                if behind > 0:
                    memory[suffix + c * columns + j] = totals[i]
                if f == 0:
                    entry = c * columns + j
                    wide.weights[place * k * columns + entry] = memory[suffix + entry]

    return Kernel(
        multiply, [run_type(dtype), wide_type(dtype), types.int64], (dtype.name,), blocks=2
    )
