"""The ends of the number range: what overflows is a divergence, what is NaN stays NaN, and a sum of
ten million float32 terms has all of its digits."""

import numpy as np
import pytest

from accel.kernels.specs import CONVERGED, DIVERGED, RUNNING, STATE_SLOTS, Loss

from . import exact
from .exact import LONG
from .runs import PLAIN, RULES, Single, each_rule
from .test_updates import RULES as UPDATES

DTYPES = [np.float32, np.float64]
POWERS = [1.0, 1.5, 2.0, 3.0, 4.0, 7.5]
BAD = [np.nan, np.inf, -np.inf]


@pytest.fixture(autouse=True)
def overflow_is_expected():
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        yield


def data(n=150, d=17, k=1, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(n, d), (n, k), (k, d)]
    return tuple(rng.standard_normal(shape).astype(dtype) for shape in shapes)


def loop_of(kernels, X, Y, W, p, rule=PLAIN, form="direct", threads=1):
    widths = (X.shape[1], Y.shape[1])
    return Single(kernels.loop, X, Y, Loss(p, 1.0, form), widths, W.ravel(), rule, threads)


@exact.needs_long_double
@pytest.mark.parametrize(
    ("of_x", "of_w", "p"),
    [
        (1e150, 1e-150, 2.0),  # the square of the gradient's norm overflows, the norm does not
        (1e150, 1e-150, 4.0),
        (1e-150, 1e150, 4.0),  # that of the weights does, that of the gradient vanishes
        (1e-150, 1.0, 2.0),  # the loss is 1e-300, the gradient 1e-300
        (1e-100, 1e-60, 1.5),
        (1.0, 1e150, 2.0),  # the loss is 1e300
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_loss_and_norms_of_a_run(kernels, of_x, of_w, p, threads):
    if kernels.backend == "cuda" and of_x * of_w < 1e-140:
        pytest.skip("CUDA: squares of norms below 1e-154 vanish (docs/numerics.md)")
    X, Y, W = data(n=900)
    X, Y, W = of_x * X, of_x * of_w * Y, of_w * W
    with loop_of(kernels, X, Y, W, p, threads=threads) as loop:
        _, loss, slope, size = loop.evaluate()
        loop.advance(1, record_every=1, tol=1e-320)
        assert loop.statuses[0] == RUNNING
        np.testing.assert_array_equal(loop.take_history()[0, 1:], (loss, slope, size))
    value, _, gradient, *_ = exact.loss_and_gradient(X, Y, W, p, 1.0)
    for got, expected in ((loss, value), (slope, exact.norm(gradient)), (size, exact.norm(W))):
        assert abs(got - expected) <= 1e-13 * expected


@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_loss_that_overflows_is_a_divergence(kernels, p, dtype):
    X, Y, W = data(dtype=dtype)
    of_x, of_w = (1e30, 1e20) if dtype == np.float32 else (1e250, 1e70)
    with loop_of(kernels, dtype(of_x) * X, Y, dtype(of_w) * W, p) as loop:
        assert loop.advance(3) == DIVERGED
        assert loop.steps[0] == 0


def test_only_a_gradient_of_zero_has_a_norm_of_zero(kernels):
    """Its square is 0 from 1e-162 on: a tolerance above 0 must not be met by that."""
    if kernels.backend == "cuda":
        pytest.skip("CUDA: squares of norms below 1e-154 vanish (docs/numerics.md)")
    X, Y, W = data()
    with loop_of(kernels, 1e-100 * X, 1e-100 * Y, W, 2.0) as loop:
        assert loop.advance(1, tol=1e-210) == RUNNING
        assert loop.advance(1, tol=1e-190) == CONVERGED


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_finite_reaches_the_loss(kernels, dtype, k, p, bad):
    """Whatever else is in the sums, in any of the arguments, in a vector or in the rest of one."""
    for part in range(3):
        for place in (0, 8, -1):
            case = data(k=k, dtype=dtype)
            case[part].reshape(-1)[place] = bad
            value, gradient = kernels.lp_loss.loss_and_gradient(*case, Loss(p))
            assert not np.isfinite(value)
            if np.isnan(bad):
                assert np.isnan(gradient).any()
    case = data(k=k, dtype=dtype)
    case[2][0, 3] = bad
    with loop_of(kernels, *case, p) as loop:
        assert loop.advance(5) == DIVERGED


@pytest.mark.parametrize("bad", BAD)
def test_what_is_not_finite_passes_through(kernels, bad):
    """The Gram form, the Hessian, the chain of factors, the rules, the preconditioner."""
    for part in range(3):
        X, Y, W = data(k=2)
        (X, Y, W)[part][1, 3 if part != 1 else 0] = bad
        gram = kernels.lp_loss.gram(X, Y)
        value, gradient = kernels.lp_loss.gram_loss_and_gradient(*gram, len(X), W, 1.0)
        assert not np.isfinite(value)
        assert not np.isfinite(gradient).all()
        H = kernels.lp_loss.hessian(X, Y[:, 0], W[1], Loss(3.0))
        assert not np.isfinite(H).all()
    widths = (9, 4, 3, 2)
    for place in (0, 40, 53):
        params, G = np.ones(9 * 4 + 12 + 6), np.ones((2, 9))
        params[place] = bad
        assert not np.isfinite(kernels.factor_chain.end_to_end(params, widths)).all()
        assert not np.isfinite(kernels.factor_chain.gradients(params, widths, G)).all()
    for kind, (rate, _, *rest), _ in UPDATES.values():
        for spoilt in range(2):
            params, grads = np.ones((2, 20))
            (params, grads)[spoilt][7] = bad
            state = np.ones((STATE_SLOTS[kind], 20))
            kernels.updates.update(kind, params, grads, state, (rate, 0.1, *rest), 3)
            assert np.flatnonzero(~np.isfinite(params)).tolist() == [7]


@pytest.mark.parametrize("bad", BAD)
def test_what_is_not_finite_passes_through_the_end_to_end_rule(kernels, bad):
    W, G = np.ones((1, 20)), np.ones((1, 20))
    for spoilt in (W, G):
        spoilt[0, 7] = bad
        assert not np.isfinite(kernels.precondition.precondition(W, G, 3)).all()
        spoilt[0, 7] = 1.0


@each_rule
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_rule_survives_a_gradient_that_is_not_finite(kernels, name, dtype):
    """It leaves the last finite iterate, whatever the rule would have made of it."""
    X, Y, W = data(dtype=dtype)
    X[3, 2] = np.inf
    with loop_of(kernels, X, Y, W, 4.0, RULES[name]) as loop:
        assert loop.advance(5) == DIVERGED
        np.testing.assert_array_equal(loop.params, W.ravel())


@pytest.mark.slow
@pytest.mark.parametrize(("p", "d"), [(2.0, 1), (4.0, 2)])
def test_ten_million_rows_of_float32(compiled, p, d):
    n = 10**7
    rng = np.random.default_rng(d)
    X = rng.standard_normal((n, d), np.float32)
    Y = rng.standard_normal((n, 1), np.float32)
    W = np.full((1, d), 0.5, np.float32)
    value, gradient = compiled.lp_loss.loss_and_gradient(X, Y, W, Loss(p))
    r = X @ W.T.astype(np.float64) - Y
    slope = r if p == 2 else r * r * r
    expected = np.vdot(slope, r) / n
    assert abs(value - expected) <= 1e-8 * expected
    terms = p / n * (abs(slope).T @ abs(X))
    # 2^14 rows of float32 sums, whose errors are independent, not all of one sign.
    bound = 2**7 * np.finfo(np.float32).eps * terms
    assert np.all(abs(gradient - p / n * (slope.T @ X)) <= bound)


def test_ten_million_equal_terms(compiled):
    """No rounding error hides behind another: a float32 sum of these would stop at 2^24."""
    n = 10**7
    X, Y, W = np.ones((n, 1), np.float32), np.zeros((n, 1), np.float32), np.ones((1, 1), np.float32)
    value, gradient = compiled.lp_loss.loss_and_gradient(X, Y, W, Loss(2.0))
    assert value == 1.0
    assert gradient[0, 0] == 2.0


def test_extended_precision_is_extended():
    """What the comparisons above rest on."""
    if np.finfo(LONG).nmant >= 63:
        assert LONG(1) + LONG(2) ** -63 != 1
