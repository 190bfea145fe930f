"""``python -m benchmarks estimators``: LpRegressor against scikit-learn, SciPy and skglm.

All fit the same standardised data with an intercept, at settings with which it comes as close
to the minimum as it can. How close that is, relative to the loss, is measured against a proven
lower bound; the table lists those that are not within the tolerance below the others. A
fit is timed as a whole, Python included, once it has compiled; all in turn, medians of rounds.
"""

import argparse
import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report_folder
from benchmarks.harness import machine, page, records, report
from benchmarks.harness.records import Record
from benchmarks.harness.timing import PAUSE, elapsed, in_turn

TOLERANCE = 1e-6  # of the loss
POWERS = (1, 1.5, 2, 4)
SLOW = 10.0  # seconds: what takes longer, compilation included, is timed once only
NEWTON = "accel, Newton"
LIBRARIES = ("implicit-accel", "numpy", "numba", "scipy", "scikit-learn", "skglm")

#: From X, y and p to the coefficients, the intercept behind them.
Fit = Callable[[np.ndarray, np.ndarray, float], np.ndarray]


@dataclass(frozen=True)
class Estimator:
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
    return minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options=options).x


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


def estimators() -> list[Estimator]:
    steps: dict[str, Any] = {"max_iter": 50_000, "random_state": 0}
    descent = {"penalty": None, "max_iter": 1000, "tol": None, "random_state": 0}
    absolute = {"loss": "epsilon_insensitive", "epsilon": 0.0}
    return [
        Estimator(NEWTON, ours(solver="newton")),
        Estimator("accel, Newton, 1 thread", one_thread(ours(solver="newton"))),
        Estimator("accel, gradient", ours(solver="gradient", **steps)),
        Estimator("accel, gradient, depth 2", ours(solver="gradient", depth=2, **steps)),
        Estimator("accel, end to end, depth 2", ours(solver="end_to_end", depth=2, **steps)),
        Estimator("LinearRegression", scikit_learn("LinearRegression"), (2,)),
        Estimator("SGDRegressor", scikit_learn("SGDRegressor", **descent), (2,)),
        Estimator("SGDRegressor", scikit_learn("SGDRegressor", **absolute, **descent), (1,)),
        Estimator("QuantileRegressor", scikit_learn("QuantileRegressor", alpha=0.0), (1,)),
        Estimator("SciPy L-BFGS-B", scipy_lbfgs, (1.5, 2, 4)),
        Estimator("SciPy L-BFGS-B, 1 thread", one_thread(scipy_lbfgs), (1.5, 2, 4)),
        Estimator("skglm", skglm, (1, 2)),
    ]


