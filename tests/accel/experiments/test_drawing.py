"""The drawings of the paper's figures: legends, stars, lines that coincide."""

import itertools

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.colors import to_rgb

from accel.experiments.drawing import drawn, save
from accel.experiments.figures import LINEAR

from ..pictures import collisions, covered, dashes

FIGURES = pytest.mark.parametrize("figure", LINEAR.values(), ids=LINEAR)


def points(figure, fall=1e-2):
    """Curves that fall, all alike: in this picture every two lines coincide."""
    return {
        line.label: (np.linspace(0, line.curve.steps, 50), np.geomspace(5, fall, 50))
        for line in figure.lines
    }


@FIGURES
@pytest.mark.parametrize("stars", [True, False])
def test_legends_cover_nothing(figure, stars):
    made = drawn(figure, points(figure), stars=stars)
    assert covered(made) == []
    assert collisions(made) == []
    labels = [text.get_text() for ax in made.axes for text in ax.get_legend().get_texts()]
    starred = stars and figure.about is None
    told = ["published, at the last iteration"] * len(figure.panels) if starred else []
    assert sorted(labels) == sorted([line.label for line in figure.lines] + told)


@FIGURES
def test_stars_are_the_published_ends(figure):
    def marked(stars):
        lines = drawn(figure, points(figure), stars=stars).axes
        lines = [line for ax in lines for line in ax.get_lines() if line.get_marker() == "*"]
        return [(*line.get_xdata(), *line.get_ydata()) for line in lines if len(line.get_xdata())]

    published = [line for line in figure.lines if line.published is not None]
    assert marked(True) == [(line.curve.steps, line.published) for line in published]
    assert marked(False) == []


@FIGURES
def test_lines_that_coincide_are_seen(figure):
    for ax in drawn(figure, points(figure), stars=False).axes:
        for below, above in itertools.combinations(ax.get_lines(), 2):
            assert above.get_linewidth() < below.get_linewidth()
            if below.get_color() == above.get_color() or dashes(below) is not None:
                assert dashes(below) != dashes(above)


def test_a_curve_that_diverges_does_not_flatten_the_others():
    figure = LINEAR["3r"]
    curves = points(figure)
    step, _ = curves["depth 3"]
    curves["depth 3"] = step, np.geomspace(5, 1e200, 50)
    ax, _ = drawn(figure, curves, stars=True).axes
    assert ax.get_ylim()[1] < 1e4


def test_a_band_is_a_pale_area_of_its_lines_colour():
    figure = LINEAR["3r"]
    curves = points(figure)
    step, fallen = curves["depth 2"]
    least = np.where(step > 5e5, 0.0, fallen / 2)  # 0 has no place on the axis
    ax, other = drawn(figure, curves, {"depth 2": (step, least, 3 * fallen)}, stars=True).axes
    (area,) = ax.collections
    assert not other.collections
    assert 0 < area.get_alpha() < 0.5
    line = next(line for line in ax.get_lines() if line.get_label() == "depth 2")
    assert to_rgb(area.get_facecolor()[0][:3]) == to_rgb(line.get_color())
    edges = area.get_paths()[0].vertices
    assert edges[:, 1].max() == pytest.approx(15)
    assert 0 < edges[:, 1].min() == pytest.approx(fallen[step <= 5e5].min() / 2)


def test_the_picture_has_its_title_and_the_drawing_of_the_page_has_not(tmp_path):
    made = drawn(LINEAR["3l"], points(LINEAR["3l"]), stars=True)
    sizes = []
    made.savefig = lambda path, **_: sizes.append((path.suffix, made._suptitle.get_text()))
    save(tmp_path / "figure3l", made)
    assert sizes == [(".png", LINEAR["3l"].title), (".svg", "")]
