"""Maps made of vectors entry by entry, in place on flat padded buffers; the data may be any.

(:mod:`.diagonal` is about data that are diagonal.) Every vector has a row in the table of a chain
of factors (:mod:`.factor_chain`), as a factor of one row, and the products have the same places:

"hadamard"          ``suffix[f] = u_{N-1} ... u_f`` and ``pull[f] = g u_0 ... u_{f-1}``, by the same
                    two recurrences; the gradient of vector f is ``suffix[f+1] pull[f]``;
"power-difference"  two rows, u and v, in whose POWER the N stands; ``suffix[0]`` is the map and
                    ``pull[0]`` its gradient, ``suffix[1]`` is u^(N-1) and ``pull[1]`` is v^(N-1).

A step reads and writes each vector once or twice, which is nothing beside a pass over the data: the
loops are left to LLVM's vectoriser. Powers are repeated products, whatever N is, without one source
for every N.
"""

from functools import cache
from typing import Any

import numpy as np

from ..reference.entrywise import ChainCurvature
from ..specs import Entrywise
from .factor_chain import (
    LD,
    PARAMS,
    POWER,
    PULL,
    SUFFIX,
    Chain,
    Layout,
    block_size,
    end_to_end_gradient,
    end_to_end_matrix,
    factor_row,
    suffix_product,
)
from .jit import aligned_zeros, as_written, entry, inner, lanes_for, named
from .pointers import pointer, shift

#: Products with the Hessian are made of a few vectors between two passes: NumPy does for them.
__all__ = ["ChainCurvature", "EntrywiseLayout", "end_to_end", "gradients"]


class EntrywiseLayout(Layout):
    """Where each vector stands in the flat padded buffers: as a factor of one row."""

    def __init__(self, structure: Entrywise, d: int, dtype: np.dtype[Any], lanes: int) -> None:
        super().__init__((d, 1), dtype, lanes)
        ld, count = self.row, structure.vectors
        power = structure.depth if structure.form == "power-difference" else 1
        starts = np.arange(count) * ld
        self.table = np.repeat(self.table, count, axis=0)
        self.table[:, PARAMS], self.table[:, POWER] = starts, power
        self.table[:, SUFFIX], self.table[:, PULL] = 2 * starts, 2 * starts + ld
        self.n_params, self.n_products = count * ld, 2 * count * ld


@cache
def make_end_to_end(dtype: np.dtype[Any], form: str):
    """Compile ``multiply(chain)``: the map, and what the gradients need of the vectors.

    As written: with a fused multiply-add the difference of two equal powers would not be 0.
    """
    one = dtype.type(1)

    @as_written
    @named(dtype.name, form)
    def product(chain):
        for f in range(chain.depth - 2, -1, -1):
            row = factor_row(chain, f)
            after, u = suffix_product(chain, f + 1), shift(chain.params, row[PARAMS])
            target = shift(chain.products, row[SUFFIX])
            for i in range(row[LD]):
                target[i] = after[i] * u[i]

    @as_written
    @named(dtype.name, form)
    def difference(chain):
        above, below = factor_row(chain, 0), factor_row(chain, 1)
        ld, power, products = above[LD], above[POWER], chain.products
        u, v = shift(chain.params, above[PARAMS]), shift(chain.params, below[PARAMS])
        a, b = shift(products, below[SUFFIX]), shift(products, below[PULL])
        w = shift(products, above[SUFFIX])
        for i in range(ld):
            a[i] = u[i] if power > 1 else one
            b[i] = v[i] if power > 1 else one
        for _ in range(power - 2):
            for i in range(ld):
                a[i] *= u[i]
                b[i] *= v[i]
        for i in range(ld):
            w[i] = a[i] * u[i] - b[i] * v[i]

    return product if form == "hadamard" else difference


@cache
def make_gradients(dtype: np.dtype[Any], form: str, consume):
    """Compile ``descend(chain, block, sink)``: every gradient; see ``factor_chain``."""
    number = dtype.type

    @inner
    @named(dtype.name, form)
    def of_product(chain, block, sink):
        products = chain.products
        for f in range(chain.depth - 1):
            row, above = factor_row(chain, f), factor_row(chain, f + 1)
            ld, start = row[LD], row[PARAMS]
            pulled, next_pulled = shift(products, row[PULL]), shift(products, above[PULL])
            u, after = shift(chain.params, start), suffix_product(chain, f + 1)
            for i in range(ld):
                next_pulled[i] = pulled[i] * u[i]
            for i in range(ld):
                block[i] = after[i] * pulled[i]
            consume(chain, block, start, ld, sink)
        # The last suffix product is 1: the gradient is the pulled-back one itself.
        row = factor_row(chain, chain.depth - 1)
        consume(chain, shift(products, row[PULL]), row[PARAMS], row[LD], sink)

    @inner
    @named(dtype.name, form)
    def of_difference(chain, block, sink):
        above, below = factor_row(chain, 0), factor_row(chain, 1)
        ld, power, products = above[LD], number(above[POWER]), chain.products
        g = shift(products, above[PULL])
        a, b = shift(products, below[SUFFIX]), shift(products, below[PULL])
        for i in range(ld):
            block[i] = power * a[i] * g[i]
        consume(chain, block, above[PARAMS], ld, sink)
        for i in range(ld):
            block[i] = -power * b[i] * g[i]
        consume(chain, block, below[PARAMS], ld, sink)

    return of_product if form == "hadamard" else of_difference


@inner
def _copy_out(chain, block, start, count, sink):
    for i in range(count):
        sink[start + i] = block[i]


@cache
def _make_entry(dtype: np.dtype[Any], form: str):
    multiply, descend = make_end_to_end(dtype, form), make_gradients(dtype, form, _copy_out)

    @entry("entrywise", dtype.name, form)
    def both(arrays, G, W, block, grads):
        params, products = pointer(arrays.params), pointer(arrays.products)
        chain = Chain(pointer(arrays.table), arrays.depth, arrays.k, params, products)
        multiply(chain)
        product, gradient = end_to_end_matrix(chain), end_to_end_gradient(chain)
        for i in range(G.size):
            W[i] = product[i]
            gradient[i] = G[i]
        descend(chain, pointer(block), pointer(grads))

    return both


def _run(params, structure, G):
    d, dtype = params.size // structure.vectors, params.dtype
    layout = EntrywiseLayout(structure, d, dtype, lanes_for(d, dtype))
    products = aligned_zeros(layout.n_products, dtype)
    arrays = Chain(layout.table, len(layout.table), 1, layout.pad(params), products)
    block, grads = (aligned_zeros(n, dtype) for n in (block_size(layout.table), layout.n_params))
    W = np.empty(d, dtype)
    flat = np.zeros(d, dtype) if G is None else np.ascontiguousarray(G).reshape(-1)
    _make_entry(dtype, structure.form)(arrays, flat, W, block, grads)
    return W, layout.unpad(grads)


def end_to_end(params: np.ndarray, structure: Entrywise) -> np.ndarray:
    """The map as a matrix (1, d) of natural flat vectors."""
    return _run(params, structure, None)[0][np.newaxis]


def gradients(params: np.ndarray, structure: Entrywise, G: np.ndarray) -> np.ndarray:
    """Gradients of all vectors, flat like ``params``, from that of the map, G (1, d)."""
    return _run(params, structure, G)[1]
