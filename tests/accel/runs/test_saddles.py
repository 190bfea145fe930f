"""Default starts leave the saddle at 0 at every depth, and runs that stay there say so."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accel
from accel import (
    DiagonalNetwork,
    LinearNetwork,
    LpProblem,
    SaddleWarning,
    stable_rate,
    sweep,
    train,
)
from accel._runs import rates

from ..problems import make_problem

GD = accel.GradientDescent(1.0)
OPTIONS = {"backend": "reference", "record_every": 1}
RULES = ("gd", "auto", "adam")


def run(problem, network, rule, steps=300, **arguments):
    """A run by plain descent at the stable rate, at rates that follow the loss, or by Adam."""
    arguments = {**OPTIONS, **arguments}
    if rule == "adam":
        return train(problem, network, accel.Adam(0.01), steps, **arguments)
    if rule == "auto":
        return train(problem, network, GD, steps, learning_rate="auto", **arguments)
    optimizer = accel.GradientDescent(stable_rate(problem, network, GD))
    return train(problem, network, optimizer, steps, **arguments)


def drawn(seed, p, k):
    """Standardised data of random size, nine tenths of them signal."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(20, 60)), int(rng.integers(2, 8))
    X = rng.standard_normal((n, d)) * 10 ** rng.uniform(-0.5, 0.5, d)
    signal = X @ rng.standard_normal((d, k))
    Y = signal / signal.std(axis=0) + 0.3 * rng.standard_normal((n, k))
    scaled = accel.standardize(X, Y)
    return LpProblem(scaled.X, scaled.y, p)


@given(st.integers(0, 999), st.integers(2, 8), st.sampled_from([2, 4]), st.integers(1, 3),
       st.sampled_from(RULES), st.booleans())  # fmt: skip
@settings(deadline=None, max_examples=15, derandomize=True)
def test_a_default_start_leaves_the_saddle_in_300_steps(seed, depth, p, k, rule, wide):
    problem = drawn(seed, p, k)
    network = LinearNetwork.for_problem(problem, depth, 20 if wide else None, seed=seed)
    result = run(problem, network, rule, target=0.8 * problem.loss(np.zeros((k, problem.d))))
    assert result.status == "target"


@pytest.mark.parametrize("depth", [2, 3, 8])
@pytest.mark.parametrize("form", ["power-difference", "hadamard"])
@pytest.mark.parametrize("init", ["constant", "near_zero"])
def test_so_does_that_of_a_diagonal_network(form, depth, init):
    problem = drawn(depth, 2, 1)
    network = DiagonalNetwork.for_problem(problem, depth, form, init=init)
    result = run(problem, network, "gd", target=0.8 * problem.loss(np.zeros(problem.d)))
    assert result.status == "target"


def test_so_does_that_of_a_matrix_problem():
    made = accel.datasets.make_low_rank((8, 8), 2, 50)
    zero = made.problem.loss(np.zeros((8, 8)))
    for depth in (3, 6):
        network = LinearNetwork.for_problem(made.problem, depth)
        assert run(made.problem, network, "gd", target=0.8 * zero).status == "target"


def small(problem, depth=8, scale=0.01):
    """A network that the saddle holds."""
    return LinearNetwork.for_problem(problem, depth, scale=scale)


