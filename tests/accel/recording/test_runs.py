"""Runs that record: the same bits as without, and the quantities of the very iterates."""

import threading

import numpy as np
import pytest

import accel
from accel import recording, sweep, train
from accel._core.oracle import Oracle
from accel._runs import run as chunks
from accel._support.backends import resolve

from ..problems import BACKENDS, PROBLEM, make_problem, start
from ..runs.test_sweeping import assert_same, mixed

ALL = [
    "singular_values(factors=True)", "effective_rank", "stable_rank", "nuclear_norm",
    "schatten(0.5)", "balancedness", "alignment(layers=True)", "sharpness", "end_to_end_sharpness",
    "snapshots(factors=True)", recording.DistanceTo(np.ones(4)),
    lambda step, net: [step, net.depth],
]  # fmt: skip


def check_against_snapshots(problem, network, result):
    """Whatever was recorded is that of the factors that were recorded beside it."""
    history, kernels = result.history, recording.Snapshots(factors=True)
    names = kernels.outputs(recording.Model(problem, network, result.optimizer))
    assert {len(values) for values in history.recorded.values()} == {len(history)}
    for i, step in enumerate(history.step):
        params = np.concatenate([history[name][i].ravel() for name in names])
        iterate = network.with_params(params)
        W = iterate.end_to_end()
        sigma = np.linalg.svd(W.astype(float), compute_uv=False)
        np.testing.assert_allclose(history["singular_values"][i], sigma, rtol=1e-6, atol=1e-9)
        assert history["weight_norm"][i] == pytest.approx(np.linalg.norm(W), rel=1e-5)
        assert history["loss"][i] == pytest.approx(problem.loss(W), rel=1e-4, abs=1e-9)
        sharpness = accel.theory.sharpness(problem, iterate, backend="reference")
        assert history["sharpness"][i] == pytest.approx(sharpness, rel=1e-4)
        own = next(values for name, values in history.recorded.items() if "lambda" in name)
        assert own[i].tolist() == [step, network.depth]
    last = np.concatenate([history[name][-1].ravel() for name in names])
    np.testing.assert_array_equal(last, result.network.params)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("every", [1, 7, 100])
def test_the_same_bits(backend, every):
    rule = accel.Nesterov(0.01)
    settings = {"record_every": every, "backend": backend}
    plain = train(PROBLEM, start(depth=3), rule, 150, **settings)
    recorded = train(PROBLEM, start(depth=3), rule, 150, **settings, record=ALL)
    assert_same(recorded, plain)
    assert plain.history.recorded == {}
    check_against_snapshots(PROBLEM, start(depth=3), recorded)


@pytest.mark.parametrize("method", ["direct", "gram", "spectral", "rowspace"])
def test_the_same_bits_by_every_method(method):
    problem = make_problem(n=10 if method == "rowspace" else 40, d=4, k=2, p=2, method=method)
    if method == "rowspace":
        problem = make_problem(n=3, d=4, k=2, p=4, method=method)
    rule, network = accel.GradientDescent(0.02), start(problem, 3)
    record = [*ALL[:-2], ALL[-1]]
    plain = train(problem, network, rule, 60, record_every=20)
    recorded = train(problem, network, rule, 60, record_every=20, record=record)
    assert recorded.method == method
    assert_same(recorded, plain)
    check_against_snapshots(problem, network, recorded)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_snapshot_is_the_end_of_a_shorter_run(dtype):
    problem = make_problem(dtype=dtype)
    network = start(problem)
    whole = train(problem, network, accel.Adam(), 90, record_every=30, record="snapshots(True)")
    assert whole.history["snapshots_W1"].dtype == problem.dtype
    for i, steps in enumerate((30, 60, 90), 1):
        short = train(problem, network, accel.Adam(), steps)
        for j, factor in enumerate(short.network.factors, 1):
            np.testing.assert_array_equal(whole.history[f"snapshots_W{j}"][i], factor)


def test_a_sweep_of_many_kinds():
    models = mixed(PROBLEM)
    plain = sweep(PROBLEM, models, 100, record_every=25)
    recorded = sweep(PROBLEM, models, 100, record_every=25, record=ALL, validation=make_problem(5))
    for model, ours, theirs in zip(models, recorded, plain, strict=True):
        assert_same(ours, theirs)
        check_against_snapshots(PROBLEM, model[0], ours)
        W = ours.network.end_to_end()
        loss = make_problem(5).loss(W)
        assert ours.history["validation_loss"][-1] == pytest.approx(loss)


