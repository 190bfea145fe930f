"""Sample weights of a problem: integer weights are repeated rows, in everything that takes one."""

import pickle
import warnings

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import accel
from accel import LpProblem, Problem
from accel._core.weighting import scaled_rows, weight_roots
from accel._runs.rates import first_rate
from accel.losses import Expectile, Huber, Logistic, Lp, Pinball

RNG = np.random.default_rng(3)
X = RNG.standard_normal((14, 3))
Y = RNG.standard_normal((14, 2))
COUNTS = np.array([0, 1, 1, 2, 3, 1, 4, 1, 0, 2, 1, 1, 2, 1])
RULE = accel.GradientDescent(0.1)
LOSSES = [Lp(1), Lp(1.5, "1/p"), Lp(2), Lp(4), Lp(7.5), Pinball(0.8), Expectile(0.3)]


def both(loss, weight=COUNTS, k=2):
    """Return the weighted problem, and the one with repeated rows."""
    repeated = np.repeat(np.arange(len(X)), COUNTS)
    weighted = Problem(X, Y[:, :k], loss, sample_weight=weight)
    return weighted, Problem(X[repeated], Y[repeated, :k], loss)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_weights_are_repeated_rows(loss):
    weighted, repeated = both(loss)
    W = RNG.standard_normal((2, 3))
    values = [p.loss_and_gradient(W, backend="reference") for p in (weighted, repeated)]
    for a, b in zip(*values, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    assert weighted.n == np.count_nonzero(COUNTS)
    np.testing.assert_allclose(weighted.sample_weight.mean(), 1.0)
    best, of_rows = (accel.optimum(p, backend="reference") for p in (weighted, repeated))
    assert best.loss == pytest.approx(of_rows.loss, rel=1e-9)
    assert abs(best.loss - of_rows.loss) <= best.duality_gap + of_rows.duality_gap + 1e-14


@given(
    hnp.arrays(float, 14, elements=st.floats(0, 1e6)),
    st.floats(1e-100, 1e100),
    st.floats(1, 12),
)
def test_the_scale_of_weights_is_none(weight, scale, p):
    if not (weight * scale).any() or (weight > 0).tolist() != (weight * scale > 0).tolist():
        return
    one, other = (LpProblem(X, Y, p, sample_weight=w) for w in (weight, weight * scale))
    W = np.ones((2, 3))
    expected = np.average((np.abs(X @ W.T - Y) ** p).sum(axis=1), weights=weight)
    for problem in (one, other):
        assert problem.loss(W, backend="reference") == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("loss", [Lp(1.5), Pinball(0.8), Lp(2), Lp(4)], ids=repr)
def test_runs_and_rates_are_those_of_repeated_rows(loss):
    weighted, repeated = both(loss, k=1)
    network = accel.LinearNetwork.for_problem(weighted, depth=2, init="balanced", seed=1)
    rates = [accel.stable_rate(p, network, RULE) for p in (weighted, repeated)]
    assert rates[0] == pytest.approx(rates[1], rel=1e-6)
    assert first_rate(weighted, "gd") == pytest.approx(first_rate(repeated, "gd"), rel=1e-9)
    rule, how = accel.Momentum(0.01), {"steps": 20, "backend": "reference", "progress": False}
    one, other = (accel.train(p, network, rule, **how) for p in (weighted, repeated))
    np.testing.assert_allclose(one.history.loss, other.history.loss, rtol=1e-9)


def test_batches_are_unbiased():
    problem = LpProblem(X, Y, 4, sample_weight=COUNTS)
    W, whole = np.ones((2, 3)), 0.0
    batches = accel.Batches(problem.n, 4, "none")
    for step in range(batches.steps_per_epoch):
        rows = batches.rows(step)
        part = LpProblem(problem.X[rows], problem.Y[rows], 4)
        whole += len(rows) / problem.n * part.loss(W, backend="reference")
    assert whole == pytest.approx(problem.loss(W, backend="reference"))


def test_data_keep_their_dtype_and_weights_are_part_of_them():
    problem = LpProblem(X.astype("f4"), Y.astype("f4"), 3, sample_weight=COUNTS)
    assert problem.X.dtype == problem.Y.dtype == np.float32
    assert "weighted" in repr(problem)
    assert len(problem.fingerprint) == 3
    assert len(LpProblem(X, Y).fingerprint) == 2
    copy = pickle.loads(pickle.dumps(problem))
    np.testing.assert_array_equal(copy.sample_weight, problem.sample_weight)
    ones = LpProblem(X, Y, 3, sample_weight=np.full(14, 0.1))
    np.testing.assert_array_equal(ones.X, X)


def test_another_loss_keeps_the_weights():
    weighted, repeated = both(Lp(1))
    for problem in (weighted.with_loss(Lp(3)), weighted.with_loss(Pinball(0.2))):
        loss = problem.loss_function
        other = Problem(repeated.X, repeated.Y, loss)
        W = np.ones((2, 3))
        assert problem.loss(W, backend="reference") == pytest.approx(
            other.loss(W, backend="reference"), rel=1e-12
        )
    with pytest.raises(ValueError, match="repeat rows instead"):
        weighted.with_loss(Huber())
    assert repeated.with_loss(Huber()).loss_function == Huber()


def test_roots_of_weights_near_the_end_of_the_range():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        root = weight_roots(np.array([1e308, 1e308, 1e-300]), 1.0)
    np.testing.assert_allclose(root, [1.5, 1.5, 0], atol=1e-290)
    a = RNG.standard_normal((70_000, 2))
    rows = scaled_rows(a, np.arange(70_000.0), a.dtype)
    np.testing.assert_array_equal(rows, a * np.arange(70_000.0)[:, np.newaxis])


@pytest.mark.parametrize("loss", [Huber(), Logistic(), accel.losses.LogCosh()], ids=repr)
def test_losses_that_take_none(loss):
    with pytest.raises(ValueError, match=r"sample_weight is for losses that scale .*, got"):
        Problem(X, np.sign(Y[:, :1]), loss, sample_weight=COUNTS)
