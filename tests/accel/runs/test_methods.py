"""Which method a run takes: where a rotation applies, pays, and has the digits."""

import logging
import tracemalloc

import numpy as np
import pytest

import accel
from accel import LinearNetwork, LpProblem, sweep, train
from accel._runs import methods as choice
from accel._runs.checks import limits
from accel._runs.methods import methods_of
from accel._runs.rotating import begin, needs_of
from accel._support import memory
from accel._support.backends import resolve
from accel.kernels.specs import ModelSpec

from ..problems import make_problem
from .rotated import always_worth_it, like, problem_of, start_of
from .test_sweeping import assert_same

OTHERS = [
    accel.AdaGrad(),
    accel.AdaDelta(),
    accel.RMSProp(),
    accel.Adam(),
    accel.Langevin(0.1, 0.1),
]


@pytest.mark.parametrize("method", ["spectral", "rowspace"])
def test_rules_that_scale_every_entry_are_refused(method):
    problem = problem_of(30, 5, p=2.0, method=method)
    network = start_of(problem, 1, "near_zero")
    for optimizer in OTHERS:
        with pytest.raises(ValueError, match=f"{method}.*'{optimizer.name}' does not"):
            train(problem, network, optimizer, 10)
        with pytest.raises(ValueError, match=f"{method}.*'{optimizer.name}' does not"):
            sweep(problem, [(network, accel.GradientDescent(0.1)), (network, optimizer)], 10)


def test_steps_decide_whether_it_pays():
    wide, tall = problem_of(50, 400), problem_of(500, 50, p=2.0)
    for problem, few, many in ((wide, "direct", "rowspace"), (tall, "gram", "spectral")):
        network = LinearNetwork.for_problem(problem, 1)
        rules = [accel.GradientDescent(0.1), accel.Adam(), accel.Langevin(0.1, 0.1)]
        models = [(network, rule) for rule in rules]
        assert methods_of(problem, models, limits(10, None, 0.0, None)) == [few] * 3
        assert methods_of(problem, models, limits(10**6, None, 0.0, None)) == [many, few, few]
    square, network = problem_of(50, 60), LinearNetwork((60, 1))
    model = network, accel.GradientDescent(0.1)
    assert methods_of(square, [model], limits(10**9, None, 0.0, None)) == ["direct"]


def test_a_run_that_may_end_early_counts_for_less():
    problem = problem_of(500, 50, p=2.0)
    model = LinearNetwork.for_problem(problem, 1), accel.GradientDescent(0.1)
    steps = next(
        2**i for i in range(60)
        if choice.pays(problem, model[0], 2**i, "spectral", "gram")
    )  # fmt: skip
    assert methods_of(problem, [model], limits(steps, None, 0.0, None)) == ["spectral"]
    assert methods_of(problem, [model], limits(steps, None, 0.1, None)) == ["gram"]
    assert methods_of(problem, [model], limits(10 * steps, None, 0.1, None)) == ["spectral"]


@always_worth_it
def test_a_model_of_a_sweep_takes_the_method_that_it_takes_alone():
    problem = problem_of(60, 8, p=2.0)
    network = start_of(problem, 2, "near_zero")
    models = [
        (network, accel.GradientDescent(0.05)),
        (network, accel.Adam()),
        (start_of(problem, 3, "balanced"), accel.Momentum(0.01)),
        (start_of(problem, 1, "given"), accel.EndToEnd(0.01, 3)),
        (network, accel.GradientDescent(1e4)),
        (network, accel.AdaGrad()),
    ]
    swept = sweep(problem, models, 200)
    assert [result.method for result in swept] == [
        "spectral", "gram", "spectral", "spectral", "spectral", "gram",
    ]  # fmt: skip
    assert [result.status for result in swept].count("diverged") == 1
    for result, model in zip(swept, models, strict=True):
        if result.method == "spectral":
            assert_same(result, train(problem, *model, 200))


def test_where_the_gram_form_has_not_the_digits_it_is_passes_that_are_spared():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, 20))
    problem = LpProblem(X, X @ rng.standard_normal(20), 2)
    model = LinearNetwork((20, 1)), accel.GradientDescent(1e-3)
    assert problem.form(0.0, 0.0, 1e-9) == "direct"
    assert methods_of(problem, [model], limits(10_000, None, 0.0, 1e-9)) == ["spectral"]
    assert methods_of(problem, [model], limits(10_000, None, 0.0, None)) == ["gram"]


