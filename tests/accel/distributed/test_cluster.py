"""Runs on a LocalCluster of two processes against the same runs on one machine."""

import asyncio
import logging
import os
import signal
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest

import accel

dask = pytest.importorskip("dask", reason="dask is not installed")
da = pytest.importorskip("dask.array", reason="dask is not installed")
distributed = pytest.importorskip("distributed", reason="distributed is not installed")

from accel.distributed import DaskProblem, from_npy  # noqa: E402
from accel.distributed.cluster import Chunks  # noqa: E402
from accel.distributed.passes import Question  # noqa: E402
from accel.distributed.service import HANDLER, Service, chunk_key, packed  # noqa: E402

from ...children import python, started  # noqa: E402
from ..problems import BACKENDS, make_problem, start  # noqa: E402

EVERY = [*BACKENDS, pytest.param("cuda", marks=pytest.mark.gpu)]

RATES = (0.001, 0.002, 1e6)
RULE = accel.GradientDescent(0.002)


def cluster_of(workers):
    logging.getLogger("distributed").setLevel(logging.ERROR)
    return distributed.LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0"
    )


@pytest.fixture(scope="module")
def client():
    with cluster_of(2) as cluster, distributed.Client(cluster) as client:
        yield client


@pytest.fixture(scope="module")
def inside():
    """A cluster in this process, for what is quick there: its client is another for every test."""
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False,
                                  dashboard_address=":0") as cluster:  # fmt: skip
        yield cluster


def client_of(cluster):
    return distributed.Client(cluster, set_as_default=False)


def split(problem, chunk=9, **arguments):
    """The same problem in row chunks on the workers."""
    X, Y = problem.X, problem.Y if problem.k > 1 else problem.Y[:, 0]
    arguments = {"p": problem.p, "scale": problem.scale, "method": problem.method, **arguments}
    return DaskProblem(da.from_array(X, chunks=chunk), da.from_array(Y, chunks=chunk), **arguments)


def train(problem, like=None, steps=40, optimizer=None, **arguments):
    optimizer = optimizer or accel.GradientDescent(0.002)
    return accel.train(problem, start(like or problem), optimizer, steps, **arguments)


def same_bits(one, other):
    assert np.array_equal(one.network.params, other.network.params)
    for name in ("step", "loss", "gradient_norm", "weight_norm"):
        assert np.array_equal(getattr(one.history, name), getattr(other.history, name))


@pytest.mark.parametrize("backend", EVERY)
@pytest.mark.parametrize(
    "case",
    [
        {},
        {"k": 3, "d": 17, "p": 3},
        {"d": 20, "p": 1.5, "scale": "1/p"},
        {"dtype": "f4"},
        {"p": 2},
        {"p": 2, "method": "direct"},
    ],
    ids=repr,
)
def test_equals_the_run_on_one_machine(client, case, backend):
    problem = make_problem(**case)
    here, there = train(problem), train(split(problem), backend=backend)
    tolerance = 1e-4 if problem.dtype == np.float32 else 1e-10
    assert there.status == here.status == "completed"
    assert there.method == here.method
    np.testing.assert_allclose(there.network.params, here.network.params, rtol=tolerance)
    np.testing.assert_allclose(there.history.loss, here.history.loss, rtol=tolerance)


@pytest.mark.parametrize("rule", [accel.Adam(0.01), accel.EndToEnd(0.02, depth=3)])
def test_other_rules(client, rule):
    problem = make_problem(k=2)
    network = accel.LinearNetwork.for_problem(problem, 1, scale=0.3)
    here, there = (accel.train(each, network, rule, 30) for each in (problem, split(problem)))
    np.testing.assert_allclose(there.network.params, here.network.params, rtol=1e-10)


