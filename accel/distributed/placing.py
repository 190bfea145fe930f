"""Place the chunks of dask arrays on the workers, if they fit there."""

import logging
from collections.abc import Sequence
from typing import Any

import dask
import numpy as np
from dask.base import tokenize
from dask.optimization import cull
from distributed import Client, Future, futures_of, wait

from accel._support.backends import resolve
from accel.distributed.chunks import Extent, Recipe, lay_out, open_stream
from accel.distributed.cluster import Chunks
from accel.distributed.service import Service, chunk_key

__all__ = ["choose", "fits", "place"]

_log = logging.getLogger("accel")

_SHARE = 0.5  # how much of the workers' memory data may fill; dask begins to spill at 0.6


def _memory(dask_worker: Any) -> int:
    return int(dask_worker.memory_manager.memory_limit or 0)


def choose(name: str, work: float, steps: int) -> tuple[str, str]:
    """Return the name of the backend that this worker takes, or why it has none."""
    try:
        return resolve(name, work=work, steps=steps).name, ""
    except ValueError as error:
        return "", str(error)


def fits(client: Client, X: Any, y: Any, dtype: np.dtype[Any]) -> bool:
    """Whether the data fit in half the memory of the workers, or are there already."""
    if futures_of(X):
        return True
    limits = list(client.run(_memory).values())
    size = dtype.itemsize * (X.size + 2 * y.size)
    return not all(limits) or size <= _SHARE * sum(limits)


def _wait(client: Client, futures: list[Future]) -> None:
    with client.as_current():  # it need not be dask's default client
        wait(futures)


def _homes(client: Client, X: Any, rows: Sequence[int]) -> list[str]:
    """Return the worker of each chunk: the one that has it, else equal shares of adjacent rows."""
    workers = sorted(client.nthreads())
    if not workers:
        client.wait_for_workers(1)
        workers = sorted(client.nthreads())
    middles = np.cumsum(rows) - np.array(rows) / 2
    share = np.minimum(middles * len(workers) / sum(rows), len(workers) - 1).astype(int)
    homes = [workers[i] for i in share]
    if persisted := futures_of(X):
        _wait(client, persisted)
        held = client.who_has(persisted)
        keys = [row[0] for row in X.__dask_keys__()]
        homes = [(held.get(key) or [home])[0] for key, home in zip(keys, homes, strict=True)]
    return homes


def place(client: Client, X: Any, y: Any, dtype: np.dtype[Any], keep: bool, exact: bool) -> Chunks:
    """Have every worker lay out its share of the chunks, or check it.

    Parameters
    ----------
    client : Client
    X, y : dask.array.Array
        Of the same row chunks, none of them empty, X in one chunk of columns.
    dtype : dtype
    keep : bool
        Lay X out in the workers' memory; else read it for every pass.
    exact : bool
        Refuse integers that the dtype would round.

    Raises
    ------
    Exception
        Any that a task raises: a ValueError for numbers that are not finite, a TypeError for
        integers that would be rounded.
    """
    client.register_plugin(Service(), name=Service.name)
    rows, k = X.chunks[0], 1 if y.ndim == 1 else y.shape[1]
    token = tokenize(X.name, y.name, str(dtype), keep, object())
    firsts = np.cumsum([0, *rows])
    homes = _homes(client, X, rows)
    X, y = dask.optimize(X, y)  # together, so that keys which both have stay the same
    targets = y.to_delayed(optimize_graph=False).reshape(len(rows), -1)[:, 0]
    if keep:
        parts = X.to_delayed(optimize_graph=False)[:, 0]
    else:
        graph = dict(X.__dask_graph__())
        parts = [_recipe(graph, X, i) for i in range(len(rows))]
    futures: dict[int, Future] = {}
    for home in dict.fromkeys(homes):
        mine = [i for i, other in enumerate(homes) if other == home]
        tasks = []
        for i in mine:
            shape = Extent(int(firsts[i]), int(rows[i]), int(X.shape[1]), int(k), dtype, exact)
            made = dask.delayed(lay_out if keep else open_stream)
            name = chunk_key(token, i)
            tasks.append(made(shape, parts[i], targets[i], dask_key_name=name))
        begun = client.compute(tasks, workers=[home], allow_other_workers=True)
        futures.update(zip(mine, begun, strict=True))
    ordered = [futures[i] for i in range(len(rows))]
    _wait(client, ordered)
    for future in ordered:
        if future.status != "finished":
            future.result()
    _log.info("%d chunks of %d rows are %s %d workers", len(rows), sum(rows),
              "laid out on" if keep else "read by", len(set(homes)))  # fmt: skip
    return Chunks(client, token, ordered)


def _recipe(graph: dict[Any, Any], X: Any, i: int) -> Recipe:
    """The part of the graph that makes chunk i."""
    key = (X.name, i, 0)
    return Recipe(dict(cull(graph, [key])[0]), key)
