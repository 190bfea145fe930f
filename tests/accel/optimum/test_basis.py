"""The basis of the columns of X: by Cholesky's method or by singular vectors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel._optimum import basis
from accel._optimum.basis import decompose


def conditioned(n, d, condition, seed):
    """A matrix (n, d) with singular values from 1 down to 1 / condition."""
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.standard_normal((m, d)))[0] for m in (n, d))
    return left * np.geomspace(1, 1 / condition, d) @ right.T


def assert_decomposed(X, made, rank):
    """Check what a decomposition claims."""
    A, T = made.basis.A, made.basis.T
    assert T.shape == (X.shape[1], rank)
    assert np.linalg.norm(A.T @ A - np.eye(rank)) <= 2e-7
    scale = np.abs(X).max(axis=0)
    scale[scale == 0] = 1
    assert np.linalg.norm(A - X @ T) <= 2 * made.basis.error
    assert 0.99 <= made.basis.least <= np.linalg.svd(A, compute_uv=False)[-1]
    values = np.linalg.svd(X / scale, compute_uv=False)
    np.testing.assert_allclose(made.values, values, rtol=1e-8, atol=1e-14 * values[0])
    R, S = made.R / scale, X / scale
    np.testing.assert_allclose(R.T @ R, S.T @ S, atol=1e-13 * values[0] ** 2)


@given(
    d=st.integers(1, 20),
    more=st.integers(0, 60),
    digits=st.floats(0, 7),
    spread=st.integers(0, 40),
    seed=st.integers(0, 999),
)
def test_columns_become_orthonormal(d, more, digits, spread, seed):
    """For every condition number, by whichever method, and in any units."""
    X = conditioned(d + more, d, 10.0**digits, seed)
    X *= 10.0 ** np.random.default_rng(seed).integers(-spread, spread + 1, d)
    assert_decomposed(X, decompose(X, 1e-12), d)


@pytest.mark.parametrize("condition", [1, 1e2, 1e4])
def test_both_methods_agree(condition):
    X = conditioned(80, 12, condition, 0)
    scale = np.abs(X).max(axis=0)
    fast, slow = basis._by_cholesky(X, scale, 1e-12), basis._by_singular_vectors(X, scale, 1e-12)
    assert fast is not None
    np.testing.assert_allclose(fast.values, slow.values, rtol=1e-11)
    np.testing.assert_allclose(fast.basis.error, slow.basis.error, rtol=1e-3)
    np.testing.assert_allclose(fast.basis.row_norms, slow.basis.row_norms, rtol=1e-6)
    assert fast.doubtful == slow.doubtful == 0


def doubtful():
    """Data that Cholesky's method leaves to singular vectors, and the rank."""
    X = conditioned(80, 12, 10, 0)
    copied = np.column_stack([X, X[:, 0]])
    return {
        "more columns than rows": (X.T.copy(), 12),
        "a copied column": (copied, 12),
        "a column of zeros": (np.column_stack([X, np.zeros(80)]), 12),
        "nearly dependent": (conditioned(80, 12, 1e9, 0), 12),
        "dependent": (conditioned(80, 12, 1e17, 0), None),
        "tiny": (1e-150 * X, 12),
        "huge": (1e150 * X, 12),
    }


@pytest.mark.parametrize("name", doubtful())
def test_what_is_in_doubt_is_left_to_singular_vectors(name):
    X, rank = doubtful()[name]
    scale = np.abs(X).max(axis=0)
    assert basis._by_cholesky(X, scale, 1e-12) is None
    made = decompose(X, 1e-12)
    assert rank in (None, made.basis.T.shape[1])


def test_large_errors_of_the_entries_leave_it_to_them_too():
    X = conditioned(80, 12, 1e3, 0)
    scale = np.abs(X).max(axis=0)
    assert basis._by_cholesky(X, scale, 1e-12) is not None
    assert basis._by_cholesky(X, scale, 1e-4) is None
    assert decompose(X, 1e-2).basis.T.shape[1] < 12
