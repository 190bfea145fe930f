"""Momentum and depth together: not of the paper, found while its figure 3 right was explained."""

from accel.experiments.figures.curves import Figure, Line, Panel
from accel.experiments.figures.figure3 import descent, with_momentum

__all__ = ["FIGURES"]

_STEPS = 1_000_000


def _panel(p: int) -> Panel:
    plain = (Line(f"l{p}, depth {n}", descent(p, n, _STEPS), None) for n in (1, 2, 3))
    heavy = (Line(f"l{p}, depth {n}, momentum 0.9", with_momentum(p, n), None) for n in (1, 2, 3))
    return Panel(f"l{p}", (*plain, *heavy))


FIGURES = (
    Figure(
        key="momentum",
        title="Momentum and depth: heavy ball with momentum 0.9 at depth 1, 2 and 3",
        panels=(_panel(2), _panel(4)),
        claims=(),
        notes=(
            "At p = 4 plain descent of depth 2 and 3 is held back by late divergence: the "
            "effective rate grows with the norm of the end-to-end matrix. Near a minimum heavy "
            "ball is stable up to effective rates eta / (1 - mu) that are (1 + mu) / (1 - mu) = 19 "
            "times as large, so that depth can use what it gains. At depth 1 the first steps, far "
            "from the minimum, decide which rate survives, with momentum and without.",
        ),
        about="Not one of the paper's figures: it compares plain descent with heavy ball, each "
        "depth at its best rate.",
    ),
)
