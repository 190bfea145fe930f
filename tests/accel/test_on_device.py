"""The whole package on a GPU: problems, networks, results; a stand-in where there is none."""

import copy
import logging
import pickle

import numpy as np
import pytest

import accel
from accel import LinearNetwork, LpProblem, grid_search, sweep, train
from accel._runs.rates import first_rate
from accel._support import backends

from .core.test_problem import BAD
from .device import DeviceArray, OnlyDLPack, OnlyInterface
from .problems import PROBLEM, make_problem, start
from .runs.test_sweeping import assert_same, rates

X, Y = PROBLEM.X, PROBLEM.Y


def on_device(problem=PROBLEM, **arguments):
    arguments = {"p": problem.p, **arguments}
    return LpProblem(DeviceArray(problem.X), DeviceArray(problem.Y), **arguments)


@pytest.mark.parametrize("other", [DeviceArray, OnlyDLPack, OnlyInterface])
@pytest.mark.parametrize("targets", [Y, Y[:, 0].copy()], ids=["2-D", "1-D"])
def test_data_stays_where_it_is(gpu_stand_in, other, targets):
    problem = LpProblem(other(X), other(targets))
    assert problem.on_device
    assert (problem.n, problem.d, problem.k, problem.dtype) == (*X.shape, 1, np.float64)
    assert problem.Y.shape == Y.shape
    assert np.shares_memory(problem.X._memory, X)
    assert np.shares_memory(problem.Y._memory, targets)
    assert repr(problem) == repr(PROBLEM)


def test_what_must_be_converted_is_so_on_the_device(gpu_stand_in):
    for a, dtype in ((X.T.copy().T, None), (X.astype("f4"), "f8"), (X[:, ::-1], "f4")):
        problem = LpProblem(DeviceArray(a), DeviceArray(Y), dtype=dtype)
        assert problem.X.flags.c_contiguous
        assert problem.X.dtype == problem.Y.dtype == np.dtype(dtype or "f8")
        np.testing.assert_allclose(problem.X.get(), a, rtol=1e-6)


def test_where_one_is_the_other_one_goes(gpu_stand_in):
    for problem in (LpProblem(DeviceArray(X), Y), LpProblem(X.tolist(), DeviceArray(Y))):
        assert isinstance(problem.X, DeviceArray)
        assert isinstance(problem.Y, DeviceArray)


def test_weighted_rows_stay_on_the_device(gpu_stand_in):
    weight = np.arange(float(len(X)))  # the first one is 0
    here, there = LpProblem(X, Y, 3, sample_weight=weight), on_device(p=3, sample_weight=weight)
    assert isinstance(there.X, DeviceArray)
    assert there.n == len(X) - 1
    np.testing.assert_array_equal(there.X.get(), here.X)
    np.testing.assert_array_equal(there.Y.get(), here.Y)
    np.testing.assert_array_equal(there.host.sample_weight, here.sample_weight)


def test_dtypes_are_as_on_the_host(gpu_stand_in):
    single = LpProblem(DeviceArray(X.astype("f4")), DeviceArray(np.arange(len(X))))
    assert single.dtype == single.Y.dtype == np.float32
    with pytest.raises(TypeError, match="float32"):
        LpProblem(DeviceArray(X.astype("f4")), DeviceArray(Y))


@pytest.mark.parametrize(
    "bad", [name for name, (*_, given) in BAD.items() if type(given.get("X")) is np.ndarray]
)
def test_bad_data(gpu_stand_in, bad):
    error, match, arguments = BAD[bad]
    arguments = {"y": np.ones(12), **arguments}
    arguments |= {name: DeviceArray(arguments[name]) for name in ("X", "y")}
    with pytest.raises(error, match=match):
        LpProblem(**arguments)


def test_a_copy_on_the_host_is_made_once_and_logged(gpu_stand_in, caplog):
    problem = on_device()
    with caplog.at_level(logging.INFO, logger="accel"):
        host = problem.host
        assert problem.host is host
    assert len(caplog.records) == 1
    assert "from the GPU to the host" in caplog.records[0].getMessage()
    assert not host.on_device
    assert host.host is host
    assert repr(host) == repr(problem)
    np.testing.assert_array_equal(host.X, X)
    assert host.X.__array_interface__["data"][0] % 64 == 0
    assert PROBLEM.host is PROBLEM


