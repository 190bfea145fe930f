r"""The resident loop: thousands of steps in one launch, the data on the chip all the while.

The blocks form teams; a team trains one model after the other, and every block of it keeps its
share of the rows: in registers as many as fit, the rest in shared memory. A step is

    residuals and partial gradient of the block's rows, warp by warp
    all-reduce: the gradient's entries are shared out among the blocks; each adds up its own over
    all blocks, in their order, and sends everybody the totals
    judgement, update and products of the factors, by every block for itself

The all-reduce (``all_reduce``) is the only time that blocks wait for each other. Its words carry
its number, so that waiting for the data is the barrier.

All blocks of a team hold the same numbers, add in the same order and so take the same decisions.

In the form "diagonal" a team is one block, which needs no rows: each entry of the gradient comes
from its own entry of the end-to-end matrix.
"""

from functools import cache
from typing import Any

import numpy as np
from numba import cuda, types

from ..specs import ADAM, DIVERGED, END_TO_END, GROUP_RMSPROP, RUNNING
from .all_reduce import make_all_reduce
from .entrywise import make_multiply
from .epilogue import (
    ACTIVE,
    BEGIN,
    CORRECTIONS,
    DEPTH,
    EVALUATE,
    FAILED,
    LOSS,
    MODEL_SIZE,
    N_KEPT,
    N_PARAMS,
    NOW,
    QUADRATIC,
    RECORD_EVERY,
    SCALE,
    SLOPES,
    SQUARE,
    START,
    STATUS,
    STEPS,
    STOP_AT,
    STUCK,
    TARGET_LOSS,
    TOL,
    WEIGHTS,
    YY,
    Block,
    P,
    bring_table,
    first_due,
    judge,
    make_enter,
    make_step,
    record_row,
    run_type,
)
from .factor_chain import SHIFT, SUFFIX
from .jit import THREADS, WARP, Kernel, device, in_parts, pointer
from .losses import Code, is_long, make_differentiate
from .planning import makes_kernel
from .powers import data_type
from .ptx import float32_of, joined
from .reduce import SUMS, block_sums, make_lane_sums, make_products, this_thread
from .resident_layout import ResidentLayout, shared_memory
from .updates import (
    ANY,
    MIXED,
    RATE,
    RULE_SIZE,
    SCHEDULABLE,
    make_constants,
    prepare,
)

#: Copies of a long function that every compiler still makes of a loop; see ``in_parts``.
_LONG_UNROLLED = 4


@cache
def _make_batch(dtype: np.dtype[Any], code: Code, layout: ResidentLayout, rows: int) -> Any:
    """Make ``batch(x, y, w, g, p)``: residuals of so many rows, their gradient onto g, their loss.

    On the Gram path a row of X'X counts with its weight, which is in ``y``.
    """
    scalar, differentiate = dtype.type, make_differentiate(dtype, code)
    vectors, outputs, count = layout.vectors, layout.outputs, rows * layout.outputs
    # With several outputs a loop over rows is too long to be unrolled for sm_100.
    from_gram, at_once = layout.form == "gram", rows if outputs == 1 else 1
    add = make_lane_sums(count, 16, 8, 4, 2, 1)

    def make_gradient(begin: int, end: int) -> Any:
        @device
        def gradient(x, r, g):
            for i in range(begin, end):
                for c in range(outputs):
                    for j in range(vectors):
                        g[c * vectors + j] += r[i * outputs + c] * x[i * vectors + j]

        return gradient

    def make_slopes(begin: int, end: int) -> Any:
        @device
        def slopes(r, y, p, loss):
            for i in range(begin, end):
                slope, value = differentiate(r[i], y[i], p)
                r[i] = slope
                loss[0] += value

        return slopes

    multiply = make_products(dtype, rows, outputs, vectors, at_once)
    add_gradient = in_parts(rows, at_once, make_gradient)
    # The compiler makes a call of a power, and has no trouble with many.
    copies = _LONG_UNROLLED if code != 0 and is_long(code) else count
    differentiate_all = in_parts(count, copies, make_slopes)

    @device
    def batch(x, y, w, g, p):
        r = cuda.local.array(count, dtype)
        loss = cuda.local.array(1, dtype)
        loss[0] = scalar(0)
        if from_gram:
            for i in range(count):
                r[i] = y[i]
        else:
            multiply(x, w, r)
            add(r)
            differentiate_all(r, y, p, loss)
        add_gradient(x, r, g)
        return loss[0]

    return batch


