"""Sums over parts of the rows: those of all parts add up to those of all rows."""

import numpy as np
import pytest

from accel.kernels.cpu.jit import aligned_zeros
from accel.kernels.specs import Loss

DTYPES = [np.float32, np.float64]


def make_rows(chunks, n, d, k, maps, dtype):
    """X as the backend keeps it, (n, row_length), Y (n, k) and maps (M, k, d)."""
    rng = np.random.default_rng(0)
    length = chunks.row_length(d, np.dtype(dtype))
    X = aligned_zeros(n * length, dtype).reshape(n, length)
    X[:, :d] = rng.standard_normal((n, d))
    Y = rng.standard_normal((n, k)).astype(dtype)
    return X, Y, rng.standard_normal((maps, k, d)).astype(dtype)


def total(chunks, rows, Y, d, W, p, block):
    pieces = chunks.pieces(rows, Y, d, block)
    return sum(chunks.sums(piece, W, Loss(p), len(W)) for piece in pieces)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "d", "k", "maps", "p"), [
    (100, 5, 1, 1, 4.0), (37, 17, 3, 4, 2.5), (64, 32, 1, 3, 1.0), (1, 1, 1, 1, 2.0),
])  # fmt: skip
def test_the_sums_of_all_rows(kernels, dtype, n, d, k, maps, p):
    chunks = kernels.chunks
    rows, Y, W = make_rows(chunks, n, d, k, maps, dtype)
    got = total(chunks, rows, Y, d, W, p, 24)
    assert isinstance(got, np.ndarray)
    assert got.dtype == np.float64
    residuals = np.einsum("id,mkd->mik", rows[:, :d].astype(float), W.astype(float)) - Y
    slopes = np.sign(residuals) * abs(residuals) ** (p - 1)
    gradients = np.einsum("mik,id->mkd", slopes, rows[:, :d].astype(float))
    losses = np.sum(abs(residuals) ** p, axis=(1, 2))
    expected = np.concatenate([gradients.reshape(-1), losses])
    eps = 100 * n * np.finfo(dtype).eps
    np.testing.assert_allclose(got, expected, rtol=0, atol=eps * np.max(abs(expected)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_piece_is_a_pass(kernels, dtype):
    """A factor away from loss and gradient, to the last bits."""
    chunks, n = kernels.chunks, 50
    rows, Y, W = make_rows(chunks, n, 7, 2, 1, dtype)
    sums = total(chunks, rows, Y, 7, W, 3.0, 64)
    value, G = kernels.lp_loss.loss_and_gradient(rows[:, :7].copy(), Y, W[0], Loss(3.0))
    few = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(sums[-1] / n, value, rtol=few)
    np.testing.assert_allclose(3 / n * sums[:-1].reshape(2, 7), G, rtol=few, atol=few)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("d", [1, 5, 17, 64])
def test_the_cpu_copies_no_rows(dtype, d):
    from accel.kernels.cpu import chunks

    rows, Y, _ = make_rows(chunks, 100, d, 2, 1, dtype)
    pieces = chunks.pieces(rows, Y, d, 32)
    assert [piece.n for piece in pieces] == [32, 32, 32, 4]
    for i, piece in enumerate(pieces):
        assert np.shares_memory(piece.X, rows)
        np.testing.assert_array_equal(piece.X, rows[32 * i : 32 * i + 32].reshape(-1))
