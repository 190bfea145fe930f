"""The end-to-end rule's preconditioner.

The end-to-end matrices are products of small integer matrices divided by powers of 2, so that a
rank below min(k, d) is exact and not a matter of rounding.
"""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

DTYPES = [np.float32, np.float64]
TOLERANCE = {np.float32: 1e-4, np.float64: 1e-10}


def matrix_of_rank(rng, k, d, rank):
    left, right = rng.integers(-3, 4, (k, rank)), rng.integers(-3, 4, (rank, d))
    return (left @ right) / 8.0


def well_conditioned(W, rank):
    sigma = np.linalg.svd(W, compute_uv=False)
    return rank == 0 or sigma[rank - 1] > 1e-2 * sigma[0]


def fractional_power(A, exponent):
    """The power of a positive semi-definite matrix, with ``[A]^0 = I``."""
    if exponent == 0:
        return np.eye(len(A))
    values, vectors = np.linalg.eigh(A)
    values[values < 1e-10 * values[-1]] = 0
    return (vectors * np.maximum(values, 0) ** exponent) @ vectors.T


def theorem_1(W, G, depth):
    W, G = W.astype(np.float64), G.astype(np.float64)
    return sum(
        fractional_power(W @ W.T, (j - 1) / depth)
        @ G
        @ fractional_power(W.T @ W, (depth - j) / depth)
        for j in range(1, depth + 1)
    )


def largest_eigenvalue(W, depth):
    return depth * np.linalg.norm(W.astype(np.float64), 2) ** (2 - 2 / depth)


@given(
    seed=st.integers(0, 2**32 - 1),
    k=st.integers(1, 5),
    d=st.integers(1, 300),
    rank=st.integers(0, 5),
    depth=st.integers(1, 8),
    dtype=st.sampled_from(DTYPES),
)
def test_theorem_1(kernels, seed, k, d, rank, depth, dtype):
    rng = np.random.default_rng(seed)
    rank = min(rank, k, d)
    W = matrix_of_rank(rng, k, d, rank).astype(dtype)
    assume(well_conditioned(W, rank))
    G = rng.standard_normal((k, d)).astype(dtype)
    before = W.copy(), G.copy()
    result = kernels.precondition.precondition(W, G, depth)
    assert result.dtype == dtype
    bound = TOLERANCE[dtype] * largest_eigenvalue(W, depth) * np.linalg.norm(G)
    assert np.linalg.norm(result - theorem_1(W, G, depth)) <= bound
    np.testing.assert_array_equal(W, before[0])
    np.testing.assert_array_equal(G, before[1])


def operator(kernels, W, depth):
    """P_W as a (k d, k d) matrix on row-major vectors, column by column."""
    basis = np.eye(W.size).reshape(-1, *W.shape)
    columns = [kernels.precondition.precondition(W, E, depth).ravel() for E in basis]
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("depth", [1, 2, 3, 8])
@pytest.mark.parametrize(
    ("k", "d", "rank"),
    [(1, 6, 1), (1, 6, 0), (2, 5, 2), (3, 7, 2), (4, 4, 4), (4, 4, 1), (5, 2, 2), (3, 1, 1)],
)
def test_claim_1(kernels, k, d, rank, depth):
    rng = np.random.default_rng(31)
    W = matrix_of_rank(rng, k, d, rank)
    while np.linalg.matrix_rank(W) < rank or not well_conditioned(W, rank):
        W = matrix_of_rank(rng, k, d, rank)
    P = operator(kernels, W, depth)
    scale = 1e-10 * max(largest_eigenvalue(W, depth), 1e-300)
    np.testing.assert_allclose(P, P.T, rtol=0, atol=scale)
    U, sigma, Vt = np.linalg.svd(W)
    left, right = np.zeros(k), np.zeros(d)
    left[:rank] = right[:rank] = sigma[:rank]
    for r in range(k):
        for s in range(d):
            vector = np.outer(U[:, r], Vt[s]).ravel()
            eigenvalue = sum(
                left[r] ** (2 * (j - 1) / depth) * right[s] ** (2 * (depth - j) / depth)
                for j in range(1, depth + 1)
            )
            np.testing.assert_allclose(P @ vector, eigenvalue * vector, rtol=0, atol=scale)
    assert np.linalg.eigvalsh((P + P.T) / 2)[0] >= -scale


@given(
    seed=st.integers(0, 2**32 - 1),
    k=st.integers(1, 5),
    d=st.integers(1, 60),
    depth=st.integers(1, 8),
)
def test_symmetric_positive_semi_definite(kernels, seed, k, d, depth):
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((k, d))
    A, B = rng.standard_normal((2, k, d))
    PA, PB = (kernels.precondition.precondition(W, G, depth) for G in (A, B))
    scale = 1e-10 * largest_eigenvalue(W, depth)
    assert abs(np.sum(A * PB) - np.sum(B * PA)) <= scale * np.linalg.norm(A) * np.linalg.norm(B)
    assert np.sum(A * PA) >= -scale * np.sum(A * A)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("k", "d"), [(1, 1), (1, 9), (3, 9), (9, 3)])
