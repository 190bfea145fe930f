"""Some rows of the data, by their numbers, as the passes read them.

A pass goes through tiles of rows. Those of all data stand where they are; rows that were picked are
copied, a tile at a time, into memory that stays in the first-level cache: :func:`tile_at` does what
is right for what it is given, so that a pass need not know. The pass for one map alone reads them
where they stand (:mod:`.one_map`). Their targets are copied before a pass, and then may have noise.
"""

from typing import Any, NamedTuple

import numpy as np
from numba.extending import overload

from ..specs import LABELS
from .jit import LINE, inlined_as_written, inner
from .noise import Noise
from .philox import gaussian_pair, in_widest_vectors, make_filler, pair, sign_pair
from .pointers import address, pointer, pointer_to, shift
from .simd import at


class Picked(NamedTuple):
    """The same fields as those of ``Data``, but of n rows with the numbers ``rows``, ascending.

    X is a pointer to all rows, Y to the targets of these, one row after the other; ``rows`` (int32)
    is one, and so is ``space``, where there is room for the X of a tile.
    """

    X: Any
    Y: Any
    n: int
    d: int
    ld: int
    k: int
    tile: int
    flush: int
    several: bool
    streamed: bool
    rest: float
    rows: Any
    space: Any


class Sampled(NamedTuple):
    """The data of a run with batches, as its kernel reads them.

    ``all_data`` are laid out for its passes, and ``everything`` (n,) int32 numbers their rows.
    ``rows`` (steps, size), int32, holds those of some steps, the first of which is FIRST_BATCH,
    and ``counts`` (steps,) how many they are. If they are ``scattered`` over the data, ranks divide
    the data among them, not the batch: a row is then always in the cache of the same processor.
    ``noise``, ``signs`` and ``seed`` are those of ``specs.Batches``.
    """

    all_data: Any
    everything: np.ndarray
    rows: np.ndarray
    counts: np.ndarray
    scattered: bool
    noise: float
    signs: bool
    seed: int


def space_size(data: Any, rows: int) -> int:
    """Elements of scratch that a rank needs for a tile, and the targets of so many rows."""
    return int(data.tile * data.ld + rows * data.k + LINE)


@inner
def _below(rows, count, number):
    """How many of the ascending ``rows`` are less than ``number``."""
    first, last = 0, count
    while first < last:
        middle = (first + last) // 2
        if rows[middle] < number:
            first = middle + 1
        else:
            last = middle
    return first


@inner
def pick_all(sampled, space, part, parts):
    """Pick a part of all rows."""
    data = sampled.all_data
    first, last = data.n * part // parts, data.n * (part + 1) // parts
    rows, Y = shift(pointer(sampled.everything), first), shift(pointer(data.Y), first * data.k)
    return _picked(data, Y, rows, last - first, space)


@inlined_as_written
def _add(out, i, number, noise):
    out[i] += noise.scale * number


def _make_noise(make):
    """Compile ``disturb(Y, rows, count, k, together, noise)`` by two numbers of ``make`` a block.

    Rows that are ``together`` have all their numbers in a row.
    """
    fill = make_filler(make, _add)

    @inner
    def scatter(Y, rows, count, noise):
        in_widest_vectors()
        for r in range(count):
            number = np.int64(rows[r])
            even, odd = make(*pair(number >> 1, noise))
            _add(Y, r, odd if number & 1 else even, noise)

    @inner
    def disturb(Y, rows, count, k, together, noise):
        if together and count > 0:
            fill(Y, np.int64(rows[0]) * k, count * k, noise)
        elif k == 1:
            scatter(Y, rows, count, noise)
        else:
            for r in range(count):
                fill(shift(Y, r * k), np.int64(rows[r]) * k, k, noise)

    return disturb


_add_gaussians, _add_signs = map(_make_noise, (gaussian_pair, sign_pair))


@inner
def _add_noise(sampled, Y, rows, count, step):
    """Add fresh noise to the targets of some rows."""
    k, noise = sampled.all_data.k, Noise(LABELS, step, sampled.seed, sampled.noise)
    if sampled.signs:
        _add_signs(Y, rows, count, k, not sampled.scattered, noise)
    else:
        _add_gaussians(Y, rows, count, k, not sampled.scattered, noise)


@inner
def pick_batch(sampled, space, step, place, part, parts):
    """Pick a part of the rows of a step, that at ``place`` among those at hand."""
    data, count = sampled.all_data, sampled.counts[place]
    rows = shift(pointer(sampled.rows), place * sampled.rows.shape[1])
    if sampled.scattered:
        first = _below(rows, count, data.n * part // parts)
        last = _below(rows, count, data.n * (part + 1) // parts)
    else:
        first, last = count * part // parts, count * (part + 1) // parts
    rows, count, k = shift(rows, first), last - first, data.k
    Y = shift(space, data.tile * data.ld)
    for r in range(count):
        source = np.int64(rows[r]) * k
        for c in range(k):
            Y[r * k + c] = data.Y[source + c]
    if sampled.noise != 0.0:
        _add_noise(sampled, Y, rows, count, step)
    return _picked(data, Y, rows, count, space)


@inner
def _picked(data, Y, rows, count, space):
    return Picked(
        pointer(data.X),
        Y,
        count,
        data.d,
        data.ld,
        data.k,
        data.tile,
        data.flush,
        True,
        False,
        data.rest,
        rows,
        space,
    )


@inner
def _copy(data, row, rows):
    """Copy a tile; the addresses of its X and Y."""
    ld, X = data.ld, data.space
    for r in range(rows):
        source, target = shift(data.X, np.int64(data.rows[row + r]) * ld), shift(X, r * ld)
        for j in range(ld):
            target[j] = source[j]
    return address(X), address(shift(data.Y, row * data.k))


def tile_at(data: Any, row: int, rows: int) -> tuple[int, int]:
    """Addresses of X and Y of so many rows from ``row`` on; compiled code calls it."""
    raise NotImplementedError("for compiled code")


@overload(tile_at, inline="always")
def _tile_at(data, row, rows):
    if "space" in data.fields:

        def copied(data, row, rows):
            return _copy(data, row, rows)

        return copied

    def in_place(data, row, rows):
        return at(data.X, row * data.ld), at(data.Y, row * data.k)

    return in_place


def is_picked(data: Any) -> bool:
    """Whether data are rows that were picked; compiled code calls it."""
    raise NotImplementedError("for compiled code")


@overload(is_picked, inline="always")
def _is_picked(data):
    picked = "space" in data.fields
    return lambda data: picked


@inner
def space_in(work, data, rows):
    """Point to the end of a rank's scratch, on a cache line, with ``space_size`` elements."""
    start = at(work, work.size - data.tile * data.ld - rows * data.k - LINE)
    return pointer_to((start + LINE - 1) // LINE * LINE, pointer(work))
