"""Workers that end while they are asked: their chunks go to others, and results stay the same."""

import asyncio
import os
import signal
import types

import numpy as np
import pytest

distributed = pytest.importorskip("distributed", reason="distributed is not installed")

from accel.distributed.cluster import Chunks  # noqa: E402
from accel.distributed.passes import Question  # noqa: E402
from accel.distributed.service import HANDLER, Service, chunk_key, packed  # noqa: E402

from ...problems import make_problem  # noqa: E402
from .runs import cluster_of, same_bits, split, train  # noqa: E402


def kill_one(client):
    """A callback that kills a worker at its first call, and the list of killed processes."""
    killed = []

    def callback(step, loss):
        if not killed:
            killed.append(sorted(client.run(os.getpid).values())[0])
            os.kill(killed[0], signal.SIGKILL)

    return callback, killed


@pytest.fixture(scope="module")
def mortal():
    """A client of a cluster whose two workers may be killed."""
    with cluster_of(2) as cluster, distributed.Client(cluster, set_as_default=False) as client:
        yield client


@pytest.mark.parametrize("keep", [True, False])
def test_a_worker_that_is_killed_costs_nothing_but_time(mortal, keep):
    there = split(make_problem(n=1000, d=8), 90, keep=keep, client=mortal)
    whole = train(there, steps=150)
    callback, killed = kill_one(mortal)
    result = train(there, steps=150, callback=callback)
    assert killed
    assert result.status == "completed"
    same_bits(result, whole)
    mortal.wait_for_workers(2)  # dask has started another
    same_bits(train(there, steps=150), whole)


def test_a_worker_that_leaves_says_so_of_its_chunks():
    """Its threads have ended already; it must not reply with their error."""
    place = types.SimpleNamespace(
        handlers={}, data={chunk_key("t", 0): None}, state=types.SimpleNamespace(nthreads=1)
    )
    service = Service()
    service.setup(place)
    service.teardown(place)
    asked = Question("pass", packed(np.ones((1, 1, 1))), 2.0, 1, "reference")
    reply = asyncio.run(service.ask("t", [0], 1, 1, asked))
    assert reply == {"missing": [0]}


def test_a_worker_that_ends_while_it_is_asked_has_not_answered():
    async def cancelled(**message):
        return None

    asked = types.SimpleNamespace(
        client=types.SimpleNamespace(
            rpc=lambda address: types.SimpleNamespace(**{HANDLER: cancelled})
        ),
        _avoided={},
    )
    assert asyncio.run(Chunks._call(asked, "tcp://there", [0], {})) == {}
    assert list(asked._avoided) == ["tcp://there"]
