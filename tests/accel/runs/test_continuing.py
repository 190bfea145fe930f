"""``start=``: a run that goes on from a result, or a sweep, is one run, bit for bit."""

import copy
import pickle

import numpy as np
import pytest

import accel
from accel import DiagonalNetwork, LinearNetwork, Result, sweep, train
from accel._runs import ends
from accel._runs import run as chunks
from accel.schedules import CosineDecay, ExponentialDecay

from ..problems import PROBLEM, make_problem, start

QUADRATIC = make_problem(p=2)
WIDE = make_problem(n=6, d=14)
RULES = {
    "gd": accel.GradientDescent(0.02, weight_decay=0.1),
    "momentum": accel.Momentum(0.002),
    "nesterov": accel.Nesterov(0.01),
    "adagrad": accel.AdaGrad(0.1),
    "adadelta": accel.AdaDelta(),
    "rmsprop": accel.RMSProp(0.01),
    "adam": accel.Adam(0.01),
    "end-to-end": accel.EndToEnd(0.01, 3),
    "group-rmsprop": accel.GroupRMSProp(0.01, scale="factor"),
    "langevin": accel.Langevin(0.01, 0.1, seed=3),
    "scheduled": accel.Momentum(CosineDecay(0.01, 70), ExponentialDecay(0.9, 50, 0.5)),
}


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    """Have chunks end at other steps than those at which a run is left and goes on."""
    monkeypatch.setattr(chunks, "_GROWTH", 3)


def assert_one_run(ours, theirs):
    """Hold two results to be those of the same run, but for the seconds."""
    for name in ("status", "steps", "diverged_at", "optimizer", "method", "backend"):
        assert getattr(ours, name) == getattr(theirs, name)
    np.testing.assert_array_equal(ours.network.params, theirs.network.params)
    assert ours.network.dtype == theirs.network.dtype
    assert list(ours.history.recorded) == list(theirs.history.recorded)
    for name in ("step", "loss", "gradient_norm", "weight_norm", *ours.history.recorded):
        np.testing.assert_array_equal(ours.history[name], theirs.history[name])
    assert (np.diff(ours.history.seconds) >= 0).all()
    assert ours.seconds >= ours.history.seconds[-1]


def in_parts(parts, problem, network, optimizer, *, file=None, **arguments):
    """The result of so many calls of ``train``, by way of a file if there is one."""
    result = train(problem, network, optimizer, parts[0], **arguments)
    for steps in parts[1:]:
        if file is not None:
            result = Result.load(result.save(file))
        result = train(problem, steps=steps, start=result)
    return result


def check(problem, network, optimizer, parts=(13, 50, 37), *, file=None, **arguments):
    arguments = {"backend": "reference", "record_every": 5, **arguments}
    whole = train(problem, network, optimizer, sum(parts), **arguments)
    assert_one_run(in_parts(parts, problem, network, optimizer, file=file, **arguments), whole)
    return whole


@pytest.mark.parametrize("name", RULES)
def test_every_rule_goes_on_with_its_state(name, tmp_path):
    network = start(depth=1 if name == "end-to-end" else 2)
    check(PROBLEM, network, RULES[name])
    check(PROBLEM, network, RULES[name], file=tmp_path / "run.npz")


@pytest.mark.parametrize("name", ["momentum", "adam", "langevin", "scheduled"])
def test_compiled(name, tmp_path):
    check(PROBLEM, start(), RULES[name], backend="cpu", file=tmp_path / "run.npz")


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize(
    ("method", "problem"),
    [
        ("direct", QUADRATIC),
        ("gram", QUADRATIC),
        ("spectral", QUADRATIC),
        ("rowspace", WIDE),
        ("spectral", make_problem(n=6, d=14, p=2)),
    ],
)
def test_every_method(method, problem, dtype, tmp_path):
    if (method, dtype) == ("gram", "f4"):
        pytest.skip("the Gram method is for float64")
    problem = accel.LpProblem(problem.X, problem.Y, problem.p, method=method, dtype=dtype)
    whole = check(problem, start(problem), RULES["momentum"], file=tmp_path / "run.npz")
    assert whole.method == method


