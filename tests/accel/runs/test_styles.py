"""Colours and dashes of pictures: by depth and by optimiser, and apart where lines coincide."""

import itertools

import pytest

pytest.importorskip("matplotlib")

from accel._core.optimizers import OPTIMIZERS
from accel._runs.styles import Drawn, depth_color, line_styles


def test_a_depth_has_one_colour_in_every_picture():
    assert [depth_color(depth) for depth in (1, 2, 3, 4)] == ["C0", "C1", "C2", "C3"]
    colors = [depth_color(depth) for depth in range(1, 10)]
    assert len(set(colors)) == 9
    assert "C7" not in colors  # the grey of targets and bounds
    assert depth_color(10_000) in colors


def test_every_optimiser_has_dashes_of_its_own():
    styles = line_styles([Drawn(name, 1) for name in OPTIMIZERS])
    assert styles[list(OPTIMIZERS).index("gd")]["linestyle"] == "-"
    patterns = [style["linestyle"][1] for style in styles if style["linestyle"] != "-"]
    assert len(set(patterns)) == len(OPTIMIZERS) - 1


@pytest.mark.parametrize(
    "lines",
    [
        [Drawn("gd", depth) for depth in range(1, 9)],
        [Drawn("gd", 2), Drawn("end-to-end", 2), Drawn("gd", 3), Drawn("end-to-end", 3)],
        [Drawn("gd", 2), Drawn("gd", 2, other=True), Drawn("end-to-end", 2)],
        [Drawn("gd", 4, other=True), Drawn("gd", 8, other=True)],
        [Drawn("momentum", 1), Drawn("nesterov", 1)],
    ],
)
def test_lines_that_coincide_are_all_seen(lines):
    """Of any two the upper one has gaps elsewhere, or leaves the edges of the lower one free."""
    styles = line_styles(lines)
    for below, above in itertools.pairwise(styles):
        assert above["linewidth"] < below["linewidth"]
    for below, above in itertools.combinations(styles, 2):
        assert (below["color"], below["linestyle"]) != (above["color"], above["linestyle"])
        if below["linestyle"] != "-":
            assert below["linestyle"] != above["linestyle"]
    assert min(style["linewidth"] for style in styles) >= 1.5


def test_one_line_alone():
    assert line_styles([Drawn("gd", 1)]) == [{"color": (31 / 255, 119 / 255, 180 / 255),
                                              "linestyle": "-", "linewidth": 2.4}]  # fmt: skip
    assert line_styles([]) == []
