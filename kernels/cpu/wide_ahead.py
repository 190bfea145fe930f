"""What a rank of a team asks its caches for, before it needs it.

In every step the ranks read what others have written, and write what others have read: half of all
factors and products. A line that another processor has changed takes a tenth of a microsecond to
arrive, so that the products would wait for one after the other. Here they are asked for together.
"""

from functools import cache
from typing import Any

import numpy as np

from .factor_chain import LD, PARAMS, ROWS, factor_row
from .jit import inner, named
from .pointers import address, shift
from .shapes import shapes
from .simd import ask_to_read, ask_to_write
from .wide_layout import make_span, rows_share, suffix, turned


@cache
def make_ahead(dtype: np.dtype[Any], lanes: int):
    """Compile ``before_outputs(chain, part, parts)`` and ``before_layers(chain, part, parts)``.

    Before its outputs a part reads the rows of the factors that others have updated, and writes its
    suffix and pulled-back products, which others have read. Before its rows it reads those products
    of the others, and writes its rows.
    """
    size, vectors = dtype.itemsize, shapes().tile_vectors
    span = make_span(lanes)

    @inner
    @named(dtype.name, lanes)
    def before_outputs(chain, part, parts):
        for f in range(chain.depth - 2, -1, -1):
            row = factor_row(chain, f)
            first, last = rows_share(row[ROWS], part, parts)
            W, line = address(shift(chain.params, row[PARAMS])), row[LD] * size
            ask_to_read(W, first * line)
            ask_to_read(W + last * line, (row[ROWS] - last) * line)
        begin, end = span(chain.k, part, parts)
        for f in range(1, chain.depth):
            row, Q = factor_row(chain, f), suffix(chain, f)
            line = row[LD] * lanes * size
            ask_to_write(Q.address + begin * line, (end - begin) * line)
        for f in range(chain.depth - 1):
            line = factor_row(chain, f)[LD] * lanes * size
            ask_to_write(turned(chain, f, lanes) + begin * line, (end - begin) * line)

    @inner
    @named(dtype.name, lanes)
    def before_layers(chain, part, parts):
        outputs = (chain.k + lanes - 1) // lanes
        begin, end = span(chain.k, part, parts)
        for f in range(chain.depth - 1):
            row = factor_row(chain, f)
            T, Q = turned(chain, f, lanes), suffix(chain, f + 1)
            first, last = rows_share(row[ROWS], part, parts)
            W, line = address(shift(chain.params, row[PARAMS])), row[LD] * size
            ask_to_write(W + first * line, (last - first) * line)
            v = 0
            while v < outputs:
                step = vectors if outputs - v >= vectors else 1
                if v < begin or v >= end:
                    line = step * lanes * size
                    start = Q.address + (v * lanes * Q.rows) * size
                    ask_to_read(start + first * line, (last - first) * line)
                v += step
            line = row[LD] * lanes * size
            ask_to_read(T, begin * line)
            ask_to_read(T + end * line, (outputs - end) * line)

    return before_outputs, before_layers
