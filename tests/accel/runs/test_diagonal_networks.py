"""Runs of diagonal networks: by every rule, beside others, saved, resumed, recorded, refused."""

import numpy as np
import pytest

import accel
from accel import DiagonalNetwork, GradientDescent, LinearNetwork, Result, sweep, train
from accel._files import archives
from accel._runs import checks
from accel._runs import run as chunks
from accel._runs.methods import methods_of
from accel._support import backends

from ..problems import BACKENDS, PROBLEM, make_problem, start
from .test_sweeping import assert_same

FORMS = ["power-difference", "hadamard"]
each_form = pytest.mark.parametrize("form", FORMS)
RULES = [
    GradientDescent(0.002, weight_decay=0.01), accel.Momentum(5e-4), accel.Nesterov(5e-4),
    accel.AdaGrad(0.05), accel.AdaDelta(), accel.RMSProp(0.002), accel.Adam(0.005),
]  # fmt: skip


LARGE = {"n": 3000, "d": 33, "p": 2, "method": "direct"}


def diagonal(problem=PROBLEM, form="power-difference", depth=2, seed=0):
    rng = np.random.default_rng(seed)
    vectors = 0.7 + 0.1 * rng.standard_normal(
        (2 if form == "power-difference" else depth, problem.d)
    )
    return DiagonalNetwork(
        problem.d, depth, form, init=vectors.astype(problem.dtype), dtype=problem.dtype
    )


def models_of(problem, form, depth=3):
    return [(diagonal(problem, form, depth, seed), rule) for seed, rule in enumerate(RULES)]


