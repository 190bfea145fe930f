"""The chain of factors: the end-to-end matrix and all gradients, in place on flat padded buffers.

Rows of every factor are padded to whole vectors, and so are those of the products below; the
padding is zero and stays zero. Factors are counted from 0 here, as the buffers are: factor f is
(n_{f+1}, n_f). With ``suffix[f] = W_{N-1} ... W_f`` (k, n_f) and ``pull[f] = G (W_{f-1} ... W_0)'``
(k, n_f) the gradient of factor f is ``suffix[f+1]' pull[f]``, where ``suffix[N]`` is the identity.

A gradient is produced a few rows at a time and handed to ``consume`` while it is in the
first-level cache: the training loop updates those rows at once, so that no gradient as large as
the parameters is ever written.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from .jit import aligned_zeros, entry, inner, lanes_for, named, padded
from .simd import View, at, tiles

#: Columns of ``Chain.table``, one row a factor: its shape, row length with padding, and where its
#: parameters, its suffix product and its pulled-back gradient start.
ROWS, COLUMNS, LD, PARAMS, SUFFIX, PULL = range(6)

#: Rows of a gradient that are produced before they are consumed.
BLOCK = 8


class Chain(NamedTuple):
    """A network: ``table`` (depth, 6) of the columns above, and the buffers that it points into."""

    table: np.ndarray
    k: int
    params: np.ndarray
    products: np.ndarray


class Layout:
    """Where each factor stands in the flat padded buffers, and how to move to and from there."""

    def __init__(self, widths: tuple[int, ...], dtype: np.dtype[Any], k_lanes: int) -> None:
        self.widths, self.dtype, self.lanes = widths, dtype, k_lanes
        self.k, depth = widths[-1], len(widths) - 1
        self.table = np.zeros((depth, 6), np.int64)
        params = products = 0
        for f in range(depth):
            columns, rows = widths[f], widths[f + 1]
            ld = padded(columns, k_lanes)
            self.table[f] = rows, columns, ld, params, products, products + self.k * ld
            params += rows * ld
            products += 2 * self.k * ld
        self.n_params, self.n_products = params, products

    def chain(self, params: np.ndarray) -> Chain:
        """Buffers for a network with the given natural (unpadded) parameters."""
        products = aligned_zeros(self.n_products, self.dtype)
        return Chain(self.table, self.k, self.pad(params), products)

    def pad(self, params: np.ndarray) -> np.ndarray:
        """Copy natural flat parameters into a padded buffer."""
        flat = aligned_zeros(self.n_params, self.dtype)
        self._copy(flat, params, into_padded=True)
        return flat

    def unpad(self, flat: np.ndarray) -> np.ndarray:
        """Copy a padded buffer into natural flat parameters."""
        params = np.empty(int((self.table[:, ROWS] * self.table[:, COLUMNS]).sum()), self.dtype)
        self._copy(flat, params, into_padded=False)
        return params

    def _copy(self, flat: np.ndarray, params: np.ndarray, *, into_padded: bool) -> None:
        position = 0
        for rows, columns, ld, start in self.table[:, : PARAMS + 1].tolist():
            wide = flat[start : start + rows * ld].reshape(rows, ld)[:, :columns]
            narrow = params[position : position + rows * columns].reshape(rows, columns)
            if into_padded:
                wide[...] = narrow
            else:
                narrow[...] = wide
            position += rows * columns


@inner
def end_to_end_matrix(chain):
    """W (k rows of the first ``LD``), flat: the first suffix product."""
    start = chain.table[0, SUFFIX]
    return chain.products[start : start + chain.k * chain.table[0, LD]]


@inner
def end_to_end_gradient(chain):
    """G, flat like W: the first pulled-back product."""
    start = chain.table[0, PULL]
    return chain.products[start : start + chain.k * chain.table[0, LD]]


@cache
def make_end_to_end(dtype: np.dtype[Any], lanes: int):
    """Compile ``multiply(chain)``: all suffix products; the first is the end-to-end matrix."""
    accumulate = tiles(dtype, lanes).accumulate

    @inner
    @named(dtype.name, lanes)
    def multiply(chain):
        table, k, products = chain.table, chain.k, chain.products
        last = table.shape[0] - 1
        size, source = k * table[last, LD], table[last, PARAMS]
        product = products[table[last, SUFFIX] : table[last, SUFFIX] + size]
        top = chain.params[source : source + size]
        for i in range(size):
            product[i] = top[i]
        for f in range(last - 1, -1, -1):
            ld, start = table[f, LD], table[f, SUFFIX]
            product = products[start : start + k * ld]
            for i in range(k * ld):
                product[i] = 0
            left = View(at(products, table[f + 1, SUFFIX]), table[f + 1, LD], 1)
            factor = View(at(chain.params, table[f, PARAMS]), ld, 1)
            accumulate(left, factor, View(at(product, 0), ld, 1), k, ld, table[f, ROWS])

    return multiply


@cache
def make_gradients(dtype: np.dtype[Any], lanes: int, consume):
    """Compile ``descend(chain, block, sink)``: every gradient, some rows at a time.

    The end-to-end gradient stands in the first ``pull`` product. ``consume(chain, block, start,
    count, sink)`` receives the gradient of ``chain.params[start : start + count]`` in ``block``.
    """
    routines = tiles(dtype, lanes)
    dots, accumulate = routines.dots, routines.accumulate

    @inner
    @named(dtype.name, lanes)
    def descend(chain, block, sink):
        table, k, products = chain.table, chain.k, chain.products
        depth = table.shape[0]
        for f in range(depth):
            rows, ld, factor = table[f, ROWS], table[f, LD], table[f, PARAMS]
            pulled = products[table[f, PULL] : table[f, PULL] + k * ld]
            if f == depth - 1:
                # The suffix product is the identity: the gradient is the pulled-back G itself.
                consume(chain, pulled, factor, k * ld, sink)
                return
            W = View(at(chain.params, factor), ld, 1)
            below = View(at(products, table[f + 1, PULL]), table[f + 1, LD], 1)
            dots(W, View(at(pulled, 0), ld, 1), below, rows, k, ld)
            suffix = products[table[f + 1, SUFFIX] :]
            for first in range(0, rows, BLOCK):
                m = min(BLOCK, rows - first)
                if k == 1:
                    for r in range(m):
                        weight, row = suffix[first + r], block[r * ld : (r + 1) * ld]
                        for i in range(ld):
                            row[i] = weight * pulled[i]
                else:
                    for i in range(m * ld):
                        block[i] = 0
                    left = View(at(suffix, first), 1, table[f + 1, LD])
                    right = View(at(pulled, 0), ld, 1)
                    accumulate(left, right, View(at(block, 0), ld, 1), m, ld, k)
                consume(chain, block, factor + first * ld, m * ld, sink)

    return descend


def block_size(table: np.ndarray) -> int:
    """Elements of the block that ``descend`` needs."""
    return BLOCK * int(table[:, LD].max())


@inner
def _copy_out(chain, block, start, count, sink):
    part = sink[start : start + count]
    for i in range(count):
        part[i] = block[i]


@cache
def _make_entry(dtype: np.dtype[Any], lanes: int):
    multiply = make_end_to_end(dtype, lanes)
    descend = make_gradients(dtype, lanes, _copy_out)

    @entry("chain", dtype.name, lanes)
    def both(chain, block, grads, with_gradients):
        multiply(chain)
        if with_gradients:
            descend(chain, block, grads)

    return both


def _run(params, widths, G=None):
    layout = Layout(tuple(widths), params.dtype, lanes_for(max(widths[:-1]), params.dtype))
    chain = layout.chain(params)
    ld = layout.table[0, LD]
    if G is not None:
        start = layout.table[0, PULL]
        chain.products[start : start + layout.k * ld].reshape(layout.k, ld)[:, : widths[0]] = G
    block = aligned_zeros(block_size(layout.table), params.dtype)
    grads = aligned_zeros(layout.n_params, params.dtype)
    both = _make_entry(params.dtype, layout.lanes)
    both(chain, block, grads, G is not None)
    return layout, chain, grads


def end_to_end(params: np.ndarray, widths: tuple[int, ...]) -> np.ndarray:
    """End-to-end matrix W_N ... W_1 (k, d) of natural flat parameters."""
    layout, chain, _ = _run(params, widths)
    ld = layout.table[0, LD]
    return chain.products[: layout.k * ld].reshape(layout.k, ld)[:, : widths[0]].copy()


def gradients(params: np.ndarray, widths: tuple[int, ...], G: np.ndarray) -> np.ndarray:
    """Gradients of all factors, flat like ``params``, from the end-to-end gradient G (k, d)."""
    layout, _, grads = _run(params, widths, G)
    return layout.unpad(grads)
