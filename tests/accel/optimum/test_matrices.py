"""The optimum of losses that see the matrix itself, beside that of the same loss on samples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accel
from accel import MatrixCompletion, MatrixFactorization, MatrixSensing
from accel._optimum import matrices
from accel.datasets import make_low_rank
from accel.losses import Expectile, Exponential, Huber, LogCosh, Logistic, Lp, Pinball
from accel.recording import DistanceTo
from accel.tuning import Grid, Model, compare

from .test_nuclear import proof

NUMBERS = [Lp(1.0), Lp(1.5), Lp(2.0, "1/p"), Lp(4.0), Huber(0.1), Pinball(0.3), Expectile(0.8),
           LogCosh()]  # fmt: skip
LABELS = [Logistic(), Exponential()]


def samples(problem):
    """The same loss as one of X and y, the map being vec(W)."""
    if isinstance(problem, MatrixSensing):
        return accel.Problem(problem.rows, problem.values, problem.loss_function)
    X = np.zeros((problem.n, problem.k * problem.d))
    X[np.arange(problem.n), problem.places[:, 0] * problem.d + problem.places[:, 1]] = 1
    return accel.Problem(X, problem.values, problem.loss_function)


def problem_of(kind, loss, rng, n=60, k=5, d=4, size=1.0):
    """Observations that contradict each other, or measurements of which some are dependent."""
    labels = loss in LABELS
    values = rng.choice([-1.0, 1.0], n) if labels else size * rng.standard_normal(n)
    if kind == "sensing":
        A = rng.standard_normal((n, k, d))
        A[:, 0] = A[:, -1]
        return MatrixSensing(A, values, loss)
    return MatrixCompletion((k, d), rng.integers(0, k, n), rng.integers(0, d, n), values, loss)


def check(problem, best, tol=1e-6):
    """That W has the loss and the norm that are named, and that the proof of the norm holds."""
    noise = 1e-28 * problem.loss(np.zeros(best.W.shape))
    assert problem.loss(best.W) == pytest.approx(best.loss, rel=1e-12, abs=noise)
    nuclear = best.nuclear
    assert nuclear.W is best.W
    assert nuclear.nuclear_norm == pytest.approx(np.linalg.norm(best.W, "nuc"), rel=1e-12)
    assert np.linalg.norm(proof(problem, nuclear), 2) <= 1 + 1e-9
    if isinstance(problem, MatrixSensing):
        predictions = problem.rows @ best.W.ravel()
    else:
        predictions = best.W[tuple(problem.places.T)]
    assert nuclear.lower_bound == pytest.approx(nuclear.multipliers @ predictions, rel=1e-9)
    assert -1e-12 * nuclear.nuclear_norm <= nuclear.gap <= tol * nuclear.nuclear_norm


@pytest.mark.parametrize("loss", NUMBERS + LABELS, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("kind", ["completion", "sensing"])
def test_it_is_the_optimum_of_the_same_loss_on_samples(kind, loss):
    """No W has a lower loss; the least Frobenius norm has a nuclear norm that is no lower."""
    problem = problem_of(kind, loss, np.random.default_rng(3))
    best, other = accel.optimum(problem), accel.optimum(samples(problem))
    check(problem, best)
    assert best.status == other.status
    assert best.loss == pytest.approx(other.loss, abs=best.duality_gap + other.duality_gap)
    assert best.rank == other.rank
    np.testing.assert_allclose(best.singular_values, other.singular_values, atol=1e-12)
    if best.status == "optimal":
        assert best.converged
        assert best.duality_gap <= 2e-10 * best.loss
    gradient = problem.gradient(best.W)
    kinks = isinstance(loss, Pinball) or loss == Lp(1.0)
    assert best.gradient_norm == pytest.approx(
        np.linalg.norm(gradient), rel=1e-6, abs=1.0 if kinks else 1e-15
    )
    least = np.linalg.norm(other.W.reshape(best.W.shape), "nuc")
    if loss not in LABELS and not kinks and (kind == "sensing" or loss.quadratic):
        assert best.nuclear.nuclear_norm <= least * (1 + 1e-9)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["completion", "sensing"]),
    loss=st.sampled_from([Lp(1.0), Lp(2.0), Huber(1.0), Pinball(0.7)]),
    n=st.integers(1, 30),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    size=st.sampled_from([1e-3, 1.0, 1e3]),
)
def test_no_matrix_has_a_loss_below_the_bound(seed, kind, loss, n, shape, size):
    rng = np.random.default_rng(seed)
    problem = problem_of(kind, loss, rng, n, *shape, size)
    best = accel.optimum(problem)
    least = best.loss - best.duality_gap
    for step in (1e-6, 1e-2, 1.0):
        other = best.W + step * size * rng.standard_normal(shape)
        assert problem.loss(other) >= least
    assert problem.loss(np.zeros(shape)) >= least
    assert np.linalg.norm(proof(problem, best.nuclear), 2) <= 1 + 1e-9


@pytest.mark.parametrize("seen", [{"observed": 90}, {"measurements": 90}])
def test_the_least_nuclear_norm_of_what_agrees(seen):
    """Without contradictions it is ``minimum_nuclear_norm``, and agrees with what was seen."""
    made = make_low_rank((15, 12), 3, seed=2, **seen)
    best, least = accel.optimum(made.problem), accel.minimum_nuclear_norm(made.problem)
    check(made.problem, best)
    assert (best.status, best.converged, best.rank) == ("optimal", True, 90)
    assert best.loss <= best.duality_gap <= 1e-28
    if "observed" in seen:
        assert best.duality_gap == 0
        assert made.problem.loss(best.W) == 0
        assert (best.gradient_norm, best.newton_decrement, best.iterations) == (0, 0, 0)
    assert abs(best.nuclear.nuclear_norm - least.nuclear_norm) <= least.gap + best.nuclear.gap
    single = make_low_rank((15, 12), 3, seed=2, **seen, dtype="f4").problem
    found = accel.optimum(single)
    assert found.W.dtype == np.float64
    assert found.converged


def test_a_known_matrix_is_its_own_optimum():
    M = np.random.default_rng(0).standard_normal((4, 6))
    best = accel.optimum(MatrixFactorization(M, "huber(0.5)"))
    assert best.W.tobytes() == M.tobytes()
    assert (best.loss, best.duality_gap, best.status, best.rank) == (0, 0, "optimal", 24)
    dual = best.nuclear.multipliers.reshape(M.shape)
    assert np.linalg.norm(dual, 2) <= 1
    assert best.nuclear.nuclear_norm == pytest.approx(np.linalg.norm(M, "nuc"))
    assert best.nuclear.gap <= 1e-13 * best.nuclear.nuclear_norm
    assert np.shares_memory(best.W, M) is False
    labels = accel.optimum(MatrixFactorization(np.sign(M), "logistic"))
    assert labels.status == "separable"
    assert labels.duality_gap == pytest.approx(labels.loss)
    np.testing.assert_array_equal(np.sign(labels.W), np.sign(M))


def test_as_many_measurements_as_entries():
    """Then W is unique, and the matrix that proves its norm is U V'."""
    rng = np.random.default_rng(1)
    truth, A = rng.standard_normal((3, 4)), rng.standard_normal((20, 3, 4))
    problem = MatrixSensing(A, np.tensordot(A, truth))
    best = accel.optimum(problem)
    check(problem, best)
    np.testing.assert_allclose(best.W, truth, rtol=1e-12)
    u, _, vt = np.linalg.svd(truth, full_matrices=False)
    np.testing.assert_allclose(proof(problem, best.nuclear), u @ vt, atol=1e-9)
    assert (best.nuclear.rank, best.nuclear.iterations) == (3, 0)


