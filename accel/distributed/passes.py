"""What a worker computes for its chunks when it is asked: flat sums in float64.

The sums of a pass are unscaled, so that those of all chunks can be added up before a factor makes
loss and gradient of them: see ``accel.kernels.protocols.ChunksModule``.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from functools import partial, reduce
from itertools import groupby
from operator import iadd, itemgetter
from typing import Any, NamedTuple

import numpy as np

from accel._support.arrays import Array
from accel._support.backends import resolve
from accel.distributed.chunks import Chunk, Extent, Stream
from accel.kernels.specs import Loss

__all__ = ["Question", "blank", "chunk_sums"]

_AHEAD = 4  # pieces a thread that may be queued


class Question(NamedTuple):
    """A question to all chunks.

    Attributes
    ----------
    what : {"pass", "gram", "digest", "prepare"}
        ``"prepare"`` is a pass over a row of zeros, so that the kernels are compiled.
    W : (M, k, d) array
        Maps; M = 0 for ``"gram"`` and ``"digest"``.
    loss : Loss
        Without its factor.
    most : int
        Number of maps that the run began with, some of which may have ended.
    backend : str
    """

    what: str
    W: Array
    loss: Loss
    most: int
    backend: str


def _gram(chunk: Chunk, question: Question) -> Array:
    XX, YX, YY = resolve("cpu").lp_loss.gram(chunk.X, chunk.Y)
    return np.concatenate([XX.reshape(-1), YX.reshape(-1), [YY]])


def _digest(chunk: Chunk, question: Question) -> Array:
    return chunk.digest()


_Piece = Callable[[Any, Question], Array]


def blank(question: Question) -> Chunk:
    """Return a chunk of one row of zeros."""
    _, k, d = question.W.shape
    X, Y = np.zeros((1, d), question.W.dtype), np.zeros((1, k), question.W.dtype)
    return Chunk(Extent(0, 1, d, k, question.W.dtype), X, Y)


def _pieces(chunk: Chunk, question: Question) -> tuple[_Piece, Sequence[Any]]:
    """Return a function, and the pieces of the chunk to call it with."""
    if question.what == "gram":
        return _gram, [chunk]
    if question.what == "digest":
        return _digest, [chunk]
    sums = resolve(question.backend).chunks.sums  # here, and not again for every piece

    def sums_of(piece: Any, question: Question) -> Array:
        # On its way a named tuple becomes a tuple.
        return sums(piece, question.W, Loss(*question.loss), question.most)

    return sums_of, chunk.pieces(question.backend)


def _loaded(chunks: Sequence[Chunk | Stream], loader: Executor) -> Iterator[Chunk]:
    """Yield chunk after chunk, and read the next one in the meantime."""
    ahead: Future[Chunk] | None = None
    for place, chunk in enumerate(chunks):
        here = chunk.load() if ahead is None else ahead.result()
        later = chunks[place + 1] if place + 1 < len(chunks) else None
        ahead = loader.submit(later.load) if isinstance(later, Stream) else None
        yield here


def _ordered(
    tasks: Iterable[tuple[int, Callable[[], Array]]], pool: Executor | None, threads: int
) -> Iterator[tuple[int, Array]]:
    """Call tasks on a pool, a few at a time, and yield their results in order."""
    if pool is None:
        for place, task in tasks:
            yield place, task()
        return
    under_way: deque[tuple[int, Future[Array]]] = deque()
    for place, task in tasks:
        under_way.append((place, pool.submit(task)))
        if len(under_way) >= _AHEAD * threads:
            place, oldest = under_way.popleft()
            yield place, oldest.result()
    while under_way:
        place, oldest = under_way.popleft()
        yield place, oldest.result()


def chunk_sums(
    chunks: Sequence[Chunk | Stream],
    question: Question,
    loader: Executor,
    pool: Executor | None,
    threads: int,
) -> Iterator[Array]:
    """Yield the sums of chunk after chunk, each added up in the order of its blocks."""

    def tasks() -> Iterator[tuple[int, Callable[[], Array]]]:
        for place, chunk in enumerate(_loaded(chunks, loader)):
            call, pieces = _pieces(chunk, question)
            for piece in pieces:
                yield place, partial(call, piece, question)

    for _, group in groupby(_ordered(tasks(), pool, threads), key=itemgetter(0)):
        yield reduce(iadd, map(itemgetter(1), group))