def test_same_bits_whoever_holds_the_chunks(client):
    problem = make_problem(n=1000, d=5)
    one = train(split(problem, 90))
    same_bits(one, train(split(problem, 90)))
    same_bits(one, train(split(problem, 90, keep=False)))
    first, second = client.nthreads()
    for homes in ([first], [second], [second, first, first]):
        X, y = da.from_array(problem.X, chunks=90), da.from_array(problem.Y[:, 0], chunks=90)
        blocks = [
            client.compute(X.blocks[i, 0], workers=[homes[i % len(homes)]])
            for i in range(X.numblocks[0])
        ]
        distributed.wait(blocks)
        X = da.concatenate(
            [da.from_delayed(b, shape, "f8") for b, shape in zip(blocks, shapes(X), strict=True)]
        )
        same_bits(one, train(DaskProblem(client.persist(X), y)))


def shapes(X):
    return [(rows, X.shape[1]) for rows in X.chunks[0]]


def test_blocks_and_threads_change_no_bits(client, tmp_path):
    """Chunks of several blocks, summed by one thread or by two."""
    problem = make_problem(n=40_000, d=64)
    np.save(tmp_path / "X.npy", problem.X)
    y = da.from_array(problem.Y[:, 0], chunks=25_000)
    there = DaskProblem(from_npy(tmp_path / "X.npy", rows=25_000), y)
    one, other = (train(there, steps=3, threads=threads) for threads in (1, 2))
    same_bits(one, other)
    assert (one.threads, other.threads) == (2, 4)
    here = train(problem, steps=3)
    np.testing.assert_allclose(one.network.params, here.network.params, rtol=1e-10)


@pytest.mark.parametrize("backend", EVERY)
def test_a_sweep_with_one_that_diverges(client, backend):
    problem = make_problem()
    there = split(problem)
    models = [(start(), accel.GradientDescent(rate)) for rate in RATES]
    swept = accel.sweep(there, models, 40, backend=backend)
    here = accel.sweep(problem, models, 40)
    assert [result.status for result in swept] == ["completed", "completed", "diverged"]
    assert [r.diverged_at for r in swept] == [r.diverged_at for r in here]
    for mine, (network, rule) in zip(swept, models, strict=True):
        same_bits(mine, accel.train(there, network, rule, 40, backend=backend))


def test_grid_search(client):
    problem = make_problem()
    found, here = (
        accel.grid_search(
            each, start(), accel.GradientDescent(0.01), 20, learning_rates=[0.001, 0.002, 0.005]
        )
        for each in (split(problem), problem)
    )
    assert found.best.optimizer == here.best.optimizer


def test_target_and_callback(client):
    there = split(make_problem())
    full = train(there)
    goal = float(full.history.loss[20])
    assert train(there, target=goal).status == "target"
    assert train(there, callback=lambda step, loss: True).status == "interrupted"


def test_loss_and_gradient(client):
    problem, W = make_problem(k=2), np.ones((2, 4))
    value, gradient = problem.loss_and_gradient(W)
    for backend in (*BACKENDS, "auto"):
        found = split(problem).loss_and_gradient(W, backend=backend)
        np.testing.assert_allclose(found[0], value, rtol=1e-12)
        np.testing.assert_allclose(found[1], gradient, rtol=1e-12)


def test_a_checkpoint_goes_on(client, tmp_path):
    there, path = split(make_problem()), tmp_path / "run.npz"
    train(there, callback=lambda step, loss: step > 5, checkpoint=path)
    same_bits(train(there, checkpoint=path), train(there))
    with pytest.raises(ValueError, match="belongs to another run"):
        train(split(make_problem(), 10), checkpoint=path)


def kill_one(client):
    """Kill a worker at the first call, as a callback of train()."""
    killed = []

    def callback(step, loss):
        if not killed:
            killed.append(sorted(client.run(os.getpid).values())[0])
            os.kill(killed[0], signal.SIGKILL)

    return callback, killed


@pytest.mark.parametrize("keep", [True, False])
def test_a_worker_that_is_killed_costs_nothing_but_time(keep):
    problem = make_problem(n=1000, d=8)
    with cluster_of(2) as cluster, distributed.Client(cluster) as client:
        there = split(problem, 90, keep=keep, client=client)
        whole = train(there, steps=150)
        callback, killed = kill_one(client)
        result = train(there, steps=150, callback=callback)
        assert killed
        assert result.status == "completed"
        same_bits(result, whole)
        client.wait_for_workers(2)  # the nanny has begun another
        same_bits(train(there, steps=150), whole)