def test_contradicting_observations_have_their_mean():
    """For p = 2; the third entry is free, and 2 makes the rank 1 of least norm."""
    problem = MatrixCompletion((2, 2), [0, 0, 0, 1], [0, 0, 1, 0], [0.0, 2.0, 2.0, 2.0])
    best = accel.optimum(problem)
    check(problem, best)
    np.testing.assert_allclose(best.W, [[1, 2], [2, 1]], atol=1e-2)
    np.testing.assert_array_equal(best.W[0], [1, 2])
    assert best.loss == 0.5
    np.testing.assert_allclose(best.singular_values, [np.sqrt(2), 1, 1, 0])


def test_a_search_that_ends_early_says_so(monkeypatch):
    monkeypatch.setattr(matrices, "_NORM_ITERATIONS", 3)
    for seen in ({"observed": 90}, {"measurements": 90}):
        best = accel.optimum(make_low_rank((15, 12), 3, seed=2, **seen).problem)
        assert (best.status, best.converged) == ("max_iter", False)
        assert not best.nuclear.converged
        assert best.duality_gap <= 1e-28


def test_digits_that_the_change_of_matrix_loses():
    """Large measurements, small residuals: W of least norm may not keep the digits of the fit."""
    rng = np.random.default_rng(6)
    A = rng.standard_normal((30, 4, 4))
    A[:, 0] = A[:, 1]
    y = 6e11 * np.tensordot(A, rng.standard_normal((4, 4))) + rng.standard_normal(30)
    best = accel.optimum(MatrixSensing(A, y), tol=1e-7)
    other = accel.optimum(accel.Problem(A.reshape(30, -1), y), tol=1e-7)
    assert best.duality_gap > 1e-7 * best.loss > other.duality_gap
    assert best.duality_gap >= best.loss - other.loss > 0
    assert (best.status, other.status) == ("stalled", "optimal")


