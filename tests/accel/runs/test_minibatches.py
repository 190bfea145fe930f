"""Runs with batches and noise on the labels: what they go by, record and refuse."""

import math

import numpy as np
import pytest

import accel
from accel import (
    Batches,
    DiagonalNetwork,
    EndToEnd,
    GradientDescent,
    LabelNoise,
    LinearNetwork,
    MatrixCompletion,
    MatrixSensing,
    Momentum,
    Result,
    sweep,
    train,
)
from accel._runs import run as chunks
from accel._runs.batching import batches_of
from accel.schedules import Linear

from ..problems import BACKENDS, PROBLEM, make_problem, start
from .test_sweeping import assert_same

RULE = Momentum(0.005, 0.8)
HOW = {"batch_size": 9, "seed": 4}
each_backend = pytest.mark.parametrize("backend", BACKENDS)


@each_backend
@pytest.mark.parametrize("shuffle", ["epoch", "replacement", "none"])
def test_every_step_has_the_rows_that_batches_says(backend, shuffle):
    """A step is one on the problem of these rows alone."""
    rule, network, batches = GradientDescent(0.01), start(), Batches(40, 9, shuffle, seed=4)
    whole = train(
        PROBLEM, network, rule, 12, shuffle=shuffle, **HOW, record_every=1, backend=backend
    )
    for step in range(12):
        rows = batches.rows(step)
        part = accel.LpProblem(PROBLEM.X[rows], PROBLEM.Y[rows], p=4)
        made = train(part, network, rule, 1, backend=backend)
        assert whole.history["batch_loss"][step] == pytest.approx(made.history.loss[0], rel=1e-12)
        assert whole.history.loss[step] == pytest.approx(PROBLEM.loss(network.end_to_end()))
        network = made.network
    np.testing.assert_allclose(whole.network.params, network.params, rtol=1e-11)
    assert math.isnan(whole.history["batch_loss"][-1])  # no update follows
    assert whole.loss == pytest.approx(PROBLEM.loss(network.end_to_end()))


def test_batches_of_all_rows_are_the_run_without():
    all_rows = train(PROBLEM, start(), RULE, 50, batch_size=PROBLEM.n, seed=7)
    plain = train(PROBLEM, start(), RULE, 50)
    np.testing.assert_allclose(all_rows.network.params, plain.network.params, rtol=1e-11)
    np.testing.assert_allclose(all_rows.history.loss, plain.history.loss, rtol=1e-11)
    assert "batch_loss" not in plain.history.recorded
    assert_same(train(PROBLEM, start(), RULE, 50, seed=7), plain)  # nothing is random


def test_the_seed_and_what_does_not_matter(tmp_path):
    first = train(PROBLEM, start(), RULE, 60, **HOW)
    assert_same(train(PROBLEM, start(), RULE, 60, **HOW, threads=2), first)
    assert_same(train(PROBLEM, start(), RULE, 60, **HOW, record=["balancedness"]), first)
    other = train(PROBLEM, start(), RULE, 60, batch_size=9, seed=5)
    assert abs(other.network.params - first.network.params).max() > 1e-6
    loaded = Result.load(first.save(tmp_path / "result"))
    np.testing.assert_array_equal(loaded.history["batch_loss"], first.history["batch_loss"])


def test_a_sweep_shares_batches():
    rules = [RULE, GradientDescent(0.01), GradientDescent(1e9), GradientDescent(Linear(0, 0.02, 9))]
    outcome = sweep(PROBLEM, [(start(), rule) for rule in rules], 40, **HOW, label_noise=0.1)
    assert [result.status for result in outcome] == ["completed"] * 2 + ["diverged", "completed"]
    for rule, result in zip(rules, outcome, strict=True):
        alone = train(PROBLEM, start(), rule, 40, **HOW, label_noise=0.1)
        assert alone.status == result.status
        np.testing.assert_allclose(result.network.params, alone.network.params, rtol=1e-9)
    both = [(start(), RULE), (DiagonalNetwork(4, scale=0.3), RULE)]
    mixed = sweep(PROBLEM, both, 40, **HOW)
    for (network, rule), result in zip(both, mixed, strict=True):
        alone = train(PROBLEM, network, rule, 40, **HOW)
        np.testing.assert_allclose(result.network.params, alone.network.params, rtol=1e-9)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("how", [HOW, {"label_noise": 0.1}, {**HOW, "label_noise": 0.1}], ids=str)
