r"""A search that makes one run at a time: it walks over a grid with smaller and smaller strides.

The rates of a grid are :math:`10^{i/m}`, m points a decade. A model's score at a rate is its
distance from the optimum after the last step; a run that diverged, at whatever step, has none. From
a rate that the curvature suggests the search walks by half a decade as long as that improves the
score, halves its stride, and so on down to neighbours on the grid. Every model gets the same
treatment, depth 1 included: a comparison is worth what the tuning of the loser is worth.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from accel._runs.results import Result
from accel._support import showing
from accel.tuning.models import Model
from accel.tuning.trials import Grid, Score, Scores, Trial, Tuned, distance, score_on_grid

__all__ = ["Search"]


@dataclass
class Search:
    """The search for one model's rate.

    Attributes
    ----------
    grid : Grid
    middle : int
        The point of the grid where the walk begins.
    floor : float
        A distance that is no more than rounding errors: of runs that come so close the one with the
        fewest steps is the best.
    run : callable
        ``run(rate, number)`` makes a run and returns its ``Result``; called once for any rate.
    loss : float
        The optimal one.
    trials : dict of int to Trial
        By point of the grid.
    result : Result or None
        Of the best trial.
    """

    grid: Grid
    middle: int
    floor: float
    run: Callable[[float, int], Result]
    loss: float
    trials: dict[int, Trial] = field(default_factory=dict)
    result: Result | None = None
    _scores: Scores[int] = field(default_factory=Scores, init=False, repr=False)

    def __repr__(self) -> str:
        return showing.line(self, middle=self.middle, trials=len(self.trials), result=self.result)

    def walk(self) -> None:
        """Search; ends with a KeyboardInterrupt if a run was interrupted."""
        first, last = self.bounds
        here = min(max(self.middle, first), last)
        self._try(here)
        stride = max(1, self.grid.points // 2)
        while stride:
            # Upwards first: a rate that is too high costs least, for it diverges early.
            for change in (stride, -stride):
                while first <= here + change <= last and self._try(here + change):
                    here += change
            stride //= 2

    @property
    def bounds(self) -> tuple[int, int]:
        """The first and the last point of the grid."""
        return self.grid.bounds(self.middle)

    @property
    def best(self) -> int | None:
        """The point of the best trial; None before the first."""
        return self._scores.best if self._scores else None

    def _try(self, point: int) -> bool:
        """Make a run, unless it was made; whether it is now the best."""
        if point not in self.trials:
            rate = self.grid.rate(point)
            result = self.run(rate, len(self.trials) + 1)
            if result.status == "interrupted":
                raise KeyboardInterrupt
            trial = Trial(rate, distance(result, self.loss), result.steps, result.diverged_at)
            self.trials[point], self._scores[point] = trial, self._score(point, trial)
            if self.best == point:
                self.result = result
        return self.best == point

    def _score(self, point: int, trial: Trial) -> Score:
        if trial.distance <= self.floor:
            return score_on_grid(0.0, point, trial.steps)
        return score_on_grid(trial.distance, point)

    def outcome(self, model: Model) -> Tuned:
        """Return the best trial and all others; at least one run has been made."""
        assert self.best is not None
        assert self.result is not None
        return Tuned(
            model=model,
            trial=self.trials[self.best],
            result=self.result,
            at_edge=self.best in self.bounds,
            trials=tuple(self.trials[point] for point in sorted(self.trials)),
        )
