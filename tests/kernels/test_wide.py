"""Networks with many outputs: products shared by outputs, gradients by the rows of the factors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.kernels.cpu import loop
from accel.kernels.cpu.factor_chain import Layout
from accel.kernels.cpu.panels import in_panels
from accel.kernels.specs import DIVERGED, RUNNING, Loss, ModelSpec, Rule

from .runs import DTYPES, RULES, Single, assert_same_run, for_rule, problem
from .test_loop_models import descent, mixed

FORMS = {"direct": {}, "gram": {"p": 2.0, "form": "gram"}, "diagonal": {"form": "diagonal"}}
each_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


@pytest.fixture(autouse=True)
def many_ranks(many_ranks):
    """In all of these tests."""


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", [(), (30,), (21, 40), (5, 1, 37)], ids=len)
@pytest.mark.parametrize("name", RULES)
def test_every_rule_and_depth(plain, name, hidden, dtype):
    case = for_rule(name, hidden=hidden, k=37, n=60, dtype=dtype)
    kind, (rate, *rest), _ = RULES[name]
    rule = Rule(kind, (0.02 * rate, *rest))  # these losses are steep
    with Single(loop, *case, rule, 2) as run:
        assert run.loop._wide
        assert_same_run(plain, run, case, rule, 20)


@each_form
@pytest.mark.parametrize("threads", [1, 3])
def test_every_form(plain, form, threads):
    case, rule = problem(hidden=(19,), k=40, d=33, **form), descent(1e-3)
    with Single(loop, *case, rule, threads) as run:
        assert run.loop._wide
        assert run.loop.threads == threads if threads < 3 else run.loop.threads >= 2
        assert_same_run(plain, run, case, rule, 30)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 300),
    d=st.integers(1, 90),
    hidden=st.lists(st.integers(1, 90), max_size=3),
    k=st.integers(17, 90),
    p=st.sampled_from([1.0, 1.5, 2.0, 3.0, 4.0]),
    dtype=st.sampled_from(DTYPES),
    threads=st.sampled_from([1, 2, 3, 5]),
)
def test_random_shapes(plain, seed, n, d, hidden, k, p, dtype, threads):
    case = problem(seed, n, d, hidden, k, p, dtype=dtype)
    rule = descent(1e-3)
    with np.errstate(over="ignore", invalid="ignore"):
        with Single(loop, *case, rule, threads) as run:
            assert run.loop._wide
            run.advance(4, record_every=1)
            ours = run.evaluate(), run.params, run.take_history()
        with Single(plain.loop, *case, rule) as run:
            run.advance(4, record_every=1)
            theirs = run.evaluate(), run.params, run.take_history()
    tolerance = 2e-3 if dtype == np.float32 else 1e-9
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@each_form
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_bit_depends_on_the_number_of_parts(form, dtype):
    if form.get("form") == "gram" and dtype == np.float32:
        pytest.skip("the Gram path is for float64")
    X, Y, loss, models = mixed(k=75, d=40, dtype=dtype, **form)
    for model in models[::4]:
        ends = []
        for threads in (1, 2, 3, 4, 5):
            with Single(loop, X, Y, loss, *model[:3], threads) as run:
                run.advance(20, record_every=3)
                ends.append((run.params, run.take_history(), run.evaluate()))
        for end in ends[1:]:
            for ours, theirs in zip(end, ends[0], strict=True):
                np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("d", "width", "k"), [(600, 700, 40), (37, 45, 700)])
def test_factors_longer_than_a_block_of_the_cache(plain, d, width, k):
    """More features, more in between, or more outputs than the products take at a time."""
    case = problem(hidden=(width,), k=k, d=d, n=30)
    with Single(loop, *case, descent(1e-3), 2) as run:
        assert run.loop._wide
        assert_same_run(plain, run, case, descent(1e-3), 3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_more_rows_than_are_added_up_in_the_dtype(plain, dtype):
    """Sums over rows move into float64 after 2^14 of them."""
    case = problem(n=17_000, d=3, hidden=(4,), k=540, dtype=dtype)
    with Single(loop, *case, descent(1e-3), 2) as run:
        assert run.loop._wide
        assert_same_run(plain, run, case, descent(1e-3), 3)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_models_that_end_leave_the_others_alone(threads):
    X, Y, loss, widths, params = problem(hidden=(20,), k=33, d=20, n=50)
    models = [ModelSpec(widths, params, descent(rate)) for rate in (1e-3, 1e9, 0.02)]
    with loop.TrainingLoop(X, Y, loss, models[:2], threads) as run:
        run.advance(500, record_every=7)
        np.testing.assert_array_equal(run.statuses, [RUNNING, DIVERGED])
        assert run.step == 500
        steps, rows = run.take_history()
        kept = run.params(0)
    with Single(loop, X, Y, loss, *models[0][:3]) as run:
        run.advance(500, record_every=7)
        np.testing.assert_array_equal(run.params, kept)
        np.testing.assert_array_equal(run.take_history()[:, 1:], rows[:, 0])
    assert len(steps) == 72


def test_squares_of_the_gradient_that_vanish():
    """The norm of a gradient whose squares are below the least number is right all the same."""
    X, Y, _, widths, params = problem(hidden=(), k=30, d=20, n=20)
    Y = 1e-165 * Y
    with Single(loop, X, Y, Loss(2.0, 1.0), widths, 0 * params, descent(1e-3), 2) as run:
        run.advance(1, record_every=1)
        ((_, _, slope, _),) = run.take_history()
    G = 2 / len(X) * Y.T @ X
    unit = np.max(abs(G))
    np.testing.assert_allclose(slope, unit * np.linalg.norm(G / unit), rtol=1e-12)


def test_panels():
    matrix = np.arange(3.0 * 21).reshape(3, 21)
    flat = in_panels(matrix, 4, 4)
    assert flat.shape == (4 * 24,)
    first = np.zeros((4, 8))
    first[:3] = matrix[:, :8]
    np.testing.assert_array_equal(flat[:32].reshape(4, 8), first)


def test_layout_of_a_wide_network():
    """Outputs are whole vectors: in the rows of the last factor, and in every product."""
    layout = Layout((5, 7, 21), np.dtype(np.float64), 4, wide=True)
    assert layout.n_params == 7 * 8 + 24 * 8
    assert layout.n_products == 3 * 24 * (8 + 8)
    params = np.arange(5 * 7 + 7 * 21, dtype=float)
    np.testing.assert_array_equal(layout.unpad(layout.pad(params)), params)