def test_the_bits_of_a_sweep(k, how):
    """With several outputs those of ``train``; company and place change none."""
    problem = make_problem(k=k)
    rules = [GradientDescent(0.01), RULE, Momentum(0.002)]
    several = sweep(problem, [(start(problem), rule) for rule in rules], 40, **how)
    others = sweep(problem, [(start(problem), rule) for rule in rules[:0:-1]], 40, **how)
    for rule, result, other in zip(rules[1:], several[1:], list(others)[::-1], strict=True):
        assert_same(other, result)
        alone = train(problem, start(problem), rule, 40, **how)
        assert_same(alone, result, exact=k > 1)
        assert_same(sweep(problem, [(start(problem), rule)], 40, **how)[0], alone)


@each_backend
def test_noise_is_on_the_labels_of_updates_only(backend):
    plain = train(PROBLEM, start(), RULE, 200, backend=backend)
    for noise in (0.2, LabelNoise(0.2), LabelNoise(0.2, "sign")):
        noisy = train(PROBLEM, start(), RULE, 200, label_noise=noise, backend=backend)
        assert noisy.history.loss[0] == pytest.approx(plain.history.loss[0], rel=1e-12)
        assert noisy.history["batch_loss"][0] != noisy.history.loss[0]
        # E (r + s xi)^4 = r^4 + 6 r^2 s^2 + 3 s^4, or s^4: more than r^4.
        assert np.nanmean(noisy.history["batch_loss"]) > noisy.history.loss[:-1].mean()
    none = train(PROBLEM, start(), RULE, 200, label_noise=0.0, backend=backend)
    assert_same(none, plain)


def test_the_end_to_end_rule_with_batches_follows_a_deep_net():
    """Theorem 1 holds for the gradient of any loss, that of a batch too."""
    problem = make_problem()
    deep = LinearNetwork.for_problem(problem, 2, width=1, init="balanced", scale=0.5, seed=1)
    shallow = LinearNetwork((4, 1)).with_params(deep.end_to_end().ravel())
    rate = 1e-4
    wide = train(problem, deep, GradientDescent(rate), 300, **HOW)
    rule = train(problem, shallow, EndToEnd(rate, 2), 300, **HOW)
    moved = np.linalg.norm(wide.network.end_to_end() - deep.end_to_end())
    apart = np.linalg.norm(wide.network.end_to_end() - rule.network.end_to_end())
    assert moved > 0.01
    assert apart < 0.02 * moved


@each_backend
def test_resumed_is_as_never_interrupted(backend, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "_GROWTH", 2)
    arguments = {**HOW, "label_noise": 0.1, "backend": backend, "record_every": 10}
    whole = train(PROBLEM, start(), RULE, 3000, **arguments)

    for goal in (1, 10, 250):
        part = train(
            PROBLEM, start(), RULE, 3000, **arguments, checkpoint=tmp_path / "run",
            callback=lambda step, _, goal=goal: step >= goal, checkpoint_every=0,
        )  # fmt: skip
        assert part.status == "interrupted"
    last = train(PROBLEM, start(), RULE, 3000, **arguments, checkpoint=tmp_path / "run")
    assert_same(last, whole)
    with pytest.raises(ValueError, match=r"another run \(batches: "):
        train(PROBLEM, start(), RULE, 3000, record_every=10, backend=backend,
              batch_size=9, seed=5, label_noise=0.1, checkpoint=tmp_path / "run")  # fmt: skip


def test_where_a_run_ends_by_itself():
    long = train(PROBLEM, start(), RULE, 400, **HOW, record_every=10)
    target = long.history.loss[20]
    short = train(PROBLEM, start(), RULE, 400, **HOW, record_every=10, target=target)
    assert short.status == "target"
    assert short.steps in long.history.step[long.history.loss <= target][:1]
    wild = train(PROBLEM, start(), GradientDescent(1e9), 400, **HOW)
    assert wild.status == "diverged"
    assert np.isfinite(wild.network.params).all()


