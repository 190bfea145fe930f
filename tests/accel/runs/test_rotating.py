"""Runs in rotated coordinates: the methods "spectral" and "rowspace"."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accel
from accel import LinearNetwork, LpProblem, Result, grid_search, stable_rate, sweep, train
from accel._files import archives
from accel._runs import methods as choice
from accel._runs.parts import Part, Parts
from accel.kernels.protocols import Snapshot
from accel.kernels.reference import rotation

from ..problems import BACKENDS
from .rotated import always_worth_it, like, problem_of, start_of
from .test_sweeping import assert_same

RULES = {
    "gd": lambda rate, decay: accel.GradientDescent(rate, weight_decay=decay),
    "momentum": lambda rate, decay: accel.Momentum(0.1 * rate, weight_decay=decay),
    "nesterov": lambda rate, decay: accel.Nesterov(0.1 * rate, weight_decay=decay),
    "end-to-end": lambda rate, decay: accel.EndToEnd(rate, 3, weight_decay=decay),
    "group-rmsprop": lambda rate, decay: accel.GroupRMSProp(1e-3, weight_decay=decay),
    "group-rmsprop by factor": lambda rate, decay: accel.GroupRMSProp(
        1e-3, scale="factor", weight_decay=decay
    ),
}


def check_same_run(ours, theirs, within=1e-9):
    """One run in two ways: equal but for rounding."""
    assert (ours.status, ours.steps, ours.diverged_at) == (
        theirs.status, theirs.steps, theirs.diverged_at,
    )  # fmt: skip
    size = np.abs(theirs.network.params).max() or 1.0
    np.testing.assert_allclose(ours.network.params, theirs.network.params, atol=within * size)
    for name in ("loss", "gradient_norm", "weight_norm"):
        mine, other = (getattr(result.history, name) for result in (ours, theirs))
        np.testing.assert_allclose(mine, other, rtol=within, atol=within * np.abs(other).max())
    np.testing.assert_array_equal(ours.history.step, theirs.history.step)


@st.composite
def runs(draw):
    shape = draw(st.sampled_from([(4, 15), (3, 40), (9, 9), (40, 6), (8, 9), (1, 5)]))
    k, depth = draw(st.sampled_from([1, 1, 3])), draw(st.integers(1, 4))
    rank = draw(st.sampled_from([None, 1, 2]))
    p = draw(st.sampled_from([2.0, 2.0, 3.0, 4.0]))
    rule = draw(st.sampled_from(sorted(RULES)))
    depth = 1 if rule == "end-to-end" else depth
    kind = draw(st.sampled_from(["near_zero", "balanced", "given", "zero"]))
    method = draw(st.sampled_from(["rowspace"] + ["spectral"] * (p == 2)))
    decay = draw(st.sampled_from([0.0, 0.01]))
    seed = draw(st.integers(0, 2**16))
    return shape, k, rank, p, rule, depth, kind, method, decay, seed


@pytest.mark.parametrize("backend", BACKENDS)
@given(case=runs())
@settings(max_examples=40, deadline=None)
@pytest.mark.filterwarnings("ignore::accel.SaddleWarning")  # some begin at 0
def test_the_rotated_run_is_the_run(case, backend):
    shape, k, rank, p, rule, depth, kind, method, decay, seed = case
    problem = problem_of(*shape, k, p, rank, seed, method="direct")
    network = start_of(problem, depth, kind, seed)
    rate = 0.2 * stable_rate(problem, network, accel.GradientDescent(1.0))
    optimizer = RULES[rule](rate, decay)
    theirs = train(problem, network, optimizer, 150, record_every=10, backend=backend)
    ours = train(like(problem, method), network, optimizer, 150, record_every=10, backend=backend)
    assert (ours.method, theirs.method) == (method, "direct")
    check_same_run(ours, theirs)


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("n", "d", "method"), [
    (200, 12, "spectral"), (12, 60, "spectral"), (12, 60, "rowspace"),
])  # fmt: skip
def test_after_a_thousand_steps(n, d, method, rule, depth):
    problem = problem_of(n, d, 2, 2.0 if method == "spectral" else 4.0, method="direct")
    network = start_of(problem, 1 if rule == "end-to-end" else depth, "given")
    rate = 0.3 * stable_rate(problem, network, accel.GradientDescent(1.0))
    models = problem, network, RULES[rule](rate, 0.001), 1000
    check_same_run(train(like(problem, method), *models[1:]), train(*models))


@pytest.mark.parametrize(("depth", "width"), [(1, 1), (3, 1), (3, 10)])
def test_many_more_features_than_samples(depth, width):
    problem = problem_of(100, 20_000)
    network = LinearNetwork.for_problem(problem, depth, width, scale=0.05)
    rate = stable_rate(problem, network, accel.GradientDescent(1.0))
    assert train(problem, network, accel.GradientDescent(rate), 10).method == "direct"
    ours = train(problem, network, accel.GradientDescent(rate), 1000, record_every=100)
    theirs = train(
        like(problem, "direct"), network, accel.GradientDescent(rate), 1000, record_every=100
    )
    assert (ours.method, theirs.method) == ("rowspace", "direct")
    check_same_run(ours, theirs)
    assert ours.loss < 0.5 * ours.history.loss[0]


@always_worth_it
@pytest.mark.parametrize(
    ("n", "d", "p"), [(20, 90, 2.0), (20, 90, 4.0), (90, 500, 4.0), (500, 60, 2.0)]
)
def test_its_bits_do_not_depend_on_its_company(n, d, p):
    """Also not on how much the first factors of the others have outside of the row space."""
    problem = problem_of(n, d, p=p)
    models = [
        (start_of(problem, 1, "zero"), accel.GradientDescent(0.01)),
        (start_of(problem, 1, "given"), accel.GradientDescent(0.01)),
        (LinearNetwork.for_problem(problem, 2, 40, scale=0.05), accel.Momentum(0.001)),
        (start_of(problem, 1, "near_zero"), accel.Nesterov(0.001)),
        (start_of(problem, 1, "near_zero"), accel.Adam()),
        (start_of(problem, 1, "given"), accel.EndToEnd(0.001, 4)),
        (start_of(problem, 1, "given"), accel.AdaGrad()),
    ]
    whole = sweep(problem, models, 60, threads=1)
    rotated = "spectral" if p == 2 else "rowspace"
    assert {result.method for result in whole} == {rotated, "gram" if n > d else "direct"}
    for m, other in ((0, 5), (1, 2), (2, 4), (3, 0), (4, 1), (5, 3), (6, 4)):
        pair = sweep(problem, [models[other], models[m]], 60, threads=1)
        for ours, theirs in zip(pair, (whole[other], whole[m]), strict=True):
            assert_same(ours, theirs)


def mixed(problem):
    """Models of every kind, one of which diverges, for a problem of any method."""
    network = start_of(problem, 2, "near_zero")
    return [
        (network, accel.GradientDescent(0.01)),
        (network, accel.GradientDescent(1e3)),
        (start_of(problem, 1, "given"), accel.Momentum(0.003)),
        (start_of(problem, 2, "given"), accel.Adam()),
    ]


@always_worth_it
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("n", "d", "p"), [(60, 8, 2.0), (8, 40, 2.0), (8, 40, 4.0)])
@pytest.mark.parametrize("count", [1, 4])
def test_resumed_it_does_not_decompose_again(n, d, p, count, backend, tmp_path, monkeypatch):
    """A decomposition with other BLAS threads has other bits; the file has the first one."""
    problem, path = problem_of(n, d, p=p), tmp_path / "run.npz"
    models, how = mixed(problem)[:count], {"record_every": 7, "backend": backend}
    whole = sweep(problem, models, 300, **how)
    part = sweep(problem, models, 300, callback=lambda step, _: step >= 20, checkpoint=path, **how)
    assert part.status == "interrupted"
    for name in ("spectral", "row_space", "outside"):
        monkeypatch.setattr(rotation, name, lambda *_: pytest.fail("decomposed again"))
    monkeypatch.setattr("accel._runs.rotating.outside", lambda *_: pytest.fail("again"))
    again = sweep(like(problem, "auto"), models, 300, checkpoint=path, **how)
    for ours, theirs in zip(again, whole, strict=True):
        assert ours.method == theirs.method
        assert_same(ours, theirs)
    for ours, theirs in zip(sweep(like(problem, "auto"), models, 300, checkpoint=path, **how),
                            whole, strict=True):  # fmt: skip
        assert_same(ours, theirs)


@pytest.mark.parametrize("method", ["gram", "direct"])
def test_a_run_goes_on_by_the_method_of_its_file(method, tmp_path, monkeypatch):
    """Whatever would be chosen today; files of version 0.1 say it in another place."""
    problem, path = problem_of(60, 8, p=2.0), tmp_path / "run.npz"
    model = start_of(problem, 2, "near_zero"), accel.GradientDescent(0.01), 300
    whole = train(like(problem, method), *model)
    train(like(problem, method), *model, callback=lambda step, _: step >= 20, checkpoint=path)
    described, arrays = archives.read(path, 2)
    del described["run"]["method"]
    described["run"]["loss"] = f"Loss(p=2.0, factor=1.0, gram={method == 'gram'})"
    archives.write(path, described, arrays)
    monkeypatch.setattr(choice, "pays", lambda *_: True)
    again = train(problem, *model, checkpoint=path)
    assert again.method == method
    assert_same(again, whole)


def test_a_method_by_name_is_not_that_of_another_file(tmp_path):
    problem, path = problem_of(60, 8, p=2.0), tmp_path / "run.npz"
    model = start_of(problem, 2, "near_zero"), accel.GradientDescent(0.01), 300
    train(like(problem, "spectral"), *model, checkpoint=path)
    with pytest.raises(ValueError, match=r"another run .method: 'spectral' there, 'gram' here"):
        train(like(problem, "gram"), *model, checkpoint=path)
    assert train(problem, *model, checkpoint=path).method == "spectral"
    with pytest.raises(ValueError, match=r"another run .optimizers"):
        train(problem, model[0], accel.Adam(), 300, checkpoint=path)


@pytest.mark.parametrize("method", ["spectral", "rowspace"])
@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: arrays.pop("basis"),
        lambda arrays: arrays.update(basis=arrays["basis"][:, :-1]),
        lambda arrays: arrays.update(basis=arrays["basis"].astype("f4")),
        lambda arrays: arrays.update(coordinates=arrays["coordinates"][:-1]),
        lambda arrays: arrays.update(ranks=arrays["ranks"] + 1),
        lambda arrays: arrays.update(ranks=arrays["ranks"][:-1]),
        lambda arrays: arrays.update(outside=arrays["outside"][:, :-1]),
    ],
)
def test_a_damaged_rotation_is_refused(method, change, tmp_path):
    problem, path = problem_of(8, 40, p=2.0, method=method), tmp_path / "run.npz"
    model = start_of(problem, 2, "near_zero"), accel.GradientDescent(0.01), 300
    train(problem, *model, checkpoint=path)
    described, arrays = archives.read(path, 2)
    change(arrays)
    archives.write(path, described, arrays)
    with pytest.raises(ValueError, match=r"run\.npz is not readable"):
        train(problem, *model, checkpoint=path)


@pytest.mark.parametrize(("n", "d", "method"), [
    (60, 8, "spectral"), (8, 40, "spectral"), (8, 40, "rowspace"),
])  # fmt: skip
def test_a_rate_that_follows_the_loss(n, d, method, tmp_path):
    problem = problem_of(n, d, p=2.0 if method == "spectral" else 4.0, method=method)
    for optimizer in (accel.GradientDescent(1.0, weight_decay=1e-3), accel.Momentum(1.0)):
        model = start_of(problem, 2, "near_zero"), optimizer, 400
        ours = train(problem, *model, learning_rate="auto")
        theirs = train(like(problem, "direct"), *model, learning_rate="auto")
        assert ours.method == method
        assert ours.optimizer.learning_rate == pytest.approx(theirs.optimizer.learning_rate)
        check_same_run(ours, theirs, 1e-6)
        path = tmp_path / f"{optimizer.name}.npz"
        train(
            problem, *model, learning_rate="auto", checkpoint=path,
            callback=lambda step, _: step > 50,
        )  # fmt: skip
        assert_same(train(problem, *model, learning_rate="auto", checkpoint=path), ours)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("n", "d", "method"), [(60, 8, "spectral"), (8, 40, "rowspace")])
def test_tol_target_and_callback(n, d, method, backend):
    problem = problem_of(n, d, p=2.0 if method == "spectral" else 4.0, method=method)
    model = start_of(problem, 2, "near_zero"), accel.GradientDescent(0.02), 3000
    direct = like(problem, "direct")
    losses = train(direct, *model, backend=backend).history.loss
    for stops in ({"tol": 1e-2}, {"target": float(np.sqrt(losses[0] * losses[-1]))}):
        ours = train(problem, *model, backend=backend, record_every=50, **stops)
        theirs = train(direct, *model, backend=backend, record_every=50, **stops)
        assert ours.status in ("converged", "target")
        check_same_run(ours, theirs)
    seen = []

    def callback(step, loss):
        seen.append((step, loss))
        return step >= 30

    ours = train(problem, *model, backend=backend, record_every=1, callback=callback)
    assert ours.status == "interrupted"
    step, loss = seen[-1]
    assert 30 <= step <= ours.steps
    assert ours.history.loss[step] == loss
    theirs = train(direct, *model[:2], ours.steps, backend=backend, record_every=1)
    np.testing.assert_allclose(ours.history.loss, theirs.history.loss, rtol=1e-9)


@always_worth_it
@pytest.mark.parametrize("p", [2.0, 4.0])
def test_a_sweep_in_which_models_end(p):
    """By divergence, at a target, or dropped at a rung: each as by passes over the data."""
    problem = problem_of(8, 40, p=p)
    network, direct = start_of(problem, 2, "near_zero"), like(problem, "direct")
    rates = [0.001, 0.01, 0.03, 3.0, 1e4]
    for ours, theirs in zip(
        *(
            sweep(
                which, [(network, accel.GradientDescent(rate)) for rate in rates], 300, target=0.1
            )
            for which in (problem, direct)
        ),
        strict=True,
    ):
        assert ours.method == ("spectral" if p == 2 else "rowspace")
        check_same_run(ours, theirs, 1e-6)
    one, other = (
        grid_search(
            which, network, accel.GradientDescent(1.0), 200, learning_rates=rates, halving=2,
            refine=0,
        )
        for which in (problem, direct)
    )  # fmt: skip
    assert one.learning_rate == other.learning_rate
    for ours, theirs in zip(one.results, other.results, strict=True):
        check_same_run(ours, theirs, 1e-6)


@pytest.mark.parametrize("method", ["spectral", "rowspace"])
def test_a_run_that_does_not_move_returns_its_start(method):
    problem = problem_of(8, 40, p=2.0, method=method)
    network = start_of(problem, 2, "given")
    large = network.with_params(1e100 * network.params)
    with np.errstate(all="ignore"):
        result = train(problem, large, accel.GradientDescent(1e300), 10)
    assert (result.status, result.steps) == ("diverged", 0)
    np.testing.assert_array_equal(result.network.params, large.params)


@pytest.mark.parametrize("method", ["spectral", "rowspace"])
def test_float32(method):
    problem = problem_of(12, 50, 2, p=2.0, dtype="f4", method=method)
    network = start_of(problem, 3, "given")
    rate = 0.3 * stable_rate(problem, network, accel.GradientDescent(1.0))
    ours = train(problem, network, accel.GradientDescent(rate), 300)
    theirs = train(like(problem, "direct"), network, accel.GradientDescent(rate), 300)
    assert ours.network.dtype == np.float32
    check_same_run(ours, theirs, 1e-4)


def test_the_result_says_so(tmp_path):
    problem = problem_of(30, 5, p=2.0, method="spectral")
    result = train(problem, start_of(problem, 1, "zero"), accel.GradientDescent(0.1), 10)
    assert Result.load(result.save(tmp_path / "result")).method == result.method == "spectral"


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e8])
def test_the_loss_of_a_good_fit_is_that_of_the_network(offset):
    rng = np.random.default_rng(0)
    X = np.column_stack([np.ones(3000), rng.standard_normal(3000)])
    Y = offset + X @ rng.standard_normal((2, 1)) + 1e-3 * rng.standard_normal((3000, 1))
    problem = LpProblem(X, Y, p=2, method="spectral")
    result = train(problem, LinearNetwork((2, 1), scale=0.0), accel.GradientDescent(0.2), 300)
    residuals = X @ result.network.end_to_end().T - Y
    assert result.loss == pytest.approx(float(np.mean(residuals**2)), rel=1e-6)
    assert (result.history.loss >= 0).all()


def test_a_decomposition_is_made_once(monkeypatch):
    calls, spectral = [], rotation.spectral
    monkeypatch.setattr(rotation, "spectral", lambda *data: calls.append(1) or spectral(*data))
    problem = problem_of(30, 5, p=2.0, method="spectral")
    network = start_of(problem, 2, "near_zero")
    for rate in (0.01, 0.02):
        train(problem, network, accel.GradientDescent(rate), 10)
    assert calls == [1]
    assert math.isfinite(stable_rate(problem, network, accel.GradientDescent(1.0)))


@always_worth_it
def test_ctrl_c_in_a_sweep_of_two_methods():
    """All models that are in the run have made the same steps."""
    problem = problem_of(60, 8, p=2.0)

    def strike(step, losses):
        if step >= 20:
            raise KeyboardInterrupt

    swept = sweep(problem, mixed(problem), 10**6, callback=strike)
    assert swept.status == "interrupted"
    assert {result.method for result in swept} == {"spectral", "gram"}
    steps = {result.steps for result in swept if result.status == "interrupted"}
    assert len(steps) == 1
    assert min(steps) >= 20
    for result, model in zip(swept, mixed(problem), strict=True):
        if result.status == "interrupted":
            again = sweep(problem, [model, mixed(problem)[1]], result.steps)[0]
            np.testing.assert_array_equal(result.network.params, again.network.params)


class Stopping:
    """A loop of one model that only knows whether it was asked to stop."""

    stopped = False

    def snapshot(self):
        return Snapshot(0, np.zeros(1, int), np.zeros((1, 2), int), np.zeros(1), np.zeros(0))

    def stop(self):
        self.stopped = True


@pytest.mark.parametrize("count", [1, 2])
def test_several_loops_finish_a_call(count):
    loops = [Stopping() for _ in range(count)]
    Parts([Part(loop, np.array([m]), None) for m, loop in enumerate(loops)]).stop()
    assert [loop.stopped for loop in loops] == [count == 1] * count
