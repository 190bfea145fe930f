"""Each kernel alone, in the simulator, against plain NumPy: odd sizes, both dtypes."""

from types import SimpleNamespace

import numpy as np
import pytest

from accel.kernels.cuda import curvature, factor_chain, lp_loss, precondition, updates
from accel.kernels.cuda.lp_loss import Pass, pack
from accel.kernels.reference import curvature as plain_curvature
from accel.kernels.reference import factor_chain as plain_chain
from accel.kernels.reference import lp_loss as plain_loss
from accel.kernels.reference import precondition as plain_rule
from accel.kernels.reference import updates as plain_updates
from accel.kernels.specs import GROUP_RMSPROP, STATE_SLOTS, Loss

from .. import exact
from ..runs import DTYPES, RULES
from ..test_accuracy import check_pass, check_update

TOLERANCE = {np.float32: 2e-5, np.float64: 1e-12}


def near(ours, plain, dtype):
    np.testing.assert_allclose(
        ours, plain, rtol=0, atol=TOLERANCE[dtype] * max(np.max(abs(plain)), 1e-300)
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "widths",
    [
        (7, 1),
        (1, 1),
        (40, 1, 1),
        (17, 5, 1),
        (9, 70, 3, 1),
        (33, 4, 3),
        (5, 6, 7, 4, 2),
        (70, 3, 3),
    ],
)
def test_factor_chain(widths, dtype):
    rng = np.random.default_rng(len(widths))
    shapes = zip(widths[1:], widths[:-1], strict=True)
    params = rng.standard_normal(sum(m * n for m, n in shapes)).astype(dtype)
    G = rng.standard_normal((widths[-1], widths[0])).astype(dtype)
    ours = factor_chain.end_to_end(params, widths)
    assert ours.dtype == dtype
    near(ours, plain_chain.end_to_end(params, widths), dtype)
    near(factor_chain.gradients(params, widths, G), plain_chain.gradients(params, widths, G), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in RULES if "end-to-end" not in name])
