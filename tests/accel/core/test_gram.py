"""The Gram form of p = 2 is not used where it has not the digits that a run needs."""

import logging

import numpy as np
import pytest

import accel
from accel import LinearNetwork, LpProblem, grid_search, stable_rate, sweep, train
from accel._runs.checks import limits
from accel._runs.methods import methods_of
from accel._support.backends import resolve
from accel.kernels.specs import TARGET, Loss, ModelSpec

BACKENDS = ["reference", "cpu"]
RATE = accel.GradientDescent(0.2)


def problem(noise=0.1, of_x=1.0, of_y=1.0, n=400, **how):
    rng = np.random.default_rng(5)
    X, W = rng.standard_normal((n, 6)), rng.standard_normal(6)
    y = X @ W + noise * rng.standard_normal(n)
    return LpProblem(of_x * X, of_y * y, p=2, **how)


def start(given, depth=1):
    return LinearNetwork.for_problem(given, depth, width=6, init="orthogonal", scale=0.5)


def method_of(given, **stops):
    return train(given, start(given), RATE, 1, **stops).method


def test_a_usual_target_and_tolerance_leave_it_as_it_is():
    given = problem()
    assert given.method == "auto"
    assert method_of(given) == "gram"
    assert method_of(given, target=0.011, tol=1e-9) == "gram"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_target_that_only_the_direct_pass_can_tell(backend, caplog):
    """Residuals are 1e-9, their squares 1e-18, and rounding errors of the loss by X'X 1e-15."""
    given, target = problem(noise=1e-9), 1.2e-18
    with caplog.at_level(logging.INFO, "accel"):
        result = train(given, start(given), RATE, 2000, target=target, backend=backend)
    assert "in place of the Gram method: target = 1.2e-18 is too low" in caplog.text
    assert (result.status, result.method) == ("target", "direct")
    W = result.network.end_to_end()
    residuals = given.X @ W.T - given.Y
    assert result.loss == pytest.approx(float(np.mean(residuals**2)), rel=1e-6)
    assert 1e-19 < result.loss <= target

    # The loss by the Gram form, had it been used:
    kernels = resolve(backend)
    model = ModelSpec((6, 1), start(given).params, RATE.rule)
    loop = kernels.loop.TrainingLoop(given.X, given.Y, Loss(2.0, 1.0, "gram"), [model])
    loop.advance(result.steps + 200, target=target)
    misjudged = abs(loop.evaluate()[0, 1] - given.loss(loop.params(0)[None]))
    assert loop.statuses[0] != TARGET or given.loss(loop.params(0)[None]) > target
    assert misjudged > 10 * target


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("offset", [0.0, 1e6, 1e8])
def test_the_loss_of_a_good_fit_is_that_of_the_network(backend, outputs, offset):
    """With targets of 1e8 and residuals of 1e-3, X'X alone would give losses of -10."""
    rng = np.random.default_rng(0)
    X = np.column_stack([np.ones(3000), rng.standard_normal(3000)])
    Y = offset + X @ rng.standard_normal((2, outputs)) + 1e-3 * rng.standard_normal((3000, outputs))
    given = LpProblem(X, Y, p=2, scale="1/p")
    networks = [LinearNetwork((2, outputs), init=[np.zeros((outputs, 2))])] * 2
    models = [(networks[0], RATE), (networks[1], accel.GradientDescent(0.9))]
    for result in sweep(given, models, 300, backend=backend):
        assert result.method == "gram"
        W = result.network.end_to_end()
        residuals = X @ W.T - Y
        assert result.loss == pytest.approx(float(np.sum(residuals**2)) / 6000, rel=1e-5)
        slope = residuals.T @ X / 3000
        assert result.history.gradient_norm[-1] == pytest.approx(np.linalg.norm(slope), rel=0.1)
        assert (result.history.loss >= 0).all()


def test_a_usual_fit_needs_no_pass(monkeypatch):
    monkeypatch.setattr(LpProblem, "single_pass", lambda *_: pytest.fail("the data was read"))
    given = problem()
    train(given, start(given), RATE, 1000)
    with np.errstate(all="ignore"):
        assert train(given, start(given), accel.GradientDescent(1e3), 1000).status == "diverged"