def test_runs_take_it_as_a_target():
    """``train``, ``DistanceTo``, plots and ``compare`` use what every ``Optimum`` has."""
    problem = make_low_rank((8, 6), 1, 30, seed=2).problem
    best = accel.optimum(problem)
    network = accel.LinearNetwork.for_problem(problem, 2, width=6, init="near_zero", scale=0.1)
    result = accel.train(
        problem, network, accel.GradientDescent(1.0), 5000, target=best.loss + 1e-6,
        backend="reference", record=DistanceTo(best.W),
    )  # fmt: skip
    assert result.status == "target"
    assert 0 <= result.loss - best.loss <= 1e-6
    off = np.linalg.norm(result.network.end_to_end() - best.W)
    (recorded,) = result.history.recorded.values()
    assert recorded[-1] == pytest.approx(off)
    compared = compare(
        problem, [Model("gd", 1), Model("gd", 2)], 20, grid=Grid(2), backend="reference"
    )
    assert compared.best.loss == best.loss
    assert all(tuned.distance == tuned.result.loss for tuned in compared.models)


@pytest.mark.parametrize(
    ("kind", "match", "call"),
    [
        (ValueError, "tol must be finite and > 0, got 0",
         lambda: accel.optimum(MatrixFactorization([[1.0]]), tol=0)),
        (ValueError, "max_iter must be >= 1, got 0",
         lambda: accel.optimum(MatrixFactorization([[1.0]]), max_iter=0)),
        (ValueError, "backend must be one of",
         lambda: accel.optimum(MatrixFactorization([[1.0]]), backend="gpu")),
        (ValueError, "rcond must be >= 0, got -1",
         lambda: accel.optimum(MatrixFactorization([[1.0]]), rcond=[-1.0])),
        (ValueError, "rcond must have one value a feature, 4, got shape",
         lambda: accel.optimum(MatrixSensing(np.ones((1, 2, 2)), [1.0]), rcond=[0.1])),
    ],
)  # fmt: skip
def test_refused(kind, match, call):
    with pytest.raises(kind, match=match):
        call()
