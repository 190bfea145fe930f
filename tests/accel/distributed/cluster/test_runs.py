"""Runs on a cluster of two processes against the same runs on one machine."""

from pathlib import Path

import numpy as np
import pytest

import accel

da = pytest.importorskip("dask.array", reason="dask is not installed")
distributed = pytest.importorskip("distributed", reason="distributed is not installed")

from accel.distributed import DaskProblem, from_npy  # noqa: E402

from ....children import python  # noqa: E402
from ...problems import BACKENDS, make_problem, start  # noqa: E402
from .runs import same_bits, split, train  # noqa: E402

EVERY = [*BACKENDS, pytest.param("cuda", marks=pytest.mark.gpu)]

RATES = (0.001, 0.002, 1e6)


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


@pytest.mark.parametrize(
    ("loss", "y"),
    [
        (accel.losses.Huber(0.5), lambda y: y),
        (accel.losses.Logistic(), lambda y: np.where(y > 0, 1, -1)),
        (accel.losses.CrossEntropy(), lambda y: (y > 0) + (y > 1).astype(int)),
    ],
    ids=repr,
)
def test_other_losses(client, loss, y):
    """Labels are checked by the workers, and the number of classes found there."""
    problem = make_problem()
    here = accel.Problem(problem.X, y(problem.Y[:, 0]), loss)
    there = DaskProblem(
        da.from_array(problem.X, chunks=9), da.from_array(y(problem.Y[:, 0]), chunks=9), loss=loss
    )
    assert (there.n, there.d, there.k) == (here.n, here.d, here.k)
    results = train(here), train(there, like=here)
    np.testing.assert_allclose(*(result.network.params for result in results), rtol=1e-10)
    np.testing.assert_allclose(*(result.history.loss for result in results), rtol=1e-10)
    if loss.classifies:
        with pytest.raises(ValueError, match="y must hold labels"):
            DaskProblem(da.ones((20, 3), chunks=5), 0.5 * da.ones(20, chunks=5), loss=loss)


def test_diagonal_networks(client):
    """Beside a product of matrices, each in a loop of its own."""
    problem = make_problem()
    networks = [
        start(), accel.DiagonalNetwork(4, scale=0.5),
        accel.DiagonalNetwork(4, 3, "hadamard", scale=0.5),
    ]  # fmt: skip
    models = [(network, accel.Adam(0.01)) for network in networks]
    here, there = (accel.sweep(each, models, 30) for each in (problem, split(problem)))
    for ours, theirs in zip(there, here, strict=True):
        assert type(ours.network) is type(theirs.network)
        np.testing.assert_allclose(ours.network.params, theirs.network.params, rtol=1e-9)


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
    for i, mine in enumerate(swept):
        pair = [models[i], models[i - 1]]
        same_bits(mine, accel.sweep(there, pair, 40, backend=backend)[0])
        alone = accel.train(there, *models[i], 40, backend=backend)
        assert alone.status == mine.status
        if mine.status == "completed":  # a sweep of several adds up in another order
            np.testing.assert_allclose(mine.network.params, alone.network.params, rtol=1e-10)


def test_grid_search(client):
    problem = make_problem()
    there, here = (
        accel.grid_search(
            each, start(), accel.GradientDescent(0.01), 20, learning_rates=[0.001, 0.002, 0.005]
        )
        for each in (split(problem), problem)
    )
    assert there.best.optimizer == here.best.optimizer


def test_what_is_recorded(client):
    problem = make_problem()
    record = ["singular_values", "alignment", "step_size", "snapshots", lambda step, net: step]
    there, here = (
        accel.train(each, start(), accel.GradientDescent(0.01), 20, record=record, record_every=4)
        for each in (split(problem), problem)
    )
    for name, values in here.history.recorded.items():
        np.testing.assert_allclose(there.history[name], values, rtol=1e-9, err_msg=name)


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
        there = split(problem).loss_and_gradient(W, backend=backend)
        np.testing.assert_allclose(there[0], value, rtol=1e-12)
        np.testing.assert_allclose(there[1], gradient, rtol=1e-12)


def test_a_checkpoint_goes_on(client, tmp_path):
    there, path = split(make_problem()), tmp_path / "run.npz"
    train(there, callback=lambda step, loss: step > 5, checkpoint=path)
    same_bits(train(there, checkpoint=path), train(there))
    with pytest.raises(ValueError, match="belongs to another run"):
        train(split(make_problem(), 10), checkpoint=path)


def run_of_a_worker(threads):
    """A run within a dask task, on data of its own."""
    problem = make_problem(n=2000, d=64)
    result = accel.train(problem, start(problem), accel.Adam(), 200, threads=threads)
    return result.threads, result.network.params


def test_runs_inside_tasks(client):
    """Runs take one thread by default in dask's processes, since dask limits them to one."""
    expected = run_of_a_worker(2)[1]
    with distributed.Client(n_workers=1, threads_per_worker=2, processes=False,
                            dashboard_address=":0", set_as_default=False) as inside:  # fmt: skip
        for place in (client, inside):
            for used, params in place.gather(place.map(run_of_a_worker, [2] * 4, pure=False)):
                assert used == 2
                np.testing.assert_array_equal(params, expected)
    assert client.submit(run_of_a_worker, None).result()[0] == 1


def test_the_example():
    path = Path(__file__).resolve().parents[4] / "examples" / "dask_cluster.py"
    assert python(path).stdout
