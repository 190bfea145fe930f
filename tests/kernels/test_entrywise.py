"""Entrywise maps: their values, gradients and curvature, and whole runs of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.kernels.cpu import loop as cpu_loop
from accel.kernels.cpu import needs as cpu_needs
from accel.kernels.needs import Shape
from accel.kernels.specs import (
    DIVERGED,
    GRADIENT_DESCENT,
    RUNNING,
    STATE_SLOTS,
    Entrywise,
    Loss,
    ModelSpec,
    Rule,
)

from .runs import DTYPES, PLAIN, RULES

FORMS = ["power-difference", "hadamard"]
EPS = {dtype: np.finfo(dtype).eps for dtype in DTYPES}
each_form = pytest.mark.parametrize("form", FORMS)


def vectors(seed, structure, d, dtype=np.float64, scale=1.0):
    rng = np.random.default_rng(seed)
    return (scale * rng.standard_normal(structure.vectors * d)).astype(dtype)


def by_definition(params, structure, g):
    """The map and all gradients (float64), and the sums of the absolute values of their terms."""
    rows, N = params.astype(np.float64).reshape(structure.vectors, -1), structure.depth
    g = g.astype(np.float64)
    if structure.form == "power-difference":
        u, v = rows
        grads = np.concatenate([N * u ** (N - 1) * g, -N * v ** (N - 1) * g])
        return u**N - v**N, grads, abs(u) ** N + abs(v) ** N
    others = [np.prod(np.delete(rows, j, axis=0), axis=0) for j in range(N)]
    return np.prod(rows, axis=0), np.concatenate([o * g for o in others]), abs(np.prod(rows, 0))


@given(
    seed=st.integers(0, 2**32 - 1),
    d=st.integers(1, 300),
    form=st.sampled_from(FORMS),
    depth=st.integers(1, 9),
    dtype=st.sampled_from(DTYPES),
)
def test_random_maps(kernels, seed, d, form, depth, dtype):
    structure = Entrywise(form, depth)
    params = vectors(seed, structure, d, dtype)
    G = vectors(seed + 1, Entrywise("hadamard", 1), d, dtype)[np.newaxis]
    before = params.copy(), G.copy()
    w = kernels.entrywise.end_to_end(params, structure)
    grads = kernels.entrywise.gradients(params, structure, G)
    expected, expected_grads, terms = by_definition(params, structure, G[0])
    assert w.dtype == grads.dtype == dtype
    assert (w.shape, grads.shape) == ((1, d), params.shape)
    # What vanishes has an absolute error of the smallest number.
    least = 2 * depth * float(np.finfo(dtype).smallest_subnormal)
    assert np.all(abs(w[0] - expected) <= depth * EPS[dtype] * terms + least)
    bound = (depth + 2) * EPS[dtype] * abs(expected_grads)
    assert np.all(abs(grads - expected_grads) <= bound + least * (1 + abs(G).max()))
    np.testing.assert_array_equal(params, before[0])
    np.testing.assert_array_equal(G, before[1])
    assert not np.shares_memory(w, params)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("depth", [1, 2, 3, 4, 7])
def test_equal_vectors_make_zero(kernels, depth, dtype):
    """Where a run of a power difference begins, to the last bit."""
    u = vectors(0, Entrywise("hadamard", 1), 19, dtype)
    w = kernels.entrywise.end_to_end(np.tile(u, 2), Entrywise("power-difference", depth))
    np.testing.assert_array_equal(w, 0)


def loss_at(kernels, data, params, structure, loss):
    W = kernels.entrywise.end_to_end(params, structure)
    value, G = kernels.lp_loss.loss_and_gradient(*data, W, loss)
    return value, G, kernels.entrywise.gradients(params, structure, G)


@each_form
@pytest.mark.parametrize("depth", [1, 2, 3, 5])
@pytest.mark.parametrize("p", [2.0, 3.5])
def test_central_differences(kernels, form, depth, p):
    structure, loss, h = Entrywise(form, depth), Loss(p), 1e-6
    rng = np.random.default_rng(depth)
    data = rng.standard_normal((12, 6)), rng.standard_normal((12, 1))
    params = vectors(3, structure, 6)
    _, _, grads = loss_at(kernels, data, params, structure, loss)
    numbers = np.array([
        loss_at(kernels, data, params + h * e, structure, loss)[0]
        - loss_at(kernels, data, params - h * e, structure, loss)[0]
        for e in np.eye(params.size)
    ])  # fmt: skip
    assert np.max(abs(grads - numbers / (2 * h))) <= 1e-7 * max(1, np.max(abs(grads)))


@each_form
@pytest.mark.parametrize("depth", [1, 2, 3, 6])
def test_the_curvature_is_the_derivative_of_the_gradient(kernels, plain, form, depth):
    structure, loss, h = Entrywise(form, depth), Loss(4.0), 1e-5
    rng = np.random.default_rng(depth)
    data = rng.standard_normal((12, 6)), rng.standard_normal((12, 1))
    params, direction = vectors(1, structure, 6, scale=0.8), vectors(2, structure, 6)
    if form == "power-difference":
        params[3] = 0.0  # no negative power of it
    W = plain.entrywise.end_to_end(params, structure)
    _, G, _ = loss_at(plain, data, params, structure, loss)
    chain = kernels.entrywise.ChainCurvature(params, structure, G)
    given_params = params.copy()
    params[...] = np.nan  # it keeps nothing that the caller may change
    params = given_params
    moved = [plain.entrywise.end_to_end(params + s * h * direction, structure) for s in (1, -1)]
    tangent = chain.tangent(direction)
    np.testing.assert_allclose(tangent, (moved[0] - moved[1]) / (2 * h), atol=1e-7)

    def second(V):
        return plain.curvature.hessian_product(*data, W, V, loss)

    ahead, behind = (
        loss_at(plain, data, params + s * h * direction, structure, loss)[2] for s in (1, -1)
    )
    differences = (ahead - behind) / (2 * h)
    ours = chain.product(direction, second)
    np.testing.assert_allclose(ours, differences, rtol=0, atol=1e-7 * abs(differences).max())
    np.testing.assert_array_equal(chain.product(direction, second), ours)


def models_of(form, depth, rules, d, dtype=np.float64):
    """A model for each rule, from vectors of its own near 0.7."""
    structure = Entrywise(form, depth)
    return [
        ModelSpec(
            (d, structure.vectors),
            (0.7 + vectors(seed, structure, d, dtype, 0.1)).astype(dtype),
            rule,
            structure,
        )
        for seed, rule in enumerate(rules)
    ]


#: Fewer than fill a vector; as many elements in vectors as in ``tests/accel``, by the same kernels.
FEATURES = 6


def data_of(n=80, d=FEATURES, p=4.0, form="direct", dtype=np.float64):
    rng = np.random.default_rng(n)
    X = rng.standard_normal((n, d)) / np.sqrt(d)
    Y = X @ rng.standard_normal((d, 1)) + 0.2 * rng.standard_normal((n, 1))
    return X.astype(dtype), Y.astype(dtype), Loss(p, 0.5, form)


def written_out(plain, data, model, steps):
    """Losses before every step, and the vectors after the last."""
    (X, Y, loss), (_, params, rule, structure) = data, model
    params, losses = params.copy(), []
    state = np.zeros((STATE_SLOTS[rule.kind], params.size), params.dtype)
    for step in range(1, steps + 1):
        value, _, grads = loss_at(plain, (X, Y), params, structure, loss)
        losses.append(value)
        starts = range(0, params.size, params.size // structure.vectors)
        plain.updates.update(rule.kind, params, grads, state, rule.hyper, step, starts)
    return np.array(losses), params


DESCENTS = [rule for name, rule in RULES.items() if not name.startswith("end-to-end")]
#: Every way in which a CPU run makes its passes: by columns, by Gram matrices, for all models at
#: once, by a team.
WAYS = {
    "columns": {},
    "gram": {"d": 18, "p": 2.0, "form": "gram"},
    "joint": {"n": 40, "d": 60},
    "team": {"n": 3000, "d": 40},
}


@each_form
@pytest.mark.parametrize("way", WAYS)
def test_every_rule(kernels, plain, form, way):
    data = data_of(**WAYS[way])
    for depth in (2, 3):
        rules = [Rule(kind, (rate, 0.05, *rest)) for kind, (rate, _, *rest), _ in DESCENTS]
        models = models_of(form, depth, [*DESCENTS, *rules], data[0].shape[1])
        with kernels.loop.TrainingLoop(*data, models, 2) as run:
            run.advance(30, record_every=1)
            steps, rows = run.take_history()
            np.testing.assert_array_equal(steps, range(30))
            assert (run.statuses == RUNNING).all()
            for m, model in enumerate(models):
                losses, params = written_out(plain, data, model, 30)
                np.testing.assert_allclose(rows[:, m, 0], losses, rtol=1e-10)
                np.testing.assert_allclose(run.params(m), params, rtol=0, atol=1e-10)
                assert abs(params - model.params).max() > 1e-3


@each_form
def test_a_single_model(kernels, plain, form):
    data = data_of(p=2.0, form="gram")
    (model,) = models_of(form, 2, [PLAIN], FEATURES)
    with kernels.loop.TrainingLoop(*data, [model]) as run:
        run.advance(50)
        _, params = written_out(plain, data, model, 50)
        np.testing.assert_allclose(run.params(0), params, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(run.device_params(0), run.params(0))


@each_form
def test_float32(kernels, plain, form):
    data = data_of(dtype=np.float32)
    models = models_of(form, 3, DESCENTS[:2], FEATURES, np.float32)
    with kernels.loop.TrainingLoop(*data, models) as run:
        run.advance(20)
        for m, model in enumerate(models):
            _, params = written_out(plain, data, model, 20)
            assert run.params(m).dtype == np.float32
            np.testing.assert_allclose(run.params(m), params, rtol=0, atol=2e-5)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 1000),
    n=st.integers(3, 200),  # fewer have kernels of their own, and nothing else for a map
    d=st.integers(1, FEATURES) | st.integers(33, 60),  # by columns, and not
    form=st.sampled_from(FORMS),
    depths=st.lists(st.integers(1, 6), min_size=2, max_size=4),
)
def test_random_runs(compiled, plain, seed, n, d, form, depths):
    rng = np.random.default_rng(seed)
    data = rng.standard_normal((n, d)) / np.sqrt(d), rng.standard_normal((n, 1)), Loss(3.0)
    rule = Rule(GRADIENT_DESCENT, (1e-3, 0.0, 0.0, 0.0, 0.0))
    models = [models_of(form, depth, [rule], d)[0] for depth in depths]
    with compiled.loop.TrainingLoop(*data, models) as run:
        run.advance(5)
        for m, model in enumerate(models):
            _, params = written_out(plain, data, model, 5)
            np.testing.assert_allclose(run.params(m), params, rtol=0, atol=1e-11)


@each_form
@pytest.mark.parametrize("way", ["columns", "joint"])
def test_bits_depend_on_no_threads_company_or_chunks(kernels, form, way):
    data = data_of(**WAYS[way])
    d = data[0].shape[1]
    models = [m for depth in (2, 5) for m in models_of(form, depth, DESCENTS, d)]

    def ends(chosen, threads, chunks):
        with kernels.loop.TrainingLoop(*data, chosen, threads) as run:
            for chunk in chunks:
                run.advance(chunk)
            return [run.params(m) for m in range(len(chosen))]

    whole = ends(models, 1, [40])
    for others in (ends(models, 3, [40]), ends(models, 2, [7, 33])):
        for a, b in zip(whole, others, strict=True):
            np.testing.assert_array_equal(a, b)
    for a, b in zip(whole[3:5], ends(models[3:5], 1, [40]), strict=True):
        np.testing.assert_array_equal(a, b)


@each_form
def test_a_snapshot_repeats_the_run(kernels, form):
    data = data_of()
    with kernels.loop.TrainingLoop(*data, models_of(form, 3, DESCENTS, FEATURES)) as run:
        run.advance(11)
        snapshot = run.snapshot()
        run.advance(20)
        ends = [run.params(m) for m in range(len(DESCENTS))]
        run.restore(snapshot)
        assert run.step == 11
        run.advance(20)
        for m, end in enumerate(ends):
            np.testing.assert_array_equal(run.params(m), end)


@each_form
def test_one_that_diverges_leaves_alone(kernels, form):
    data = data_of()
    fast = Rule(GRADIENT_DESCENT, (1e3, 0.0, 0.0, 0.0, 0.0))
    models = models_of(form, 3, [PLAIN, fast, PLAIN], FEATURES)
    with kernels.loop.TrainingLoop(*data, models) as run:
        run.advance(60)
        assert run.statuses.tolist() == [RUNNING, DIVERGED, RUNNING]
        assert run.step == 60
        assert np.isfinite(run.params(2)).all()
        run.set_rate(0, 0.0)
        before = run.params(0)
        run.advance(3)
        np.testing.assert_array_equal(run.params(0), before)


@each_form
def test_what_a_run_holds_is_what_was_said(form):
    data = data_of(**WAYS["joint"])
    models = models_of(form, 4, DESCENTS, 60)
    shape = Shape(40, 60, 1, np.dtype(np.float64), "direct")
    said = cpu_needs.run_bytes(shape, models, 1, 1)
    run = cpu_loop.TrainingLoop(*data, models)._run
    assert run.products.nbytes <= said["products of factors"] <= 1.3 * run.products.nbytes
    assert 5 * run.params.nbytes <= said["parameters and optimiser state"]
