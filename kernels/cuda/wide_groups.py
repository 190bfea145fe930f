"""Group RMSProp in the streaming step of wide networks, in place of the kernel ``update``.

Three kernels of many blocks follow each other once all gradients have been made (``wide``)

    squares       a fixed number of blocks a model leave sums of squares of their shares of a factor
    means         a block a model adds these up, in their order, and has the means of the groups
    move          every parameter

The shares depend on the factor alone: a model has the same bits in any company.
"""

from typing import Any

import numpy as np
from numba import cuda, types

from ..specs import GROUP_RMSPROP
from .epilogue import DEPTH, FIRST, MODEL_SIZE, N_PARAMS, START, STEPS, run_type
from .factor_chain import COLUMNS, PARAMS, PULL, ROWS, TABLE
from .jit import THREADS, WARP, Kernel, device, pointer
from .planning import makes_kernel
from .reduce import SUMS_SIZE, block_sum, this_thread, warp_sum
from .updates import RULE_SIZE, B, below, make_constants, make_mean, make_move, prepare
from .wide import wide_type

#: Blocks that share the squares of a model: a lane each when they are added up.
PARTS = WARP


@device
def _stays(run, wide, model, place):
    """Whether a model makes no step, or not by this rule."""
    return wide.moves[place] == 0 or int(run.rules[model * RULE_SIZE]) != GROUP_RMSPROP


@device
def _gradient(run, wide, model, f, i):
    """Return the gradient of parameter i of factor f."""
    row = model * MODEL_SIZE
    at = (run.models[row + FIRST] + f) * TABLE
    if f == run.models[row + DEPTH] - 1:
        return run.memory[run.models[row + START] + run.table[at + PULL] + i]
    return wide.grads[wide.places[model] + run.table[at + PARAMS] + i]


@makes_kernel
def make_squares(dtype: np.dtype[Any]) -> Kernel:
    """Make the kernel ``squares(run, wide, sums, deepest)``: blocks are (PARTS, active models).

    ``sums`` are (active models, deepest, PARTS).
    """

    def squares(run, wide, sums, deepest):
        thread, part, place = this_thread(), cuda.blockIdx.x, cuda.blockIdx.y
        model = run.active[place]
        if _stays(run, wide, model, place):
            return
        doubles = cuda.shared.array(SUMS_SIZE, types.float64)
        row = model * MODEL_SIZE
        for f in range(run.models[row + DEPTH]):
            at = (run.models[row + FIRST] + f) * TABLE
            count, square = run.table[at + ROWS] * run.table[at + COLUMNS], 0.0
            for i in range(part * THREADS + thread, count, PARTS * THREADS):
                g = float(_gradient(run, wide, model, f, i))
                square += g * g
            square = block_sum(square, doubles)
            if thread == 0:
                sums[(place * deepest + f) * PARTS + part] = square
            cuda.syncthreads()

    signature = [run_type(dtype), wide_type(dtype), pointer(np.float64), types.int64]
    return Kernel(squares, signature, (dtype.name,))


@makes_kernel
def make_means(dtype: np.dtype[Any]) -> Kernel:
    """Make the kernel ``means(run, wide, sums, deepest)``, a block for each active model."""
    constants, average, warps = make_constants(dtype), make_mean(dtype), THREADS // WARP

    def means(run, wide, sums, deepest):
        thread, place = this_thread(), cuda.blockIdx.x
        lane, warp, model = thread % WARP, thread // WARP, run.active[cuda.blockIdx.x]
        if _stays(run, wide, model, place):
            return
        doubles = cuda.shared.array(SUMS_SIZE, types.float64)
        corrections = cuda.shared.array(2, types.float64)
        row, at_rule = model * MODEL_SIZE, model * RULE_SIZE
        if thread == 0:
            corrections[0] = corrections[1] = 1.0  # they are not in the means
        cuda.syncthreads()
        rule = constants(run.rules, at_rule, run.models[row + N_PARAMS], corrections, 0)
        begin = run.models[row + START] + rule.stride
        by_factor, total = run.rules[at_rule + B] != 0.0, 0.0
        for f in range(warp, run.models[row + DEPTH], warps):
            square = warp_sum(sums[(place * deepest + f) * PARTS + lane])
            if lane == 0:
                total += square
                if by_factor:
                    at = (run.models[row + FIRST] + f) * TABLE
                    average(run.memory, begin + run.table[at + PARAMS], square, rule)
        if not by_factor:
            total = block_sum(total, doubles)
            if thread == 0:
                average(run.memory, begin, total, rule)

    signature = [run_type(dtype), wide_type(dtype), pointer(np.float64), types.int64]
    return Kernel(means, signature, (dtype.name,))


@makes_kernel
def make_move_wide(dtype: np.dtype[Any]) -> Kernel:
    """Make the kernel ``move(run, wide)``: blocks are (any number, active models)."""
    constants, move_one = make_constants(dtype), make_move(dtype)

    def move(run, wide):
        place, model = cuda.blockIdx.y, run.active[cuda.blockIdx.y]
        if _stays(run, wide, model, place):
            return
        corrections = cuda.shared.array(2, types.float64)
        row, at_rule = model * MODEL_SIZE, model * RULE_SIZE
        if this_thread() == 0:
            prepare(run.rules, at_rule, run.models[row + STEPS], corrections, 0)
        cuda.syncthreads()
        rule = constants(run.rules, at_rule, run.models[row + N_PARAMS], corrections, 0)
        start, by_factor = run.models[row + START], run.rules[at_rule + B] != 0.0
        for f in range(run.models[row + DEPTH]):
            at = (run.models[row + FIRST] + f) * TABLE
            params, count = run.table[at + PARAMS], run.table[at + ROWS] * run.table[at + COLUMNS]
            group = params if by_factor else 0
            divisor = below(run.memory, start + rule.stride + group, rule)
            first, width = cuda.blockIdx.x * THREADS + this_thread(), cuda.gridDim.x * THREADS
            for i in range(first, count, width):
                g = _gradient(run, wide, model, f, i)
                move_one(run.memory, start + params + i, g, rule, divisor)

    return Kernel(move, [run_type(dtype), wide_type(dtype)], (dtype.name,))
