"""Figure 5 left: deep nets need an initialisation that is not near zero."""

from accel.experiments.figures.curves import Claim, Curve, Figure, Line, Panel
from accel.experiments.figures.figure3 import descent
from accel.tuning import Model, Start

__all__ = ["FIGURES"]

_STEPS = 100_000
_SCALE = 0.01
_STUCK = 3.0
_NAMES = {"near_zero": "near zero", "identity": "identity"}


def _line(depth: int, init: str, published: float) -> Line:
    return Line(
        f"{depth} layers, {_NAMES[init]}",
        Curve(4, Model("gd", depth), Start(init, _SCALE, width=1), _STEPS),
        published,
        other=init == "near_zero",
    )


_ONE = Line("1 layer", descent(4, 1, _STEPS), 2.4e-1)
_ZERO = (_line(4, "near_zero", 4.5), _line(8, "near_zero", 4.5))
_IDENTITY = (_line(4, "identity", 2.0e-1), _line(8, "identity", 1.6e-1))

FIGURES = (
    Figure(
        key="5l",
        title="Figure 5 left: depth 1, 4 and 8, near-zero against identity initialisation",
        panels=(Panel("l4", (_ONE, *_ZERO, *_IDENTITY)),),
        claims=(
            Claim(
                "near-zero nets of 4 and 8 layers are stuck above 3",
                tuple(line.label for line in _ZERO),
                lambda four, eight: min(four, eight) > _STUCK,
                banded=True,
            ),
            Claim(
                "identity nets of 4 and 8 layers end below the one of 1 layer",
                (_ONE.label, *(line.label for line in _IDENTITY)),
                lambda one, four, eight: max(four, eight) < one,
                banded=True,
            ),
        ),
        notes=(
            "Hidden layers have width 1. Near zero the factors have a standard deviation of 0.01, "
            "the last factor of the identity nets too. Being stuck hangs on it: from larger ones a "
            "net of four layers leaves the saddle at 0, as `accel train gas --depth 4 --width 1 "
            "--init near_zero --scale 0.1 --learning-rate 2e-4 --steps 1e5` shows.",
            "A near-zero net sits at the saddle for most of the run at any rate that survives: the "
            "rate that throws it out early makes it diverge later. The search likes a rate so near "
            "to that limit that the net leaves the saddle just before the end, if there is one. So "
            "the claims are judged over a band of rates and seeds.",
        ),
    ),
)
