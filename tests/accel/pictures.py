"""What can be seen in a figure of matplotlib, computed from it as it is drawn."""

import itertools

import numpy as np


def _boxes(figure):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure).draw()
    legends = [*figure.legends, *(ax.get_legend() for ax in figure.axes)]
    return [legend.get_window_extent() for legend in legends if legend is not None]


def _pixels(line):
    """Points along a line, as near to each other as pixels, that are inside of its axes."""
    points = line.get_transform().transform(np.column_stack(line.get_data(orig=False)))
    between = [
        np.linspace(a, b, 2 + int(min(np.abs(b - a).max(), 2000)))
        for a, b in itertools.pairwise(points)
        if np.isfinite([a, b]).all()
    ]
    dense = np.concatenate([points[np.isfinite(points).all(axis=1)], *between])
    inside = line.axes.bbox
    seen = (dense >= inside.min - 1) & (dense <= inside.max + 1)
    return dense[seen.all(axis=1)] if line.get_clip_on() else dense


def covered(figure):
    """Labels of the curves of which a legend hides a part."""
    boxes = _boxes(figure)
    assert boxes, "there is no legend"
    return [
        line.get_label()
        for ax in figure.axes
        for line in ax.get_lines()
        for box in boxes
        for points in [_pixels(line)]
        if ((points > box.min) & (points < box.max)).all(axis=1).any()
    ]


def collisions(figure):
    """Pairs of things that overlap: the title, the axes with their labels, and the legends."""
    legends = _boxes(figure)
    axes = []
    for ax in figure.axes:
        legend = ax.get_legend()
        if legend is not None:
            legend.set_in_layout(False)
        axes.append(ax.get_tightbbox())
        if legend is not None:
            legend.set_in_layout(True)
    things = [(f"axes {number}", box) for number, box in enumerate(axes)]
    things += [(f"legend {number}", box) for number, box in enumerate(legends)]
    if figure._suptitle is not None:
        things.append(("title", figure._suptitle.get_window_extent()))
    edges = figure.bbox
    outside = [
        name
        for name, box in things
        if (box.min < edges.min - 1).any() or (box.max > edges.max + 1).any()
    ]
    pairs = [
        (name, other)
        for (name, box), (other, another) in itertools.combinations(things, 2)
        if box.overlaps(another)
    ]
    return pairs + [(name, "the edge") for name in outside]


def dashes(line):
    """The pattern of a line: its offset and its strokes and gaps; None for a solid one."""
    offset, pattern = line._unscaled_dash_pattern
    return None if pattern is None else (offset, tuple(pattern))