def problems(quick: bool) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Data by name, standardised."""
    from accel import datasets, standardize
    from benchmarks.harness.data import find_gas

    n, d, condition = (400, 20, 1e4) if quick else (2000, 50, 1e6)
    sets = [datasets.load_diabetes(), datasets.make_ill_conditioned(n, d, condition)]
    if not quick and (path := find_gas()):
        sets.append(datasets.load_gas_ethanol(path))
    scaled = {f"{s.name}, {len(s.X)} x {s.X.shape[1]}": standardize(s.X, s.y) for s in sets}
    return {name: (s.X, s.y) for name, s in scaled.items()}


def measure(X: np.ndarray, y: np.ndarray, p: float, rounds: int) -> list[dict[str, Any]]:
    """One row an estimator: how far from the minimum, and all its samples in seconds."""
    from accel import LpProblem, optimum

    A = np.column_stack([X, np.ones(len(X))])
    best = optimum(LpProblem(A, y, p), tol=1e-12)
    rows: dict[str, dict[str, Any]] = {}
    calls, often = {}, {}
    for estimator in estimators():
        if p not in estimator.powers:
            continue
        name = estimator.name
        row = rows[name] = {"contender": name, "ours": estimator.ours}
        fit = functools.partial(estimator.fit, X, y, p)
        try:
            w, seconds = _fitted(fit)
        except ImportError as error:
            row["gap"] = f"not installed ({error.name or error})"
            continue
        loss = float(np.mean(np.abs(A @ w - y) ** p))
        row["excess"] = (loss - best.loss + best.duality_gap) / best.loss
        row["reached"] = row["excess"] <= TOLERANCE
        calls[name] = functools.partial(_seconds, fit)
        often[name] = rounds if seconds < SLOW else 1
    for name, samples in in_turn(calls, often, PAUSE).items():
        low, median, high = np.percentile(samples, [25, 50, 75])
        rows[name] |= {"seconds": float(median), "quartiles": [float(low), float(high)]}
        rows[name]["samples"] = samples
    return list(rows.values())


def _fitted(fit: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    """What a fit returns, and the seconds that it takes, compilation included."""
    results = []
    seconds = _seconds(lambda: results.append(fit()))
    return results[0], seconds


def _seconds(fit: Callable[[], object]) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # who has not converged is in the table
        return elapsed(fit)


def table(case: dict[str, Any]) -> str:
    """Markdown: those within the tolerance by time, then the others, then the gaps."""
    timed = [row for row in case["rows"] if "gap" not in row]
    ours = [row["seconds"] for row in timed if row["ours"] and row["reached"]]
    fastest = min(ours, default=float("nan"))
    lines = [
        [
            f"**{row['contender']}**" if row["ours"] else row["contender"],
            f"{row['seconds']:.3g}",
            "{:.3g} to {:.3g}".format(*row["quartiles"]),
            f"{row['excess']:.1e}",
            report.met_words(row["reached"]),
            f"{row['seconds'] / fastest:.2f}",
        ]
        for row in sorted(timed, key=lambda row: (not row["reached"], row["seconds"]))
    ]
    gaps = (row for row in case["rows"] if "gap" in row)
    lines += [[row["contender"], row["gap"], "", "", "", ""] for row in gaps]
    header = [
        "fit",
        "seconds",
        "spread",
        "above the minimum",
        f"within {TOLERANCE:g}",
        "times ours",
    ]
    text = page.table(header, lines, text=(0, 4))
    return f"### {page.cell(case['data'])}, p = {case['p']:g}\n\n{text}"


def summary(content: Record) -> str:
    """All tables."""
    about = f"{report.machine_line(content)}; medians of {content['rounds']} interleaved rounds."
    return "\n\n".join([about, *map(table, content["cases"])])


def main(arguments: list[str]) -> int:
    """Exit code 1 if our Newton's method does not reach the minimum of a problem."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks estimators",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="small data: proves that it runs")
    parser.add_argument("--rounds", type=int, help="samples of each contender (5; quick: 1)")
    parser.add_argument("--output", type=Path, help="JSON file (benchmarks/report/[quick/]...)")
    options = parser.parse_args(arguments)
    machine.restart_without_override()
    rounds = options.rounds or (1 if options.quick else 5)
    path = options.output or report_folder(options.quick) / "estimators.json"
    content = records.record(
        "estimators", options.quick, machine.describe(LIBRARIES),
        rounds=rounds, tolerance=TOLERANCE, cases=[],
    )  # fmt: skip
    for name, (X, y) in problems(options.quick).items():
        for p in POWERS:
            rows = measure(X, y, p, rounds)
            content["cases"].append({"data": name, "p": p, "rows": rows})
            content["benchmarks"] += [
                records.entry(
                    f"{name}, p = {p:g}", row["contender"], row.pop("samples"),
                    kind="ours" if row["ours"] else "peer",
                )
                for row in rows
                if "samples" in row
            ]  # fmt: skip
            print(table(content["cases"][-1]), end="\n\n", flush=True)
            records.write(content, path)  # after every case: all of them take a while
    print(f"written to {path}")
    newton = [r for case in content["cases"] for r in case["rows"] if r["contender"] == NEWTON]
    return 0 if all(row["reached"] for row in newton) else 1
