"""The fused pass over the data.

Data and weights lie on a lattice (multiples of 1/8) coarse enough for every product and sum of a
residual to be exact in both dtypes. So zero residuals occur and are exactly zero, the order of
summation cannot excuse an error, and the tolerances are those of a power and a sum.
"""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from accel.kernels.specs import Loss

POWERS = [1.0, 1.5, 2.0, 3.0, 4.0]
DTYPES = [np.float32, np.float64]
TOLERANCE = {np.float32: 2e-5, np.float64: 1e-12}
LAYOUTS = ["C", "F", "strided", "reversed"]


def lattice(rng, shape, dtype):
    return (rng.integers(-16, 17, shape) / 8).astype(dtype)


def problem(seed, n, d, k, dtype):
    rng = np.random.default_rng(seed)
    return tuple(lattice(rng, shape, dtype) for shape in [(n, d), (n, k), (k, d)])


def definition(X, Y, W, loss):
    """Loss, gradient and the sums of the absolute values of their terms, in float64."""
    X, Y, W = (a.astype(np.float64) for a in (X, Y, W))
    r = np.einsum("id,cd->ic", X, W) - Y
    scale = loss.factor / len(X)
    slope = np.zeros_like(r)
    slope[r > 0] = loss.p * r[r > 0] ** (loss.p - 1)
    slope[r < 0] = -loss.p * (-r[r < 0]) ** (loss.p - 1)
    value = scale * np.sum(abs(r) ** loss.p)
    return value, scale * (slope.T @ X), scale * (abs(slope).T @ abs(X))


def check(kernels, X, Y, W, loss):
    value, G = kernels.lp_loss.loss_and_gradient(X, Y, W, loss)
    expected_value, expected_G, terms = definition(X, Y, W, loss)
    tolerance = TOLERANCE[X.dtype.type]
    assert isinstance(value, float)
    assert G.dtype == X.dtype
    assert G.shape == W.shape
    # All terms of the loss are positive and summed in float64: only the power is rounded.
    assert abs(value - expected_value) <= min(tolerance, 1e-6) * expected_value
    assert np.all(abs(G - expected_G) <= tolerance * terms)


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 700),
    d=st.integers(1, 300),
    k=st.integers(1, 5),
    p=st.sampled_from(POWERS),
    dtype=st.sampled_from(DTYPES),
    in_text_form=st.booleans(),
    layout=st.sampled_from(LAYOUTS),
)
@example(seed=0, n=1, d=1, k=1, p=4.0, dtype=np.float64, in_text_form=True, layout="C")
@example(seed=0, n=1, d=1, k=2, p=1.0, dtype=np.float32, in_text_form=True, layout="C")
@example(seed=0, n=3, d=300, k=5, p=3.0, dtype=np.float32, in_text_form=False, layout="F")
def test_random_shapes(kernels, lay_out, seed, n, d, k, p, dtype, in_text_form, layout):
    arrays = [lay_out(a, layout) for a in problem(seed, n, d, k, dtype)]
    before = [a.copy() for a in arrays]
    check(kernels, *arrays, Loss(p, 1 / p if in_text_form else 1.0))
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize(("n", "d"), [(2565, 128), (4097, 63), (1023, 257)])
def test_more_rows_than_a_block(kernels, n, d, k, p, dtype):
    check(kernels, *problem(7, n, d, k, dtype), Loss(p))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("p", POWERS)