def test_updates(name, dtype):
    rng = np.random.default_rng(3)
    kind, (rate, _, *rest), _ = RULES[name]
    params, grads = rng.standard_normal((2, 150)).astype(dtype)
    state = rng.uniform(0.1, 1, (STATE_SLOTS[kind], 150)).astype(dtype)
    expected, expected_state = params.copy(), state.copy()
    for step in (1, 7):
        hyper = (rate, 0.01, *rest)
        updates.update(kind, params, grads, state, hyper, step)
        plain_updates.update(kind, expected, grads, expected_state, hyper, step)
    near(params, expected, dtype)
    if len(state):
        near(state, expected_state, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("by_factor", [0.0, 1.0])
def test_updates_in_groups(by_factor, dtype):
    rng = np.random.default_rng(3)
    params, grads = rng.standard_normal((2, 150)).astype(dtype)
    state = np.zeros((1, 150), dtype)
    expected, expected_state = params.copy(), state.copy()
    rule, starts = (0.01, 0.01, 0.9, by_factor, 1e-6), (0, 7, 100)
    for step in (1, 2, 3):
        updates.update(GROUP_RMSPROP, params, grads, state, rule, step, starts)
        plain_updates.update(GROUP_RMSPROP, expected, grads, expected_state, rule, step, starts)
    near(params, expected, dtype)
    near(state, expected_state, dtype)
    grads[8] = 1e30 if dtype == np.float32 else 1e200
    with np.errstate(over="ignore", invalid="ignore"):
        updates.update(GROUP_RMSPROP, params, grads, state, rule, 4, starts)
    assert np.isnan(params).tolist() == [not by_factor or 7 <= i < 100 for i in range(150)]


@exact.needs_long_double
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in RULES if not name.startswith(("end", "group"))])
def test_updates_keep_their_bounds_or_say_nan(name, dtype):
    """The first gradient's square overflows: what is divided by its root would stand still."""
    kind, (rate, _, a, b, eps), _ = RULES[name]
    hyper = (rate, 0.01, *(float(dtype(value)) for value in (a, b, eps)))
    w, g = np.random.default_rng(4).standard_normal((2, 40)).astype(dtype)
    g[0] = 1e30 if dtype == np.float32 else 1e200
    state = np.full((STATE_SLOTS[kind], 40), 0.5, dtype)
    exactly = exact.update(kind, w[1:], g[1:], state[:, 1:], hyper, 7)
    with np.errstate(over="ignore", invalid="ignore"):
        updates.update(kind, w, g, state, hyper, 7)
    check_update(dtype, w[1:], state[:, 1:], exactly)
    assert np.isnan(w[0]) == (name not in ("gradient descent", "momentum", "nesterov"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("depth", [1, 2, 3, 8])
@pytest.mark.parametrize(
    ("k", "d", "rank"),
    [(1, 9, 1), (1, 9, 0), (3, 7, 3), (3, 7, 2), (7, 3, 1), (4, 4, 4), (3, 5, 0)],
)
def test_precondition(k, d, rank, depth, dtype):
    rng = np.random.default_rng(8)
    W = (rng.integers(-3, 4, (k, rank)) @ rng.integers(-3, 4, (rank, d)) / 8).astype(dtype)
    G = rng.standard_normal((k, d)).astype(dtype)
    ours = precondition.precondition(W, G, depth)
    assert ours.dtype == dtype
    expected = plain_rule.precondition(W, G, depth)
    scale = max(np.max(abs(expected)), 1.0)
    bound = 1e-4 if dtype == np.float32 else 1e-10
    np.testing.assert_allclose(ours, expected, rtol=0, atol=bound * scale)


def data(n, d, k, dtype, seed=0):
    rng = np.random.default_rng(seed)
    X, Y = rng.standard_normal((n, d)), rng.standard_normal((n, k))
    return X.astype(dtype), Y.astype(dtype), rng.standard_normal((k, d)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, 4.0])
@pytest.mark.parametrize(
    ("n", "d", "k"), [(1, 1, 1), (37, 17, 1), (140, 6, 1), (5, 40, 2), (50, 8, 4), (70, 3, 7)]
)
def test_loss_and_gradient(n, d, k, p, dtype):
    X, Y, W = data(n, d, k, dtype)
    value, gradient = lp_loss.loss_and_gradient(X, Y, W, Loss(p, 0.5))
    expected, expected_gradient = plain_loss.loss_and_gradient(X, Y, W, Loss(p, 0.5))
    assert isinstance(value, float)
    assert gradient.dtype == dtype
    assert value == pytest.approx(expected, rel=TOLERANCE[dtype])
    near(gradient, expected_gradient, dtype)


@exact.needs_long_double
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 4.0, 12.0])
def test_the_pass_keeps_its_bounds(p, dtype):
    X, Y, W = data(37, 9, 1, dtype)
    kernels = SimpleNamespace(backend="cuda", lp_loss=lp_loss)
    large = 1e30 if dtype == np.float32 else 1e150
    if p == 12:  # the simulator's pow is Python's, which raises where a GPU's is inf
        large = 10.0
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for of_x, of_w in ((1.0, 1.0), (large, 1 / large), (1 / large, 1.0), (1.0, large)):
            of_y = of_x * of_w
            check_pass(kernels, dtype(of_x) * X, dtype(of_y) * Y, dtype(of_w) * W, p)


def test_zero_residuals_and_nan():
    X = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    for p in (1.0, 1.5, 2.0, 3.0, 4.0):
        value, gradient = lp_loss.loss_and_gradient(X, X[:, :1], np.array([[1.0, 0.0]]), Loss(p))
        assert value == 0.0
        np.testing.assert_array_equal(gradient, np.zeros((1, 2)))
        bad, _ = lp_loss.loss_and_gradient(X, X[:, :1], np.array([[np.nan, 0.0]]), Loss(p))
        assert np.isnan(bad)


