"""The form "entries": losses of numbers seen of the end-to-end matrix."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.kernels.cpu import entries as compiled_entries
from accel.kernels.cpu import loop
from accel.kernels.cpu.panels import in_panels
from accel.kernels.reference import entries
from accel.kernels.specs import DIVERGED, RUNNING, Loss, ModelSpec, Rule

from . import exact
from .exact import LONG, needs_long_double
from .runs import DTYPES, PLAIN, RULES, Problem, Single, assert_cuts_do_not_show
from .test_loop_models import descent

POWERS = [1.0, 1.5, 2.0, 2.7, 3.0, 4.0]
SHAPES = {
    "row": (1, 19), "column": (23, 1), "small": (3, 2), "wide": (12, 70), "tall": (75, 9),
    "square": (40, 40),
}  # fmt: skip


def observed(seed=0, k=12, d=9, m=50, hidden=(5,), p=2.0, dtype=np.float64, factor=0.5):
    """Entries of a matrix, some of them several times, and a network to start from."""
    rng = np.random.default_rng(seed)
    places = np.column_stack([rng.integers(0, size, m) for size in (k, d)]).astype(np.int64)
    values = rng.standard_normal((m, 1)).astype(dtype)
    widths = (d, *hidden, k)
    blocks = [
        rng.standard_normal(rows * columns) / np.sqrt(columns)
        for rows, columns in zip(widths[1:], widths[:-1], strict=True)
    ]
    params = np.concatenate(blocks).astype(dtype)
    return Problem(places, values, Loss(p, factor, "entries"), widths, params)


def both(plain, case, rule, steps, threads=1):
    """A run on the CPU beside one of plain NumPy, compared."""
    tolerance = 2e-4 if case.Y.dtype == np.float32 else 1e-10
    with Single(plain.loop, *case, rule) as run:
        run.advance(steps, record_every=1)
        theirs = run.take_history(), run.evaluate(), run.params
    with Single(loop, *case, rule, threads) as run:
        assert run.advance(steps, record_every=1) == RUNNING
        ours = run.take_history(), run.evaluate(), run.params
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    assert np.max(abs(ours[2] - case.params)) > 1e-6  # it went somewhere


# The definition ---------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    k=st.integers(1, 12),
    d=st.integers(1, 12),
    m=st.integers(1, 60),
    p=st.sampled_from(POWERS),
)
def test_by_the_pass_over_data(plain, seed, k, d, m, p):
    """An entry is a sample whose features say which one it is: of k d of them, one output."""
    X, Y, loss, _, params = observed(seed, k, d, m, (), p)
    W = params.reshape(k, d)
    data = np.zeros((m, k * d))
    data[np.arange(m), X[:, 0] * d + X[:, 1]] = 1
    value, G = entries.loss_and_gradient(X, Y, W, loss)
    expected, slopes = plain.lp_loss.loss_and_gradient(data, Y, W.reshape(1, -1), loss)
    assert value == pytest.approx(expected, rel=1e-13)
    np.testing.assert_allclose(G, slopes.reshape(k, d), rtol=1e-12, atol=1e-15)
    again = entries.measured_loss_and_gradient(data, Y, W, loss)
    assert again[0] == expected
    np.testing.assert_array_equal(again[1], slopes.reshape(k, d))


@pytest.mark.parametrize("p", [1.5, 2.0, 2.7, 4.0])
def test_derivatives(p):
    """Gradient and second derivative against differences, of some entries and of all."""
    X, Y, loss, _, params = observed(p=p, hidden=())
    M, W = np.random.default_rng(1).standard_normal((2, 12, 9))
    V, h = params.reshape(12, 9), 1e-6
    functions = {
        "some": (
            lambda W: entries.loss_and_gradient(X, Y, W, loss),
            lambda W, V: entries.hessian_product(X, Y, W, V, loss),
        ),
        "all": (
            lambda W: entries.whole_loss_and_gradient(M, W, loss),
            lambda W, V: entries.whole_hessian_product(M, W, V, loss),
        ),
    }
    for of, second in functions.values():
        slope = (of(W + h * V)[0] - of(W - h * V)[0]) / (2 * h)
        assert np.vdot(of(W)[1], V) == pytest.approx(slope, rel=1e-7)
        product = (of(W + h * V)[1] - of(W - h * V)[1]) / (2 * h)
        np.testing.assert_allclose(second(W, V), product, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_all_entries_are_each_of_them_once(p, dtype):
    rng, loss = np.random.default_rng(2), Loss(p, 1 / p)
    M, W, V = rng.standard_normal((3, 7, 5)).astype(dtype)
    places, values = np.argwhere(np.ones(M.shape)), M.reshape(-1, 1)
    value, G = entries.whole_loss_and_gradient(M, W, loss)
    expected, slopes = entries.loss_and_gradient(places, values, W, loss)
    tolerance = 1e-6 if dtype == np.float32 else 1e-14
    assert G.dtype == slopes.dtype == dtype
    assert value == pytest.approx(expected, rel=tolerance)
    np.testing.assert_allclose(G, slopes, rtol=tolerance)
    np.testing.assert_allclose(
        entries.whole_hessian_product(M, W, V, loss),
        entries.hessian_product(places, values, W, V, loss),
    )


@pytest.mark.parametrize("p", POWERS)
def test_where_a_residual_is_zero(p):
    X, Y, loss, _, _ = observed(p=p, m=1)
    W = np.full((12, 9), Y[0, 0])
    value, G = entries.loss_and_gradient(X, Y, W, loss)
    assert value == 0
    assert not G.any()
    product = entries.hessian_product(X, Y, W, np.ones((12, 9)), loss)
    assert product.sum() == (1.0 if p == 2 else 0.0)


@needs_long_double
@settings(max_examples=80)
@given(
    seed=st.integers(0, 2**32 - 1),
    k=st.integers(1, 6),
    d=st.integers(1, 6),
    m=st.integers(1, 80),
    p=st.sampled_from(POWERS),
    size=st.sampled_from([1e-3, 1.0, 1e3]),
    dtype=st.sampled_from(DTYPES),
)
def test_error_bounds(seed, k, d, m, p, size, dtype):
    X, Y, loss, _, params = observed(seed, k, d, m, (), p, dtype)
    W, Y = (size * params.reshape(k, d)).astype(dtype), (size * Y).astype(dtype)
    value, G = entries.loss_and_gradient(X, Y, W, loss)
    eps, scale = exact.eps_of(dtype), LONG(loss.factor) / m
    r = W.astype(LONG)[X[:, 0], X[:, 1]] - Y.astype(LONG)[:, 0]
    delta = eps * abs(r)
    reach, relative = abs(r) + delta, exact.of_powers(r, p, eps)
    error = np.sum(exact.moved(abs(r), delta, p) + relative * reach**p)
    error += (m + 4) * exact.EPS64 * np.sum(reach**p)
    assert abs(LONG(value) - scale * np.sum(abs(r) ** p)) <= scale * error
    expected, wrong, count = (np.zeros((k, d), LONG) for _ in range(3))
    at, steepest = tuple(X.T), reach ** (p - 1)
    np.add.at(count, at, 1)
    np.add.at(expected, at, np.sign(r) * abs(r) ** (p - 1))
    terms = exact.moved(r, delta, p - 1) + relative * steepest
    np.add.at(wrong, at, terms + (count[at] + 3) * eps * (steepest + terms))
    assert np.all(abs(G.astype(LONG) - p * scale * expected) <= p * scale * wrong)


# Runs -------------------------------------------------------------------------------------------

#: Of 37 x 20 entries so many that the matrix is multiplied out, and so few that it is not.
MANY, FEW = 500, 200


@pytest.mark.parametrize("m", [MANY, FEW])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", [(), (30,), (5, 11, 4)], ids=len)
@pytest.mark.parametrize("name", RULES)
def test_every_rule_and_depth(plain, many_ranks, name, hidden, dtype, m):
    if name.startswith("end-to-end") and hidden:
        hidden = ()
    case = observed(k=37, d=20, m=m, hidden=hidden, dtype=dtype)
    steps = 15 if dtype == np.float32 else 25 if name in ("adadelta", "rmsprop") else 50
    both(plain, case, RULES[name], steps, threads=3)


@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_shape_and_power(plain, many_ranks, shape, p):
    for hidden in ((), (2,), (6, 3)):
        k, d = shape
        for m in {2 * k * d // 3, k * d // 5 + 1}:
            case = observed(k=k, d=d, m=m, hidden=hidden, p=p)
            both(plain, case, descent(1e-3), 20, 3)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    k=st.integers(1, 90),
    d=st.integers(1, 90),
    m=st.integers(1, 5000),
    hidden=st.lists(st.integers(1, 90), max_size=3),
    p=st.sampled_from(POWERS),
    dtype=st.sampled_from(DTYPES),
    threads=st.sampled_from([1, 2, 3, 5]),
)
def test_random_shapes(plain, seed, k, d, m, hidden, p, dtype, threads):
    case = observed(seed, k, d, m, hidden, p, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        ends = []
        for module in (loop, plain.loop):
            with Single(module, *case, descent(1e-3), threads) as run:
                run.advance(4, record_every=1)
                ends.append((run.evaluate(), run.params, run.take_history()))
    tolerance = 2e-3 if dtype == np.float32 else 1e-9
    for ours, theirs in zip(*ends, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("m", [4000, 900])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", [(), (60,), (33, 18)], ids=len)
@pytest.mark.parametrize("rule", ["gradient descent", "group rmsprop"])
def test_no_bit_depends_on_the_number_of_parts(many_ranks, hidden, dtype, m, rule):
    case = observed(k=75, d=40, m=m, hidden=hidden, p=1.5, dtype=dtype)
    rule = descent(1e-3) if rule == "gradient descent" else RULES[rule]
    ends = []
    for threads in (1, 2, 3, 5):
        with Single(loop, *case, rule, threads) as run:
            assert run.threads > 1 or threads == 1
            run.advance(20, record_every=3)
            ends.append((run.params, run.take_history(), run.evaluate()))
    for end in ends[1:]:
        for ours, theirs in zip(end, ends[0], strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_models_do_not_see_each_other(many_ranks):
    """In a sweep, with any number of threads, a model has the bits that it has alone."""
    X, Y, loss, widths, params = observed(k=33, d=20, m=200, hidden=(20,))
    rules = [descent(1e-3), descent(1e9), RULES["adam"]]
    models = [ModelSpec(widths, params, rule) for rule in rules]
    models.append(ModelSpec((20, 33), params[: 20 * 33], descent(1e-2)))
    alone = []
    for model in models:
        with Single(loop, X, Y, loss, *model[:3]) as run:
            run.advance(200, record_every=7)
            alone.append((run.params, run.take_history()))
    for threads in (1, 2, 3):
        with loop.TrainingLoop(X, Y, loss, models, threads) as run:
            run.advance(200, record_every=7)
            assert list(run.statuses) == [RUNNING, DIVERGED, RUNNING, RUNNING]
            steps, rows = run.take_history()
            for m, (kept, history) in enumerate(alone):
                np.testing.assert_array_equal(run.params(m), kept)
                own = ~np.isnan(rows[:, m, 0])
                np.testing.assert_array_equal(steps[own], history[:, 0])
                np.testing.assert_array_equal(rows[own, m], history[:, 1:])


@pytest.mark.parametrize("name", ["gradient descent", "momentum", "adam"])
def test_chunks_and_snapshots_do_not_show(kernels, name):
    case, rule = observed(), RULES[name]
    assert_cuts_do_not_show(kernels.loop, case, rule)


@pytest.mark.parametrize("order", ["reversed", "shuffled"])
def test_entries_in_any_order(order):
    """Each is observed once: then sums do not depend on the order in which entries are given."""
    case = observed(k=40, d=30, m=1, hidden=(7,))
    places = np.argwhere(np.random.default_rng(3).random((40, 30)) < 0.4)
    values = np.random.default_rng(4).standard_normal((len(places), 1))
    turn = slice(None, None, -1)
    if order == "shuffled":
        turn = np.random.default_rng(5).permutation(len(places))
    ends = []
    for X, Y in ((places, values), (places[turn], values[turn])):
        with Single(loop, X, Y, *case[2:], RULES["adam"]) as run:
            run.advance(30)
            ends.append(run.params)
    np.testing.assert_array_equal(*ends)


@pytest.mark.parametrize("name", ["gradient descent", "group rmsprop"])
def test_records_change_no_bit(many_ranks, name):
    """Where few entries are seen, the whole matrix is made for records only."""
    case, ends = observed(k=37, d=20, m=FEW, hidden=(5, 6)), []
    for every in (0, 1, 4):
        with Single(loop, *case, RULES[name], 2) as run:
            run.advance(10, record_every=every)
            ends.append((run.params, run.evaluate()))
            if every:
                W = run.loop.params(0)[: 5 * 20].reshape(5, 20)
                for factor in (run.loop.params(0)[100:130].reshape(6, 5),
                               run.loop.params(0)[130:].reshape(37, 6)):  # fmt: skip
                    W = factor @ W
                assert run.evaluate()[-1] == pytest.approx(np.linalg.norm(W), rel=1e-13)
    for end in ends[1:]:
        for ours, theirs in zip(end, ends[0], strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("size", [1e-170, 1e170])
def test_norms_whose_squares_are_no_numbers(plain, size):
    """Entries that were seen several times count once in the norm of the gradient."""
    X, Y, loss, widths, params = observed(k=37, d=20, m=FEW, hidden=(5,))
    norms = []
    for module in (plain.loop, loop):
        with Single(module, X, size * Y, loss, widths, 1e-3 * params, descent(1e-3)) as run:
            norms.append(run.evaluate()[2])
    assert len(np.unique(X, axis=0)) < len(X)
    assert norms[1] == pytest.approx(norms[0], rel=1e-12)


def test_more_entries_of_a_panel_than_are_gathered_at_a_time(plain):
    both(plain, observed(k=3, d=50, m=9000, hidden=(4,), p=4.0), descent(1e-3), 5)


def test_what_overflows_has_diverged(kernels):
    X, Y, loss, widths, params = observed(hidden=())
    with Single(kernels.loop, X, Y, loss, widths, 1e200 * params, PLAIN) as run:
        assert run.advance(1) == DIVERGED
        assert not np.isfinite(run.evaluate()[1])


def test_weight_decay(plain):
    for name in ("nesterov", "adam", "end-to-end 3"):
        kind, (rate, _, *rest), _ = RULES[name]
        hidden = () if name.startswith("end-to-end") else (6,)
        both(plain, observed(k=20, hidden=hidden), Rule(kind, (rate, 0.1, *rest)), 30)


# Memory -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "d"), [*SHAPES.values(), (530, 3)])
@pytest.mark.parametrize("lanes", [2, 4, 8])
def test_places_in_panels(k, d, lanes):
    ld = -(-d // lanes) * lanes
    matrix = np.arange(1.0, k * d + 1).reshape(k, d)
    places = np.argwhere(matrix)
    flat = compiled_entries.places_in_panels(*places.T, k, ld, lanes)
    np.testing.assert_array_equal(in_panels(matrix.T, ld, lanes)[flat], matrix.ravel())


def test_nothing_is_as_large_as_the_matrix_but_products_of_factors():
    """Of a large matrix of which little is seen, the pass holds what is seen, and that is said."""
    from accel.kernels.cpu import needs
    from accel.kernels.needs import Shape

    k, d, m = 2000, 1500, 400
    case = observed(k=k, d=d, m=m, hidden=(2,))
    with Single(loop, *case, PLAIN) as run:
        data, run_memory = run.loop._ranks._data, run.loop._run
        (scratch,) = run.loop._ranks._scratch
        held = sum(array.nbytes for array in data if isinstance(array, np.ndarray))
        shape = Shape(m, d, k, np.dtype("f8"), "entries")
        assert held <= needs.data_bytes(shape)["the entries, sorted"] < 8 * k * d / 100
        model = ModelSpec(case.widths, case.params, PLAIN)
        said = needs.run_bytes(shape, [model], 1, 1)
        assert said["products of factors"] == run_memory.products.nbytes
        assert scratch.sums.nbytes - 128 < said["gradients"] <= scratch.sums.nbytes
        assert said["transposed first factors"] <= scratch.work.nbytes + scratch.block.nbytes
        others = {name: array.nbytes for name, array in run_memory._asdict().items()
                  if name not in ("products", "history")}  # fmt: skip
        others |= {name: array.nbytes for name, array in scratch._asdict().items()}
        assert max(others.values()) < 8 * k * d / 50, others