def test_derivative_at_zero_residual_is_zero(kernels, p, k, dtype):
    X, _, W = problem(3, 37, 19, k, dtype)
    value, G = kernels.lp_loss.loss_and_gradient(X, X @ W.T, W, Loss(p))
    assert value == 0.0
    np.testing.assert_array_equal(G, np.zeros_like(W))


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("p", [1.0, 2.0, 4.0])
def test_float32_loss_of_a_million_rows(kernels, p, k):
    """Few large residuals, then many whose terms a float32 sum would not notice any more."""
    large, small = 4096, 2**20 + 3
    X, W = np.zeros((large + small, 1), np.float32), np.zeros((k, 1), np.float32)
    Y = np.ones((large + small, k), np.float32)
    Y[large:] = np.float32(1e-6 ** (1 / p))
    value, _ = kernels.lp_loss.loss_and_gradient(X, Y, W, Loss(p))
    expected = k * (large + small * float(Y[-1, 0]) ** p) / (large + small)
    assert value == pytest.approx(expected, rel=1e-6)


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 500),
    d=st.integers(1, 300),
    k=st.integers(1, 5),
    dtype=st.sampled_from(DTYPES),
    layout=st.sampled_from(LAYOUTS),
)
def test_gram(kernels, lay_out, seed, n, d, k, dtype, layout):
    X, Y, _ = problem(seed, n, d, k, dtype)
    XX, YX, YY = kernels.lp_loss.gram(lay_out(X, layout), lay_out(Y, layout))
    X, Y = X.astype(np.float64), Y.astype(np.float64)
    assert XX.dtype == YX.dtype == np.float64
    np.testing.assert_array_equal(XX, np.einsum("ia,ib->ab", X, X))  # exact on the lattice
    np.testing.assert_array_equal(YX, np.einsum("ia,ib->ab", Y, X))
    assert np.sum(Y * Y) == YY


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 500),
    d=st.integers(1, 300),
    k=st.integers(1, 5),
    factor=st.sampled_from([0.5, 1.0]),
)
def test_gram_path_is_the_direct_pass(kernels, seed, n, d, k, factor):
    X, Y, W = problem(seed, n, d, k, np.float64)
    value, G = kernels.lp_loss.gram_loss_and_gradient(*kernels.lp_loss.gram(X, Y), n, W, factor)
    expected_value, expected_G, _ = definition(X, Y, W, Loss(2.0, factor))
    # The quadratic form adds up terms that the residuals have cancelled already.
    terms = factor / n * np.sum((abs(X) @ abs(W).T + abs(Y)) ** 2)
    G_terms = 2 * factor / n * (abs(X) @ abs(W).T + abs(Y)).T @ abs(X)
    assert abs(value - expected_value) <= 1e-13 * terms
    assert np.all(abs(G - expected_G) <= 1e-13 * G_terms)
    assert isinstance(value, float)


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 300),
    d=st.integers(1, 100),
    p=st.sampled_from([1.0, 2.0, 3.0, 4.0]),
    dtype=st.sampled_from(DTYPES),
    layout=st.sampled_from(LAYOUTS),
)
def test_hessian(kernels, lay_out, seed, n, d, p, dtype, layout):
    X, Y, W = problem(seed, n, d, 1, dtype)
    H = kernels.lp_loss.hessian(lay_out(X, layout), Y[:, 0], W[0], Loss(p, 0.7))
    X, Y, W = (a.astype(np.float64) for a in (X, Y, W))
    r = X @ W[0] - Y[:, 0]
    weight = {1: 0 * r, 2: 2 + 0 * r, 3: 6 * abs(r), 4: 12 * r**2}[int(p)] * 0.7 / n
    assert H.dtype == np.float64
    bound = 1e-12 * np.einsum("i,ia,ib->ab", weight, abs(X), abs(X))
    assert np.all(abs(H - np.einsum("i,ia,ib->ab", weight, X, X)) <= bound)


@pytest.mark.parametrize("p", [1.5, 2.0, 2.5, 4.0])
def test_hessian_is_the_derivative_of_the_gradient(kernels, p):
    rng = np.random.default_rng(5)
    X, w = rng.standard_normal((40, 7)), rng.standard_normal(7)
    y = X @ w + rng.uniform(0.5, 1.5, 40) * rng.choice([-1, 1], 40)
    loss, h = Loss(p, 1 / p), 1e-5
    H = kernels.lp_loss.hessian(X, y, w, loss)
    for a, e in enumerate(np.eye(7)):
        ahead, behind = (
            kernels.lp_loss.loss_and_gradient(X, y[:, None], (w + s * h * e)[None], loss)[1][0]
            for s in (1, -1)
        )
        np.testing.assert_allclose(H[a], (ahead - behind) / (2 * h), rtol=0, atol=1e-8)


def test_hessian_of_zero_residuals(kernels):
    X, _, W = problem(11, 23, 6, 1, np.float64)
    y = X @ W[0]
    np.testing.assert_allclose(
        kernels.lp_loss.hessian(X, y, W[0], Loss(2.0)), 2 / 23 * X.T @ X, rtol=1e-13, atol=1e-13
    )
    for p in (1.5, 3.0, 4.0):
        H = kernels.lp_loss.hessian(X, y, W[0], Loss(p))
        np.testing.assert_array_equal(H, np.zeros((6, 6)))
