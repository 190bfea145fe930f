"""The tiles route of a pass, in the simulator, which finds races and deadlocks as well."""

import itertools

import numpy as np
import pytest
from numba import cuda

from accel.kernels.cuda import jit, lp_loss, ptx, tiles, tiles_layout
from accel.kernels.cuda.lp_loss import Pass, pack
from accel.kernels.reference import lp_loss as plain
from accel.kernels.specs import Loss

from ..runs import DTYPES
from ..simulator import options

TOLERANCE = {np.float32: 2e-5, np.float64: 1e-12}
SEEDS = [None, 0, 1]


def problem(n, d, models, k, dtype):
    rng = np.random.default_rng(n + d)
    X, Y, W = (rng.standard_normal(shape) for shape in [(n, d), (n, k), (models * k, d)])
    return X.astype(dtype), Y.astype(dtype), W.astype(dtype)


def make_pass(X, Y, W, p, running=None, most=None):
    models = len(W) // Y.shape[1]
    running = np.ones(models, np.int64) if running is None else running
    return Pass(pack(X, Y), W.reshape(-1), Loss(p), running, most, route="tiles")


def check(X, Y, W, p, made):
    """Hold the sums of a pass to plain NumPy in float64, against the sizes of their terms."""
    n, k, tolerance = len(X), Y.shape[1], TOLERANCE[X.dtype.type]
    X, Y, W = (a.astype(np.float64) for a in (X, Y, W))
    for m in range(0, len(W), k):
        value, G = plain.loss_and_gradient(X, Y, W[m : m + k], Loss(p))
        terms = p / n * (abs(X @ W[m : m + k].T - Y) ** (p - 1)).T @ abs(X)
        ours = made.partials[:, m : m + k].sum(0) * p / n
        assert np.all(abs(ours - G) <= tolerance * terms)
        assert made.losses[:, m : m + k].sum() / n == pytest.approx(value, rel=tolerance)


@pytest.mark.parametrize(
    ("n", "d", "models", "k", "p", "dtype"),
    [
        (70, 12, 5, 1, 4.0, np.float32),
        (33, 12, 5, 1, 2.0, np.float64),
        (67, 17, 3, 3, 3.0, np.float32),
        (40, 19, 1, 7, 2.5, np.float64),
        (90, 8, 12, 1, 1.0, np.float32),
        (33, 33, 9, 1, 3.0, np.float64),
        (9, 1, 6, 2, 4.0, np.float32),
        (130, 2, 5, 1, 2.5, np.float64),
        (1, 5, 5, 1, 2.0, np.float32),
        (64, 4, 2, 3, 4.0, np.float64),
    ],
)
def test_sums(n, d, models, k, p, dtype):
    X, Y, W = problem(n, d, models, k, dtype)
    made = make_pass(X, Y, W, p)
    made()
    assert made.on_device
    check(X, Y, W, p, made)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, 4.0])
def test_powers(p, dtype):
    X, Y, W = problem(35, 6, 5, 1, dtype)
    made = make_pass(X, Y, W, p)
    made()
    check(X, Y, W, p, made)


