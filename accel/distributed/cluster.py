"""The client's side: which worker holds which chunks, and requests to all workers at once."""

import asyncio
import contextlib
import logging
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from distributed import Client, Future

from accel._support.arrays import Array
from accel.distributed.passes import Question
from accel.distributed.service import HANDLER, chunk_key, packed, unpacked
from accel.distributed.tree import Node, join

__all__ = ["Chunks", "connected"]

_log = logging.getLogger("accel")

_AVOIDED = 2.0  # seconds in which a worker whose connection broke is not asked
_PAUSE = 0.02  # seconds between two queries of where the chunks are
_PATIENCE = 300.0  # seconds without any worker before an error


def _lost(client: Client) -> str:
    """Why a client cannot ask its workers any more; empty if it can."""
    if client.status in ("closing", "closed"):
        return "the client is closed"
    if client.status == "connecting":  # dask reconnects for as long as it is configured to
        address = client.scheduler.address if client.scheduler else "that it had"
        return f"the client has lost the scheduler {address}"
    return ""


@contextlib.contextmanager
def connected(client: Client) -> Iterator[None]:
    """Raise a RuntimeError if the client is closed or loses its scheduler, before or in the block.

    Raises
    ------
    RuntimeError
        In the place of the various errors that dask raises then.
    """
    advice = "make another distributed.Client, and the DaskProblem anew with it"
    if client.status in ("closing", "closed"):
        raise RuntimeError(f"{_lost(client)}, and the data of its workers with it: {advice}")
    try:
        yield
    except (Exception, asyncio.CancelledError) as error:
        if what := _lost(client):
            raise RuntimeError(f"{what} while its workers were asked: {advice}") from error
        raise


class Chunks:
    """The chunks of a problem, held by the workers, and the way to ask about them.

    Parameters
    ----------
    client : Client
    token : str
        Part of the names of the chunks.
    futures : sequence of Future
        In order, all of them finished.
    """

    def __init__(self, client: Client, token: str, futures: Sequence[Future]) -> None:
        self.client, self.token, self._futures = client, token, list(futures)
        self._homes: dict[str, list[int]] = {}
        self._avoided: dict[str, float] = {}
        self.stopped: Callable[[], bool] = lambda: False

    def __len__(self) -> int:
        return len(self._futures)

    @property
    def homes(self) -> dict[str, list[int]]:
        """Address of each worker that is asked, and the numbers of its chunks, ascending."""
        if not self._homes:
            with connected(self.client):
                self._homes = self.client.sync(self._locate, range(len(self)))
        return self._homes

    def total(self, question: Question, threads: int = 0) -> Array:
        """Sum of the answers of all chunks, in the order of the tree."""
        return join((0, len(self)), self._answers(question, threads))

    def each(self, question: Question) -> list[Array]:
        """Return the answers of all chunks, one by one."""
        answers = self._answers(question, 0)
        return [answers[i, i + 1] for i in range(len(self))]

    def _answers(self, question: Question, threads: int) -> dict[Node, Array]:
        with connected(self.client):
            answers: dict[Node, Array] = self.client.sync(self._ask, question, threads)
        return answers

    async def _ask(self, question: Question, threads: int) -> dict[Node, Array]:
        """Ask all workers; ask again about the chunks of a lost worker once others have them."""
        message = {
            "token": self.token,
            "count": len(self),
            "threads": threads,
            "question": (question[0], packed(question.W), *question[2:]),
        }
        answers: dict[Node, Array] = {}
        homes, first = self._homes or await self._locate(range(len(self))), True
        while homes:
            self._homes = homes if first else {}
            replies = await asyncio.gather(*(self._call(*home, message) for home in homes.items()))
            left: list[int] = []
            for indices, reply in zip(homes.values(), replies, strict=True):
                if "error" in reply:
                    raise pickle.loads(reply["error"])
                if "nodes" not in reply:
                    left += indices
                    continue
                for (low, high), sums in zip(reply["nodes"], unpacked(reply["sums"]), strict=True):
                    answers[low, high] = sums
            if left:
                first, self._homes = False, {}
                left.sort()
                await asyncio.sleep(_PAUSE)  # the scheduler may not know of the loss yet
                _log.info("%d of %d chunks have lost their worker", len(left), len(self))
            homes = await self._locate(left) if left else {}
        return answers

    async def _call(
        self, address: str, indices: list[int], message: dict[str, Any]
    ) -> dict[str, Any]:
        try:
            worker = self.client.rpc(address)
            reply: dict[str, Any] | None
            reply = await getattr(worker, HANDLER)(indices=indices, **message)  # as dask names it
            if reply is None:
                raise OSError("it is ending")  # dask replies None for a handler it has cancelled
        except (OSError, TimeoutError) as error:
            _log.info("worker %s does not answer: %s", address, error)
            self._avoided[address] = time.monotonic() + _AVOIDED
            return {}
        return reply

    async def _locate(self, indices: Sequence[int]) -> dict[str, list[int]]:
        """Return which workers hold these chunks; wait until every chunk has one."""
        alone_since: float | None = None
        while True:
            keys = {i: chunk_key(self.token, i) for i in indices}
            held = await self.client.scheduler.who_has(keys=list(keys.values()))
            now = time.monotonic()
            avoided = {address for address, until in self._avoided.items() if until > now}
            homes: dict[str, list[int]] = {}
            for i, key in keys.items():
                if not (there := [a for a in held.get(key, ()) if a not in avoided]):
                    break
                homes.setdefault(min(there), []).append(i)
            else:
                return dict(sorted(homes.items(), key=lambda home: home[1]))
            await self._raise_errors(indices)
            workers = await self.client.scheduler.ncores()
            alone_since = None if workers else alone_since or now
            if alone_since is not None and now - alone_since > _PATIENCE:
                raise RuntimeError(f"the cluster has had no worker for {_PATIENCE:g} seconds")
            if self.stopped():
                raise RuntimeError("stopped while chunks of the data had no worker")
            await asyncio.sleep(_PAUSE)

    async def _raise_errors(self, indices: Sequence[int]) -> None:
        """Raise the error of a chunk that failed, or that the scheduler no longer knows."""
        states = await self.client.scheduler.get_task_status(
            keys=[chunk_key(self.token, i) for i in indices]
        )
        for i in indices:
            if self._futures[i].status == "error":
                raise await self._futures[i]._exception()
            if states.get(chunk_key(self.token, i)) in (None, "NotFound"):
                raise RuntimeError(
                    f"chunk {i} of the data is lost, and the scheduler forgot how to make it, as "
                    "after client.restart(): make the DaskProblem anew"
                )
