"""The results of a reproduction as plain values: what ``report.json`` says of the figures."""

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from accel._reports.text import finite
from accel._support.arrays import Array
from accel.experiments import bands
from accel.experiments.bands import Band, Bands
from accel.experiments.figures.curves import Claim, Curve, Ends, Figure, Line, is_off
from accel.experiments.runner import CurveResults, CurveRunner
from accel.tuning import Trial, Tuned
from accel.tuning.stages import GRID
from accel.tuning.trials import first_within

__all__ = ["ExtraRuns", "below_since", "figure_report", "run_extras"]

Values = dict[str, Any]


@dataclass(frozen=True)
class ExtraRuns:
    """Whole runs made after the search.

    Attributes
    ----------
    common : dict
        Families of lines at a common rate.
    bands : dict of Curve to Band
        Of lines whose claims are judged over rates and seeds.
    """

    common: CurveResults
    bands: Bands


def _common_index(curves: Iterable[Curve], tuned: Mapping[Curve, Tuned]) -> int:
    """Return the lowest of the curves' best rates, as a point of the grid."""
    return min(GRID.index(tuned[curve].rate) for curve in curves)


def _members(figure: Figure, labels: tuple[str, ...]) -> list[Curve]:
    curves = {line.label: line.curve for line in figure.lines}
    return [curves[label] for label in labels]


def run_extras(
    runner: CurveRunner, figures: Iterable[Figure], tuned: Mapping[Curve, Tuned], *, judged: bool
) -> ExtraRuns:
    """Run the families of lines at a common rate, and bands of lines that claims are about.

    Parameters
    ----------
    runner : CurveRunner
    figures : iterable of Figure
    tuned : dict of Curve to Tuned
    judged : bool
        Whether claims are judged, which are about runs of full length.

    Returns
    -------
    ExtraRuns
    """
    figures = list(figures)
    family = []
    for figure in figures:
        for labels in figure.families:
            curves = _members(figure, labels)
            common = _common_index(curves, tuned)
            family += [(curve, common) for curve in curves]
    made = bands.make(runner, figures, tuned, family) if judged else {}
    runs = runner.run_at("common rate", family)
    return ExtraRuns(runs, made)


def _trial(trial: Trial) -> Values:
    return asdict(trial) | {"distance": finite(trial.distance)}


def _reached_published(runner: CurveRunner, line: Line, tuned: Tuned) -> int | None:
    """Return the first recorded step at which ours is at the published end value or below."""
    if math.isinf(tuned.distance) or line.published is None:
        return None
    record = first_within(tuned.result, runner.optimum(line.curve.p).loss, line.published)
    return None if record is None else int(tuned.result.history.step[record])


def _band(band: Band | None) -> Values:
    """Return how a line ended at every place of its band, if it has one, and of what limit."""
    if band is None:
        return {"band": [], "limit": None, "limit_lowered": False}
    places = [
        {
            "share": place.share,
            "seed": other.start.seed,
            "learning_rate": GRID.rate(index),
            "distance": finite(end),
            "diverged_at": result.diverged_at,
        }
        for place, (other, index), end, result in zip(
            bands.PLACES, band.jobs, band.ends, band.results, strict=True
        )
    ]
    return {"band": places, "limit": band.limit, "limit_lowered": band.lowered}


def _line(
    runner: CurveRunner, panel: str, line: Line, tuned: Tuned, extra: ExtraRuns, judged: bool
) -> Values:
    curve, ratio = line.curve, line.ratio(tuned.distance) if judged else None
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
        "rate_given": curve.point is not None,
        "at_edge_of_grid": tuned.at_edge,
        "next_rate_diverges_at": tuned.next_diverges_at,
        "status": tuned.result.status,
        "published": line.published,
        "ours": finite(tuned.distance),
        "ratio": None if ratio is None else finite(ratio),
        "off": is_off(ratio),
        "published_value_reached_at": _reached_published(runner, line, tuned) if judged else None,
        "trials": [_trial(trial) for trial in tuned.trials],
        **_band(extra.bands.get(curve)),
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


def _crossings(runner: CurveRunner, figure: Figure, tuned: Mapping[Curve, Tuned]) -> list[Values]:
    """Return from which recorded step on one line lies below another to the end."""
    told = []
    for labels in figure.crossings:
        curves = _members(figure, labels)
        for above, below in itertools.combinations(range(len(curves)), 2):
            upper, lower = (
                runner.distances(curves[which], tuned[curves[which]].result)
                for which in (above, below)
            )
            step = tuned[curves[below]].result.history.step
            since = below_since(lower, upper)
            told.append(
                {
                    "above": labels[above],
                    "below": labels[below],
                    "from_step": None if since is None else int(step[since]),
                }
            )
    return told


def below_since(lower: Array, upper: Array) -> int | None:
    """Return the record from which on one curve is below another to the end; None if it is not.

    A curve that ended early, since it diverged, is below and above nothing.
    """
    if len(lower) != len(upper) or lower[-1] >= upper[-1]:
        return None
    return int(np.flatnonzero(np.append(True, lower[:-1] >= upper[:-1]))[-1])


def _check(claim: Claim, figure: Figure, ends: Ends, extra: ExtraRuns, judged: bool) -> Values:
    """Return what a claim says, of what, and whether it holds."""
    if not judged:
        places = None
    elif claim.banded:
        places = bands.held(figure, claim, extra.bands)
    else:
        places = [claim(ends)]
    return {
        "text": claim.text,
        "reading": claim.reading,
        "lines": list(claim.labels),
        "holds": None if places is None else all(places),
        "held": [sum(places), len(places)] if places is not None and claim.banded else None,
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
    about = {} if figure.about is None else {"about": figure.about}
    return {
        "key": figure.key,
        "title": figure.title,
        **about,
        "skipped": None,
        "lines": [
            _line(runner, panel.title, line, tuned[line.curve], extra, judged)
            for panel in figure.panels
            for line in panel.lines
        ],
        "common_rates": [
            _family(runner, figure, labels, tuned, extra) for labels in figure.families
        ],
        "crossings": _crossings(runner, figure, tuned) if judged else [],
        "checks": [_check(claim, figure, ends, extra, judged) for claim in figure.claims],
        "notes": list(figure.notes),
    }
