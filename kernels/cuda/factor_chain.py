"""The chain of factors by the threads of one block, in place on one flat memory.

The memory holds a network's parameters, its optimiser's state and the products below, each where
``table`` says, without padding. It may lie in the block's shared memory or be global. Factors are
counted from 0: factor f is (n_{f+1}, n_f), ``suffix[f] = W_{N-1} ... W_f`` (k, n_f) and
``pull[f] = G (W_{f-1} ... W_0)'`` (k, n_f), so its gradient is ``suffix[f+1]' pull[f]``. The last
suffix is the last factor itself and takes no memory of its own.

A warp takes a row of a factor at a time: its product with ``pull[f]`` for the next ``pull`` and its
update come from one read, and no gradient is ever stored.
"""

from functools import cache
from typing import Any

import numpy as np
from numba import cuda, types

from .jit import THREADS, WARP, Kernel, as_like, device, pointer, xp
from .planning import makes_kernel
from .reduce import this_thread, warp_sum

#: Columns of a table, one row a factor: its shape; where its parameters, its suffix product and its
#: pulled-back gradient start; how ``multiply`` shares it out, since a GPU divides slowly: so many
#: threads an entry of the product, so many rows each, and ``thread * INVERSE >> SHIFT`` is which.
ROWS, COLUMNS, PARAMS, SUFFIX, PULL, PARTS, SHARE, INVERSE, TABLE = range(9)
SHIFT = 20