@makes_kernel
def make_resident(dtype: np.dtype[Any], code: Code, layout: ResidentLayout) -> Kernel:
    """Make the kernel ``resident(data, run, mail, outside, memory_size, blocks, tag)``.

    A team has ``blocks`` blocks; its all-reduces are counted from ``tag`` on. ``memory_size`` is
    that of the largest model, and ``outside`` holds the blocks' copies of a model where they do not
    fit into shared memory.
    """
    d, outputs, rows, _, kind, form, spills, inside, structure, scheduled = layout
    direct, from_gram, diagonal = form == "direct", form == "gram", form == "diagonal"
    scalar, vectors, size = dtype.type, layout.vectors, layout.size
    warps, step_size, pairs = THREADS // WARP, size + size % 2, layout.pairs(dtype)
    of_w, of_x, of_y = outputs * vectors, max(rows * vectors, 1), max(rows * outputs, 1)
    batch = layout.batch(dtype)
    of_batch, of_targets = batch * vectors, batch * outputs
    holders, places = min(-(-size // WARP), warps), shared_memory(dtype, layout)
    at_doubles, extra, at_losses, at_scratch, at_partial, _, at_memory = places
    held, spilled = (_make_batch(dtype, code, layout, count) for count in (rows, batch))
    send, gather, receive = make_all_reduce(dtype, layout)
    enter, take_step = make_enter(dtype, form), make_step(dtype, kind, structure, scheduled)
    multiply = make_multiply(dtype, structure)
    constants = make_constants(dtype, NOW - CORRECTIONS if scheduled else 0)
    adam, end_to_end = kind in (ADAM, ANY, MIXED), kind in (END_TO_END, ANY, MIXED)
    groups = kind in (GROUP_RMSPROP, MIXED)
    single = dtype.itemsize == 4

    @device
    def bring_rows(data, floats, at, count, first, last):
        """Bring the rows that registers do not hold, and their targets; elsewhere is zero."""
        for i in range(this_thread(), count * d, THREADS):
            row = first + rows * warps + i // d
            floats[at + i] = data.X[row * d + i % d] if row < last else scalar(0)
        if not from_gram:
            for i in range(this_thread(), count * outputs, THREADS):
                row = first + rows * warps + i // outputs
                target = data.Y[row * outputs + i % outputs] if row < last else scalar(0)
                floats[at + count * d + i] = target

    @device
    def partial_sums(block, at, count, first, last, x, y, p):
        """Leave the warps' partial gradients and losses in shared memory."""
        lane, warp = this_thread() % WARP, this_thread() // WARP
        floats, memory, W = block.floats, block.memory, block.table[SUFFIX]
        w = cuda.local.array(of_w, dtype)
        g = cuda.local.array(of_w, dtype)
        for c in range(outputs):
            for j in range(vectors):
                column = lane + WARP * j
                w[c * vectors + j] = memory[W + c * d + column] if column < d else scalar(0)
                g[c * vectors + j] = scalar(0)
        if from_gram:
            for i in range(rows):
                row = first + warp + warps * i
                for c in range(outputs):
                    y[i * outputs + c] = memory[W + c * d + row] if row < last else scalar(0)
        loss = float(held(x, y, w, g, p))
        if spills:
            shared_x = cuda.local.array(of_batch, dtype)
            shared_y = cuda.local.array(of_targets, dtype)
            for start in range(warp, count, warps * batch):
                for i in range(batch):
                    place = start + warps * i
                    row = first + rows * warps + place
                    for j in range(vectors):
                        column = lane + WARP * j
                        shared_x[i * vectors + j] = (
                            floats[at + place * d + column] if column < d else scalar(0)
                        )
                    for c in range(outputs):
                        if not from_gram:
                            target = floats[at + count * d + place * outputs + c]
                        else:
                            target = memory[W + c * d + row] if row < last else scalar(0)
                        shared_y[i * outputs + c] = target
                loss += float(spilled(shared_x, shared_y, w, g, p))
        for c in range(outputs):
            for j in range(vectors):
                column = lane + WARP * j
                if column < d:
                    floats[at_partial + warp * step_size + c * d + column] = g[c * vectors + j]
        if lane == 0:
            block.doubles[at_losses + warp] = loss

    def resident(data, run, mail, outside, memory_size, blocks, tag):
        thread = this_thread()
        lane, warp = thread % WARP, thread // WARP
        team, member = cuda.blockIdx.x // blocks, cuda.blockIdx.x % blocks
        n = d if from_gram else data.n
        first, last = n * member // blocks, n * (member + 1) // blocks
        table = cuda.shared.array(0, np.int64)
        doubles = cuda.shared.array(0, np.float64)
        floats = cuda.shared.array(0, dtype)
        base = at_memory if inside else cuda.blockIdx.x * memory_size
        memory = floats if inside else outside
        block = Block(memory, table, doubles, floats, at_scratch, at_doubles)

        x = cuda.local.array(of_x, dtype)
        y = cuda.local.array(of_y, dtype)
        for i in range(rows):
            row = first + warp + warps * i
            for j in range(vectors):
                column = lane + WARP * j
                there = row < last and column < d
                x[i * vectors + j] = data.X[row * d + column] if there else scalar(0)
            for c in range(outputs):
                if not from_gram:
                    y[i * outputs + c] = data.Y[row * outputs + c] if row < last else scalar(0)
        at_rows = at_memory + (memory_size if inside else 0)
        count = 0
        if spills:
            # Whole batches for every warp.
            most = (n + blocks - 1) // blocks - rows * warps
            count = (most + warps * batch - 1) // (warps * batch) * (warps * batch)
            bring_rows(data, floats, at_rows, count, first, last)

        evaluate, stop_at = run.control[EVALUATE] != 0, run.control[STOP_AT]
        p, slopes, scale = run.limits[P], run.limits[SLOPES], run.limits[SCALE]
        tol, target = run.limits[TOL], run.limits[TARGET_LOSS]
        # Sums of all blocks, then the totals; ``inverse`` divides by blocks, see ``factor_chain``.
        box, inverse = 2 * team * (blocks + 1) * pairs, ((1 << SHIFT) + blocks - 1) // blocks
        sums = cuda.local.array(SUMS, np.float64)
        sent = 0
        for place in range(team, run.control[ACTIVE], cuda.gridDim.x // blocks):
            model = run.active[place]
            row, at_rule = model * MODEL_SIZE, model * RULE_SIZE
            depth, step, status = run.models[row + DEPTH], run.models[row + STEPS], RUNNING
            cuda.syncthreads()
            bring_table(run, model, table, base)
            for i in range(thread, run.models[row + N_KEPT], THREADS):
                memory[base + i] = run.memory[run.models[row + START] + i]
            if thread == 0:
                doubles[extra + CORRECTIONS] = doubles[extra + CORRECTIONS + 1] = 1.0
                doubles[extra + STUCK] = 0.0
            if scheduled and thread < SCHEDULABLE:
                doubles[extra + NOW + thread] = run.rules[at_rule + RATE + thread]
            cuda.syncthreads()
            multiply(memory, table, depth, outputs, floats, at_scratch)
            stride = run.models[row + N_PARAMS]
            rule = constants(run.rules, at_rule, stride, doubles, extra + CORRECTIONS)
            due, entry = first_due(run, step), 0
            going = evaluate or step < stop_at
            while going:
                if not diagonal:
                    partial_sums(block, at_rows, count, first, last, x, y, p)
                cuda.syncthreads()
                if (adam or groups) and thread == THREADS - 1:
                    prepare(run.rules, at_rule, step + 1, doubles, extra + CORRECTIONS)
                if scheduled and not evaluate and thread < SCHEDULABLE:
                    entry_of = place * (stop_at - run.control[BEGIN]) + step - run.control[BEGIN]
                    of_step = run.schedule[SCHEDULABLE * entry_of + thread]
                    doubles[extra + NOW + thread] = of_step
                now, all_here = np.uint64(0), True
                if not diagonal and blocks > 1:
                    sent += 1
                    now = np.uint64((tag + sent) & 0xFFFFFFFF)
                    send(mail, box + 2 * member * pairs, now, floats, doubles)
                    all_here = gather(mail, box, member, blocks, inverse, now, floats, doubles)
                everything = evaluate or step == due
                if end_to_end:
                    everything |= rule.kind == END_TO_END
                for i in range(SUMS):
                    sums[i] = 0.0
                for e in range(thread, size, THREADS):
                    total = 0.0
                    if diagonal:
                        pass
                    elif blocks == 1:
                        part = scalar(0)
                        for w in range(warps):
                            part += floats[at_partial + w * step_size + e]
                        total = float(part)
                    else:
                        q = e // 2 if single else e
                        pair, here = receive(mail, box, blocks, q, now)
                        all_here &= here
                        if single:
                            total = float(float32_of(pair[0] if e % 2 == 0 else pair[1]))
                        else:
                            total = joined(pair)
                    enter(data, block, e, total, slopes, everything, sums)
                if not diagonal and thread == THREADS - 1:
                    loss = 0.0
                    if blocks == 1:
                        for w in range(warps):
                            loss += doubles[at_losses + w]
                    else:
                        pair, here = receive(mail, box, blocks, pairs - 1, now)
                        all_here &= here
                        loss = joined(pair)
                    doubles[extra + LOSS] = loss
                if not all_here:
                    doubles[extra + STUCK] = 1.0
                wanted = SUMS if everything else SQUARE + 1 if direct else QUADRATIC + 1
                block_sums(sums, wanted, holders, doubles, at_doubles)
                if doubles[extra + STUCK] != 0.0:
                    if thread == 0:
                        run.control[FAILED] = 1
                    return
                loss = doubles[extra + LOSS]
                if not direct:
                    loss = sums[QUADRATIC] + run.limits[YY]
                loss *= scale
                status = judge(loss, sums[SQUARE], tol, target)
                noted = evaluate or (step == due and status != DIVERGED)
                if noted and thread == 0 and member == 0:
                    record_row(run, model, entry, loss, sums[SQUARE], sums[WEIGHTS])
                if step == due:
                    due, entry = due + run.control[RECORD_EVERY], entry + 1
                going = False
                if status == RUNNING and not evaluate:
                    corrected = adam and rule.kind == ADAM
                    if groups:
                        corrected |= rule.kind == GROUP_RMSPROP
                    if scheduled or corrected:
                        at = extra + CORRECTIONS
                        rule = constants(run.rules, at_rule, stride, doubles, at)
                    take_step(run, model, block, depth, outputs, rule, sums)
                    step += 1
                    going = step < stop_at
            if member == 0 and not evaluate:
                for i in range(thread, run.models[row + N_KEPT], THREADS):
                    run.memory[run.models[row + START] + i] = memory[base + i]
                if thread == 0:
                    run.models[row + STATUS] = status
                    run.models[row + STEPS] = step

    signature = [data_type(dtype), run_type(dtype), pointer(np.uint64), pointer(dtype)]
    signature += [types.int64] * 3
    words = (int(word) if isinstance(word, bool) else word for word in layout)
    return Kernel(resident, signature, (dtype.name, code, *words))
