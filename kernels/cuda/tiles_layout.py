r"""How the tiles route lays out its work: what a thread has, and where things lie in shared memory.

``tiles`` tells what the words mean and does the work.
"""

from typing import Any, NamedTuple

import numpy as np

from .jit import THREADS, WARP, attribute, blocks_at_once, capability

#: Rows of a thread's tile of residuals, its most maps, and the words of G that it may hold.
ROWS, TALL, _HELD = 4, 8, 64
#: Maps at which the arithmetic takes as long as the reading; a block should take more.
_ENOUGH = 32
#: Words of both products up to which two blocks share a multiprocessor.
_SHARED_OUT = 64
#: Layouts to try, the best first: least rows of a tile, blocks that share a multiprocessor, and
#: buffers, one more if there is room.
_WISHES = ((32, 2, 2), (32, 1, 2), (16, 1, 2), (4, 1, 1))
#: Rows up to which a tile may be too large for all multiprocessors to have one, and bytes of shared
#: memory that CUDA takes of every block's.
_FEW_ROWS, _RESERVED = 32, 1024


class TileShape(NamedTuple):
    """What the kernel is specialised for; the module's docstring tells what the words mean.

    ``lanes`` elements are copied at a time. Threads form ``groups``, each with its own maps; in the
    second product ``across`` threads of a group have different columns. There are ``buffers`` for
    tiles, and ``blocks`` on a multiprocessor.
    """

    d: int
    outputs: int
    lanes: int
    tall: int
    groups: int
    wide: int
    across: int
    split: int
    buffers: int
    blocks: int

    @property
    def capacity(self) -> int:
        """Maps of a block."""
        return self.groups * self.tall

    @property
    def rows(self) -> int:
        """Rows of a tile."""
        return ROWS * THREADS // (self.groups * self.split)

    @property
    def kept(self) -> int:
        """Targets of a row that a block needs."""
        return min(self.outputs, self.capacity)


class SharedMemory(NamedTuple):
    """Where the parts of the shared memory begin, and how they are padded, in elements.

    W (capacity, columns), S (capacity, slopes), then ``buffers`` times Y (rows, kept) and X (rows,
    columns), of which ``padded`` columns count. In the end they make room for G, and for ``parts``
    losses a map, which begin at ``losses`` counted in float64.
    """

    columns: int
    padded: int
    slopes: int
    at_slopes: int
    at_targets: int
    at_tiles: int
    losses: int
    parts: int
    size: int


