"""The problem of fitting data by a linear map, whose data are on the workers of a dask cluster."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dask.array as da
import distributed
import numpy as np

from accel._core.base import BaseProblem
from accel._core.checks import checked_method, common_dtype
from accel._support import validation
from accel._support.arrays import Array
from accel._support.backends import Backend, cpu_threads, resolve
from accel.distributed.cluster import Chunks, connected
from accel.distributed.loop import DistributedLoop, Gram, Passes
from accel.distributed.passes import Question
from accel.distributed.placing import choose, fits, place
from accel.kernels.protocols import TrainingLoop
from accel.kernels.specs import Batches, ModelSpec
from accel.losses import CrossEntropy, Loss, Lp
from accel.losses.naming import checked as checked_loss

__all__ = ["DaskProblem"]

_log = logging.getLogger("accel")


@dataclass(frozen=True, eq=False, repr=False, init=False)
class DaskProblem(BaseProblem):
    """A problem as ``LpProblem`` and ``Problem``, whose rows lie on the workers of a dask cluster.

    ``train``, ``sweep`` and ``grid_search`` take it as they take any other problem. What needs the
    data in one place, such as ``optimum``, refuses it.

    Parameters
    ----------
    X : (n, d) dask.array.Array
        Workers hold its row chunks, and sums are added up chunk by chunk: the same chunks give the
        same bits, on any number of workers. Several chunks of columns are joined.
    y : (n,) or (n, k) dask.array.Array
        Rechunked like X if necessary.
    p, scale, dtype
        As for ``LpProblem``.
    loss : accel.losses.Loss or str, optional
        As for ``Problem``; then p and scale are left out.
    method : {"auto", "direct", "gram"}
        As for ``LpProblem``, without its decompositions of X. The Gram matrices of p = 2 are
        summed up once, by the workers.
    keep : {"auto", True, False}
        Whether X is laid out in the workers' memory, or read from where it comes from for every
        pass. ``"auto"`` does the latter if the data would fill more than half of that memory.
    client : distributed.Client, optional
        The current one by default. It must be able to connect to the workers, and stay open for as
        long as the problem is used.

    Attributes
    ----------
    n, d, k, dtype, p, scale, method, factor
        As of ``Problem``; there are no ``X``, ``Y`` and ``host``.
    chunks : Chunks
        The chunks on the workers.
    keep : bool
        Whether the workers hold X in memory.

    Raises
    ------
    TypeError, ValueError
        As by ``LpProblem``; if X or y is no dask array, if its chunks are of unknown size, or if
        there is no client, or one that is closed, or if X or y has been persisted and is so no
        more, or on another cluster. Numbers that are not finite, and integers that would be
        rounded, are found by the workers.
    RuntimeError
        Here, and by everything that asks the workers, such as ``train``: if the client is closed or
        loses its scheduler, if the cluster has had no worker for five minutes, or if chunks are
        lost that cannot be made again.

    Examples
    --------
    >>> import dask.array as da
    >>> from distributed import Client
    >>> import accel
    >>> from accel.distributed import DaskProblem
    >>> client = Client()  # doctest: +SKIP
    >>> X, y = da.random.normal(size=(10**6, 100), chunks=(10**5, 100)), da.ones(10**6)
    >>> problem = DaskProblem(X, y, p=4)  # doctest: +SKIP
    >>> network = accel.LinearNetwork.for_problem(problem, depth=2)  # doctest: +SKIP
    >>> accel.train(problem, network, accel.GradientDescent(0.01), 100)  # doctest: +SKIP
    """

    chunks: Chunks
    keep: bool
    methods = ("auto", "direct", "gram")

    def __init__(
        self,
        X: Any,
        y: Any,
        p: float | None = None,
        *,
        scale: str | None = None,
        dtype: Any = None,
        loss: Loss | str | None = None,
        method: str = "auto",
        keep: bool | str = "auto",
        client: distributed.Client | None = None,
    ) -> None:
        X, y = _checked(X, y)
        exact = dtype is None
        dtype = common_dtype({"X": X, "y": y}) if exact else validation.float_dtype("dtype", dtype)
        if loss is None:
            loss = Lp(4.0 if p is None else p, "mean" if scale is None else scale)
        elif p is not None or scale is not None:
            raise TypeError("p and scale must be left out where a loss is given")
        loss = checked_loss(loss)
        checked_method(loss, method, dtype, self.methods)
        if not isinstance(keep, bool) and not (isinstance(keep, str) and keep == "auto"):
            raise ValueError(f"keep must be 'auto', True or False, got {validation.shown(keep)}")
        client = _client(client)
        _checked_futures(client, X=X, y=y)
        with connected(client):
            loss, y = _with_targets(loss, y)
            if keep == "auto":
                keep = fits(client, X, y, dtype)
            elif not keep and distributed.futures_of(X):
                raise ValueError("keep must not be False for an X that is persisted: it is kept")
            chunks = place(client, X, y, dtype, bool(keep), exact)
        (n, d), k = X.shape, 1 if y.ndim == 1 else y.shape[1]
        super().__init__(int(n), int(d), int(k), dtype, loss, method)
        object.__setattr__(self, "chunks", chunks)  # the class is frozen
        object.__setattr__(self, "keep", bool(keep))

    def __repr__(self) -> str:
        common = super().__repr__().removesuffix(")")
        return f"{common}, chunks={len(self.chunks)}, keep={self.keep})"

    @property
    def on_device(self) -> bool:
        """Always False: the workers copy data to their GPUs themselves."""
        return False

    @cached_property
    def fingerprint(self) -> tuple[Array, ...]:
        """Digests of the chunks."""
        return tuple(self.chunks.each(self._asked("digest")))

    @cached_property
    def gram(self) -> Gram:
        """X'X (d, d), Y'X (k, d) and the sum of squares of Y, computed once."""
        d, k = self.d, self.k
        XX, YX, YY = np.split(self.chunks.total(self._asked("gram")), [d * d, d * d + k * d])
        return XX.reshape(d, d), YX.reshape(k, d), float(YY[0])

    @property
    def squares(self) -> tuple[Array, float]:
        """See ``BaseProblem``; here also 0 for a column whose squares all vanish in X'X."""
        XX, _, YY = self.gram
        return np.diag(XX), YY

    def _asked(self, what: str) -> Question:
        return Question(what, np.empty((0, self.k, self.d), self.dtype), self.spec, 0, "cpu")

    def resolve(self, backend: str, *, work: float = 0.0, steps: int = 1) -> Backend:
        """Return the backend of that name, if all workers have it.

        ``"auto"`` is what every worker chooses for its share of the work.
        """
        if backend == "cuda" or (backend == "auto" and work):
            chunks = self.chunks
            with connected(chunks.client):
                chosen = chunks.client.run(choose, backend, work / len(chunks.homes), steps)
            wanting = {a: why for a, (name, why) in chosen.items() if name != "cuda"}
            if not wanting:
                return Backend("cuda")
            if backend == "cuda":
                address, why = next(iter(wanting.items()))
                raise ValueError(f"{why} (worker {address})")
        return resolve("cpu" if backend == "auto" else backend)

    def needs(self, kernels: Backend, form: str) -> dict[str, float]:
        """Always empty: the data live on the workers."""
        return {}

    def loop(
        self,
        kernels: Backend,
        models: Sequence[ModelSpec],
        threads: int | None,
        form: str,
        batches: Batches | None = None,
    ) -> TrainingLoop:
        """Begin a run of models: the workers make its passes, all else is done here."""
        asked = 0 if threads is None else cpu_threads(threads)
        with connected(self.chunks.client):
            have = self.chunks.client.nthreads()
        used = sum(asked or have.get(address, 1) for address in self.chunks.homes)
        gram = self.gram if form == "gram" else None
        if gram is None:
            W = np.zeros((len(models), self.k, self.d), self.dtype)
            prepare = Question("prepare", W, self.spec, len(models), kernels.name)
            self.chunks.total(prepare, asked)
        passes = Passes(self.chunks, self.n, self.spec, kernels.name, asked, len(models))
        return DistributedLoop(self.chunks, passes, self.n, self.spec, models, gram, used)

    def loss_and_gradient(self, W: Any, *, backend: str = "auto") -> tuple[float, Array]:
        """Loss and gradient with respect to W, by one pass over the data; see ``Problem``."""
        weights = self._weights(W, device=False)
        passes = Passes(self.chunks, self.n, self.spec, self.resolve(backend).name)
        ((value, gradient),) = passes(weights.reshape(1, self.k, self.d))
        return value, gradient.reshape(weights.shape)