@pytest.mark.usefixtures("_always_worth_it")
def test_the_method_that_was_chosen_stays(monkeypatch):
    first = train(QUADRATIC, start(QUADRATIC), RULES["momentum"], 20, backend="reference")
    assert first.method == "spectral"
    monkeypatch.undo()
    assert train(QUADRATIC, steps=5, start=first).method == "spectral"


@pytest.mark.parametrize(
    "arguments",
    [
        {"batch_size": 16},
        {"batch_size": 7, "shuffle": "replacement", "seed": 4, "label_noise": 0.1},
        {"label_noise": accel.LabelNoise(0.2, "sign"), "seed": 2},
    ],
)
@pytest.mark.parametrize("rate", [None, "auto"])
def test_batches_and_noise_go_on_by_step(arguments, rate, tmp_path):
    arguments |= {"learning_rate": rate}
    check(PROBLEM, start(), RULES["momentum"], file=tmp_path / "run.npz", **arguments)


def by_size(step, network):
    return [step, float(np.abs(network.params).max())]


@pytest.mark.parametrize("rate", [None, "auto"])
def test_records_go_on(rate):
    check(
        PROBLEM, start(), RULES["adam"], record=["singular_values", "sharpness", by_size],
        validation=make_problem(n=9), learning_rate=rate,
    )  # fmt: skip


def test_records_of_a_file_go_on_by_name(tmp_path):
    path, rule = tmp_path / "run.npz", RULES["adam"]
    check(PROBLEM, start(), rule, file=path, record=["schatten(0.5)", "sharpness"])
    held_out = {"record": by_size, "validation": make_problem(n=9)}
    arguments = {"backend": "reference", "record_every": 5, **held_out}
    first = Result.load(train(PROBLEM, start(), rule, 30, **arguments).save(path))
    with pytest.raises(ValueError, match=r"record, and validation, must be .*by_size, valid"):
        train(PROBLEM, steps=20, start=first)
    last = train(PROBLEM, steps=20, start=first, **held_out)
    assert_one_run(last, train(PROBLEM, start(), rule, 50, **arguments))


@pytest.mark.parametrize(
    ("problem", "network"),
    [
        (make_problem(p=3, k=2), None),
        (PROBLEM, DiagonalNetwork(4, 2, seed=1)),
        (accel.MatrixFactorization(np.arange(12.0).reshape(3, 4) / 9), None),
        (accel.Problem(PROBLEM.X, np.sign(PROBLEM.Y), accel.losses.Logistic()), None),
    ],
)
def test_other_problems_and_networks(problem, network, tmp_path):
    network = LinearNetwork.for_problem(problem, 2) if network is None else network
    check(problem, network, RULES["adam"], file=tmp_path / "run.npz")


AUTO = {"learning_rate": "auto", "record_every": 1}
# The last stretch of a part is judged early, sometimes taken back; the whole run judges it later.
PARTS = [(1, 2, 3, 400), (37, 41, 43, 47, 53, 59), (9, 1, 1, 1, 1, 1, 150)]


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("name", ["gd", "momentum", "rmsprop"])
def test_a_rate_that_follows_the_loss(parts, name, tmp_path):
    rule = RULES[name]
    check(PROBLEM, start(), rule, parts, **AUTO)
    check(PROBLEM, start(), rule, parts[:3], file=tmp_path / "run.npz", **AUTO)
    if name == "gd":
        check(make_problem(p=1.5), start(), rule, parts, **AUTO)


def test_an_early_judgement_is_of_the_shorter_run_only():
    """Else the test above would show nothing: some part ends at another rate than the whole had."""
    rates = {}
    for steps in range(100, 160, 6):
        result = train(PROBLEM, start(), RULES["gd"], steps, backend="reference", **AUTO)
        rates[steps] = result.optimizer.learning_rate
        longer = train(PROBLEM, steps=160 - steps, start=result)
        rates[160] = rates.get(160, longer.optimizer.learning_rate)
        assert longer.optimizer.learning_rate == rates[160]
    assert len(set(rates.values())) > 2


@pytest.mark.usefixtures("_always_worth_it")
def test_a_rate_that_follows_the_loss_in_other_coordinates(tmp_path):
    for problem in (QUADRATIC, WIDE):
        network, path = start(problem), tmp_path / "run.npz"
        check(problem, network, RULES["gd"], (3, 2, 60), file=path, **AUTO)


