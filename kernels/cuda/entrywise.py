"""Maps made of vectors entry by entry, by the threads of one block; and which way a map is made.

Every vector has a row in the table of a chain of factors (``factor_chain``), as a factor of one
row, and the products have the same places:

"hadamard"          ``suffix[f] = u_{N-1} ... u_f`` and ``pull[f] = g u_0 ... u_{f-1}``; the
                    gradient of vector f is ``suffix[f+1] pull[f]``;
"power-difference"  two rows, u and v, in whose POWER the N stands; ``suffix[0]`` is the map and
                    ``pull[0]`` its gradient, ``suffix[1]`` is u^(N-1) and ``pull[1]`` is v^(N-1).

A thread has the same entries of all vectors, so nothing is waited for between two of them. Single
maps are made on the host, and so are products with the Hessian.
"""

from functools import cache
from typing import Any

import numpy as np
from numba import cuda

from ..reference.entrywise import ChainCurvature, end_to_end, gradients
from ..specs import STATE_SLOTS, Entrywise, ModelSpec
from . import factor_chain
from .factor_chain import COLUMNS, PARAMS, PARTS, PULL, ROWS, SUFFIX, TABLE, Layout, go_on
from .jit import THREADS, device
from .ptx import product_of
from .reduce import this_thread

__all__ = [
    "PRODUCT",
    "ChainCurvature",
    "end_to_end",
    "gradients",
    "layout_of",
    "make_descend",
    "make_multiply",
    "structure_of",
]

#: What kernels are specialised for where a map is a product of matrices; else "hadamard" or
#: "power_difference".
PRODUCT = "product"
#: The column of a table for what has no parts.
POWER = PARTS


def structure_of(models: Any) -> str:
    """Return what kernels are specialised for of the models of a run, which all have one."""
    first = models[0].entrywise
    return PRODUCT if first is None else first.form.replace("-", "_")  # PTX allows no other names


class EntrywiseLayout(Layout):
    """Where the numbers of an entrywise map of d features stand."""

    def __init__(self, structure: Entrywise, d: int, slots: int) -> None:
        count, product = structure.vectors, structure.form == "hadamard"
        self.widths = (d, 1)
        self.n_params = count * d
        self.n_kept = (1 + slots) * self.n_params
        self.size = self.n_kept + 2 * self.n_params
        self.table = np.zeros((count, TABLE), np.int64)
        self.table[:, ROWS], self.table[:, COLUMNS] = 1, d
        self.table[:, PARAMS] = starts = d * np.arange(count)
        self.table[:, SUFFIX], self.table[:, PULL] = (
            self.n_kept + 2 * starts, self.n_kept + 2 * starts + d,
        )  # fmt: skip
        if product:
            self.table[-1, SUFFIX] = starts[-1]
        else:
            self.table[:, POWER] = structure.depth


def layout_of(model: ModelSpec) -> Layout:
    """Return where a model's numbers stand."""
    slots = STATE_SLOTS[model.rule.kind]
    if model.entrywise is None:
        return Layout(tuple(model.widths), slots)
    return EntrywiseLayout(model.entrywise, model.widths[0], slots)


@cache
def make_multiply(dtype: np.dtype[Any], structure: str) -> Any:
    """Make ``multiply(memory, table, depth, k, scratch, at)``: see ``factor_chain``."""
    one = dtype.type(1)

    @device
    def power_of(x, n):
        result = one
        while n > 0:
            if n & 1:
                result *= x
            n >>= 1
            if n > 0:  # or it might overflow in vain
                x *= x
        return result

    @device
    def product(memory, table, depth, k, scratch, at):
        for back in range(depth - 1):
            row = (depth - 2 - back) * TABLE
            u, after, out = table[row + PARAMS], table[row + TABLE + SUFFIX], table[row + SUFFIX]
            for i in range(this_thread(), table[COLUMNS], THREADS):
                memory[out + i] = memory[after + i] * memory[u + i]
        cuda.syncthreads()

    @device
    def difference(memory, table, depth, k, scratch, at):
        u, v, n = table[PARAMS], table[TABLE + PARAMS], table[POWER]
        out, of_u, of_v = table[SUFFIX], table[TABLE + SUFFIX], table[TABLE + PULL]
        for i in range(this_thread(), table[COLUMNS], THREADS):
            x, y = memory[u + i], memory[v + i]
            a, b = power_of(x, n - 1), power_of(y, n - 1)
            memory[of_u + i], memory[of_v + i] = a, b
            # In a fused multiply-add the difference of two equal powers would not be 0.
            memory[out + i] = product_of(a, x) - product_of(b, y)
        cuda.syncthreads()

    if structure == PRODUCT:
        return factor_chain.make_multiply(dtype)
    return product if structure == "hadamard" else difference


@cache
def make_descend(dtype: np.dtype[Any], structure: str, consume: Any, between: Any = go_on) -> Any:
    """Make ``descend(memory, table, depth, k, sink)``: see ``factor_chain``."""
    scalar, meet = dtype.type, between is not go_on

    @device
    def of_product(memory, table, depth, k, sink):
        for f in range(depth):
            between(memory, table, f, depth, sink)
            row = f * TABLE
            u, pulled = table[row + PARAMS], table[row + PULL]
            for i in range(this_thread(), table[COLUMNS], THREADS):
                gradient = memory[pulled + i]
                if f < depth - 1:
                    memory[table[row + TABLE + PULL] + i] = gradient * memory[u + i]
                    gradient *= memory[table[row + TABLE + SUFFIX] + i]
                consume(memory, u + i, gradient, sink)
            if meet:
                cuda.syncthreads()
        cuda.syncthreads()
        between(memory, table, depth, depth, sink)

    @device
    def of_difference(memory, table, depth, k, sink):
        g, n = table[PULL], scalar(table[POWER])
        for f in range(2):
            between(memory, table, f, depth, sink)
            start, of_power = table[f * TABLE + PARAMS], table[TABLE + (PULL if f else SUFFIX)]
            factor = -n if f else n
            for i in range(this_thread(), table[COLUMNS], THREADS):
                consume(memory, start + i, factor * memory[of_power + i] * memory[g + i], sink)
            if meet:
                cuda.syncthreads()
        cuda.syncthreads()
        between(memory, table, depth, depth, sink)

    if structure == PRODUCT:
        return factor_chain.make_descend(dtype, consume, between)
    return of_product if structure == "hadamard" else of_difference
