"""The form "diagonal": p = 2 where the matrix of data is diagonal."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from accel.kernels.cpu import diagonal
from accel.kernels.reference import lp_loss
from accel.kernels.specs import GRADIENT_DESCENT, RUNNING, Loss, ModelSpec, Rule

from . import exact
from .exact import LONG, needs_long_double
from .runs import (
    DTYPES,
    HIDDEN,
    PLAIN,
    RULES,
    Single,
    assert_cuts_do_not_show,
    assert_same_run,
    by_definition,
    each_rule,
    for_rule,
    problem,
    written_out,
)
from .test_accuracy import SCALES, within

BOTH = pytest.mark.parametrize("module", [lp_loss, diagonal], ids=["reference", "cpu"])
DEPTHS = {**HIDDEN, "depth 4": (1, 1, 1)}
RUNS = [
    pytest.param(name, hidden, id=f"{name}, {depth}")
    for name in RULES
    for depth, hidden in DEPTHS.items()
    if not (name.startswith("end-to-end") and hidden)
]
COMMUTING = [
    "gradient descent", "momentum", "nesterov", "group rmsprop", "group rmsprop, factors",
    "end-to-end 3",
]  # fmt: skip
RATTLING = ["adadelta", "rmsprop", "group rmsprop, factors"]


@BOTH
@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    d=st.integers(1, 300),
    k=st.integers(1, 6),
    dtype=st.sampled_from(DTYPES),
    rest=st.sampled_from([0.0, 1e-9, 3.0]),
    layout=st.sampled_from(["C", "F", "strided", "reversed"]),
)
def test_is_the_direct_pass(plain, lay_out, module, seed, d, k, dtype, rest, layout):
    rng = np.random.default_rng(seed)
    s, Y, W = rng.random(d), rng.standard_normal((d, k)), rng.standard_normal((k, d))
    s, Y, W = (a.astype(dtype) for a in (s, Y, W))
    loss = Loss(2.0, 0.5, "diagonal", rest)
    arguments = lay_out(s[:, np.newaxis], layout)[:, 0], lay_out(Y, layout), lay_out(W, layout)
    value, G = module.diagonal_loss_and_gradient(*arguments, loss)
    expected, expected_G = by_definition(plain, s, Y, W, loss)
    assert G.dtype == dtype
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    assert value == pytest.approx(expected, rel=tolerance)
    np.testing.assert_allclose(G, expected_G, rtol=tolerance, atol=tolerance)


# Accuracy ---------------------------------------------------------------------------------------


@needs_long_double
@BOTH
@settings(max_examples=100)
@given(
    seed=st.integers(0, 2**32 - 1),
    d=st.integers(1, 200),
    k=st.integers(1, 3),
    condition=st.sampled_from([1.0, 1e6, 1e12]),
    noise=st.sampled_from([0.0, 1e-12, 1.0]),
    size=st.sampled_from([1e-12, 1.0, 1e12]),
    dtype=st.sampled_from(DTYPES),
)
def test_error_bounds(module, seed, d, k, condition, noise, size, dtype):
    rng = np.random.default_rng(seed)
    s = np.geomspace(1, 1 / condition, d).astype(dtype)
    W = (size * rng.standard_normal((k, d))).astype(dtype)
    Y = (s[:, np.newaxis] * W.T * (1 + noise * rng.standard_normal((d, k)))).astype(dtype)
    rest = noise * size**2
    got = module.diagonal_loss_and_gradient(s, Y, W, Loss(2.0, 0.5, "diagonal", rest))
    value, error, G, G_error = exact.diagonal_loss_and_gradient(s, Y, W, 0.5, rest)
    assert abs(LONG(got[0]) - value) <= error
    assert np.all(abs(got[1].astype(LONG) - G) <= G_error)


@needs_long_double
@BOTH
@pytest.mark.parametrize("dtype", DTYPES)
def test_error_bounds_at_all_sizes(module, dtype):
    """What overflows must not look like a number, and what vanishes must do no harm."""
    rng = np.random.default_rng(4)
    s, W = np.sort(rng.random(24))[::-1], rng.standard_normal((2, 24))
    Y = s[:, np.newaxis] * W.T + rng.standard_normal((24, 2))
    for of_s in SCALES[dtype]:
        for of_w in SCALES[dtype]:
            with np.errstate(over="ignore", invalid="ignore", under="ignore"):
                data = (of_s * s, of_s * of_w * Y, of_w * W)
                data = tuple(a.astype(dtype) for a in data)
                if not all(np.isfinite(a).all() for a in data):
                    continue
                got = module.diagonal_loss_and_gradient(*data, Loss(2.0, 0.5, "diagonal"))
                value, error, G, G_error = exact.diagonal_loss_and_gradient(*data, 0.5, 0.0)
                finite = within(got[0], value, error) & within(got[1], G, G_error).all()
                top = LONG(np.finfo(dtype).max) / 4
                reach = max(np.max(abs(data[0]) * abs(exact.long(data[2])[0])), abs(data[1]).max())
                size, slopes = 48 * reach**2, 2 * reach * LONG(data[0].max())
                assert finite or max(size, slopes, reach) > top / 4  # no false alarm
                if value > np.finfo(np.float64).max:
                    assert not np.isfinite(got[0])


@needs_long_double
@BOTH
@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 150),
    d=st.integers(1, 60),
    k=st.integers(1, 3),
    condition=st.sampled_from([1.0, 1e6, 1e12]),
    noise=st.sampled_from([0.0, 1e-9, 1.0]),
)
def test_error_bounds_with_a_computed_decomposition(module, seed, n, d, k, condition, noise):
    """In the basis of singular vectors: as if the data were a little different."""
    rng, rank = np.random.default_rng(seed), min(n, d)
    left, right = (np.linalg.qr(rng.standard_normal((m, rank)))[0] for m in (n, d))
    X = left * np.geomspace(1, 1 / condition, rank) @ right.T
    W = rng.standard_normal((k, d))
    Y = X @ W.T + noise * rng.standard_normal((n, k))

    U, s, Qt = np.linalg.svd(X, full_matrices=n < d)
    U, s = U[:, : min(n, d)], np.concatenate([s, np.zeros(max(d - n, 0))])
    Z = np.zeros((d, k))
    Z[: min(n, d)] = U.T @ Y
    rest = float(np.sum((Y - U @ Z[: min(n, d)]) ** 2))
    loss = Loss(2.0, 0.5 * d / n, "diagonal", rest)
    value, G = module.diagonal_loss_and_gradient(s, Z, W @ Qt.T, loss)

    X, Y, W = exact.long(X, Y, W)
    scale, r = LONG(0.5) / n, X @ W.T - Y
    unit = (n + d + 8) * LONG(exact.EPS64)
    delta = unit * (exact.norm(X) * exact.norm(W) + exact.norm(Y))
    size = exact.norm(r)
    assert abs(np.sqrt(LONG(value) / scale) - size) <= delta
    moved = exact.norm((G @ Qt) - 2 * scale * (r.T @ X))
    assert moved <= 2 * scale * exact.norm(X) * (delta + unit * size)


# Runs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize(("name", "hidden"), RUNS)
def test_every_rule_depth_and_output(kernels, plain, name, hidden, k, dtype):
    """For as long as the runs do not amplify rounding errors.

    AdaDelta and RMSProp do that near an optimum, where the steps of a coordinate grow until it is
    left again: in steps 40 to 50 AdaDelta at depth 8 makes 1e-10 of a perturbation by 1e-15, and so
    does RMSProp in groups of a factor.
    """
    case = for_rule(name, hidden=hidden, k=k, form="diagonal", dtype=dtype)
    steps = 20 if dtype == np.float32 else 30 if name in RATTLING else 60
    with Single(kernels.loop, *case, RULES[name]) as loop:
        assert_same_run(plain, loop, case, RULES[name], steps)


@each_rule
def test_weight_decay(kernels, plain, name):
    kind, (rate, _, *rest), _ = RULES[name]
    rule, case = Rule(kind, (rate, 0.1, *rest)), for_rule(name, k=2, form="diagonal")
    with Single(kernels.loop, *case, rule) as loop:
        assert_same_run(plain, loop, case, rule, 50)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    d=st.integers(1, 300),
    hidden=st.lists(st.integers(1, 40), max_size=4),
    k=st.integers(1, 5),
    dtype=st.sampled_from(DTYPES),
    threads=st.sampled_from([1, 2, 3]),
)
def test_random_shapes(kernels, plain, seed, d, hidden, k, dtype, threads):
    case = problem(seed, d=d, hidden=hidden, k=k, form="diagonal", dtype=dtype)
    rule = Rule(GRADIENT_DESCENT, (1e-3, 0.0, 0.0, 0.0, 0.0))
    with np.errstate(over="ignore", invalid="ignore"):
        rows, params = written_out(plain, case, rule, 4)
    assume(np.isfinite(rows).all())
    tolerance = 1e-4 if dtype == np.float32 else 1e-10
    bound = {"rtol": tolerance, "atol": tolerance}
    with Single(kernels.loop, *case, rule, threads) as loop:
        assert loop.advance(4, record_every=3) == RUNNING
        np.testing.assert_allclose(loop.take_history(), rows[[0, 3]], **bound)
        np.testing.assert_allclose(loop.evaluate(), rows[4], **bound)
        np.testing.assert_allclose(loop.params, params, **bound)


@each_rule
def test_chunks_and_snapshots_do_not_show(kernels, name):
    case, rule = for_rule(name, d=40, k=2, form="diagonal"), RULES[name]
    assert_cuts_do_not_show(kernels.loop, case, rule)


@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 40),
    d=st.integers(1, 20),
    hidden=st.lists(st.integers(1, 6), max_size=2),
    k=st.integers(1, 3),
    name=st.sampled_from(COMMUTING),
)
def test_a_run_in_the_basis_of_singular_vectors_is_the_run(kernels, seed, n, d, hidden, k, name):
    """These rules commute with rotations of the input, W_1 being rotated with it."""
    if kernels.backend == "cuda":
        d = (1, 17)[d % 2]  # a kernel is compiled for every d
    hidden = () if name.startswith("end-to-end") else hidden
    case = problem(seed, n, d, hidden, k, p=2.0)
    kind, (rate, _, *others), _ = RULES[name]
    rule = Rule(kind, (rate, 0.05, *others))
    U, s, Qt = np.linalg.svd(case.X)
    s, Z = np.concatenate([s, np.zeros(max(d - n, 0))]), np.zeros((d, k))
    Z[: min(n, d)] = (U.T @ case.Y)[: min(n, d)]
    rest = max(float(np.sum(case.Y**2) - np.sum(Z**2)), 0.0)
    rows, first = case.widths[1], case.widths[1] * d

    def turned(params, by):
        turned = params.copy()
        turned[:first] = (params[:first].reshape(rows, d) @ by).ravel()
        return turned

    models = [ModelSpec(case.widths, turned(case.params, Qt.T), rule)]
    loss = Loss(2.0, d / n, "diagonal", rest)
    with (
        Single(kernels.loop, *case, rule) as straight,
        kernels.loop.TrainingLoop(s, Z, loss, models) as loop,
    ):
        straight.advance(30, record_every=10)
        loop.advance(30, record_every=10)
        history = straight.take_history()
        steps, found = loop.take_history()
        np.testing.assert_array_equal(steps, history[:, 0])
        np.testing.assert_allclose(found[:, 0], history[:, 1:], rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(
            turned(loop.params(0), Qt), straight.params, rtol=1e-9, atol=1e-9
        )


def test_the_rest_counts_in_every_loss(kernels):
    case = problem(form="diagonal", k=2)
    without = case._replace(loss=case.loss._replace(rest=0.0))
    added = case.loss.factor * case.loss.rest / len(case.X)
    with Single(kernels.loop, *case, PLAIN) as loop, Single(kernels.loop, *without, PLAIN) as other:
        value = other.evaluate()[1]
        assert loop.evaluate()[1] == pytest.approx(value + added, rel=1e-14)
        for run in (loop, other):
            run.advance(5, record_every=1)
        np.testing.assert_array_equal(loop.params, other.params)
        ours, theirs = loop.take_history(), other.take_history()
        np.testing.assert_allclose(ours[:, 1], theirs[:, 1] + added, rtol=1e-14)
        np.testing.assert_array_equal(ours[:, 2:], theirs[:, 2:])