@pytest.mark.parametrize("rate", [0.5, 3.0, 1e200])
def test_divergence(rate):
    rule = accel.GradientDescent(rate)
    plain = train(PROBLEM, start(depth=3), rule, 500, record_every=2)
    recorded = train(PROBLEM, start(depth=3), rule, 500, record_every=2, record=ALL)
    assert recorded.status == "diverged"
    assert_same(recorded, plain)
    for values in recorded.history.recorded.values():
        assert len(values) == len(plain.history)
    last = recorded.history["snapshots_W1"][-1]
    np.testing.assert_array_equal(last, recorded.network.factors[0])


def test_runs_that_end_by_themselves():
    record = ["snapshots(factors=True)"]
    for stop in ({"target": 0.5}, {"tol": 0.3}):
        settings = {"record": record, "record_every": 11, **stop}
        result = train(PROBLEM, start(), accel.GradientDescent(0.01), 5000, **settings)
        assert result.status in ("target", "converged")
        assert len(result.history["snapshots_W2"]) == len(result.history)
        last = result.history["snapshots_W2"][-1]
        np.testing.assert_array_equal(last, result.network.factors[1])


@pytest.mark.parametrize("p", [1.5, 4.0])
def test_a_rate_that_follows_the_loss(p):
    """Records of steps that were taken back are taken back, and the rate is that of the step."""
    problem = make_problem(p=p)
    settings = {"learning_rate": "auto", "record_every": 3}
    rule = accel.GradientDescent(1.0)
    plain = train(problem, start(depth=3), rule, 400, **settings)
    record = [*ALL, "step_size"]
    recorded = train(problem, start(depth=3), rule, 400, **settings, record=record)
    assert_same(recorded, plain)
    check_against_snapshots(problem, start(depth=3), recorded)
    iterate = recorded.network
    by_hand = train(problem, iterate, recorded.optimizer, 1, record="step_size")
    assert recorded.history["step_size"][-1] == pytest.approx(by_hand.history["step_size"][0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_resumed_is_as_never_interrupted(backend, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "_GROWTH", 2)
    models = mixed(PROBLEM)[:4]
    settings = {"record_every": 40, "record": ALL, "backend": backend}
    whole = sweep(PROBLEM, models, 600, **settings)
    path = tmp_path / "run.npz"
    for goal in (1, 10, 250, 10**9):
        part = sweep(
            PROBLEM, models, 600, checkpoint=path, callback=lambda step, _, goal=goal: step >= goal,
            **settings,
        )  # fmt: skip
        for result in part:
            assert {len(a) for a in result.history.recorded.values()} == {len(result.history)}
    for ours, theirs in zip(part, whole, strict=True):
        assert_same(ours, theirs)
        assert ours.history.recorded.keys() == theirs.history.recorded.keys()
        for name, values in theirs.history.recorded.items():
            np.testing.assert_array_equal(ours.history[name], values)


@pytest.mark.parametrize(
    "other", [None, ["sharpness"], ["sharpness(2)", "snapshots"], ["snapshots", "sharpness"]]
)
def test_a_checkpoint_that_recorded_something_else(other, tmp_path):
    path = tmp_path / "run.npz"
    train(PROBLEM, start(), accel.Adam(), 50, record=["sharpness", "snapshots"], checkpoint=path)
    with pytest.raises(ValueError, match="belongs to another run \\(record: "):
        train(PROBLEM, start(), accel.Adam(), 50, record=other, checkpoint=path)


def test_other_data_are_another_record(tmp_path):
    path, record = tmp_path / "run.npz", {"validation": make_problem(5)}
    train(PROBLEM, start(), accel.Adam(), 50, **record, checkpoint=path)
    train(PROBLEM, start(), accel.Adam(), 50, validation=make_problem(5), checkpoint=path)
    with pytest.raises(ValueError, match="belongs to another run \\(record: "):
        train(PROBLEM, start(), accel.Adam(), 50, validation=make_problem(6), checkpoint=path)


def test_the_best_run_of_a_search():
    search = accel.grid_search(
        PROBLEM, start(), accel.GradientDescent(1.0), 60, learning_rates=[0.003, 0.01, 0.02],
        refine=1, record=["sharpness", "singular_values"], validation=make_problem(5),
    )  # fmt: skip
    plain = accel.grid_search(
        PROBLEM, start(), accel.GradientDescent(1.0), 60, learning_rates=[0.003, 0.01, 0.02],
        refine=1,
    )  # fmt: skip
    assert search.learning_rate == plain.learning_rate
    assert_same(search.best, plain.best)
    assert list(search.best.history.recorded) == ["sharpness", "singular_values", "validation_loss"]
    assert sum(bool(result.history.recorded) for result in search.results) == 1


def test_tables_have_a_column_for_every_number():
    pytest.importorskip("pandas")
    result = train(
        make_problem(k=3), start(make_problem(k=3), 2), accel.GradientDescent(0.01), 10,
        record=["singular_values", "sharpness", "snapshots"],
    )  # fmt: skip
    table = result.to_pandas()
    assert [*table.columns[:10]] == [
        "step", "loss", "gradient_norm", "weight_norm", "seconds",
        "singular_values_1", "singular_values_2", "singular_values_3", "sharpness", "snapshots_1_1",
    ]  # fmt: skip
    assert len(table.columns) == 9 + 12
    np.testing.assert_array_equal(table["snapshots_3_4"], result.history["snapshots"][:, 2, 3])


def test_what_a_function_returns():
    seen = []

    def watch(step, network):
        seen.append(step)
        network.params[:] = 7.0  # a copy of its own: the run goes on as before
        return np.full((2, 3), step, np.int64)

    plain = train(PROBLEM, start(), accel.Adam(), 20, record_every=8)
    result = train(PROBLEM, start(), accel.Adam(), 20, record_every=8, record=watch)
    assert_same(result, plain)
    assert seen == [0, 8, 16, 20]
    assert result.history["watch"].shape == (4, 2, 3)
    assert result.history["watch"][:, 0, 0].tolist() == seen


class Largest(recording.Quantity):
    """A quantity of a user's own: the largest weight of every factor."""

    cost = "a pass over the factors"

    def outputs(self, model):
        return {self.name: recording.Output((model.network.depth,))}

    def measure(self, moment):
        return {self.name: [abs(W).max() for W in moment.factors]}


def test_a_class_of_your_own():
    result = train(PROBLEM, start(), accel.Adam(), 20, record=Largest())
    last = [abs(W).max() for W in result.network.factors]
    np.testing.assert_array_equal(result.history["largest"][-1], last)


def test_one_that_does_not_yield_what_it_announced():
    class Wrong(Largest):
        def measure(self, moment):
            return {"other": 1.0}

    with pytest.raises(TypeError, match=r"wrong, which is recorded, must yield wrong, got \{'oth"):
        train(PROBLEM, start(), accel.Adam(), 20, record=Wrong())


def test_threads_of_blas_are_as_before_however_many_runs_there_are():
    threadpoolctl = pytest.importorskip("threadpoolctl")

    def threads(*_):
        return max((pool["num_threads"] for pool in threadpoolctl.threadpool_info()), default=0)

    def run():
        record = ["singular_values", "sharpness", recording.Function(threads, "threads")]
        seen.append(train(PROBLEM, start(), accel.Adam(), 60, record_every=1, record=record))

    seen, before = [], threads()
    pair = [threading.Thread(target=run) for _ in range(2)]
    for thread in pair:
        thread.start()
    for thread in pair:
        thread.join()
    assert len(seen) == 2
    assert threads() == before


def test_held_out_loss_has_the_digits_of_a_pass():
    """X'X would leave rounding errors, of either sign, of a loss that nearly vanishes."""
    rng = np.random.default_rng(0)
    W, X = rng.standard_normal((1, 6)), rng.standard_normal((350, 6))
    problem, held_out = (accel.LpProblem(part, part @ W.T, p=2) for part in (X[:200], X[200:]))
    network = accel.LinearNetwork.for_problem(problem, 1)
    result = train(problem, network, accel.GradientDescent(0.3), 2000, validation=held_out)
    last = result.history["validation_loss"][-1]
    assert 0 <= last < 1e-27


def test_columns_whose_names_collide_are_kept():
    record = ["singular_values", recording.Function(lambda step, net: 7, "singular_values_1")]
    history = train(PROBLEM, start(), accel.Adam(), 5, record=record).history
    columns = history.columns()
    np.testing.assert_array_equal(columns["singular_values_1"], history["singular_values"][:, 0])
    assert (columns["singular_values_1_"] == 7).all()


def test_what_a_function_raises_is_passed_on():
    def fails(step, network):
        if step:
            raise RuntimeError("no more")
        return 0.0

    with pytest.raises(RuntimeError, match="no more"):
        train(PROBLEM, start(), accel.Adam(), 20, record=fails)


def test_one_that_changes_its_shape():
    with pytest.raises(ValueError, match=r"lambda, which .*: \(2,\) at step 1, \(1,\) before"):
        train(PROBLEM, start(), accel.Adam(), 20, record=lambda step, net: np.zeros(step + 1))


def test_names_that_were_not_recorded():
    result = train(PROBLEM, start(), accel.Adam(), 20, record="sharpness")
    with pytest.raises(KeyError, match=r"'sharpnes' was not recorded, only step, .*, sharpness"):
        result.history["sharpnes"]
    with pytest.raises(ValueError, match="what cannot be drawn: 'rank' was not recorded"):
        result.plot(what="rank")
    assert result.history["loss"] is result.history.loss


def test_figures():
    pytest.importorskip("matplotlib")
    from accel._reports.figures import blank_figure

    problem = make_problem(k=3)
    result = train(
        problem, start(problem), accel.GradientDescent(0.01), 50,
        record=["singular_values", "sharpness", "effective_rank", "snapshots"],
    )  # fmt: skip
    _, axes = blank_figure(3, sharey=False)
    result.plot(axes[0], what="singular_values")
    assert axes[0].get_yscale() == "log"
    labels = [line.get_label() for line in axes[0].get_lines()]
    assert labels == [f"gd, depth 2, rate 0.01, {i}" for i in (1, 2, 3)]
    result.plot(axes[0], what="singular_values", label=["a", "b", "c"])
    assert [line.get_label() for line in axes[0].get_lines()[3:]] == ["a", "b", "c"]
    result.plot(axes[1], what="sharpness")
    drawn, limit = axes[1].get_lines()
    np.testing.assert_array_equal(drawn.get_ydata(), result.history["sharpness"])
    assert limit.get_ydata()[0] == 2 / 0.01
    assert limit.get_label() == r"$2/\eta$"
    assert limit.get_color() == drawn.get_color()
    result.plot(axes[1], what="sharpness", label="again")
    _, labels = axes[1].get_legend_handles_labels()
    assert labels == ["gd, depth 2, rate 0.01", r"$2/\eta$", "again"]
    result.plot(axes[2], what="effective_rank", color="red")
    assert axes[2].get_yscale() == "linear"
    assert axes[2].get_ylabel() == "effective rank"
    axis = blank_figure(1)[1][0]
    train(PROBLEM, start(), accel.Adam(), 5, record=lambda step, net: -step).plot(
        axis, what="lambda"
    )
    assert axis.get_yscale() == "linear"
    with pytest.raises(ValueError, match="what must name numbers or vectors, snapshots are"):
        result.plot(axes[2], what="snapshots")


@pytest.mark.parametrize(
    ("rule", "limit"),
    [
        (accel.Momentum(0.1, 0.5), 30.0),
        (accel.Nesterov(0.1, 0.5), 15.0),
        (accel.Adam(0.1), None),
        (accel.GradientDescent(0.0), None),
    ],
)
def test_limits_of_stability(rule, limit):
    pytest.importorskip("matplotlib")
    from accel._reports.figures import blank_figure

    result = train(PROBLEM, start(), rule, 5, record="sharpness")
    _, (ax,) = blank_figure(1)
    lines = result.plot(ax, what="sharpness").get_lines()
    assert [line.get_ydata()[0] for line in lines[1:]] == ([] if limit is None else [limit])


@pytest.mark.parametrize(
    ("record", "error", "message"),
    [
        (["sharp"], ValueError, "record must be one of singular_values, .*; did you mean"),
        ("schatten", TypeError, "schatten takes q, got 'schatten'"),
        ("schatten(0)", ValueError, "q must be .*0, got 0"),
        ("schatten(x)", ValueError, "names with numbers in parentheses, .*got 'schatten"),
        ("schatten(0.5", ValueError, "record must hold names"),
        ("sharpness(1)(2)", ValueError, "names with numbers in parentheses"),
        ("sharpness(rank=2)", TypeError, "sharpness takes top, passes, got"),
        ("sharpness(0)", ValueError, "top must be"),
        ("singular_values(factors=1)", TypeError, "factors must be True or False"),
        ([1.0], TypeError, r"record must hold names, quantities or functions .*got 1\.0"),
        (3, TypeError, "record must be a sequence of names, quantities or functions, got 3"),
        ([recording.Sharpness], TypeError, "record must hold names, quantities or functions"),
        (["sharpness", "sharpness(2)"], ValueError, "record must name everything once, got 'sharp"),
        ([recording.Function(print, "loss")], ValueError, "record must not name loss, which every"),
        (
            [recording.Function(print, "batch_loss")],
            ValueError,
            "record must not name batch_loss, which the history of every run with batches",
        ),
        ("distance", ValueError, r"hold accel.recording.DistanceTo\(W\), since distance needs"),
        ("sharpness(1, 'a')", TypeError, "passes must be an integer, got 'a'"),
        ("sharpness(1, 1)", ValueError, "passes must be >= 2, got 1"),
        (
            lambda step, net: [[1], [2, 3]],
            TypeError,
            "lambda, which is recorded, must return a num",
        ),
        (lambda step, net: [], TypeError, r"lambda, which .* must return a number or.*got \[\]"),
        ([lambda step, net: 0, lambda step, net: 1], ValueError, "twice: accel.recording.Function"),
        (
            ["singular_values(factors=True)", recording.Function(print, "singular_values_W1")],
            ValueError,
            "name everything once, got 'singular_values_W1' twice",
        ),
        (lambda step, net: "text", TypeError, "lambda, which is recorded, must return a number or"),
        (recording.DistanceTo(np.ones(3)), ValueError, r"W of DistanceTo must have shape \(1, 4\)"),
        (recording.RecoveryError(np.ones(3)), ValueError, r"W of RecoveryError must have shape"),
        ("recovery_error", ValueError, r"hold accel.recording.RecoveryError\(W\), since recovery"),
    ],
)
def test_bad_records(record, error, message):
    with pytest.raises(error, match=message):
        train(PROBLEM, start(), accel.GradientDescent(0.1), 5, record=record)


def test_other_bad_calls():
    with pytest.raises(ValueError, match="'step_size' needs a rule that follows the gradient, got"):
        sweep(PROBLEM, [(start(), accel.Adam())], 5, record="step_size")
    with pytest.raises(ValueError, match="validation must have d = 4 features and k = 1 outputs"):
        train(PROBLEM, start(), accel.Adam(), 5, validation=make_problem(d=5))
    with pytest.raises(TypeError, match="validation must be of type Problem, got 5"):
        train(PROBLEM, start(), accel.Adam(), 5, validation=5)
    with pytest.raises(ValueError, match=r"W.* nan"):
        recording.DistanceTo([np.nan])
    with pytest.raises(ValueError, match="W of RecoveryError must not be 0"):
        recording.RecoveryError(np.zeros(4))
    with pytest.raises(TypeError, match="label must be a text"):
        recording.LossOn(PROBLEM, 3)
    with pytest.raises(TypeError, match="function must be callable"):
        recording.Function(3)


def test_memory_is_asked_for():
    problem = make_problem(d=1000, k=1000)
    network = accel.LinearNetwork((1000, 1, 1000))
    with pytest.raises(MemoryError, match="for what is recorded"):
        train(problem, network, accel.Adam(), 10**6, record_every=1, record="snapshots")


@pytest.mark.parametrize("kind", ["factors", "vectors"])
def test_a_step_size_that_overflows_is_recorded_as_such(kind):
    """Such iterates are of a stretch that a rate that follows the loss takes back."""
    problem = make_problem(p=2)
    if kind == "factors":
        network = accel.LinearNetwork.for_problem(problem, depth=3, width=3)
    else:
        network = accel.DiagonalNetwork.for_problem(problem, 3, "hadamard")
    far = network.with_params(np.full_like(network.params, 1e80))
    kernels = resolve("reference")
    moment = recording.Moment(
        0, far, far.params, accel.GradientDescent(0.1), Oracle(problem, kernels), kernels
    )
    with np.errstate(all="ignore"):
        assert recording.StepSize().measure(moment) == {"step_size": np.inf}