@always_worth_it
def test_a_target_that_needs_every_digit(caplog):
    problem = make_problem(n=400, d=6, p=2)
    network = start_of(problem, 1, "near_zero")
    model = network, accel.GradientDescent(0.2), 5
    assert train(problem, *model, target=1e-9).method == "spectral"
    with caplog.at_level(logging.INFO, "accel"):
        assert train(problem, *model, target=1e-19).method == "direct"
        assert train(problem, *model, tol=1e-16).method == "direct"
    assert "in place of the spectral method: target = 1e-19 is too low" in caplog.text
    for stop in ({"target": 1e-19}, {"tol": 1e-16}):
        with pytest.raises(ValueError, match=r"'spectral' has not the digits.*is too low"):
            train(like(problem, "spectral"), *model, **stop)


@always_worth_it
@pytest.mark.parametrize("of_x", [1e-160, 1e160])
def test_data_whose_squares_leave_the_range(of_x):
    usual = problem_of(30, 5, p=2.0)
    problem = LpProblem(of_x * usual.X, usual.Y, 2)
    model = LinearNetwork((5, 1), scale=0.0), accel.GradientDescent(0.0), 3
    assert train(problem, *model).method == "direct"
    with pytest.raises(ValueError, match="squares of the data overflow or vanish"):
        train(like(problem, "spectral"), *model)


@always_worth_it
@pytest.mark.parametrize(("n", "d", "p"), [(30, 20, 2.0), (5, 20, 2.0), (5, 20, 4.0)])
def test_a_start_at_the_end_of_the_numbers_diverges(n, d, p):
    """No rotation of what would overflow in it; the run says what became of it."""
    problem = problem_of(n, d, p=p)
    network = LinearNetwork((d, 1), init=[np.full((1, d), 1.5e308)])
    result = train(problem, network, accel.GradientDescent(0.1), 5)
    assert result.status == "diverged"
    assert result.method in ("direct", "gram")


@always_worth_it
def test_columns_of_very_different_sizes_are_not_rotated():
    problem = problem_of(8, 40)
    X = problem.X.copy()
    X[:, 3] *= 1e5
    network = LinearNetwork((40, 1))
    rule = accel.GradientDescent(1e-30)
    assert train(LpProblem(X, problem.Y), network, rule, 2).method == "rowspace"
    X[:, 3] *= 1e4
    assert train(LpProblem(X, problem.Y), network, rule, 2).method == "direct"


def test_memory_for_every_start():
    """Of what stays, and of what is there for a while when the run begins."""
    problem, rule = problem_of(20, 4000), accel.GradientDescent(0.001).rule
    starts = [
        LinearNetwork.for_problem(problem, 2, 40, init="near_zero", seed=seed) for seed in range(5)
    ]
    specs = [ModelSpec(network.widths, network.params, rule) for network in starts]
    kernels, methods = resolve("cpu"), ["rowspace"] * len(specs)
    shared, own = (
        sum(needs_of(problem, kernels, methods, models, 10, 1).values())
        for models in (specs[:1] * len(specs), specs)
    )
    assert own - shared == (len(specs) - 1) * 2 * 8 * 4000 * 40
    begin(problem, kernels, methods, specs, 1)  # compiles, and decomposes X
    problem = like(problem, "auto")
    tracemalloc.start()
    try:
        begin(problem, kernels, methods, specs, 1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert own / 2 < peak < own


@always_worth_it
def test_without_memory_there_is_no_rotation(monkeypatch, caplog):
    """Unless it is asked for by name; a lack of memory for passes is an error."""
    problem = problem_of(10, 400)
    model = start_of(problem, 1, "near_zero"), accel.GradientDescent(0.001), 10
    spec = ModelSpec(model[0].widths, model[0].params, model[1].rule)
    rotated, direct = (
        sum(needs_of(problem, resolve("cpu"), [method], [spec], 10, 1).values())
        for method in ("rowspace", "direct")
    )
    assert rotated > 2 * direct
    monkeypatch.setattr(memory, "_SMALL", 0)
    monkeypatch.setattr(memory, "available", lambda: rotated / 2)
    with caplog.at_level(logging.INFO, "accel"):
        assert train(problem, *model, threads=1).method == "direct"
    assert "no rotation of the data: the run needs about" in caplog.text
    with pytest.raises(MemoryError, match="for a rotation of the data"):
        train(like(problem, "rowspace"), *model, threads=1)
    monkeypatch.setattr(memory, "available", lambda: 0)
    with pytest.raises(MemoryError):
        train(problem, *model, threads=1)