def test_a_tolerance_below_its_rounding_errors():
    given = problem()
    assert method_of(given, tol=1e-11) == "gram"
    assert method_of(given, tol=1e-15) == "direct"


def test_more_weights_at_the_start_make_more_rounding_errors():
    given, network = problem(), start(problem())
    target, large = 1e-6, network.with_params(1e3 * network.params)
    assert train(given, network, RATE, 1, target=target).method == "gram"
    assert train(given, large, RATE, 1, target=target).method == "direct"


def test_asked_for_by_name_it_refuses():
    given = problem(noise=1e-9, method="gram")
    with pytest.raises(ValueError, match=r"'gram' has not the digits.*target = 1e-18 is too low"):
        train(given, start(given), RATE, 1, target=1e-18)
    with pytest.raises(ValueError, match="tol = 1e-18 is too low"):
        sweep(given, [(start(given), RATE)], 1, tol=1e-18)
    assert train(given, start(given), RATE, 1).method == "gram"


def test_everything_that_trains_asks():
    given = problem(noise=1e-9)
    search = grid_search(given, start(given), RATE, 3, learning_rates=[0.1], target=1e-18)
    assert {result.method for result in search.results} == {"direct"}
    swept = sweep(given, [(start(given), RATE)] * 2, 3, target=1e-18)
    assert [result.method for result in swept] == ["direct"] * 2
    result = train(given, start(given), RATE, 3, learning_rate="auto", tol=1e-16)
    assert result.method == "direct"


@pytest.mark.parametrize("of_x", [1e-170, 1e-145, 1e148, 1e170])
def test_data_whose_squares_leave_the_range(of_x):
    """They vanish or overflow in X'X; passes over the data give the run of data of size 1."""
    given, usual = problem(of_x=of_x), problem(method="direct")
    network = start(usual).with_params(start(usual).params / of_x)
    ours = train(given, network, accel.GradientDescent(1e-300), 1)
    assert ours.method == "direct"
    expected = usual.loss(start(usual).end_to_end())
    assert ours.history.loss[0] == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match="squares of the data overflow or vanish"):
        method_of(problem(of_x=of_x, method="gram"))
    if 1e-150 < of_x < 1e150:  # otherwise the rate itself leaves the range
        rate = stable_rate(given, network, RATE) * of_x * of_x
        assert rate == pytest.approx(stable_rate(usual, start(usual), RATE), rel=0.01)


def test_a_feature_of_zeros_is_no_matter():
    X = np.random.default_rng(0).standard_normal((50, 4))
    X[:, 2] = 0
    assert method_of(LpProblem(X, X[:, 0], p=2), target=1e-3) == "gram"
    assert method_of(LpProblem(X, np.zeros(50), p=2)) == "gram"
    X[3, 2] = 1e-200
    assert method_of(LpProblem(X, X[:, 0], p=2), target=1e-3) == "direct"


def test_the_rounding_errors_are_what_it_takes_them_for():
    """Rounding errors are below the estimate that decides, but not far below."""
    for n, condition in ((100, 1.0), (3000, 1e6), (100_000, 1e12)):
        rng = np.random.default_rng(n)
        U, V = (np.linalg.qr(rng.standard_normal((size, 8)))[0] for size in (n, 8))
        X = np.sqrt(n) * (U * np.logspace(0, -np.log10(condition), 8)) @ V.T
        W = rng.standard_normal((1, 8))
        given = LpProblem(X, X @ W.T, p=2)  # the loss at W is 0
        lowest = 1e-6 * np.array([1e-4, 1e4])  # of targets, beside the loss at 0
        at_zero = given.loss(np.zeros((1, 8)))
        chosen = [
            methods_of(given, [(LinearNetwork((8, 1), init=[W]), RATE)], limits(1, 1, 0.0, t))
            for t in lowest * at_zero
        ]
        assert chosen == [["direct"], ["gram"]]
        kernels = resolve("cpu").lp_loss
        value, _ = kernels.gram_loss_and_gradient(*kernels.gram(given.X, given.Y), n, W, 1.0)
        size = (np.linalg.norm(given.Y) + np.linalg.norm(W) * np.linalg.norm(X)) ** 2
        assert abs(value) <= size / np.sqrt(n) * 2.0**-53
