"""Bands: a line once more at fixed shares of the largest rate that survives, and from other seeds.

The best rate of a search is often the largest of its grid that survives, and whether a rate
survives a million steps may be decided by its last digit. What is said of such a line should not
hang on that. So claims about it are judged at the places of a band: at 0.5, 0.7 and 0.9 times the
largest rate that survived, each from a seed of its own, unless runs below that rate diverge: see
``make``. A rule that rescales the gradient diverges at no rate that one would use: its line stands
at its best rate everywhere. So does one whose rate is given.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from accel._core.optimizers import USUAL_RATES
from accel._runs.results import Result
from accel._support.arrays import Array
from accel.experiments.figures.curves import Claim, Curve, Figure
from accel.experiments.runner import CurveRunner
from accel.tuning import Tuned
from accel.tuning.stages import COARSE, GRID

__all__ = ["PLACES", "Band", "Bands", "Place", "held", "make"]

Job = tuple[Curve, int]


@dataclass(frozen=True)
class Place:
    """Where in its band a curve is looked at.

    Attributes
    ----------
    share : float
        Of the largest learning rate that survived; the nearest point of the grid is taken, at most
        3.3 % away.
    seed : int
        Added to the seed of the curve.
    """

    share: float
    seed: int


#: The places of every band.
PLACES = (Place(0.5, 0), Place(0.7, 1), Place(0.9, 2))


def _limit(curve: Curve, tuned: Tuned) -> int | None:
    """Return the largest rate that survived the whole run; None if no rate is the limit."""
    if curve.model.optimizer in USUAL_RATES or curve.point is not None:
        return None
    whole = [
        trial.rate
        for trial in tuned.trials
        if trial.steps == curve.steps and math.isfinite(trial.distance)
    ]
    return GRID.index(max(whole)) if whole else None


def _jobs(curve: Curve, limit: int) -> tuple[Job, ...]:
    """Return the runs that stand for a curve, one a place."""
    jobs = []
    for place in PLACES:
        # At depth 1 the problem is convex, and the starts of all seeds are next to zero.
        seed = curve.start.seed + (place.seed if curve.model.depth > 1 else 0)
        other = replace(curve, start=replace(curve.start, seed=seed))
        jobs.append((other, limit + GRID.index(place.share)))
    return tuple(jobs)


@dataclass(frozen=True)
class Band:
    """The runs of one curve, one a place.

    Attributes
    ----------
    jobs : tuple of (Curve, int)
        What was run at every place: the curve, from another seed perhaps, and the point of the
        grid.
    results : tuple of Result
    ends : tuple of float
        Distances from the optimum after the last step; inf for runs that diverged.
    limit : float or None
        The rate that the places are shares of; None for a line that stands at its own.
    lowered : bool
        Whether that is below the largest that survived, since runs below that one diverged.
    """

    jobs: tuple[Job, ...]
    results: tuple[Result, ...]
    ends: tuple[float, ...]
    limit: float | None
    lowered: bool

    def envelope(self, distances: Iterable[Array]) -> tuple[Array, Array, Array]:
        """Return the steps recorded, and the least and the largest distance at each of them.

        Parameters
        ----------
        distances : iterable of (m,) arrays
            Of every run. A run that diverged counts as long as it lasts.
        """
        longest = max((result.history.step for result in self.results), key=len)
        table = np.full((len(self.results), len(longest)), math.nan)
        for row, values in zip(table, distances, strict=True):
            row[: len(values)] = values
        return longest, np.nanmin(table, axis=0), np.nanmax(table, axis=0)


_ROUNDS = 8  # of limits that are too high
_STRIDE = COARSE // 3  # points of the grid between rates of twelve a decade

#: By curve.
Bands = Mapping[Curve, Band]


def make(
    runner: CurveRunner,
    figures: Iterable[Figure],
    tuned: Mapping[Curve, Tuned],
    others: Iterable[Job] = (),
) -> dict[Curve, Band]:
    """Run the bands of all lines that claims are judged over.

    Where a run of a band diverges, the largest rate survived by chance. Then the limit is lowered
    to a twelfth of a decade below the lowest rate that diverged, until no run of the band does.

    Parameters
    ----------
    runner : CurveRunner
    figures : iterable of Figure
    tuned : dict of Curve to Tuned
    others : iterable of (Curve, int)
        Curves at points of the grid that are run side by side with them.

    Returns
    -------
    dict of Curve to Band
    """
    curves = [
        line.curve for figure in figures for line in figure.lines if line.label in figure.banded
    ]
    if not curves:
        return {}
    first = {curve: _limit(curve, tuned[curve]) for curve in curves}
    limits = dict(first)
    beside = list(others)
    for number in range(1, _ROUNDS + 1):
        jobs = {
            curve: ((curve, GRID.index(tuned[curve].rate)),) * len(PLACES)
            if limit is None
            else _jobs(curve, limit)
            for curve, limit in limits.items()
        }
        wanted = [*beside, *(job for places in jobs.values() for job in places)]
        runs = runner.run_at(f"bands {number}", wanted)
        bands = {}
        for curve, places in jobs.items():
            results = tuple(runs[job] for job in places)
            ends = tuple(runner.end(curve, result) for result in results)
            limit = limits[curve]
            rate = None if limit is None else GRID.rate(limit)
            bands[curve] = Band(places, results, ends, rate, limit != first[curve])
            diverged = [
                index for (_, index), end in zip(places, ends, strict=True) if end == math.inf
            ]
            if diverged and limit is not None:
                limits[curve] = min(diverged) - _STRIDE
        if not any(math.inf in band.ends and band.limit is not None for band in bands.values()):
            break
    return bands


def held(figure: Figure, claim: Claim, bands: Bands) -> list[bool]:
    """Return whether a claim holds, at every place of the bands of its lines."""
    curves = {line.label: line.curve for line in figure.lines}
    return [
        claim({label: bands[curves[label]].ends[number] for label in claim.labels})
        for number in range(len(PLACES))
    ]
