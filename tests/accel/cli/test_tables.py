"""The tables, sentences and JSON in which the command shows results."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

import accel

pytest.importorskip("rich")

from rich.console import Console

from accel import History, Optimum, Result
from accel._reports.text import duration
from accel.cli import tables
from accel.cli.json_results import comparison_json, result_json
from accel.losses import Lp
from accel.tuning import Comparison, Model, Trial, Tuned

BEST = Optimum(np.zeros((1, 4)), 1.0, 1e-9, 1e-9, 1e-12, 5, True, 4, np.ones(4), 0, "optimal")


def tuned(name="gd", depth=1, losses=(3.0, 1.5, 1.125), edge=False, status="completed"):
    steps = 10 * np.arange(len(losses))
    column = np.array(losses)
    history = History(steps, column, column, column, steps / 1e6)
    model = Model(name, depth)
    network = accel.LinearNetwork((4,) + (1,) * depth)
    diverged = 21 if status == "diverged" else None
    result = Result(
        network, history, status, int(steps[-1]), steps[-1] / 1e6, diverged, model.at(0.1),
        Lp(4.0), "direct", "cpu", 1,
    )  # fmt: skip
    distance = math.inf if diverged else losses[-1] - 1.0
    trial = Trial(0.1, distance, result.steps, diverged)
    return Tuned(model, trial, result, edge, (trial,))


def comparison(*models, target=0.125):
    return Comparison(BEST, 20, target, models)


def text(renderable, width=80):
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def test_the_table_fits_80_columns():
    several = comparison(tuned(), tuned(depth=12), tuned("end-to-end", 3, edge=True))
    printed = text(tables.comparison_table(several))
    assert max(map(len, printed.splitlines())) <= 80
    assert "…" not in printed
    assert "gd, depth 12" in printed
    assert "0.1*" in printed
    assert "20 us" in printed
    assert tables.comparison_notes(several)[0].startswith("* the edge")


def test_a_model_that_only_diverges():
    several = comparison(tuned(status="diverged"), target=math.nan)
    assert "diverged" in text(tables.comparison_table(several))
    assert tables.verdict(several) == ""
    assert json.loads(json.dumps(comparison_json(several), allow_nan=False))["target"] is None


def test_a_model_that_ended_early():
    several = comparison(tuned(), tuned("adam", status="target"))
    assert "1.25e-01+" in text(tables.comparison_table(several))
    assert "adam, depth 1 after 20 steps" in tables.comparison_notes(several)[0]


def test_a_model_at_the_saddle():
    assert not any("saddle" in note for note in tables.comparison_notes(comparison(tuned())))
    held = tuned("adam", depth=3)
    held = replace(held, result=replace(held.result, at_saddle=True))
    (note,) = tables.comparison_notes(comparison(tuned(), held))
    assert note.startswith("at the saddle where it began")
    assert "small to move: adam, depth 3; leave --scale" in note


def test_the_verdict_where_depth_helps():
    several = comparison(tuned(), tuned(depth=2, losses=(3.0, 1.05, 1.01)), tuned(depth=3))
    assert "in 20 steps at depth 1 and in 10 at depth 2" in tables.verdict(several)
    assert "factor of 2.00" in tables.verdict(several)


def test_the_verdict_where_it_does_not():
    several = comparison(tuned(), tuned(depth=2, losses=(3.0, 2.0, 1.5)))
    assert tables.verdict(several).startswith("Depth does not help gd here")


@pytest.mark.parametrize("models", [(), (tuned(),), (tuned(), tuned("adam", 2))])
def test_no_verdict_where_depth_does_not_vary(models):
    assert tables.verdict(comparison(*models)) == ""


def test_json():
    several = comparison(tuned(), tuned(depth=2, losses=(3.0, 2.0, 1.5)))
    written = json.loads(json.dumps(comparison_json(several), allow_nan=False))
    assert written["optimum"] == 1.0
    assert [model["steps_to_target"] for model in written["models"]] == [20, None]
    assert written["models"][0]["trials"][0]["rate"] == 0.1
    assert written["models"][0]["us_per_step"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0 us"), (2.5e-6, "2.5 us"), (0.012, "12 ms"), (3.25, "3.25 s"), (1234.0, "1.23e+03 s")],
)
def test_durations(seconds, expected):
    assert duration(seconds) == expected


def test_the_table_of_one_run():
    printed = text(tables.result_table(tuned().result, BEST))
    assert "completed" in printed
    assert "1.250e-01" in printed
    assert "1 thread" in printed
    assert "distance" not in text(tables.result_table(tuned().result, None))


def test_a_loss_below_the_optimum_by_rounding_is_no_negative_distance():
    best = replace(BEST, loss=tuned().result.loss * (1 + 1e-15))
    assert tuned().result.loss < best.loss
    (line,) = (row for row in text(tables.result_table(tuned().result, best)).splitlines()
               if row.startswith("distance"))  # fmt: skip
    assert line.split()[1] == "0.000e+00"
    problem = accel.LpProblem(np.eye(4), np.ones(4))
    assert result_json(problem, tuned().result, best)["distance"] == 0.0


def test_the_table_of_a_run_that_diverged():
    printed = text(tables.result_table(tuned(status="diverged").result, BEST))
    assert "diverged at step 21" in printed


def test_the_json_of_one_run():
    problem = accel.LpProblem(np.eye(4), np.ones(4))
    rows = result_json(problem, tuned().result, BEST)
    assert rows["distance"] == pytest.approx(0.125)
    assert result_json(problem, tuned().result, None)["distance"] is None


def test_the_json_tells_the_method_of_the_run():
    """The Gram form has too few digits for so low a tolerance."""
    X = np.random.default_rng(0).standard_normal((40, 3))
    problem = accel.LpProblem(X, X @ [1.0, 2.0, 3.0], p=2)
    network = accel.LinearNetwork.for_problem(problem, depth=1)
    for tol, method in ((0.0, "gram"), (1e-15, "direct")):
        result = accel.train(problem, network, accel.GradientDescent(0.1), 10, tol=tol)
        assert result_json(problem, result, None)["method"] == method


def test_facts_with_brackets_are_shown_as_they_are():
    printed = text(tables.facts_table({"a": {"b": "[red]x[/]"}, "c": {"d": "e"}}))
    assert "[red]x[/]" in printed
