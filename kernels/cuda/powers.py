"""The problem as the kernels read it, and what the loss l_p makes of a residual."""

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from .jit import device, record


class Data(NamedTuple):
    """The problem as the kernels read it: X (n, d) and Y (n, k) row by row.

    On the Gram path they hold X'X (d, d) and Y'X (k, d), and in the form "diagonal" the diagonal
    once for each output (k, d) and Y' (k, d), both as the end-to-end matrix lies.

    In the form "entries" X (int64) has the n places that were seen, ascending, as the end-to-end
    matrix lies, then where in Y what was seen there begins, and the end: only the pass reads it.
    """

    X: Any
    Y: Any
    n: int
    d: int
    k: int


def data_type(dtype: np.dtype[Any]) -> Any:
    """Return the Numba type of ``Data``."""
    return record(Data, dtype, {"X": None, "Y": None, "n": int, "d": int, "k": int})


def power_of(p: float) -> int:
    """Return the power that a kernel is specialised for: p itself from 1 to 4, or 0 for any."""
    return int(p) if p in (1.0, 2.0, 3.0, 4.0) else 0


@cache
def make_power(dtype: np.dtype[Any], power: int) -> Any:
    """Make ``differentiate(r, p)``: |r|^(p-1) sign(r), and |r|^p."""
    scalar = dtype.type
    zero, one = scalar(0), scalar(1)

    @device
    def first(r, p):
        # NaN stays NaN; the derivative at 0 is 0.
        return r if r != r or r == zero else math.copysign(one, r), abs(r)

    @device
    def second(r, p):
        return r, r * r

    @device
    def third(r, p):
        slope = r * abs(r)
        return slope, slope * r

    @device
    def fourth(r, p):
        square = r * r
        return square * r, square * square

    @device
    def any_power(r, p):
        size = abs(r)
        slope = scalar(math.pow(size, scalar(p - 1.0)))
        return math.copysign(slope, r), slope * size

    return {0: any_power, 1: first, 2: second, 3: third, 4: fourth}[power]