def _checked(X: Any, y: Any) -> tuple[Any, Any]:
    """Check X and y as far as possible without computing them; rechunk y like X."""
    for name, a, ndim in (("X", X, (2,)), ("y", y, (1, 2))):
        if not isinstance(a, da.Array):
            raise TypeError(f"{name} must be a dask array, got {validation.shown(a)}")
        if a.dtype.kind not in "biuf":
            raise TypeError(f"{name} must hold real numbers, got dtype {a.dtype}")
        if a.ndim not in ndim:
            wanted = " or ".join(map(str, ndim))
            raise ValueError(f"{name} must have {wanted} dimensions, got shape {a.shape}")
        if any(math.isnan(size) for size in a.shape):
            raise ValueError(
                f"{name} must have chunks of known sizes, got shape {a.shape}: "
                f"call {name}.compute_chunk_sizes() first"
            )
        if a.size == 0:
            raise ValueError(f"{name} must not be empty, got shape {a.shape}")
    if len(X) != len(y):
        raise ValueError(f"X and y must have as many rows, got shapes {X.shape} and {y.shape}")
    rows = tuple(size for size in X.chunks[0] if size)
    if X.numblocks[1] > 1 or 0 in X.chunks[0]:
        _log.info("X is cut into %d chunks of columns: made one", X.numblocks[1])
        X = X.rechunk((rows, X.shape[1]))
    return X, y.rechunk((rows, *y.shape[1:]))


