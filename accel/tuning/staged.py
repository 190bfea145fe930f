r"""Which learning rates a curve is run at: a search in stages, for many curves at a time.

``tuning.Search`` runs one rate after the other. Here all curves of a problem are trained side by
side, so a search has to ask for several rates at once, and for few: runs of full length are dear.

1. ``pilot``: a fiftieth of the steps on a coarse grid of four decades, wider while its best rate is
   at an edge; ``scout``: a fifth of the steps, around the pilot's best. They only say where to
   look, and which rates are hopeless: a run that diverged in a short stage diverges in the full one
   too, for it begins with the same steps.
2. ``bracket``: full length, on the coarse grid, around the scout's best; farther while the best has
   no surviving neighbour below or no neighbour above. A neighbour below that the scout found behind
   by a fifth is not run in full: its shorter run stands for it. A rate that a short run liked may
   diverge late: the effective rate of a factored model grows with the norm of its end-to-end
   matrix.
   Where steps are cheap (p = 2, X is not read) there is no scout and the bracket is ``dense``. It
   has to be: above the rates at which a factored model descends smoothly come others at which its
   factors jump until they are unbalanced enough to go on slowly, a second valley of the score.
3. ``refine``: full length, between the best and its neighbours: at thirds of the gap to one that
   diverged (the best rate is usually just under the largest that survives), halfway to ones that
   survived, unless they are as good within 5 %.

The score of a rate is the distance from the optimum at the end of the whole run: its mean over the
last tenth of the records. The last step alone would be a lottery where a rate is at the edge of
stability: there curves of factored models jump up by decades now and then and come back.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from accel._runs.results import Result
from accel.tuning.search import Grid, Model, Trial, Tuned

__all__ = ["GRID", "ROUNDS", "RateSearch", "first_pilot", "stage_steps"]

#: The finest grid; every rate is one of its points.
GRID = Grid(points=36)
#: The stages, and how often at most each may ask for more.
ROUNDS = {"pilot": 8, "scout": 4, "bracket": 6, "refine": 2}
_SHORT = {"pilot": 50, "scout": 5}  # their steps are the whole run's by this
_LEAST = 500  # steps: fewer do not leave the saddle that near-zero starts begin at
_COARSE = GRID.points // 4
_DENSE = GRID.points // 9
_FLAT = 1.05  # a score over the best one that is as good
_BEHIND = 1.2  # a scout's score over its best one that needs no longer run
_TAIL = 10  # the part of the records, from the end, that is judged: one by this
_SPAN = 2 * GRID.points  # either side of where the pilot begins

Scores = dict[int, float]  # by point; inf for a run that diverged


def stage_steps(stage: str, steps: int) -> int:
    """Return the length of the runs of a stage, where a whole run has so many steps."""
    return max(steps // _SHORT.get(stage, 1), min(_LEAST, steps))


def first_pilot(rate: float) -> list[int]:
    """Return the points of the first pilot: four decades around a rate."""
    middle = GRID.index(rate)
    return list(range(middle - _SPAN, middle + _SPAN + 1, _COARSE))


def _score(result: Result, optimum: float) -> float:
    if result.status == "diverged":
        return math.inf
    tail = result.history.loss[-max(1, len(result.history) // _TAIL) :]
    with np.errstate(over="ignore"):  # a run about to diverge counts as one that did
        return float(np.maximum(tail - optimum, 0.0).mean())


def _best(scores: Scores) -> int | None:
    """Return the point of the least score, the highest of several; None if all diverged."""
    alive = [index for index, score in scores.items() if score < math.inf]
    return min(alive, key=lambda index: (scores[index], -index), default=None)


def _middle(scores: Scores) -> int:
    best = _best(scores)
    return min(scores) if best is None else best


def _new(points: list[int], known: Scores) -> list[int]:
    return [point for point in points if point not in known]


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
    dense : bool
        Whether full runs are cheap, so that there may be many.
    pilot, scout, scores : dict of int to float
        Scores by point, of the two short stages and of full runs; those that diverged in a shorter
        run included.
    trials : dict of int to Trial
        What ``scores`` are the scores of.
    results : dict of int to Result
        The full runs.
    """

    first: list[int]
    dense: bool = False
    pilot: Scores = field(default_factory=dict)
    scout: Scores = field(default_factory=dict)
    scores: Scores = field(default_factory=dict)
    trials: dict[int, Trial] = field(default_factory=dict)
    results: dict[int, Result] = field(default_factory=dict)
    _scouted: dict[int, Trial] = field(default_factory=dict)

    def ask(self, stage: str) -> list[int]:
        """Return the points that a stage of ``ROUNDS`` still needs."""
        asks = {"pilot": self._pilot, "scout": self._scout, "bracket": self._bracket}
        return asks.get(stage, self._refine)()

    def tell(self, stage: str, index: int, result: Result, optimum: float) -> None:
        """Take in a run that was asked for, on a problem with this optimal loss."""
        score = _score(result, optimum)
        diverged = math.isinf(score)
        if stage == "pilot":
            self.pilot[index] = score
        distance = math.inf if diverged else max(result.loss - optimum, 0.0)
        trial = Trial(GRID.rate(index), distance, result.steps, result.diverged_at)
        if stage == "scout" or (stage == "pilot" and diverged):
            self.scout[index], self._scouted[index] = score, trial
        if stage not in _SHORT:
            self.results[index] = result
        if stage not in _SHORT or diverged:
            self.scores[index], self.trials[index] = score, trial

    def _pilot(self) -> list[int]:
        return _missing(self.pilot, _SPAN // _COARSE) if self.pilot else self.first

    def _scout(self) -> list[int]:
        if self.dense:
            return []
        if self.scout.keys() - self.pilot.keys() or _best(self.scout) is not None:
            return _missing(self.scout, 2)
        middle = _middle(self.pilot)
        return _new([middle + _COARSE, middle, middle - _COARSE, middle - 2 * _COARSE], self.scout)

    def _bracket(self) -> list[int]:
        if self.results:
            best = _middle(self.scores)
            alive = {index for index, score in self.scores.items() if score < math.inf}
            # Not below the best any more: a run that it was behind has diverged late, or lost.
            doubtful = [index for index in alive - self.results.keys() if index >= best]
            return doubtful or _missing(self.scores, 2)
        if self.dense:
            middle = _middle(self.pilot)
            points = list(range(middle - 6 * _COARSE, middle + _COARSE + 1, _DENSE))
            return _new(points, self.scores)
        middle = _middle(self.scout)
        below = middle - _COARSE
        if _BEHIND * self.scout[middle] < self.scout.get(below, math.inf) < math.inf:
            self.scores[below], self.trials[below] = self.scout[below], self._scouted[below]
        points = [middle + _COARSE, middle, below]
        if middle < _middle(self.pilot):  # its limit falls with the length of the run
            points.append(middle - 2 * _COARSE)
        return _new(points, self.scores)

    def _refine(self) -> list[int]:
        best = _best(self.scores)
        if best is None or self.at_edge:
            return []
        low = max(index for index in self.scores if index < best)
        high = min(index for index in self.scores if index > best)
        if math.isinf(self.scores[high]):
            points = {best + (high - best) * third // 3 for third in (1, 2)}
        else:
            as_good = _FLAT * self.scores[best]
            points = {(best + other) // 2 for other in (low, high) if self.scores[other] > as_good}
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
