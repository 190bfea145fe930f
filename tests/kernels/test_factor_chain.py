"""End-to-end matrix and per-factor gradients."""

from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.kernels.specs import Loss

DTYPES = [np.float32, np.float64]
TOLERANCE = {np.float32: 1e-4, np.float64: 1e-12}


def shapes(widths):
    return list(zip(widths[1:], widths[:-1], strict=True))


def random_params(rng, widths, dtype=np.float64):
    blocks = [rng.standard_normal((m, n)) / np.sqrt(n) for m, n in shapes(widths)]
    return np.concatenate([block.ravel() for block in blocks]).astype(dtype)


def unpacked(params, widths):
    factors, start = [], 0
    for m, n in shapes(widths):
        factors.append(params[start : start + m * n].reshape(m, n).astype(np.float64))
        start += m * n
    assert start == params.size
    return factors


def definition(params, widths, G):
    """W_e and all gradients, every product written out, in float64."""
    factors = unpacked(params, widths)

    def product(some, size):
        return reduce(lambda left, W: W @ left, some, np.eye(size))

    grads = [
        product(factors[j + 1 :], widths[j + 1]).T @ G @ product(factors[:j], widths[0]).T
        for j in range(len(factors))
    ]
    return product(factors, widths[0]), np.concatenate([g.ravel() for g in grads])


def check(kernels, params, widths, G):
    W = kernels.factor_chain.end_to_end(params, widths)
    grads = kernels.factor_chain.gradients(params, widths, G)
    expected_W, expected_grads = definition(params, widths, G.astype(np.float64))
    # Element by element, against the same sums over absolute values.
    W_terms, grads_terms = definition(abs(params), widths, abs(G).astype(np.float64))
    tolerance = TOLERANCE[params.dtype.type]
    assert W.dtype == grads.dtype == params.dtype
    assert W.shape == G.shape
    assert grads.shape == params.shape
    assert np.all(abs(W - expected_W) <= tolerance * W_terms)
    assert np.all(abs(grads - expected_grads) <= tolerance * grads_terms)


@given(
    seed=st.integers(0, 2**32 - 1),
    d=st.integers(1, 300),
    hidden=st.lists(st.integers(1, 40), max_size=7),
    k=st.integers(1, 5),
    dtype=st.sampled_from(DTYPES),
)
def test_random_networks(kernels, seed, d, hidden, k, dtype):
    rng = np.random.default_rng(seed)
    widths = (d, *hidden, k)
    params = random_params(rng, widths, dtype)
    G = rng.standard_normal((k, d)).astype(dtype)
    before = params.copy(), G.copy()
    check(kernels, params, widths, G)
    np.testing.assert_array_equal(params, before[0])
    np.testing.assert_array_equal(G, before[1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "widths",
    [(7, *[1] * 63, 1), (5, *[3, 2, 4] * 21, 2), (128, 100, 100, 1), (30, 300, 2), (1, 1), (9, 4)],
    ids=["64 of width 1", "64 of widths 2 to 4", "128-100-100-1", "wide", "scalar", "one factor"],
)
def test_named_shapes(kernels, widths, dtype):
    rng = np.random.default_rng(1)
    G = rng.standard_normal((widths[-1], widths[0])).astype(dtype)
    check(kernels, random_params(rng, widths, dtype), widths, G)


def test_one_factor_is_its_own_matrix_but_a_copy(kernels):
    params = np.arange(6.0)
    W = kernels.factor_chain.end_to_end(params, (3, 2))
    np.testing.assert_array_equal(W, params.reshape(2, 3))
    assert not np.shares_memory(W, params)
    grads = kernels.factor_chain.gradients(params, (3, 2), W)
    np.testing.assert_array_equal(grads, params)
    assert not np.shares_memory(grads, W)


def network_losses(batch, widths, X, Y, p):
    """L^N at every row of ``batch``, layer by layer."""
    activations, start = X.T, 0
    for m, n in shapes(widths):
        activations = batch[:, start : start + m * n].reshape(-1, m, n) @ activations
        start += m * n
    return np.mean(np.sum(abs(activations - Y.T) ** p, axis=1), axis=1)


def test_central_differences_on_1000_networks(kernels):
    rng = np.random.default_rng(20180219)
    h = 2e-6
    for trial in range(1000):
        depth, p = 1 + trial % 8, float(rng.choice([1.0, 1.5, 2.0, 3.0, 4.0]))
        n, d, k = (int(rng.integers(1, top)) for top in (9, 7, 6))
        widths = (d, *rng.integers(1, 7, depth - 1).tolist(), k)
        params, X = random_params(rng, widths), rng.standard_normal((n, d))
        W = kernels.factor_chain.end_to_end(params, widths)
        # Residuals away from 0, where |r|^p is smooth for every p and differences are honest.
        residual = rng.uniform(0.5, 1.5, (n, k)) * rng.choice([-1, 1], (n, k))
        Y = X @ W.T - residual
        _, G = kernels.lp_loss.loss_and_gradient(X, Y, W, Loss(p))
        grads = kernels.factor_chain.gradients(params, widths, G)
        moves = h * np.eye(params.size)
        ahead, behind = (network_losses(params + s * moves, widths, X, Y, p) for s in (1, -1))
        error = np.max(abs(grads - (ahead - behind) / (2 * h)))
        assert error <= 1e-7 * max(1.0, np.max(abs(grads))), f"network {trial}: {widths}, p = {p}"
