"""The linear version of figure 5 right: its data, its search, its report and its files."""

import csv
import json
import math
import sys
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")
pytest.importorskip("matplotlib")

from typer.testing import CliRunner

import accel
from accel.cli import app
from accel.experiments import digits, digits_runs, reproduce
from accel.experiments.digits_runs import GRID, MODELS, Digits
from accel.experiments.time_left import TimeLeft
from accel.tuning.models import Model

DIVISOR, STEPS = 400, 21


def few_digits():
    """Forty points of three features, whose digit the largest of them says most of the time."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-0.5, 0.5, (40, 3))
    y = np.where(rng.random(40) < 0.2, rng.integers(3, size=40), X.argmax(1))
    return Digits(X, y, "digits", "made up")


@pytest.fixture(autouse=True)
def less(monkeypatch):
    """Two seeds of few digits, trained by the reference, for which nothing is compiled."""
    monkeypatch.setattr(digits_runs, "load", few_digits)
    monkeypatch.setattr(digits_runs, "SEEDS", 2)


def run(out, divisor=DIVISOR, progress=lambda *told: None):
    return digits.run(
        out, divisor=divisor, seed=3, time_left=TimeLeft(progress), state=out / "state", threads=1,
        backend="reference",
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder and the report."""
    out = tmp_path_factory.mktemp("digits")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digits_runs, "load", few_digits)
        patch.setattr(digits_runs, "SEEDS", 2)
        return out, run(out)


def line_of(report, optimizer, depth):
    (line,) = [
        line for line in report["lines"] if (line["optimizer"], line["depth"]) == (optimizer, depth)
    ]
    return line


def problem():
    data = few_digits()
    return accel.Problem(data.X, data.y, accel.losses.CrossEntropy(10))


@pytest.mark.parametrize(
    ("model", "network"),
    [
        (Model("momentum", 2), {"depth": 2, "init": "balanced", "scale": 0.01}),
        (Model("end-to-end", 3), {"depth": 1}),
    ],
    ids=str,
)
def test_a_line_is_what_runs_of_one_s_own_give(made, model, network):
    """Those of the second seed: its start, and its batches."""
    line = line_of(made[1], model.optimizer, model.depth)
    if model.optimizer == "end-to-end":
        deep = accel.LinearNetwork.for_problem(
            problem(), model.depth, init="balanced", scale=0.01, seed=4
        )
        network = network | {"init": [deep.end_to_end()]}
    else:
        network = network | {"seed": 4}
    start = accel.LinearNetwork.for_problem(problem(), **network)
    result = accel.train(
        problem(), start, model.at(line["learning_rate"]), STEPS, batch_size=40, seed=4,
        record_every=1, backend="reference",
    )  # fmt: skip
    least = accel.optimum(problem()).loss
    assert line["steps"] == STEPS
    ours = result.history.loss[-2:].mean() - least
    assert line["of_seeds"][1] == pytest.approx(ours, rel=1e-9)
    assert line["ours"] == pytest.approx(np.mean(line["of_seeds"]))


def test_the_best_rate_is_the_best_of_those_tried(made):
    """But for the rule, which has that of its net."""
    for line in made[1]["lines"]:
        ends = {trial["rate"]: trial["distance"] for trial in line["trials"]}
        survived = {rate: value for rate, value in ends.items() if value is not None}
        assert line["of_seeds"][0] == ends[line["learning_rate"]]
        net = line_of(made[1], "gd", line["depth"])
        other = f"rule of depth {line['depth']} does not descend at {net['learning_rate']:.3g}, "
        if line["optimizer"] != "end-to-end" or any(other in note for note in made[1]["notes"]):
            assert line["of_seeds"][0] == min(survived.values())
        else:
            assert line["learning_rate"] == net["learning_rate"]
        assert line["at_edge_of_grid"] == (line["learning_rate"] in (min(ends), max(ends)))


def test_steps_to_where_depth_1_ends(made):
    out, report = made
    for optimizer, deeper in (("gd", "gd"), ("gd", "end-to-end"), ("momentum", "momentum")):
        goal = line_of(report, optimizer, 1)["ours"]
        for depth in (2, 3):
            with (out / "curves" / f"digits-{deeper}-depth{depth}.csv").open() as stream:
                rows = list(csv.DictReader(stream))
            mean = [(float(row["distance_0"]) + float(row["distance_1"])) / 2 for row in rows]
            first = [int(row["step"]) for row, value in zip(rows, mean, strict=True)
                     if value <= goal]  # fmt: skip
            assert line_of(report, deeper, depth)["depth_1_reached_at"] == (
                first[0] if first else None
            )


