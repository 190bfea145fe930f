"""The worker's side: a plugin with a handler that computes the worker's share of a pass.

A task goes through dask's scheduler and costs several milliseconds; a call of a handler that a
plugin has added to the worker costs a fraction of one. The chunks themselves are results of tasks,
which dask computes again elsewhere if their worker dies.
"""

import asyncio
import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any

import numpy as np
from distributed import Worker, WorkerPlugin
from distributed.protocol import to_serialize

from accel._support.arrays import Array
from accel.distributed.chunks import Chunk, Stream
from accel.distributed.passes import Question, blank, chunk_sums
from accel.distributed.tree import add_up, cover

__all__ = ["HANDLER", "Service", "chunk_key", "packed", "unpacked"]

HANDLER = "accel_ask"
_SMALL = 256 * 1024  # bytes up to which a copy is cheaper than a frame of its own


def chunk_key(token: str, index: int) -> str:
    """Name of the task whose result is a chunk."""
    return f"accel-chunk-{token}-{index}"


def packed(array: Array) -> Any:
    """Return an array as a message can hold it."""
    array = np.ascontiguousarray(array)
    if array.nbytes > _SMALL:
        return to_serialize(array)
    return array.shape, array.dtype.str, array.tobytes()


def unpacked(message: Any) -> Array:
    """Return the array of a message."""
    if isinstance(message, np.ndarray):
        return message
    shape, dtype, content = message
    return np.frombuffer(content, dtype).reshape(shape)


class Service(WorkerPlugin):  # type: ignore[misc]
    """Adds the handler to a worker."""

    name = "accel"
    idempotent = True

    def setup(self, worker: Worker) -> None:
        """Add the handler, called by dask when the worker gets the plugin."""
        self._worker, self._leaving = worker, False
        self._driver = ThreadPoolExecutor(1, "accel-pass")
        self._loader = ThreadPoolExecutor(1, "accel-load")
        self._pool = lru_cache(maxsize=1)(partial(ThreadPoolExecutor, thread_name_prefix="accel"))
        worker.handlers[HANDLER] = self.ask

    def teardown(self, worker: Worker) -> None:
        """Remove the handler and end the threads, called by dask when the worker ends."""
        self._leaving = True
        worker.handlers.pop(HANDLER, None)
        for pool in (self._driver, self._loader):
            pool.shutdown(wait=False, cancel_futures=True)

    async def ask(
        self, token: str, indices: Sequence[int], count: int, threads: int, question: Any
    ) -> dict[str, Any]:
        """Answer a question about the chunks with these indices, of ``count`` in all.

        Chunks that are not here are listed under ``missing``. An exception is returned under
        ``error``, since a raised OSError of a file would look like one of the connection.
        """
        held = self._worker.data
        keys = [chunk_key(token, i) for i in indices]
        if missing := [i for i, key in zip(indices, keys, strict=True) if key not in held]:
            return {"missing": missing}
        try:
            what, W, *rest = question
            asked = Question(what, unpacked(W), *rest)
            share = partial(self.share, [held[key] for key in keys], indices, count, threads)
            nodes, sums = await asyncio.get_running_loop().run_in_executor(
                self._driver, share, asked
            )
            return {"nodes": nodes, "sums": packed(sums)}
        except Exception as error:
            if self._leaving:  # the threads have ended; another worker will get the chunks
                return {"missing": list(indices)}
            return {"error": pickle.dumps(error)}

    def share(
        self,
        chunks: Sequence[Chunk | Stream],
        indices: Sequence[int],
        count: int,
        threads: int,
        question: Question,
    ) -> tuple[Any, Array]:
        """Return nodes of the tree that these chunks make up, and their sums."""
        if question.what == "prepare":
            chunks = [blank(question)] * len(chunks)
        threads = threads or self._worker.state.nthreads
        # Several threads on one GPU would only wait for each other.
        several = threads > 1 and question.backend != "cuda"
        pool = self._pool(threads) if several else None
        parts = chunk_sums(chunks, question, self._loader, pool, threads)
        if question.what == "digest":
            return [(i, i + 1) for i in indices], np.array(list(parts))
        nodes = cover(list(indices), count)
        return nodes, np.array([add_up(node, parts) for node in nodes])
