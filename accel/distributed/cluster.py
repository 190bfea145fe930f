"""The client's side: which worker holds which chunks, and questions to all of them at once."""

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

_AVOIDED = 2.0  # seconds without a question to a worker whose connection broke
_PAUSE = 0.02  # seconds between two looks at where the chunks are
_PATIENCE = 300.0  # seconds without any worker


def _lost(client: Client) -> str:
    """Say what has become of a client that cannot ask any more; empty if it can."""
    if client.status in ("closing", "closed"):
        return "the client is closed"
    if client.status == "connecting":  # again, which it tries for as long as dask is told to
        address = client.scheduler.address if client.scheduler else "that it had"
        return f"the client has lost the scheduler {address}"
    return ""


@contextlib.contextmanager
def connected(client: Client) -> Iterator[None]:
    """Raise one error that says so if the client is closed, or its scheduler gone, or while asked.

    Raises
    ------
    RuntimeError
        In the place of whatever dask raises then.
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
        Names them.
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
            found: dict[Node, Array] = self.client.sync(self._ask, question, threads)
        return found

    async def _ask(self, question: Question, threads: int) -> dict[Node, Array]:
        """Ask all workers; what one that is lost has not answered is asked of whoever has it."""
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
                await asyncio.sleep(_PAUSE)  # the scheduler may not know of it yet
                _log.info("%d of %d chunks have lost their worker", len(left), len(self))
            homes = await self._locate(left) if left else {}
        return answers

    async def _call(
        self, address: str, indices: list[int], message: dict[str, Any]
    ) -> dict[str, Any]:
        try:
            worker = self.client.rpc(address)
            reply: dict[str, Any] | None
            reply = await getattr(worker, HANDLER)(indices=indices, **message)
            if reply is None:
                raise OSError("it is ending")  # so dask answers for a handler that it has cancelled
        except (OSError, TimeoutError) as error:
            _log.info("worker %s does not answer: %s", address, error)
            self._avoided[address] = time.monotonic() + _AVOIDED
            return {}
        return reply

    async def _locate(self, indices: Sequence[int]) -> dict[str, list[int]]:
        """Return who holds these chunks, once all of them are held by somebody."""
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
        """Raise what keeps chunks from ever being there: an error, or that nobody can make them."""
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
