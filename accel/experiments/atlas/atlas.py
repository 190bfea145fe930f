"""The whole atlas: its runs, its table, its figures and its sentences."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accel._files import archives
from accel._reports import machine
from accel._reports.text import finite
from accel.experiments.atlas.pictures import pictures
from accel.experiments.atlas.race import TARGETS
from accel.experiments.atlas.sentences import prediction, sentences
from accel.experiments.atlas.settings import Settings
from accel.experiments.atlas.speedups import Cell, Interval, cells
from accel.experiments.atlas.survey import Progress, survey
from accel.experiments.atlas.two_points import Pair, pairs
from accel.experiments.drawing import save

__all__ = ["COLUMNS", "make_atlas", "other_settings"]

_STATE, _REPORT, _TABLE = "state", "atlas.json", "atlas.csv"

#: The columns of ``atlas.csv``, one row a cell. Empty is an end that is not known.
COLUMNS = (
    "p", "condition", "alignment", "start", "depth", "kind", "margin", "target", "seeds",
    "speedup_low", "speedup_high", "first_quartile_low", "first_quartile_high",
    "third_quartile_low", "third_quartile_high", "steps_depth_1", "steps", "few",
)  # fmt: skip


def _row(cell: Cell) -> list[Any]:
    ends = [cell.speedup, *cell.quartiles]
    return [
        cell.p, cell.condition, cell.alignment, cell.start, cell.depth, cell.kind, cell.margin,
        cell.target, cell.seeds, *(each for interval in ends for each in _ends(interval)),
        finite(cell.plain.high), finite(cell.deep.high), int(cell.few),
    ]  # fmt: skip


def _ends(interval: Interval) -> tuple[float | None, float | None]:
    return interval.low or None, finite(interval.high)


def other_settings(out: Path, settings: Settings) -> str | None:
    """Say in what an atlas in a folder has other settings; None if there is none, or the same."""
    try:
        held = json.loads((out / _REPORT).read_text(encoding="utf-8"))["settings"]
        names = settings.differing(held)
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return ", ".join(f"{name}: {held[name]}" for name in names) or None


def _pair(pair: Pair) -> dict[str, Any]:
    return {**pair._asdict(), "measured": finite(pair.measured)}


def make_atlas(
    settings: Settings, out: Path, *, threads: int, progress: Progress
) -> tuple[dict[str, Any], list[Cell]]:
    """Run what is missing, and write table, figures and report.

    Parameters
    ----------
    settings : Settings
    out : Path
        Folder of all files, and of the state, by which the same call goes on.
    threads : int
    progress : callable
        Shows how many problems are done.

    Returns
    -------
    dict
        The content of ``atlas.json``.
    list of Cell

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C; the same call goes on from there.
    OSError
        If a file cannot be written.
    """
    began = time.perf_counter()
    surveyed = survey(settings, out / _STATE, threads, progress)
    made, two = list(cells(surveyed, settings)), pairs()
    archives.write_text(out / _TABLE, _csv(made))
    report: dict[str, Any] = {
        "settings": settings.key(),
        "targets": list(TARGETS),
        "sentences": sentences(made),
        "prediction": prediction(made),
        "cells": len(made),
        "largest_duality_gap": max(each.duality_gap / each.loss for each in surveyed),
        "two_points": [_pair(pair) for pair in two],
        "seconds": time.perf_counter() - began,
        "facts": machine.facts(),
        "finished": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }
    for name, figure in pictures(made, settings, two):
        save(out / name, figure)
    archives.write_text(out / _REPORT, json.dumps(report, indent=2, allow_nan=False) + "\n")
    return report, made


def _csv(made: Sequence[Cell]) -> str:
    lines = [COLUMNS, *(_row(cell) for cell in made)]
    return "".join(",".join("" if v is None else str(v) for v in line) + "\n" for line in lines)
