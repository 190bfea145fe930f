"""The drawings of the page, as SVG; without matplotlib there are none."""

import io
from typing import Any

from benchmarks.harness.records import Record

_COLORS = {"accel": "C0", "PyTorch": "C1", "JAX": "C2"}
_OTHERS = ("C3", "C4", "C5", "C6", "C8")  # of the solvers, in their order
#: Of the many methods those that are drawn: line style by method.
_SHOWN = {
    "gd, depth 1": "-",
    "gd, depth 2": "--",
    "gd, depth 3": ":",
    "adam, depth 1": "-.",
}


def _axes(count: int) -> tuple[Any, list[Any]] | None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    rows = -(-count // 3)
    figure = Figure(figsize=(15, 4 * rows), layout="constrained")
    axes = list(figure.subplots(rows, 3, squeeze=False).flat)
    for ax in axes[count:]:
        ax.set_visible(False)
    return figure, axes[:count]


def _svg(figure: Any) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="svg")
    return stream.getvalue()


def scaling(content: Record) -> dict[str, bytes]:
    """Our time a step against each size."""
    made = _axes(len(content["series"]))
    if made is None:
        return {}
    figure, axes = made
    for ax, line in zip(axes, content["series"], strict=True):
        x, y = line["values"], line["medians"]
        ax.loglog(x, [1e6 * seconds for seconds in y], "o-", label="measured")
        expected = [1e6 * y[-1] * (value / x[-1]) ** line["expected"] for value in x]
        ax.loglog(x, expected, "--", color="gray", label=f"slope {line['expected']:g}")
        ax.set_title(line["title"], fontsize="small", parse_math=False)
        ax.set_xlabel(line["variable"])
        ax.set_ylabel("microseconds a step")
        ax.legend(fontsize="small")
        ax.grid(alpha=0.3)
    return {"time a step against sizes": _svg(figure)}


def convergence(content: Record) -> dict[str, bytes]:
    """Distance from the optimum against seconds, a panel a problem."""
    made = _axes(len(content["problems"]))
    if made is None or not content["problems"]:
        return {}
    figure, axes = made
    for ax, problem in zip(axes, content["problems"], strict=True):
        others = iter(_OTHERS)
        for row in problem["rows"]:
            solver = row["library"] == "solver"
            color = next(others, "C7") if solver else _COLORS[row["library"]]
            style = "-" if solver else _SHOWN.get(row["method"])
            points = [point for point in row.get("curve", ()) if None not in point]
            points = sorted((max(seconds, 1e-6), far) for seconds, far in points if far > 0)
            if style is None or not points:
                continue
            label = row["method"] if solver else f"{row['library']}: {row['method']}"
            marker = "o" if len(points) < 4 else ""
            ax.loglog(*zip(*points, strict=True), style, color=color, marker=marker, label=label)
        for tolerance in content["tolerances"]:
            ax.axhline(tolerance, color="gray", linewidth=0.5)
        ax.set_title(problem["title"], fontsize="small", parse_math=False)
        ax.set_xlabel("seconds")
        ax.set_ylabel("distance from the optimum")
        ax.set_ylim(bottom=1e-4)
        ax.legend(fontsize="xx-small")
    return {"distance from the optimum against seconds": _svg(figure)}
