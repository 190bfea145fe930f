"""A run whose data are on the workers and whose factors are on the client.

A step sends the end-to-end matrices of all models to every worker in one message, and receives the
sums of its rows in another. The client computes all else: the loop is the reference's.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from accel._support.arrays import Array
from accel.distributed.cluster import Chunks
from accel.distributed.passes import Question
from accel.kernels.reference.loop import BaseTrainingLoop
from accel.kernels.reference.lp_loss import gram_loss_and_gradient
from accel.kernels.specs import Loss, ModelSpec

__all__ = ["DistributedLoop", "Passes"]

Gram = tuple[Array, Array, float]


class Passes:
    """Loss and gradient of maps, by one message to every worker and one back.

    Parameters
    ----------
    chunks : Chunks
    n : int
        Rows in all.
    loss : Loss
    backend : str
    threads : int
        Of each worker; 0 leaves it to the worker.
    most : int
        Maps of the largest pass.
    """

    def __init__(
        self, chunks: Chunks, n: int, loss: Loss, backend: str, threads: int = 0, most: int = 1
    ) -> None:
        self._chunks, self._n, self._loss = chunks, n, loss
        self._backend, self._threads, self._most = backend, threads, most

    def __call__(self, W: Array) -> list[tuple[float, Array]]:
        """Return loss and gradient (k, d) of each of the maps W (M, k, d)."""
        question = Question("pass", W, self._loss, self._most, self._backend)
        sums = self._chunks.total(question, self._threads)
        scale, slope = self._loss.factor / self._n, self._loss.slope_factor / self._n
        with np.errstate(over="ignore", invalid="ignore"):  # a run may diverge: that is a status
            gradients = (slope * sums[: W.size]).astype(W.dtype).reshape(W.shape)
            losses = scale * sums[W.size :]
        return [(float(loss), G) for loss, G in zip(losses, gradients, strict=True)]


class DistributedLoop(BaseTrainingLoop):
    """The training loop of the reference, whose passes the workers make.

    Parameters
    ----------
    chunks : Chunks
    passes : Passes
    n : int
        Rows in all.
    loss : Loss
    models : sequence of ModelSpec
    gram : (XX, YX, YY), optional
        For p = 2: with it no step asks the workers.
    threads : int
        Of all workers together.
    """

    def __init__(
        self,
        chunks: Chunks,
        passes: Passes,
        n: int,
        loss: Loss,
        models: Sequence[ModelSpec],
        gram: Gram | None,
        threads: int,
    ) -> None:
        super().__init__(models)
        self._loss, self._gram, self._n, self._passes = loss, gram, n, passes
        self.threads = threads
        self._ready: dict[int, tuple[Array, float, Array]] = {}
        chunks.stopped = lambda: bool(self._stop_requested)

    def _pass(self, m: int) -> tuple[Array, float, Array]:
        """Matrix, loss and gradient of a model; the first in a step has all of them computed."""
        if self._gram is not None:
            W = self._end_to_end(m)
            return W, *gram_loss_and_gradient(*self._gram, self._n, W, self._loss.factor)
        if m not in self._ready:
            self._pass_all(self.active)
        return self._ready.pop(m)

    def _pass_all(self, models: Iterable[int]) -> None:
        """Make the pass over the data for these models, all at once."""
        chosen = [int(m) for m in models]
        maps = [self._end_to_end(m) for m in chosen]
        passes = self._passes(np.stack(maps))
        self._ready = {
            m: (W, value, G) for m, W, (value, G) in zip(chosen, maps, passes, strict=True)
        }

    def advance(
        self, steps: int, record_every: int = 0, tol: float = 0.0, target: float = -math.inf
    ) -> None:
        """Make up to ``steps`` updates of every model in the run, as the reference does."""
        self._ready = {}
        super().advance(steps, record_every, tol, target)

    @np.errstate(over="ignore", invalid="ignore")
    def evaluate(self) -> Array:
        """Return steps, loss and norms of every model, (M, 4), from one pass for all of them."""
        if self._gram is None:
            self._pass_all(range(len(self._models)))
        rows: Array = super().evaluate()
        return rows
