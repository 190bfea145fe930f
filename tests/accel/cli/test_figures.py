"""The picture of a comparison."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

import accel
from accel.tuning import Grid, Model, compare

pytest.importorskip("matplotlib")
pytest.importorskip("rich")

from accel.cli.figures import comparison_figure
from accel.cli.tables import verdict

from ..pictures import collisions, covered, dashes

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 4)) * [3.0, 1.0, 0.5, 0.2]
PROBLEM = accel.LpProblem(X, X @ RNG.standard_normal(4) + 0.5 * RNG.standard_normal(60))
MODELS = [
    Model("gd", 1), Model("gd", 2), Model("end-to-end", 2), Model("momentum", 1),
    Model("nesterov", 1), Model("adam", 1), Model("gd", 8),
]  # fmt: skip


@pytest.fixture(scope="module")
def compared():
    return compare(PROBLEM, MODELS, 60, grid=Grid(2), backend="reference", repeats=3)


@pytest.mark.parametrize("count", [1, 3, 7])
def test_nothing_is_covered(compared, count):
    some = replace(compared, models=compared.models[:count])
    figure = comparison_figure(some, "data (60 x 4)", 1e-15)
    assert covered(figure) == []
    assert collisions(figure) == []


def test_the_title_is_what_came_out(compared):
    title = comparison_figure(compared, "data (60 x 4)", 1e-15)._suptitle.get_text()
    assert title.replace("\n", " ") == f"{verdict(compared)} data (60 x 4)"
    assert verdict(compared)
    alone = replace(compared, models=compared.models[:1])
    assert comparison_figure(alone, "data", 1e-15)._suptitle.get_text() == "data"


@pytest.mark.parametrize(
    ("target", "label"),
    [(None, "where gd, depth 1 ends"), (0.5, "5.00e-01: the target"), (math.nan, None)],
)
def test_the_line_at_the_target_says_what_it_is(compared, target, label):
    target = compared.target if target is None else target
    some = replace(compared, target=target)
    figure = comparison_figure(some, "data", 1e-15)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(texts) == len(MODELS) + (label is not None)
    if label is not None:
        assert label in texts[-1]
        assert all(ax.get_lines()[-1].get_ydata()[0] == target for ax in figure.axes)


def test_lines_that_coincide_are_seen(compared):
    figure = comparison_figure(compared, "data", 1e-15)
    for ax in figure.axes:
        lines = ax.get_lines()[: len(MODELS)]
        for below, above in itertools.combinations(lines, 2):
            assert above.get_linewidth() < below.get_linewidth()
            if dashes(below) is not None:
                assert dashes(below) != dashes(above)


def test_the_seconds_are_said_to_be_medians(compared):
    assert compared.repeats == 3
    axes = comparison_figure(compared, "data", 1e-15).axes
    assert axes[1].get_xlabel() == "training time (ms, median of 3 runs)"
    once = replace(compared, repeats=1)
    assert comparison_figure(once, "data", 1e-15).axes[1].get_xlabel() == "training time (ms)"


def test_models_far_below_leave_the_picture_and_no_room_is_left_empty(compared):
    """Down to a hundredth of where descent ends, but no farther than the least curve."""
    (axes, _) = comparison_figure(compared, "data", 1e-15).axes
    least = min(tuned.distance for tuned in compared.models)
    own = min(t.distance for t in compared.models if t.model.optimizer == "gd")
    assert axes.get_ylim()[0] >= min(least, own / 100) * 0.1