def test_how_near_the_rule_is_to_the_net(made):
    """Near at small rates, and what is said is the largest difference on the way."""
    notes = [note for note in made[1]["notes"] if note.startswith("At one and the same rate")]
    assert len(notes) == 2
    for depth, note in zip((2, 3), notes, strict=True):
        told = dict(item.split(": ") for item in note.split("survived: ")[1][:-1].split("; "))
        rate = GRID.rate(-6)
        assert float(told[f"{rate:.3g}"].strip("%")) < 1
        nets = accel.LinearNetwork.for_problem(
            problem(), depth, init="balanced", scale=0.01, seed=3
        )
        flat = accel.LinearNetwork.for_problem(problem(), 1, init=[nets.end_to_end()])
        for point in (-6, 0):
            rate = GRID.rate(point)
            models = [(nets, accel.GradientDescent(rate)), (flat, accel.EndToEnd(rate, depth))]
            swept = accel.sweep(
                problem(), models, STEPS, batch_size=40, seed=3, record_every=1, backend="reference"
            )
            a, b = (result.history.loss for result in swept)
            assert told[f"{rate:.3g}"] == f"{np.abs(b / a - 1).max():.2%}"


def test_a_rule_far_from_its_net_is_said_to_be_apart(monkeypatch):
    near = {-6: 0.0071, 0: 1.0, 1: 4.9947}
    monkeypatch.setattr(digits, "_deviation", lambda deep, rule: near)
    curves = {Model(name, 2): None for name in ("gd", "end-to-end")}
    note = digits._rule_note(curves, 2)
    assert note.endswith("survived: 0.0316: 0.71%; 1: 100.00%; 1.78: apart.")
    assert "depth 2 (apart: not within 100 %), for" in note
    del near[1]
    assert "apart" not in digits._rule_note(curves, 2)


def _diverged(result):
    return replace(result, status="diverged")


def _ascended(result):
    return replace(result, history=replace(result.history, loss=result.history.loss + 9))


@pytest.mark.parametrize("spoilt", [_diverged, _ascended])
def test_the_rule_goes_at_the_rate_of_its_net_if_it_descends(tmp_path, monkeypatch, spoilt):
    """Here the rule's own search never comes to the rate of the net."""
    net, rule = Model("gd", 2), Model("end-to-end", 2)
    monkeypatch.setattr(digits_runs, "MODELS", (net, rule))
    monkeypatch.setattr(
        digits_runs, "first_points", lambda model: [-6, -2] if model == net else [-12, -10]
    )
    monkeypatch.setattr(digits_runs, "next_points", lambda ends: [])
    lost = []

    def made(folder):
        runner = digits_runs.DigitsRunner(
            few_digits(), STEPS, 3, tmp_path / folder, TimeLeft(lambda *told: None), 1, "reference"
        )
        return dict(runner.tuned())

    found = made("descends")
    assert found[net].point in (-6, -2)
    assert found[rule].point == found[net].point
    assert sorted(found[rule].search) == [-12, -10, found[net].point]
    rates = {result.optimizer.learning_rate for result in found[rule].results}
    assert rates == {GRID.rate(found[net].point)}

    others = digits_runs.DigitsRunner._of_other_seeds

    def of_other_seeds(runner, model, point):
        results = others(runner, model, point)
        if model == rule and not lost:
            lost.append(point)
            return [spoilt(result) for result in results]
        return results

    monkeypatch.setattr(digits_runs.DigitsRunner, "_of_other_seeds", of_other_seeds)
    found = made("does not")
    assert lost == [found[net].point]
    assert found[rule].point in (-12, -10)
    curves = found | {Model("gd", 3): found[net], Model("end-to-end", 3): found[net]}
    (note,) = digits._other_rate_notes(curves)
    own = GRID.rate(found[rule].point)
    assert f"depth 2 does not descend at {GRID.rate(found[net].point):.3g}, " in note
    assert f"it has {own:.3g}, the best of its own search" in note


def test_the_files(made):
    out, report = made
    assert {path.name for path in out.glob("figure*")} == {
        "figure5r-linear.png", "figure5r-linear.svg"
    }  # fmt: skip
    assert len(list((out / "curves").iterdir())) == len(MODELS) == len(report["lines"])
    assert "made up" in report["notes"][0]
    assert json.dumps(report, allow_nan=False)


def test_the_search_goes_beyond_an_edge_and_then_beside_the_best():
    """On a parabola with its minimum at 7, and one that falls for ever."""
    for curve, best, most in ((lambda i: (i - 7) ** 2, 7, 9), (lambda i: -i, 12, 12)):
        points, known = digits_runs.first_points(Model("gd", 1)), {}
        while points:
            assert not known.keys() & set(points)
            known |= {point: curve(point) for point in points}
            points = digits_runs.next_points(known)
        assert min(known, key=known.get) == best
        assert max(known) <= most + 1
    assert digits_runs.next_points({-2: 1.0, 0: math.inf}) == [-6, -4]


