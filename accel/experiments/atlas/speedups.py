r"""How many times fewer steps a depth takes: medians over seeds, also where runs did not get there.

A run that has not reached its target at the limit T takes more than T steps: its number is known to
lie in an interval, :math:`(T, \infty)`, and so is the quotient of two such numbers. A median, as
every quantile that is one of the values, does not fall if values rise. So the median of the lower
ends and that of the upper ends enclose the median of the true values: it is a number if they agree,
a bound if one of them is 0 or infinite, and unknown if both are.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from accel.experiments.atlas.race import MARGINS, TARGETS, Outcome, Rule
from accel.experiments.atlas.settings import Settings
from accel.experiments.atlas.survey import Surveyed

__all__ = ["FEW", "Cell", "Interval", "cells", "quantile", "speedup"]

#: Below so many steps, at either depth, a quotient says little: rates that hit by chance decide.
FEW = 10


class Interval(NamedTuple):
    """Where a number lies.

    Attributes
    ----------
    low, high : float
        0 and infinite where nothing is known.
    """

    low: float
    high: float

    @property
    def exact(self) -> bool:
        """Whether the number is known."""
        return self.low == self.high

    @property
    def known(self) -> bool:
        """Whether anything is."""
        return self.low > 0 or self.high < math.inf

    def __str__(self) -> str:
        if self.exact:
            return _shown(self.low)
        if math.isinf(self.high):
            return f"≥{_shown(self.low)}" if self.low else "?"
        return f"{_shown(self.low)}-{_shown(self.high)}" if self.low else f"≤{_shown(self.high)}"


def _shown(value: float) -> str:
    """Two digits, all digits from ten on, and one below a hundredth."""
    if value >= 10:
        return f"{value:.0f}"
    return f"{value:.2g}" if value >= 0.01 else f"{value:.0e}".replace("e-0", "e-")


def _steps(steps: float, limit: int) -> Interval:
    return Interval(limit, math.inf) if math.isinf(steps) else Interval(steps, steps)


def speedup(plain: float, deep: float, limit: int) -> Interval:
    """Return how many times fewer steps the second number is, infinite ones being above a limit.

    Parameters
    ----------
    plain, deep : float
        Steps at depth 1 and at another depth, at least 1.
    limit : int
        At least as large as all that are finite.
    """
    own, other = _steps(plain, limit), _steps(deep, limit)
    return Interval(own.low / other.high, own.high / other.low)


def quantile(intervals: Sequence[Interval], part: float) -> Interval:
    """Return where a quantile of numbers lies: the least of them that so many do not exceed."""
    low, high = (
        float(np.quantile(ends, part, method="inverted_cdf"))
        for ends in zip(*intervals, strict=True)
    )
    return Interval(low, high)


class Cell(NamedTuple):
    """A cell of the atlas.

    Attributes
    ----------
    p, condition : float
    alignment : str
    start : float
    depth : int
    kind : str
        Of the rule.
    margin : str
        Of ``MARGINS``.
    target : float
        Of ``TARGETS``.
    speedup : Interval
        The median.
    quartiles : tuple of Interval
        The first and the third.
    plain, deep : Interval
        The median of the steps at depth 1, and that of this one.
    seeds : int
    """

    p: float
    condition: float
    alignment: str
    start: float
    depth: int
    kind: str
    margin: str
    target: float
    speedup: Interval
    quartiles: tuple[Interval, Interval]
    plain: Interval
    deep: Interval
    seeds: int

    @property
    def few(self) -> bool:
        """Whether there are too few steps to compare."""
        return min(self.plain.high, self.deep.high) < FEW


def cells(surveyed: Iterable[Surveyed], settings: Settings) -> Iterator[Cell]:
    """Make the cells of an atlas, for every depth but 1."""
    axes = settings.exponents, settings.conditions, settings.alignments
    groups: dict[tuple[float, float, str], list[Surveyed]] = {
        place: [] for place in itertools.product(*axes)
    }
    for each in surveyed:
        groups[each.task.p, each.task.condition, each.task.alignment].append(each)
    for place in groups:
        for start in settings.starts:
            outcomes = [
                {outcome.rule: outcome for outcome in each.outcomes if outcome.start == start}
                for each in groups[place]
            ]
            for rule in settings.rules(start):
                if rule.depth > 1:
                    yield from _of_rule(place, start, rule, outcomes, settings.steps)


def _of_rule(
    place: tuple[float, float, str],
    start: float,
    rule: Rule,
    outcomes: Sequence[dict[Rule, Outcome]],
    limit: int,
) -> Iterator[Cell]:
    for margin in MARGINS:
        for i, target in enumerate(TARGETS):
            plain, deep = (
                [seed[own].reached[margin][i].steps for seed in outcomes]
                for own in (Rule("network", 1), rule)
            )
            pairs = zip(plain, deep, strict=True)
            quotients = [speedup(one, other, limit) for one, other in pairs]
            yield Cell(
                *place, start, rule.depth, rule.kind, margin, target,
                speedup=quantile(quotients, 0.5),
                quartiles=(quantile(quotients, 0.25), quantile(quotients, 0.75)),
                plain=quantile([_steps(steps, limit) for steps in plain], 0.5),
                deep=quantile([_steps(steps, limit) for steps in deep], 0.5),
                seeds=len(outcomes),
            )  # fmt: skip
