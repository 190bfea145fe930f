"""Trains many curves side by side, in sweeps whose checkpoints are kept: none is made twice."""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from accel._core.optimizers import USUAL_RATES, Momentum
from accel._core.problem import Problem
from accel._optimum.any_problem import optimum
from accel._optimum.optimum import Optimum
from accel._runs import checks, driver
from accel._runs.rates import first_rate
from accel._runs.results import Result
from accel._runs.sweeping import sweep
from accel._support.arrays import Array
from accel.experiments.figures.curves import Curve
from accel.experiments.time_left import TimeLeft, is_wide, sweep_stage
from accel.tuning import Tuned
from accel.tuning.stages import COARSE, GRID, ROUNDS, StagedSearch, first_pilot, stage_steps
from accel.tuning.trials import Trial, distance, distances

__all__ = ["PLAN", "CurveResults", "CurveRunner", "Timing", "data_digest"]

#: Version of the search strategy: sweeps of another one are not resumed.
PLAN = 3
_RECORDS = 2000

#: Results by curve and by the point of the grid that is the learning rate.
CurveResults = dict[tuple[Curve, int], Result]


@dataclass(frozen=True)
class Timing:
    """The cost of a stage.

    Attributes
    ----------
    stage : str
    models, steps : int
    seconds : float
        Of training, over all sittings.
    backend : str
    """

    stage: str
    models: int
    steps: int
    seconds: float
    backend: str


def data_digest(problem: Problem) -> str:
    """Return a hash of the data of a problem."""
    return hashlib.sha256(problem.host.X.tobytes() + problem.host.Y.tobytes()).hexdigest()[:16]


def _digest(parts: Iterable[object]) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:16]


def _bare(curve: Curve) -> Curve:
    """Return a curve without its rate: what it is at one has nothing to do with whose it is."""
    return replace(curve, point=None)


def _asked(
    searches: Mapping[Curve, StagedSearch], stages: Iterable[str], left: dict[Curve, dict[str, int]]
) -> dict[tuple[Curve, int], str]:
    """Return the points that searches ask for in the first of the stages that needs some.

    ``left`` says how often each may ask; it is counted down.
    """
    asked: dict[tuple[Curve, int], str] = {}
    for curve, search in searches.items():
        for stage in stages:
            if left[curve][stage] and (points := search.ask(stage)):
                left[curve][stage] -= 1
                asked |= {(curve, index): stage for index in points}
                break
    return asked


def _other(backend: str) -> list[str]:
    """Return what the backend adds to the key of a sweep: nothing for "cpu", as in older files."""
    return [] if backend == "cpu" else [backend]


