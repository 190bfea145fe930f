"""The results of a reproduction as plain values: what ``report.json`` says of the figures."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from accel._reports.text import finite
from accel.experiments.figures.curves import Curve, Figure, Line, is_off
from accel.experiments.runner import CurveResults, CurveRunner
from accel.tuning import Trial, Tuned
from accel.tuning.stages import GRID
from accel.tuning.trials import first_within

__all__ = ["ExtraRuns", "figure_report", "run_extras"]

_LARGER = 10.0  # scale of other initial factors that are tried, relative to the line's own

Values = dict[str, Any]


@dataclass(frozen=True)
class ExtraRuns:
    """Full runs made after the search.

    Attributes
    ----------
    common : dict
        Families of lines at a common rate.
    scales : dict
        Lines that are off, from other initial scales.
    """

    common: CurveResults
    scales: CurveResults


def _index(tuned: Tuned) -> int:
    return GRID.index(tuned.rate)


def _common_index(curves: Iterable[Curve], tuned: Mapping[Curve, Tuned]) -> int:
    """Return the lowest of the curves' best rates, as a point of the grid."""
    return min(_index(tuned[curve]) for curve in curves)


def _members(figure: Figure, labels: tuple[str, ...]) -> list[Curve]:
    curves = {line.label: line.curve for line in figure.lines}
    return [curves[label] for label in labels]


def _rescaled(curve: Curve) -> list[Curve]:
    """Return the curve from larger factors; nothing at depth 1, whose problem is convex."""
    scale = curve.start.scale
    if curve.model.depth == 1 or scale is None:
        return []
    return [replace(curve, start=replace(curve.start, scale=_LARGER * scale))]


def run_extras(
    runner: CurveRunner, figures: Iterable[Figure], tuned: Mapping[Curve, Tuned], *, judged: bool
) -> ExtraRuns:
    """Run the families of lines at a common rate, and lines that are off from other scales.

    Parameters
    ----------
    runner : CurveRunner
    figures : iterable of Figure
    tuned : dict of Curve to Tuned
    judged : bool
        Whether lines are compared with the published values, which belong to full length.

    Returns
    -------
    ExtraRuns
    """
    figures = list(figures)
    wanted = []
    for figure in figures:
        for labels in figure.families:
            curves = _members(figure, labels)
            common = _common_index(curves, tuned)
            wanted += [(curve, common) for curve in curves]
    # The common rate is the best one of at least one line, which has been run at it already.
    known = {job: tuned[job[0]].result for job in wanted if _index(tuned[job[0]]) == job[1]}
    fresh = runner.run_at("common rate", [job for job in wanted if job not in known])
    off = [
        line.curve
        for figure in figures
        for line in figure.lines
        if judged and is_off(tuned[line.curve].distance / line.published)
    ]
    scales = runner.run_at(
        "other initial scales",
        [
            (other, _index(tuned[curve]))
            for curve in dict.fromkeys(off)
            for other in _rescaled(curve)
        ],
    )
    return ExtraRuns(known | fresh, scales)


def _trial(trial: Trial) -> Values:
    return asdict(trial) | {"distance": finite(trial.distance)}


def _reached_published(runner: CurveRunner, line: Line, tuned: Tuned) -> int | None:
    """Return the first recorded step at which ours is at the published end value or below."""
    if math.isinf(tuned.distance):
        return None
    record = first_within(tuned.result, runner.optimum(line.curve.p).loss, line.published)
    return None if record is None else int(tuned.result.history.step[record])


def _other_scales(
    runner: CurveRunner, curve: Curve, tuned: Tuned, extra: ExtraRuns
) -> list[Values]:
    """Return how the curve ended from other initial scales, at the same rate."""
    results = ((other, extra.scales[other, _index(tuned)]) for other in _rescaled(curve))
    return [
        {
            "scale": other.start.scale,
            "distance": finite(runner.end(other, result)),
            "diverged_at": result.diverged_at,
        }
        for other, result in results
    ]


def _line(
    runner: CurveRunner, panel: str, line: Line, tuned: Tuned, extra: ExtraRuns, judged: bool
) -> Values:
    curve, ratio = line.curve, tuned.distance / line.published
    off = judged and is_off(ratio)
    return {
        "panel": panel,
        "label": line.label,
        "curve": curve.name,
        "p": curve.p,
        "optimizer": curve.model.optimizer,
        "depth": curve.model.depth,
        "width": curve.start.width,
        "init": curve.start.init,
        "scale": curve.start.scale,
        "steps": curve.steps,
        "learning_rate": tuned.rate,
        "at_edge_of_grid": tuned.at_edge,
        "next_rate_diverges_at": tuned.next_diverges_at,
        "status": tuned.result.status,
        "published": line.published,
        "ours": finite(tuned.distance),
        "ratio": finite(ratio) if judged else None,
        "off": off,
        "published_value_reached_at": _reached_published(runner, line, tuned) if judged else None,
        "trials": [_trial(trial) for trial in tuned.trials],
        "other_scales": _other_scales(runner, curve, tuned, extra) if off else [],
    }


def _family(
    runner: CurveRunner,
    figure: Figure,
    labels: tuple[str, ...],
    tuned: Mapping[Curve, Tuned],
    extra: ExtraRuns,
) -> Values:
    """Return how the lines of a family ended at their common rate."""
    curves = _members(figure, labels)
    common = _common_index(curves, tuned)
    ends = [runner.end(curve, extra.common[curve, common]) for curve in curves]
    return {
        "learning_rate": GRID.rate(common),
        "distances": {label: finite(end) for label, end in zip(labels, ends, strict=True)},
        "largest_over_smallest": finite(max(ends) / min(ends)) if min(ends) > 0 else None,
    }


def figure_report(
    runner: CurveRunner,
    figure: Figure,
    tuned: Mapping[Curve, Tuned],
    extra: ExtraRuns,
    *,
    judged: bool,
) -> Values:
    """Return what the report says of a figure: its lines, common rates and claims.

    Parameters
    ----------
    runner : CurveRunner
    figure : Figure
    tuned : dict of Curve to Tuned
    extra : ExtraRuns
    judged : bool
        As for ``run_extras``; without, every claim ``holds`` as null.

    Returns
    -------
    dict
        Ready for JSON; null for what is not finite.
    """
    ends = {line.label: tuned[line.curve].distance for line in figure.lines}
    return {
        "key": figure.key,
        "title": figure.title,
        "skipped": None,
        "lines": [
            _line(runner, panel.title, line, tuned[line.curve], extra, judged)
            for panel in figure.panels
            for line in panel.lines
        ],
        "common_rates": [
            _family(runner, figure, labels, tuned, extra) for labels in figure.families
        ],
        "checks": [
            {
                "text": claim.text,
                "lines": list(claim.labels),
                "holds": claim(ends) if judged else None,
            }
            for claim in figure.claims
        ],
        "notes": list(figure.notes),
    }
