"""Runs whose rates, decays and momenta are scheduled."""

import importlib.util
import re
import sys

import numpy as np
import pytest

import accel
from accel import EndToEnd, GradientDescent, Momentum, Result, grid_search, sweep, train
from accel.schedules import (
    Constant,
    CosineDecay,
    ExponentialDecay,
    InversePower,
    Join,
    Linear,
    PiecewiseConstant,
    Step,
    WarmupCosineDecay,
)

from ...children import ROOT
from ..problems import BACKENDS, PROBLEM, make_problem, start
from ..runs.test_sweeping import assert_same

RATE = WarmupCosineDecay(0.001, 0.02, 10, 200, 0.001)
RULE = Momentum(RATE, Linear(0.5, 0.9, 50), weight_decay=Step(0.1, 40))
each_backend = pytest.mark.parametrize("backend", BACKENDS)


@each_backend
def test_every_update_goes_by_its_step(backend):
    """It is the run of one update after the other, each by a rule of constants."""
    rate, decay = Linear(0.001, 0.03, 20, 5), PiecewiseConstant([7, 30], [0.5, 0.1, 0.0])
    rule, network = GradientDescent(rate, weight_decay=decay), start()
    whole = train(PROBLEM, network, rule, 50, backend=backend)
    for step in range(50):
        network = train(PROBLEM, network, rule.at(step), 1, backend=backend).network
    np.testing.assert_allclose(whole.network.params, network.params, rtol=1e-12)
    constant = train(PROBLEM, start(), GradientDescent(0.001), 50, backend=backend)
    assert abs(whole.network.params - constant.network.params).max() > 1e-3


@each_backend
def test_what_is_constant_may_be_a_schedule(backend):
    """To the bit."""
    plain = train(PROBLEM, start(), Momentum(0.01, 0.8, weight_decay=0.1), 50, backend=backend)
    rule = Momentum(Constant(0.01), Constant(0.8), weight_decay=Constant(0.1))
    scheduled = train(PROBLEM, start(), rule, 50, backend=backend)
    np.testing.assert_array_equal(scheduled.network.params, plain.network.params)
    np.testing.assert_array_equal(scheduled.history.loss, plain.history.loss)


def test_the_history_has_the_rate(tmp_path):
    result = train(PROBLEM, start(), RULE, 100, record_every=7, record=["step_size"])
    steps = result.history.step
    np.testing.assert_array_equal(result.history["rate"], RATE(steps))
    assert list(result.history.columns())[-2:] == ["rate", "step_size"]
    loaded = Result.load(result.save(tmp_path / "result"))
    assert loaded.optimizer == RULE
    np.testing.assert_array_equal(loaded.history["rate"], RATE(steps))
    # What depends on the rate is recorded with that of the step.
    once = train(PROBLEM, result.network, RULE.at(100), 1, record=["step_size"])
    assert result.history["step_size"][-1] == once.history["step_size"][0] > 0
    constant = train(PROBLEM, start(), RULE.at(0), 5)
    assert "rate" not in constant.history.recorded


def test_a_function_of_that_name_is_what_is_recorded():
    def rate(step, network):
        return step + 0.5

    result = train(PROBLEM, start(), GradientDescent(RATE), 5, record_every=1, record=[rate])
    np.testing.assert_array_equal(result.history["rate"], result.history.step + 0.5)


def test_files_hold_every_kind_of_schedule(tmp_path):
    table = PiecewiseConstant(range(1, 101), np.linspace(0.01, 0.02, 101))
    rate = 0.5 * Join([Linear(0, 1, 5), ExponentialDecay(1, 10, 0.9) * table], [5])
    result = train(PROBLEM, start(), GradientDescent(rate), 10)
    assert Result.load(result.save(tmp_path / "result")).optimizer == GradientDescent(rate)


@each_backend
def test_each_model_of_a_sweep_has_its_own(backend):
    models = [
        (start(), GradientDescent(RATE)),
        (start(), GradientDescent(0.5 * RATE)),
        (start(), GradientDescent(0.01)),
        (start(depth=3), RULE),
        (start(), accel.Adam(Step(0.01, 20), weight_decay=Linear(0.0, 0.2, 60))),
        (start(depth=1), EndToEnd(InversePower(0.02, 0.6, 10), 3, weight_decay=Step(0.1, 9))),
        (start(), GradientDescent(ExponentialDecay(0.001, 1, 2.0))),
    ]
    results = sweep(PROBLEM, models, 100, record_every=10, backend=backend)
    for (network, rule), result in zip(models, results, strict=True):
        assert_same(result, train(PROBLEM, network, rule, 100, record_every=10, backend=backend))
    assert [result.status for result in results] == ["completed"] * 6 + ["diverged"]
    last = results[-1]
    assert np.isfinite(last.network.params).all()
    assert last.steps == last.diverged_at - 1
    rates = results.to_pandas()["learning_rate"]
    assert (rates[0], rates[2]) == (repr(RATE), 0.01)


