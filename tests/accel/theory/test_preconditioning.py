"""Claims 1 and 2: the preconditioner, against theorem 1's sum and the reference kernel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.kernels.reference.precondition import precondition
from accel.theory import preconditioner

few = settings(max_examples=40, deadline=None, derandomize=True)


@st.composite
def cases(draw):
    """W of any rank, made of small integers so that the rank is exact, and a gradient."""
    k, d = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    rank = draw(st.integers(0, min(k, d)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    W = rng.integers(-3, 4, (k, rank)) @ rng.integers(-3, 4, (rank, d)) / 4.0
    return W, rng.standard_normal((k, d)), draw(st.integers(1, 6))


def power(A, exponent):
    """The power of a positive semi-definite matrix, with [A]^0 = I."""
    if exponent == 0:
        return np.eye(len(A))
    values, vectors = np.linalg.eigh(A)
    values[values < 1e-12 * max(values[-1], 1)] = 0
    return (vectors * values**exponent) @ vectors.T


def theorem_1(W, G, N):
    return sum(
        power(W @ W.T, (j - 1) / N) @ G @ power(W.T @ W, (N - j) / N) for j in range(1, N + 1)
    )


@given(cases())
@few
def test_is_the_update_of_theorem_1(case):
    W, G, depth = case
    P = preconditioner(W, depth)
    expected = theorem_1(W, G, depth)
    close = {"rtol": 1e-10, "atol": 1e-10 * max(1.0, np.linalg.norm(W) ** 2)}
    np.testing.assert_allclose(P.apply(G), expected, **close)
    np.testing.assert_allclose(P.dense() @ G.ravel(), expected.ravel(), **close)
    np.testing.assert_allclose(P.apply(G), precondition(W, G, depth), **close)


@given(cases())
@few
def test_spectrum(case):
    W, _, depth = case
    P = preconditioner(W, depth)
    vectors, values = P.eigenvectors(), P.eigenvalues.ravel()
    assert (values >= 0).all()
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(W.size), atol=1e-12)
    size = max(1.0, values.max())
    assert np.linalg.eigvalsh(P.dense()).min() >= -1e-12 * size
    for value, vector in zip(values, vectors.T, strict=True):
        matrix = vector.reshape(W.shape)
        assert np.linalg.matrix_rank(matrix, tol=1e-8) == 1
        np.testing.assert_allclose(P.apply(matrix), value * matrix, atol=1e-12 * size)


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.sampled_from([1e-60, 1.0, 1e60]))
@few
def test_rounding_adds_no_rank(seed, rank, scale):
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((30, rank)) @ rng.standard_normal((rank, 40))
    assert np.count_nonzero(preconditioner(scale * W, 8).sigma) == rank


@pytest.mark.parametrize("largest", [0.25, 16.0])
@pytest.mark.parametrize("shape", [(2, 3), (3, 2)])
def test_what_counts_as_zero(shape, largest):
    """Singular values up to max(k, d) roundings of the largest one count as 0, no larger ones."""
    for roundings, kept in ((2.9, 0.0), (3.1, 3.1)):
        W = np.zeros(shape)
        W[0, 0], W[1, 1] = largest, roundings * 2.0**-52 * largest
        sigma = preconditioner(W, 2).sigma
        np.testing.assert_allclose(sigma, [largest, kept * 2.0**-52 * largest], rtol=1e-12)


@given(cases())
@few
def test_depth_1_is_the_identity(case):
    W, G, _ = case
    np.testing.assert_allclose(preconditioner(W, 1).apply(G), G, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("depth", [2, 3, 7])
def test_single_output_is_claim_2(depth):
    rng = np.random.default_rng(depth)
    w, g = rng.standard_normal((2, 50_000))  # a dense matrix would take 20 GB
    norm = np.linalg.norm(w)
    along = (g @ w) / norm**2 * w
    expected = norm ** (2 - 2 / depth) * (g + (depth - 1) * along)
    P = preconditioner(w, depth)
    np.testing.assert_allclose(P.apply(g), expected, rtol=1e-10, atol=1e-10 * norm)
    assert P.apply(g[np.newaxis]).shape == (1, 50_000)
    top, rest = depth * norm ** (2 - 2 / depth), norm ** (2 - 2 / depth)
    np.testing.assert_allclose(P.eigenvalues, [[top] + [rest] * 49_999], rtol=1e-12)


def test_vectors_are_rows_one_after_the_other():
    P = preconditioner([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]], depth=2)
    np.testing.assert_allclose(P.eigenvalues, [[4, 3, 2], [3, 2, 1]])
    np.testing.assert_allclose(P.dense(), np.diag([4.0, 3, 2, 3, 2, 1]), atol=1e-15)
    assert repr(P) == "Preconditioner(k=2, d=3, depth=2)"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: preconditioner([1.0], 0), ValueError, "depth must be >= 1 and <= 10000, got 0"),
        (lambda: preconditioner([1.0], 2.0), TypeError, "depth must be an integer"),
        (lambda: preconditioner([[np.nan]], 2), ValueError, "W must be finite"),
        (lambda: preconditioner([2**53 + 1, 0], 2), TypeError, "W must not .* = 9007199254740993"),
        (lambda: preconditioner([1.0], 2).apply([2**60 - 1]), TypeError, "G must not hold int"),
        (lambda: preconditioner(["a"], 2), TypeError, "W must hold real numbers"),
        (lambda: preconditioner(np.ones((2, 3)), 2).apply(np.ones((3, 2))), ValueError, "G must"),
        (lambda: preconditioner([1.0, 2.0], 2).apply([1.0]), ValueError, r"G .*\(1, 2\)"),
        (lambda: preconditioner(np.ones(4097), 2).dense(), ValueError, "4096 .* got 1 x 4097"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
