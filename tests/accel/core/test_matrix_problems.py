"""Problems that see the end-to-end matrix itself: their losses, and runs on them."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accel
from accel import (
    LinearNetwork,
    LpProblem,
    MatrixCompletion,
    MatrixFactorization,
    MatrixSensing,
)
from accel._core.curvature import end_to_end_hessian
from accel._core.oracle import Oracle
from accel._runs.rates import first_rate
from accel.losses import Lp

from ..problems import BACKENDS, make_problem

RNG = np.random.default_rng(0)
TRUTH = RNG.standard_normal((12, 2)) @ RNG.standard_normal((2, 15)) / 2
SEEN = np.argwhere(RNG.random(TRUTH.shape) < 0.6)
RULES = [accel.GradientDescent(0.5), accel.Adam(0.01), accel.Nesterov(0.1, weight_decay=1e-3)]


def completion(p=2.0, scale="mean", **arguments):
    rows, columns = SEEN.T
    values = TRUTH[rows, columns]
    if arguments.get("dtype") == "f4":
        values = values.astype("f4")
    return MatrixCompletion(TRUTH.shape, rows, columns, values, Lp(p, scale), **arguments)


MEASURED = RNG.standard_normal((60, *TRUTH.shape)) / 12


def factorization(p=2.0, scale="mean", **arguments):
    return MatrixFactorization(TRUTH, Lp(p, scale), **arguments)


def sensing(p=2.0, scale="mean", **arguments):
    return MatrixSensing(MEASURED, np.tensordot(MEASURED, TRUTH), Lp(p, scale), **arguments)


KINDS = {"completion": completion, "factorization": factorization, "sensing": sensing}
each_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


def start(problem, depth=3, **arguments):
    return LinearNetwork.for_problem(
        problem, depth, **{"width": 12, "init": "orthogonal", "scale": 0.3, **arguments}
    )


def written_out(problem):
    """The same loss as that of an LpProblem: each number that is seen is a sample."""
    if isinstance(problem, MatrixSensing):
        return LpProblem(problem.rows, problem.values, problem.p, scale=problem.scale)
    if isinstance(problem, MatrixCompletion):
        places, values = problem.places, problem.values
    else:
        places, values = np.argwhere(np.ones(problem.M.shape)), problem.M.reshape(-1, 1)
    X = np.zeros((len(values), problem.k * problem.d))
    X[np.arange(len(values)), places[:, 0] * problem.d + places[:, 1]] = 1
    return LpProblem(X, values, problem.p, scale=problem.scale)


# Losses -----------------------------------------------------------------------------------------


@each_kind
@pytest.mark.parametrize("scale", ["mean", "1/p"])
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 4.0])
def test_loss_and_gradient(make, p, scale):
    problem = make(p, scale=scale)
    plain, W = written_out(problem), RNG.standard_normal(TRUTH.shape)
    assert problem.n == plain.n
    expected, G = plain.loss_and_gradient(W.reshape(1, -1), backend="reference")
    for backend in BACKENDS:
        loss, gradient = problem.loss_and_gradient(W, backend=backend)
        assert loss == pytest.approx(expected, rel=1e-13)
        np.testing.assert_allclose(gradient, G.reshape(W.shape), rtol=1e-12, atol=1e-15)
    assert problem.loss(W) == loss
    np.testing.assert_array_equal(problem.gradient(W), gradient)
    np.testing.assert_array_equal(problem.single_pass(W, problem.resolve("cpu"))[1], gradient)


@each_kind
@pytest.mark.parametrize("p", [1.5, 2.0, 3.0])
def test_second_derivative(make, p):
    problem = make(p)
    W, V = RNG.standard_normal((2, *TRUTH.shape))
    product = Oracle(problem).hessian_product(W, V)
    expected = Oracle(written_out(problem)).hessian_product(W.reshape(1, -1), V.reshape(1, -1))
    np.testing.assert_allclose(product, expected.reshape(W.shape), rtol=1e-11, atol=1e-13)
    h = 1e-6
    slopes = (problem.gradient(W + h * V) - problem.gradient(W - h * V)) / (2 * h)
    np.testing.assert_allclose(product, slopes, rtol=1e-4, atol=1e-4)


def test_a_factorization_is_the_mean_over_its_entries():
    problem, W = MatrixFactorization(TRUTH), np.zeros(TRUTH.shape)
    assert problem.loss(W) == pytest.approx(np.mean(TRUTH**2))
    identity = LpProblem(np.eye(15), TRUTH.T, p=2)
    assert identity.loss(W, backend="reference") == pytest.approx(12 * problem.loss(W))


def test_an_entry_that_is_observed_twice_counts_twice():
    twice = MatrixCompletion((2, 2), [0, 1, 0], [1, 0, 1], [1.0, 5.0, 3.0])
    assert twice.loss([[0, 2], [0, 0]]) == pytest.approx((1 + 25 + 1) / 3)
    np.testing.assert_allclose(twice.gradient(np.zeros((2, 2))), [[0, -8 / 3], [-10 / 3, 0]])
    network = LinearNetwork.for_problem(twice, 1, init=[np.zeros((2, 2))])
    result = accel.train(twice, network, accel.GradientDescent(0.5), 400)
    np.testing.assert_allclose(result.network.end_to_end(), [[0, 2], [5, 0]], atol=1e-12)


@pytest.mark.parametrize("k", [1, 2])
def test_the_shape_of_a_gradient(k):
    problem = MatrixCompletion((k, 3), [0], [2], [1.0])
    W = np.zeros(3) if k == 1 else np.zeros((k, 3))
    assert problem.gradient(W).shape == W.shape


def test_dtypes_and_what_is_kept():
    rows, columns = SEEN.T.astype(np.uint8)
    single = MatrixCompletion(TRUTH.shape, rows, columns, TRUTH[rows, columns].astype("f4"))
    assert single.dtype == np.float32
    assert single.gradient(np.zeros(TRUTH.shape)).dtype == np.float32
    assert MatrixCompletion((1, 1), [0], [0], [1]).dtype == np.float64
    assert completion(dtype="float32").dtype == np.float32
    np.testing.assert_array_equal(single.places, SEEN)
    problem = completion()
    assert repr(problem) == (
        f"MatrixCompletion(n={len(SEEN)}, d=15, k=12, p=2, scale='mean', dtype=float64, "
        "method='auto')"
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        problem.values = None
    with pytest.raises(TypeError, match="has no columns of X"):
        problem.squares  # noqa: B018 - it is a property


# Runs -------------------------------------------------------------------------------------------


@each_kind
@pytest.mark.parametrize("p", [2.0, 3.0])
@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_backends_agree(make, p, dtype):
    problem = make(p, dtype=dtype)
    network = start(problem)
    tolerance = 1e-10 if dtype == "f8" else 2e-4
    for rule in RULES:
        ours, theirs = (
            accel.train(problem, network, rule, 60, record_every=7, backend=backend)
            for backend in ("cpu", "reference")
        )
        assert ours.method == "direct"
        assert ours.backend == "cpu"
        np.testing.assert_allclose(ours.history.loss, theirs.history.loss, rtol=tolerance)
        np.testing.assert_allclose(
            ours.network.params, theirs.network.params, rtol=0, atol=tolerance
        )


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_some_hundred_steps_of_torch(depth):
    torch = pytest.importorskip("torch")
    problem = completion()
    network, rate = start(problem, depth), 0.3
    factors = [torch.tensor(W, requires_grad=True) for W in network.factors]
    rows, columns = map(torch.tensor, SEEN.T)
    values = torch.tensor(TRUTH[tuple(SEEN.T)])
    rule = torch.optim.SGD(factors, rate, momentum=0.8)
    losses = []
    for _ in range(300):
        rule.zero_grad()
        W = factors[0]
        for factor in factors[1:]:
            W = factor @ W
        loss = ((W[rows, columns] - values) ** 2).mean()
        losses.append(float(loss.detach()))
        loss.backward()
        rule.step()
    result = accel.train(problem, network, accel.Momentum(rate, 0.8), 300, record_every=1)
    np.testing.assert_allclose(result.history.loss[:-1], losses, rtol=1e-8)
    for ours, theirs in zip(result.network.factors, factors, strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=0, atol=1e-9)


@each_kind
@pytest.mark.parametrize("threads", [1, 2])
def test_a_sweep_is_as_many_runs(make, threads):
    problem = make()
    models = [(start(problem, depth), rule) for depth in (1, 3) for rule in RULES]
    models.append((start(problem, 1), accel.EndToEnd(0.1, 3)))
    for (network, rule), ours in zip(
        models, accel.sweep(problem, models, 50, record_every=9, threads=threads), strict=True
    ):
        alone = accel.train(problem, network, rule, 50, record_every=9)
        if make is sensing:  # passes for several maps add up in another order
            np.testing.assert_allclose(ours.network.params, alone.network.params, atol=1e-12)
            np.testing.assert_allclose(ours.history.loss, alone.history.loss, rtol=1e-10)
            continue
        np.testing.assert_array_equal(ours.network.params, alone.network.params)
        np.testing.assert_array_equal(ours.history.loss, alone.history.loss)


@each_kind
@pytest.mark.parametrize("backend", BACKENDS)
def test_resumed_is_as_never_interrupted(make, backend, tmp_path):
    problem, path = make(), tmp_path / "run.npz"
    network, rule = start(problem), accel.Adam(0.01)
    options = {"record_every": 10, "record": "nuclear_norm", "backend": backend}
    whole = accel.train(problem, network, rule, 400, **options)
    stopped = accel.train(
        problem, network, rule, 400, checkpoint=path, callback=lambda step, _: step >= 20, **options
    )
    assert stopped.status == "interrupted"
    resumed = accel.train(problem, network, rule, 400, checkpoint=path, **options)
    assert resumed.status == "completed"
    np.testing.assert_array_equal(resumed.network.params, whole.network.params)
    for name in ("step", "loss", "nuclear_norm"):
        np.testing.assert_array_equal(resumed.history[name], whole.history[name])


def test_a_checkpoint_knows_what_was_observed(tmp_path):
    problem, path = completion(), tmp_path / "run.npz"
    accel.train(problem, start(problem), RULES[0], 5, checkpoint=path)
    rows, columns = SEEN.T
    moved = MatrixCompletion(TRUTH.shape, rows, columns[::-1], TRUTH[rows, columns])
    taller = MatrixCompletion((13, 15), rows, columns, TRUTH[rows, columns])
    for other in (moved, taller):
        with pytest.raises(ValueError, match=r"belongs to another run \(data: "):
            accel.train(other, start(other), RULES[0], 5, checkpoint=path)


def test_what_is_recorded():
    problem = completion()
    unseen = np.argwhere(np.ones(TRUTH.shape))
    unseen = np.array([place for place in unseen if not (place == SEEN).all(axis=1).any()])
    held_out = MatrixCompletion(TRUTH.shape, *unseen.T, TRUTH[tuple(unseen.T)])
    network = start(problem, scale=0.1)
    names = ["singular_values(3)", "effective_rank", "nuclear_norm", "sharpness", "step_size",
             "end_to_end_sharpness", "alignment"]  # fmt: skip
    result = accel.train(
        problem, network, accel.GradientDescent(0.5), 3000, record=names, validation=held_out,
        record_every=500,
    )  # fmt: skip
    last, W = result.history, result.network.end_to_end()
    assert last["validation_loss"][-1] == held_out.loss(W)
    assert last["nuclear_norm"][-1] == pytest.approx(np.linalg.norm(W, "nuc"))
    assert last["end_to_end_sharpness"][-1] == pytest.approx(2 / problem.n)
    assert last["sharpness"][-1] == pytest.approx(
        accel.theory.sharpness(problem, result.network), rel=1e-5
    )
    assert last["validation_loss"][-1] < 0.02 * last["validation_loss"][0]  # depth completes it


@pytest.mark.parametrize("p", [1.5, 2.0, 4.0])
@each_kind
def test_rates(make, p):
    """Of all three: the rate for one run, one that follows the loss, and a search."""
    problem = make(p)
    network = start(problem, 2, scale=0.05)
    rate = accel.stable_rate(problem, network, accel.GradientDescent(1.0))
    result = accel.train(problem, network, accel.GradientDescent(rate), 300)
    assert result.loss < result.history.loss[0]
    follows = accel.train(problem, network, accel.GradientDescent(1.0), 300, learning_rate="auto")
    assert follows.loss < result.history.loss[0]
    found = accel.grid_search(problem, network, accel.GradientDescent(1.0), 60)
    assert found.best.loss < result.history.loss[0]


def test_the_first_rate_of_a_search():
    """Half of what the curvature at 0 allows."""
    twice = MatrixCompletion((2, 2), [0, 1, 0], [1, 0, 1], [1.0, 5.0, 3.0])
    assert first_rate(twice, "gd") == pytest.approx(1 / (2 * 2 / 3))
    product = end_to_end_hessian(Oracle(twice), np.zeros((2, 2)))
    assert max(product(row).max() for row in np.eye(4)) == pytest.approx(2 * 2 / 3)
    assert first_rate(twice, "adam") == first_rate(make_problem(), "adam")
    assert first_rate(MatrixFactorization([[1e200]], Lp(4)), "gd") == np.finfo(float).tiny


@settings(max_examples=15, deadline=None)
@given(
    k=st.integers(1, 30),
    d=st.integers(1, 30),
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(["f8", "f4"]),
)
def test_gradient_descent_on_one_factor_is_known(k, d, seed, dtype):
    """Entries do not interact: each goes to its value by the same factor a step, or stays."""
    rng = np.random.default_rng(seed)
    M, W = rng.standard_normal((2, k, d)).astype(dtype)
    seen = rng.random((k, d)) < 0.5
    seen[0, 0] = True
    problem = MatrixCompletion((k, d), *np.nonzero(seen), M[seen])
    network = LinearNetwork.for_problem(problem, 1, init=[W])
    rate = problem.n / 20
    ended = accel.train(problem, network, accel.GradientDescent(rate), 7).network.end_to_end()
    tolerance = 1e-5 if dtype == "f4" else 1e-13
    np.testing.assert_array_equal(ended[~seen], W[~seen])
    expected = M[seen] + 0.9**7 * (W - M)[seen]
    np.testing.assert_allclose(ended[seen], expected, rtol=tolerance, atol=tolerance)


def test_gradient_flow_of_one_factor_is_known():
    """Every observed entry relaxes exponentially, and the others stay."""
    pytest.importorskip("scipy")
    problem = completion()
    W = np.random.default_rng(1).standard_normal(TRUTH.shape)
    network = LinearNetwork.for_problem(problem, 1, init=[W])
    t = 0.7 * problem.n
    flow = accel.theory.factor_flow(problem, network, t)
    expected, at = W.copy(), tuple(SEEN.T)
    expected[at] = TRUTH[at] + np.exp(-2 * t / problem.n) * (W - TRUTH)[at]
    np.testing.assert_allclose(flow.matrices[-1], expected, atol=1e-7)


@pytest.mark.parametrize("p", [2.0, 3.0])
@pytest.mark.parametrize("writable", [True, False])
def test_nothing_is_written_to(p, writable):
    M = accel._support.arrays.aligned(TRUTH.copy())
    A = accel._support.arrays.aligned(np.ones((6, 2, 16)))
    rows, columns = SEEN.T.copy()
    values = accel._support.arrays.aligned(TRUTH[rows, columns])
    given = M, A, rows, columns, values
    before = [array.tobytes() for array in given]
    for array in given:
        array.flags.writeable = writable
    for problem in (
        MatrixFactorization(M, Lp(p)),
        MatrixSensing(A, np.arange(6.0), Lp(p)),
        MatrixCompletion(M.shape, rows, columns, values, Lp(p)),
    ):
        for backend in BACKENDS:
            accel.train(problem, start(problem, 2), accel.Adam(0.1), 5, backend=backend)
    assert [array.tobytes() for array in given] == before
    assert all(array.flags.writeable is writable for array in given)


# What is refused --------------------------------------------------------------------------------


def test_measurements_are_not_copied_if_they_need_not_be():
    A = accel._support.arrays.aligned_empty((5, 2, 8), np.dtype("f8"))
    A[:] = 1
    problem = MatrixSensing(A, np.ones(5))
    assert problem.A is A
    assert np.shares_memory(problem.rows, A)
    single = MatrixSensing(A.astype("f4"), np.ones(5, "f4"))
    assert single.dtype == np.float32
    best = accel.optimum(LpProblem(problem.rows, problem.values, 2))
    assert problem.loss(best.W.reshape(2, 8)) < 1e-25


def test_what_needs_samples_says_so():
    problem = completion()
    with pytest.raises(TypeError, match="are numbers seen of a matrix, and this needs X and y"):
        accel.theory.closed_curve_integral(
            MatrixCompletion((1, 2), [0], [0], [1.0]), 2, np.ones(2), 1, 2
        )
    with pytest.raises(ValueError, match="validation must have d = 15 features and k = 12 outputs"):
        accel.train(problem, start(problem), RULES[0], 1, validation=MatrixFactorization([[1.0]]))
