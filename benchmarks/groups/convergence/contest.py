"""All methods on one problem: search, check, one run with checkpoints each, then the rounds."""

import functools
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from accel.tuning import Model, Start
from benchmarks.groups.convergence import methods, race
from benchmarks.groups.convergence.methods import LIBRARIES, OURS, TORCH, DivergedError, Fresh, Task
from benchmarks.groups.convergence.problems import TOLERANCES, Problem
from benchmarks.groups.convergence.search import Searched, search
from benchmarks.groups.convergence.solvers import SOLVERS, Point, Solver
from benchmarks.harness import records
from benchmarks.harness.reference import CHECK_STEPS, TOLERANCE, difference
from benchmarks.harness.timing import PAUSE, in_turn, seconds_each
from benchmarks.peers.common import Gap, one_line

_HOPELESS = 0.1  # of the budget, for a run that cannot come within any tolerance at its speed
_POINTS = 25  # of a curve in the record


@dataclass
class Entrant:
    """A method in one library, or a solver, with its facts and its samples.

    ``samples`` has the seconds to each tolerance, one a round.
    """

    method: str
    library: str
    gap: str = ""
    note: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    steps: dict[float, int] = field(default_factory=dict)
    ended: str = ""
    task: Task | None = None
    fresh: Fresh | None = None
    solver: Solver | None = None
    samples: dict[float, list[float]] = field(default_factory=dict)

    def rounds(self, most: int, budget: float) -> int:
        """How often it is timed: for half the budget, but once if it comes near at all."""
        within = arrivals(self.points)
        if not within:
            return 0
        # A solver goes on to its end; a descent is timed to the last tolerance that it met.
        longest = max(within.values()) if self.solver is None else self.points[-1][0]
        return max(1, min(most, int(0.5 * budget / max(longest, 1e-9))))

    def run(self) -> None:
        """One more sample of each tolerance that it comes within."""
        if self.solver is not None:
            times = arrivals(self.solver.solve())
        else:
            assert self.task is not None
            assert self.fresh is not None
            tolerances = [t for t in TOLERANCES if t in self.steps]
            seconds = race.timed(self.task, self.fresh, [self.steps[t] for t in tolerances])
            times = dict(zip(tolerances, seconds, strict=True))
        for tolerance, seconds in times.items():
            # Six digits are enough, and there are many samples.
            self.samples.setdefault(tolerance, []).append(float(f"{seconds:.6g}"))

    def settle(self) -> None:
        """Keep what every round came within: a solver may be cut off just before it arrives."""
        most = max(map(len, self.samples.values()), default=0)
        self.samples = {t: samples for t, samples in self.samples.items() if len(samples) == most}


def arrivals(points: Iterable[Point]) -> dict[float, float]:
    """Seconds of the first point within each tolerance, where there is one."""
    times: dict[float, float] = {}
    for seconds, distance in points:
        for tolerance in TOLERANCES:
            if distance <= tolerance:
                times.setdefault(tolerance, seconds)
    return times


