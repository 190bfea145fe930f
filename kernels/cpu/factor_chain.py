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
from numba import from_dtype, types

from .jit import aligned_zeros, entry, inner, lanes_for, named, padded
from .pointers import address, pointer, shift
from .simd import View, tiles

#: Columns of ``Chain.table``, one row a factor: its shape, row length with padding, where its
#: parameters, its suffix product and its pulled-back gradient start, and the power that entrywise
#: maps (:mod:`.entrywise`) raise it to.
ROWS, COLUMNS, LD, PARAMS, SUFFIX, PULL, POWER, FIELDS = range(8)

#: Rows of a gradient that are produced before they are consumed.
BLOCK = 8


class Chain(NamedTuple):
    """A network with k outputs: ``table`` (depth, 7) of the columns above, and its buffers.

    In compiled code all three are pointers, and arrays where Python calls it.
    """

    table: Any
    depth: int
    k: int
    params: Any
    products: Any


def chain_type(dtype: np.dtype[Any]) -> types.Type:
    """Return Numba's type of a ``Chain`` in compiled code."""
    integers, values = types.CPointer(types.int64), types.CPointer(from_dtype(dtype))
    return types.BaseTuple.from_types((integers, types.int64, types.int64, values, values), Chain)


class Layout:
    """Where each factor stands in the flat padded buffers, and how to move to and from there.

    In a ``wide`` chain (:mod:`.wide_chain`) the outputs are whole vectors, too: the products have
    them along the lanes, and the pulled-back ones are kept a second time, transposed. There the
    first one has room for rows as long as the first hidden layer, too (:mod:`.wide_sampled`).
    """

    def __init__(
        self, widths: tuple[int, ...], dtype: np.dtype[Any], k_lanes: int, *, wide: bool = False
    ) -> None:
        self.widths, self.dtype, self.lanes = widths, dtype, k_lanes
        self.k, depth = widths[-1], len(widths) - 1
        k = padded(self.k, k_lanes) if wide else self.k
        self.row = padded(widths[0], k_lanes)
        self.table = np.zeros((depth, FIELDS), np.int64)
        params = products = 0
        for f in range(depth):
            columns, rows = widths[f], widths[f + 1]
            ld = padded(columns, k_lanes)
            self.table[f] = rows, columns, ld, params, products, products + k * ld, 1
            params += (k if f == depth - 1 else rows) * ld
            products += 2 * k * ld
            if wide:
                hidden = padded(rows, k_lanes) if f == 0 and depth > 1 else 0
                products += k * max(ld, hidden)
        self.n_params, self.n_products = params, products

    def pad(self, params: np.ndarray) -> np.ndarray:
        """Copy natural flat parameters into a padded buffer."""
        flat = aligned_zeros(self.n_params, self.dtype)
        self.fill(flat, params)
        return flat

    def fill(self, flat: np.ndarray, params: np.ndarray) -> None:
        """Copy natural flat parameters into a padded buffer that is there already."""
        self._copy(flat, params, into_padded=True)

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
def factor_row(chain, f):
    """The row of the table for factor f."""
    return shift(chain.table, f * FIELDS)


@inner
def suffix_product(chain, f):
    """W_{N-1} ... W_f, rows of its ``LD``: the last one is the last factor itself."""
    row = factor_row(chain, f)
    if f == chain.depth - 1:
        return shift(chain.params, row[PARAMS])
    return shift(chain.products, row[SUFFIX])


@inner
def end_to_end_matrix(chain):
    """W (k rows of the first ``LD``), flat: the first suffix product."""
    return suffix_product(chain, 0)


@inner
def end_to_end_gradient(chain):
    """G, flat like W: the first pulled-back product."""
    return shift(chain.products, chain.table[PULL])


@cache
def make_end_to_end(dtype: np.dtype[Any], lanes: int):
    """Compile ``multiply(chain)``: all suffix products; the first is the end-to-end matrix."""
    accumulate = tiles(dtype, lanes).accumulate

    @inner
    @named(dtype.name, lanes)
    def multiply(chain):
        k = chain.k
        for f in range(chain.depth - 2, -1, -1):
            row, above = factor_row(chain, f), factor_row(chain, f + 1)
            rows, ld = row[ROWS], row[LD]
            left, factor = suffix_product(chain, f + 1), shift(chain.params, row[PARAMS])
            product = shift(chain.products, row[SUFFIX])
            if k * rows == 1:
                weight = left[0]
                for i in range(ld):
                    product[i] = weight * factor[i]
            else:
                for i in range(k * ld):
                    product[i] = 0
                A, B = View(address(left), above[LD], 1), View(address(factor), ld, 1)
                accumulate(A, B, View(address(product), ld, 1), k, ld, rows)

    return multiply


