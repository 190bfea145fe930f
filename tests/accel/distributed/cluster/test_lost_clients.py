"""Clients that are closed or lose their scheduler: one RuntimeError that says so."""

import sys
import threading

import numpy as np
import pytest

import accel

dask = pytest.importorskip("dask", reason="dask is not installed")
distributed = pytest.importorskip("distributed", reason="distributed is not installed")

from accel.distributed import DaskProblem  # noqa: E402

from ....children import started  # noqa: E402
from ...problems import make_problem, start  # noqa: E402
from .runs import arrays, client_of, same_bits, split, train  # noqa: E402

CLOSED = "the client is closed.*: make another distributed.Client, and the DaskProblem anew"


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(
    "use",
    [
        lambda problem: problem.loss(np.ones(4)),
        train,
        lambda problem: accel.sweep(problem, [(start(), accel.GradientDescent(0.1))], 3),
        lambda problem: train(problem, backend="cuda"),
        lambda problem: problem.fingerprint,
        lambda problem: problem.gram,
    ],
    ids=["loss", "train", "sweep", "cuda", "fingerprint", "gram"],
)
def test_a_client_that_is_closed(inside, use, keep):
    mine, other = client_of(inside), client_of(inside)
    problem, another = (split(make_problem(), client=each, keep=keep) for each in (mine, other))
    train(problem, steps=3)
    mine.close()
    with pytest.raises(RuntimeError, match=CLOSED):
        use(problem)
    same_bits(train(another), train(another))  # the other client still works
    other.close()


@pytest.mark.parametrize("keep", [True, False])
def test_a_client_that_is_closed_during_a_run(inside, keep):
    """Closed between two passes, by a callback; and at any time, by another thread."""
    client = client_of(inside)
    problem = split(make_problem(), client=client, keep=keep)
    with pytest.raises(RuntimeError, match=CLOSED):
        train(problem, steps=10_000, callback=lambda step, loss: client.close())
    for delay in (0.05, 0.1, 0.2):
        client = client_of(inside)
        problem = split(make_problem(), client=client, keep=keep)
        timer = threading.Timer(delay, client.close)
        timer.start()
        with pytest.raises(RuntimeError, match="the client is closed"):
            train(problem, steps=1_000_000)
        timer.join()


def test_a_client_that_is_closed_before(inside):
    client = client_of(inside)
    client.close()
    with pytest.raises(ValueError, match=r"client must be connected.*, got one that is closed"):
        DaskProblem(*arrays(), client=client)


def test_what_another_client_has_persisted(client, inside):
    """Persisted data can be used while that client is open, and on its cluster."""
    mine, other = client_of(inside), client_of(inside)
    X, y = arrays()
    kept = mine.persist(X)
    distributed.wait(kept)
    assert DaskProblem(kept, y, client=other).n == 20
    with pytest.raises(ValueError, match="X must be persisted on the cluster of the client, tcp"):
        DaskProblem(kept, y, client=client)
    mine.close()
    with pytest.raises(ValueError, match=r"X must not have lost what was persisted.*persist it"):
        DaskProblem(kept, y, client=other)
    other.close()


def test_chunks_that_the_scheduler_forgot(inside):
    with client_of(inside) as client:
        problem = split(make_problem(), client=client)
        client.cancel(vars(problem.chunks)["_futures"])
        with pytest.raises(RuntimeError, match=r"chunk 0 .* lost.*make the DaskProblem anew"):
            train(problem)


def begun(*command):
    return started(sys.executable, "-m", *command)


def test_a_scheduler_that_is_killed(tmp_path):
    """Dask waits for it half a minute, less here, and then closes the client."""
    place = str(tmp_path / "scheduler.json")
    how = ("--scheduler-file", place, "--no-dashboard")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        begun("distributed.cli.dask_scheduler", "--port", "0", *how) as scheduler,
        begun("distributed.cli.dask_worker", *how, "--no-nanny", "--nthreads", "1"),
    ):
        client = distributed.Client(scheduler_file=place, timeout=30, set_as_default=False)
        client.wait_for_workers(1, timeout=30)
        problem = split(make_problem(), client=client)
        address = client.scheduler.address
        lost = f"(the client has lost the scheduler {address}|the client is closed).*make anoth"
        with pytest.raises(RuntimeError, match=lost):
            train(problem, steps=1_000_000, callback=lambda step, loss: scheduler.kill())
        with pytest.raises(RuntimeError, match=lost):
            problem.loss(np.ones(4))
        with pytest.raises(ValueError, match="client must be connected to its scheduler"):
            split(make_problem(), client=client)
        client.close(timeout=1)