def interrupted(problem, rule, at, steps=200, **arguments):
    return train(
        problem, start(), rule, steps, backend="reference",
        callback=lambda step, loss: step >= at, **arguments,
    )  # fmt: skip


@pytest.mark.parametrize("rate", [None, "auto"])
@pytest.mark.parametrize("name", ["gd", "momentum"])
def test_after_an_interruption(rate, name):
    arguments = {"learning_rate": rate, "record_every": 3}
    whole = train(PROBLEM, start(), RULES[name], 200, backend="reference", **arguments)
    for at in (1, 30, 61):
        first = interrupted(PROBLEM, RULES[name], at, **arguments)
        assert first.status == "interrupted"
        assert_one_run(train(PROBLEM, steps=200 - first.steps, start=first), whole)


@pytest.mark.parametrize(
    ("backend", "batch_size"), [("reference", None), ("reference", 8), ("cpu", None)]
)
@pytest.mark.parametrize("rate", [None, "auto"])
def test_beyond_a_target_or_a_tolerance(backend, rate, batch_size):
    rule = accel.Momentum(0.002)
    arguments = {
        "backend": backend, "record_every": 2, "learning_rate": rate, "batch_size": batch_size,
    }  # fmt: skip
    whole = train(PROBLEM, start(), rule, 120, **arguments)
    goal = float(whole.history.loss[20])
    first = train(PROBLEM, start(), rule, 120, target=goal, **arguments)
    assert first.status == "target"
    again = train(PROBLEM, steps=50, start=first, target=goal)
    assert (again.status, again.steps) == ("target", first.steps)
    assert_one_run(again, first)
    assert_one_run(train(PROBLEM, steps=120 - first.steps, start=again), whole)
    norm = float(whole.history.gradient_norm[:30].min())
    first = train(PROBLEM, start(), rule, 120, tol=norm, **arguments)
    assert first.status == "converged"
    assert_one_run(train(PROBLEM, steps=120 - first.steps, start=first), whole)


def test_it_diverges_where_the_one_run_does():
    rule = accel.GradientDescent(ExponentialDecay(0.001, 10, 2.0))
    whole = train(PROBLEM, start(), rule, 500, backend="reference", record_every=4)
    assert whole.status == "diverged"
    first = train(PROBLEM, start(), rule, 30, backend="reference", record_every=4)
    assert_one_run(train(PROBLEM, steps=470, start=first), whole)
    at = whole.diverged_at
    last = train(PROBLEM, start(), rule, at - 1, backend="reference", record_every=4)
    assert last.status == "completed"
    assert_one_run(train(PROBLEM, steps=501 - at, start=last), whole)
    with pytest.raises(ValueError, match=rf"start has diverged, at step {at},.*start\.network as"):
        train(PROBLEM, steps=5, start=whole)


def test_a_start_stays_as_it_is(tmp_path):
    """It can be gone on from more than once, with other limits and other records."""
    for arguments in ({}, {"learning_rate": "auto"}, {"batch_size": 9, "record": "sharpness"}):
        first = train(PROBLEM, start(), RULES["momentum"], 60, backend="reference", **arguments)
        before = copy.deepcopy(first)
        last = train(PROBLEM, steps=70, start=first)
        sparse = train(PROBLEM, steps=70, start=first, record_every=30)
        np.testing.assert_array_equal(sparse.network.params, last.network.params)
        assert [*sparse.history.step[-4:]] == [60, 90, 120, 130]
        assert_one_run(train(PROBLEM, steps=70, start=first), last)
        assert_one_run(first, before)
        for copied in (before, pickle.loads(pickle.dumps(first))):
            assert_one_run(train(PROBLEM, steps=70, start=copied), last)


