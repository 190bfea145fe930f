"""Colours by depth and dashes by optimiser, the same in every picture. Needs matplotlib."""

from collections.abc import Sequence
from typing import Any, NamedTuple

__all__ = ["Drawn", "depth_color", "line_styles"]

#: Of depth 1, 2 and so on: matplotlib's colours without the grey, which is for what is no run.
_COLORS = ("C0", "C1", "C2", "C3", "C4", "C5", "C6", "C8", "C9")
#: By optimiser: points of line and gap, by turns; none for a solid line.
_DASHES: dict[str, tuple[float, ...]] = {
    "gd": (),
    "momentum": (8, 2),
    "nesterov": (8, 2, 2, 2),
    "adagrad": (4, 2),
    "adadelta": (4, 2, 1, 2),
    "rmsprop": (4, 1, 1, 1, 1, 1),
    "adam": (1, 1),
    "end-to-end": (2, 3),
    "group-rmsprop": (3, 1, 1, 1),
    "langevin": (1, 3),
}
_OTHER = (5, 5)  # of a second model of one optimiser and depth
#: Shares of its colour that a line has which is likely to lie upon another one.
_DARKER, _DARKEST = 0.7, 0.45
_WIDEST, _NARROWEST = 2.4, 1.5  # points


class Drawn(NamedTuple):
    """What is known of a line before it is drawn.

    Attributes
    ----------
    optimizer : str
        By its name, as in ``accel train --optimizer``.
    depth : int
    other : bool
        Whether another line is of the same optimiser and depth, with other widths or another start.
    """

    optimizer: str
    depth: int
    other: bool = False


def depth_color(depth: int) -> str:
    """Return the colour of a depth, in all pictures."""
    return _COLORS[(depth - 1) % len(_COLORS)]


def _shade(color: str, share: float) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(color)
    return share * red, share * green, share * blue


def line_styles(lines: Sequence[Drawn]) -> list[dict[str, Any]]:
    """Choose how the lines of one picture are drawn, the first at the bottom.

    Every line is narrower than the one before, dashes of one pattern are shifted against each
    other, and the end-to-end rule is darker than the net that it stands for: so each of them can be
    seen where they coincide.

    Parameters
    ----------
    lines : sequence of Drawn

    Returns
    -------
    list of dict
        Keyword arguments of matplotlib's ``plot``.
    """
    patterns = [_OTHER if line.other else _DASHES[line.optimizer] for line in lines]
    narrower = (_WIDEST - _NARROWEST) / max(len(lines) - 1, 1)
    styles = []
    for number, (line, pattern) in enumerate(zip(lines, patterns, strict=True)):
        share = _DARKEST if line.optimizer == "end-to-end" else _DARKER if line.other else 1.0
        shift = patterns[:number].count(pattern) / patterns.count(pattern)
        styles.append(
            {
                "color": _shade(depth_color(line.depth), share),
                "linestyle": (shift * sum(pattern), pattern) if pattern else "-",
                "linewidth": _WIDEST - number * narrower,
            }
        )
    return styles
