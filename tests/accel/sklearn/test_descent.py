"""How descent on the factors ends: its rules, saddles that it leaves or reports, intercepts."""

import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.6")

from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning

from accel import EndToEnd, GradientDescent, LinearNetwork, LpProblem, optimum, train
from accel._runs import rates, training
from accel.kernels.reference import factor_chain
from accel.sklearn import LpRegressor, descent, starts

from ..optimum.test_optimum import regression

X, Y = regression(60, 4, 3)
y = Y[:, 0]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("ACCEL_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def diabetes():
    return load_diabetes(return_X_y=True)


def loss(model, p, X, y, weight=None):
    return np.average(np.abs(y - model.predict(X)) ** p, axis=0, weights=weight)


def best_loss(p, X, y):
    return optimum(LpProblem(np.column_stack([X, np.ones(len(X))]), y, p)).loss


DEEP = [
    {"depth": 2, "solver": "gradient"},
    {"depth": 4, "solver": "end_to_end"},
    {"depth": 6, "solver": "gradient"},
    {"depth": 3, "solver": "gradient", "optimizer": "gd"},
]


@pytest.mark.parametrize("seed", [None, 0, 1])
@pytest.mark.parametrize("how", DEEP, ids=str)
def test_deep_nets_find_the_minimum(how, seed, diabetes):
    model = LpRegressor(4, random_state=seed, tol=1e-4, max_iter=20_000, **how).fit(*diabetes)
    assert model.status_ == "converged"
    assert loss(model, 4, *diabetes) == pytest.approx(best_loss(4, *diabetes), rel=1e-4)


@pytest.mark.parametrize("how", DEEP, ids=str)
def test_so_they_do_from_uphill(how, diabetes, monkeypatch):
    """They shrink towards the saddle at 0 and leave it."""
    random_map = starts.random_map
    monkeypatch.setattr(starts, "random_map", lambda *arguments: -random_map(*arguments))
    model = LpRegressor(4, random_state=0, tol=1e-4, max_iter=20_000, **how).fit(*diabetes)
    assert loss(model, 4, *diabetes) == pytest.approx(best_loss(4, *diabetes), rel=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 3), (3, 1)])
@pytest.mark.parametrize("depth", [2, 3])
def test_deep_nets_of_every_shape_find_it(shape, depth):
    """A square map, as of a feature and an intercept to two outputs, keeps its orientation."""
    d, k = shape
    for seed in range(6):
        given = regression(40, d, k, seed=seed)
        model = LpRegressor(3, solver="gradient", depth=depth, tol=1e-5, random_state=seed)
        model.fit(*given)
        targets = given[1].reshape(40, k)
        for output, reached in enumerate(np.reshape(loss(model, 3, *given), -1)):
            assert reached == pytest.approx(best_loss(3, given[0], targets[:, output]), rel=1e-4)


def test_a_missing_state_is_no_random_one():
    how = {"solver": "gradient", "depth": 3, "max_iter": 5, "tol": 1e-3}
    with pytest.warns(ConvergenceWarning):
        first, again = (LpRegressor(4, **how).fit(X, Y).coef_ for _ in range(2))
    np.testing.assert_array_equal(first, again)


def warning_of(model, X, y):
    with pytest.warns(ConvergenceWarning) as told:
        model.fit(X, y)
    return str(told[0].message)


def test_a_net_at_a_saddle_is_reported():
    how = {"solver": "gradient", "learning_rate": 0.01, "warm_start": True, "max_iter": 50}
    model = LpRegressor(4, depth=4, fit_intercept=False, **how)
    warning_of(model, X, y)
    model.coef_ = 1e-9 * model.coef_
    told = warning_of(model, X, y)
    assert model.status_ == "saddle"
    assert "the factors are held at a saddle where W is 0; consider another random_state" in told
    model.set_params(depth=1, learning_rate="auto", max_iter=None).fit(X, y)
    assert model.status_ == "converged"