@each_backend
def test_a_diverged_run_goes_back_to_a_finite_loss_of_all_rows(backend):
    """One row of 40 is so long that the loss of all overflows long before that of a batch."""
    X = PROBLEM.X.copy()
    X[11] *= 1e60
    problem = accel.LpProblem(X, PROBLEM.Y, p=2, method="direct")
    network = LinearNetwork((4, 1), scale=0.1, seed=1)
    rule, how = GradientDescent(1.0), {"batch_size": 1, "record_every": 1000, "backend": backend}
    for seed in range(3):
        result = train(problem, network, rule, 500, seed=seed, **how)
        assert result.status == "diverged"
        assert np.isfinite(result.loss)
        assert result.steps < result.diverged_at
        assert result.history.step[-1] == result.steps


@pytest.mark.parametrize("chunk_seconds", [0.1, 1e-9])
@pytest.mark.parametrize(("longest", "every"), [(1e150, 10**6), (1e3, 10**6), (1e3, 100)])
def test_it_goes_back_as_far_as_it_must(
    longest, every, chunk_seconds, monkeypatch, in_a_folder_of_its_own
):
    """The loss of all rows is infinite for thousands of steps before the long row has its turn."""
    monkeypatch.setattr(chunks, "_CHUNK_SECONDS", chunk_seconds)
    X = np.random.default_rng(3).standard_normal((4000, 2))
    signs = np.where(X @ [1.0, -2.0] > 0, 1.0, -1.0)
    X[-1] *= -longest  # on the wrong side
    problem, network = accel.Problem(X, signs, "exponential"), LinearNetwork((2, 1), scale=0.0)

    def run(steps=8000, every=every, **more):
        return train(problem, network, GradientDescent(1e-3), steps, batch_size=1, shuffle="none",
                     record_every=every, backend="cpu", **more)  # fmt: skip

    result = run()
    assert result.status == "diverged"
    # A record says so as soon as it is one; else it is the turn of the row itself.
    assert result.diverged_at == (3999 if every > 4000 else every * (result.steps // every + 1))
    assert np.isfinite(result.loss)
    assert (result.steps == 0) == (longest == 1e150)
    assert result.steps < 3000
    following = run(result.steps + 1, every=10**6)
    assert following.status == "diverged"
    if result.steps:
        before = run(result.steps, every=10**6)
        assert before.status == "completed"
        np.testing.assert_array_equal(before.network.params, result.network.params)
    checkpoint = {"checkpoint": "run.npz", "checkpoint_every": 0}
    stopped = run(**checkpoint, callback=lambda step, loss: step >= 5)
    assert 5 <= max(stopped.steps, stopped.diverged_at or 0) < 3999
    resumed = run(checkpoint="run.npz")
    assert (resumed.steps, resumed.diverged_at) == (result.steps, result.diverged_at)
    np.testing.assert_array_equal(resumed.network.params, result.network.params)


@each_backend
def test_no_update_follows_the_last_iterate(backend):
    """Also where a run that ends by itself ends at a record."""
    how = {**HOW, "backend": backend, "record_every": 1}
    wild = train(PROBLEM, start(), GradientDescent(50.0), 400, **how)
    assert wild.status == "diverged"
    target = train(PROBLEM, start(), RULE, 400, **how, target=wild.history.loss[0] / 2)
    assert target.status == "target"
    many = [*sweep(PROBLEM, [(start(), GradientDescent(rate)) for rate in (50.0, 0.01)], 9, **how)]
    for result in (wild, target, *many):
        losses = result.history["batch_loss"]
        assert len(losses) > 1
        assert np.isfinite(losses[:-1]).all()
        assert math.isnan(losses[-1])


def test_rows_without_number_are_no_matter_without_batches():
    """Rows of batches are numbered in 32 bits; other runs may have more."""

    class Vast:
        n, takes_batches = 2**31, False

    assert batches_of(Vast(), None, "epoch", 0, None) is None


def test_what_is_only_shown_costs_little(monkeypatch):
    """A loss of all rows is long for a step: it is not computed in every chunk for a callback."""

    class Clock:
        seconds = 0.0

        @classmethod
        def perf_counter(cls):
            cls.seconds += 1.0
            return cls.seconds

    looks, shown, look = [], [], chunks.Run._look

    def counted(run):
        look(run)
        looks.append(Clock.seconds)

    monkeypatch.setattr(chunks, "time", Clock)
    monkeypatch.setattr(chunks.Run, "_look", counted)
    how = {"batch_size": 9, "record_every": 10**6, "backend": "reference"}
    train(PROBLEM, start(), RULE, 60, **how, callback=lambda step, loss: shown.append(step))
    assert len(shown) > 50
    assert 5 < len(looks) <= len(shown) / 2
    assert (np.diff(looks) > 10).all()  # each takes a second by this clock


def test_measurements_of_a_matrix():
    rng = np.random.default_rng(3)
    A, truth = rng.standard_normal((60, 3, 4)), rng.standard_normal((3, 4))
    problem = MatrixSensing(A, np.einsum("nij,ij->n", A, truth))
    network = LinearNetwork.for_problem(problem, 2, width=3, init="balanced", scale=0.3, seed=1)
    ours, theirs = (
        train(problem, network, GradientDescent(0.02), 500, batch_size=10, backend=backend)
        for backend in ("cpu", "reference")
    )
    np.testing.assert_allclose(ours.network.params, theirs.network.params, rtol=1e-9)
    assert ours.loss < 1e-3 * ours.history.loss[0]


ROWS = [
    (ValueError, "batch_size must be >= 1 and <= 40, got 41", {"batch_size": 41}),
    (ValueError, "batch_size must be >= 1 and <= 40, got 0", {"batch_size": 0}),
    (TypeError, "batch_size must be an integer, got 2.5", {"batch_size": 2.5}),
    (ValueError, "shuffle must be one of epoch, replacement, none", {"shuffle": "epochs"}),
    (ValueError, "shuffle is for batches: 'none' needs a batch_size", {"shuffle": "none"}),
    (ValueError, "seed must be >= 0", {"seed": -1}),
    (TypeError, "seed must be an integer, got None", {"seed": None}),
    (ValueError, "label_noise must be finite and >= 0, got -1", {"label_noise": -1}),
    (TypeError, "label_noise must be a real number, got 'sign'", {"label_noise": "sign"}),
]


@pytest.mark.parametrize(("error", "message", "arguments"), ROWS)
def test_wrong_arguments(error, message, arguments):
    for call in (
        lambda: train(PROBLEM, start(), RULE, 5, **arguments),
        lambda: sweep(PROBLEM, [(start(), RULE)], 5, **arguments),
    ):
        with pytest.raises(error, match=message):
            call()


def test_what_has_no_rows_to_choose_from():
    completion = MatrixCompletion((2, 2), [0, 1], [1, 0], [1.0, 2.0])
    network = LinearNetwork.for_problem(completion, 2, width=2)
    for arguments in ({"batch_size": 1}, {"label_noise": 0.1}):
        with pytest.raises(ValueError, match="are for problems with rows of data on this machine"):
            train(completion, network, RULE, 5, **arguments)
    gram = make_problem(p=2, method="gram")
    with pytest.raises(ValueError, match="method must be 'auto' or 'direct', got 'gram'"):
        train(gram, start(gram), RULE, 5, batch_size=4)
    square = make_problem(p=2)
    assert train(square, start(square), RULE, 5).method != "direct"
    assert train(square, start(square), RULE, 5, batch_size=4).method == "direct"
    labels = accel.Problem(PROBLEM.X, np.sign(PROBLEM.Y), accel.losses.Logistic())
    with pytest.raises(ValueError, match=r"those of Logistic.* are classes"):
        train(labels, start(labels), RULE, 5, label_noise=0.1)
    assert train(labels, start(labels), RULE, 5, batch_size=4).status == "completed"


def test_records_cost_no_more_than_the_steps():
    """By default there is at most one in an epoch, of whatever length the chunks of a run are."""
    result = train(PROBLEM, start(), RULE, 100, **HOW)
    np.testing.assert_array_equal(result.history.step, np.arange(0, 101, 5))
    every = train(PROBLEM, start(), RULE, 100, label_noise=0.1)
    np.testing.assert_array_equal(every.history.step, np.arange(101))
