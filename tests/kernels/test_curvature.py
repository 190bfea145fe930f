"""The Hessian of the network's loss in its factors times a vector."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.kernels.specs import Loss

from .test_factor_chain import random_params

NETWORKS = [(7, 1), (7, 3), (6, 1, 1), (7, 5, 1), (9, 4, 6, 3), (12, 12, 12, 12), (3, 2, 2, 2, 5)]


def data(widths, n=40, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X, Y = rng.standard_normal((n, widths[0])), rng.standard_normal((n, widths[-1]))
    params, direction = (random_params(rng, widths) for _ in range(2))
    return (X.astype(dtype), Y.astype(dtype)), params, direction


def gradient(kernels, data, params, widths, loss):
    W = kernels.factor_chain.end_to_end(params, widths)
    G = kernels.lp_loss.loss_and_gradient(*data, W, loss)[1]
    return G, kernels.factor_chain.gradients(params, widths, G)


def product(kernels, data, params, widths, direction, loss):
    """The Hessian times a direction."""
    W = kernels.factor_chain.end_to_end(params, widths)
    G, _ = gradient(kernels, data, params, widths, loss)
    chain = kernels.curvature.ChainCurvature(params, widths, G)
    chain.product(-3 * params, lambda moved: 0 * moved)  # leaves nothing behind

    def second(moved):
        return kernels.curvature.hessian_product(*data, W, moved, loss)

    return chain.product(direction, second)


@pytest.mark.parametrize("p", [2.0, 2.5, 4.0])
@pytest.mark.parametrize("widths", NETWORKS)
def test_is_the_derivative_of_the_gradient(kernels, widths, p):
    given, params, direction = data(widths)
    loss, h = Loss(p, 1 / p), 1e-5
    ahead, behind = (
        gradient(kernels, given, params + s * h * direction, widths, loss)[1] for s in (1, -1)
    )
    ours = product(kernels, given, params, widths, direction, loss)
    assert ours.shape == params.shape
    differences = (ahead - behind) / (2 * h)
    np.testing.assert_allclose(ours, differences, rtol=0, atol=1e-7 * abs(differences).max())


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 300),
    widths=st.lists(st.integers(1, 40), min_size=2, max_size=5).map(tuple),
    p=st.sampled_from([1.0, 1.5, 2.0, 3.0, 4.0]),
    dtype=st.sampled_from([np.float32, np.float64]),
    layout=st.sampled_from(["C", "F", "strided", "reversed"]),
)
def test_is_the_reference(kernels, plain, lay_out, seed, n, widths, p, dtype, layout):
    (X, Y), params, direction = data(widths, n, seed, dtype)
    placed = tuple(lay_out(a, layout) for a in (X, Y))
    loss = Loss(p, 0.7)
    wide = X.astype(np.float64), Y.astype(np.float64)
    W = plain.factor_chain.end_to_end(params, widths)
    G = np.random.default_rng(seed).standard_normal(W.shape)
    ours, theirs, terms = (
        each.curvature.ChainCurvature(*values)
        for each, values in (
            (kernels, (params, widths, G)), (plain, (params, widths, G)),
            (plain, (abs(params), widths, abs(G))),
        )
    )  # fmt: skip
    moved = ours.tangent(direction)
    expected = theirs.tangent(direction)
    assert moved.shape == W.shape
    assert np.all(abs(moved - expected) <= 1e-13 * terms.tangent(abs(direction)))
    H = kernels.curvature.hessian_product(*placed, W, expected, loss)
    assert H.dtype == np.float64
    r = wide[0] @ W.T - wide[1]
    with np.errstate(divide="ignore"):
        weight = np.where(r == 0, 1.0 if p == 2 else 0.0, abs(r) ** (p - 2)) * (p * (p - 1) * 0.7)
    # Where a residual nearly vanishes, its rounding error decides on its weight for p < 2.
    error = 1e-13 * (abs(wide[0]) @ abs(W).T + abs(wide[1])) / np.where(r == 0, 1, abs(r))
    each = weight * (1 + 1e3 * error) * (abs(wide[0]) @ abs(expected).T)
    bound = (1e-12 + error.max()) / n * (each.T @ abs(wide[0]))
    plainly = plain.curvature.hessian_product(*wide, W, expected, loss)
    assert np.all(abs(H - plainly) <= bound)
    got, expected, scale = (
        chain.product(each, lambda _, H=each_H: H)
        for chain, each, each_H in (
            (ours, direction, H), (theirs, direction, H), (terms, abs(direction), abs(H)),
        )
    )  # fmt: skip
    assert np.all(abs(got - expected) <= 1e-13 * scale)


@pytest.mark.parametrize("widths", NETWORKS)
def test_is_symmetric(kernels, widths):
    given, params, v = data(widths)
    w = random_params(np.random.default_rng(9), widths)
    loss = Loss(4.0)
    left = w @ product(kernels, given, params, widths, v, loss)
    right = v @ product(kernels, given, params, widths, w, loss)
    assert left == pytest.approx(right, rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("p", [1.5, 2.0, 4.0])
def test_one_factor_has_the_hessian_of_the_loss(kernels, p):
    (X, Y), w, v = data((7, 1))
    H = kernels.lp_loss.hessian(X, Y[:, 0], w, Loss(p))
    ours = product(kernels, (X, Y), w, (7, 1), v, Loss(p))
    np.testing.assert_allclose(ours, H @ v, rtol=1e-11)


def test_zero_residuals(kernels):
    X, w, v = data((6, 1))[0][0], np.eye(1, 6), np.arange(6.0)[np.newaxis]
    Y = X @ w.T
    for p, expected in ((1.5, 0 * v), (2.0, 2 / 40 * v @ X.T @ X), (3.0, 0 * v)):
        ours = kernels.curvature.hessian_product(X, Y, w, v, Loss(p))
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12)


def test_whole_vectors_and_more_rows_than_a_tile(kernels, plain):
    widths, loss = (96, 32, 16), Loss(4.0)
    given, params, v = data(widths, n=1000)
    ours, expected = (product(m, given, params, widths, v, loss) for m in (kernels, plain))
    np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-11 * abs(expected).max())


@pytest.mark.parametrize("widths", NETWORKS)
def test_is_what_jax_differentiates(kernels, widths):
    jax = pytest.importorskip("jax")
    given, params, direction = data(widths)
    shapes = list(zip(widths[1:], widths[:-1], strict=True))
    ends = np.cumsum([rows * columns for rows, columns in shapes])[:-1]

    def loss(flat):
        W = None
        for block, shape in zip(jax.numpy.split(flat, ends), shapes, strict=True):
            W = block.reshape(shape) if W is None else block.reshape(shape) @ W
        return jax.numpy.mean(jax.numpy.sum((given[0] @ W.T - given[1]) ** 4, axis=1))

    with jax.enable_x64(True):
        theirs = jax.jvp(jax.grad(loss), (params,), (direction,))[1]
        ours = product(kernels, given, params, widths, direction, Loss(4.0))
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