def noted(block, path):
    """The block, and a line in a file for every time that it is made."""
    with open(path, "a") as file:
        file.write(f"{len(block)}\n")
    return block


def test_streams_a_file_and_reads_it_once_a_step(client, tmp_path):
    problem, steps = make_problem(n=1000, d=8), 6
    np.save(tmp_path / "X.npy", problem.X)
    np.save(tmp_path / "y.npy", problem.Y[:, 0])
    reads = tmp_path / "reads"
    X = from_npy(tmp_path / "X.npy", rows=90).map_blocks(noted, str(reads), meta=np.empty((0, 0)))
    there = DaskProblem(X, from_npy(tmp_path / "y.npy"), keep=False)
    assert "keep=False" in repr(there)
    before = len(reads.read_text().split())
    assert before == 12  # once, to check it; and the last chunk is a short one
    result = train(there, steps=steps, record_every=steps + 1)
    # Once a step, and once to look at the last iterate.
    assert len(reads.read_text().split()) - before == 12 * (steps + 1)
    np.testing.assert_allclose(
        result.network.params, train(problem, steps=steps).network.params, rtol=1e-10
    )


def test_streams_zarr(client, tmp_path):
    zarr = pytest.importorskip("zarr")
    problem = make_problem(n=100, d=8)
    array = zarr.open_array(
        str(tmp_path / "X"), mode="w", shape=(100, 8), chunks=(30, 8), dtype="f8"
    )
    array[:] = problem.X
    there = DaskProblem(
        da.from_zarr(str(tmp_path / "X")), da.from_array(problem.Y[:, 0]), keep=False
    )
    np.testing.assert_allclose(
        train(there).network.params, train(problem).network.params, rtol=1e-10
    )


def test_streams_what_does_not_fit(client, monkeypatch):
    from accel.distributed import placing

    monkeypatch.setattr(placing, "_SHARE", 1e-12)
    assert "keep=False" in repr(split(make_problem(), keep="auto"))


def arrays(n=20, d=3, chunks=(5, 3)):
    return da.ones((n, d), chunks=chunks), da.ones(n, chunks=chunks[0])


def test_chunks_of_columns_are_made_one(client, caplog):
    problem = make_problem()
    X, y = da.from_array(problem.X, chunks=(9, 2)), da.from_array(problem.Y[:, 0], chunks=11)
    with caplog.at_level(logging.INFO, "accel"):
        there = DaskProblem(X, y)
    assert "chunks of columns" in caplog.text
    same_bits(train(there), train(split(problem)))


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (lambda X, y: (X.compute(), y), TypeError, "X must be a dask array"),
        (lambda X, y: (X, y.compute()), TypeError, "y must be a dask array"),
        (lambda X, y: (X, y[:-1]), ValueError, "as many rows"),
        (lambda X, y: (X[X[:, 0] > 0], y), ValueError, "compute_chunk_sizes"),
        (lambda X, y: (X[:, 0], y), ValueError, "2 dimensions"),
        (lambda X, y: (X[:0], y[:0]), ValueError, "must not be empty"),
        (lambda X, y: (X.astype(complex), y), TypeError, "real numbers"),
        (lambda X, y: (X.astype("f4"), y), TypeError, "dtype must be given"),
    ],
)
def test_refused_at_the_door(client, change, error, told):
    with pytest.raises(error, match=told):
        DaskProblem(*change(*arrays()))


@pytest.mark.parametrize("keep", [True, False])
def test_numbers_that_are_not_finite_are_found_by_the_workers(client, keep):
    X, y = arrays()
    bad = X.compute()
    bad[13, 2] = np.nan
    with pytest.raises(ValueError, match=r"X must be finite in float64, got X\[13, 2\] = nan"):
        DaskProblem(da.from_array(bad, chunks=(5, 3)), y, keep=keep)
    with pytest.raises(ValueError, match=r"y must be finite in float64, got y\[0\] = inf"):
        DaskProblem(X, y * np.inf, keep=keep)


