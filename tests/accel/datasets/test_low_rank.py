"""Matrices of low rank of which something is seen."""

import numpy as np
import pytest

import accel
from accel.datasets import LowRank, make_low_rank


@pytest.mark.parametrize("shape", [(100, 100), (20, 31), (1, 4)])
def test_the_matrix(shape):
    rank = min(5, *shape)
    made = make_low_rank(shape, rank, observed=min(2000, shape[0] * shape[1] // 2))
    assert isinstance(made, LowRank)
    assert made.truth.shape == shape
    assert np.linalg.matrix_rank(made.truth) == rank
    assert np.mean(made.truth**2) == pytest.approx(1)  # as theirs: norm n for n x n


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_entries(noise):
    made = make_low_rank((40, 30), 3, 900, noise=noise, seed=7)
    problem, held_out = made.problem, made.held_out
    assert (problem.k, problem.d, problem.n, held_out.n) == (40, 30, 900, 300)
    assert problem.p == held_out.p == 2
    places = np.vstack([problem.places, held_out.places])
    assert len(np.unique(places, axis=0)) == 1200
    assert held_out.loss(made.truth) == 0
    if noise:
        assert problem.loss(made.truth) == pytest.approx(0.25, rel=0.2)
    else:
        assert problem.loss(made.truth) == 0
    whole = accel.MatrixFactorization(made.truth).loss(np.zeros((40, 30)))
    parts = (
        900 * problem.loss(np.zeros((40, 30))) + 300 * held_out.loss(np.zeros((40, 30)))
    ) / 1200
    assert noise or whole == pytest.approx(parts)


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_measurements(noise):
    made = make_low_rank((20, 10), 2, measurements=3000, noise=noise)
    problem = made.problem
    assert problem.A.shape == (3000, 20, 10)
    assert np.mean(problem.A**2) == pytest.approx(1 / 200, rel=0.02)
    assert problem.loss(np.zeros((20, 10))) == pytest.approx(1 + noise**2, rel=0.1)
    assert problem.loss(made.truth) == pytest.approx(noise**2, rel=0.1, abs=1e-28)
    assert made.held_out.loss(made.truth) == 0
    assert isinstance(made.held_out, accel.MatrixFactorization)


def test_the_same_arguments_give_the_same_bits():
    one, two, other = (make_low_rank((9, 8), 2, 30, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.truth, two.truth)
    np.testing.assert_array_equal(one.problem.places, two.problem.places)
    np.testing.assert_array_equal(one.problem.values, two.problem.values)
    assert not np.array_equal(one.truth, other.truth)
    single = make_low_rank((9, 8), 2, 30, seed=3, dtype="f4")
    assert single.problem.dtype == single.truth.dtype == np.float32
    np.testing.assert_array_equal(single.problem.places, one.problem.places)
    assert make_low_rank((9, 8), 2, measurements=5, dtype="f4").problem.dtype == np.float32


def test_all_entries_leave_none_to_hold_out():
    assert make_low_rank((3, 4), 1, 12).held_out is None


def test_a_deep_network_recovers_it():
    """As in Arora et al. (2019): from a small start depth 3 finds the matrix, depth 1 does not."""
    made = make_low_rank((30, 30), 2, 450)
    # The rate falls to 0, for else Adam jumps away from the end now and then.
    adam = accel.Adam(accel.schedules.CosineDecay(0.01, 3000))
    found = {}
    for depth in (1, 3):
        network = accel.LinearNetwork.for_problem(made.problem, depth, width=30, scale=0.05)
        result = accel.train(
            made.problem, network, adam, 3000, validation=made.held_out,
            record=[accel.recording.RecoveryError(made.truth)], record_every=1000,
        )  # fmt: skip
        assert result.loss < 1e-6
        found[depth] = result.history["recovery_error"][-1]
        error = np.linalg.norm(result.network.end_to_end() - made.truth)
        assert found[depth] == pytest.approx(error / np.linalg.norm(made.truth))
    assert found[3] < 0.1
    assert found[1] > 0.5