def test_what_is_given_once_more_must_be_the_same():
    first = train(PROBLEM, start(), RULES["adam"], 40, backend="reference", batch_size=8, seed=3)
    last = train(PROBLEM, steps=5, start=first)
    for network in (start(), first.network, None):
        for rule, rate in ((RULES["adam"], None), ("adam", None), ("adam", 0.01), (None, 0.01)):
            again = train(
                make_problem(), network, rule, 5, start=first, learning_rate=rate, batch_size=8,
                seed=3, backend="reference",
            )  # fmt: skip
            assert_one_run(again, last)
    first = train(PROBLEM, start(), RULES["gd"], 40, backend="reference", learning_rate="auto")
    last = train(PROBLEM, steps=5, start=first)
    for rule, rate in (
        (None, None), (None, "auto"), (RULES["gd"], None), (RULES["gd"], "auto"), ("gd", None),
        (first.optimizer, None), (first.optimizer, "auto"),
    ):  # fmt: skip
        again = train(PROBLEM, None, rule, 5, start=first, learning_rate=rate)
        assert_one_run(again, last)


MODELS = [
    (start(), accel.GradientDescent(0.02)),
    (start(depth=3, seed=2), accel.Adam(0.01)),
    (start(depth=1), accel.EndToEnd(0.01, 3)),
    (start(), accel.GradientDescent(5.0)),
    (start(seed=3), accel.Momentum(0.002)),
    (DiagonalNetwork(4, 2, seed=1), accel.RMSProp(0.01)),
]


@pytest.mark.parametrize(
    ("backend", "arguments"),
    [
        ("reference", {}),
        ("reference", {"batch_size": 11}),
        ("reference", {"record": "stable_rank"}),
        ("cpu", {}),
    ],
)
def test_a_sweep_goes_on(backend, arguments):
    arguments = {"backend": backend, "record_every": 5, "target": 1.0, **arguments}
    whole = sweep(PROBLEM, MODELS, 120, **arguments)
    part = sweep(PROBLEM, MODELS, 33, **arguments)
    for steps, models in ((40, None), (47, MODELS)):
        part = sweep(PROBLEM, models, steps, start=part, target=1.0)
    for ours, theirs in zip(part, whole, strict=True):
        assert_one_run(ours, theirs)
    assert {"diverged", "target"} <= {result.status for result in whole}


@pytest.mark.parametrize("problem", [QUADRATIC, WIDE])
@pytest.mark.parametrize(
    ("backend", "arguments"),
    [("reference", {}), ("reference", {"batch_size": 5, "record": "stable_rank"}), ("cpu", {})],
)
@pytest.mark.usefixtures("_always_worth_it")
def test_one_result_of_a_sweep_goes_on_alone(backend, problem, arguments, tmp_path):
    models = [
        (start(problem), accel.Momentum(0.002)),
        (start(problem, depth=3, seed=2), accel.Adam(0.01)),
        (start(problem, depth=1), accel.EndToEnd(0.001, 3)),
        (start(problem, width=2, seed=3), accel.GradientDescent(0.002)),
        (start(problem, depth=3, seed=2), accel.GradientDescent(0.002)),
    ]
    arguments = {"backend": backend, "record_every": 5, **arguments}
    part = sweep(problem, models, 33, **arguments)
    for (network, rule), first in zip(models, part, strict=True):
        whole = train(problem, network, rule, 80, **arguments)
        loaded = Result.load(first.save(tmp_path / "run.npz"))
        last = train(problem, steps=47, start=first)
        assert_one_run(train(problem, steps=47, start=loaded), last)
        assert (last.steps, last.method) == (80, whole.method)
        np.testing.assert_allclose(last.network.params, whole.network.params, rtol=1e-9, atol=1e-12)
        for name in ("step", "loss", *whole.history.recorded):
            np.testing.assert_allclose(last.history[name], whole.history[name], rtol=1e-8)


