r"""Which learning rates a curve is run at: a search in stages, for many curves at a time.

``tuning.Search`` runs one rate after the other. Here all curves of a problem are trained side by
side, so a search has to ask for several rates at once, and for few: runs of full length are dear.

1. ``pilot``: a fiftieth of the steps on a coarse grid of four decades, wider while its best rate is
   at an edge. It only says where to look, and which rates are hopeless: a run that diverged in the
   pilot diverges in the full run too, for it begins with the same steps.
2. ``bracket``: full length, on the coarse grid, around the pilot's best; farther while the best has
   no surviving neighbour below or no neighbour above. A rate that the pilot liked may diverge late:
   the effective rate of a factored model grows with the norm of its end-to-end matrix.
3. ``refine``: full length, between the best and its neighbours: at thirds of the gap to one that
   diverged (the best rate is usually just under the largest that survives), halfway to ones that
   survived.

The score of a rate is the distance from the optimum at the end of the whole run: its mean over the
last tenth of the records. The last step alone would be a lottery where a rate is at the edge of
stability: there curves of factored models jump up by decades now and then and come back.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from accel.results import Result
from accel.tuning import Grid, Model, Trial, Tuned

__all__ = ["GRID", "ROUNDS", "RateSearch", "first_pilot", "stage_steps"]

#: The finest grid; every rate is one of its points.
GRID = Grid(points=36)
#: The stages, and how often at most each may ask for more.
ROUNDS = {"pilot": 8, "bracket": 6, "refine": 2}
_PILOT = 50  # the pilot's steps are the run's by this
_LEAST_PILOT = 500  # steps: fewer do not leave the saddle that near-zero starts begin at
_COARSE = GRID.points // 4
_TAIL = 10  # the part of the records, from the end, that is judged: one by this
_SPAN = 2 * GRID.points  # either side of where the pilot begins

Scores = dict[int, float]  # by point; inf for a run that diverged


def stage_steps(stage: str, steps: int) -> int:
    """Return the length of the runs of a stage, where a whole run has so many steps."""
    return max(steps // _PILOT, min(_LEAST_PILOT, steps)) if stage == "pilot" else steps


def first_pilot(rate: float) -> list[int]:
    """Return the points of the first pilot: four decades around a rate."""
    middle = GRID.index(rate)
    return list(range(middle - _SPAN, middle + _SPAN + 1, _COARSE))


def _score(result: Result, optimum: float) -> float:
    if result.status == "diverged":
        return math.inf
    tail = result.history.loss[-max(1, len(result.history) // _TAIL) :]
    return float(np.maximum(tail - optimum, 0.0).mean())


def _best(scores: Scores) -> int | None:
    """Return the point of the least score, the highest of several; None if all diverged."""
    alive = [index for index, score in scores.items() if score < math.inf]
    return min(alive, key=lambda index: (scores[index], -index), default=None)


def _missing(scores: Scores, reach: int) -> list[int]:
    """Return points, up to so many coarse steps beyond an edge, that bracket the best rate."""
    best, low = _best(scores), min(scores)
    beyond = range(_COARSE, (reach + 1) * _COARSE, _COARSE)
    points = []
    if best == max(scores):
        points += [best + step for step in beyond]
    if best is None or not any(index < best and scores[index] < math.inf for index in scores):
        points += [low - step for step in beyond]
    return points


@dataclass(eq=False)
class RateSearch:
    """The search for the learning rate of one curve.

    Attributes
    ----------
    first : list of int
        Points of ``GRID`` that the pilot begins with.
    pilot, scores : dict of int to float
        By point; of short runs, and of full ones (those that diverged in the pilot included).
    trials : dict of int to Trial
        What ``scores`` are the scores of.
    results : dict of int to Result
        The full runs.
    """

    first: list[int]
    pilot: Scores = field(default_factory=dict)
    scores: Scores = field(default_factory=dict)
    trials: dict[int, Trial] = field(default_factory=dict)
    results: dict[int, Result] = field(default_factory=dict)

    def ask(self, stage: str) -> list[int]:
        """Return the points that a stage of ``ROUNDS`` still needs."""
        return {"pilot": self._pilot, "bracket": self._bracket, "refine": self._refine}[stage]()

    def tell(self, stage: str, index: int, result: Result, optimum: float) -> None:
        """Take in a run that was asked for, on a problem with this optimal loss."""
        score = _score(result, optimum)
        if stage == "pilot":
            self.pilot[index] = score
        else:
            self.results[index] = result
        if stage != "pilot" or math.isinf(score):
            distance = math.inf if math.isinf(score) else max(result.loss - optimum, 0.0)
            self.scores[index] = score
            self.trials[index] = Trial(GRID.rate(index), distance, result.steps, result.diverged_at)

    def _pilot(self) -> list[int]:
        return _missing(self.pilot, _SPAN // _COARSE) if self.pilot else self.first

    def _bracket(self) -> list[int]:
        if self.results:
            return _missing(self.scores, 2)
        best = _best(self.pilot)
        middle = min(self.pilot) if best is None else best
        points = [middle + _COARSE, middle, middle - _COARSE]
        return [point for point in points if point not in self.scores]

    def _refine(self) -> list[int]:
        best = _best(self.scores)
        if best is None or self.at_edge:
            return []
        low = max(index for index in self.scores if index < best)
        high = min(index for index in self.scores if index > best)
        if math.isinf(self.scores[high]):
            points = {best + (high - best) * third // 3 for third in (1, 2)}
        else:
            points = {(low + best) // 2, (best + high) // 2}
        return sorted(points - self.scores.keys())

    @property
    def at_edge(self) -> bool:
        """Whether a better rate may lie outside of what was tried."""
        return bool(_missing(self.scores, 1))

    def outcome(self, model: Model) -> Tuned:
        """Say what was found; a full run has been made."""
        best = _best(self.scores)
        best = min(self.results) if best is None else best
        return Tuned(
            model=model,
            trial=self.trials[best],
            result=self.results[best],
            at_edge=self.at_edge,
            trials=tuple(self.trials[index] for index in sorted(self.trials)),
        )
