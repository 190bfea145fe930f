"""The shapes of the passes over the data: one table, by vector width, registers and cache sizes.

A processor's name is not looked at: what it can hold in its registers and first two caches decides.
The choice is the same in every process on a machine. It changes bits, so it belongs to the key of a
compiled kernel. ``ACCEL_SHAPES="tile_bytes=8192,one_rows=4"`` sets fields by hand, for
measurements; ``python -m benchmarks shapes`` tries the candidates on a machine.
"""

import os
from functools import cache
from pathlib import Path
from typing import NamedTuple

#: Bytes of a cache where the system does not tell: those of most laptops and cloud machines.
FALLBACK = {1: 32 * 1024, 2: 512 * 1024, 3: 8 * 1024 * 1024}

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_VARIABLE = "ACCEL_SHAPES"


class Shapes(NamedTuple):
    """How much is held where.

    One map and one output: a tile has ``tile_bytes`` of X, of which ``one_rows`` rows are
    multiplied at once. Several: a tile has ``many_rows`` rows, of which ``tile_height`` are
    multiplied with ``tile_vectors`` vectors of maps at once, over ``depth`` features.
    """

    tile_bytes: int
    one_rows: int
    many_rows: int
    tile_height: int
    tile_vectors: int
    depth: int


@cache
def shapes() -> Shapes:
    """The shapes of this process."""
    from .jit import vector_registers

    many = vector_registers() > 16
    chosen = Shapes(16 * 1024, 8, 48, 12 if many else 6, 2, 512)
    settings = [part.split("=") for part in os.environ.get(_VARIABLE, "").split(",") if part]
    return chosen._replace(**{name: int(value) for name, value in settings})