@dataclass(eq=False)
class CurveRunner:
    """Trains curves: searches for their learning rates, and runs them at given ones.

    Parameters
    ----------
    make : callable
        ``make(p)`` returns the problem with that exponent.
    state : Path
        Folder of the checkpoints.
    time_left : TimeLeft
    threads : int or None
    backend : str
        As for ``train``.
    rounds : dict of str to int
        How often at most each stage of a search may ask for more.
    """

    make: Callable[[float], Problem]
    state: Path
    time_left: TimeLeft
    threads: int | None = None
    backend: str = "auto"
    rounds: Mapping[str, int] = field(default_factory=lambda: ROUNDS)
    timings: list[Timing] = field(default_factory=list)
    _whole: CurveResults = field(default_factory=dict)  # all runs of full length so far
    _problems: dict[float, tuple[Problem, Optimum]] = field(default_factory=dict)

    def optimum(self, p: float) -> Optimum:
        """Return the optimum of the problem with this exponent."""
        return self._problem(p)[1]

    def described(self) -> dict[str, Any]:
        """Return what a report says of the data, and of the optimum of every problem."""
        if not self._problems:
            return {"sha256": None}
        problem = next(iter(self._problems.values()))[0]
        return {
            "sha256": data_digest(problem),
            **{name: getattr(problem, name) for name in ("n", "d", "k")},
            "dtype": str(problem.dtype),
            "optimum": {
                f"l{p:g}": {"loss": best.loss, "duality_gap": best.duality_gap}
                for p, (_, best) in sorted(self._problems.items())
            },
        }

    def end(self, curve: Curve, result: Result) -> float:
        """Distance from the optimum after the last step; inf if the run diverged."""
        return distance(result, self.optimum(curve.p).loss)

    def distances(self, curve: Curve, result: Result) -> Array:
        """Distance from the optimum at every record of a run."""
        return distances(result, self.optimum(curve.p).loss)

    def tune(self, curves: Iterable[Curve]) -> dict[Curve, Tuned]:
        """Search the best rate of every curve, curves of one problem and length together.

        Curves whose rate is given are trained beside the first whole runs of the others.

        Raises
        ------
        KeyboardInterrupt
            After Ctrl-C, with the sweep's progress saved.
        """
        groups: dict[tuple[float, int], list[Curve]] = {}
        for curve in dict.fromkeys(curves):
            groups.setdefault((curve.p, curve.steps), []).append(curve)
        self.time_left.expect(groups.values())
        tuned: dict[Curve, Tuned] = {}
        for group in groups.values():
            self.time_left.begin_group()
            tuned |= self._tune_group(group)
        self.time_left.begin_group()
        return tuned

    def run_at(self, name: str, wanted: Iterable[tuple[Curve, int]]) -> CurveResults:
        """Train curves in full at points of the grid, those of one problem and length together.

        What has been run in full is not run again.
        """
        wanted = list(dict.fromkeys(wanted))
        groups: dict[tuple[float, int], list[tuple[Curve, int]]] = {}
        for curve, index in wanted:
            if (_bare(curve), index) not in self._whole:
                groups.setdefault((curve.p, curve.steps), []).append((curve, index))
        for (p, steps), jobs in groups.items():
            self.run(f"l{p:g}, {steps} steps: {name}", jobs, steps)
        return {(curve, index): self._whole[_bare(curve), index] for curve, index in wanted}

    def run(self, name: str, jobs: Iterable[tuple[Curve, int]], steps: int) -> CurveResults:
        """Train curves of one problem at points of the grid, for so many steps."""
        jobs = list(dict.fromkeys(jobs))
        if not jobs:
            return {}
        problem, _ = self._problem(jobs[0][0].p)
        models = [
            (curve.start.network(problem, curve.model), curve.model.at(GRID.rate(index)))
            for curve, index in jobs
        ]
        limited = checks.limits(steps, None, 0.0, None)
        backend = driver.backend_for(problem, models, limited, self.backend)
        key = _digest([PLAN, data_digest(problem), problem, steps, *jobs, *_other(backend)])
        self.state.mkdir(parents=True, exist_ok=True)
        path = self.state / f"{key}.npz"
        stage = sweep_stage(name, [curve for curve, _ in jobs], steps)
        callback = self.time_left.begin(stage, resumed=path.exists())
        swept = sweep(
            problem, models, steps, record_every=-(-steps // _RECORDS), callback=callback,
            backend=backend, threads=self.threads, checkpoint=path,
        )  # fmt: skip
        if swept.status == "interrupted":
            raise KeyboardInterrupt
        self.time_left.end()
        self.timings.append(Timing(name, len(jobs), steps, swept.seconds, backend))
        runs = dict(zip(jobs, swept.results, strict=True))
        for (curve, index), result in runs.items():
            if curve.steps == steps:
                self._whole[_bare(curve), index] = result
        return runs

    def _problem(self, p: float) -> tuple[Problem, Optimum]:
        if p not in self._problems:
            problem = self.make(p)
            self._problems[p] = problem, optimum(problem)
        return self._problems[p]

    def _tune_group(self, curves: list[Curve]) -> dict[Curve, Tuned]:
        p, steps = curves[0].p, curves[0].steps
        problem, best = self._problem(p)
        searches = {curve: self._search(problem, curve) for curve in curves if curve.point is None}
        left = {curve: dict(self.rounds) for curve in searches}
        given = [(curve, curve.point) for curve in curves if curve.point is not None]
        found: dict[Curve, Tuned] = {}
        # Runs of all stages of one length are trained in few sweeps of many models: there each
        # curve goes on to its next stage as soon as it can.
        lengths: dict[int, list[str]] = {}
        for stage in self.rounds:
            lengths.setdefault(stage_steps(stage, steps), []).append(stage)
        for length, stages in lengths.items():
            for number in itertools.count(1):
                asked = _asked(searches, stages, left)
                jobs = [*asked, *(given if length == steps and not found else [])]
                if not jobs:
                    break
                told = " and ".join(dict.fromkeys(asked.values())) or "given rates"
                runs = self.run(f"l{p:g}, {steps} steps: {told} {number}", jobs, length)
                for (curve, index), result in runs.items():
                    if curve in searches:
                        searches[curve].tell(asked[curve, index], index, result, best.loss)
                    else:
                        found[curve] = self._given(curve, GRID.rate(index), result)
        found |= {curve: search.outcome(curve.model) for curve, search in searches.items()}
        return {curve: found[curve] for curve in curves}

    def _search(self, problem: Problem, curve: Curve) -> StagedSearch:
        """Return the search for the rate of a curve."""
        optimizer = curve.model.optimizer
        dense = problem.form() == "gram"
        adaptive = optimizer in USUAL_RATES
        reach = None
        if not dense and not adaptive:
            # The effective rate of plain descent grows with the factors, the more the deeper; what
            # survives at first at depth 1, or with momentum, is likely to survive.
            depth = curve.model.depth
            drifts = depth > 1 and optimizer != Momentum.name
            reach = (min(depth, 3), int(drifts))
        search = StagedSearch(first_pilot(first_rate(problem, optimizer)), dense, reach=reach)
        if is_wide(curve):  # the factors cost more than the data, which are not read
            search.spacing = COARSE
        return search

    def _given(self, curve: Curve, rate: float, result: Result) -> Tuned:
        """The outcome of the one run of a curve whose rate is given."""
        trial = Trial(rate, self.end(curve, result), result.steps, result.diverged_at)
        return Tuned(curve.model, trial, result, at_edge=False, trials=(trial,))
