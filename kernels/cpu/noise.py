"""Langevin's noise, added to the parameters that a step has just moved.

The Gaussians of a parameter are those of its number among the natural flat parameters, so that they
do not depend on the layout, nor on who moves it; what is padding gets none.
"""

from typing import Any, NamedTuple

import numpy as np
from numba.np.numpy_support import as_dtype

from ..specs import PARAMETERS
from .factor_chain import COLUMNS, LD, PARAMS, ROWS, chain_type, factor_row
from .jit import inlined_as_written, inner, named
from .philox import gaussian_pair, make_filler
from .pieces import FLOAT, INTEGER, caller, from_stack, made_elsewhere, on_stack, piece
from .pointers import shift


class Noise(NamedTuple):
    """A counter of random numbers, and the standard deviation of the noise."""

    stream: int
    step: int
    seed: int
    scale: float


@inner
def factor_at(chain, place):
    """The number of the factor whose parameters are about ``place``."""
    f = chain.depth - 1
    while f > 0 and place < factor_row(chain, f)[PARAMS]:
        f -= 1
    return f


_ARGUMENTS = (INTEGER, INTEGER, INTEGER, FLOAT, INTEGER, INTEGER)
chain_on_stack = on_stack(lambda chain: chain_type(as_dtype(chain.types[3].dtype)))
#: Call the piece that ``make_noise`` makes: ``disturb(address, arguments)``.
disturb = caller(*_ARGUMENTS)


@made_elsewhere
def make_noise(dtype: np.dtype[Any]):
    """Make the piece for ``(chain, start, count, scale, step, seed)``, with the chain on the stack.

    It adds noise of that scale to ``count`` parameters from ``start`` on, which are of one factor:
    whole rows, or a piece of one. ``step`` counts from 0.
    """
    scalar, chain_at = dtype.type, from_stack(chain_type(dtype))

    @inlined_as_written
    @named(dtype.name)
    def add(out, i, number, noise):
        out[i] += scalar(noise.scale * number)

    add_gaussians = make_filler(gaussian_pair, add)

    @piece("disturb", dtype.name, arguments=_ARGUMENTS)
    def disturb(place, start, count, scale, step, seed):
        chain = chain_at(place)
        f, before = factor_at(chain, start), 0
        for other in range(f):
            row = factor_row(chain, other)
            before += row[ROWS] * row[COLUMNS]
        row, noise = factor_row(chain, f), Noise(PARAMETERS, step, seed, scale)
        columns, ld, offset, done = row[COLUMNS], row[LD], start - row[PARAMS], 0
        while done < count:
            r, column = offset // ld, offset % ld
            here = min(ld - column, count - done)
            if r < row[ROWS]:
                place = shift(chain.params, start + done)
                first = before + r * columns + column
                add_gaussians(place, first, min(here, columns - column), noise)
            offset += here
            done += here
        return 0

    return disturb
