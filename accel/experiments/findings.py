"""What a reproduction found, as plain values: the content of ``report.json``."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from accel._reports.text import finite
from accel.experiments.figures.curves import Curve, Figure, Line, is_off
from accel.experiments.laboratory import Laboratory, Runs
from accel.tuning import Trial, Tuned
from accel.tuning.stages import GRID

__all__ = ["Extra", "figure_findings", "run_extras"]

_LARGER = 10.0  # initial factors that are tried as well, by the line's own

Findings = dict[str, Any]


@dataclass(frozen=True)
class Extra:
    """Full runs beside the search: at a family's common rate, and from other initial scales."""

    common: Runs
    scales: Runs


def _index(tuned: Tuned) -> int:
    return GRID.index(tuned.rate)


def _members(figure: Figure, labels: tuple[str, ...]) -> list[Curve]:
    curves = {line.label: line.curve for line in figure.lines}
    return [curves[label] for label in labels]


def _rescaled(curve: Curve) -> list[Curve]:
    """Return the curve from larger factors; nothing at depth 1, whose problem is convex."""
    scale = curve.start.scale
    if curve.model.depth == 1 or scale is None:
        return []
    return [replace(curve, start=replace(curve.start, scale=_LARGER * scale))]


def run_extras(lab: Laboratory, figures: Iterable[Figure], tuned: Mapping[Curve, Tuned]) -> Extra:
    """Run the families of lines at a common rate, and lines that are off from other scales.

    Parameters
    ----------
    lab : Laboratory
    figures : iterable of Figure
    tuned : dict of Curve to Tuned

    Returns
    -------
    Extra
    """
    figures = list(figures)
    wanted = []
    for figure in figures:
        for labels in figure.families:
            curves = _members(figure, labels)
            common = min(_index(tuned[curve]) for curve in curves)
            wanted += [(curve, common) for curve in curves]
    # A line at its own best rate has been run: that rate is the family's for at least one.
    known = {job: tuned[job[0]].result for job in wanted if _index(tuned[job[0]]) == job[1]}
    fresh = lab.run_at("common rate", [job for job in wanted if job not in known])
    off = [
        line.curve
        for figure in figures
        for line in figure.lines
        if is_off(tuned[line.curve].distance / line.published)
    ]
    scales = lab.run_at(
        "other initial scales",
        [
            (other, _index(tuned[curve]))
            for curve in dict.fromkeys(off)
            for other in _rescaled(curve)
        ],
    )
    return Extra(known | fresh, scales)


def _trial(trial: Trial) -> Findings:
    return asdict(trial) | {"distance": finite(trial.distance)}


def _published_reached(lab: Laboratory, line: Line, tuned: Tuned) -> int | None:
    """Return the first recorded step at which ours is at the published end value or below."""
    if math.isinf(tuned.distance):
        return None
    there = np.flatnonzero(lab.distances(line.curve, tuned.result) <= line.published)
    return int(tuned.result.history.step[there[0]]) if len(there) else None


def _line(lab: Laboratory, panel: str, line: Line, tuned: Tuned, extra: Extra) -> Findings:
    curve, ratio = line.curve, tuned.distance / line.published
    others = []
    if is_off(ratio):
        found = ((other, extra.scales[other, _index(tuned)]) for other in _rescaled(curve))
        others = [
            {
                "scale": other.start.scale,
                "distance": finite(lab.end(other, result)),
                "diverged_at": result.diverged_at,
            }
            for other, result in found
        ]
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
        "ratio": finite(ratio),
        "off": is_off(ratio),
        "published_value_reached_at": _published_reached(lab, line, tuned),
        "trials": [_trial(trial) for trial in tuned.trials],
        "other_scales": others,
    }


def _family(
    lab: Laboratory,
    figure: Figure,
    labels: tuple[str, ...],
    tuned: Mapping[Curve, Tuned],
    extra: Extra,
) -> Findings:
    curves = _members(figure, labels)
    common = min(_index(tuned[curve]) for curve in curves)
    ends = [lab.end(curve, extra.common[curve, common]) for curve in curves]
    return {
        "learning_rate": GRID.rate(common),
        "distances": {label: finite(end) for label, end in zip(labels, ends, strict=True)},
        "largest_over_smallest": finite(max(ends) / min(ends)) if min(ends) > 0 else None,
    }


def figure_findings(
    lab: Laboratory, figure: Figure, tuned: Mapping[Curve, Tuned], extra: Extra
) -> Findings:
    """Say what was found about a figure, its claims included.

    Parameters
    ----------
    lab : Laboratory
    figure : Figure
    tuned : dict of Curve to Tuned
    extra : Extra

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
            _line(lab, panel.title, line, tuned[line.curve], extra)
            for panel in figure.panels
            for line in panel.lines
        ],
        "common_rates": [_family(lab, figure, labels, tuned, extra) for labels in figure.families],
        "checks": [
            {"text": claim.text, "lines": list(claim.labels), "holds": claim(ends)}
            for claim in figure.claims
        ],
        "notes": list(figure.notes),
    }
