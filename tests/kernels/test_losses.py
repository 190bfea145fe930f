"""The losses of a sample beside l_p: the definitions, and the passes of every backend."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.kernels.reference import losses as definitions
from accel.kernels.specs import MARGIN_KINDS, Loss

from .losses import CROSS_ENTROPY, NAMES, OTHERS, targets_for


def kinds(coupled=False):
    more = [CROSS_ENTROPY] if coupled else []
    return pytest.mark.parametrize("loss", OTHERS + more, ids=NAMES + [each.kind for each in more])


@kinds(coupled=True)
def test_slopes_are_derivatives_of_values(loss):
    rng = np.random.default_rng(0)
    Y = targets_for(loss, rng, 40, 3)
    m, u = (3 * rng.standard_normal(Y.shape) for _ in range(2))
    h = 1e-6
    values = [definitions.value_and_slope(loss, m + s * u, Y)[0].sum(axis=1) for s in (h, -h)]
    _, slopes = definitions.value_and_slope(loss, m, Y)
    np.testing.assert_allclose((values[0] - values[1]) / (2 * h), np.sum(slopes * u, 1), rtol=1e-5)


@kinds(coupled=True)
def test_curvatures_are_derivatives_of_slopes(loss):
    rng = np.random.default_rng(1)
    Y = targets_for(loss, rng, 40, 3)
    m, u = (3 * rng.standard_normal(Y.shape) for _ in range(2))
    h = 1e-6
    above, below = (definitions.value_and_slope(loss, m + s * u, Y)[1] for s in (h, -h))
    expected = definitions.curvature_along(loss, m, Y, u)
    np.testing.assert_allclose((above - below) / (2 * h), expected, rtol=1e-5, atol=1e-8)


def exact(loss, m, y):
    """Value and slope of one number, in extended precision, without cancellation."""
    m, y, p = np.longdouble(m), np.longdouble(y), np.longdouble(loss.p)
    r, z = m - y, m * y
    if loss.kind == "huber":
        inside = abs(r) <= p
        return (r**2 / 2, r) if inside else (p * (abs(r) - p / 2), p * np.sign(r))
    if loss.kind == "pinball":
        slope = (1 - p) if r > 0 else -p if r < 0 else np.longdouble(0)
        return slope * r, slope
    if loss.kind == "expectile":
        weight = (1 - p) if r > 0 else p
        return weight * r**2, 2 * weight * r
    if loss.kind == "logcosh":
        t, size = np.tanh(r), abs(r)
        far = size + np.log1p(np.exp(-2 * size)) - np.log(np.longdouble(2))
        return (-np.log1p(-(t**2)) / 2 if size < 0.5 else far), t
    if loss.kind == "logistic":
        return max(-z, 0) + np.log1p(np.exp(-abs(z))), -y / (1 + np.exp(z))
    return np.exp(-z), -y * np.exp(-z)


#: As many as in the passes below that are not slow: no kernel more is compiled.
FEATURES = 40
#: The largest errors of values and slopes, in eps of the result, for exact predictions.
BOUND = 8


def one_sample(kernels, loss, m, y, dtype):
    """Value and slope of predictions m and targets y by a pass over one row, (1, 0, ..., 0)."""
    loss, values, slopes = loss._replace(factor=1.0), [], []
    one, W = np.zeros((1, FEATURES), dtype), np.zeros((1, FEATURES), dtype)
    one[0, 0] = 1
    for a, b in zip(m, y, strict=True):
        W[0, 0] = a
        value, slope = kernels.lp_loss.loss_and_gradient(one, np.full((1, 1), b, dtype), W, loss)
        values.append(float(value))
        slopes.append(float(slope[0, 0]))
    return values, slopes


SIZES = [0.0, 1e-30, 1e-9, 1e-4, 0.01, 0.3, 0.599, 0.6, 0.601, 0.7, 1.0, 3.0, 17.0, 40.0, 80.0]


@kinds()
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_digit_of_a_sample(kernels, loss, dtype):
    """With a target of 0, or a label: what becomes of a residual or of a margin."""
    label = loss.kind in MARGIN_KINDS
    m = np.array(SIZES + [-size for size in SIZES], dtype)
    y = np.where(np.arange(len(m)) % 3 == 0, -1, 1) if label else np.zeros(len(m))
    exact_loss = loss if dtype == "float64" else loss._replace(p=float(np.float32(loss.p)))
    values, slopes = one_sample(kernels, exact_loss, m, y, dtype)
    eps, tiny = np.finfo(dtype).eps, np.finfo(dtype).tiny
    for a, b, value, slope in zip(m, y, values, slopes, strict=True):
        for got, right in zip((value, slope), exact(exact_loss, a, b), strict=True):
            if abs(right) <= np.finfo(dtype).max:
                assert abs(got - right) <= BOUND * eps * abs(right) + tiny, (a, b, got, right)
            else:
                assert math.isinf(got)


@kinds()
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_not_taken_for_a_loss(kernels, loss, number):
    value, slope = kernels.lp_loss.loss_and_gradient(
        np.ones((3, 2)), np.ones((3, 1)), np.array([[number, 1.0]]), loss
    )
    finite = math.isfinite(value) and np.isfinite(slope).all()
    # A margin of +inf costs nothing: there the classes are told apart.
    assert not finite or (loss.kind in MARGIN_KINDS and number == math.inf)


@pytest.mark.parametrize("d", [FEATURES, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("n", [1, 8, 127, 129, 5000])
@pytest.mark.parametrize("least", [-30, 30])
def test_sums_of_small_losses_keep_their_digits(kernels, least, n, d):
    """Logarithms of products of numbers near 1: with margins from 30 on, 1 + 1e-13 and closer."""
    rng, loss = np.random.default_rng(n), OTHERS[NAMES.index("logistic")]
    X, W = np.zeros((n, d)), np.zeros((1, d))
    Y = targets_for(loss, rng, n, 1)
    z = rng.uniform(least, 60, (n, 1))
    X[:, :1], W[0, 0] = z * Y, 1
    value, gradient = kernels.lp_loss.loss_and_gradient(X, Y, W, loss)
    small, large = np.exp(-np.abs(z.astype(np.longdouble))), np.maximum(-z, 0)
    right = loss.factor * np.mean(large + np.log1p(small))
    assert abs(value - right) <= 24 * np.finfo(float).eps * right
    slopes = np.where(z > 0, small, 1) / (1 + small)
    right = loss.factor * np.mean(slopes * z)
    terms = loss.factor * np.mean(slopes * abs(z))
    assert abs(-gradient[0, 0] - right) <= (8 + n / 64) * np.finfo(float).eps * terms


#: Quickly tested are shapes for whose vectors there are kernels anyway. In float32 there are those
#: with whole vectors: for one output of every kind of loss; for several of two, beside which the
#: others differ by the value and slope of a sample alone.
SHAPES = [(301, FEATURES, 1), (130, 70, 12)]
MORE_SHAPES = [(1, 1, 1), (3, 2, 1), (50, 10, 1), (37, 13, 3), (90, 33, 70)]
IN_FLOAT32 = [(301, FEATURES, 1), (130, 70, 12), (37, 13, 3)]
SEVERAL_IN_FLOAT32 = ("huber", "logcosh", *MARGIN_KINDS)
slow = pytest.mark.slow


def passes():
    """A loss, a dtype and a shape (n, d, k) for every pass; margins have one output."""
    for loss, name in zip(OTHERS, NAMES, strict=True):
        for dtype, shapes, marks in (
            ("float64", SHAPES, ()), ("float64", MORE_SHAPES, slow), ("float32", IN_FLOAT32, slow),
        ):  # fmt: skip
            for n, d, k in shapes:
                outputs = 1 if loss.kind in MARGIN_KINDS else k
                if dtype == "float32" and k > 1 and loss.kind not in SEVERAL_IN_FLOAT32:
                    continue
                shape = n, d, outputs
                yield pytest.param(loss, dtype, shape, marks=marks, id=f"{name}-{dtype}-{shape}")


def pass_bound(loss, X, Y, W, dtype):
    """Bounds of the errors of loss and gradient by what residuals may be wrong by.

    A change of a prediction changes the value by at most the slope in between, and the slope by
    the curvature: taken from the reference at both ends.
    """
    eps = float(np.finfo(dtype).eps)
    X, Y, W = (a.astype(np.float64) for a in (X, Y, W))
    m = X @ W.T
    delta = (X.shape[1] + 4) * eps * (np.abs(X) @ np.abs(W).T + np.abs(Y))
    ends = [definitions.value_and_slope(loss, m + s * delta, Y) for s in (-1, 0, 1)]
    values = np.max([np.abs(v - ends[1][0]) for v, _ in ends], axis=0)
    slopes = np.max([np.abs(s - ends[1][1]) for _, s in ends], axis=0)
    scale = loss.factor / len(X)
    grain = 16 * eps * np.abs(ends[1][1])
    total = scale * (values.sum() + 16 * eps * np.abs(ends[1][0]).sum()) + 1e-300
    rows = (len(X) + 16) * eps * np.abs(ends[1][1]) + slopes + grain
    return total, scale * rows.T @ np.abs(X) + 1e-300


@pytest.mark.parametrize(("loss", "dtype", "shape"), list(passes()))
def test_a_pass_agrees_with_the_definition(kernels, loss, dtype, shape):
    n, d, k = shape
    rng = np.random.default_rng(2)
    X = rng.standard_normal((n, d)).astype(dtype)
    Y = targets_for(loss, rng, n, k, dtype)
    W = (rng.standard_normal((k, d)) / math.sqrt(d)).astype(dtype)
    value, gradient = kernels.lp_loss.loss_and_gradient(X, Y, W, loss)
    wide = [a.astype(np.float64) for a in (X, Y, W)]
    values, slopes = definitions.value_and_slope(loss, wide[0] @ wide[2].T, wide[1])
    total, bound = pass_bound(loss, X, Y, W, dtype)
    assert abs(value - loss.factor / n * values.sum()) <= total
    assert (np.abs(gradient - loss.factor / n * slopes.T @ wide[0]) <= bound).all()


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [("float64", shape) for shape in [(301, FEATURES, 10), (130, 70, 64), (90, 300, 41)]]
    + [pytest.param("float64", s, marks=slow) for s in [(1, 1, 2), (50, 10, 3), (37, 13, 17)]]
    + [pytest.param("float32", s, marks=slow) for s in [(301, FEATURES, 10), (37, 13, 17)]],
    ids=str,
)  # fmt: skip
def test_a_pass_for_coupled_outputs_agrees_with_the_definition(kernels, dtype, shape):
    """A prediction that is wrong by delta moves value and slopes of its row by at most 2 delta."""
    n, d, k = shape
    rng, loss = np.random.default_rng(2), CROSS_ENTROPY
    X = rng.standard_normal((n, d)).astype(dtype)
    Y = targets_for(loss, rng, n, k, dtype)
    W = (3 * rng.standard_normal((k, d)) / math.sqrt(d)).astype(dtype)
    value, gradient = kernels.lp_loss.loss_and_gradient(X, Y, W, loss)
    x, y, w = (a.astype(np.float64) for a in (X, Y, W))
    values, slopes = definitions.value_and_slope(loss, x @ w.T, y)
    scale, eps = loss.factor / n, float(np.finfo(dtype).eps)
    delta = 2 * (d + 4) * eps * (np.abs(x) @ np.abs(w).T).max(axis=1, keepdims=True)
    total = (2 * delta + (k + 16) * eps * np.abs(values).sum(axis=1, keepdims=True)).sum()
    assert abs(value - scale * values.sum()) <= scale * total
    rows = 2 * delta + (n + k + 32) * eps * (np.abs(slopes) + y)
    assert (np.abs(gradient - scale * slopes.T @ x) <= scale * rows.T @ np.abs(x)).all()


def test_the_second_derivative_for_coupled_outputs(kernels):
    rng, loss = np.random.default_rng(5), CROSS_ENTROPY
    n, d, k = 500, 9, 4
    X, W, V = rng.standard_normal((n, d)), rng.standard_normal((k, d)), rng.standard_normal((k, d))
    Y, h = targets_for(loss, rng, n, k), 1e-6
    ends = [kernels.lp_loss.loss_and_gradient(X, Y, W + s * V, loss)[1] for s in (h, -h)]
    product = kernels.curvature.hessian_product(X, Y, W, V, loss)
    np.testing.assert_allclose(product, (ends[0] - ends[1]) / (2 * h), rtol=1e-5, atol=1e-8)


@kinds()
def test_hessians_agree_with_the_definition(kernels, loss):
    rng = np.random.default_rng(3)
    n, d = 61, 9
    X, w, V = rng.standard_normal((n, d)), rng.standard_normal(d), rng.standard_normal((1, d))
    Y = targets_for(loss, rng, n, 1)
    H = kernels.lp_loss.hessian(X, Y[:, 0].copy(), w, loss)
    weights = definitions.curvature(loss, X @ w, Y[:, 0])
    expected = loss.factor / n * X.T @ (weights[:, np.newaxis] * X)
    size = loss.factor / n * np.abs(X).T @ (np.abs(weights)[:, np.newaxis] * np.abs(X))
    assert (np.abs(H - expected) <= 1e-13 * size + 1e-300).all()
    along = kernels.curvature.hessian_product(X, Y, w.reshape(1, -1), V, loss)
    assert (np.abs(along - V @ expected) <= 1e-12 * np.abs(V) @ size + 1e-300).all()


@given(st.integers(0, 10**6), st.floats(-30, 30), st.floats(0.01, 0.99))
def test_pinball_and_expectile_are_minimal_where_they_should_be(seed, m, tau):
    """The derivative of a mean of pinball losses is the share of targets below m, less tau."""
    y = np.random.default_rng(seed).standard_normal((50, 1))
    _, slopes = definitions.value_and_slope(Loss(tau, kind="pinball"), np.full((50, 1), m), y)
    assert slopes.mean() == pytest.approx((y < m).mean() - tau)
    _, slopes = definitions.value_and_slope(Loss(tau, kind="expectile"), np.full((50, 1), m), y)
    above, below = np.maximum(y - m, 0).mean(), np.maximum(m - y, 0).mean()
    assert slopes.mean() == pytest.approx(2 * ((1 - tau) * below - tau * above), abs=1e-12)
