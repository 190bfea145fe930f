"""Wide networks in the simulator: our products alone, and runs with many blocks a model."""

import numpy as np
import pytest
from numba import cuda

from accel.kernels.cuda import launch, products, streamed
from accel.kernels.cuda import loop as cuda_loop
from accel.kernels.cuda.jit import THREADS, Kernel, pointer
from accel.kernels.cuda.lp_loss import Pass, pack, pack_gram
from accel.kernels.cuda.products import Factor
from accel.kernels.reference import loop as reference_loop
from accel.kernels.reference import lp_loss as plain_loss
from accel.kernels.specs import (
    CONVERGED,
    DIVERGED,
    GRADIENT_DESCENT,
    RUNNING,
    TARGET,
    ModelSpec,
    Rule,
)

from ..runs import DTYPES, PLAIN, RULES, Single, for_rule, problem, written_out
from ..simulator import options
from .test_simulated_loops import Plain, mixed, run
from .ways import Way

WIDE, SMALL = Way("wide"), {"n": 21, "d": 9}


# Products ---------------------------------------------------------------------------------------


def multiplied(A, B, left_along, right_along):
    """A (m, q) by B (q, n), by tiles; either is transposed in memory where its terms lie along."""
    (m, terms), n = A.shape, B.shape[1]
    product = products.make_product.__wrapped__(A.dtype, left_along, right_along)

    def multiply(left, right, result):
        totals = cuda.local.array(products.ENTRIES, A.dtype)
        shared = cuda.shared.array(products.PRODUCT_SIZE, A.dtype)
        row, column = cuda.blockIdx.x * products.TILE, cuda.blockIdx.y * products.TILE
        one = Factor(left, 0, terms if left_along else m, m)
        other = Factor(right, 0, terms if right_along else n, n)
        product(one, other, row, column, 0, terms, shared, totals)
        for i in range(products.ENTRIES):
            e = cuda.threadIdx.x + THREADS * i
            r, c = row + e // products.TILE, column + e % products.TILE
            if r < m and c < n:
                result[r * n + c] = totals[i]

    result = np.full((m, n), np.nan, A.dtype)
    left, right = (A if left_along else A.T.copy()), (B.T.copy() if right_along else B)
    kernel = Kernel(multiply, [pointer(A.dtype)] * 3, ())
    kernel.prepared((products.tiles(m), products.tiles(n)), (left, right, result))()
    return result


@pytest.fixture(params=["as in the simulator", "several entries a thread"])
def geometry(request, monkeypatch):
    """Tiles with one entry a thread, or with four, as on a GPU."""
    if request.param.startswith("several"):
        changed = {
            "TILE": 16, "_TALL": 4, "_SIDE": 4, "_DEPTH": 16, "_SLICES": 4, "_SHARE": 4,
            "ENTRIES": 4, "_BROUGHT": 4, "_STEP": 17, "_OF_ROW": 20, "PRODUCT_SIZE": 1280,
        }  # fmt: skip
        assert changed.keys() <= vars(products).keys()
        for name, value in changed.items():
            monkeypatch.setattr(products, name, value)
        monkeypatch.setattr(products, "_make_bring", products._make_bring.__wrapped__)


@pytest.mark.usefixtures("geometry")
@pytest.mark.parametrize("left_along", [True, False])
@pytest.mark.parametrize("right_along", [True, False])
@pytest.mark.parametrize(("m", "n", "terms"), [(1, 1, 1), (17, 20, 33)])
def test_a_product(m, n, terms, left_along, right_along):
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((m, terms)), rng.standard_normal((terms, n))
    np.testing.assert_allclose(multiplied(A, B, left_along, right_along), A @ B, rtol=1e-12,
                               atol=1e-13)  # fmt: skip


def test_an_entry_depends_on_its_row_and_column_alone():
    """Not on where they are, nor on what is not finite beside them."""
    rng = np.random.default_rng(0)
    A, B = (rng.standard_normal(shape).astype(np.float32) for shape in [(20, 37), (37, 20)])
    whole = multiplied(A, B, True, False)
    A[0], B[:, 1] = np.nan, np.inf
    part = multiplied(A[7:], B[:, 5:], True, False)
    np.testing.assert_array_equal(part, whole[7:, 5:])
    np.testing.assert_array_equal(multiplied(A, B, True, False)[1:, 2:], whole[1:, 2:])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("n", "d", "k", "p"), [(1, 1, 1, 4.0), (260, 3, 2, 4.0), (21, 9, 17, 1.5), (5, 40, 3, 3.0)]
)
def test_a_pass_by_our_products(n, d, k, p, dtype):
    """For two models of the three, against the reference."""
    case = problem(n=n, d=d, k=3 * k, p=p, hidden=(), dtype=dtype)
    Y, W = case.Y[:, :k], case.params.reshape(3, k, d)
    one = Pass(pack(case.X, Y), case.params, case.loss, np.array([1, 0, 1]), route="blocks")
    one.partials[...], one.losses[...] = np.nan, np.where(one.losses == 0, 0.0, np.nan)
    one()
    gradients = one.partials.sum(axis=0).reshape(3, k, d)
    losses = one.losses.reshape(-1, 3, k).sum(axis=(0, 2))
    assert np.isnan(gradients[1]).all()
    assert losses[1] == 0
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    for m in (0, 2):
        exact = (array.astype(np.float64) for array in (case.X, Y, W[m]))
        loss, G = plain_loss.loss_and_gradient(*exact, case.loss)
        assert losses[m] / n == pytest.approx(loss, rel=tolerance)
        atol = tolerance * np.max(abs(G))
        np.testing.assert_allclose(p / n * gradients[m], G, rtol=0, atol=atol)


