"""The l_p regression problem whose data are spread over the workers of a dask cluster."""

import logging
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NoReturn

import dask.array as da
import distributed
import numpy as np

from accel._core.checks import checked_loss, common_dtype
from accel._core.problem import LpProblem
from accel._support import validation
from accel._support.arrays import Array
from accel._support.backends import Backend, cpu_threads, resolve
from accel.distributed.cluster import Chunks, connected
from accel.distributed.loop import DistributedLoop, Gram, Passes
from accel.distributed.passes import Question
from accel.distributed.placing import choose, fits, place
from accel.kernels.specs import Model

__all__ = ["DaskProblem"]

_log = logging.getLogger("accel")


class DaskProblem(LpProblem):
    """An ``LpProblem`` whose rows lie on the workers of a dask cluster.

    ``train``, ``sweep`` and ``grid_search`` take it as they take any other problem. What needs the
    data in one place, such as ``optimum``, refuses it.

    Parameters
    ----------
    X : (n, d) dask.array.Array
        Its row chunks are what workers hold and what their sums are added up by: the same chunks
        give the same bits, on any number of workers. Several chunks of columns are made one.
    y : (n,) or (n, k) dask.array.Array
        Cut like X if it is not.
    p, scale, dtype, method
        As for ``LpProblem``. The Gram matrices of p = 2 are summed up once, by the workers.
    keep : {"auto", True, False}
        Whether X is laid out in the workers' memory, or read from where it comes from for every
        pass. ``"auto"`` does the latter if the data would fill more than half of that memory.
    client : distributed.Client, optional
        The current one by default. It must be able to connect to the workers, and stay open for as
        long as the problem is used.

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

    def __init__(
        self,
        X: Any,
        y: Any,
        p: float = 4.0,
        *,
        scale: str = "mean",
        dtype: Any = None,
        method: str = "auto",
        keep: bool | str = "auto",
        client: distributed.Client | None = None,
    ) -> None:
        X, y = _checked(X, y)
        exact = dtype is None
        dtype = common_dtype(X, y) if exact else validation.float_dtype("dtype", dtype)
        free = method == "auto"
        p, method = checked_loss(p, scale, method, dtype, X.shape)
        if not isinstance(keep, bool) and not (isinstance(keep, str) and keep == "auto"):
            raise ValueError(f"keep must be 'auto', True or False, got {validation.shown(keep)}")
        client = _client(client)
        _checked_futures(client, X=X, y=y)
        with connected(client):
            if keep == "auto":
                keep = fits(client, X, y, dtype)
            elif not keep and distributed.futures_of(X):
                raise ValueError("keep must not be False for an X that is persisted: it is kept")
            chunks = place(client, X, y, dtype, bool(keep), exact)
        vars(self).update(p=p, scale=scale, method=method, keep=bool(keep), _free=free)
        vars(self).update(_shape=(*X.shape, 1 if y.ndim == 1 else y.shape[1]))
        vars(self).update(_dtype=dtype, _chunks=chunks)

    def __repr__(self) -> str:
        chunks: Chunks = vars(self)["_chunks"]
        return (
            f"DaskProblem{super().__repr__().removeprefix('LpProblem').removesuffix(')')}, "
            f"chunks={len(chunks)}, keep={vars(self)['keep']})"
        )

    def _elsewhere(self) -> NoReturn:
        raise TypeError(
            "the data of a DaskProblem are on the workers, and this needs them in one place: "
            "make an LpProblem of them if they fit, as X.compute() and y.compute()"
        )

    X = Y = host = property(_elsewhere)

    @property
    def n(self) -> int:
        """Number of samples."""
        return int(vars(self)["_shape"][0])

    @property
    def d(self) -> int:
        """Number of features."""
        return int(vars(self)["_shape"][1])

    @property
    def k(self) -> int:
        """Number of outputs."""
        return int(vars(self)["_shape"][2])

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64: of the data, and of every network trained on it."""
        found: np.dtype[Any] = vars(self)["_dtype"]
        return found

    @property
    def on_device(self) -> bool:
        """False: where the workers have it is their affair."""
        return False

    @property
    def chunks(self) -> Chunks:
        """The chunks on the workers."""
        found: Chunks = vars(self)["_chunks"]
        return found

    @cached_property
    def fingerprint(self) -> tuple[Array, ...]:
        """Digests of the chunks, for a checkpoint to know its data by."""
        return tuple(self.chunks.each(self._asked("digest")))

    @cached_property
    def gram(self) -> Gram:
        """X'X (d, d), Y'X (k, d) and the sum of squares of Y, made once."""
        d, k = self.d, self.k
        XX, YX, YY = np.split(self.chunks.total(self._asked("gram")), [d * d, d * d + k * d])
        return XX.reshape(d, d), YX.reshape(k, d), float(YY[0])

    @property
    def _squares(self) -> tuple[Array, float]:
        """From the Gram matrices; columns whose squares have all vanished pass for zeros."""
        XX, _, YY = self.gram
        return np.diag(XX), YY

    def _asked(self, what: str) -> Question:
        return Question(what, np.empty((0, self.k, self.d), self.dtype), self.p, 0, "cpu")

    def resolve(self, name: str, *, work: float = 0.0, steps: int = 1, **_: Any) -> Backend:
        """Return the backend of that name, if all workers have it; as ``train`` chooses it."""
        if name == "cuda" or (name == "auto" and work):
            chunks = self.chunks
            with connected(chunks.client):
                chosen = chunks.client.run(choose, name, work / len(chunks.homes), steps)
            wanting = {a: why for a, (backend, why) in chosen.items() if backend != "cuda"}
            if not wanting:
                return Backend("cuda")
            if name == "cuda":
                address, why = next(iter(wanting.items()))
                raise ValueError(f"{why} (worker {address})")
        return resolve("cpu" if name == "auto" else name)

    def needs(self, kernels: Backend) -> dict[str, float]:
        """Nothing here; what the workers take is their affair."""
        return {}

    def loop(self, kernels: Backend, models: Sequence[Model], threads: int | None) -> Any:
        """Return a run of models: its passes are made by the workers, the rest is done here."""
        asked = 0 if threads is None else cpu_threads(threads)
        with connected(self.chunks.client):
            have = self.chunks.client.nthreads()
        used = sum(asked or have.get(address, 1) for address in self.chunks.homes)
        gram = self.gram if self.method == "gram" else None
        if gram is None:
            W = np.zeros((len(models), self.k, self.d), self.dtype)
            prepare = Question("prepare", W, self.p, len(models), kernels.name)
            self.chunks.total(prepare, asked)
        passes = Passes(self.chunks, self.n, self.spec, kernels.name, asked, len(models))
        return DistributedLoop(self.chunks, passes, self.n, self.spec, models, gram, used)

    def loss_and_gradient(self, W: Any, *, backend: str = "auto") -> tuple[float, Array]:
        """Loss and gradient with respect to W, by one pass over the data; see ``LpProblem``."""
        given = self._weights(W, device=False)
        passes = Passes(self.chunks, self.n, self.spec, self.resolve(backend).name)
        ((value, gradient),) = passes(given.reshape(1, self.k, self.d))
        return value, gradient.reshape(given.shape)


def _checked(X: Any, y: Any) -> tuple[Any, Any]:
    """Check what can be told of the two without computing them; cut y like X."""
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
    """Check that what is persisted is still there, on the workers of this client's scheduler."""
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