@pytest.mark.parametrize(
    ("n", "d", "models", "k", "dtype", "blocks"),
    [
        (9, 33, 34, 1, np.float32, 2),
        (9, 33, 1, 34, np.float64, 2),  # a block needs half of the targets
        (9, 3, 35, 2, np.float32, 2),
        (9, 70, 17, 1, np.float32, 1),  # eight columns a thread
    ],
)
def test_many_maps(n, d, models, k, dtype, blocks):
    X, Y, W = problem(n, d, models, k, dtype)
    made = make_pass(X, Y, W, 2.0)
    shape = tiles_layout.tiles_shape(n, d, k, models * k, np.dtype(dtype))
    assert -(-models * k // shape.capacity) == blocks
    made()
    check(X, Y, W, 2.0, made)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("buffers", [1, 2, 3])
def test_buffers_in_any_order_of_threads(monkeypatch, buffers, seed):
    """One block has five tiles, one after the other."""

    def shape(*arguments):
        return tiles_layout.tiles_shape(*arguments)._replace(split=4, buffers=buffers, blocks=1)

    monkeypatch.setattr(lp_loss, "tiles_shape", shape)
    monkeypatch.setitem(jit.SIMULATED_DEVICE, "MultiProcessorCount", 1)
    X, Y, W = problem(150, 12, 5, 1, np.float32)
    made = make_pass(X, Y, W, 3.0)
    assert len(made.partials) == 1
    with options(seed=seed):
        made()
    check(X, Y, W, 3.0, made)


@pytest.mark.parametrize("split", [1, 2, 4, 8, 16, 32])
@pytest.mark.parametrize("dtype", DTYPES)
def test_splits(monkeypatch, split, dtype):
    """So many threads share the columns of a row."""

    def shape(*arguments):
        chosen = tiles_layout.tiles_shape(*arguments)
        return chosen._replace(split=split, buffers=2, across=max(split, 8))

    monkeypatch.setattr(lp_loss, "tiles_shape", shape)
    X, Y, W = problem(20, 17, 5, 1, dtype)
    made = make_pass(X, Y, W, 2.5)
    made()
    check(X, Y, W, 2.5, made)


@pytest.mark.parametrize(
    ("d", "models", "k", "p", "dtype", "company"),
    [
        (6, 12, 1, 4.0, np.float32, [(7, 2), (11,), (3, 4, 5, 0, 9)]),
        (5, 17, 1, 2.5, np.float64, [(16, 0), (8,)]),
        (17, 4, 3, 3.0, np.float32, [(3, 1), (2,)]),
        (3, 70, 1, 2.0, np.float32, [(69, 0, 3), tuple(range(40, 10, -1))]),
    ],
)
def test_bits_depend_on_no_company_and_no_place(d, models, k, p, dtype, company):
    X, Y, W = problem(75, d, models, k, dtype)
    whole = make_pass(X, Y, W, p)
    whole()
    for some in company:
        maps = [m * k + c for m in some for c in range(k)]
        made = make_pass(X, Y, W[maps], p, most=models * k)
        made()
        np.testing.assert_array_equal(made.partials, whole.partials[:, maps])
        np.testing.assert_array_equal(made.losses, whole.losses[:, maps])


def test_the_same_bits_again():
    X, Y, W = problem(75, 6, 5, 1, np.float32)
    made = make_pass(X, Y, W, 3.0)
    made()
    first = made.partials.copy(), made.losses.copy()
    with options(seed=5):
        made()
    np.testing.assert_array_equal(made.partials, first[0])
    np.testing.assert_array_equal(made.losses, first[1])


def test_nothing_is_done_unless_a_model_is_running():
    X, Y, W = problem(20, 5, 3, 2, np.float64)
    running = np.zeros(3, np.int64)
    made = make_pass(X, Y, W, 4.0, running)
    made.partials[...] = made.losses[...] = 7
    made()
    assert np.all(made.partials == 7)
    assert np.all(made.losses == 7)
    running[2] = 1
    made()
    check(X, Y, W, 4.0, made)


def test_a_model_that_has_diverged_spoils_no_other():
    X, Y, W = problem(20, 5, 6, 1, np.float32)
    whole, spoilt = make_pass(X, Y, W, 4.0), W.copy()
    spoilt[2] = np.inf
    made = make_pass(X, Y, spoilt, 4.0)
    whole()
    made()
    others = [0, 1, 3, 4, 5]
    np.testing.assert_array_equal(made.partials[:, others], whole.partials[:, others])
    np.testing.assert_array_equal(made.losses[:, others], whole.losses[:, others])
    assert not np.isfinite(made.losses[:, 2]).any()


def test_the_route_is_found():
    def on_device(maps, dtype):
        X, Y, W = problem(5, 4, maps, 1, dtype)
        return Pass(pack(X, Y), W.reshape(-1), Loss(4.0), np.ones(maps, np.int64)).on_device

    for dtype in DTYPES:
        most = lp_loss.TILES_MAPS[np.dtype(dtype).itemsize]
        assert on_device(lp_loss.ROWS_MAPS + 1, dtype)
        assert on_device(most, dtype)
        assert not on_device(most + 1, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_shapes(dtype):
    dtype = np.dtype(dtype)
    vector, limit = 16 // dtype.itemsize, jit.SIMULATED_DEVICE["MaxSharedMemoryPerBlockOptin"]
    for n, d, k, most in itertools.product(
        (5, 10**6), (1, 3, 8, 17, 64, 100, 128), (1, 3, 64), (5, 16, 33, 100, 256)
    ):
        shape = tiles_layout.tiles_shape(n, d, k, most, dtype)
        if shape is None:
            assert (d + 8) * k * 64 * dtype.itemsize > limit / 8
            continue
        sharing = jit.THREADS // (shape.groups * shape.across)
        assert shape.rows % (sharing * vector) == 0
        assert shape.across * shape.wide * vector >= d
        assert 1 <= shape.tall <= 8
        assert tiles_layout.tiles_slots(n, most, shape) * shape.rows < n + shape.rows
        for maps in {1, most // 2, most - 1, most}:
            kernel, blocks, shared = tiles.tiles_launch(dtype, 2, shape, maps)
            assert shared <= limit
            tall = int(kernel.name.split("_")[6])
            assert tall <= shape.tall
            assert (blocks - 1) * tall * shape.groups < maps <= blocks * tall * shape.groups


def test_elements_are_moved_one_by_one_where_they_are_not_aligned():
    f4, f8 = np.dtype(np.float32), np.dtype(np.float64)
    lanes = [
        tiles_layout.tiles_shape(100, d, 1, 8, dtype, address).lanes
        for d, dtype, address in [
            (8, f4, 64), (8, f4, 72), (8, f4, 68), (6, f4, 64), (7, f4, 64), (8, f8, 64), (8, f8, 8)
        ]
    ]  # fmt: skip
    assert lanes == [4, 2, 1, 2, 1, 2, 1]


def test_a_copy_is_there_once_it_has_been_waited_for():
    copy, wait, wait_for_all = ptx.make_copy(2), ptx.make_wait(1), ptx.make_wait(0)

    def kernel(source, out):
        shared = cuda.shared.array(8, np.float64)
        i = 2 * cuda.threadIdx.x
        copy(shared, i, source, i, i > 0)
        ptx.commit()
        copy(shared, i + 4, source, i + 4, True)
        ptx.commit()
        for moment, wait_now in enumerate((None, wait, wait_for_all)):
            if wait_now:
                wait_now()
            for j in (i, i + 1, i + 4, i + 5):
                out[8 * moment + j] = shared[j]

    source, out = np.arange(8.0), np.zeros(24)
    cuda.jit(kernel)[1, 2](source, out)
    nan = np.nan
    np.testing.assert_array_equal(
        out.reshape(3, 8), [[nan] * 8, [0, 0, 2, 3, nan, nan, nan, nan], [0, 0, *range(2, 8)]]
    )
