"""Chunks of rows on a worker: laid out once in its memory, or read anew for every pass."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dask
import numpy as np

from accel._core.checks import unrounded
from accel._support.arrays import Array, aligned
from accel.kernels.cpu.jit import aligned_zeros, lanes_for, padded
from accel.kernels.cpu.lp_loss import pack

__all__ = ["Chunk", "Recipe", "Shape", "Stream", "lay_out", "open_stream"]

#: Bytes of X in a block, the piece of a chunk that one thread sums at a time: a millisecond's work.
_BLOCK_BYTES = 4 * 2**20
_PAGE = 4096


@dataclass(frozen=True)
class Shape:
    """Where a chunk stands in the data, and what its numbers are."""

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
    """Rows in memory, X in whole vectors; cut into blocks as the CPU kernels read them.

    Attributes
    ----------
    shape : Shape
    X : (rows, d) array
        A view of rows padded with zeros to ``ld`` elements.
    Y : (rows, k) array
    device : object
        Both on the GPU, for whoever puts them there.
    """

    def __init__(self, shape: Shape, X: Array, Y: Array) -> None:
        d, dtype = shape.d, shape.dtype
        ld = padded(d, lanes_for(d, dtype))
        if ld == d:
            whole = aligned(X, dtype)
        else:
            whole = aligned_zeros(len(X) * ld, dtype).reshape(len(X), ld)
            with np.errstate(over="ignore"):  # an overflow to float32 is found by the check
                np.copyto(whole[:, :d], X, casting="same_kind")
        self.shape, self.X, self.Y, self._whole = shape, whole[:, :d], aligned(Y, dtype), whole
        self.device: Any = None

    @cached_property
    def blocks(self) -> list[Any]:
        """The chunk as ``kernels.cpu.lp_loss.Data``, a block each."""
        shape, made = self.shape, []
        for start in range(0, shape.rows, shape.block):
            rows = slice(start, min(start + shape.block, shape.rows))
            data = pack(np.zeros((1, shape.d), shape.dtype), self.Y[rows][:1])
            Y = aligned_zeros((rows.stop - start) * shape.k, shape.dtype)
            Y.reshape(shape.k, -1)[...] = self.Y[rows].T
            X = self._whole[rows].reshape(-1)
            for a in (X, Y):
                a.flags.writeable = False
            made.append(data._replace(X=X, Y=Y, n=rows.stop - start))
        return made

    def touch(self) -> "Chunk":
        """Have the pages of a memory-mapped file read."""
        flat = self._whole.reshape(-1)
        flat[:: max(_PAGE // flat.itemsize, 1)].sum()
        return self

    def load(self) -> "Chunk":
        """Return itself: it is there already."""
        return self

    def digest(self) -> Array:
        """SHA-256 of its numbers, as 32 bytes."""
        found = hashlib.sha256(np.ascontiguousarray(self.X).data)
        found.update(np.ascontiguousarray(self.Y).data)
        return np.frombuffer(found.digest(), np.uint8)

    def __sizeof__(self) -> int:
        return self._whole.nbytes + 2 * self.Y.nbytes

    def __reduce__(self) -> Any:
        # Laid out anew elsewhere: no copy of an array is aligned or read-only by itself.
        return Chunk, (self.shape, np.ascontiguousarray(self.X), self.Y)


class Recipe:
    """The tasks that make the X of a chunk: a part of the dask graph, run where it is called."""

    def __init__(self, graph: dict[Any, Any], key: Any) -> None:
        self._graph, self._key = graph, key

    def __call__(self) -> Array:
        """Make it."""
        made: Array = dask.get(self._graph, self._key)
        return made


class Stream:
    """Rows whose X is read for every pass; Y is kept."""

    def __init__(self, shape: Shape, recipe: Recipe, Y: Array) -> None:
        self.shape, self._recipe, self.Y = shape, recipe, Y

    def load(self) -> Chunk:
        """Read the rows."""
        return Chunk(self.shape, self._recipe(), self.Y).touch()

    def __sizeof__(self) -> int:
        return self.Y.nbytes


def lay_out(shape: Shape, X: Array, y: Array) -> Chunk:
    """Make a chunk of what the dask graph yields, and check it.

    Raises
    ------
    TypeError
        If integers would be rounded that must not.
    ValueError
        If there are other rows than the graph had announced, or numbers that are not finite.
    """
    for name, a, columns in (("X", X, (shape.d,)), ("y", y, y.shape[1:])):
        if a.shape != (shape.rows, *columns):
            raise ValueError(
                f"{name} must have chunks of the shapes that it tells, "
                f"got {a.shape} for {(shape.rows, *columns)}"
            )
        if shape.exact:
            unrounded(name, a, shape.dtype, a, shape.first)
    # What is kept is kept in memory, not in a file that somebody may write to.
    X, y = (np.array(a) if isinstance(a, np.memmap) else a for a in (X, y))
    chunk = Chunk(shape, X, y.reshape(shape.rows, shape.k))
    _check("X", chunk.X, shape)
    _check("y", chunk.Y.reshape(y.shape), shape)
    return chunk


def _check(name: str, a: Array, shape: Shape) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(a.sum()):
            return
    bad = (~np.isfinite(a)).nonzero()
    if len(bad[0]):  # else it is the sum that overflows
        place = tuple(int(i[0]) for i in bad)
        told = ", ".join(map(str, (shape.first + place[0], *place[1:])))
        raise ValueError(f"{name} must be finite in {a.dtype}, got {name}[{told}] = {a[place]}")


def open_stream(shape: Shape, recipe: Recipe, y: Array) -> Stream:
    """Make a stream, and check what it yields by reading it once."""
    return Stream(shape, recipe, lay_out(shape, recipe(), y).Y)
