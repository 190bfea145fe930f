"""The pass over observed entries of the end-to-end matrix, for some of the outputs.

The outputs lie along the lanes, in panels (:mod:`.wide_layout`). The entries are sorted by where
they stand in the panels, so that each rank goes over those of its own outputs and reads and writes
in ascending addresses. A few of them at a time are gathered, become slopes, and are added to a
gradient of zeros. What is added up in which order depends on no rank, nor on how many there are.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from .differentiate import make_differentiate
from .jit import aligned_zeros, padded, spliced
from .pointers import address, pointer, pointer_to, shift
from .shapes import shapes
from .wide_layout import end_to_end_gradient, end_to_end_matrix

#: Entries that are gathered at a time: slopes and targets of so many stay in the first level.
_BLOCK = 1024


class Entries(NamedTuple):
    """The observed entries, in the place of ``lp_loss.Data``.

    ``places`` are their places in a matrix (k, d) in panels, ascending; ``values`` what was seen
    there. Those from the outputs of vector v on begin with number ``starts[v]``, if a panel begins
    with that vector. A pass takes ``tile`` rows of scratch a panel, and as long as ``n`` rows of X.
    """

    places: np.ndarray
    values: np.ndarray
    starts: np.ndarray
    n: int
    d: int
    ld: int
    k: int
    tile: int
    rest: float


def places_in_panels(places: np.ndarray, k: int, ld: int, lanes: int) -> np.ndarray:
    """Return where entries (row, column) of a matrix (k, d) stand in panels of ``ld`` rows."""
    rows, columns = places.T
    vectors, v = shapes().tile_vectors, rows // lanes
    whole = padded(k, lanes) // lanes // vectors * vectors
    first = np.where(v < whole, v // vectors * vectors, v)
    width = np.where(v < whole, vectors * lanes, lanes)
    flat: np.ndarray = first * lanes * ld + columns * width + rows - first * lanes
    return flat


def pack_entries(places: np.ndarray, values: np.ndarray, k: int, d: int, lanes: int) -> Entries:
    """Lay out entries (m, 2) and what was seen there (m, 1); copies."""
    ld, vectors = padded(d, lanes), padded(k, lanes) // lanes
    flat = places_in_panels(places, k, ld, lanes)
    order = np.argsort(flat, kind="stable")
    flat = flat[order]
    seen = aligned_zeros(len(values), values.dtype)
    seen[:] = values[order, 0]
    starts = np.searchsorted(flat, np.arange(vectors + 1) * (lanes * ld)).astype(np.int64)
    tile = max(_BLOCK // (shapes().tile_vectors * lanes), 1)
    return Entries(flat, seen, starts, 1, d, ld, k, tile, 0.0)


@cache
def make_entries(dtype: np.dtype[Any], lanes: int, kind: str):
    """Compile the pass ``entries(data, chain, memory, span, backwards, scale, p)``."""
    vectors, zero = shapes().tile_vectors, dtype.type(0)
    differentiate = make_differentiate(dtype, lanes, kind)

    @spliced
    def entries(data, chain, memory, span, backwards, scale, p):
        ld = data.ld
        weights, gradient = end_to_end_matrix(chain), end_to_end_gradient(chain)
        slopes = pointer_to(memory.residuals, weights)
        places, values, starts = pointer(data.places), pointer(data.values), pointer(data.starts)
        block, v = data.tile * vectors * lanes, span[0]
        while v < span[1]:
            step, total = vectors if span[1] - v >= vectors else 1, 0.0
            for i in range(v * lanes * ld, (v + step) * lanes * ld):
                gradient[i] = zero
            last = starts[v + step]
            for first in range(starts[v], last, block):
                count = min(block, last - first)
                here = shift(places, first)
                for e in range(count):
                    slopes[e] = weights[here[e]]
                there = address(shift(values, first))
                total += differentiate(memory.residuals, there, count, p)
                for e in range(count):
                    gradient[here[e]] += scale * np.float64(slopes[e])
            memory.sums[v] = total
            v += step

    return entries