@pytest.mark.parametrize("backend", ["auto", "cuda", "cpu", "reference"])
def test_loss_and_gradient(gpu_stand_in, backend):
    W = np.linspace(-1, 1, PROBLEM.d)
    expected = PROBLEM.loss_and_gradient(W, backend="reference")
    for problem, weights in ((on_device(), W), (PROBLEM, W), (on_device(), DeviceArray(W))):
        value, gradient = problem.loss_and_gradient(weights, backend=backend)
        assert value == pytest.approx(expected[0], rel=1e-13)
        stays = isinstance(weights, DeviceArray) and backend in ("auto", "cuda")
        assert isinstance(gradient, DeviceArray) == stays
        on_host = gradient.get() if stays else gradient
        np.testing.assert_allclose(on_host, expected[1], rtol=1e-12)


@pytest.mark.parametrize("backend", ["auto", "cuda", "cpu", "reference"])
def test_every_backend_trains_it(gpu_stand_in, backend):
    expected = train(PROBLEM, start(), accel.Adam(0.01), 50, backend="reference")
    result = train(on_device(), start(), accel.Adam(0.01), 50, backend=backend)
    assert result.backend == {"auto": "cuda"}.get(backend, backend)
    assert_same(result, expected, exact=backend != "cpu")


@pytest.mark.parametrize("batch_size", [None, 7])
def test_auto_leaves_batches_and_noise_to_the_cpu_unless_data_are_there(
    gpu_stand_in, monkeypatch, batch_size
):
    """However long the run: those kernels have never met a GPU."""
    monkeypatch.setattr(backends, "_WORTH", 0.0)
    monkeypatch.setattr(backends, "_WORTH_A_STEP", 0.0)
    rule = accel.GradientDescent(0.01) if batch_size else accel.Langevin(0.01, 0.1, 3)
    settings = {"batch_size": batch_size, "seed": 5}
    assert train(PROBLEM, start(), accel.Adam(0.01), 3).backend == "cuda"
    assert train(PROBLEM, start(), rule, 3, **settings).backend == "cpu"
    expected = train(PROBLEM, start(), rule, 30, backend="reference", **settings)
    for result in (
        train(on_device(), start(), rule, 30, **settings),
        train(PROBLEM, start(), rule, 30, backend="cuda", **settings),
    ):
        assert result.backend == "cuda"
        assert_same(result, expected)


def test_cuda_takes_data_from_the_host(gpu_stand_in):
    result = train(PROBLEM, start(), accel.Adam(0.01), 50, backend="cuda")
    assert (result.backend, result.threads) == ("cuda", 1)
    assert hasattr(result.network, "__cuda_array_interface__")


@pytest.mark.parametrize("method", ["direct", "spectral"])
def test_what_is_recorded(gpu_stand_in, method):
    """It is computed on the host, but for the passes over the data."""
    record = ["singular_values", "alignment", "sharpness", "step_size", "snapshots(True)"]
    here = make_problem(p=2 if method == "spectral" else 4, method=method)
    there = accel.LpProblem(DeviceArray(here.X), DeviceArray(here.Y), here.p, method=method)
    settings = {"record": record, "validation": make_problem(5), "record_every": 10}
    rule = accel.GradientDescent(0.01)
    expected = train(here, start(), rule, 50, backend="reference", **settings)
    for problem in (here, there):
        result = train(problem, start(), rule, 50, backend="cuda", **settings)
        assert_same(result, expected)
        for name, values in expected.history.recorded.items():
            np.testing.assert_allclose(result.history[name], values, rtol=1e-6, err_msg=name)


def test_auto_goes_by_the_work_of_the_run(gpu_stand_in, monkeypatch):
    monkeypatch.setattr(backends, "_WORTH", 2 * 40 * 4 * 50 * 2)
    monkeypatch.setattr(backends, "_WORTH_A_STEP", 1)
    models = [(start(), accel.GradientDescent(0.01))] * 2
    assert sweep(PROBLEM, models, 50)[0].backend == "cuda"
    assert sweep(PROBLEM, models, 49)[0].backend == "cpu"
    assert sweep(PROBLEM, models[:1], 50)[0].backend == "cpu"
    gram = make_problem(p=2)
    assert gram.form() == "gram"
    assert sweep(gram, models, 50)[0].backend == "cpu"
    assert sweep(gram, models, 500)[0].backend == "cuda"


