"""Langevin's noise, added to the parameters that a step has just moved.

In a run Langevin's rule is gradient descent, with this behind it: a kernel of its own, so that the
kernels of all other rules need no registers for random numbers. Parameters lie in a model's memory
in their natural order, so that the place of one is the number of its Gaussian.
"""

import math
from typing import Any

import numpy as np
from numba import cuda

from ..specs import PARAMETERS
from .epilogue import EVALUATE, MODEL_SIZE, N_PARAMS, START, STEPS, run_type
from .jit import THREADS, Kernel, pointer
from .philox import gaussian
from .planning import makes_kernel
from .reduce import this_thread
from .updates import NOISY, RATE, RULE_SIZE, A, B


@makes_kernel
def make_disturb(dtype: np.dtype[Any]) -> Kernel:
    """Make the kernel ``disturb(run, going)``: blocks are (active models, any number).

    It comes after the updates of a step, and is for the models that are still ``going``.
    """
    scalar = dtype.type

    def disturb(run, going):
        place = cuda.blockIdx.x
        model = run.active[place]
        row, at_rule = model * MODEL_SIZE, model * RULE_SIZE
        if going[place] == 0 or run.control[EVALUATE] != 0 or run.rules[at_rule + NOISY] == 0.0:
            return
        scale = math.sqrt(2.0 * run.rules[at_rule + RATE] * run.rules[at_rule + A])
        if scale == 0.0:
            return
        step, seed = run.models[row + STEPS] - 1, int(run.rules[at_rule + B])
        count, start = run.models[row + N_PARAMS], run.models[row + START]
        for i in range(cuda.blockIdx.y * THREADS + this_thread(), count, cuda.gridDim.y * THREADS):
            run.memory[start + i] += scalar(scale * gaussian(i, PARAMETERS, step, seed))

    return Kernel(disturb, [run_type(dtype), pointer(np.int64)], (dtype.name,))
