"""The pass over observed entries of the end-to-end matrix, for some of the outputs.

The entries are sorted by their rows, which are the outputs, so that each rank goes over those of
its own. Here is the pass over a matrix that has been multiplied out, in panels
(:mod:`.wide_layout`): a few entries at a time are gathered, become slopes, and are added to a
gradient of zeros. Where few are seen, :mod:`.wide_sampled` does without these matrices. What is
added up in which order depends on no rank, nor on how many there are.
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
    """The observed entries, in the place of ``lp_loss.Data``, row by row.

    ``places`` are their places in a matrix (k, d) in panels, ``columns`` their columns (int32) and
    ``values`` what was seen there. Those of row i begin with number ``starts[i]``. In the order of
    the columns they are the numbers ``order``, in the rows ``rows`` (both int32), and those of
    column j begin at ``tops[j]``; rows and columns are filled up to whole vectors. Some are
    ``repeated`` or none. A pass takes ``tile`` rows of scratch a panel, and as long as ``n`` rows
    of X.
    """

    places: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    starts: np.ndarray
    order: np.ndarray
    rows: np.ndarray
    tops: np.ndarray
    repeated: bool
    n: int
    d: int
    ld: int
    k: int
    tile: int
    rest: float


def places_in_panels(
    rows: np.ndarray, columns: np.ndarray, k: int, ld: int, lanes: int
) -> np.ndarray:
    """Return where entries (row, column) of a matrix (k, d) stand in panels of ``ld`` rows."""
    vectors, v = shapes().tile_vectors, rows // lanes
    whole = padded(k, lanes) // lanes // vectors * vectors
    first = np.where(v < whole, v // vectors * vectors, v)
    width = np.where(v < whole, vectors * lanes, lanes)
    flat: np.ndarray = first * lanes * ld + columns * width + rows - first * lanes
    return flat


def pack_entries(places: np.ndarray, values: np.ndarray, k: int, d: int, lanes: int) -> Entries:
    """Lay out entries (m, 2) and what was seen there (m, 1); copies."""
    ld = padded(d, lanes)
    by_row = np.lexsort(places.T[::-1])
    rows, columns = np.ascontiguousarray(places[by_row].T)
    flat = places_in_panels(rows, columns, k, ld, lanes)
    seen = aligned_zeros(len(values), values.dtype)
    seen[:] = values[by_row, 0]
    order = np.argsort(columns, kind="stable")
    starts = np.searchsorted(rows, np.arange(padded(k, lanes) + 1)).astype(np.int64)
    tops = np.searchsorted(columns[order], np.arange(ld + 1)).astype(np.int64)
    columns, order, down = (a.astype(np.int32) for a in (columns, order, rows[order]))
    repeated = bool(np.any(flat[1:] == flat[:-1]))
    tile = max(_BLOCK // (shapes().tile_vectors * lanes), 1)
    return Entries(flat, columns, seen, starts, order, down, tops, repeated, 1, d, ld, k, tile, 0.0)


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
            last = starts[(v + step) * lanes]
            for first in range(starts[v * lanes], last, block):
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