@each_form
@pytest.mark.parametrize("shape", [{}, {"p": 2}, LARGE], ids=["small", "gram", "large"])
def test_all_backends_and_sweeps_agree(form, shape):
    problem = make_problem(**shape)
    models = models_of(problem, form)
    theirs = [train(problem, *model, 40, record_every=1, backend="reference") for model in models]
    swept = sweep(problem, models, 40, record_every=1)
    for model, ours, reference in zip(models, swept, theirs, strict=True):
        assert_same(ours, reference, exact=False)
        assert_same(train(problem, *model, 40, record_every=1), reference, exact=False)
        assert type(ours.network) is DiagonalNetwork
        assert (ours.network.form, ours.network.depth) == (form, 3)
        assert ours.loss < ours.history.loss[0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_networks_of_all_kinds_in_one_sweep(backend):
    """Each has the bits that it has among its own kind."""
    products = [(start(seed=seed), rule) for seed, rule in enumerate(RULES)]
    kinds = [products, models_of(PROBLEM, "hadamard"), models_of(PROBLEM, "power-difference", 4)]
    mixed = [model for models in zip(*kinds, strict=True) for model in models]
    together = list(sweep(PROBLEM, mixed, 60, backend=backend))
    for kind, models in enumerate(kinds):
        alone = sweep(PROBLEM, models, 60, backend=backend)
        for ours, theirs in zip(together[kind :: len(kinds)], alone, strict=True):
            assert_same(ours, theirs)
            assert type(ours.network) is type(theirs.network)


@each_form
def test_threads_change_no_bits_of_small_runs_and_few_of_large_ones(form):
    small, large = make_problem(), make_problem(**LARGE)
    for problem, exact in ((small, True), (large, False)):
        models = models_of(problem, form)
        one, three = (sweep(problem, models, 20, threads=count) for count in (1, 3))
        for a, b in zip(one, three, strict=True):
            assert_same(a, b, exact)
        again = sweep(problem, models, 20, threads=3)
        for a, b in zip(three, again, strict=True):
            assert_same(a, b)


@each_form
@pytest.mark.parametrize("backend", BACKENDS)
def test_resumed_is_as_never_interrupted(form, backend, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "_GROWTH", 2)
    models = [*models_of(PROBLEM, form), (start(), GradientDescent(0.01))]
    record = ["sharpness", "snapshots(factors=True)", lambda step, network: network.end_to_end()]
    whole = sweep(PROBLEM, models, 300, record_every=50, backend=backend, record=record)
    path = tmp_path / "run.npz"
    for goal in (1, 100, 10**9):
        part = sweep(
            PROBLEM, models, 300, record_every=50, backend=backend, checkpoint=path, record=record,
            callback=lambda step, _, goal=goal: step >= goal,
        )  # fmt: skip
    assert part.status == "completed"
    for ours, theirs in zip(part, whole, strict=True):
        assert_same(ours, theirs)
        for name, values in theirs.history.recorded.items():
            np.testing.assert_array_equal(ours.history[name], values)


def test_a_checkpoint_knows_the_form_and_the_depth(tmp_path):
    """Two vectors of a power difference look like those of a product, and of any depth."""
    path, rule = tmp_path / "run.npz", GradientDescent(0.01)
    train(PROBLEM, diagonal(), rule, 20, checkpoint=path)
    for other in (diagonal(form="hadamard"), diagonal(depth=3)):
        assert (other.params == diagonal().params).all()
        with pytest.raises(ValueError, match="belongs to another run"):
            train(PROBLEM, other, rule, 20, checkpoint=path)
    assert train(PROBLEM, diagonal(), rule, 20, checkpoint=path).steps == 20


@each_form
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_results_are_saved_and_loaded(form, dtype, tmp_path):
    problem = make_problem(dtype=dtype)
    result = train(problem, diagonal(problem, form, 3), accel.Adam(0.01), 30)
    loaded = Result.load(result.save(tmp_path / "result.npz"))
    assert_same(loaded, result)
    assert repr(loaded.network) == repr(result.network)
    assert repr(loaded) == repr(result)
    assert f"diagonal: {form}" in loaded._repr_html_()


@pytest.mark.parametrize(("change", "match"), [
    ({"form": "cubes"}, "form must be one of"),
    ({"depth": 0}, "depth must be >= 1"),
    ({"depth": "2"}, "depth must be an integer"),
    ({"form": "hadamard", "depth": 3}, "do not fit its widths"),
])  # fmt: skip
def test_damaged_results(tmp_path, change, match):
    result = train(PROBLEM, diagonal(), GradientDescent(0.01), 3)
    path = result.save(tmp_path / "result.npz")
    described, arrays = archives.read(path, 3)
    as_a_product = {name: said for name, said in described.items() if name != "diagonal"}
    damaged = described | {"diagonal": described["diagonal"] | change}
    for said, why in ((damaged, match), (as_a_product, "do not fit its widths")):
        archives.write(path, said, arrays)
        with pytest.raises(ValueError, match=why):
            Result.load(path)


@each_form
def test_rotations_are_refused_by_name_and_never_chosen(form):
    networks = (diagonal(form=form), LinearNetwork.for_problem(PROBLEM, seed=1, scale=0.1))
    rule = GradientDescent(0.001)
    for method, p in (("spectral", 2), ("rowspace", 4)):
        problem = accel.LpProblem(PROBLEM.X, PROBLEM.Y, p, method=method)
        with pytest.raises(ValueError, match=f"method '{method}' needs networks that commute"):
            train(problem, networks[0], rule, 5)
    # Steps enough that a product of matrices takes the rotation.
    problem = make_problem(n=300, d=40, p=2)
    networks = (diagonal(problem, form), LinearNetwork.for_problem(problem))
    limits = checks.limits(10**6, None, 0.0, None)
    methods = methods_of(problem, [(network, rule) for network in networks], limits)
    assert methods[1] == "spectral"
    assert methods[0] in ("gram", "direct")
    for method in ("gram", "direct"):
        problem = make_problem(n=300, d=40, p=2, method=method)
        assert train(problem, networks[0], rule, 5, backend="reference").method == method


def test_no_gpu_unless_asked_for(monkeypatch):
    """``auto`` takes the CPU where it would take a GPU for a product of matrices."""
    monkeypatch.setattr(
        type(PROBLEM), "resolve",
        lambda self, backend, work=0.0, steps=1:
            backends.Backend("cuda" if backend == "auto" else backend),
    )  # fmt: skip
    assert train(PROBLEM, diagonal(), GradientDescent(0.01), 5).backend == "cpu"


@each_form
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_rates(form, depth):
    """The rate that the curvature gives lets the loss fall, and so does the search for one."""
    problem = make_problem(p=2)
    network = DiagonalNetwork.for_problem(problem, depth, form, scale=0.3)
    rate = accel.stable_rate(problem, network, GradientDescent(1.0))
    result = train(problem, network, GradientDescent(rate), 300, record_every=1)
    assert result.status == "completed"
    assert result.loss < 0.5 * result.history.loss[0]
    auto = train(problem, network, GradientDescent(1.0), 300, learning_rate="auto")
    assert auto.loss < 0.5 * auto.history.loss[0]
    search = accel.grid_search(problem, network, GradientDescent(1.0), 100, refine=0)
    assert search.best.loss <= result.history.loss[100]


@each_form
def test_the_callback_and_the_stops(form):
    problem = make_problem(p=2)
    network, rule = diagonal(problem, form), GradientDescent(0.02)
    whole = train(problem, network, rule, 200, record_every=1)
    target = float(whole.history.loss[100])
    assert train(problem, network, rule, 200, target=target).status == "target"
    assert train(problem, network, rule, 200, target=target).steps <= 100
    assert train(problem, network, GradientDescent(100.0), 200).status == "diverged"
    stopped = train(problem, network, rule, 10**9, callback=lambda *_: True)
    assert stopped.status == "interrupted"


@each_form
def test_records(form):
    problem = make_problem(p=2)
    network = diagonal(problem, form, 3)
    names = [
        "singular_values", "effective_rank", "stable_rank", "nuclear_norm", "schatten(0.5)",
        "alignment", "step_size", "sharpness", "end_to_end_sharpness", "snapshots",
    ]  # fmt: skip
    rate = 0.01
    result = train(
        problem, network, GradientDescent(rate), 10, record_every=5, validation=problem,
        record=[*names, accel.recording.DistanceTo(np.ones(problem.d))],
    )  # fmt: skip
    history, last = result.history, result.network
    w = last.end_to_end()[0]
    np.testing.assert_allclose(history["singular_values"][-1], [np.linalg.norm(w)])
    np.testing.assert_allclose(history["snapshots"][-1], [w])
    np.testing.assert_allclose(history["distance"][-1], np.linalg.norm(w - 1))
    np.testing.assert_allclose(history["validation_loss"], history.loss, rtol=1e-10)
    np.testing.assert_allclose(
        history["sharpness"][-1], accel.theory.sharpness(problem, last), rtol=1e-6
    )
    # How a small step moves w along itself, if the gradient were w.
    structure, h = last.structure, 1e-7
    reference = backends.resolve("reference")
    grads = reference.gradients(last.params, structure, w[np.newaxis])
    moved = (w - reference.end_to_end(last.params - h * grads, structure)[0]) / h
    np.testing.assert_allclose(history["step_size"][-1], rate * (moved @ w) / (w @ w), rtol=1e-5)


def test_balancedness_of_products_is_recorded():
    network = diagonal(form="hadamard", depth=3)
    result = train(PROBLEM, network, GradientDescent(0.01), 10, record="balancedness")
    for kept, net in ((0, network), (-1, result.network)):
        np.testing.assert_allclose(result.history["balancedness"][kept], net.balancedness())
        np.testing.assert_allclose(
            result.history["balancedness_layers"][kept], np.linalg.norm(net.conserved(), axis=1)
        )


@pytest.mark.parametrize(("form", "record"), [
    ("power-difference", "balancedness"), ("hadamard", "alignment(layers=True)"),
    ("power-difference", "alignment(layers=True)"), ("hadamard", "singular_values(factors=True)"),
])  # fmt: skip
def test_what_needs_matrices_is_refused(form, record):
    with pytest.raises(ValueError, match="needs factors that are matrices"):
        train(PROBLEM, diagonal(form=form), GradientDescent(0.01), 5, record=record)


@each_form
@pytest.mark.parametrize("p", [2, 4])
def test_products_with_the_hessian(form, p):
    problem, h = make_problem(p=p), 1e-5
    network = diagonal(problem, form, 3)
    direction = np.random.default_rng(0).standard_normal(network.n_params)
    reference, structure = backends.resolve("reference"), network.structure

    def gradient(params):
        W = reference.end_to_end(params, structure)
        return reference.gradients(params, structure, problem.gradient(W))

    differences = (
        gradient(network.params + h * direction) - gradient(network.params - h * direction)
    ) / (2 * h)
    for backend in BACKENDS:
        product = accel.theory.hessian_vector_product(problem, network, direction, backend=backend)
        np.testing.assert_allclose(product, differences, rtol=0, atol=1e-6 * abs(differences).max())
