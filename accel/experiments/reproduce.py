"""All figures of the paper: makes the runs that are missing, and writes figures and report."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from accel._core.problem import Problem
from accel._files import archives, paths
from accel._reports import machine
from accel._reports.csv_files import history_csv
from accel._support import validation
from accel._support.backends import resolve
from accel.experiments import convnet, digits, page
from accel.experiments.bands import Bands
from accel.experiments.drawing import drawn, save
from accel.experiments.figures import LINEAR
from accel.experiments.figures.curves import Curve, Figure
from accel.experiments.report import figure_report, run_extras
from accel.experiments.runner import PLAN, CurveRunner
from accel.experiments.time_left import StageProgress, TimeLeft
from accel.tuning import Tuned
from accel.tuning.stages import ROUNDS

__all__ = [
    "KEYS",
    "QUICK",
    "Settings",
    "default_figures",
    "finished_report",
    "other_settings",
    "paged",
    "reproduce",
]

#: Every figure: those of linear networks, and the convolutional network's with its linear version.
KEYS = (*LINEAR, digits.KEY, convnet.KEY)

QUICK = 50  # --quick divides the steps by this
_QUICK_PLAN = 4  # version of what a quick run does
#: Twelve rates a decade are fine enough, since claims that hang on the largest rate that survives
#: are judged over bands; a quick run takes rates of the coarse grid, four a decade.
_ROUNDS, _QUICK_ROUNDS = ROUNDS | {"refine": 1}, ROUNDS | {"refine": 0}
_STATE, _CURVES = "state", "curves"
_REPORT, _PAGE = "report.json", "report.html"

Report = dict[str, Any]


def default_figures(quick: bool) -> tuple[str, ...]:
    """Return the keys of all figures; figure 5 right, as slow as all others, not of a quick run."""
    return tuple(key for key in KEYS if not (quick and key == convnet.KEY))


@dataclass(frozen=True)
class Settings:
    """The settings of a reproduction; a report with other settings is another report.

    Parameters
    ----------
    figures : sequence of str
        Keys of figures, of ``KEYS``.
    quick : bool
        A fiftieth of the steps. What the paper says of full length is not judged then.
    seed : int
    data : str
        Name of the data of the linear figures.
    backend : str
        As for ``train``, for the linear figures.

    Raises
    ------
    TypeError, ValueError
        If there is no such figure, or none, or the seed is no seed, or there is no such backend.
    """

    figures: Sequence[str] = KEYS
    quick: bool = False
    seed: int = 0
    data: str = "gas"
    backend: str = "auto"

    def __post_init__(self) -> None:
        if not self.figures:
            raise ValueError(f"figures must not be empty, choose of {', '.join(KEYS)}")
        for key in self.figures:
            validation.choice("figures", key, KEYS)
        validation.integer("seed", self.seed, least=0)
        resolve(self.backend)
        chosen = tuple(key for key in KEYS if key in self.figures)
        object.__setattr__(self, "figures", chosen)

    @property
    def divisor(self) -> int:
        """The number by which all steps are divided."""
        return QUICK if self.quick else 1

    def linear(self) -> list[Figure]:
        """Return the figures of linear networks."""
        return [
            LINEAR[key].changed(self.divisor, self.seed) for key in self.figures if key in LINEAR
        ]

    def key(self) -> Report:
        """Return what a report is recognised by."""
        plan = _QUICK_PLAN if self.quick else PLAN
        key = {"plan": plan, "quick": self.quick, "seed": self.seed, "data": self.data}
        return key if self.backend == "auto" else key | {"backend": self.backend}


def finished_report(out: Path, settings: Settings, digest: str | None) -> Report | None:
    """Return the report in a folder if it is complete and of the same settings and data.

    Parameters
    ----------
    out : Path
    settings : Settings
    digest : str or None
        Of the data of the linear figures; None if there are none among the figures.

    Returns
    -------
    dict or None
        With the figures of the settings alone; None also for a file that is no such report.
    """
    try:
        report: Report = json.loads((out / _REPORT).read_text(encoding="utf-8"))
        same = report["settings"] == settings.key() and digest in (None, report["data"]["sha256"])
        figures = {figure["key"]: figure for figure in report["figures"]}
        page.render(report, {})  # raises if something is missing
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    if not same or not all(key in figures for key in settings.figures):
        return None
    return report | {"figures": [figures[key] for key in settings.figures]}


def other_settings(out: Path, settings: Settings) -> str | None:
    """Say in what a report that took long has other settings; None if there is none in a folder.

    One of a quick run is quickly made again, and one that an earlier version made for the same
    seed, data and length is no other one.
    """
    try:
        held = json.loads((out / _REPORT).read_text(encoding="utf-8"))["settings"]
        pairs = [(name, held[name], own) for name, own in settings.key().items() if name != "plan"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    if held.get("quick"):
        return None
    return ", ".join(f"{name}: {there}" for name, there, own in pairs if there != own) or None


def _write_curves(out: Path, runner: CurveRunner, tuned: Mapping[Curve, Tuned]) -> None:
    folder = out / _CURVES
    folder.mkdir(parents=True, exist_ok=True)
    for curve, best in tuned.items():
        distances = runner.distances(curve, best.result)
        history_csv(folder / f"{curve.name}.csv", best.result.history, distances)
        best.result.save(folder / f"{curve.name}.npz")


def _draw_all(
    out: Path,
    runner: CurveRunner,
    figures: Sequence[Figure],
    tuned: Mapping[Curve, Tuned],
    bands: Bands,
    quick: bool,
) -> None:
    envelopes = {
        curve: band.envelope(runner.distances(curve, result) for result in band.results)
        for curve, band in bands.items()
    }
    for figure in figures:
        points = {
            line.label: (
                tuned[line.curve].result.history.step,
                runner.distances(line.curve, tuned[line.curve].result),
            )
            for line in figure.lines
        }
        shaded = {
            line.label: envelopes[line.curve]
            for line in figure.lines
            if line.label in figure.banded and line.curve in envelopes
        }
        save(out / f"figure{figure.key}", drawn(figure, points, shaded, stars=not quick))


def _facts() -> machine.Facts:
    facts = machine.facts()
    facts["versions"] |= {name: machine.version(name) for name in ("matplotlib", "torch")}
    return facts


def reproduce(
    settings: Settings,
    out: Path,
    make: Callable[[float], Problem],
    *,
    progress: StageProgress,
    threads: int | None = None,
) -> Report:
    """Run the experiments, or go on with those of earlier sittings, and write everything.

    Parameters
    ----------
    settings : Settings
    out : Path
        Folder of the figures, the curves, the report, and the state of the sweeps.
    make : callable
        ``make(p)`` returns the problem of the linear figures with that exponent.
    progress : callable
        Shows how far it is.
    threads : int, optional
        As for ``train``.

    Returns
    -------
    dict
        The content of ``report.json``.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C; the same call goes on from there.
    """
    began = time.perf_counter()
    figures = settings.linear()
    runner = CurveRunner(
        make, out / _STATE, TimeLeft(progress), threads, settings.backend,
        _QUICK_ROUNDS if settings.quick else _ROUNDS,
    )  # fmt: skip
    others = [module for module in (digits, convnet) if module.KEY in settings.figures]
    for module in others:
        runner.time_left.reserve(module.expected_units(settings.divisor))
    tuned = runner.tune(line.curve for figure in figures for line in figure.lines)
    out.mkdir(parents=True, exist_ok=True)
    judged = not settings.quick
    extra = run_extras(runner, figures, tuned, judged=judged)
    _write_curves(out, runner, tuned)
    _draw_all(out, runner, figures, tuned, extra.bands, settings.quick)
    reports = [figure_report(runner, figure, tuned, extra, judged=judged) for figure in figures]
    report: Report = {
        "settings": settings.key(),
        "data": runner.described(),
        "figures": reports,
        "seconds": {
            "training": sum(timing.seconds for timing in runner.timings),
            "this_sitting": 0.0,
            "stages": [asdict(timing) for timing in runner.timings],
        },
        "facts": _facts(),
        "finished": "",
    }

    def write() -> None:
        report["seconds"]["this_sitting"] = time.perf_counter() - began
        report["finished"] = time.strftime("%Y-%m-%d %H:%M:%S %z")
        write_report(out, report)

    write()
    for module in others:
        reports.append(
            module.run(
                out, divisor=settings.divisor, seed=settings.seed, time_left=runner.time_left,
                state=out / _STATE, threads=threads, backend=settings.backend,
            )
        )  # fmt: skip
        report["seconds"]["training"] += reports[-1]["seconds"]
        write()
    return report


def _drawings(folder: Path, report: Report) -> dict[str, bytes]:
    """Read the drawings of a report that lie in a folder, by the keys of their figures."""
    files = {figure["key"]: folder / f"figure{figure['key']}.svg" for figure in report["figures"]}
    return {key: path.read_bytes() for key, path in files.items() if path.is_file()}


def write_report(out: Path, report: Report) -> None:
    """Write ``report.json`` and ``report.html``; the figures are there already."""
    archives.write_text(out / _REPORT, json.dumps(report, indent=2, allow_nan=False) + "\n")
    archives.write_text(out / _PAGE, page.render(report, _drawings(out, report)))


def paged(path: Path) -> tuple[Report, Path]:
    """Make the page of a report that was written before, and run nothing.

    Parameters
    ----------
    path : Path
        Of a ``report.json``. The page is written beside it, with the drawings that lie there.

    Returns
    -------
    dict
        The report.
    Path
        Of its page.

    Raises
    ------
    OSError
        If a file cannot be read or written.
    ValueError
        If there is no such file, or it is no report.
    """
    path = paths.given("--report", path)
    if refusal := paths.refusal(path):
        raise paths.unreadable(path, refusal)
    written = path.with_suffix(".html")
    if written == path:
        raise ValueError(f"--report must be a .json, got {paths.text(path)}")
    try:
        report: Report = json.loads(path.read_text(encoding="utf-8"))
        rendered = page.render(report, _drawings(path.parent, report))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise ValueError(f"{paths.text(path)} is no report.json of accel reproduce") from None
    archives.write_text(written, rendered)
    return report, written