@each_backend
def test_a_run_goes_on_from_its_checkpoint(tmp_path, backend):
    path = tmp_path / "run.npz"
    whole = train(PROBLEM, start(), RULE, 200, backend=backend)
    part = train(
        PROBLEM, start(), RULE, 200, backend=backend, checkpoint=path,
        callback=lambda step, loss: step >= 10,
    )  # fmt: skip
    assert part.status == "interrupted"
    resumed = train(PROBLEM, start(), RULE, 200, backend=backend, checkpoint=path)
    assert_same(resumed, whole)
    np.testing.assert_array_equal(resumed.history["rate"], whole.history["rate"])
    other = Momentum(0.5 * RATE, RULE.momentum, weight_decay=RULE.weight_decay)
    with pytest.raises(ValueError, match="belongs to another run \\(optimizers"):
        train(PROBLEM, start(), other, 200, backend=backend, checkpoint=path)


@each_backend
def test_a_rate_that_is_found_takes_the_place_of_a_schedule(backend):
    paced = [
        train(PROBLEM, start(), rule, 300, learning_rate="auto", backend=backend)
        for rule in (Momentum(RATE), Momentum(1.0))
    ]
    assert_same(*paced)
    assert isinstance(paced[0].optimizer.learning_rate, float)
    assert "rate" not in paced[0].history.recorded


def test_a_rate_may_be_found_beside_schedules():
    rule = Momentum(1.0, Linear(0.5, 0.9, 20), weight_decay=Step(0.01, 50))
    result = train(PROBLEM, start(), rule, 500, learning_rate="auto")
    assert result.status == "completed"
    assert result.loss < 0.1 * result.history.loss[0]
    assert result.optimizer.momentum == rule.momentum


def test_the_largest_decay_bounds_a_stable_rate():
    network = start()
    scheduled = GradientDescent(1.0, weight_decay=Linear(0.0, 3.0, 10))
    constant = GradientDescent(1.0, weight_decay=3.0)
    found = [accel.stable_rate(PROBLEM, network, rule) for rule in (scheduled, constant)]
    assert found[0] == found[1] < accel.stable_rate(PROBLEM, network, GradientDescent(1.0))


def test_a_search_multiplies_a_schedule():
    shape = CosineDecay(1.0, 60)
    search = grid_search(PROBLEM, start(), GradientDescent(shape), 60, refine=0,
                         learning_rates=[0.003, 0.01, 0.03])  # fmt: skip
    best = search.learning_rate
    assert search.best.optimizer == GradientDescent(best * shape)
    assert len(search.results) >= 3
    alone = train(PROBLEM, start(), GradientDescent(best * shape), 60)
    assert search.best.loss == pytest.approx(alone.loss, rel=1e-10)
    assert f"learning_rate={best:.4g}" in repr(search)
    if importlib.util.find_spec("pandas"):
        rates = search.to_pandas()["learning_rate"].tolist()
        assert rates == sorted(rates)
        assert best in rates


@each_backend
def test_a_rate_stays_0_beside_what_overflows(backend):
    growing = ExponentialDecay(1e-3, 1, 1e20, transition_begin=25)
    for rate in (Linear(10, 0, 20) * growing, growing * Linear(10, 0, 20)):
        result = train(PROBLEM, start(), GradientDescent(rate), 200, backend=backend)
        assert result.status == "completed"
        same = train(PROBLEM, start(), GradientDescent(1e-3 * Linear(10, 0, 20)), 20)
        assert result.loss == pytest.approx(same.loss, rel=1e-12)


@each_backend
def test_a_range_of_rates_may_begin_with_a_warm_up(backend):
    growing = ExponentialDecay(1e-4, 10, 1.5)
    result = train(PROBLEM, start(), GradientDescent(Linear(0, 1, 50) * growing), 2000,
                   record_every=10, backend=backend)  # fmt: skip
    assert result.status == "diverged"
    assert result.history.loss.min() < 0.5 * result.history.loss[0]
    np.testing.assert_allclose(result.history["rate"][:2], [0.0, 0.2 * growing(10)], rtol=1e-14)


def test_a_rate_without_bound_may_be_recorded():
    rule = GradientDescent(ExponentialDecay(1e-3, 1, 1e20))
    assert rule.at(100).learning_rate == sys.float_info.max
    zero = start(init="near_zero", scale=0)  # a saddle: nothing moves as long as rates are finite
    result = train(PROBLEM, zero, rule, 100, record=["step_size"], record_every=1)
    assert result.status == "diverged"
    assert len(result.history["step_size"]) == len(result.history) > 10


def test_a_decay_without_bound_has_no_stable_rate():
    rule = GradientDescent(1.0, weight_decay=ExponentialDecay(1e-3, 1, 2.0))
    with pytest.raises(ValueError, match="weight_decay has no bound, got ExponentialDecay"):
        accel.stable_rate(PROBLEM, start(), rule)


