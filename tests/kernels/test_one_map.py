"""The pass for one map with one output: tiles in the caches, or a row at a time from memory."""

import numpy as np
import pytest

from accel.kernels.cpu import lp_loss
from accel.kernels.cpu.loop import TrainingLoop
from accel.kernels.specs import Loss, ModelSpec

from . import runs
from .test_lp_loss import DTYPES, TOLERANCE, definition, lattice

POWERS = [1.0, 1.5, 2.0, 2.2, 3.0, 3.5, 4.0]
WAYS = [False, True]


def passed(X, y, w, p, streamed, tile=None):
    """Loss and gradient (d,), unscaled."""
    data = lp_loss.pack(X, y[:, None])._replace(streamed=streamed)
    data = data if tile is None else data._replace(tile=tile, flush=1)
    assert not data.several
    weights, work, sums = lp_loss.buffers(data, w[None])
    work[:] = np.nan  # nothing may be read that has not been written
    lp_loss.run_pass(data, weights, work, sums, Loss(p))
    return sums[-1], sums[: data.d].copy()


def on_lattice(n, d, dtype):
    rng = np.random.default_rng(1000 * n + d)
    return tuple(lattice(rng, shape, dtype) for shape in [(n, d), n, d])


def check(X, y, w, p, streamed, **how):
    loss, gradient = passed(X, y, w, p, streamed, **how)
    expected, G, terms = definition(X, y[:, None], w[None], Loss(p, len(X)))
    tolerance = TOLERANCE[X.dtype.type]
    assert abs(loss - expected) <= min(tolerance, 1e-6) * expected
    assert np.all(abs(p * gradient - G[0]) <= tolerance * terms[0])


@pytest.mark.parametrize("streamed", WAYS, ids=["cached", "streamed"])
@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_kind_of_p(dtype, p, streamed):
    for n in (1, 2, 7, 130):
        for d in (1, 3, 16, 37, 128):
            check(*on_lattice(n, d, dtype), p, streamed)


@pytest.mark.parametrize("streamed", WAYS, ids=["cached", "streamed"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_number_of_features(dtype, streamed):
    """Around whole vectors, and the several of them that are in flight."""
    for d in [*range(1, 20), *(m + e for m in (32, 64, 128, 192) for e in (-1, 0, 1)), 1500]:
        check(*on_lattice(9, d, dtype), 3.0, streamed)


@pytest.mark.parametrize("streamed", WAYS, ids=["cached", "streamed"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_tile(dtype, streamed):
    for tile in (8, 24, 128):
        for n in (1, tile - 1, tile, tile + 1, 3 * tile + 5):
            check(*on_lattice(n, 33, dtype), 2.2, streamed, tile=tile)


@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_both_ways_agree(dtype, p):
    rng = np.random.default_rng(0)
    X, y, w = (rng.standard_normal(shape).astype(dtype) for shape in [(1001, 45), 1001, 45])
    ours, theirs = (passed(X, y, w, p, streamed) for streamed in WAYS)
    few = 100 * np.finfo(dtype).eps
    np.testing.assert_allclose(ours[0], theirs[0], rtol=few)
    bound = few * np.sum(abs(X), axis=0) * np.max(abs(X @ w - y)) ** (p - 1)
    assert np.all(abs(ours[1] - theirs[1]) <= bound)


@pytest.mark.parametrize("streamed", WAYS, ids=["cached", "streamed"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_and_inf_come_out(dtype, streamed):
    X, y, w = on_lattice(21, 17, dtype)
    X[X == 0] = 1
    for bad in (np.nan, np.inf):
        for name, index in [("X", (20, 16)), ("y", 3), ("w", 16)]:
            arrays = {"X": X.copy(), "y": y.copy(), "w": abs(w) + 1}
            arrays[name][index] = bad
            loss, gradient = passed(*arrays.values(), 4.0, streamed)
            np.testing.assert_array_equal(loss, bad)
            assert not np.isfinite(gradient).any()


@pytest.mark.parametrize("streamed", WAYS, ids=["cached", "streamed"])
def test_float32_gradients_move_into_float64(streamed):
    n, large = 2**14 + 5000, np.float32(2.0**25)
    X, y = np.ones((n, 3), np.float32), np.zeros(n, np.float32)
    y[0], y[2**14 :] = large, 1.0
    _, gradient = passed(X, y, np.zeros(3, np.float32), 2.0, streamed)
    np.testing.assert_array_equal(gradient, np.full(3, -float(large) - 5000))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_run_in_parts(monkeypatch, dtype):
    """Streamed and cached, by one thread and by two: the same numbers but for rounding."""
    X, Y, loss, widths, params = runs.problem(n=5001, d=37, p=3.0, dtype=dtype)
    models, numbers = [ModelSpec(widths, params, runs.PLAIN)], []
    for stream_bytes in (0, 2**40):
        here = lp_loss.shapes()._replace(stream_bytes=stream_bytes)
        with monkeypatch.context() as patch:
            patch.setattr(lp_loss, "shapes", lambda here=here: here)
            for threads in (1, 2):
                with TrainingLoop(X, Y, loss, models, threads) as loop:
                    assert loop.threads == threads
                    assert loop._ranks._data.streamed == (stream_bytes == 0)
                    loop.advance(7)
                    numbers.append([*loop.evaluate()[0], *loop.params(0)])
    tolerance = 1e-4 if dtype == np.float32 else 1e-11
    for other in numbers[1:]:
        np.testing.assert_allclose(other, numbers[0], rtol=tolerance, atol=tolerance)