class Layout:
    """Where a network's numbers stand: parameters, ``slots`` of state as large, products."""

    def __init__(self, widths: tuple[int, ...], slots: int) -> None:
        k, depth = widths[-1], len(widths) - 1
        shapes = list(zip(widths[1:], widths[:-1], strict=True))
        self.widths = widths
        self.n_params = sum(rows * columns for rows, columns in shapes)
        self.n_kept = (1 + slots) * self.n_params
        self.table = np.zeros((depth, TABLE), np.int64)
        params, products = 0, self.n_kept
        for f, (rows, columns) in enumerate(shapes):
            self.table[f, : PARAMS + 1] = rows, columns, params
            size = k * columns
            parts = max(min(THREADS // size, rows), 1)
            # Exact as long as the product of size and a thread's number is below 2^20.
            self.table[f, PARTS:] = parts, -(-rows // parts), -(-(1 << SHIFT) // size)
            params += rows * columns
            self.table[f, PULL], products = products, products + k * columns
            if f < depth - 1:
                self.table[f, SUFFIX], products = products, products + k * columns
            else:
                self.table[f, SUFFIX] = self.table[f, PARAMS]
        self.size = products


@cache
def make_multiply(dtype: np.dtype[Any]) -> Any:
    """Make ``multiply(memory, table, depth, k, scratch, at)``: all suffix products.

    The first is the end-to-end matrix. ``scratch`` has an element a thread from ``at`` on.
    """
    scalar = dtype.type

    @device
    def multiply(memory, table, depth, k, scratch, at):
        thread = this_thread()
        for back in range(depth - 1):
            f = depth - 2 - back
            row = f * TABLE
            rows, columns = table[row + ROWS], table[row + COLUMNS]
            factor, out = table[row + PARAMS], table[row + SUFFIX]
            left = table[row + TABLE + SUFFIX]
            size, parts = k * columns, table[row + PARTS]
            if parts == 1:
                for c in range(k):
                    for i in range(thread, columns, THREADS):
                        total = scalar(0)
                        for r in range(rows):
                            total += memory[left + c * rows + r] * memory[factor + r * columns + i]
                        memory[out + c * columns + i] = total
            else:
                # More threads than entries: several share one, each some rows.
                part = (thread * table[row + INVERSE]) >> SHIFT
                c, i = 0, thread - part * size
                while i >= columns:
                    c, i = c + 1, i - columns
                if part < parts:
                    total = scalar(0)
                    first = part * table[row + SHARE]
                    for r in range(first, min(first + table[row + SHARE], rows)):
                        total += memory[left + c * rows + r] * memory[factor + r * columns + i]
                    scratch[at + thread] = total
                cuda.syncthreads()
                if thread < size:
                    total = scratch[at + thread]
                    for other in range(1, parts):
                        total += scratch[at + other * size + thread]
                    memory[out + thread] = total
            cuda.syncthreads()

    return multiply


@device
def go_on(memory, table, f, depth, sink):
    """Nothing is to be done between two factors."""


@cache
def make_descend(dtype: np.dtype[Any], consume: Any, between: Any = go_on) -> Any:
    """Make ``descend(memory, table, depth, k, sink)``: every element's gradient, handed on.

    The end-to-end gradient stands in ``pull[0]``. ``consume(memory, place, gradient, sink)`` gets
    the gradient of the parameter at ``memory[place]`` and may change it. ``between(memory, table,
    f, depth, sink)`` is called by all threads before factor f, and with f = depth after the last;
    from one call to the next they meet.
    """
    scalar, warps = dtype.type, THREADS // WARP

    @device
    def descend(memory, table, depth, k, sink):
        thread = this_thread()
        lane, warp = thread % WARP, thread // WARP
        for f in range(depth - 1):
            between(memory, table, f, depth, sink)
            row = f * TABLE
            rows, columns, factor = table[row + ROWS], table[row + COLUMNS], table[row + PARAMS]
            pulled, below = table[row + PULL], table[row + TABLE + PULL]
            suffix = table[row + TABLE + SUFFIX]
            for r in range(warp, rows, warps):
                start = factor + r * columns
                if k == 1:
                    weight, total = memory[suffix + r], scalar(0)
                    for i in range(lane, columns, WARP):
                        along = memory[pulled + i]
                        total += along * memory[start + i]
                        consume(memory, start + i, weight * along, sink)
                    total = warp_sum(total)
                    if lane == 0:
                        memory[below + r] = total
                else:
                    for c in range(k):
                        total = scalar(0)
                        for i in range(lane, columns, WARP):
                            total += memory[pulled + c * columns + i] * memory[start + i]
                        total = warp_sum(total)
                        if lane == 0:
                            memory[below + c * rows + r] = total
                    for i in range(lane, columns, WARP):
                        gradient = scalar(0)
                        for c in range(k):
                            weight = memory[suffix + c * rows + r]
                            gradient += weight * memory[pulled + c * columns + i]
                        consume(memory, start + i, gradient, sink)
            cuda.syncthreads()
        between(memory, table, depth - 1, depth, sink)
        row = (depth - 1) * TABLE
        pulled, factor = table[row + PULL], table[row + PARAMS]
        for o in range(thread, k * table[row + COLUMNS], THREADS):
            consume(memory, factor + o, memory[pulled + o], sink)
        cuda.syncthreads()
        between(memory, table, depth, depth, sink)

    return descend


@device
def _copy_out(memory, place, gradient, grads):
    grads[place] = gradient


@makes_kernel
def _make_kernel(dtype: np.dtype[Any]) -> Kernel:
    multiply, descend = make_multiply(dtype), make_descend(dtype, _copy_out)

    def chain(memory, table, grads, depth, k, with_gradients):
        scratch = cuda.shared.array(0, dtype)
        multiply(memory, table, depth, k, scratch, 0)
        if with_gradients:
            descend(memory, table, depth, k, grads)

    signature = [pointer(dtype), pointer(np.int64), pointer(dtype), *[types.int64] * 3]
    return Kernel(chain, signature, (dtype.name,))


def _run(params: Any, widths: tuple[int, ...], G: Any = None) -> tuple[Layout, Any, Any]:
    layout = Layout(tuple(widths), 0)
    dtype = np.dtype(params.dtype)
    memory = xp.zeros(layout.size, dtype)
    memory[: layout.n_params] = xp.asarray(params)
    grads = xp.zeros(layout.n_params, dtype)
    if G is not None:
        memory[layout.table[0, PULL] :][: G.size] = xp.asarray(G).ravel()
    depth, k = len(widths) - 1, widths[-1]
    arguments = (memory, xp.asarray(layout.table.ravel()), grads, depth, k, int(G is not None))
    shared = THREADS * dtype.itemsize
    _make_kernel(dtype).prepared(1, arguments, shared=shared)()
    return layout, memory, grads


def end_to_end(params: Any, widths: tuple[int, ...]) -> Any:
    """End-to-end matrix W_N ... W_1 (k, d) of flat parameters."""
    layout, memory, _ = _run(params, widths)
    start, size = int(layout.table[0, SUFFIX]), widths[-1] * widths[0]
    return as_like(params, memory[start : start + size].reshape(widths[-1], widths[0]))


def gradients(params: Any, widths: tuple[int, ...], G: Any) -> Any:
    """Gradients of all factors, flat like ``params``, from the end-to-end gradient G (k, d)."""
    return as_like(params, _run(params, widths, G)[2])
