"""The least nuclear norm: its proof, known cases, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accel
from accel import MatrixCompletion, MatrixSensing, minimum_nuclear_norm
from accel.datasets import make_low_rank


def proof(problem, best):
    """The matrix that the multipliers stand for, whose product with what is seen is the bound."""
    if isinstance(problem, MatrixSensing):
        return np.tensordot(best.multipliers, problem.A, 1)
    dual = np.zeros((problem.k, problem.d))
    np.add.at(dual, tuple(problem.places.T), best.multipliers)
    return dual


def check(problem, best, tol=1e-6):
    """That it is what it says: it agrees with what is seen, and its dual proves the bound."""
    assert best.converged
    assert problem.loss(best.W) < 1e-24 * max(problem.loss(np.zeros(best.W.shape)), 1e-300)
    assert best.nuclear_norm == pytest.approx(np.linalg.norm(best.W, "nuc"), rel=1e-12)
    assert np.linalg.norm(proof(problem, best), 2) <= 1 + 1e-12
    bound = float(best.multipliers @ problem.values[:, 0])
    assert best.lower_bound == pytest.approx(bound, rel=1e-12)
    assert -1e-12 * best.nuclear_norm <= best.gap <= tol * best.nuclear_norm
    assert best.gap == best.nuclear_norm - best.lower_bound


@settings(max_examples=25, deadline=None)
@given(
    k=st.integers(1, 12),
    d=st.integers(1, 12),
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([1e-200, 1.0, 1e200]),
    measured=st.booleans(),
)
def test_the_proof(k, d, seed, size, measured):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, k * d + 1))
    if measured:
        A, y = rng.standard_normal((count, k, d)), rng.standard_normal(count)
        problem = MatrixSensing(A[: k * d // 2 + 1], size * y[: k * d // 2 + 1])
    else:
        chosen = rng.choice(k * d, count, replace=False)
        values = size * rng.standard_normal(count)
        problem = MatrixCompletion((k, d), *np.divmod(chosen, d), values)
    best = minimum_nuclear_norm(problem, max_iter=20_000)
    dual = proof(problem, best)
    assert np.linalg.norm(dual, 2) <= 1 + 1e-9
    assert best.gap <= 1e-6 * best.nuclear_norm
    seen = np.tensordot(problem.A, best.W) if measured else best.W[tuple(problem.places.T)]
    np.testing.assert_allclose(seen / size, problem.values[:, 0] / size, rtol=0, atol=1e-9)
    assert best.residual <= 1e-9 * size


def test_the_least_completions_that_are_known():
    """Of [[1, 2], [2, ?]] it is [[1, 2], [2, 1]], norm 4; of a row or a column zeros elsewhere."""
    problem = MatrixCompletion((2, 2), [0, 0, 1], [0, 1, 0], [1.0, 2.0, 2.0])
    best = minimum_nuclear_norm(problem, tol=1e-10)
    check(problem, best, 1e-10)
    np.testing.assert_allclose(best.W, [[1, 2], [2, 1]], atol=1e-4)
    assert best.nuclear_norm == pytest.approx(4, rel=1e-9)
    row = MatrixCompletion((1, 3), [0, 0], [0, 2], [3.0, 4.0])
    best = minimum_nuclear_norm(row)
    check(row, best)
    np.testing.assert_allclose(best.W, [[3, 0, 4]], atol=1e-2)
    whole = MatrixCompletion((2, 2), [0, 0, 1, 1], [0, 1, 0, 1], [1.0, 2.0, 3.0, 4.0])
    np.testing.assert_array_equal(minimum_nuclear_norm(whole).W, [[1, 2], [3, 4]])


@pytest.mark.parametrize("seen", [{"observed": 450}, {"measurements": 300}])
def test_what_it_recovers(seen):
    made = make_low_rank((30, 25), 2, **seen)
    best = minimum_nuclear_norm(made.problem)
    check(made.problem, best)
    assert best.rank == 2
    np.testing.assert_allclose(best.W, made.truth, atol=1e-3)
    single = make_low_rank((30, 25), 2, **seen, dtype="f4")
    assert minimum_nuclear_norm(single.problem, tol=1e-4).W.dtype == np.float64


def test_other_solutions_have_larger_norms():
    """A network of depth 1, which finds the nearest solution, and small changes of the least."""
    made = make_low_rank((15, 12), 3, 90, seed=2)
    best = minimum_nuclear_norm(made.problem)
    network = accel.LinearNetwork.for_problem(made.problem, 1, scale=0.0)
    found = accel.train(made.problem, network, accel.GradientDescent(20), 200).network.end_to_end()
    assert made.problem.loss(found) < 1e-20
    assert np.linalg.norm(found, "nuc") > best.nuclear_norm + best.gap
    assert np.linalg.norm(made.truth, "nuc") >= best.lower_bound
    rng = np.random.default_rng(0)
    for _ in range(20):
        change = rng.standard_normal(best.W.shape)
        change[tuple(made.problem.places.T)] = 0
        assert np.linalg.norm(best.W + 0.01 * change, "nuc") >= best.lower_bound


def test_repeated_observations():
    """That agree are one; that do not have no matrix in common."""
    twice = MatrixCompletion((2, 2), [0, 0, 0, 1], [0, 0, 1, 0], [1.0, 1.0, 2.0, 2.0])
    best = minimum_nuclear_norm(twice)
    check(twice, best)
    assert np.count_nonzero(best.multipliers) <= 3
    with pytest.raises(ValueError, match="contradict each other, as at row 0, column 1"):
        minimum_nuclear_norm(MatrixCompletion((2, 2), [0, 0, 0], [0, 1, 1], [1.0, 1.0, 2.0]))


def test_zeros_and_an_early_end(caplog):
    zero = minimum_nuclear_norm(MatrixCompletion((2, 3), [0], [1], [0.0]))
    assert (zero.nuclear_norm, zero.lower_bound, zero.rank, zero.converged) == (0, 0, 0, True)
    assert not zero.W.any()
    problem = make_low_rank((15, 12), 3, 90, seed=2).problem
    with caplog.at_level("INFO", "accel"):
        early = minimum_nuclear_norm(problem, tol=1e-12, max_iter=7)
    assert not early.converged
    assert early.iterations == 7
    assert "the gap to the least nuclear norm is" in caplog.text
    best = minimum_nuclear_norm(problem)
    assert early.lower_bound <= best.nuclear_norm
    assert early.nuclear_norm >= best.lower_bound
    assert problem.loss(early.W) < 1e-25


@pytest.mark.parametrize(
    ("kind", "match", "call"),
    [
        (TypeError, "problem must be of type MatrixCompletion or MatrixSensing, got None",
         lambda: minimum_nuclear_norm(None)),
        (TypeError, "MatrixCompletion or MatrixSensing, got MatrixFactorization",
         lambda: minimum_nuclear_norm(accel.MatrixFactorization([[1.0]]))),
        (ValueError, "tol must be finite and > 0, got 0",
         lambda: minimum_nuclear_norm(MatrixCompletion((1, 1), [0], [0], [1]), tol=0)),
        (ValueError, "max_iter must be >= 1, got 0",
         lambda: minimum_nuclear_norm(MatrixCompletion((1, 1), [0], [0], [1]), max_iter=0)),
        (ValueError, "measurements must be linearly independent",
         lambda: minimum_nuclear_norm(MatrixSensing(np.ones((2, 2, 2)), [1, 1]))),
        (ValueError, "measurements must be linearly independent",
         lambda: minimum_nuclear_norm(MatrixSensing(np.ones((2, 1, 1)), [1, 1]))),
    ],
)  # fmt: skip
def test_refused(kind, match, call):
    with pytest.raises(kind, match=match):
        call()
