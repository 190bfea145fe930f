"""The problems of the group: data, loss, certified optimum, and the time limit of a run."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import accel
from accel import datasets
from benchmarks.harness.data import find_gas
from benchmarks.peers.common import Gap, one_line, require, residual_power

#: Distances from the optimum that the methods are timed to.
TOLERANCES = (1e-1, 1e-2, 1e-3)
POWERS = (2.0, 4.0)


@dataclass(frozen=True, eq=False)
class Problem:
    """A problem in float64.

    ``budget`` is the limit of a run in seconds; ``steps`` is the length of a run of the search for
    a learning rate.
    """

    name: str
    title: str
    lp: accel.LpProblem
    best: accel.Optimum
    budget: float
    steps: int

    @functools.cached_property
    def _pools(self) -> object:
        require("threadpoolctl")
        import threadpoolctl

        return threadpoolctl.ThreadpoolController()

    def distance(self, W: np.ndarray) -> float:
        """Distance of the loss at W (k, d) from the optimum, by NumPy in float64 for all methods.

        On one thread: threads of BLAS would spin on into the time of the next contender.
        """
        lp = self.lp
        with self._pools.limit(limits=1, user_api="blas"), np.errstate(all="ignore"):
            r = lp.X @ W.T - lp.Y
            return float((r * residual_power(r, lp.p)).sum() / lp.n - self.best.loss)


def _diabetes() -> tuple[np.ndarray, np.ndarray]:
    try:
        data = datasets.load_diabetes()
    except ImportError as error:
        raise Gap(one_line(error)) from error
    return _standard(data)


def _gas() -> tuple[np.ndarray, np.ndarray]:
    path = find_gas()
    if path is None:
        raise Gap("the gas data is not here: ACCEL_DATA names it")
    return _standard(datasets.load_gas_ethanol(path))


def _standard(data: datasets.Dataset) -> tuple[np.ndarray, np.ndarray]:
    scaled = accel.standardize(data.X, data.y)
    return scaled.X, scaled.y


def _synthetic(condition: float) -> tuple[np.ndarray, np.ndarray]:
    data = datasets.make_ill_conditioned(2000, 50, condition)
    return data.X, data.y


#: By name: title, data, budget in seconds, steps of the search.
_DATA: dict[str, tuple[str, Callable[[], tuple[np.ndarray, np.ndarray]], float, int]] = {
    "diabetes": ("diabetes", _diabetes, 1.0, 50_000),
    "gas": ("gas", _gas, 3.0, 20_000),
    **{
        f"condition-{condition:.0e}".replace("+0", ""): (
            f"synthetic, condition {condition:.0e}".replace("+0", ""),
            functools.partial(_synthetic, condition),
            1.0,
            20_000,
        )
        for condition in (1e2, 1e4, 1e6)
    },
}
NAMES = tuple(_DATA)
QUICK_NAMES = ("diabetes", "condition-1e4")


def load(name: str, p: float, quick: bool = False) -> Problem:
    """Make a problem of its name and power.

    Raises
    ------
    Gap
        If its data is not here.
    """
    title, data, budget, steps = _DATA[name]
    X, y = data()
    lp = accel.LpProblem(X, y, p=p)
    shape = f"{lp.n} x {lp.d}"
    return Problem(
        f"{name}-p{p:g}",
        f"{title} ({shape}), p = {p:g}",
        lp,
        accel.optimum(lp),
        budget / 10 if quick else budget,
        steps // 20 if quick else steps,
    )