def test_a_missing_rank_is_reported_or_found(monkeypatch):
    """Balanced factors of a map of rank 1 keep rank 1."""
    narrow = lambda problem: np.outer([1.0, 1, 1], problem.gradient(np.zeros((3, 5)))[0]) * -1e-3  # noqa: E731
    monkeypatch.setattr(starts, "downhill_map", narrow)
    how = {"solver": "gradient", "depth": 3, "optimizer": "gd"}
    model = LpRegressor(2, learning_rate=0.05, max_iter=3000, **how)
    assert "saddle of rank 1" in warning_of(model, X, Y)
    assert model.status_ == "saddle"
    model = LpRegressor(2, **how).fit(X, Y)
    assert model.status_ == "converged"
    best = [best_loss(2, X, targets) for targets in Y.T]
    np.testing.assert_allclose(loss(model, 2, X, Y), best, rtol=1e-6)


@pytest.mark.parametrize("solver", ["gradient", "end_to_end"])
@pytest.mark.parametrize("depth", [3, 4])
@pytest.mark.parametrize("p", [2, 4])
def test_decay_of_a_deep_net_is_no_trap(solver, depth, p, diabetes):
    losses = []
    for decay in (0.1, 0.01, 0.001):
        model = LpRegressor(p, depth=depth, solver=solver, weight_decay=decay, tol=1e-4)
        model.fit(*diabetes)
        assert model.status_ == "converged"
        losses.append(loss(model, p, *diabetes) / best_loss(p, *diabetes))
    assert losses == sorted(losses, reverse=True)
    assert losses[0] < 1.2
    assert losses[-1] < 1.002


def test_all_outputs_of_a_deep_net_with_decay_are_fitted():
    """One of the singular values begins where decay is stronger than the loss."""
    targets = X @ [[3.0, 0, 0], [0, 0.5, 0], [0, 0, 0.3], [0, 0, 0]] + [1, 2, 3]
    model = LpRegressor(2, depth=3, weight_decay=0.02, tol=1e-5, standardize=False)
    model.fit(X, targets)
    assert model.status_ == "converged"
    assert np.linalg.svd(model.coef_, compute_uv=False)[-1] > 0.2


def test_where_decay_makes_zero_the_minimum_zero_is_it():
    model = LpRegressor(2, depth=3, weight_decay=10.0).fit(X, y)
    assert model.status_ == "converged"
    np.testing.assert_allclose(model.coef_, 0, atol=1e-6)
    assert model.intercept_ == pytest.approx(y.mean())


def test_where_it_may_not_be_the_minimum_that_is_told():
    """Decay in between: no lower map on the line, and no proof that there is none elsewhere."""
    how = {"fit_intercept": False, "standardize": False, "depth": 3, "random_state": 0}
    model = LpRegressor(2, weight_decay=3.2, **how)
    told = warning_of(model, np.eye(2), [3.0, 3.0])
    assert model.status_ == "saddle"
    assert "at depth 3 holds the factors at a local minimum where W is 0 that may not be" in told


def test_factors_that_fall_back_are_not_helped_up_for_ever():
    """The decay of momentum acts at once, its steps only after a while."""
    how = {"fit_intercept": False, "standardize": False, "depth": 3, "random_state": 0}
    model = LpRegressor(2, weight_decay=2.0, **how)
    told = warning_of(model, np.eye(2), [3.0, 3.0])
    assert model.status_ == "saddle"
    assert "where W is 0; consider another random_state" in told
    assert model.n_iter_ < 5000
    patient = model.set_params(optimizer="gd").fit(np.eye(2), [3.0, 3.0])
    assert patient.status_ == "converged"
    assert patient.coef_.min() > 1


UNFINISHED = [
    {"max_iter": 1},
    {"solver": "gradient", "max_iter": 3},
    {"solver": "gradient", "max_iter": 3, "depth": 3, "weight_decay": 0.1},
    {"solver": "end_to_end", "depth": 2, "max_iter": 3, "standardize": False},
    {"solver": "gradient", "learning_rate": 50.0, "max_iter": 300},
    {"solver": "gradient", "optimizer": "adam", "max_iter": 20},
]