def _with_targets(loss: Loss, y: Any) -> tuple[Loss, Any]:
    """Check labels, by the workers, and make targets of them, with the number of classes known."""
    if not loss.classifies:
        return loss, y
    columns = 1 if y.ndim == 1 else y.shape[1]
    if isinstance(loss, CrossEntropy):
        if y.ndim == 1:
            columns = loss.classes or max(int(y.max().compute()) + 1, 2)
        loss = CrossEntropy(columns)
    return loss, y.map_blocks(
        loss.targets, drop_axis=[*range(1, y.ndim)], new_axis=1, chunks=(y.chunks[0], (columns,)),
        dtype=y.dtype if y.dtype.kind == "f" else np.float64, meta=np.empty((0, 0)),
    )  # fmt: skip


def _client(client: distributed.Client | None) -> distributed.Client:
    if client is None:
        try:
            client = distributed.default_client()
        except ValueError:
            raise ValueError(
                "client must be given, or made before: distributed.Client(...)"
            ) from None
    if not isinstance(client, distributed.Client) or client.asynchronous:
        raise TypeError(
            f"client must be a distributed.Client that is not asynchronous, "
            f"got {validation.shown(client)}"
        )
    if client.status != "running":
        raise ValueError(
            f"client must be connected to its scheduler, got one that is {client.status}: "
            "make another, distributed.Client(...)"
        )
    return client


def _checked_futures(client: distributed.Client, **given: Any) -> None:
    """Check that persisted arrays are still on the workers of this client's scheduler."""
    for name, a in given.items():
        for future in distributed.futures_of(a):
            if future.cancelled():
                raise ValueError(
                    f"{name} must not have lost what was persisted of it, as when the client that "
                    "did so is closed: persist it anew"
                )
            if future.client.scheduler.address != client.scheduler.address:
                raise ValueError(
                    f"{name} must be persisted on the cluster of the client, "
                    f"{client.scheduler.address}, got one on {future.client.scheduler.address}"
                )