@pytest.mark.parametrize("dtype", DTYPES)
def test_data_at_an_odd_address(dtype):
    """A view whose rows allow no wide loads, and rows that allow some."""
    room = np.random.default_rng(1).standard_normal(1 + 40 * 8).astype(dtype)
    X, (_, Y, W) = room[1:].reshape(40, 8), data(40, 8, 1, dtype)
    for lanes, matrix in ((1, X), (16 // X.itemsize, X.copy())):
        shape = lp_loss.rows_shape(8, 1, np.dtype(dtype), matrix.ctypes.data)
        assert shape.lanes == lanes or matrix.ctypes.data % 16
        _, gradient = lp_loss.loss_and_gradient(matrix, Y, W, Loss(4.0))
        near(gradient, plain_loss.loss_and_gradient(X, Y, W, Loss(4.0))[1], dtype)


def test_nothing_runs_once_no_model_does():
    X, Y, W = data(20, 5, 1, np.float64)
    one = Pass(pack(X, Y), W.ravel(), Loss(4.0), np.zeros(1, np.int64))
    one.losses[...] = 7.0
    one()
    assert (one.losses == 7.0).all()


@pytest.mark.parametrize("most", [2, 3, 4])
def test_bits_of_a_map_do_not_depend_on_its_company(most):
    X, Y, _ = data(301, 12, 1, np.float32)
    W = np.random.default_rng(2).standard_normal((most, 12)).astype(np.float32)
    results = []
    for chosen in ([most - 1], range(most)):
        maps = W[list(chosen)].ravel().copy()
        running = np.ones(len(chosen), np.int64)
        one = Pass(pack(X, Y), maps, Loss(4.0), running, most)
        one()
        results.append((one.partials[:, -1].copy(), one.losses[:, -1].copy()))
    for alone, together in zip(*results, strict=True):
        np.testing.assert_array_equal(alone, together)


def test_hessian_in_the_factors():
    X, Y, W = data(50, 7, 2, np.float64)
    widths, rng = (7, 5, 4, 2), np.random.default_rng(3)
    params, direction = rng.standard_normal((2, 7 * 5 + 5 * 4 + 4 * 2))
    for p in (1.5, 2.0, 3.0):
        H = [m.hessian_product(X, Y, W, W[::-1], Loss(p)) for m in (curvature, plain_curvature)]
        np.testing.assert_allclose(*H, rtol=1e-10, atol=1e-12)
    both = (curvature, plain_curvature)
    for flat, sizes, v in ((params, widths, direction), (W.ravel(), (7, 2), W[::-1].ravel())):
        chains = [m.ChainCurvature(flat, sizes, W) for m in both]
        moved = [chain.tangent(v) for chain in chains]
        np.testing.assert_allclose(*moved, rtol=1e-10, atol=1e-12)
        products = [chain.product(v, lambda moved: moved + H[1]) for chain in chains]
        np.testing.assert_allclose(*products, rtol=1e-10, atol=1e-12)


def test_gram_and_hessian():
    X, Y, W = data(50, 7, 2, np.float64)
    XX, YX, YY = lp_loss.gram(X, Y)
    for ours, plain in zip((XX, YX, YY), plain_loss.gram(X, Y), strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-12)
    ours = lp_loss.gram_loss_and_gradient(XX, YX, YY, 50, W, 0.5)
    plain = plain_loss.gram_loss_and_gradient(XX, YX, YY, 50, W, 0.5)
    np.testing.assert_allclose(ours[0], plain[0], rtol=1e-12)
    np.testing.assert_allclose(ours[1], plain[1], rtol=1e-10)
    y = X @ W[0]
    y[::2] += 0.3  # every other residual is exactly zero
    for p in (1.5, 2.0, 3.0):
        ours, plain = (m.hessian(X, y, W[0], Loss(p)) for m in (lp_loss, plain_loss))
        np.testing.assert_allclose(ours, plain, rtol=1e-10, atol=1e-12)
