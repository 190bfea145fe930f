"""Chunks of rows on a worker: laid out once in its memory, or read anew for every pass."""

import hashlib
from dataclasses import dataclass
from typing import Any

import dask
import numpy as np

from accel._core.checks import unrounded
from accel._support.arrays import Array, aligned, aligned_empty
from accel._support.backends import resolve
from accel.kernels.system.memory import page_bytes

__all__ = ["Chunk", "Extent", "Recipe", "Stream", "lay_out", "open_stream"]

#: Bytes of X in a block, the piece of a chunk that one thread sums at a time: a millisecond's work.
_BLOCK_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Extent:
    """The place of a chunk's rows in the data, and the type of its numbers."""

    first: int
    rows: int
    d: int
    k: int
    dtype: np.dtype[Any]
    exact: bool = False  # whether integers must not be rounded

    @property
    def block(self) -> int:
        """Rows of a block: they follow from the data alone, not from the machine."""
        row = self.d * self.dtype.itemsize
        # Its sums, k d float64 numbers a model, should be small beside it.
        return max(_BLOCK_BYTES // row, 64 * self.k, 8) // 8 * 8


class Chunk:
    """Rows in memory, those of X as long as the CPU kernels keep them.

    Attributes
    ----------
    shape : Extent
    X : (rows, d) array
        A view of rows that are padded with zeros.
    Y : (rows, k) array
    """

    def __init__(self, shape: Extent, X: Array, Y: Array) -> None:
        d, dtype = shape.d, shape.dtype
        length = resolve("cpu").chunks.row_length(d, dtype)
        if length == d:
            whole = aligned(X, dtype)
        else:
            whole = aligned_empty((len(X), length), dtype)
            whole[:, d:] = 0
            with np.errstate(over="ignore"):  # an overflow to float32 is found by the check
                np.copyto(whole[:, :d], X, casting="same_kind")
        self.shape, self.X, self.Y, self._whole = shape, whole[:, :d], aligned(Y, dtype), whole
        self._pieces: dict[str, list[Any]] = {}

    def pieces(self, backend: str) -> list[Any]:
        """The pieces that a backend's ``chunks.sums`` takes, laid out at the first call."""
        if backend not in self._pieces:
            lay_out = resolve(backend).chunks.pieces
            shape = self.shape
            self._pieces[backend] = lay_out(self._whole, self.Y, shape.d, shape.block)
        return self._pieces[backend]

    def touch(self) -> "Chunk":
        """Have the pages of a memory-mapped file read."""
        flat = self._whole.reshape(-1)
        flat[:: max(page_bytes() // flat.itemsize, 1)].sum()
        return self

    def load(self) -> "Chunk":
        """Return the chunk itself: it is in memory already."""
        return self

    def digest(self) -> Array:
        """SHA-256 of its numbers, as 32 bytes."""
        checksum = hashlib.sha256(np.ascontiguousarray(self.X).data)
        checksum.update(np.ascontiguousarray(self.Y).data)
        return np.frombuffer(checksum.digest(), np.uint8)

    def __sizeof__(self) -> int:
        return self._whole.nbytes + 2 * self.Y.nbytes

    def __reduce__(self) -> Any:
        # The receiver lays it out anew, since copies of arrays are not aligned.
        return Chunk, (self.shape, np.ascontiguousarray(self.X), self.Y)


class Recipe:
    """The part of the dask graph that makes the X of a chunk; a call runs it."""

    def __init__(self, graph: dict[Any, Any], key: Any) -> None:
        self._graph, self._key = graph, key

    def __call__(self) -> Array:
        """Run the tasks."""
        made: Array = dask.get(self._graph, self._key)
        return made


class Stream:
    """Rows whose X is read for every pass; Y is kept."""

    def __init__(self, shape: Extent, recipe: Recipe, Y: Array) -> None:
        self.shape, self._recipe, self.Y = shape, recipe, Y

    def load(self) -> Chunk:
        """Read the rows."""
        return Chunk(self.shape, self._recipe(), self.Y).touch()

    def __sizeof__(self) -> int:
        return self.Y.nbytes


def lay_out(shape: Extent, X: Array, y: Array) -> Chunk:
    """Lay out what the dask graph yields as a chunk, and check it.

    Raises
    ------
    TypeError
        If integers would be rounded although they must not be.
    ValueError
        If the shapes are not those that the graph has announced, or if a number is not finite.
    """
    for name, a, columns in (("X", X, (shape.d,)), ("y", y, y.shape[1:])):
        if a.shape != (shape.rows, *columns):
            raise ValueError(
                f"{name} must have chunks of the shapes that it tells, "
                f"got {a.shape} for {(shape.rows, *columns)}"
            )
        if shape.exact:
            unrounded(name, a, shape.dtype, a, shape.first)
    # A chunk is kept in memory, not in a mapped file that somebody may write to.
    X, y = (np.array(a) if isinstance(a, np.memmap) else a for a in (X, y))
    chunk = Chunk(shape, X, y.reshape(shape.rows, shape.k))
    _check("X", chunk.X, shape)
    _check("y", chunk.Y.reshape(y.shape), shape)
    return chunk


def _check(name: str, a: Array, shape: Extent) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(a.sum()):
            return
    bad = (~np.isfinite(a)).nonzero()
    if len(bad[0]):  # otherwise only the sum overflows
        place = tuple(int(i[0]) for i in bad)
        told = ", ".join(map(str, (shape.first + place[0], *place[1:])))
        raise ValueError(f"{name} must be finite in {a.dtype}, got {name}[{told}] = {a[place]}")


def open_stream(shape: Extent, recipe: Recipe, y: Array) -> Stream:
    """Make a stream, and check its rows by reading them once."""
    return Stream(shape, recipe, lay_out(shape, recipe(), y).Y)