@pytest.mark.parametrize("p", [1, 1.5, 4, 8])
@pytest.mark.parametrize("how", UNFINISHED, ids=str)
def test_the_intercept_is_right_for_coefficients_that_are_not(p, how):
    weight = np.random.default_rng(0).uniform(0.1, 4, len(X))
    model = LpRegressor(p, **{"tol": 1e-14, **how})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X * [1, 9, 0.1, 1] + 3, Y + 20, weight)
    reached = loss(model, p, X * [1, 9, 0.1, 1] + 3, Y + 20, weight)
    for step in (1e-4, -1e-4, 0.1, -0.1, 3.0, -3.0):
        r = Y + 20 - model.predict(X * [1, 9, 0.1, 1] + 3) + step
        assert np.all(reached <= np.average(np.abs(r) ** p, axis=0, weights=weight) * (1 + 1e-12))


@pytest.mark.parametrize("how", [
    {"weight_decay": 0.1},
    {"weight_decay": 0.1, "fit_intercept": False},
    {"weight_decay": 0.1, "optimizer": "nesterov", "depth": 2},
    {"weight_decay": 0.1, "solver": "end_to_end", "depth": 2},
    {"depth": 2, "width": 1},
], ids=str)  # fmt: skip
def test_convergence_is_noticed_within_a_hundred_steps(how):
    """Not at the end of an eighth of ``max_iter`` only."""
    how = {"solver": "gradient", "tol": 1e-6, **how}
    counts = {LpRegressor(2, max_iter=most, **how).fit(X, Y).n_iter_ for most in (16_000, 160_000)}
    assert max(counts) < 2000
    assert all(count % 100 == 0 for count in counts)


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "group-rmsprop", "adagrad"])
@pytest.mark.parametrize("depth", [1, 2])
def test_rules_that_rescale_the_gradient_end_with_decay(optimizer, depth, diabetes):
    how = {"solver": "gradient", "optimizer": optimizer, "weight_decay": 0.01, "depth": depth}
    model = LpRegressor(4, max_iter=30_000, tol=1e-6, **how).fit(*diabetes)
    assert model.status_ == "converged"
    assert 400 <= model.n_iter_ < 30_000
    assert loss(model, 4, *diabetes) < 1.05 * best_loss(4, *diabetes)


def test_the_rate_is_chosen_again_only_after_an_eighth(monkeypatch):
    suggested = []

    def counted(*arguments):
        suggested.append(rates.stable_rate(*arguments))
        return suggested[-1]

    monkeypatch.setattr(training, "stable_rate", counted)
    model = LpRegressor(2, weight_decay=0.3, max_iter=80_000, tol=1e-12).fit(X, y)
    assert len(suggested) == 1
    assert model.n_iter_ < 10_000


@pytest.mark.parametrize("decay", [0.0, 0.2])
@pytest.mark.parametrize("depth", [1, 3])
def test_the_slope_is_that_of_a_step_of_gradient_descent(depth, decay):
    problem = LpProblem(X, Y, 4)
    network = LinearNetwork.for_problem(problem, depth, init="balanced", scale=0.5)
    rule = GradientDescent(1e-3, weight_decay=decay)
    moved = train(problem, network, rule, 1).network.params - network.params
    slope = np.linalg.norm(moved) / 1e-3
    whole = LinearNetwork.for_problem(problem, 1, init=[network.end_to_end()])
    for optimizer, given in ((rule, network), (EndToEnd(1.0, depth), whole)):
        for share, expected in ((1 + 1e-9, True), (1 - 1e-9, False)):
            settled = descent._SmallGradient(problem, given.widths, optimizer, decay, slope * share)
            assert settled(given.params) is expected
    settled = descent._SmallGradient(problem, network.widths, rule, decay, 1e300)
    assert not settled(network.params + np.inf)
    G = problem.gradient(network.end_to_end())
    g = factor_chain.gradients(network.params, network.widths, G) + decay * network.params
    assert slope == pytest.approx(np.linalg.norm(g), rel=1e-9)