@cache
def make_gradients(dtype: np.dtype[Any], lanes: int, consume):
    """Compile ``descend(chain, block, sink)``: every gradient, some rows at a time.

    The end-to-end gradient stands in the first ``pull`` product. ``consume(chain, block, start,
    count, sink)`` receives the gradient of ``count`` parameters from ``start`` on in ``block``.
    """
    routines = tiles(dtype, lanes)
    dots, accumulate = routines.dots, routines.accumulate

    @inner
    @named(dtype.name, lanes)
    def descend(chain, block, sink):
        k, products = chain.k, chain.products
        for f in range(chain.depth - 1):
            row, above = factor_row(chain, f), factor_row(chain, f + 1)
            rows, ld, factor = row[ROWS], row[LD], row[PARAMS]
            pulled, below = shift(products, row[PULL]), shift(products, above[PULL])
            W = View(address(shift(chain.params, factor)), ld, 1)
            G = View(address(pulled), ld, 1)
            dots(W, G, View(address(below), above[LD], 1), rows, k, ld)
            suffix = suffix_product(chain, f + 1)
            for first in range(0, rows, BLOCK):
                m = min(BLOCK, rows - first)
                if k == 1:
                    for r in range(m):
                        weight, target = suffix[first + r], shift(block, r * ld)
                        for i in range(ld):
                            target[i] = weight * pulled[i]
                else:
                    for i in range(m * ld):
                        block[i] = 0
                    left = View(address(shift(suffix, first)), 1, above[LD])
                    accumulate(left, G, View(address(block), ld, 1), m, ld, k)
                consume(chain, block, factor + first * ld, m * ld, sink)
        # The last suffix product is the identity: the gradient is the pulled-back G itself.
        row = factor_row(chain, chain.depth - 1)
        consume(chain, shift(products, row[PULL]), row[PARAMS], k * row[LD], sink)

    return descend


def block_size(table: np.ndarray) -> int:
    """Elements of the block that ``descend`` needs."""
    return BLOCK * int(table[:, LD].max())


@inner
def _copy_out(chain, block, start, count, sink):
    for i in range(count):
        sink[start + i] = block[i]


@cache
def _make_entry(dtype: np.dtype[Any], lanes: int):
    multiply = make_end_to_end(dtype, lanes)
    descend = make_gradients(dtype, lanes, _copy_out)

    @entry("chain", dtype.name, lanes)
    def both(arrays, W, block, grads, with_gradients):
        params, products = pointer(arrays.params), pointer(arrays.products)
        chain = Chain(pointer(arrays.table), arrays.depth, arrays.k, params, products)
        multiply(chain)
        product = end_to_end_matrix(chain)
        for i in range(W.size):
            W[i] = product[i]
        if with_gradients:
            descend(chain, pointer(block), pointer(grads))

    return both


def _run(params, widths, G=None):
    layout = Layout(tuple(widths), params.dtype, lanes_for(max(widths[:-1]), params.dtype))
    k, ld, d, depth = layout.k, int(layout.table[0, LD]), widths[0], len(layout.table)
    products = aligned_zeros(layout.n_products, params.dtype)
    arrays = Chain(layout.table, depth, k, layout.pad(params), products)
    if G is not None:
        start = layout.table[0, PULL]
        products[start : start + k * ld].reshape(k, ld)[:, :d] = G
    block = aligned_zeros(block_size(layout.table), params.dtype)
    grads = aligned_zeros(layout.n_params, params.dtype)
    W = aligned_zeros(k * ld, params.dtype)
    _make_entry(params.dtype, layout.lanes)(arrays, W, block, grads, G is not None)
    return layout, W.reshape(k, ld)[:, :d].copy(), grads


def end_to_end(params: np.ndarray, widths: tuple[int, ...]) -> np.ndarray:
    """End-to-end matrix W_N ... W_1 (k, d) of natural flat parameters."""
    _, W, _ = _run(params, widths)
    return W


def gradients(params: np.ndarray, widths: tuple[int, ...], G: np.ndarray) -> np.ndarray:
    """Gradients of all factors, flat like ``params``, from the end-to-end gradient G (k, d)."""
    layout, _, grads = _run(params, widths, G)
    return layout.unpad(grads)
