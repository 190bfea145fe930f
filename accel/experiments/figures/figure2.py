"""Figure 2: what depth does is what the end-to-end rule does, whatever the hidden widths."""

from accel.experiments.figures.curves import Claim, Curve, Figure, Line, Panel, near_zero
from accel.tuning import Model

__all__ = ["FIGURES"]

_STEPS = 250_000
_PUBLISHED = {(2, 2): 1.25e-2, (2, 3): 9e-3, (4, 2): 2.1e-1, (4, 3): 1.45e-1}
_TOLERANCE = 0.15


def _lines(p: int, depth: int) -> tuple[Line, ...]:
    kinds = (("gd", 1, "width 1"), ("gd", 100, "width 100"), ("end-to-end", 1, "emulation"))
    return tuple(
        Line(
            f"l{p}, depth {depth}, {kind}",
            Curve(p, Model(optimizer, depth), near_zero(depth, width), _STEPS),
            _PUBLISHED[p, depth],
            other=width > 1,
        )
        for optimizer, width, kind in kinds
    )


def _alike(*ends: float) -> bool:
    return max(ends) <= (1 + _TOLERANCE) * min(ends)


_ALL = {(p, depth): _lines(p, depth) for p in (2, 4) for depth in (2, 3)}
_FAMILIES = {key: tuple(line.label for line in lines) for key, lines in _ALL.items()}

FIGURES = (
    Figure(
        key="2",
        title="Figure 2: linear networks of different widths and the end-to-end rule",
        panels=tuple(Panel(f"l{p}", _ALL[p, 2] + _ALL[p, 3]) for p in (2, 4)),
        claims=tuple(
            Claim(
                f"l{p}, depth {depth}: width 1, width 100 and emulation end within 15 % of each "
                "other",
                labels,
                _alike,
            )
            for (p, depth), labels in _FAMILIES.items()
        ),
        notes=(
            "The emulation begins at the end-to-end matrix of the net of width 1. The factors of "
            "the wide net are smaller, so that its end-to-end matrix has the same expected norm.",
            "The lines are drawn each at the rate of its own search, as the paper chooses them. "
            "What the paper's theory speaks of is one and the same rate for all three; the table "
            "of common rates has that.",
        ),
        families=tuple(_FAMILIES.values()),
    ),
)
