"""The tables of the group: a summary, the rows where others are ahead, and all of it."""

from typing import Any

from accel._reports.text import duration
from benchmarks.groups.convergence.methods import JAX, OURS, TORCH
from benchmarks.harness import page, report
from benchmarks.harness.records import Record

Row = dict[str, Any]

_LIBRARIES = (OURS, TORCH, JAX)
_SOLVER = "solver"
_HOW = (
    "Seconds from the making of a run, data in place and code compiled, until the loss is within a "
    "distance of the optimum (absolute, of standardised data); medians. All start at one linear "
    "map, every method at the best learning rate of one grid; libraries make the same iterates, "
    "which is checked. A time of the grid is measured for accel; for the peers it is the steps of "
    "the same runs at their time of a step. At p = 2 accel works from X'X, and what it takes to "
    "make that is on its clock."
)


def markdown(content: Record) -> str:
    """All of it."""
    parts = [report.header(content), _HOW]
    parts += [f"{name}: not measured: {gap}." for name, gap in content["gaps"].items()]
    parts += ["### The fastest of each kind", summary_table(content)]
    if lost := losses(content):
        parts += ["### Where we are not the fastest", "\n\n".join(lost)]
    parts += [problem_table(problem) for problem in content["problems"]]
    return "\n\n".join(parts)


def summary(content: Record) -> str:
    """What the README quotes."""
    return f"{report.header(content)}\n\n{_HOW}\n\n{summary_table(content)}"


def summary_table(content: Record) -> str:
    """A line a problem: the fastest of each kind to the last tolerance that a descent met."""
    rows = []
    for problem in content["problems"]:
        met = [key for row in problem["rows"] if row["library"] != _SOLVER for key in _met(row)]
        key = min(met, key=float, default=f"{content['tolerances'][0]:g}")
        best = _Best(problem, key)
        rows.append(
            [
                problem["title"],
                key,
                best.of(OURS, ("gd, depth 1",)),
                best.of(OURS, ("gd, depth 2", "gd, depth 3", "gd, depth 4")),
                best.of(OURS),
                best.of(TORCH),
                best.of(JAX),
                best.of(_SOLVER, ("SciPy L-BFGS-B", "SciPy L-BFGS-B, gradient by accel")),
                best.of(_SOLVER, ("accel.optimum (Newton, with its proof)",)),
                best.of(
                    _SOLVER, ("scikit-learn LinearRegression", "scikit-learn SGDRegressor")
                ),
            ]
        )  # fmt: skip
    header = [
        "problem", "within", "gradient descent, depth 1", "deeper", "best method, accel",
        "best, PyTorch", "best, JAX", "L-BFGS-B", "`accel.optimum`", "scikit-learn",
    ]  # fmt: skip
    return page.table(header, rows)


def _met(row: Row) -> list[str]:
    """The tolerances that a row came within."""
    return list(row.get("reached", ()))


class _Best:
    """The fastest rows of a problem to a tolerance."""

    def __init__(self, problem: Row, key: str) -> None:
        self._rows, self._key = problem["rows"], key

    def row(self, library: str, methods: tuple[str, ...] | None = None) -> Row | None:
        """The fastest of a library, of some methods."""
        rows = [
            row
            for row in self._rows
            if row["library"] == library
            and (methods is None or row["method"] in methods)
            and self._key in _met(row)
        ]
        return min(rows, key=self.seconds, default=None)

    def seconds(self, row: Row) -> float:
        """Of a row that came within the tolerance."""
        return row["reached"][self._key]["seconds"]

    def of(self, library: str, methods: tuple[str, ...] | None = None) -> str:
        """The time of the fastest in words, with its name if it could be another."""
        row = self.row(library, methods)
        if row is not None:
            time = duration(self.seconds(row))
            return time if methods and len(methods) == 1 else f"{time} ({_short(row['method'])})"
        here = [
            row
            for row in self._rows
            if row["library"] == library and (methods is None or row["method"] in methods)
        ]
        if here and all("gap" in row for row in here):
            return f"none: {here[0]['gap']}"
        return "-"


def _short(method: str) -> str:
    return method.removeprefix("scikit-learn ").removeprefix("SciPy L-BFGS-B, ")


