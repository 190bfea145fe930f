"""``python -m benchmarks estimators``: LpRegressor against scikit-learn, SciPy and skglm.

Everyone fits the same standardised data with an intercept, at settings with which it comes as close
to the minimum as it can. How close that is, relative to the loss, is measured against a proven
lower bound; who is not within the tolerance has another row of the table, not another problem. A
fit is timed as a whole, Python included, once it has compiled; all in turn, medians of rounds.
"""

import argparse
import datetime
import functools
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import machine, page

TOLERANCE = 1e-6  # of the loss
POWERS = (1, 1.5, 2, 4)
PAUSE = 0.05  # seconds: the threads of whoever was timed before spin for some 25 ms
SLOW = 10.0  # seconds: what takes longer, compilation included, is timed once only
LIBRARIES = ("implicit-accel", "numpy", "numba", "scipy", "scikit-learn", "skglm")

#: X, y and p to the coefficients with the intercept behind them.
Fit = Callable[[np.ndarray, np.ndarray, float], np.ndarray]


@dataclass(frozen=True)
class Contender:
    """A way to fit, and the powers that it is for, all of them if it does not say."""

    name: str
    fit: Fit
    powers: tuple[float, ...] = POWERS

    @property
    def ours(self) -> bool:
        """Whether it is this package's."""
        return self.name.startswith("accel")


def linear(model: Any) -> np.ndarray:
    return np.append(model.coef_, model.intercept_)


def ours(**parameters: Any) -> Fit:
    from accel.sklearn import LpRegressor

    return lambda X, y, p: linear(LpRegressor(p, **parameters).fit(X, y))


def scikit_learn(name: str, **parameters: Any) -> Fit:
    from sklearn import linear_model

    return lambda X, y, p: linear(getattr(linear_model, name)(**parameters).fit(X, y))


def scipy_lbfgs(X: np.ndarray, y: np.ndarray, p: float) -> np.ndarray:
    from scipy.optimize import minimize

    A, n = np.column_stack([X, np.ones(len(X))]), len(X)

    def loss_and_gradient(w: np.ndarray) -> tuple[float, np.ndarray]:
        r = A @ w - y
        power = np.abs(r) ** (p - 1)
        return float(power @ np.abs(r)) / n, p / n * ((np.sign(r) * power) @ A)

    options = {"maxiter": 100_000, "maxfun": 100_000, "maxcor": 30, "ftol": 1e-13, "gtol": 1e-12}
    start = np.zeros(A.shape[1])
    found = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options=options)
    return found.x


@functools.cache
def libraries() -> Any:
    """The thread pools of all BLAS in this process; to look for them takes some 10 ms."""
    import scipy.linalg  # noqa: F401  # has one of its own
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def one_thread(fit: Fit) -> Fit:
    """With a single thread in BLAS: on small data two of them mostly wait for each other."""

    def run(X: np.ndarray, y: np.ndarray, p: float) -> np.ndarray:
        with libraries().limit(limits=1, user_api="blas"):
            return fit(X, y, p)

    return run


def skglm(X: np.ndarray, y: np.ndarray, p: float) -> np.ndarray:
    from skglm import GeneralizedLinearEstimator
    from skglm.datafits import Quadratic
    from skglm.penalties import L1
    from skglm.solvers import AndersonCD

    if p == 2:
        solver = AndersonCD(max_iter=50, max_epochs=1000, tol=1e-12, fit_intercept=True)
        return linear(GeneralizedLinearEstimator(Quadratic(), L1(0.0), solver).fit(X, y))
    from skglm.experimental.pdcd_ws import PDCD_WS
    from skglm.experimental.quantile_regression import Pinball

    A = np.asfortranarray(np.column_stack([X, np.ones(len(X))]))
    # With ten times as many epochs either takes many minutes.
    solver = PDCD_WS(max_iter=20, max_epochs=1000, tol=1e-7)
    return GeneralizedLinearEstimator(Pinball(0.5), L1(0.0), solver).fit(A, y).coef_


def contenders() -> list[Contender]:
    steps: dict[str, Any] = {"max_iter": 50_000, "random_state": 0}
    descent = {"penalty": None, "max_iter": 1000, "tol": None, "random_state": 0}
    absolute = {"loss": "epsilon_insensitive", "epsilon": 0.0}
    return [
        Contender("accel, Newton", ours(solver="newton")),
        Contender("accel, Newton, 1 thread", one_thread(ours(solver="newton"))),
        Contender("accel, gradient", ours(solver="gradient", **steps)),
        Contender("accel, gradient, depth 2", ours(solver="gradient", depth=2, **steps)),
        Contender("accel, end to end, depth 2", ours(solver="end_to_end", depth=2, **steps)),
        Contender("LinearRegression", scikit_learn("LinearRegression"), (2,)),
        Contender("SGDRegressor", scikit_learn("SGDRegressor", **descent), (2,)),
        Contender("SGDRegressor", scikit_learn("SGDRegressor", **absolute, **descent), (1,)),
        Contender("QuantileRegressor", scikit_learn("QuantileRegressor", alpha=0.0), (1,)),
        Contender("SciPy L-BFGS-B", scipy_lbfgs, (1.5, 2, 4)),
        Contender("SciPy L-BFGS-B, 1 thread", one_thread(scipy_lbfgs), (1.5, 2, 4)),
        Contender("skglm", skglm, (1, 2)),
    ]