@pytest.mark.parametrize("method", ["spectral", "rowspace"])
def test_rotated_runs(gpu_stand_in, method, tmp_path):
    """The decomposition is made on the host, and factors end up where the run was."""
    here = make_problem(n=8, d=30, p=2, method=method)
    there, model = on_device(here, method=method), (start(here), accel.GradientDescent(0.01), 50)
    ours, theirs = train(there, *model), train(here, *model, backend="reference")
    assert (ours.method, ours.backend) == (method, "cuda")
    assert_same(ours, theirs)
    assert hasattr(ours.network, "__cuda_array_interface__")
    path = tmp_path / "run.npz"
    train(there, *model, checkpoint=path, callback=lambda step, _: step > 5)
    assert_same(train(there, *model, checkpoint=path), theirs)


def test_a_sweep_of_two_methods(gpu_stand_in):
    here = make_problem(d=16, p=2)
    there = on_device(here)
    models = [(start(here), accel.GradientDescent(r)) for r in (0.01, 1e3)]
    models += [(start(here), accel.Adam(0.01))]
    ours, theirs = (sweep(which, models, 10**7, target=0.02) for which in (there, here))
    assert [result.method for result in ours] == ["gram"] * 3  # the GPU makes steps so fast
    assert [result.method for result in theirs] == ["spectral", "spectral", "gram"]
    ours = sweep(here, models, 10**7, target=0.02, backend="cuda")
    for one, other in zip(ours, theirs, strict=True):
        assert (one.method, one.backend) == (other.method, "cuda")
        assert_same(one, other, exact=False)


def test_a_grid_search_has_one_backend(gpu_stand_in, monkeypatch):
    monkeypatch.setattr(backends, "_WORTH", 2 * 40 * 4 * 50 * 3)
    monkeypatch.setattr(backends, "_WORTH_A_STEP", 1)
    result = grid_search(
        PROBLEM, start(), accel.GradientDescent(1.0), 50, learning_rates=[1e-3, 1e-2, 1e-1]
    )
    assert len(result.results) > 3
    assert {each.backend for each in result.results} == {"cuda"}


def test_divergence(gpu_stand_in):
    models = rates()
    expected = sweep(PROBLEM, models, 60, backend="reference")
    for ours, theirs in zip(sweep(on_device(), models, 60), expected, strict=True):
        assert_same(ours, theirs)


def test_a_checkpoint_goes_on_wherever_the_data_is(gpu_stand_in, tmp_path):
    path = tmp_path / "run.npz"
    whole = train(PROBLEM, start(), accel.Adam(0.01), 600, backend="cuda")
    part = train(
        on_device(), start(), accel.Adam(0.01), 600, checkpoint=path,
        callback=lambda step, loss: step >= 100,
    )  # fmt: skip
    assert part.status == "interrupted"
    result = train(PROBLEM, start(), accel.Adam(0.01), 600, backend="cuda", checkpoint=path)
    assert_same(result, whole)
    with pytest.raises(ValueError, match="another run"):
        train(PROBLEM, start(), accel.Adam(0.01), 600, backend="reference", checkpoint=path)


@pytest.fixture
def trained(gpu_stand_in):
    return train(on_device(), start(), accel.Adam(0.01), 50)


def test_results_stay_on_the_device_until_asked_for(trained, monkeypatch):
    import cupy

    network, copies = trained.network, []
    get = DeviceArray.get
    monkeypatch.setattr(DeviceArray, "get", lambda a, out=None: copies.append(a) or get(a))
    assert (network.n_params, network.dtype, network.depth) == (15, np.float64, 2)
    assert repr(network) == repr(start())
    assert "status='completed'" in repr(trained)
    there = cupy.asarray(network)
    assert isinstance(there, DeviceArray)
    assert there.__cuda_array_interface__["data"] == network.__cuda_array_interface__["data"]
    assert copies == []
    np.testing.assert_array_equal(network.params, there._memory)
    assert network.params is network.params
    assert len(network.factors) == 2
    assert len(copies) == 1
    assert np.shares_memory(cupy.asarray(network)._memory, there._memory)


def test_a_network_on_the_device_is_a_network(trained, tmp_path):
    network = trained.network
    for other in (
        pickle.loads(pickle.dumps(network)),
        copy.copy(network),
        copy.deepcopy(network),
        network.copy(),
        accel.Result.load(trained.save(tmp_path / "result.npz")).network,
    ):
        assert not hasattr(other, "__cuda_array_interface__")
        np.testing.assert_array_equal(other.params, network.params)
        assert other.widths == network.widths
    with pytest.raises(AttributeError):
        network.params = 0
    with pytest.raises(AttributeError, match="nonsense"):
        _ = network.nonsense
    again = train(on_device(), network, accel.GradientDescent(0.01), 3)
    assert again.loss < trained.loss


def test_networks_on_the_host_have_no_interface():
    assert not hasattr(start(), "__cuda_array_interface__")