def test_a_pass_by_our_products_on_the_gram_path():
    case = problem(n=30, d=11, k=10, p=2.0, form="gram", hidden=())
    XX, YX, _ = plain_loss.gram(case.X, case.Y)
    W = case.params.reshape(10, 11)
    one = Pass(pack_gram(XX, YX, 30), case.params, case.loss, np.ones(1, np.int64), route="blocks")
    one()
    np.testing.assert_allclose(one.partials[0], W @ XX, rtol=1e-12)


# Runs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RULES)
def test_every_rule(name):
    run(WIDE, for_rule(name, **SMALL, hidden=(4,), k=3), RULES[name], 2)


@pytest.mark.parametrize("form", ["direct", "gram", "diagonal"])
@pytest.mark.parametrize(("hidden", "k"), [((), 9), ((9, 9), 9), ((3, 1, 20), 2)])
def test_every_form_and_depth(form, hidden, k):
    run(WIDE, problem(**SMALL, p=2.0, form=form, hidden=hidden, k=k), PLAIN, 2)


@pytest.mark.parametrize("hidden", [(), (20,), (3, 9), (3, 1, 20)], ids=len)
@pytest.mark.parametrize("name", ["group rmsprop", "group rmsprop, factors"])
def test_groups_at_every_depth(name, hidden):
    """Some factors with fewer entries than blocks have threads."""
    run(WIDE, problem(**SMALL, hidden=hidden, k=9), RULES[name], 3)


@pytest.mark.parametrize(("form", "rule"), [("direct", "adam"), ("diagonal", "momentum")])
def test_float32(form, rule):
    case = problem(**SMALL, form=form, hidden=(10,), k=3, dtype=np.float32)
    run(WIDE, case, RULES[rule], 3)


@pytest.mark.parametrize(("form", "k"), [("direct", 3), ("direct", 9), ("direct", 17), ("gram", 3)])
def test_the_other_passes_go_with_it_too(form, k, monkeypatch):
    """Rows, tiles, and products or the Gram matrix by cuBLAS."""
    monkeypatch.setattr(cuda_loop, "plan", lambda *arguments: None)
    monkeypatch.setattr(cuda_loop, "stream", streamed.WideStreaming)
    case = problem(**SMALL, p=2.0, form=form, hidden=(3,), k=k)
    run(cuda_loop, case, PLAIN, 2)


def test_any_power_and_weight_decay():
    case = problem(**SMALL, p=1.5, factor=1 / 1.5, hidden=(4,), k=2)
    run(WIDE, case, Rule(GRADIENT_DESCENT, (0.02, 0.1, 0.0, 0.0, 0.0)), 2)


@pytest.mark.parametrize(
    ("column", "rule", "status"), [(1, "target", TARGET), (2, "tol", CONVERGED)], ids=["1", "2"]
)
def test_stops_at_the_first_iterate_that_fulfils(column, rule, status):
    case = problem(**SMALL, p=2.0, hidden=(), k=2)
    rows, _ = written_out(Plain, case, PLAIN, 4)
    bound = (rows[2, column] + rows[3, column]) / 2
    _, params = written_out(Plain, case, PLAIN, 3)
    with Single(WIDE, *case, PLAIN) as loop:
        assert loop.advance(9, record_every=1, **{rule: bound}) == status
        assert loop.step == 3
        np.testing.assert_allclose(loop.params, params, rtol=1e-11, atol=1e-12)
        np.testing.assert_array_equal(loop.take_history()[:, 0], np.arange(4))
        assert loop.advance(5, **{rule: bound}) == status
        assert loop.step == 3