def problems(quick: bool) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Data by name, standardised."""
    from accel import datasets, standardize
    from benchmarks.harness.data import find_gas

    n, d, condition = (400, 20, 1e4) if quick else (2000, 50, 1e6)
    found = [datasets.load_diabetes(), datasets.make_ill_conditioned(n, d, condition)]
    if not quick and (path := find_gas()):
        found.append(datasets.load_gas_ethanol(path))
    scaled = {f"{data.name}, {len(data.X)} x {data.X.shape[1]}": data for data in found}
    return {name: (s.X, s.y) for name, s in ((k, standardize(v.X, v.y)) for k, v in scaled.items())}


def timed(contender: Contender, X: np.ndarray, y: np.ndarray, p: float) -> tuple[float, np.ndarray]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # who has not converged is in the table
        time.sleep(PAUSE)
        begin = time.perf_counter()
        w = contender.fit(X, y, p)
    return time.perf_counter() - begin, w


def measure(X: np.ndarray, y: np.ndarray, p: float, rounds: int) -> list[dict[str, Any]]:
    """One row a contender: how far from the minimum, and all its samples in seconds."""
    from accel import LpProblem, optimum

    A = np.column_stack([X, np.ones(len(X))])
    best = optimum(LpProblem(A, y, p), tol=1e-12)
    rows, running = [], []
    for contender in contenders():
        if p not in contender.powers:
            continue
        row: dict[str, Any] = {"contender": contender.name, "ours": contender.ours, "seconds": []}
        rows.append(row)
        try:
            seconds, w = timed(contender, X, y, p)
        except ImportError as error:
            row["gap"] = f"not installed ({error.name or error})"
            continue
        loss = float(np.mean(np.abs(A @ w - y) ** p))
        row["excess"] = (loss - best.loss + best.duality_gap) / best.loss
        row["reached"] = row["excess"] <= TOLERANCE
        running.append((contender, row, seconds))
    for turn in range(rounds):
        for contender, row, seconds in running[:: 1 if turn % 2 == 0 else -1]:
            if seconds < SLOW or turn == 0:
                row["seconds"].append(timed(contender, X, y, p)[0])
    return rows


def table(case: dict[str, Any]) -> str:
    """Markdown: those within the tolerance by time, then the others, then the gaps."""
    lines = [
        f"### {case['data']}, p = {case['p']:g}",
        "",
        f"| fit | seconds | spread | above the minimum | within {TOLERANCE:g} | times ours |",
        "|---|---:|---:|---:|---|---:|",
    ]
    timed_rows = [row for row in case["rows"] if "gap" not in row]
    ours_first = [float(np.median(r["seconds"])) for r in timed_rows if r["ours"] and r["reached"]]
    fastest = min(ours_first, default=float("nan"))
    for row in sorted(timed_rows, key=lambda row: (not row["reached"], np.median(row["seconds"]))):
        low, median, high = np.percentile(row["seconds"], [25, 50, 75])
        name = f"**{row['contender']}**" if row["ours"] else page.cell(row["contender"])
        lines.append(
            f"| {name} | {median:.3g} | {low:.3g} to {high:.3g} | {row['excess']:.1e} | "
            f"{'yes' if row['reached'] else '**no**'} | {median / fastest:.2f} |"
        )
    gaps = (row for row in case["rows"] if "gap" in row)
    lines += [f"| {page.cell(r['contender'])} | {page.cell(r['gap'])} | | | | |" for r in gaps]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks estimators", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small data: proves that it runs")
    parser.add_argument("--rounds", type=int, help="samples of each contender (5; quick: 1)")
    parser.add_argument("--output", type=Path, help="a JSON file to write")
    options = parser.parse_args(arguments)
    machine.restart_without_override()
    rounds = options.rounds or (1 if options.quick else 5)
    content: dict[str, Any] = {
        "kind": "estimators",
        "machine": machine.describe() | {"versions": machine.versions(LIBRARIES)},
        "date": datetime.date.today().isoformat(),
        "rounds": rounds,
        "quick": options.quick,
        "tolerance": TOLERANCE,
        "cases": [],
    }
    cases = content["cases"]
    for name, (X, y) in problems(options.quick).items():
        for p in POWERS:
            cases.append({"data": name, "p": p, "rows": measure(X, y, p, rounds)})
            print(table(cases[-1]), end="\n\n", flush=True)
            if options.output:  # after every case: all of them take a while
                options.output.parent.mkdir(parents=True, exist_ok=True)
                options.output.write_text(json.dumps(content, indent=1) + "\n")
    if options.output:
        print(f"written to {options.output}")
    newton = [r for case in cases for r in case["rows"] if r["contender"] == "accel, Newton"]
    return 0 if all(row["reached"] for row in newton) else 1
