r"""The two points of the paper's section 7: what the theory predicts beside what networks do.

``theory.two_point`` finds the steps of plain descent and of the end-to-end rule, each at its
largest stable rate. Balanced networks begin as the same map, and have a largest stable rate of
their own, by the same definition: the first one met from below at which the loss rises in some step
ends the search. Theory in closed form says of plain descent that its steps grow as
:math:`(y_1/y_2)^{p-2}`.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from accel._core.optimizers import GradientDescent
from accel._core.problem import LpProblem
from accel._runs.sweeping import sweep
from accel.experiments.atlas.problems import balanced_network
from accel.theory import two_point

__all__ = ["DEPTHS", "EXPONENTS", "RATIOS", "Pair", "pairs"]

EXPONENTS = (3.0, 4.0, 6.0)
#: Of the two targets, y1 / y2 with y2 = 1.
RATIOS = (2.0, 3.0, 4.0, 6.0, 8.0)
DEPTHS = (2, 3, 4)

_START, _TARGET = 0.001, 0.01  # as ``theory.two_point`` has them by default
_POINTS, _OCTAVES = 32, 3  # rates: points of an octave, octaves on either side
_LONGER = 8  # than the end-to-end rule, at most
_ROUNDING = 1e-12


class Pair(NamedTuple):
    """Two points at one exponent and depth.

    Attributes
    ----------
    p, ratio : float
        Exponent, y1 / y2.
    depth : int
    plain, predicted, measured : float
        Steps of plain descent, of the end-to-end rule and of the network; infinite where the
        network is not there after eight times as many steps as the rule.
    """

    p: float
    ratio: float
    depth: int
    plain: float
    predicted: float
    measured: float


def pairs(
    exponents: Sequence[float] = EXPONENTS,
    ratios: Sequence[float] = RATIOS,
    depths: Sequence[int] = DEPTHS,
) -> list[Pair]:
    """Find the steps for all of these."""
    made = []
    for p in exponents:
        for ratio in ratios:
            for depth in depths:
                rule = two_point(ratio, 1.0, p, depth, start=_START, target=_TARGET)
                limit = _LONGER * rule.deep.steps
                measured = _network(p, ratio, depth, rule.deep.learning_rate, limit)
                made.append(Pair(p, ratio, depth, rule.plain.steps, rule.deep.steps, measured))
    return made


def _network(p: float, ratio: float, depth: int, around: float, limit: int) -> float:
    """Steps of a network at its largest stable rate, which is sought around another one."""
    problem = LpProblem(np.eye(2), [ratio, 1.0], p)
    slope = problem.gradient(np.zeros((1, 2)), backend="reference")
    network = balanced_network(-_START * ratio / float(np.linalg.norm(slope)) * slope, depth)
    rates = [
        around * 2 ** (k / _POINTS) for k in range(-_OCTAVES * _POINTS, _OCTAVES * _POINTS + 1)
    ]
    models = [(network, GradientDescent(rate)) for rate in rates]
    swept = sweep(
        problem, models, limit, record_every=1, target=_TARGET * problem.factor / 2, backend="cpu",
        threads=1,
    )  # fmt: skip
    steps = math.inf
    for result in swept:
        loss = result.history.loss
        if result.status == "diverged" or np.any(loss[1:] > (1 + _ROUNDING) * loss[:-1]):
            break
        steps = result.steps if result.status == "target" else math.inf
    return steps
