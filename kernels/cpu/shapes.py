"""The shapes of the passes over the data: one table, by vector width, registers and cache sizes.

What the registers and the caches hold decides, never the name of a processor, so that the choice is
the same in every process on a machine. It changes bits, and belongs to the key of a compiled
kernel. ``ACCEL_SHAPES="tile_bytes=8192,many_rows=24"`` sets fields by hand, for measurements;
``python -m benchmarks shapes`` tries the candidates on a machine and prints its row of the table.
"""

import os
from functools import cache
from typing import NamedTuple

from ..system.caches import cache_bytes
from .processor import vector_bytes, vector_registers

#: Names fields and their values, for measurements.
VARIABLE = "ACCEL_SHAPES"


class Shapes(NamedTuple):
    """How much is held where.

    tile_bytes
        One map and one output: bytes of X in a tile, which is read twice from the first level.
    many_rows
        Several maps or outputs: rows of X in a tile.
    tile_height, tile_vectors
        Rows and vectors of a product that are held in registers: sums, then ``tile_vectors`` of the
        one factor and an element of the other in every lane.
    depth
        Features that are multiplied before the next rows: so much of a panel of weights is held in
        the first level.
    stream_bytes
        Bytes of X from which on it is read once, in ascending order, as it comes from memory: half
        of the last level, which other data need, too.
    ahead_bytes
        How far ahead of such a pass lines are asked for.
    """

    tile_bytes: int
    many_rows: int
    tile_height: int
    tile_vectors: int
    depth: int
    stream_bytes: int
    ahead_bytes: int


#: Values worth trying, by field.
CANDIDATES: dict[str, tuple[int, ...]] = {
    "tile_bytes": (8192, 16384, 24576, 32768),
    "many_rows": (24, 48, 96, 192),
    "tile_height": (4, 6, 8, 12),
    "tile_vectors": (1, 2, 3, 4),
    "depth": (128, 256, 512, 1024),
    "stream_bytes": (0, 2**40),
    "ahead_bytes": (2048, 4096, 8192, 16384, 32768),
}

#: Height and vectors of a tile of registers, by their number: 24 or 12 sums hide the latency of
#: two multiply-adds a cycle, and every load serves two or more of them.
_REGISTER_TILES = {16: (6, 2), 32: (12, 2)}


def choose(vector: int, registers: int, l1: int, l3: int) -> Shapes:
    """Return the row of the table for a vector of so many bytes, registers and bytes of caches."""
    height, vectors = _REGISTER_TILES[registers]
    return Shapes(
        tile_bytes=l1 * 2 // 3,
        many_rows=48,
        tile_height=height,
        tile_vectors=vectors,
        # A panel has a row of whole vectors a feature; half of the first level is for it.
        depth=max(l1 // 2 // (vectors * vector), 64),
        stream_bytes=l3 // 2,
        ahead_bytes=8 * 1024,
    )


@cache
def shapes() -> Shapes:
    """Return the shapes of this process.

    Raises
    ------
    ValueError
        If ``ACCEL_SHAPES`` names no field of the table, or sets one to what is no whole number from
        0 on (from 1 on where a pass cannot do without).
    """
    return choose_here()._replace(**settings(os.environ.get(VARIABLE, "")))


def choose_here() -> Shapes:
    """Return the row of the table for this processor, whatever ``ACCEL_SHAPES`` says."""
    caches = (cache_bytes(level) for level in (1, 3))
    return choose(vector_bytes(), vector_registers(), *caches)


def settings(text: str) -> dict[str, int]:
    """Read ``NAME=NUMBER,...``."""
    fields = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = part.partition("=")
        least = 0 if name in ("stream_bytes", "ahead_bytes") else 1
        if name not in Shapes._fields or not value.isdecimal() or int(value) < least:
            raise ValueError(
                f"{VARIABLE} must be NAME=NUMBER, separated by commas, with names of "
                f"{', '.join(Shapes._fields)}; {part!r} is not"
            )
        fields[name] = int(value)
    return fields