def test_the_loss_is_at_rest_after_four_checks_in_a_row_that_are_no_lower():
    problem = LpProblem([[1.0]], [0.0], 1)
    rule = descent._LossAtRest(problem, (1, 1), 0.01)
    looks = [4.0, 3.0, 3.1, 2.999, 2.9, 2.8, 2.8, 3.0, 2.79, 2.8]
    assert [rule(np.array([w])) for w in looks] == [False] * 9 + [True]
    assert not rule(np.array([np.inf]))


@pytest.mark.parametrize("solver", ["newton", "gradient", "end_to_end"])
def test_no_tol_is_blamed_for_numbers_out_of_range(solver):
    targets = 1e7 * (X @ [1.0, 2, 3, 4])
    with pytest.raises(
        ValueError, match=r"overflows for p = 50 in float64: take .* standardize=True"
    ):
        LpRegressor(50, solver=solver, standardize=False).fit(X, targets)
    with pytest.raises(ValueError, match=r"in which y has variance 1: take a smaller p$"):
        LpRegressor(1024, solver=solver).fit(X, targets)


def test_descent_does_not_take_a_vanished_loss_for_a_minimum():
    with pytest.raises(ValueError, match="vanishes for p = 200"):
        LpRegressor(200, solver="gradient", standardize=False).fit(X, 1e-3 * y)


def test_no_tol_is_too_large():
    model = LpRegressor(2, solver="gradient", tol=1e300, standardize=False).fit(X, 1e100 * y)
    assert model.status_ == "converged"


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_both_first_order_solvers_end_at_the_same_map_of_low_rank(dtype):
    """The root of a singular value that decay has made 0, up to rounding, is not small."""
    data = X.astype(dtype), (X @ [[3.0, 0, 0], [0, 2, 0], [0, 0, 0.05], [0, 0, 0]]).astype(dtype)
    how = {"depth": 3, "weight_decay": 0.1, "tol": 1e-6, "standardize": False}
    models = [LpRegressor(2, solver=s, **how).fit(*data) for s in ("gradient", "end_to_end")]
    assert [model.status_ for model in models] == ["converged", "converged"]
    np.testing.assert_allclose(models[0].coef_, models[1].coef_, atol=1e-4)
    assert np.linalg.svd(models[0].coef_, compute_uv=False)[-1] < 1e-6


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("noise", [1.0, 0.1, 0.03])
@pytest.mark.parametrize("p", [4, 8])
@pytest.mark.parametrize("solver", ["gradient", "end_to_end"])
def test_small_residuals_are_no_minimum(solver, p, noise, dtype):
    """For p > 2 the gradient vanishes with the residuals, far from the minimum too."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((100, 2)).astype(dtype)
    b = (A @ [1, 2] + noise * rng.standard_normal(100)).astype(dtype)
    expected = LpRegressor(p, solver="newton").fit(A.astype("f8"), b.astype("f8")).coef_
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = LpRegressor(p, solver=solver, tol=1e-6).fit(A, b)
    assert model.coef_.dtype == dtype
    np.testing.assert_allclose(model.coef_, expected, rtol=1e-3 if dtype == "f4" else 1e-5)


def test_a_fit_without_residuals_ends():
    """It ends where they are tol times the targets, and warns if it does not get there."""
    A = np.random.default_rng(0).standard_normal((100, 2))
    for p, tol in ((3, 1e-7), (8, 1e-3), (8, 1e-7)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model = LpRegressor(p, solver="gradient", tol=tol).fit(A, A @ [1, 2])
        np.testing.assert_allclose(model.coef_, [1, 2], rtol=tol)
    with pytest.warns(ConvergenceWarning, match="tol=1e-08 was not reached by gradient"):
        LpRegressor(20, solver="gradient", max_iter=300).fit(A, A @ [1, 2])
