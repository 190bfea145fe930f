"""Bases of the input, and the p = 2 loss in the basis of the singular vectors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.kernels.reference.lp_loss import diagonal_loss_and_gradient, loss_and_gradient
from accel.kernels.reference.rotation import outside, row_space, spectral
from accel.kernels.specs import Loss

from .exact import EPS64, LONG, long, needs_long_double

#: In units of eps (|W| |X| + |Y|): what the norm of the residuals is wrong by, as the module says.
MOST = 8


def orthonormal(A):
    np.testing.assert_allclose(A.T @ A, np.eye(A.shape[1]), atol=1e-13)


@st.composite
def data(draw):
    """Data of any shape and rank, with columns and rows of zeros among them, and a map."""
    n, d, k = draw(st.integers(1, 300)), draw(st.integers(1, 30)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rank = draw(st.integers(0, min(n, d)))
    X = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, d))
    X *= 10.0 ** draw(st.integers(-20, 20))
    X[rng.random(n) < 0.1] = 0
    W = rng.standard_normal((k, d))
    Y = X @ W.T + 10.0 ** draw(st.integers(-20, 20)) * rng.standard_normal((n, k))
    return X, Y, W


@given(data())
@settings(max_examples=60, deadline=None)
def test_the_row_space(case):
    X, _, _ = case
    basis, coordinates = row_space(X)
    orthonormal(basis)
    q = min(X.shape)
    assert (basis.shape, coordinates.shape) == ((X.shape[1], q), (len(X), q))
    wrong = np.linalg.norm(coordinates @ basis.T - X, axis=1)
    assert (wrong <= 16 * q * EPS64 * np.linalg.norm(X, axis=1)).all()


@given(data())
@settings(max_examples=60, deadline=None)
def test_the_spectral_form_is_the_loss(case):
    X, Y, W = case
    basis, s, Z, rest = spectral(X, Y)
    orthonormal(basis)
    assert (s >= 0).all()
    assert (np.diff(s) <= 0).all()
    assert (rest == 0) if X.shape[0] <= X.shape[1] else (rest >= 0)
    factor = len(s) / len(X)
    value, slope = diagonal_loss_and_gradient(s, Z, W @ basis, Loss(2.0, factor, "diagonal", rest))
    expected, gradient = loss_and_gradient(X, Y, W, Loss(2.0))
    reach = np.linalg.norm(Y) + np.linalg.norm(W) * np.linalg.norm(X)
    delta, n = 2 * MOST * EPS64 * reach, len(X)
    assert abs(value - expected) <= (2 * delta * np.sqrt(expected * n) + delta**2) / n
    error = np.linalg.norm(slope @ basis.T - gradient)
    assert error <= 2 * delta * np.linalg.norm(X) / n


@needs_long_double
@pytest.mark.parametrize("condition", [1.0, 1e4, 1e8, 1e12])
@pytest.mark.parametrize(
    ("n", "d", "k"), [(30, 5, 1), (300, 40, 1), (20_000, 8, 2), (40, 40, 3), (20, 60, 2)]
)
def test_its_error_whatever_the_condition(n, d, k, condition):
    """Loss and gradient against extended precision, at residuals down to rounding errors."""
    rng, m = np.random.default_rng(n + d), min(n, d)
    U, V = (np.linalg.qr(rng.standard_normal((size, m)))[0] for size in (n, d))
    X = (U * np.logspace(0, -np.log10(condition), m)) @ V.T
    for noise in (0.0, 1e-12, 1e-6, 1.0):
        W = rng.standard_normal((k, d))
        Y = X @ W.T + noise * rng.standard_normal((n, k)) / np.sqrt(n)
        basis, s, Z, rest = spectral(X, Y)
        value, slope = diagonal_loss_and_gradient(s, Z, W @ basis, Loss(2.0, m, "diagonal", rest))
        X_, Y_, W_ = long(X, Y, W)
        r = X_ @ W_.T - Y_
        reach = np.linalg.norm(W) * np.linalg.norm(X) + np.linalg.norm(Y)
        assert abs(np.sqrt(LONG(value)) - np.sqrt(np.sum(r**2))) <= MOST * EPS64 * reach
        wrong = (slope @ basis.T / 2 - r.T @ X_).astype(float)
        assert np.linalg.norm(wrong) <= MOST * EPS64 * reach * np.linalg.norm(X)


@needs_long_double
@pytest.mark.parametrize("condition", [1.0, 1e6, 1e12])
def test_in_float32_it_is_no_worse_than_a_pass(condition):
    rng, (n, d) = np.random.default_rng(3), (400, 24)
    U, V = (np.linalg.qr(rng.standard_normal((size, d)))[0] for size in (n, d))
    X = ((U * np.logspace(0, -np.log10(condition), d)) @ V.T).astype("f4")
    ours, theirs = [], []
    for noise in (1e-3, 1.0):
        for _ in range(20):
            W = rng.standard_normal((1, d)).astype("f4")
            Y = (X @ W.T + noise * rng.standard_normal((n, 1)) / np.sqrt(n)).astype("f4")
            basis, s, Z, rest = spectral(X, Y)
            V_ = (W @ basis).astype("f4")
            value, _ = diagonal_loss_and_gradient(
                s.astype("f4"), Z.astype("f4"), V_, Loss(2.0, d / n, "diagonal", rest)
            )
            direct, _ = loss_and_gradient(X, Y, W, Loss(2.0))
            X_, Y_, W_ = long(X, Y, W)
            exact = np.mean((X_ @ W_.T - Y_) ** 2)
            ours.append(float(abs(value - exact) / exact))
            theirs.append(float(abs(direct - exact) / exact))
    assert np.sqrt(np.mean(np.square(ours))) <= 2 * np.sqrt(np.mean(np.square(theirs)))


@given(data(), st.integers(1, 40), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_what_a_factor_has_outside(case, rows, kind):
    X, _, _ = case
    basis, _ = row_space(X)
    (d, q), rng = basis.shape, np.random.default_rng(rows)
    W = {
        0: lambda: rng.standard_normal((rows, d)),
        1: lambda: rng.standard_normal((rows, q)) @ basis.T,
        2: lambda: np.zeros((rows, d)),
        3: lambda: (
            1e-10 * rng.standard_normal((rows, d)) + rng.standard_normal((rows, q)) @ basis.T
        ),
    }[kind]()
    V = outside(basis, W)
    assert V.shape[1] <= min(rows, d - q)
    both = np.concatenate([basis, V], axis=1)
    orthonormal(both)
    np.testing.assert_allclose(W @ both @ both.T, W, atol=1e-13 * np.linalg.norm(W))
    if kind == 2:
        assert V.shape[1] == 0
    if kind in (0, 3):
        assert V.shape[1] == min(rows, d - q)