@pytest.mark.parametrize("shape", [{"p": 2}, {"p": 2, "k": 3}, {"n": 5, "d": 9}], ids=str)
def test_rotations_do_not_show(shape):
    """In singular vectors and in the row space, where descent commutes with them."""
    rates = Momentum(CosineDecay(0.02, 300), weight_decay=Step(0.05, 100))
    runs = {}
    for method in ("direct", "spectral" if shape.get("p") == 2 else "rowspace"):
        problem = make_problem(**shape, method=method)
        runs[method] = train(problem, start(problem), rates, 300)
        assert runs[method].method == method
    ours, theirs = (run.network.end_to_end() for run in runs.values())
    np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-10)


def test_the_limit_of_stability_is_drawn_for_every_rate():
    pytest.importorskip("matplotlib").use("agg")
    result = train(PROBLEM, start(), GradientDescent(RATE), 50, record=["sharpness"])
    lines = result.plot(what="sharpness").get_lines()
    np.testing.assert_allclose(lines[1].get_ydata(), 2 / RATE(result.history.step), rtol=1e-15)
    drawn = result.plot(what="rate").get_lines()[0].get_ydata()
    np.testing.assert_array_equal(drawn, result.history["rate"])


@pytest.mark.parametrize(
    ("rate", "scale"),
    [
        (WarmupCosineDecay(0.0, 0.02, 10, 50, 0.001), "linear"),
        (CosineDecay(0.02, 49), "linear"),
        (ExponentialDecay(0.02, 50, 1e-7), "linear"),
        (ExponentialDecay(1e-9, 50, 1e7), "log"),
        (ExponentialDecay(0.02, 50, 1e-5), "log"),
    ],
)
def test_every_rate_is_drawn(rate, scale):
    """Also that of a first step that is zero, and no cosine as a cliff."""
    pytest.importorskip("matplotlib")
    from accel._reports.figures import blank_figure

    result = train(PROBLEM, start(), GradientDescent(rate), 50, backend="reference")
    _, (ax,) = blank_figure(1)
    drawn = result.plot(ax, what="rate").get_lines()[0].get_ydata()
    np.testing.assert_array_equal(drawn, result.history["rate"])
    assert ax.get_yscale() == scale


@pytest.mark.parametrize("what", ["rate", "batch_loss"])
def test_no_label_is_cut_off(what):
    """In a figure of the default size, whose ticks between 0.2 and 0.7 are long."""
    pytest.importorskip("matplotlib").use("agg")
    import matplotlib.pyplot as plt

    rule = GradientDescent(ExponentialDecay(2.1e-3, 50, 3.0))
    result = train(PROBLEM, start(), rule, 50, batch_size=9, backend="reference")
    ax = result.plot(what=what)
    ax.set_ylim(2.1e-3, 6.9e-3)
    ax.figure.canvas.draw()
    assert ax.get_yscale() == "log"
    assert ax.yaxis.label.get_window_extent().x0 > 0
    plt.close(ax.figure)


@pytest.mark.parametrize(
    ("rule", "label"),
    [
        (GradientDescent(0.012345), "gd, depth 2, rate 0.0123"),
        (Momentum(CosineDecay(0.02, 50)), "momentum, depth 2, rate CosineDecay"),
        (GradientDescent(0.01 * Step(1.0, 9)), "gd, depth 2, rate 0.01 * Step"),
    ],
)
def test_the_label_of_a_curve_has_the_rate(rule, label):
    pytest.importorskip("matplotlib")
    from accel._reports.figures import blank_figure

    _, (ax,) = blank_figure(1)
    train(PROBLEM, start(), rule, 3, backend="reference").plot(ax)
    assert ax.get_legend_handles_labels()[1] == [label]


def test_estimators_refuse_schedules():
    sklearn = pytest.importorskip("accel.sklearn")
    model = sklearn.LpRegressor(solver="gradient", learning_rate=RATE)
    with pytest.raises(TypeError, match="learning_rate must be a real number, got WarmupCosine"):
        model.fit(PROBLEM.X, PROBLEM.Y.ravel())
    model.set_params(learning_rate=0.1, weight_decay=Constant(0.1))
    with pytest.raises(TypeError, match="weight_decay must be a real number, got Constant"):
        model.fit(PROBLEM.X, PROBLEM.Y.ravel())


def test_the_examples_of_the_page(capsys):
    """The page prints what it says; the best rate of many good ones may be another."""
    pytest.importorskip("sklearn")  # for the data
    page = (ROOT / "docs" / "guide" / "schedules.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```\n\n((?: {4}[^\n]*\n)+)", page, re.S | re.M)
    assert len(blocks) == 2 == page.count("```python")
    number = r"-?\d+\.?\d*"
    for code, said in blocks:
        exec(code, {})
        told, said = (
            re.sub(r"(learning_rate|rates)=[\d.]+", "", text)
            for text in (capsys.readouterr().out, said)
        )
        assert re.sub(number, "", told).split() == re.sub(number, "", said).split()
        ours, theirs = (np.array(re.findall(number, text), float) for text in (told, said))
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=1e-12)