def test_divergence_and_the_way_back():
    case = problem(n=9, d=5, hidden=(3,), k=2)
    rule = Rule(GRADIENT_DESCENT, (300.0, 0.0, 0.0, 0.0, 0.0))
    with Single(WIDE, *case, rule) as loop:
        start = loop.snapshot()
        assert loop.advance(50, record_every=1) == DIVERGED
        at, history = loop.step, loop.take_history()
        assert at > 1
        np.testing.assert_array_equal(history[:, 0], np.arange(at))
        assert np.isfinite(history).all()
        loop.restore(start)
        assert loop.advance(at - 1) == RUNNING
        np.testing.assert_array_equal(loop.evaluate(), history[-1])
        assert loop.advance(2) == DIVERGED


def test_chunks_do_not_show_and_a_snapshot_brings_the_bits_back():
    case, rule = problem(**SMALL, hidden=(4,), k=2), RULES["adam"]
    with Single(WIDE, *case, rule) as whole, Single(WIDE, *case, rule) as parts:
        whole.advance(5, record_every=2)
        history = whole.take_history()
        for steps in (1, 0, 1):
            parts.advance(steps, record_every=2)
        snapshot, pieces = parts.snapshot(), [parts.take_history()]
        for _ in range(2):
            parts.restore(snapshot)
            parts.advance(3, record_every=2)
            np.testing.assert_array_equal(parts.params, whole.params)
            np.testing.assert_array_equal(np.concatenate([*pieces, parts.take_history()]), history)


@pytest.mark.parametrize("name", ["adam", "group rmsprop", "group rmsprop, factors"])
@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_the_order_of_blocks_and_warps(seed, name):
    """The same bits from every interleaving, and none of them a race or a deadlock."""
    case = problem(n=9, d=9, hidden=(9,), k=2)
    ends = []
    for schedule in (None, seed):
        with options(seed=schedule), Single(WIDE, *case, RULES[name]) as loop:
            loop.advance(2, record_every=1)
            ends.append((loop.params, loop.take_history()))
    for one, other in zip(*ends, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_sweep_of_several_rules_and_depths():
    """As the reference has it: one diverges and leaves, the others go on."""
    X, Y, loss, models = mixed(n=11, d=5, k=2)
    models = [models[m] for m in (1, 3, 6, 8, 10)]
    models[1] = models[1]._replace(rule=Rule(GRADIENT_DESCENT, (1e120, 0.0, 0.0, 0.0, 0.0)))
    plain = reference_loop.TrainingLoop(X, Y, loss, models)
    with WIDE.TrainingLoop(X, Y, loss, models) as ours:
        for loop in (ours, plain):
            loop.advance(2, record_every=2)
            loop.advance(1, record_every=2)
        np.testing.assert_array_equal(ours.statuses, plain.statuses)
        np.testing.assert_array_equal(ours.steps, plain.steps)
        assert ours.statuses[1] == DIVERGED
        for (_, rows), (_, expected) in [(ours.take_history(), plain.take_history())]:
            np.testing.assert_allclose(rows, expected, rtol=1e-9)
        for m in np.flatnonzero(ours.statuses == RUNNING):
            np.testing.assert_allclose(ours.params(m), plain.params(m), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("rule", ["momentum", "group rmsprop"])
@pytest.mark.parametrize("form", ["direct", "diagonal"])
def test_the_bits_of_a_model_do_not_depend_on_its_company(form, rule):
    """Nor on its place, nor on who leaves the run."""
    cases = [problem(seed, n=9, d=9, k=3, form=form, hidden=(seed + 2,)) for seed in range(3)]
    X, Y, loss, *_ = cases[0]
    models = [ModelSpec(case.widths, case.params, RULES[rule]) for case in cases]
    models[1] = models[1]._replace(rule=Rule(GRADIENT_DESCENT, (1e150, 0.0, 0.0, 0.0, 0.0)))
    ends = []
    for chosen in ([2], [1, 2], [2, 1, 0]):
        loop = WIDE.TrainingLoop(X, Y, loss, [models[m] for m in chosen])
        loop.advance(2)
        loop.advance(2)
        at = chosen.index(2)
        ends.append((loop.params(at), loop.evaluate()[at]))
        assert loop.statuses[at] == RUNNING
        assert 1 not in chosen or loop.statuses[chosen.index(1)] == DIVERGED
    for other in ends[1:]:
        np.testing.assert_array_equal(other[0], ends[0][0])
        np.testing.assert_array_equal(other[1], ends[0][1])


def test_the_launcher_is_chosen_by_the_plan(monkeypatch):
    monkeypatch.setattr(launch, "_ADVANTAGE", 0.01)
    case = problem(n=20, d=9, hidden=(9,), k=9)
    model = ModelSpec(case.widths, case.params, PLAIN)
    made = cuda_loop.TrainingLoop(case.X, case.Y, case.loss, [model])
    assert made.engine == "wide"
    assert isinstance(made._launcher, streamed.WideStreaming)