def test_rates_that_other_seeds_do_not_survive_are_passed_over(tmp_path, monkeypatch):
    """Here the best for the first seed is said to diverge from the others."""
    others, asked = digits_runs.DigitsRunner._of_other_seeds, []

    def of_other_seeds(runner, model, point):
        asked.append(point)
        results = others(runner, model, point)
        return [replace(r, status="diverged") for r in results] if len(asked) == 1 else results

    monkeypatch.setattr(digits_runs, "MODELS", MODELS[:1])
    monkeypatch.setattr(digits_runs.DigitsRunner, "_of_other_seeds", of_other_seeds)
    runner = digits_runs.DigitsRunner(
        few_digits(), STEPS, 3, tmp_path, TimeLeft(lambda *told: None), 1, "reference"
    )
    ((_, best),) = runner.tuned()
    ranked = sorted(best.search, key=lambda point: digits_runs.end(best.search[point]))
    assert asked == ranked[:2]
    assert best.point == ranked[1]
    assert {result.status for result in best.results} == {"completed"}


def test_an_interrupted_run_goes_on_and_ends_as_if_nothing_had_been(tmp_path, made, monkeypatch):
    sweep, calls = digits_runs.sweep, []

    def interrupted(*arguments, **keywords):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(sweep(*arguments, **keywords))
        return calls[-1]

    monkeypatch.setattr(digits_runs, "sweep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    monkeypatch.setattr(digits_runs, "sweep", sweep)
    assert run(tmp_path) | {"seconds": 0} == made[1] | {"seconds": 0}


def test_by_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduce, "QUICK", 2000)  # four steps
    options = ["--figures", digits.KEY, "--quick", "--backend", "reference", "--threads", "1"]
    ended = CliRunner().invoke(
        app.app, ["reproduce", *options, "--data", "no-such-file.npz", "--out", str(tmp_path)]
    )
    assert ended.exit_code == 0, ended.output
    (figure,) = json.loads((tmp_path / "report.json").read_text())["figures"]
    assert figure["key"] == "5r-linear"
    assert "end-to-end rule, depth 3" in ended.stdout
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 1
    assert "At one and the same rate" in page
    # The data are these, and nothing is published.
    assert "The data: digits (40 x 3)." in page
    assert "with seed 0" in page
    for word in ("no-such-file", "Stars", "What the paper claims", "published</th>", "ratio",
                 "width None", "after the last one", "claims", "models</th>"):  # fmt: skip
        assert word not in page
    assert page.count("<th>line</th><th>ours</th><th>learning rate</th>") == 1
    assert "published" not in ended.stdout
    assert "ratio" not in ended.stdout


def test_a_gap_where_there_are_no_digits(tmp_path, monkeypatch):
    def fail():
        raise ImportError("no digits")

    monkeypatch.setattr(digits_runs, "load", fail)
    report = run(tmp_path)
    assert (report["skipped"], report["lines"]) == ("no digits", [])


class TestLoad:
    """What the autouse fixture has a stand-in for."""

    @pytest.fixture(autouse=True)
    def itself(self, monkeypatch, less):
        monkeypatch.undo()
        monkeypatch.delenv("ACCEL_MNIST", raising=False)
        self.patch = monkeypatch

    def test_digits(self):
        pytest.importorskip("sklearn")
        X, y, source, note = digits_runs.load()
        assert (X.shape, y.shape, source) == ((1792, 16), (1792,), "digits")
        assert (X.min(), X.max()) == (-0.5, 0.5)
        assert y[:10].tolist() == list(range(10))
        assert "scikit-learn" in note
        # The first image's upper left quarter is dark, but for what is in its lower right corner.
        from sklearn.datasets import load_digits

        assert X[0, 1] == load_digits().images[0, :2, 2:4].mean() / 16 - 0.5

    def test_mnist(self, tmp_path):
        images = np.zeros((70, 28, 28), np.uint8)
        images[3, :2, 2:4] = [[255, 0], [0, 255]]
        np.savez(tmp_path / "m.npz", x_train=images, y_train=np.arange(70, dtype=np.uint8) % 10)
        self.patch.setenv("ACCEL_MNIST", str(tmp_path / "m.npz"))
        X, y, source, note = digits_runs.load()
        assert (X.shape, y.shape, source) == ((64, 196), (64,), "MNIST")
        assert np.flatnonzero(X[3] != -0.5).tolist() == [1]
        assert X[3, 1] == 0.0
        assert "m.npz" in note

    def test_nothing(self):
        self.patch.setitem(sys.modules, "sklearn.datasets", None)
        with pytest.raises(ImportError, match=r"implicit-accel\[cli\]"):
            digits_runs.load()