def shared_memory(dtype: np.dtype[Any], shape: TileShape) -> SharedMemory:
    """Return the layout of the shared memory."""
    vector, together = 16 // dtype.itemsize, min(shape.split, 4)
    padded = -(-shape.d // (vector * shape.split)) * shape.split
    # Rows that are read together lie as far apart as what is read of each.
    columns = (padded // together | 1) * together * vector
    slopes = shape.rows + vector
    at_slopes = shape.capacity * columns
    at_targets = at_slopes + shape.capacity * slopes
    at_tiles = at_targets + shape.buffers * shape.rows * shape.kept
    size = at_tiles + shape.buffers * shape.rows * columns
    sums = THREADS * shape.tall * shape.wide * vector
    rows = deal(residual_order(shape))["row"]
    parts = 1 << sum(bit >= bits_of(WARP) for bit in rows)
    losses = -(-sums * dtype.itemsize // 8)
    size = max(size, (losses + parts * shape.capacity) * 8 // dtype.itemsize)
    return SharedMemory(
        columns, padded * vector, slopes, at_slopes, at_targets, at_tiles, losses, parts, size
    )


def bits_of(count: int) -> int:
    """Return the logarithm of a power of two."""
    return count.bit_length() - 1


def residual_order(shape: TileShape) -> list[str]:
    """Return what each bit of a thread's number stands for in the first product."""
    split = ["split"] * bits_of(shape.split)
    group = ["group"] * bits_of(shape.groups)
    row = ["row"] * bits_of(THREADS // (shape.groups * shape.split))
    first = (row[:1] + group[:1])[: bits_of(WARP) - len(split)]
    for kind in first:
        (group if kind == "group" else row).pop()
    return first + split + row + group


def gradient_order(shape: TileShape) -> list[str]:
    """The same in the second product."""
    group, column = ["group"] * bits_of(shape.groups), ["column"] * bits_of(shape.across)
    sharing = ["sharing"] * bits_of(THREADS // (shape.groups * shape.across))
    return group[:1] + column[:3] + group[1:2] + column[3:] + group[2:] + sharing


def deal(order: list[str]) -> dict[str, list[int]]:
    """Return the bits of a thread's number that stand for each word."""
    kinds = ("group", "row", "split", "column", "sharing")
    return {kind: [bit for bit, of in enumerate(order) if of == kind] for kind in kinds}


def loss_bits(shape: TileShape) -> list[int]:
    """Return the bits that tell apart the threads which share out a group's maps for its losses."""
    dealt = deal(residual_order(shape))
    return sorted(dealt["split"] + dealt["row"])[: bits_of(TALL)]


def round_up(count: int) -> int:
    """Round up to a power of two."""
    return 1 << max(count - 1, 0).bit_length()


def _columns(d: int, most: int, dtype: np.dtype[Any]) -> tuple[int, int, int]:
    """Return ``wide``, ``across`` and ``groups``; no groups if rows of d elements are too long.

    A thread has four columns, or eight where blocks could else not take ``_ENOUGH`` maps.
    """
    vector, words = 16 // dtype.itemsize, dtype.itemsize // 4
    wide = across = groups = 0
    for columns in (4, 8):
        if TALL * columns * words <= _HELD and groups * TALL < min(most, _ENOUGH):
            wide = max(min(columns, d) // vector, 1)
            across = round_up(-(-d // (vector * wide)))
            wanted = max(round_up(-(-most // TALL)), 2)
            groups = min(wanted, THREADS // TALL, THREADS // across)
    return wide, across, groups


def tiles_shape(
    n: int, d: int, outputs: int, most: int, dtype: np.dtype[Any], address: int = 0
) -> TileShape | None:
    """Return how to lay out a pass over X (n, d); ``address`` is as aligned as X and the maps.

    None if not even small tiles fit into shared memory, or if the GPU cannot copy by itself. The
    shape is that of a launch of all the maps; ``tiles_launch`` adapts it to fewer.
    """
    if capability() < (8, 0):
        return None
    vector = lanes = 16 // dtype.itemsize
    while d % lanes or address % (lanes * dtype.itemsize):
        lanes //= 2
    wide, across, groups = _columns(d, most, dtype)
    if groups == 0:
        return None
    tall = -(-most // (groups * -(-most // (groups * TALL))))
    first = TileShape(d, outputs, lanes, tall, groups, wide, across, 1, 1, 1)
    # Tiles not so large that some multiprocessors would have none.
    enough = max(_FEW_ROWS, n // blocks_at_once(1))
    most_split = min(WARP, THREADS // groups, ROWS * across // vector)
    shapes = [first._replace(split=1 << i) for i in range(bits_of(most_split) + 1)]
    shapes = [shape for shape in shapes if shape.rows <= enough] or shapes[-1:]
    limit, words = attribute("MaxSharedMemoryPerBlockOptin"), dtype.itemsize // 4
    heavy = tall * (ROWS + wide * vector) * words > _SHARED_OUT
    for least, blocks, buffers in _WISHES:
        for shape in shapes:
            if shape.rows < least or (blocks > 1 and heavy):
                continue
            for count in (buffers + 1, buffers):
                chosen = shape._replace(buffers=count, blocks=blocks)
                taken = shared_memory(dtype, chosen).size * dtype.itemsize + _RESERVED
                if blocks * taken <= limit + _RESERVED:
                    return chosen
    return None


def tiles_slots(n: int, most: int, shape: TileShape) -> int:
    """Return how many blocks share the rows."""
    blocks = blocks_at_once(shape.blocks) // -(-most // shape.capacity)
    return min(max(blocks, blocks_at_once(1)), -(-n // shape.rows))
