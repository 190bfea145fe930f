"""The pass over small data, whose vectors run along the rows."""

import numpy as np
import pytest

from accel.kernels.cpu import columns, jit
from accel.kernels.reference.lp_loss import loss_and_gradient
from accel.kernels.specs import Loss
from accel.kernels.system.platforms import x86

from .runs import DTYPES

POWERS = [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0]


def widths(dtype):
    """Vectors of 128 bits, and those that the processor has beside them."""
    sizes = [size for size in (16, 32, 64) if size <= jit.vector_bytes()]
    return [size // np.dtype(dtype).itemsize for size in sizes]


def one_pass(X, Y, w, p, lanes, monkeypatch):
    """Loss and gradient; whatever scratch holds before must not matter."""
    n, d = X.shape
    monkeypatch.setattr(columns, "row_lanes", lambda *_: lanes)
    data = columns.pack_columns(X, Y)
    assert data.rows == jit.padded(n, lanes)
    G, scratch = np.full(d + 1, 7, X.dtype), np.full(d * lanes, np.nan, X.dtype)
    kernel = columns.make_columns_entry(X.dtype, lanes)
    total = kernel(data, w, G, scratch, p / n, p)
    assert G[d] == 7  # nothing is written behind the gradient
    return total / n, G[:d]


def largest_error(X, Y, w, p):
    """How far a loss in this precision and one in float64 may be apart.

    Half of it is for each. A residual can be off by as many roundings as it has terms, each of the
    size of the terms, which matters where they nearly cancel; and its power by a few of its own.
    """
    eps, (X, Y, w) = np.finfo(X.dtype).eps, (a.astype(np.float64) for a in (X, Y, w))
    residuals = abs(X @ w - Y[:, 0])
    most = residuals + eps * (len(w) + 1) * (abs(X) @ abs(w) + abs(Y[:, 0]))
    return np.mean(most**p * (1 + eps * (p + 8)) - residuals**p)


@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_agrees_with_the_reference(dtype, p, monkeypatch):
    rng, tolerance = np.random.default_rng(0), 1e-5 if dtype == np.float32 else 1e-13
    for lanes in widths(dtype):
        for n in (1, lanes - 1, lanes, lanes + 1, 3 * lanes, 37, 442):
            for d in (1, 2, 3, 10, 32):
                X, Y = rng.standard_normal((n, d)), rng.standard_normal((n, 1))
                X, Y, w = (a.astype(dtype) for a in (X, Y, rng.standard_normal(d)))
                loss, G = one_pass(X, Y, w, p, lanes, monkeypatch)
                value, slope = loss_and_gradient(X, Y, w[None], Loss(p))
                if x86():  # elsewhere NumPy rounds otherwise where residuals nearly cancel
                    np.testing.assert_allclose(loss, value, rtol=tolerance)
                exact, _ = loss_and_gradient(*(a.astype(float) for a in (X, Y, w[None])), Loss(p))
                assert abs(loss - exact) <= largest_error(X, Y, w, p)
                bound = tolerance * np.abs(slope).max()
                np.testing.assert_allclose(G, slope[0], rtol=0, atol=5 * bound)


@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_residuals_of_zero_add_nothing(dtype, p, monkeypatch):
    """Nor do the rows of padding, which are no more than that."""
    X, w = np.ones((5, 3), dtype), np.array([1, -2, 3], dtype)
    loss, G = one_pass(X, np.full((5, 1), 2, dtype), w, p, widths(dtype)[-1], monkeypatch)
    assert loss == 0
    np.testing.assert_array_equal(G, np.zeros(3))


@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_so(p, bad, monkeypatch):
    X = np.ones((5, 3))
    loss, G = one_pass(X, np.ones((5, 1)), np.array([1.0, bad, 3.0]), p, 2, monkeypatch)
    assert not np.isfinite(loss)
    X[2, 1] = bad
    loss, G = one_pass(X, np.ones((5, 1)), np.ones(3), p, 2, monkeypatch)
    assert not np.isfinite([loss, *G]).all()


def test_small_is_what_the_first_caches_hold(monkeypatch):
    monkeypatch.setattr(columns, "cache_bytes", {1: 32 * 1024}.__getitem__)
    double, single = np.dtype(np.float64), np.dtype(np.float32)
    assert columns.fits(442, 10, double)
    assert columns.fits(256, 32, double)
    assert not columns.fits(264, 32, double)
    assert columns.fits(264, 32, single)
    assert not columns.fits(8, 33, single)