def test_one_factor_is_the_identity(kernels, k, d, dtype):
    rng = np.random.default_rng(2)
    G = rng.standard_normal((k, d)).astype(dtype)
    for W in (matrix_of_rank(rng, k, d, min(k, d)).astype(dtype), np.zeros((k, d), dtype)):
        result = kernels.precondition.precondition(W, G, 1)
        np.testing.assert_allclose(result, G, rtol=0, atol=30 * np.finfo(dtype).eps)
        assert not np.shares_memory(result, G)


@pytest.mark.parametrize("rank", [0, 1, 2])
@pytest.mark.parametrize("depth", [2, 3, 8])
@pytest.mark.parametrize(("k", "d"), [(3, 50), (50, 3), (5, 5)])
def test_rounding_of_float32_adds_no_rank(kernels, k, d, depth, rank):
    """The product has this rank, the nearest float32 matrix full rank."""
    rng = np.random.default_rng(6)
    left, right = rng.standard_normal((k, rank)), rng.standard_normal((rank, d))
    W, G = left @ right, rng.standard_normal((k, d))
    result = kernels.precondition.precondition(W.astype(np.float32), G.astype(np.float32), depth)
    bound = 1e-4 * np.linalg.norm(theorem_1(W, G, depth))
    assert np.linalg.norm(result - theorem_1(W, G, depth)) <= bound


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 3), (3, 2)])
def test_what_counts_as_zero(kernels, shape, dtype):
    """A singular value of up to max(k, d) roundings of the largest, and no larger one."""
    for roundings, eigenvalue in ((2.9, 0.0), (3.1, 3.1)):
        W, G = np.zeros((2, *shape), dtype)
        W[0, 0], W[1, 1] = 0.25, 0.25 * roundings * np.finfo(dtype).eps
        G[1, 1] = 1.0
        result = kernels.precondition.precondition(W, G, 2)
        expected = 2 * 0.25 * eigenvalue * np.finfo(dtype).eps * G
        np.testing.assert_allclose(result, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("scale", [1e-90, 1e-60, 1e60, 1e90])
@pytest.mark.parametrize("depth", [2, 3])
def test_scale(kernels, depth, scale):
    """P_W(G) is homogeneous of degree 2 - 2/N in W."""
    rng = np.random.default_rng(9)
    W, G = rng.standard_normal((2, 3, 8))
    result = kernels.precondition.precondition(scale * W, G, depth)
    expected = kernels.precondition.precondition(W, G, depth)
    np.testing.assert_allclose(result / scale ** (2 - 2 / depth), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("depth", [2, 3, 8])
@pytest.mark.parametrize("k", [1, 3])
def test_zero_matrix_stays(kernels, k, depth):
    result = kernels.precondition.precondition(np.zeros((k, 7)), np.ones((k, 7)), depth)
    np.testing.assert_array_equal(result, np.zeros((k, 7)))


@pytest.mark.parametrize("depth", range(1, 9))
def test_claim_2_is_the_general_form(kernels, depth):
    """One output, by itself and as the first of two of which the second is dead."""
    rng = np.random.default_rng(depth)
    for d in (1, 2, 17, 128):
        w, g = rng.standard_normal((2, 1, d))
        zero = np.zeros((1, d))
        norm = np.linalg.norm(w)
        along = np.sum(w * g) / norm**2 * w
        claim = norm ** (2 - 2 / depth) * (g + (depth - 1) * along)
        alone = kernels.precondition.precondition(w, g, depth)
        pair = kernels.precondition.precondition(np.vstack([w, zero]), np.vstack([g, zero]), depth)
        np.testing.assert_allclose(alone, claim, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(pair, np.vstack([claim, zero]), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("weight_decay", [0.0, 0.2])
@pytest.mark.parametrize("depth", [1, 2, 3, 8])
@pytest.mark.parametrize(
    ("k", "d", "hidden"), [(1, 6, 1), (1, 6, 4), (3, 5, 3), (3, 5, 7), (4, 2, 3)]
)
def test_first_order_of_balanced_factors(kernels, k, d, hidden, depth, weight_decay):
    """d/d(rate) of W_e after one step of gradient descent on balanced factors, at rate 0."""
    rng = np.random.default_rng(77)
    m = min(k, d)
    U, V = (np.linalg.qr(rng.standard_normal((size, m)))[0] for size in (k, d))
    sigma = np.linspace(0.5, 1.5, m)
    W = (U * sigma) @ V.T
    # W_1 = P S V', W_j = P S P', W_N = U S P' with S = sigma^(1/N) and any orthonormal columns P.
    P = np.linalg.qr(rng.standard_normal((hidden, m)))[0]
    bases = [V, *[P] * (depth - 1), U]
    blocks = [(bases[j + 1] * sigma ** (1 / depth)) @ bases[j].T for j in range(depth)]
    widths = (d, *[hidden] * (depth - 1), k)
    params = np.concatenate([block.ravel() for block in blocks])
    G = rng.standard_normal((k, d))
    np.testing.assert_allclose(kernels.factor_chain.end_to_end(params, widths), W, atol=1e-13)

    grads = kernels.factor_chain.gradients(params, widths, G)
    ahead, behind = (
        kernels.factor_chain.end_to_end((1 - s * weight_decay) * params - s * grads, widths)
        for s in (1e-6, -1e-6)
    )
    rule = -weight_decay * depth * W - kernels.precondition.precondition(W, G, depth)
    np.testing.assert_allclose((ahead - behind) / 2e-6, rule, rtol=0, atol=1e-8)