def losses(content: Record) -> list[str]:
    """Every method that a peer makes faster, and every problem that a solver solves faster."""
    lines = []
    for problem in content["problems"]:
        for row in problem["rows"]:
            if "ratio" in row and row["ratio"][0] < 1:
                ratio = "{:.2f} ({:.2f} to {:.2f})".format(*row["ratio"])
                lines.append(
                    f"{problem['title']}: {row['method']} in {row['library']} takes {ratio} times "
                    f"as long as ours to {row['ratio_at']:g}."
                )
        for tolerance in content["tolerances"]:
            best = _Best(problem, f"{tolerance:g}")
            ours, others = best.row(OURS), [best.row(kind) for kind in (TORCH, JAX, _SOLVER)]
            other = min(filter(None, others), key=best.seconds, default=None)
            if other and (ours is None or best.seconds(other) < best.seconds(ours)):
                own = (
                    f"our fastest descent, {ours['method']}, in {duration(best.seconds(ours))}"
                    if ours
                    else "no descent of ours"
                )
                name = other["method"]
                name += "" if other["library"] == _SOLVER else f" in {other['library']}"
                lines.append(
                    f"{problem['title']}, within {tolerance:g}: {name} in "
                    f"{duration(best.seconds(other))}, {own}."
                )
    return lines


def problem_table(problem: Row) -> str:
    """Every method in every library; then the solvers."""
    tolerances = list(dict.fromkeys(key for row in problem["rows"] for key in _met(row)))
    tolerances.sort(key=float, reverse=True)
    descents = [row for row in problem["rows"] if row["library"] != _SOLVER]
    methods = dict.fromkeys(row["method"] for row in descents)
    rows = []
    for method in methods:
        by = {row["library"]: row for row in descents if row["method"] == method}
        ours = by.get(OURS, {})
        rows.append(
            [
                method,
                f"{ours['rate']:.3g}" + ("*" if ours["at_edge"] else "") if "rate" in ours else "",
                _cell(ours, tolerances, "steps"),
                *(_cell(by.get(library, {}), tolerances, "seconds") for library in _LIBRARIES),
                *(_ratio(by.get(library, {})) for library in (TORCH, JAX)),
                " / ".join(_grid(by.get(library, {})) for library in _LIBRARIES),
            ]
        )
    within = " / ".join(tolerances) or "any tolerance"
    header = [
        f"method, to {within}", "rate", "steps", *_LIBRARIES,
        "PyTorch / accel", "JAX / accel", "grid: accel / PyTorch / JAX",
    ]  # fmt: skip
    solvers = [
        [row["method"], _cell(row, tolerances, "seconds"), _solver_note(row)]
        for row in problem["rows"]
        if row["library"] == _SOLVER
    ]
    about = (
        f"Optimum {problem['optimum']:.6g}, proven to {problem['duality_gap']:.0e}; at most "
        f"{problem['budget']:g} s a run, a tenth of that where a library's time of a step lets it "
        "come within no tolerance; *: the best rate is the last of its grid."
    )
    return "\n\n".join(
        [
            f"### {problem['title']}",
            about,
            page.table(header, rows),
            page.table([f"solver, to {within}", "", ""], solvers),
            *_gaps(descents),
        ]
    )


def _cell(row: Row, tolerances: list[str], what: str) -> str:
    """Times or steps to each tolerance, and how far a run came that did not arrive."""
    if "reached" not in row:
        return ""
    words = []
    for key in tolerances:
        reached = row["reached"].get(key)
        if reached is None:
            words.append("-")
        else:
            value = reached[what]
            words.append(duration(value) if what == "seconds" else str(value))
    text = " / ".join(words) or "-"
    # Records of before 2026-11-28 have their curve only, of which it is the last point.
    end = row["end"] if "end" in row else (row.get("curve") or [None])[-1]
    if row["ended"] != "reached" and what == "seconds" and end:
        seconds, distance = end
        far = "diverged" if distance is None else f"{distance:.2g}"
        text += f" ({far} after {duration(seconds)})"
    return text


def _ratio(row: Row) -> str:
    return "{:.2f} ({:.2f} to {:.2f})".format(*row["ratio"]) if "ratio" in row else ""


def _grid(row: Row) -> str:
    return duration(row["grid_seconds"]) if "grid_seconds" in row else "-"


def _solver_note(row: Row) -> str:
    if "gap" in row:
        return f"not measured: {row['gap']}"
    if "rate" in row:
        return f"rate {row['rate']:.3g}, grid {duration(row['grid_seconds'])}"
    return ""


def _gaps(rows: list[Row]) -> list[str]:
    """Who was not measured, a line a reason."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if "gap" in row:
            reasons.setdefault(f"{row['library']}: {row['gap']}", []).append(row["method"])
    return [f"Not measured: {reason} ({', '.join(which)})." for reason, which in reasons.items()]