def test_networks_of_arrays_on_the_device(gpu_stand_in):
    arrays = [np.arange(6.0).reshape(2, 3), np.array([[1.0, -1.0]])]
    network = LinearNetwork((3, 2, 1), init=[DeviceArray(a) for a in arrays])
    np.testing.assert_array_equal(network.end_to_end(), [[-3, -3, -3]])
    moved = network.with_params(DeviceArray(np.arange(8.0)))
    assert hasattr(moved, "__cuda_array_interface__")
    with pytest.raises(ValueError, match="params must be finite"):
        network.with_params(DeviceArray(np.full(8, np.nan)))
    with pytest.raises(ValueError, match="params must have shape"):
        network.with_params(DeviceArray(np.ones(7)))


def test_predictions_are_where_the_samples_are(trained):
    prediction = trained.network.predict(DeviceArray(X))
    assert isinstance(prediction, DeviceArray)
    np.testing.assert_array_equal(prediction._memory, trained.network.predict(X))


def test_everything_else_goes_by_the_host(gpu_stand_in):
    problem = on_device()
    best, expected = accel.optimum(problem), accel.optimum(PROBLEM)
    np.testing.assert_array_equal(best.W, expected.W)
    assert accel.optimum(PROBLEM, backend="cuda").loss == pytest.approx(expected.loss, rel=1e-9)
    data, host = accel.standardize(DeviceArray(X), DeviceArray(Y)), accel.standardize(X, Y)
    np.testing.assert_array_equal(data.X, host.X)
    np.testing.assert_array_equal(data.predict(best.W, DeviceArray(X)), host.predict(best.W, X))
    w = np.linspace(-1, 1, PROBLEM.d)
    curl = accel.theory.curl(problem, w, 3)
    np.testing.assert_allclose(curl, accel.theory.curl(PROBLEM, w, 3), rtol=1e-12, atol=1e-12)
    assert first_rate(problem, "gd") == first_rate(PROBLEM, "gd")
    assert pickle.loads(pickle.dumps(problem.host)).n == problem.n


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape", [{}, {"k": 3}, {"p": 2}, {"p": 2.5}, {"n": 3000, "d": 33}])
def test_on_a_real_gpu(shape, dtype):
    import cupy

    host = make_problem(**shape, dtype=dtype)
    problem = LpProblem(cupy.asarray(host.X), cupy.asarray(host.Y), p=host.p)
    network = start(host)
    expected = train(host, network, accel.Adam(0.01), 50, backend="reference")
    rtol = 1e-9 if dtype == "f8" else 1e-3
    for data, backend in ((problem, "auto"), (host, "cuda")):
        result = train(data, network, accel.Adam(0.01), 50, backend=backend)
        assert result.backend == "cuda"
        there = cupy.asarray(result.network)
        assert there.data.ptr == result.network.__cuda_array_interface__["data"][0]
        np.testing.assert_array_equal(there.get(), result.network.params)
        np.testing.assert_allclose(result.network.params, expected.network.params, rtol, rtol)
        np.testing.assert_allclose(result.history.loss, expected.history.loss, rtol)
    W = network.end_to_end()
    value, gradient = problem.loss_and_gradient(cupy.asarray(W))
    assert isinstance(gradient, cupy.ndarray)
    expected = host.loss_and_gradient(W, backend="reference")
    assert value == pytest.approx(expected[0], rel=rtol)
    np.testing.assert_allclose(gradient.get(), expected[1], rtol, rtol)
    np.testing.assert_allclose(problem.gradient(W, backend="cpu"), expected[1], rtol, rtol)


@pytest.mark.gpu
def test_bad_data_on_a_real_gpu():
    import cupy

    for bad in (np.nan, np.inf):
        changed = X.copy()
        changed[2, 1] = bad
        with pytest.raises(ValueError, match=rf"X\[2, 1\] = {bad}"):
            LpProblem(cupy.asarray(changed), cupy.asarray(Y))


@pytest.mark.gpu
def test_a_checkpoint_on_a_real_gpu(tmp_path):
    path, models = tmp_path / "run.npz", rates()
    whole = sweep(PROBLEM, models, 3000, backend="cuda")
    sweep(
        PROBLEM, models, 3000, backend="cuda", checkpoint=path,
        callback=lambda step, losses: step >= 100,
    )  # fmt: skip
    again = sweep(PROBLEM, models, 3000, backend="cuda", checkpoint=path)
    for ours, theirs in zip(again, whole, strict=True):
        assert_same(ours, theirs)
