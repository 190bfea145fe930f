"""The pass for several maps or outputs, in panels of maps or with transposed squares of X.

On a lattice (multiples of 1/8) residuals are exact, see ``test_lp_loss.py``; where bits are
compared, numbers are arbitrary, so that the order of a sum would show.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.kernels.cpu import lp_loss
from accel.kernels.cpu.jit import lanes_for
from accel.kernels.cpu.shapes import shapes
from accel.kernels.specs import Loss

from .test_lp_loss import DTYPES, TOLERANCE, definition, lattice

POWERS = [1.0, 1.5, 2.0, 2.2, 3.0, 3.5, 4.0]
FULL = {dtype: lanes_for(2**10, np.dtype(dtype)) for dtype in DTYPES}
DEPTH = shapes().depth


def passed(X, Y, W, p, most=2):
    """Losses (M,) and gradients (M, k, d), unscaled, of maps W (M, k, d) by the pass for several.

    ``p`` may be a ``Loss``, too. ``most`` is the largest number of maps that the run is laid out
    for: those of ``W`` at least.
    """
    data = lp_loss.pack(X, Y, max(most, len(W)))
    assert data.several
    weights, work, sums = lp_loss.buffers(data, W)
    work[:] = np.nan  # nothing may be read that has not been written
    lp_loss.run_pass(data, weights, work, sums, p if isinstance(p, Loss) else Loss(p))
    gradients = sums[: weights.size].reshape(-1, data.ld)[:, : data.d]
    return sums[weights.size :][::-1].copy(), gradients.reshape(W.shape).copy()


def on_lattice(n, d, k, maps, dtype, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(lattice(rng, shape, dtype) for shape in [(n, d), (n, k), (maps, k, d)])


def arbitrary(n, d, k, maps, dtype, seed=0):
    rng = np.random.default_rng(seed)
    shapes_of = [(n, d), (n, k), (maps, k, d)]
    return tuple(rng.standard_normal(shape).astype(dtype) for shape in shapes_of)


def check(X, Y, W, p):
    losses, gradients = passed(X, Y, W, p)
    tolerance = TOLERANCE[X.dtype.type]
    for m, weights in enumerate(W):
        loss, gradient, terms = definition(X, Y, weights, Loss(p, len(X)))
        assert abs(losses[m] - loss) <= min(tolerance, 1e-6) * loss
        assert np.all(abs(p * gradients[m] - gradient) <= tolerance * terms)


def assert_same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def around(*numbers):
    return sorted({near for number in numbers for near in (number - 1, number, number + 1)} - {0})


@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_number_of_maps(dtype, p):
    lanes = FULL[dtype]
    width = lanes * shapes().tile_vectors
    for maps in around(1, lanes // 2, lanes, width, 2 * width, 2 * width + lanes, 70):
        check(*on_lattice(50, 16, 1, maps, dtype, seed=maps), p)


@pytest.mark.parametrize("dtype", DTYPES)
def test_several_outputs_of_several_maps(dtype):
    for k in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40):
        for maps in (1, 2, 3, 5):
            check(*on_lattice(50, 16, k, maps, dtype, seed=k), 2.2)


@pytest.mark.parametrize("maps", [2, 33])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_number_of_rows(dtype, maps):
    tile, lanes = shapes().many_rows, FULL[dtype]
    for n in around(1, lanes, tile, tile + lanes, 2 * tile, 100):
        check(*on_lattice(n, 17, 1, maps, dtype, seed=n), 3.0)
        check(*on_lattice(n, 16, 2, maps, dtype, seed=n), 1.0)


@pytest.mark.parametrize("maps", [2, 19])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_number_of_features(dtype, maps):
    for d in [*around(1, 2, 5, 17, DEPTH, 2 * DEPTH), 1500]:
        check(*on_lattice(49, d, 1, maps, dtype, seed=d), 4.0)


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.sampled_from([1, 2, 47, 48, 49, 100]),
    d=st.sampled_from([1, 7, 16, 33]),
    k=st.integers(1, 9),
    maps=st.integers(1, 40),
    p=st.sampled_from(POWERS),
    dtype=st.sampled_from(DTYPES),
    data=st.data(),
)
def test_neither_company_nor_place_shows(seed, n, d, k, maps, p, dtype, data):
    X, Y, W = arbitrary(n, d, k, maps, dtype, seed)
    chosen = data.draw(st.lists(st.integers(0, maps - 1), min_size=1, max_size=maps, unique=True))
    losses, gradients = passed(X, Y, W, p)
    most = data.draw(st.integers(2, maps + 2))
    assert_same(passed(X, Y, W[chosen], p, most=most), (losses[chosen], gradients[chosen]))


@pytest.mark.parametrize("d", [5, 16])
@pytest.mark.parametrize("n", [1, 49, 100])
@pytest.mark.parametrize("dtype", DTYPES)
def test_few_maps_have_the_bits_of_many(dtype, n, d):
    X, Y, W = arbitrary(n, d, 1, 2 * FULL[dtype], dtype)
    for p in POWERS:
        losses, gradients = passed(X, Y, W, p)
        for first in range(0, len(W), 3):
            few = slice(first, first + 1 + first % (FULL[dtype] // 2))
            assert_same(passed(X, Y, W[few], p), (losses[few], gradients[few]))


@pytest.mark.slow
def test_few_maps_have_the_bits_of_many_where_logarithms_are_shared():
    X, Y, W = arbitrary(100, 16, 1, 2 * FULL[np.float64], np.float64)
    losses, gradients = passed(X, np.sign(Y), W, Loss(0.0, kind="logistic"))
    few = slice(1, 4)
    ours = passed(X, np.sign(Y), W[few], Loss(0.0, kind="logistic"))
    assert_same(ours, (losses[few], gradients[few]))


@pytest.mark.parametrize("n", [2, 47, 100])
@pytest.mark.parametrize("dtype", DTYPES)
def test_outputs_have_the_bits_of_maps(dtype, n):
    """An output of a map and a map of one output with the same targets are one and the same."""
    X, Y, W = arbitrary(n, 16, 37, 1, dtype)
    losses, gradients = passed(X, Y, W, 2.2)
    alone = [passed(X, Y[:, c : c + 1], W[:, c : c + 1], 2.2) for c in range(37)]
    np.testing.assert_array_equal(gradients[0], [gradient[0, 0] for _, gradient in alone])
    np.testing.assert_allclose(losses[0], sum(loss[0] for loss, _ in alone), rtol=1e-14)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("maps", [2, 3, 9, 40])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_map_that_overflows_keeps_to_itself(dtype, maps, bad):
    for n, p in [(1, 2.0), (47, 1.0), (49, 4.0), (100, 2.2)]:
        X, Y, W = arbitrary(n, 16, 1, maps, dtype)
        losses, gradients = passed(X, Y, W, p)
        for m in {0, maps // 2, maps - 1}:
            broken = W.copy()
            broken[m, 0, 3] = bad
            ours, slopes = passed(X, Y, broken, p)
            others = np.arange(maps) != m
            assert_same((ours[others], slopes[others]), (losses[others], gradients[others]))
            # Every residual of this one is infinite, or all are NaN; no padding makes NaN of inf.
            np.testing.assert_array_equal(ours[m], abs(bad))
            if p == 1.0 and np.isinf(bad):
                expected = np.sign(bad * X[:, 3]) @ X.astype(np.float64)
                np.testing.assert_allclose(slopes[m, 0], expected, rtol=1e-4, atol=1e-4)
            else:
                assert not np.isfinite(slopes[m]).any()


@pytest.mark.parametrize(("k", "maps"), [(3, 1), (3, 4), (20, 1), (20, 2), (40, 1)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_bad_target_keeps_to_its_output(dtype, k, maps):
    X, Y, W = arbitrary(49, 17, k, maps, dtype)
    _, gradients = passed(X, Y, W, 3.0)
    for row, c, bad in [(0, 0, np.nan), (48, k - 1, np.inf), (7, k // 2, np.nan)]:
        broken = Y.copy()
        broken[row, c] = bad
        losses, slopes = passed(X, broken, W, 3.0)
        np.testing.assert_array_equal(losses, np.full(maps, bad))
        others = np.arange(k) != c
        np.testing.assert_array_equal(slopes[:, others], gradients[:, others])
        assert not np.isfinite(slopes[:, c]).any()


@pytest.mark.parametrize("maps", [2, 9, 33])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_bad_row_is_seen_by_all_maps(dtype, maps):
    X, Y, W = arbitrary(49, 17, 1, maps, dtype)
    for row, t in [(0, 0), (47, 16), (48, 5)]:
        broken = X.copy()
        broken[row, t] = np.nan
        losses, gradients = passed(broken, Y, W, 3.0)
        assert np.isnan(losses).all()
        assert np.isnan(gradients).all()


@pytest.mark.parametrize("maps", [2, 20])
def test_float32_gradients_move_into_float64(maps):
    """One large term, then so small ones that a float32 sum would not notice any of them."""
    n, large = 2**14 + 5000, 2.0**25
    X, Y = np.ones((n, 3), np.float32), np.zeros((n, 1), np.float32)
    Y[0], Y[2**14 :] = large, 1.0
    _, gradients = passed(X, Y, np.zeros((maps, 1, 3), np.float32), 2.0)
    np.testing.assert_array_equal(gradients, np.full((maps, 1, 3), -large - 5000))


@pytest.mark.parametrize("maps", [2, 20])
def test_float32_beside_float64_over_many_rows(maps):
    X, Y, W = arbitrary(2**15 + 77, 9, 1, maps, np.float32)
    losses, gradients = passed(X, Y, W, 2.2)
    wide, slopes = passed(*(a.astype(np.float64) for a in (X, Y, W)), 2.2)
    np.testing.assert_allclose(losses, wide, rtol=1e-6)
    terms = np.array([definition(X, Y, w, Loss(2.2, len(X)))[2] / 2.2 for w in W])
    assert np.all(abs(gradients - slopes) <= 1e-5 * terms)
