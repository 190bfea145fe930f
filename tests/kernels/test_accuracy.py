"""Every kernel against extended precision: the error bounds of the reference's docstrings hold.

Beside ordinary data there are data with condition 1e12, powers up to 12, and all sizes that the
dtypes have: what overflows must not look like a number, and what vanishes must do no harm.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.kernels.specs import STATE_SLOTS, Loss

from . import exact
from .exact import LONG, eps_of
from .test_updates import RULES

pytestmark = exact.needs_long_double

POWERS = [1.0, 1.1, 1.5, 2.0, 2.2, 2.5, 3.0, 4.0, 7.5, 12.0]
DTYPES = [np.float32, np.float64]
#: Sizes of X and W.
SCALES = {
    np.float32: [1e-30, 1e-12, 1.0, 1e12, 1e30],
    np.float64: [1e-150, 1e-60, 1.0, 1e60, 1e150],
}
few = settings(max_examples=60)


@pytest.fixture(autouse=True)
def overflow_is_expected():
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        yield


def within(got, expected, bound):
    """Hold every finite number to its bound; return which numbers are finite."""
    got = np.asarray(got)
    finite = np.isfinite(got)
    error = abs(np.where(finite, got, 0).astype(LONG) - expected)
    assert np.all(error[finite] <= bound[finite] if finite.ndim else not finite or error <= bound)
    return finite


def ill_conditioned(rng, n, d, condition):
    """X (n, d) whose singular values span so many decades."""
    m = min(n, d)
    U, V = (np.linalg.qr(rng.standard_normal((size, m)))[0] for size in (n, d))
    return (U * np.logspace(0, -np.log10(condition), m)) @ V.T


def check_pass(kernels, X, Y, W, p, factor=1.0):
    got = kernels.lp_loss.loss_and_gradient(X, Y, W, Loss(p, factor))
    value, error, gradient, gradient_error, sharper = exact.loss_and_gradient(
        X, Y, W, p, factor, kernels.backend
    )
    if kernels.backend == "cuda":
        error += 64 * eps_of(X.dtype) * value
        # The sums of blocks, and what comes of adding them up.
        gradient_error = gradient_error + (p + 1) * exact.smallest(X.dtype, kernels.backend)
    if kernels.backend == "cpu":
        gradient_error = sharper
    finite = within(got[0], value, error) & within(got[1], gradient, gradient_error).all()
    top = LONG(np.finfo(X.dtype).max) / 4
    r = abs(exact.residuals(*exact.long(X, Y, W), eps_of(X.dtype), LONG(0))[0])
    reach = max(np.max(r) ** p * len(X), 2 * p * np.max(r) ** (p - 1) * np.sum(abs(X.astype(LONG))))
    reach = max(reach, np.max(abs(X.astype(LONG)) @ abs(W.astype(LONG)).T + abs(Y)))
    assert finite or reach > top / 4  # no false alarm
    if value > np.finfo(np.float64).max:
        assert not np.isfinite(got[0])


@few
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 300),
    d=st.integers(1, 70),
    k=st.integers(1, 3),
    p=st.sampled_from(POWERS),
    dtype=st.sampled_from(DTYPES),
)
def test_loss_and_gradient(kernels, seed, n, d, k, p, dtype):
    rng = np.random.default_rng(seed)
    X, Y, W = (rng.standard_normal(shape).astype(dtype) for shape in [(n, d), (n, k), (k, d)])
    check_pass(kernels, X, Y, W, p, 1 / p)


@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_loss_and_gradient_where_predictions_cancel(kernels, p, dtype):
    """Condition 1e12, weights of size 1e10, and residuals that are small beside both."""
    rng = np.random.default_rng(3)
    X = ill_conditioned(rng, 200, 24, 1e12).astype(dtype)
    W = (1e10 * rng.standard_normal((2, 24))).astype(dtype)
    Y = (X.astype(LONG) @ W.astype(LONG).T + 1e-3 * rng.standard_normal((200, 2))).astype(dtype)
    check_pass(kernels, X, Y, W, p)


@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_loss_and_gradient_of_all_sizes(kernels, p, dtype):
    rng = np.random.default_rng(4)
    X, W = rng.standard_normal((90, 7)), rng.standard_normal((1, 7))
    Y = X @ W.T + rng.standard_normal((90, 1))
    for of_x in SCALES[dtype]:
        for of_w in SCALES[dtype]:
            with np.errstate(over="ignore"):
                data = [(s * a).astype(dtype) for s, a in ((of_x, X), (of_x * of_w, Y), (of_w, W))]
            if all(np.isfinite(a).all() for a in data):
                check_pass(kernels, *data, p)


@few
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 300),
    d=st.integers(1, 40),
    k=st.integers(1, 3),
    condition=st.sampled_from([1.0, 1e6, 1e12]),
)
def test_gram(kernels, seed, n, d, k, condition):
    rng = np.random.default_rng(seed)
    X, W = ill_conditioned(rng, n, d, condition), rng.standard_normal((k, d))
    Y = X @ W.T + 1e-9 * rng.standard_normal((n, k))
    got = kernels.lp_loss.gram_loss_and_gradient(*kernels.lp_loss.gram(X, Y), n, W, 0.5)
    value, error, gradient, gradient_error = exact.gram_loss_and_gradient(X, Y, W, 0.5)
    assert within(got[0], value, error)
    assert within(got[1], gradient, gradient_error).all()


@pytest.mark.parametrize("condition", [1.0, 1e12])
@pytest.mark.parametrize("p", [1.5, *POWERS[3:]])
@pytest.mark.parametrize("dtype", DTYPES)
def test_hessian(kernels, p, dtype, condition):
    rng = np.random.default_rng(5)
    X = ill_conditioned(rng, 150, 12, condition).astype(dtype)
    w = rng.standard_normal(12).astype(dtype)
    y = (X @ w + rng.standard_normal(150)).astype(dtype)
    H, bound = exact.hessian(X, y, w, p, 0.7, kernels.backend)
    assert within(kernels.lp_loss.hessian(X, y, w, Loss(p, 0.7)), H, bound).all()


@few
@given(
    seed=st.integers(0, 2**32 - 1),
    d=st.integers(1, 60),
    hidden=st.lists(st.integers(1, 12), max_size=6),
    k=st.integers(1, 3),
    scale=st.sampled_from([-1, 0, 1]),
    dtype=st.sampled_from(DTYPES),
)
def test_factor_chain(kernels, seed, d, hidden, k, scale, dtype):
    """Factors whose product is as small, or as large, as the dtype allows."""
    rng = np.random.default_rng(seed)
    widths = (d, *hidden, k)
    count = sum(m * n for m, n in zip(widths[1:], widths[:-1], strict=True))
    size = (28.0 if dtype == np.float32 else 280.0) * scale / (len(widths) - 1)
    params = (10.0**size * rng.standard_normal(count)).astype(dtype)
    G = rng.standard_normal((k, d)).astype(dtype)
    W, grads = exact.chain(params, widths, G)
    W_terms, grads_terms = exact.chain(abs(params), widths, abs(G))
    eps, tiny = eps_of(dtype), exact.smallest(dtype) * max(1, 10.0 ** max(size, 0)) ** len(hidden)
    got = kernels.factor_chain.end_to_end(params, widths)
    assert within(got, W, sum(widths[1:]) * (eps * W_terms + tiny)).all()
    if not hidden:
        np.testing.assert_array_equal(got, W)
    got = kernels.factor_chain.gradients(params, widths, G)
    tiny = tiny * (1 + np.max(abs(params.astype(LONG)))) * sum(widths)
    assert within(got, grads, sum(widths) * (eps * grads_terms + tiny)).all()


@few
@given(
    name=st.sampled_from(list(RULES)),
    seed=st.integers(0, 2**32 - 1),
    step=st.integers(1, 10**6),
    decay=st.sampled_from([0.0, 0.01]),
    sizes=st.tuples(*[st.sampled_from([-2, -1, 0, 1, 2])] * 2),
    dtype=st.sampled_from(DTYPES),
)
def test_updates(kernels, name, seed, step, decay, sizes, dtype):
    rng = np.random.default_rng(seed)
    kind, (rate, _, a, b, eps), _ = RULES[name]
    hyper = (rate, decay, *(float(dtype(value)) for value in (a, b, eps)))
    decade = 7 if dtype == np.float32 else 75  # squares of gradients reach 1e28 and 1e300
    w, g = rng.standard_normal((2, 400)) * 10.0 ** (decade * np.array(sizes))[:, None]
    w, g = w.astype(dtype), g.astype(dtype)
    state = rng.uniform(0.01, 1, (STATE_SLOTS[kind], 400)).astype(dtype)
    exactly = exact.update(kind, w, g, state, hyper, step)
    kernels.updates.update(kind, w, g, state, hyper, step)
    check_update(dtype, w, state, exactly)


def check_update(dtype, w, state, exactly):
    expected, terms, more, after, state_terms = exactly
    eps, tiny = eps_of(dtype), exact.smallest(dtype)
    assert within(w, expected, 16 * (eps * terms + tiny) + more).all()
    if len(state):
        assert within(state, after, 16 * (eps * state_terms + tiny)).all()


@few
@given(
    seed=st.integers(0, 2**32 - 1),
    d=st.integers(1, 100),
    depth=st.integers(1, 12),
    scale=st.sampled_from([-1, 0, 1]),
    dtype=st.sampled_from(DTYPES),
)
def test_precondition_one_output(kernels, seed, d, depth, scale, dtype):
    """Weights from 1e-250 to 1e150: squares of the former are 0, of the latter inf."""
    rng = np.random.default_rng(seed)
    sizes = {np.float32: (1e-30, 1.0, 1e18), np.float64: (1e-250, 1.0, 1e160)}[dtype]
    w = (sizes[scale + 1] * rng.standard_normal((1, d))).astype(dtype)
    g = (rng.standard_normal((1, d)) / sizes[max(scale, 0) + 1]).astype(dtype)
    expected, terms = exact.one_output(w, g, depth)
    got = kernels.precondition.precondition(w, g, depth)
    tiny, h = exact.smallest(dtype) * (1 + np.max(terms)), abs(np.log(exact.norm(w)))
    assert within(got, expected, 2 * (d + h + 12) * (eps_of(dtype) * terms + tiny)).all()


@pytest.mark.parametrize("scale", [-1, 0, 1])
@pytest.mark.parametrize("condition", [1.0, 1e4, 1e12])
@pytest.mark.parametrize("depth", [1, 2, 3, 8])
@pytest.mark.parametrize("dtype", DTYPES)
def test_precondition_several_outputs(kernels, dtype, depth, condition, scale):
    sizes = {np.float32: (1e-25, 1.0, 1e18), np.float64: (1e-200, 1.0, 1e160)}[dtype]
    rng = np.random.default_rng(depth)
    for k, d in ((2, 9), (5, 5), (9, 3)):
        W = (sizes[scale + 1] * ill_conditioned(rng, k, d, condition)).astype(dtype)
        G = rng.standard_normal((k, d)).astype(dtype)
        if scale > 0:
            G /= dtype(sizes[2])
        flat = (W, G) if k <= d else (W.T, G.T)
        expected, sigma = exact.several_outputs(*flat, depth)
        expected = expected if k <= d else expected.T
        least, most = np.min(sigma), np.max(sigma)
        e = (32 * (k + d) + 2 * abs(np.log(most))) * eps_of(dtype)
        factor = e ** min(LONG(1), LONG(2) / depth)
        if least > 2 * e * most:
            factor = min(factor, 2 * e * (most / least) ** max(LONG(0), 1 - LONG(2) / depth))
        bound = depth * most ** (2 - LONG(2) / depth) * exact.norm(G) * factor
        got = kernels.precondition.precondition(W, G, depth)
        assert np.isfinite(got).all()
        tiny = exact.smallest(dtype, kernels.backend) * k * d
        assert exact.norm(got.astype(LONG) - expected) <= bound + tiny
