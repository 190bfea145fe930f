"""Pictures: what is drawn can be seen."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from accel._reports.figures import blank_figure, legend_below, limit_above

from ..pictures import collisions, covered


def curve(ax, label):
    return ax.plot(np.linspace(0, 1, 50), np.linspace(0, 1, 50), label=label)[0]


def test_a_legend_upon_a_curve_is_noticed():
    """Of the helper by which all pictures are judged."""
    figure, (ax,) = blank_figure(1)
    curve(ax, "below")
    ax.legend(loc="center")
    assert covered(figure) == ["below"]
    ax.legend(loc="upper left")
    assert covered(figure) == []


@pytest.mark.parametrize("lines", [1, 4, 12])
@pytest.mark.parametrize("columns", [1, 2])
def test_a_legend_below_covers_nothing(lines, columns):
    figure, axes = blank_figure(2, entries=-(-lines // columns) + 1)
    figure.suptitle("title")
    for ax in axes:
        for number in range(lines):
            curve(ax, f"curve {number}")
        ax.set_xlabel("steps")
        legend_below(ax, columns)
    assert covered(figure) == []
    assert collisions(figure) == []
    assert all(ax.bbox.height > 200 for ax in axes)  # of about 450 at most: they are no strips


def test_a_diverged_curve_leaves_the_picture():
    falls, explodes = np.geomspace(5, 1e-3, 20), np.geomspace(5, 1e300, 20)
    explodes[-1] = np.nan
    for curves, top in (([falls], False), ([falls, explodes], True), ([explodes], True)):
        _, (ax,) = blank_figure(1)
        ax.set_yscale("log")
        for values in curves:
            ax.plot(values)
        limit_above(ax, curves)
        assert (ax.get_ylim()[1] == pytest.approx(150)) == top
    _, (ax,) = blank_figure(1)
    limit_above(ax, [np.full(3, np.nan), []])
    assert ax.get_ylim() == (0, 1)
