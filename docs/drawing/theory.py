"""Drawings of the pages on the theory."""

import numpy as np
from matplotlib.figure import Figure
from style import DEPTHS, EDGE, STRONG, arrow, canvas, label


def curve() -> Figure:
    """Theorem 2: the closed curve of its proof."""
    figure, axes = canvas(6.0, 3.2)
    x0, y0, small, large = 3.0, 0.55, 0.7, 2.2
    for radius, way in ((small, -1), (large, 1)):
        angles = np.linspace(0, np.pi, 100)[::way]
        x, y = x0 + radius * np.cos(angles), y0 + radius * np.sin(angles)
        axes.plot(x, y, color=DEPTHS[0], lw=2)
        arrow(axes, (x[52], y[52]), (x[55], y[55]), color=DEPTHS[0], mutation_scale=14)
    for start, end in ((-large, -small), (small, large)):
        axes.plot([x0 + start, x0 + end], [y0, y0], color=DEPTHS[0], lw=2)
        middle = x0 + (start + end) / 2
        arrow(axes, (middle, y0), (middle + 0.1, y0), color=DEPTHS[0], mutation_scale=14)
    axes.plot([x0], [y0], "o", color=EDGE, ms=4)
    label(axes, x0, y0 - 0.2, "0")
    for place, name in ((-large, "−R e"), (-small, "−r e"), (small, "r e"), (large, "R e")):
        axes.plot([x0 + place], [y0], "o", color=DEPTHS[0], ms=4)
        label(axes, x0 + place, y0 - 0.2, name)
    label(axes, x0, y0 + small + 0.18, "radius r")
    label(axes, x0, y0 + large + 0.18, "radius R")
    arrow(axes, (x0, y0), (x0, y0 + 0.45))
    label(axes, x0 + 0.14, y0 + 0.35, "f")
    return figure


#: Half of the largest stable rates that ``accel.theory.two_point(8, 1)`` finds, by depth.
_RATES = {1: 0.0078, 2: 0.0030}


def _path(depth: int, rate: float) -> np.ndarray:
    """Iterates of the end-to-end rule on the two points (8, 1), p = 4."""
    y = np.array([8.0, 1.0])
    w = 0.001 * 8 * y**3 / np.linalg.norm(y**3)
    rows = [w]
    for _ in range(60):
        g = 2 * (w - y) ** 3
        length = np.linalg.norm(w)
        along = (w @ g) / length**2 * w
        w = w - rate * length ** (2 - 2 / depth) * (g + (depth - 1) * along)
        rows.append(w)
    return np.array(rows)


def two_points() -> Figure:
    """Section 7: paths over the contours, and the residual of the second point."""
    figure = Figure(figsize=(7.2, 3.1), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.4, 1))
    first, second = np.meshgrid(np.linspace(-0.7, 9.5, 200), np.linspace(-0.3, 1.6, 200))
    loss = ((first - 8) ** 4 + (second - 1) ** 4) / 2
    levels = [1e-3, 0.02, 0.2, 2, 20, 100, 300, 700, 1300]
    left.contour(first, second, loss, levels=levels, colors="#bbbbbb", linewidths=0.8)
    for depth, rate in _RATES.items():
        w, color, name = _path(depth, rate), DEPTHS[depth - 1], f"depth {depth}"
        left.plot(*w.T, "o-", color=color, ms=3, lw=1, label=name)
        right.plot(abs(w[:, 1] - 1), color=color, label=name)
    left.plot([8], [1], "*", color=STRONG, ms=10)
    label(left, 7.6, 1.08, "minimum", color=STRONG, ha="right")
    left.set(xlabel="w₁", ylabel="w₂", xticks=[0, 2, 4, 6, 8], yticks=[0, 0.5, 1, 1.5])
    left.set_title("60 steps over the contours of the loss", fontsize=9)
    left.legend(loc="upper left")
    right.set(xlabel="step", ylim=(0, 1.05), xticks=[0, 20, 40, 60], yticks=[0, 0.5, 1])
    right.set_title("distance of w₂ from its target", fontsize=9)
    right.legend()
    return figure


DRAWINGS = {"theory-curve": curve, "theory-two-points": two_points}