HELD = {
    "plain": lambda p: (small(p), accel.GradientDescent(0.1)),
    "from 0": lambda p: (small(p, 2, 0.0), accel.GradientDescent(0.1)),
    "momentum": lambda p: (small(p), accel.Momentum(0.1)),
    "adam": lambda p: (small(p), accel.Adam(0.01)),
    "decay": lambda p: (small(p), accel.GradientDescent(0.1, weight_decay=1e-3)),
    "end-to-end": lambda p: (
        LinearNetwork.for_problem(p, 1, scale=1e-9), accel.EndToEnd(0.1, 4)),
    "wide": lambda p: (LinearNetwork.for_problem(p, 8, 20, scale=1e-3), accel.GradientDescent(0.1)),
    "diagonal": lambda p: (
        DiagonalNetwork.for_problem(p, 8, scale=0.01), accel.GradientDescent(0.1)),
    "product": lambda p: (
        DiagonalNetwork.for_problem(p, 8, "hadamard", scale=0.01), accel.GradientDescent(0.1)),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("p", [1.5, 4])
@pytest.mark.parametrize("name", HELD)
def test_a_run_that_the_saddle_holds_warns_once(name, p, dtype):
    problem = make_problem(p=p, dtype=dtype)
    network, optimizer = HELD[name](problem)
    with pytest.warns(SaddleWarning, match="100 steps took the loss from") as seen:
        result = train(problem, network, optimizer, 100, **OPTIONS)
    assert len(seen) == 1
    assert seen[0].filename == __file__
    assert (result.status, result.at_saddle) == ("completed", True)
    assert "at_saddle=True" in repr(result)
    assert "larger start" in result._repr_html_()


@pytest.mark.parametrize("units", [1e-4, 1e3])
def test_units_do_not_matter(units):
    plain = make_problem(k=2)
    for depth, scale in ((8, 0.01), (3, None)):
        network = small(plain, depth, scale)
        stretched = network.with_params(units ** (1 / depth) * network.params)
        still = [
            sweep(problem, [(start, accel.GradientDescent(rate))], 20, **OPTIONS)[0].at_saddle
            for problem, start, rate in (
                (plain, network, 1e-3),
                (LpProblem(plain.X, units * plain.Y), stretched, 1e-3 * units ** (2 / depth - 4)),
            )
        ]
        assert still == [depth == 8] * 2


def test_held_models_of_a_sweep_are_counted_in_silence():
    problem = make_problem()
    models = [(small(problem), accel.GradientDescent(rate)) for rate in (0.1, 0.01)]
    models.append((LinearNetwork.for_problem(problem, 8), accel.GradientDescent(0.01)))
    done = sweep(problem, models, 100, **OPTIONS)
    assert [result.at_saddle for result in done] == [True, True, False]
    assert "3 completed (2 at a saddle)" in repr(done)
    assert "saddle" not in repr(done[2])


def test_it_is_kept_in_the_file(tmp_path):
    problem = make_problem()
    held = sweep(problem, [(small(problem), GD)], 10, **OPTIONS)[0]
    assert accel.Result.load(held.save(tmp_path / "held")).at_saddle is True


def test_at_a_saddle_of_higher_rank():
    """The factors of the best map of rank one, held in two hidden units."""
    X = np.linalg.qr(np.random.default_rng(0).standard_normal((40, 3)))[0]
    W = np.diag([3.0, 2.0, 1.0])
    problem = LpProblem(X, X @ W.T, 2)
    first, last = np.zeros((2, 3)), np.zeros((3, 2))
    first[0, 0] = last[0, 0] = np.sqrt(3.0)
    network = LinearNetwork((3, 2, 3), init=[first, last])
    with pytest.warns(SaddleWarning):
        train(problem, network, accel.GradientDescent(0.1), 100, **OPTIONS)
    narrow = LinearNetwork((3, 1, 3), init=[first[:1], last[:, :1]])  # its minimum
    train(problem, narrow, accel.GradientDescent(0.1), 100, **OPTIONS)


def healthy():
    """Runs whose loss hardly falls though nothing is wrong with their start."""
    problem = make_problem(p=4)
    best = accel.optimum(problem).W
    for depth in (1, 2, 5):
        network = LinearNetwork.for_problem(problem, depth, 4)
        yield f"few steps, depth {depth}", problem, network, accel.GradientDescent(1e-4), 10, {}
        yield f"tiny rate, depth {depth}", problem, network, accel.GradientDescent(1e-9), 50, {}
        eyes = [np.eye(4)] * (depth - 1)
        done = LinearNetwork.for_problem(problem, depth, 4, init=[*eyes, best.reshape(1, 4)])
        yield f"at the optimum, depth {depth}", problem, done, accel.GradientDescent(1e-4), 50, {}
    small = LinearNetwork.for_problem(problem, 2, scale=1e-4)
    yield "soon to leave", problem, small, accel.GradientDescent(0.01), 10, {}
    flat = LpProblem(problem.X, np.zeros(40), 4)
    yield "nothing to learn", flat, LinearNetwork.for_problem(flat, 4), GD, 10, {}
    noise = LpProblem(problem.X, np.linalg.qr(np.c_[problem.X, np.ones(40)])[0][:, -1], 2)
    yield "orthogonal", noise, LinearNetwork.for_problem(noise, 8, scale=0.01), GD, 10, {}
    decayed = accel.GradientDescent(1e-4, weight_decay=1e3)
    yield "decay", problem, LinearNetwork.for_problem(problem, 2, scale=1e-6), decayed, 50, {}
    batch = {"batch_size": 8}
    yield "batches", problem, LinearNetwork.for_problem(problem, 3), GD.__class__(1e-4), 10, batch
    absolute = make_problem(p=1)
    yield "p = 1", absolute, LinearNetwork.for_problem(absolute, 3), GD.__class__(1e-4), 10, {}


@pytest.mark.parametrize("case", list(healthy()), ids=lambda case: case[0])
def test_no_false_alarm(case):
    _, problem, network, optimizer, steps, arguments = case
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = train(problem, network, optimizer, steps, **OPTIONS | arguments)
    assert result.at_saddle is False


@pytest.mark.parametrize("p", [2, 4])
@pytest.mark.parametrize("optimizer", [GD, accel.Momentum(1.0), accel.EndToEnd(1.0, 8)], ids=str)
@pytest.mark.parametrize("scale", [0.0, 1e-6, 0.01])
def test_beside_a_saddle_the_rate_is_that_of_a_start_away_from_it(p, optimizer, scale):
    problem = make_problem(p=p, k=2)
    networks = [LinearNetwork.for_problem(problem, 8, scale=size) for size in (scale, None)]
    if isinstance(optimizer, accel.EndToEnd):
        networks = [LinearNetwork.for_problem(problem, 1, init=[W.end_to_end()]) for W in networks]
    held, healthy = (stable_rate(problem, network, optimizer) for network in networks)
    assert healthy / 30 < held < 30 * healthy


def test_so_it_is_for_a_diagonal_network_and_with_batches():
    problem = make_problem()
    for arguments in ({}, {"batch_size": 8}):
        for form in ("power-difference", "hadamard"):
            held, healthy = (
                stable_rate(
                    problem,
                    DiagonalNetwork.for_problem(problem, 8, form, scale=scale),
                    GD,
                    **arguments,
                )
                for scale in (0.01, None)
            )
            assert healthy / 30 < held < 30 * healthy


@given(st.integers(0, 999), st.integers(1, 8), st.sampled_from([2, 4]), st.integers(1, 3),
       st.sampled_from(["near_zero", "balanced", "identity", "orthogonal", "wide"]))  # fmt: skip
@settings(deadline=None, max_examples=12, derandomize=True)
def test_healthy_starts_have_the_rates_that_they_had(seed, depth, p, k, init):
    """The curvature along the start alone is what their rates came from before."""
    problem = drawn(seed, p, k)
    how = {"scale": 0.5} if init == "wide" else {"init": init}
    network = LinearNetwork.for_problem(problem, depth, 8, seed=seed, **how)
    rate = stable_rate(problem, network, GD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rates, "lower_map", lambda *model: None)
        assert stable_rate(problem, network, GD) == rate


def test_rates_that_follow_the_loss_do_not_grow_without_end_at_a_saddle():
    problem = make_problem()
    network = small(problem)
    with pytest.warns(SaddleWarning):
        result = run(problem, network, "auto", 1000)
    assert result.optimizer.learning_rate <= 1024 * stable_rate(problem, network, GD)
    # From depth 4 a larger rate helps, and then it falls to one that suits the rest of the run.
    left = run(problem, small(problem, 4), "auto", 1000)
    assert left.loss < 0.1 * left.history.loss[0]


@pytest.mark.parametrize("depth", [2, 3, 5])
@pytest.mark.parametrize("slope", [-1.0, 1.0])
def test_one_feature_of_either_slope(depth, slope):
    """A product of balanced scalars cannot change its sign, so for_problem chooses it."""
    x = np.random.default_rng(0).standard_normal(50)
    problem = accel.LpProblem(x[:, None], slope * x, p=2)
    for seed in range(4):
        network = accel.LinearNetwork.for_problem(problem, depth, init="balanced", seed=seed)
        run = {"steps": 300, "learning_rate": "auto", "backend": "reference"}
        result = accel.train(problem, network, "gd", **run)
        assert result.network.end_to_end().item() == pytest.approx(slope, rel=1e-2)
        params = network.params.copy()
        params[-1] *= -1
        with pytest.warns(accel.SaddleWarning, match="at the saddle at 0: in 300 steps"):
            result = accel.train(problem, network.with_params(params), "gd", **run)
        assert result.at_saddle


def test_what_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    problem = accel.LpProblem([[1.0, 0.0], [0.0, 1.0]], [3.0, 1.0], p=4)
    network = accel.LinearNetwork.for_problem(problem, depth=1)
    result = accel.train(problem, network, "gd", 20, backend="reference")
    best = accel.optimum(problem)
    one, other = (result.plot(optimum=least).get_lines()[0] for least in (best, best.loss))
    np.testing.assert_array_equal(one.get_ydata(), other.get_ydata())
    with pytest.raises(TypeError, match="ax must be axes of matplotlib, got 'loss'"):
        result.plot("loss")