def contest(
    problem: Problem, models: Sequence[Model], rounds: int, threads: int, backend: str = "cpu"
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The record of a problem and its benchmarks."""
    entrants = []
    for model in models:
        searched = search(problem, model, backend, threads)
        ours: Entrant | None = None
        for library in LIBRARIES:
            task = Task(problem, model, searched.rates[0], threads, backend)
            entrants.append(_entered(task, library, searched, ours))
            ours = ours or entrants[-1]
    start = Start().network(problem.lp, Model("gd", 1)).end_to_end()[0]
    entrants += [_prepared(problem, name, start) for name in SOLVERS]
    calls = {id(entrant): functools.partial(_run_once_more, entrant) for entrant in entrants}
    often = {id(entrant): entrant.rounds(rounds, problem.budget) for entrant in entrants}
    in_turn(calls, often)
    for entrant in entrants:
        entrant.settle()
    return _record(problem, entrants, rounds), _benchmarks(problem, entrants)


def _run_once_more(entrant: Entrant) -> None:
    try:
        entrant.run()
    except DivergedError:
        entrant.gap = entrant.gap or "a second run did not end where the first one had"
        entrant.samples.clear()
    if entrant.library not in (OURS, methods.JAX):
        time.sleep(PAUSE)  # for the threads of OpenMP and BLAS, which spin on


def _entered(task: Task, library: str, searched: Searched, ours: Entrant | None) -> Entrant:
    """Prepare a method, hold it to the reference, and run it with checkpoints."""
    entrant = Entrant(str(task.model), library)
    try:
        entrant.fresh = LIBRARIES[library](task)
        _held(task, entrant.fresh)
        seconds = seconds_each(entrant.fresh().advance, 0.01)
        budget = task.problem.budget
        if ours is not None and _is_hopeless(seconds, budget, ours):
            entrant.note = f"stopped early: no tolerance is within {budget:g} s of its steps"
            budget *= _HOPELESS
        for rate in searched.rates[:4]:
            entrant.task = task.at(rate)
            if rate != task.rate:  # the one before survived the search, but not this run
                entrant.fresh = LIBRARIES[library](entrant.task)
            ran = race.trace(entrant.task, entrant.fresh, budget)
            if ran.ended != "diverged":
                break
        if library == OURS and ran.ended != "diverged":
            method = methods.method_of(entrant.task, ran.steps)
            if method != task.problem.lp.form():  # a rotation is worth it for so many steps
                entrant.fresh = methods.ours(entrant.task, method)
                ran = race.trace(entrant.task, entrant.fresh, budget)
                seconds = seconds_each(entrant.fresh().advance, 0.01)
                entrant.note = f"method {method}"
        note = entrant.fresh().note
        entrant.points, entrant.steps, entrant.ended = ran.points, ran.reached, ran.ended
        entrant.note = "; ".join(filter(None, (entrant.note, note)))
        entrant.facts = {
            "rate": entrant.task.rate,
            "step_us": 1e6 * seconds,
            "steps": ran.steps,
            "grid_steps": searched.steps,
            "grid_seconds": searched.seconds if library == OURS else None,
            "at_edge": searched.at_edge,
        }
    except Gap as gap:
        entrant.gap = str(gap)
    except DivergedError:
        entrant.gap = "diverged in its first steps"
    except Exception as error:  # whatever goes wrong inside another library is its gap
        if library == OURS:
            raise
        entrant.gap = f"fails here: {one_line(error)}"
    if library == TORCH:
        time.sleep(PAUSE)
    return entrant


def _held(task: Task, fresh: Fresh) -> None:
    """Hold the first steps of a run to those of the plain NumPy backend."""
    judge, run = methods.reference(task), fresh()
    judge.advance(CHECK_STEPS)
    run.advance(CHECK_STEPS)
    off = difference(task.descent, judge.params(), run.params())
    if not off <= TOLERANCE["float64"]:
        raise Gap(f"another iterate: off by {off:.1e} after {CHECK_STEPS} steps")


def _is_hopeless(seconds: float, budget: float, ours: Entrant) -> bool:
    """Whether, by the steps of our own run, it cannot come within any tolerance in time."""
    known = ours.facts.get("steps", 0)
    needed = ours.steps.get(TOLERANCES[0], known + 1)
    return budget / seconds < min(needed, known)


def _prepared(problem: Problem, name: str, start: np.ndarray) -> Entrant:
    entrant = Entrant(name, "solver")
    try:
        entrant.solver = SOLVERS[name](problem, start)
        entrant.points = entrant.solver.solve()
    except Gap as gap:
        entrant.gap = str(gap)
    except Exception as error:  # whatever goes wrong inside a library is its gap
        entrant.gap = f"fails here: {one_line(error)}"
    else:
        entrant.ended = "reached" if TOLERANCES[-1] in arrivals(entrant.points) else "budget"
        solver = entrant.solver
        if solver.rate is not None:
            entrant.facts = {"rate": solver.rate, "grid_seconds": solver.grid_seconds}
    return entrant


def _record(problem: Problem, entrants: list[Entrant], rounds: int) -> dict[str, Any]:
    ours = {entrant.method: entrant for entrant in entrants if entrant.library == OURS}
    return {
        "name": problem.name,
        "title": problem.title,
        "optimum": problem.best.loss,
        "duality_gap": problem.best.duality_gap,
        "budget": problem.budget,
        "rows": [_row(entrant, ours.get(entrant.method)) for entrant in entrants],
    }


def _row(entrant: Entrant, ours: Entrant | None) -> dict[str, Any]:
    row: dict[str, Any] = {"method": entrant.method, "library": entrant.library}
    if entrant.gap:
        return row | {"gap": entrant.gap}
    row |= entrant.facts | {"ended": entrant.ended, "note": entrant.note}
    if row.get("grid_seconds", 0.0) is None:  # a peer's is reckoned, see `search`
        row["grid_seconds"] = row["grid_steps"] * _step_seconds(entrant)
    row["reached"] = {
        f"{tolerance:g}": {
            "seconds": float(np.median(samples)),
            "samples": samples,
            "steps": entrant.steps.get(tolerance),
        }
        for tolerance, samples in entrant.samples.items()
    }
    common = [t for t in entrant.samples if ours is not None and t in ours.samples]
    if common and ours is not entrant:
        pairs = list(zip(entrant.samples[common[-1]], ours.samples[common[-1]], strict=False))
        ratios = [theirs / own for theirs, own in pairs]
        row["ratio"] = [float(q) for q in np.percentile(ratios, [50, 25, 75])]
        row["ratio_at"] = common[-1]
    row["curve"] = _thinned(entrant.points)
    row["end"] = row["curve"][-1] if row["curve"] else None
    return row


def _step_seconds(entrant: Entrant) -> float:
    """Of the longest of its timed stretches, else of its calibration."""
    if not entrant.samples:
        return 1e-6 * entrant.facts["step_us"]
    tolerance, samples = list(entrant.samples.items())[-1]
    return float(np.median(samples)) / entrant.steps[tolerance]


def _thinned(points: list[Point]) -> list[list[float]]:
    """A few points of a curve, next to evenly spaced in the logarithm of the seconds."""
    if not points:
        return []
    seconds = np.array([max(point[0], 1e-7) for point in points])
    wanted = np.geomspace(seconds[0], seconds[-1], _POINTS)
    places = sorted({int(np.abs(np.log(seconds / w)).argmin()) for w in wanted})
    return [[float(f"{value:.3g}") for value in points[place]] for place in places]


def _benchmarks(problem: Problem, entrants: list[Entrant]) -> list[dict[str, Any]]:
    """Seconds to the smallest distance that a method met; the rows have the others."""
    made = []
    for entrant in entrants:
        if entrant.samples:
            tolerance, samples = list(entrant.samples.items())[-1]
            own = entrant.library == OURS or entrant.method.startswith("accel.optimum")
            made.append(
                records.entry(
                    f"{problem.title}, within {tolerance:g}",
                    f"{entrant.library}: {entrant.method}",
                    samples,
                    kind="ours" if own else "peer",
                    rate=entrant.facts.get("rate"),
                    steps=entrant.steps.get(tolerance),
                )
            )
    return made