def test_the_best_of_a_search_goes_on():
    search = accel.grid_search(PROBLEM, start(), "momentum", 60, backend="reference", halving=3)
    last = train(PROBLEM, steps=40, start=search.best)
    assert (last.steps, last.optimizer) == (100, search.best.optimizer)
    dropped = next(result for result in search.results if result.status == "dropped")
    assert train(PROBLEM, steps=40, start=dropped).steps == dropped.steps + 40


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("rate", [None, "auto"])
def test_a_checkpoint_goes_on_to_more_steps(backend, rate, tmp_path):
    path, rule = tmp_path / "run.npz", RULES["momentum"]
    arguments = {"backend": backend, "learning_rate": rate}
    whole = train(PROBLEM, start(), rule, 1234, record_every=1, **arguments)
    for steps in (1, 100, 777, 777, 1234):  # the first has one record a step
        part = train(PROBLEM, start(), rule, steps, checkpoint=path, **arguments)
        assert (part.status, part.steps, len(part.history)) == ("completed", steps, steps + 1)
    assert_one_run(part, whole)
    same = train(PROBLEM, start(), rule, 1234, checkpoint=path, **arguments)
    assert_one_run(same, whole)
    assert same.seconds == part.seconds
    for steps in (1, 1233):
        with pytest.raises(
            ValueError, match=rf"steps must be at least 1234, .*npz made, got {steps}"
        ):
            train(PROBLEM, start(), rule, steps, checkpoint=path, **arguments)


def test_the_checkpoint_of_a_sweep_goes_on_to_more_steps(tmp_path):
    arguments = {"backend": "reference", "record_every": 7, "target": 1.0}
    whole = sweep(PROBLEM, MODELS, 300, **arguments)
    for steps in (20, 90, 300):
        part = sweep(PROBLEM, MODELS, steps, checkpoint=tmp_path / "run.npz", **arguments)
    for ours, theirs in zip(part, whole, strict=True):
        assert_one_run(ours, theirs)


def test_fewer_steps_than_an_unfinished_checkpoint_was_to_have(tmp_path):
    path, rule = tmp_path / "run.npz", RULES["gd"]
    arguments = {"backend": "reference", "record_every": 10}
    train(PROBLEM, start(), rule, 10**6, checkpoint=path, callback=lambda *_: True, **arguments)
    part = train(PROBLEM, start(), rule, 300, checkpoint=path, **arguments)
    assert_one_run(part, train(PROBLEM, start(), rule, 300, **arguments))


def test_a_start_and_a_checkpoint(tmp_path):
    """Whichever has more steps counts, so that the same call goes on where it was killed."""
    path, rule = tmp_path / "run.npz", RULES["adam"]
    arguments = {"backend": "reference", "record_every": 5}
    whole = train(PROBLEM, start(), rule, 440, **arguments)
    first = train(PROBLEM, start(), rule, 40, **arguments)
    stopped = train(PROBLEM, steps=400, start=first, checkpoint=path, callback=lambda *_: True)
    assert stopped.status == "interrupted"
    steps = []

    def look(step, loss):
        steps.append(step)

    last = train(PROBLEM, steps=400, start=first, checkpoint=path, callback=look)
    assert_one_run(last, whole)
    assert steps[0] > stopped.steps
    assert_one_run(train(PROBLEM, steps=400, start=first, checkpoint=path), whole)
    longer = train(PROBLEM, steps=20, start=last, checkpoint=path)
    assert_one_run(longer, train(PROBLEM, start(), rule, 460, **arguments))
    assert_one_run(train(PROBLEM, start(), rule, 460, checkpoint=path), longer)
    with pytest.raises(ValueError, match="belongs to another run"):
        train(PROBLEM, start(seed=1), rule, 460, checkpoint=path)


def test_data_that_have_gone(tmp_path, monkeypatch, caplog):
    """A result whose data were on workers can still be saved, and says that it cannot go on."""
    monkeypatch.setattr(ends, "_SMALL", 0)  # as if the data were larger, or elsewhere

    def gone(problem):
        raise RuntimeError("the workers have gone")

    first = train(make_problem(), start(), "adam", 5, backend="reference")
    with monkeypatch.context() as patch:
        patch.setattr(ends, "digest_of", gone)
        assert train(PROBLEM, steps=5, start=train(PROBLEM, start(), "adam", 5)).steps == 10
        loaded = Result.load(first.save(tmp_path / "run.npz"))
    assert caplog.messages == [
        "no run can go on from this copy of its result: the workers have gone"
    ]
    np.testing.assert_array_equal(loaded.network.params, first.network.params)
    with pytest.raises(ValueError, match="start has no state of its optimiser"):
        train(PROBLEM, steps=5, start=loaded)
    assert_one_run(
        train(PROBLEM, steps=5, start=Result.load(first.save(tmp_path / "run.npz"))),
        train(PROBLEM, steps=5, start=first),
    )
