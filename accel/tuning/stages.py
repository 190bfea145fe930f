r"""A search in stages, for many curves side by side: which learning rates a curve is run at.

All curves of a problem are trained together, so that the search of each has to ask for several
rates at once, and for few: runs of full length are expensive.

1. ``pilot``: a fiftieth of the steps on a coarse grid of four decades, wider while its best rate is
   at an edge; ``scout``: a fifth of the steps, around the pilot's best. They only say where to
   look, and which rates are hopeless: what diverged in a short stage would diverge in the full one
   too, since it begins with the same steps.
2. ``bracket``: full length, on the coarse grid, around the scout's best; farther while the best has
   no surviving neighbour below or no neighbour above. A neighbour above whose scout was worse by a
   twentieth is not run in full: its shorter run stands for it, since longer runs are likely to want
   lower rates. A rate that was good in a short run may diverge late: the effective rate of a
   factored model grows with the norm of its end-to-end matrix.
   Where steps are cheap (p = 2, X is not read) there is no scout and the bracket is ``dense``. It
   has to be: above the rates at which a factored model descends smoothly come others at which its
   factors jump until they are unbalanced enough to go on slowly, a second valley of the score.
   Elsewhere the best rate of a rule that does not rescale the gradient is next to the largest that
   survives. Then only that limit is looked for, from above: no run below a survivor is needed.
3. ``refine``: full length, between the best and its neighbours: at thirds of the gap to one that
   diverged (the best rate is usually just under the largest that survives), halfway to ones that
   survived and are worse by a quarter, in a dense search by a twentieth.

The score of a rate is the distance from the optimum at the end of the whole run: its mean over the
last tenth of the records. The last step alone would be a matter of chance where a rate is at the
edge of stability: there curves of factored models jump up by decades now and then and come back.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from accel._runs.results import Result
from accel.tuning.models import Model
from accel.tuning.trials import Grid, Scores, Trial, Tuned, distance, distances, score_on_grid

__all__ = ["COARSE", "GRID", "ROUNDS", "StagedSearch", "first_pilot", "stage_steps"]

#: The finest grid; every rate is one of its points.
GRID = Grid(points=36)
#: The stages, and how often at most each may ask for more.
ROUNDS = {"pilot": 8, "scout": 4, "bracket": 6, "refine": 2}
_SHORT = {"pilot": 50, "scout": 5}  # the steps of a whole run are divided by this
_LEAST = 500  # steps: fewer do not leave the saddle at which near-zero networks begin
#: Points of the grid between rates of the coarse grid, four a decade.
COARSE = GRID.points // 4
_DENSE = GRID.points // 9
_FLAT, _FLAT_DENSE = 1.25, 1.05  # times the best score: little is to be had halfway there
_BEHIND = 1.05  # times the best score of the scout: too bad for a longer run at a higher rate
_TAIL = 10  # the score is the mean over the last tenth of the records
_SPAN = 2 * GRID.points  # either side of where the pilot begins


def stage_steps(stage: str, steps: int) -> int:
    """Return the length of the runs of a stage, where a whole run has so many steps."""
    return max(steps // _SHORT.get(stage, 1), min(_LEAST, steps))


def first_pilot(rate: float) -> list[int]:
    """Return the points of the first pilot: four decades around a rate."""
    middle = GRID.index(rate)
    return list(range(middle - _SPAN, middle + _SPAN + 1, COARSE))


def _mean_distance(result: Result, optimum: float) -> float:
    """Mean distance from the optimum over the end of a run; inf if it diverged."""
    if result.status == "diverged":
        return math.inf
    with np.errstate(over="ignore"):  # a run about to diverge counts as one that did
        tail = distances(result, optimum)[-max(1, len(result.history) // _TAIL) :]
        return float(tail.mean())


def _new(points: list[int], known: Scores[int]) -> list[int]:
    return [point for point in points if point not in known]


def _missing(scores: Scores[int], reach: int, limited: bool = False) -> list[int]:
    """Return points, up to so many coarse steps beyond an edge, that bracket the best rate.

    If it is limited by survival, any survivor will do as the lower end of the bracket.
    """
    beyond = range(COARSE, (reach + 1) * COARSE, COARSE)
    points = []
    if scores.open_above:
        points += [scores.best + step for step in beyond]
    below = scores.survivors if limited else [p for p in scores.survivors if p < scores.best]
    if not below:
        points += [min(scores) - step for step in beyond]
    return points


@dataclass(eq=False)
class StagedSearch:
    """The search for the learning rate of one curve.

    Attributes
    ----------
    first : list of int
        Points of ``GRID`` that the pilot begins with.
    dense : bool
        Whether full runs are cheap, so that there may be many.
    spacing : int
        Of the points of a dense bracket.
    reach : tuple of (int, int) or None
        Of a rule whose best rate is next to the largest that survives: how many coarse steps below
        the best of the stage before the scout and the bracket begin, since longer runs survive at
        lower rates. None for other rules, and where the search is dense.
    pilot, scout, scores : Scores
        By point: of the two short stages, and of full runs together with those that diverged in a
        short one.
    trials : dict of int to Trial
        What ``scores`` are the scores of.
    results : dict of int to Result
        The full runs.
    """

    first: list[int]
    dense: bool = False
    spacing: int = _DENSE
    reach: tuple[int, int] | None = None
    pilot: Scores[int] = field(default_factory=Scores)
    scout: Scores[int] = field(default_factory=Scores)
    scores: Scores[int] = field(default_factory=Scores)
    trials: dict[int, Trial] = field(default_factory=dict)
    results: dict[int, Result] = field(default_factory=dict)
    _scouted: dict[int, Trial] = field(default_factory=dict)
    _begun: set[str] = field(default_factory=set)  # stages that have asked for points

    def ask(self, stage: str) -> list[int]:
        """Return the points that a stage of ``ROUNDS`` still needs."""
        asks = {
            "pilot": self._pilot,
            "scout": self._scout,
            "bracket": self._bracket,
            "refine": self._refine,
        }
        points = asks[stage]()
        self._begun.add(stage)
        return points

    def tell(self, stage: str, index: int, result: Result, optimum: float) -> None:
        """Take in a run that was asked for, on a problem with this optimal loss."""
        value = _mean_distance(result, optimum)
        diverged = math.isinf(value)
        score = score_on_grid(value, index)
        end = math.inf if diverged else distance(result, optimum)
        trial = Trial(GRID.rate(index), end, result.steps, result.diverged_at)
        if stage == "pilot":
            self.pilot[index] = score
        if stage == "scout" or (stage == "pilot" and diverged):
            self.scout[index], self._scouted[index] = score, trial
        if stage not in _SHORT:
            self.results[index] = result
        if stage not in _SHORT or diverged:
            self.scores[index], self.trials[index] = score, trial

    def _pilot(self) -> list[int]:
        return _missing(self.pilot, _SPAN // COARSE) if self.pilot else self.first

    def _scout(self) -> list[int]:
        if self.dense:
            return []
        first = [] if "scout" in self._begun else self._first_scout()
        return first or _missing(self.scout, 2, self._limited)

    def _first_scout(self) -> list[int]:
        middle = self.pilot.best
        down = 2 if self.reach is None else self.reach[0]
        points = list(range(middle + COARSE, middle - (down + 1) * COARSE, -COARSE))
        return _new(points, self.scout)

    def _bracket(self) -> list[int]:
        first = [] if "bracket" in self._begun else self._first_bracket()
        if first:
            return first
        # A shorter run stands for a rate above the best. If it is not worse any more, the run that
        # was better diverged late or fell behind: now it is needed in full.
        best = self.scores.best
        doubtful = [best] if self.scores.survived(best) and best not in self.results else []
        return doubtful or _missing(self.scores, 1 if self._limited else 2, self._limited)

    def _first_bracket(self) -> list[int]:
        if self.dense:
            middle = self.pilot.best
            points = list(range(middle - 6 * COARSE, middle + COARSE + 1, self.spacing))
            return _new(points, self.scores)
        middle = self.scout.best
        above = middle + COARSE
        survived = above in self.scout and self.scout.survived(above)
        if survived and _BEHIND * self.scout.value(middle) < self.scout.value(above):
            self.scores[above], self.trials[above] = self.scout[above], self._scouted[above]
        below = 1 if self.reach is None else self.reach[1]
        return _new(list(range(above, middle - (below + 1) * COARSE, -COARSE)), self.scores)

    def _refine(self) -> list[int]:
        if self.at_edge:
            return []
        best = self.scores.best
        near = self.scores.neighbours(best)  # the last of them lies above the best
        if not self.scores.survived(near[-1]):
            points = {best + (near[-1] - best) * third // 3 for third in (1, 2)}
        else:
            bound = (_FLAT_DENSE if self.dense else _FLAT) * self.scores.value(best)
            steep = [other for other in near if self.scores.value(other) > bound]
            points = {(best + other) // 2 for other in steep if other in self.results}
        return sorted(points - self.scores.keys())

    @property
    def at_edge(self) -> bool:
        """Whether a better rate may lie beyond those that were tried."""
        return bool(_missing(self.scores, 1, self._limited))

    @property
    def _limited(self) -> bool:
        """Whether only the largest rate that survives is looked for."""
        return self.reach is not None

    def outcome(self, model: Model) -> Tuned:
        """Return the best trial and all others; at least one full run has been made."""
        best = self.scores.best if self.scores.survivors else min(self.results)
        return Tuned(
            model=model,
            trial=self.trials[best],
            result=self.results[best],
            at_edge=self.at_edge,
            trials=tuple(self.trials[index] for index in sorted(self.trials)),
        )
