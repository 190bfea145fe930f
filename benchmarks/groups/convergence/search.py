"""The learning rate of a method: one search for all libraries, since their iterates are the same.

The rates are ``10**(j/2)`` round what the curvature suggests, ``10**(j/4)`` next to the best: our
`grid_search`, which trains all rates of a grid over the same passes. How many steps a rate takes to
come within a distance does not depend on who makes them, so the best rate is the best one for every
library, and what a grid costs a peer is the steps of its runs at the time of one of the peer's.
"""

import math
from typing import NamedTuple

import accel
from accel._runs.rates import first_rate
from accel.tuning import Model, Start
from accel.tuning.found import score
from benchmarks.groups.convergence.problems import TOLERANCES, Problem

_REACH = 3  # half decades either side of where the grid begins


class Searched(NamedTuple):
    """Rates, the best one first; steps of all runs of the search together; seconds it took us."""

    rates: tuple[float, ...]
    steps: int
    seconds: float
    at_edge: bool


def search(problem: Problem, model: Model, backend: str, threads: int) -> Searched:
    """Try rates for ``problem.steps`` steps each, or until the last tolerance is met."""
    lp = problem.lp
    network = Start().network(lp, model)
    middle = round(2 * math.log10(first_rate(lp, model.optimizer)))
    grid = [10.0 ** ((middle + j) / 2) for j in range(-_REACH, _REACH + 1)]
    grid_search = accel.grid_search(
        lp, network, model.at(1.0), problem.steps,
        learning_rates=grid, target=problem.best.loss + TOLERANCES[-1], halving=3, refine=1,
        backend=backend, threads=threads,
    )  # fmt: skip
    if grid_search.interrupted:
        raise KeyboardInterrupt
    ordered = sorted(grid_search.results, key=score)
    return Searched(
        tuple(result.optimizer.learning_rate for result in ordered),
        sum(result.steps for result in grid_search.results),
        grid_search.seconds,
        grid_search.at_edge,
    )
