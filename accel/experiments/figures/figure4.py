"""Figure 4: depth against adaptive rules, and depth under one of them."""

from accel.experiments.figures.curves import (
    MOMENTUM,
    PLAIN,
    Claim,
    Curve,
    Figure,
    Line,
    Panel,
    near_zero,
)
from accel.experiments.figures.figure3 import FASTER, descent, with_momentum
from accel.tuning import Model

__all__ = ["FIGURES"]

_LONG, _SHORT = 1_000_000, 200_000
_ADAPTIVE = (("AdaGrad, depth 1", "adagrad", 5.8e-2), ("AdaDelta, depth 1", "adadelta", 2.0e-2))
_DEEP = {
    PLAIN: Line("gradient descent, depth 3", descent(4, 3, _LONG), 6.3e-3),
    MOMENTUM: Line("with momentum 0.9 (our explanation), depth 3", with_momentum(4, 3), 6.3e-3),
}
_ADAM = (("Adam, depth 1", 1.15e-2), ("Adam, depth 2", 3.9e-3), ("Adam, depth 3", 2.9e-3))

FIGURES = (
    Figure(
        key="4l",
        title="Figure 4 left: gradient descent at depth 3 against AdaGrad and AdaDelta at depth 1",
        panels=(
            Panel(
                "l4",
                (
                    *(
                        Line(label, Curve(4, Model(name, 1), near_zero(1), _LONG), value)
                        for label, name, value in _ADAPTIVE
                    ),
                    *_DEEP.values(),
                ),
            ),
        ),
        claims=tuple(
            Claim(
                "gradient descent at depth 3 ends below AdaGrad and AdaDelta",
                (_ADAPTIVE[0][0], _ADAPTIVE[1][0], line.label),
                lambda adagrad, adadelta, deep: deep < min(adagrad, adadelta),
                reading,
                banded=True,
            )
            for reading, line in _DEEP.items()
        ),
        notes=(
            FASTER,
            "AdaGrad and AdaDelta have the constants of torch.optim, AdaDelta with a learning rate "
            "that is searched for as well; the paper does not give its own.",
        ),
    ),
    Figure(
        key="4r",
        title="Figure 4 right: Adam at depth 1, 2 and 3",
        panels=(
            Panel(
                "l4",
                tuple(
                    Line(
                        label,
                        Curve(4, Model("adam", depth), near_zero(depth), _SHORT),
                        value,
                    )
                    for depth, (label, value) in enumerate(_ADAM, 1)
                ),
            ),
        ),
        claims=(
            Claim(
                "depth 2 and depth 3 end below depth 1",
                tuple(label for label, _ in _ADAM),
                lambda one, two, three: max(two, three) < one,
            ),
        ),
    ),
)
