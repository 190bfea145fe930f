r"""Section 7: why depth accelerates, on two points.

With the points ([1, 0], y1) and ([0, 1], y2) the two residuals of plain gradient descent do not
depend on each other: each obeys

.. math:: r \leftarrow r \, (1 - \eta c |r|^{p-2}), \qquad c = f p / 2,

where f is 1 or 1/p (``LpProblem.scale``) and the 2 is the number of points. Hence ``|r|`` falls in
every step if it begins below :math:`(2 / (\eta c))^{1/(p-2)}`, and grows in every step if above.
From w = 0, y1 being the larger target, the rate must be below

.. math:: \frac{2}{c \, y_1^{p-2}} = \frac{4}{f p \, y_1^{p-2}},

the 2 / y1^(p-2) of the paper, whose loss (1/p) (|r_1|^p + |r_2|^p) has c = 1. It is exact. The
usual condition, rate times curvature below 2, would be p - 1 times stricter: at r = y1 the
curvature is (p-1) c y1^(p-2). It does not apply, because the curvature vanishes at the minimum.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from accel._core.network import LinearNetwork
from accel._core.optimizers import EndToEnd, Optimizer
from accel._core.problem import LpProblem
from accel._runs.saddles import unwarned
from accel._runs.training import train
from accel._support import validation
from accel._support.arrays import Array

_GROWTH = 10 ** (1 / 16)  # factor by which the rate is raised until it is unstable
_HALVINGS = 40  # how often the first rate is halved at most, until it is stable
_PRECISION = 1e-3  # relative, of the largest stable rate
_ROUNDING = 1e-12  # relative rise of the loss that is taken for a rounding error


@dataclass(frozen=True)
class Descent:
    """One rule on the two points.

    Attributes
    ----------
    learning_rate : float
        The largest stable one, to 0.1 %.
    steps : int
        To the target at that rate.
    """

    learning_rate: float
    steps: int


@dataclass(frozen=True)
class TwoPoint:
    """Plain descent and the end-to-end rule on the two points.

    Attributes
    ----------
    bound : float
        The rate below which plain descent from w = 0 is stable, by the formula.
    plain, deep : Descent
        Gradient descent and the end-to-end rule.
    """

    bound: float
    plain: Descent
    deep: Descent

    @property
    def speedup(self) -> float:
        """Steps of plain descent for one of the end-to-end rule."""
        return self.plain.steps / self.deep.steps


class _Setting(NamedTuple):
    """The settings that all runs share."""

    problem: LpProblem
    start: Array
    target: float
    max_steps: int

    def steps(self, optimizer: Optimizer) -> float | None:
        """Steps to the target, infinite if it is farther than max_steps; None if unstable."""
        network = LinearNetwork((2, 1), init=[self.start])
        with unwarned():  # one of many rates
            result = train(
                self.problem, network, optimizer, self.max_steps,
                record_every=1, target=self.target, threads=1,
            )  # fmt: skip
        if result.status == "interrupted":  # by Ctrl-C, which ends the search as well
            raise KeyboardInterrupt
        loss = result.history.loss
        if result.status == "diverged" or np.any(loss[1:] > (1 + _ROUNDING) * loss[:-1]):
            return None
        return result.steps if result.status == "target" else np.inf


def _largest_stable(setting: _Setting, rate: float, depth: int) -> Descent:
    """Climb from a stable rate to the first unstable one, and bisect between the last two."""

    def steps(rate: float) -> float | None:
        return setting.steps(EndToEnd(rate, depth))  # at depth 1 that is plain descent

    for _ in range(_HALVINGS):
        if (count := steps(rate)) is not None:
            break
        rate /= 2
    else:
        raise ValueError(
            f"y1 must leave a stable learning rate, got none at depth {depth} down to {rate:g}"
        )
    above = rate * _GROWTH
    while (higher := steps(above)) is not None:
        rate, count, above = above, higher, above * _GROWTH
    while above > (1 + _PRECISION) * rate:
        middle = float(np.sqrt(rate * above))
        if (between := steps(middle)) is None:
            above = middle
        else:
            rate, count = middle, between
    if np.isinf(count):
        raise ValueError(
            f"max_steps must suffice to reach the target, got {setting.max_steps} "
            f"at depth {depth} and learning rate {rate:g}"
        )
    return Descent(rate, int(count))


def two_point(
    y1: float,
    y2: float,
    p: float = 4.0,
    depth: int = 2,
    *,
    scale: str = "mean",
    start: float = 0.001,
    target: float = 0.01,
    max_steps: float = 200_000,
) -> TwoPoint:
    r"""Compare plain descent with the end-to-end rule, each at its largest stable rate.

    A rate counts as stable if the loss rises in no step on the way to the target. For plain descent
    that is the same as convergence. For the end-to-end rule convergent rates exist beyond, where a
    first step happens to land close enough to a minimum; the first unstable rate, met from below in
    steps of 15 %, ends the search.

    Parameters
    ----------
    y1, y2 : float
        Targets, y1 >= y2 > 0.
    p : float
        Above 2.
    depth : int
        N of the end-to-end rule, at least 2.
    scale : {"mean", "1/p"}
        Of the loss, as for ``LpProblem``; it divides the rates, and changes no number of steps.
    start : float
        Norm of the first w as a part of y1, between 0 and 1. It points along minus the gradient at
        0, which no net of depth 2 or more can leave.
    target : float
        Where to stop, as a part of what the second point adds to the loss at 0; between 0 and 1.
    max_steps : int
        For one run.

    Returns
    -------
    TwoPoint

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range, or if max_steps are not enough.
    KeyboardInterrupt
        After Ctrl-C.

    Notes
    -----
    Plain descent needs a number of steps that grows as (y1 / y2)^(p-2): the first point dictates
    the rate, and the second crawls. The end-to-end rule multiplies the second point's rate by
    :math:`\|w\|^{2-2/N}`: little while the first residual is large, :math:`y_1^{2-2/N}` once it is
    small. But its largest stable rate falls with y1 by that power in addition. For a small y2 the
    first point alone decides on it, and multiplying y1 and the start by one number, and the rate
    accordingly, changes no step. So the speed-up does not grow without bound with y1 / y2: it
    levels off at a factor (3 to 5 for p = 4 and depth 2 to 4, larger for a larger p) that depends
    on where the first few steps land, and so on the start.

    References
    ----------
    Arora, Cohen, Hazan (2018), arXiv 1802.06509, section 7.

    Examples
    --------
    >>> import accel
    >>> result = accel.theory.two_point(8.0, 1.0, p=4, depth=2)
    >>> result.bound
    0.015625
    >>> result.speedup > 3
    True
    """
    y2 = validation.real("y2", y2, above=0)
    y1 = validation.real("y1", y1, least=y2)
    p = validation.real("p", p, above=2)
    depth = validation.depth(depth, least=2)
    start = validation.real("start", start, above=0, below=1)
    target = validation.real("target", target, above=0, below=1)
    max_steps = validation.count("max_steps", max_steps, least=1)
    problem = LpProblem(np.eye(2), [y1, y2], p, scale=scale)
    loss, slope = problem.loss_and_gradient(np.zeros((1, 2)))
    if not 0 < loss < np.inf:
        raise ValueError(f"y1 must have a p-th power that is a number, got {y1:g} for p = {p:g}")
    first = -start * y1 / float(np.hypot(*slope[0])) * slope
    goal = target * problem.factor / 2 * y2**p
    if problem.loss(first) <= goal:
        raise ValueError(f"target must be below the loss at the start, got {target:g}")
    setting = _Setting(problem, first, goal, max_steps)
    bound = 4 / (problem.factor * p * y1 ** (p - 2))
    return TwoPoint(
        bound=bound,
        plain=_largest_stable(setting, 0.9 * bound, 1),
        deep=_largest_stable(setting, bound * y1 ** (2 / depth - 2), depth),
    )