@pytest.mark.parametrize("keep", [True, False])
def test_integers_are_rounded_only_if_a_dtype_is_given(client, keep):
    X, y = arrays()
    odd = np.zeros(len(y), int)
    odd[13] = 2**53 + 1
    odd = da.from_array(odd, chunks=5)
    with pytest.raises(TypeError, match=r"y\[13\] = 9007199254740993: pass dtype="):
        DaskProblem(X, odd, keep=keep)
    assert DaskProblem(X, odd, dtype="float64", keep=keep).n == len(y)


def test_other_arguments(client):
    X, y = arrays()
    with pytest.raises(ValueError, match="keep must be"):
        DaskProblem(X, y, keep="yes")
    with pytest.raises(TypeError, match="client must be"):
        DaskProblem(X, y, client="tcp://")
    with pytest.raises(ValueError, match="needs p = 2"):
        DaskProblem(X, y, method="gram")
    problem = DaskProblem(X, y)
    with pytest.raises(ValueError, match=r"'cuda' is not available.*worker tcp"):
        problem.loss([0, 0, 0], backend="cuda")


@pytest.mark.parametrize(
    "use",
    [
        accel.optimum,
        lambda problem: accel.stable_rate(problem, start(), RULE),
        lambda problem: accel.train(problem, start(), RULE, 3, learning_rate="auto"),
        lambda problem: accel.grid_search(problem, start(), RULE, 3),
        lambda problem: accel.theory.curl(problem, np.ones(4), 3),
        lambda problem: accel.theory.closed_curve_integral(problem, 3, np.ones(4), 0.1, 1.0),
    ],
    ids=["optimum", "stable_rate", "auto", "grid_search", "curl", "curve"],
)
def test_what_needs_the_data_in_one_place_says_so(inside, use):
    told = "data of a DaskProblem are on the workers.*: make an LpProblem of them if they fit"
    with client_of(inside) as client, pytest.raises(TypeError, match=told):
        use(split(make_problem(), client=client))


def test_a_flow_and_a_usual_rate_need_only_losses(inside):
    problem, adam = make_problem(), accel.Adam(1.0)
    with client_of(inside) as client:
        there = split(problem, client=client)
        here, far = (
            accel.theory.end_to_end_flow(each, np.full(4, 0.1), depth=2, t=[0.0, 0.1])
            for each in (problem, there)
        )
        np.testing.assert_allclose(far.matrices, here.matrices, rtol=1e-8)
        assert accel.stable_rate(there, start(), adam) == accel.stable_rate(problem, start(), adam)


def test_needs_a_client(monkeypatch):
    def none():
        raise ValueError("No clients found")

    monkeypatch.setattr(distributed, "default_client", none)
    with pytest.raises(ValueError, match="client must be given"):
        DaskProblem(*arrays())


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
    same_bits(train(another), train(another))  # has nothing to do with it
    other.close()


@pytest.mark.parametrize("keep", [True, False])
def test_a_client_that_is_closed_during_a_run(inside, keep):
    """Between two questions, by a callback; and at any time, by another thread."""
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
    """It serves while that one is open, and on its cluster."""
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
    """Dask gives it half a minute to come back, less here; then the client is closed."""
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


def test_a_worker_that_leaves_says_so_of_its_chunks():
    """Its threads have ended already, which is no error of the question's."""
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


def run_of_a_worker(threads):
    """A task's own run, on its own data."""
    problem = make_problem(n=2000, d=64)
    result = accel.train(problem, start(problem), accel.Adam(), 200, threads=threads)
    return result.threads, result.network.params


def test_runs_inside_tasks(client):
    """Dask gives its processes one thread each, which is what their runs take by default."""
    expected = run_of_a_worker(2)[1]
    with distributed.Client(n_workers=1, threads_per_worker=2, processes=False,
                            dashboard_address=":0", set_as_default=False) as inside:  # fmt: skip
        for place in (client, inside):
            for used, params in place.gather(place.map(run_of_a_worker, [2] * 4, pure=False)):
                assert used == 2
                np.testing.assert_array_equal(params, expected)
    assert client.submit(run_of_a_worker, None).result()[0] == 1


def test_the_example():
    path = Path(__file__).resolve().parents[3] / "examples" / "dask_cluster.py"
    assert python(path).stdout
