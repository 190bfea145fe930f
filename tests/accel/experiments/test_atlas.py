"""The whole atlas, on problems so small that it takes a moment: its files, and going on."""

import csv
import json
import math
import os
import signal
import threading

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")
pytest.importorskip("matplotlib")

from accel.experiments.atlas import atlas, survey, two_points
from accel.experiments.atlas.atlas import COLUMNS, make_atlas
from accel.experiments.atlas.pictures import pictures
from accel.experiments.atlas.race import MARGINS, TARGETS
from accel.experiments.atlas.settings import Settings, chosen
from accel.experiments.atlas.speedups import Cell, Interval
from accel.experiments.atlas.two_points import Pair, pairs
from accel.theory import two_point

TINY = Settings(
    exponents=(2.0, 4.0), conditions=(10.0,), alignments=("top", "spread"), starts=(1e-2, 1e-1),
    depths=(1, 2), seeds=3, steps=300, n=12, d=3,
)  # fmt: skip
PAIRS = [Pair(4.0, 2.0, 2, 14, 5, 4), Pair(4.0, 4.0, 2, 54, 9, math.inf)]
NAMES = ["tenth", "hundredth", "thousandth", "millionth", "half", "starts", "predicted",
         "two-points"]  # fmt: skip


def silent(done, total, left):
    pass


@pytest.fixture(autouse=True)
def one_pair(monkeypatch):
    monkeypatch.setattr(
        atlas, "pairs", lambda: [Pair(4.0, 2.0, 2, 14, 5, 4), Pair(4.0, 4.0, 2, 54, 9, INF)]
    )


INF = math.inf


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of an atlas, and what ``make_atlas`` returned."""
    out = tmp_path_factory.mktemp("atlas")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atlas, "pairs", lambda: PAIRS)
        return out, *make_atlas(TINY, out, threads=2, progress=silent)


def rows(folder):
    with (folder / "atlas.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_file_is_there(made):
    out, report, _ = made
    assert json.loads((out / "atlas.json").read_text()) == report
    for name in NAMES:
        assert (out / f"atlas-{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "</svg>" in (out / f"atlas-{name}.svg").read_text()
    assert {path.name for path in (out / "state").iterdir()} == {
        f"p{p}-condition10-{alignment}-seed{seed}-{TINY.digest}.json"
        for p in (2, 4) for alignment in ("top", "spread") for seed in range(3)
    }  # fmt: skip
    assert report["settings"] == TINY.key()
    assert report["largest_duality_gap"] < 1e-6
    assert len(report["sentences"]) == 3


def test_heat_maps_have_the_cells_of_the_table(made):
    """The first figure: a tenth of the distance, by alignment, from the start in the middle."""
    _, _, cells = made
    name, figure = next(pictures(cells, TINY, []))
    assert name == "atlas-tenth"
    panels = figure.axes[:2]
    assert [ax.get_title() for ax in panels] == ["depth 2, target top", "depth 2, target spread"]
    for ax, alignment in zip(panels, TINY.alignments, strict=True):
        own = [cell for cell in cells
               if (cell.alignment, cell.start, cell.kind, cell.margin, cell.target)
               == (alignment, 0.1, "network", "best", 0.1)]  # fmt: skip
        assert [label.get_text() for label in ax.get_yticklabels()] == ["2", "4"]
        texts = {(text.get_position()[::-1], text.get_text()) for text in ax.texts}
        told = [f"({cell.speedup})" if cell.few else str(cell.speedup) for cell in own]
        assert texts == {((row, 0), text) for row, text in enumerate(told)}


def test_bounds_are_hatched_unknown_is_grey_and_few_steps_are_pale():
    settings = Settings(**{**vars(TINY), "alignments": ("top",), "conditions": (1e1, 1e2)})
    known = Interval(8, 8)
    speedups = {(2.0, 1e1): known, (2.0, 1e2): Interval(8, math.inf),
                (4.0, 1e1): Interval(0, math.inf), (4.0, 1e2): known}  # fmt: skip
    cells = [
        Cell(p, condition, "top", 0.1, 2, kind, margin, target, speedup, (known, known), known
             if (p, condition) == (4.0, 1e2) else Interval(80, 80), Interval(40, 40), 1)
        for (p, condition), speedup in speedups.items()
        for kind in ("network", "end-to-end") for margin in MARGINS for target in TARGETS
    ]  # fmt: skip
    cells += [cell._replace(start=0.01) for cell in cells if cell.kind == "network"]
    _, figure = next(pictures(cells, settings, []))
    ax = figure.axes[0]
    assert [text.get_text() for text in ax.texts] == ["8", "≥8", "?", "(8)"]
    assert [(patch.get_hatch(), patch.get_xy()) for patch in ax.patches] == [("//", (0.5, -0.5))]
    image = ax.images[0].get_array()
    assert np.array_equal(image[0, 0], image[0, 1])
    assert len(set(image[1, 0])) == 1
    assert np.all(image[1, 1] > image[0, 0])


def test_the_table_has_every_cell_once(made):
    out, report, cells = made
    table = rows(out)
    # A place has networks from each start, and the end-to-end rule from the one in the middle.
    assert len(table) == len(cells) == report["cells"] == 4 * 3 * 2 * 4
    assert tuple(table[0]) == COLUMNS
    places = [tuple(row[name] for name in COLUMNS[:8]) for row in table]
    assert len(set(places)) == len(places)
    assert {row["start"] for row in table if row["kind"] == "end-to-end"} == {"0.1"}


def test_a_row_is_the_median_of_its_seeds(made):
    out, _, _ = made
    row = next(row for row in rows(out) if row["p"] == "4.0" and row["start"] == "0.1"
               and row["alignment"] == "spread" and row["kind"] == "network"
               and row["margin"] == "half" and row["target"] == "0.1")  # fmt: skip
    steps = []
    for seed in range(3):
        kept = json.loads(
            (out / "state" / f"p4-condition10-spread-seed{seed}-{TINY.digest}.json").read_text()
        )
        own = {each["depth"]: each["reached"]["half"][0][0] for each in kept["outcomes"]
               if each["start"] == 0.1 and each["kind"] == "network"}  # fmt: skip
        steps.append((own[1], own[2]))
    assert float(row["speedup_low"]) == np.median([a / b for a, b in steps])
    assert row["speedup_low"] == row["speedup_high"]
    assert float(row["steps_depth_1"]) == np.median([a for a, _ in steps])
    assert float(row["steps"]) == np.median([b for _, b in steps])


def test_an_interrupted_atlas_goes_on_and_ends_as_if_nothing_had_been(made, tmp_path, monkeypatch):
    def interrupting(done, total, left):
        assert total == 12
        if done >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_atlas(TINY, tmp_path, threads=1, progress=interrupting)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "state").glob("*.json")}
    assert 3 <= len(before) < 12
    assert not (tmp_path / "atlas.json").exists()
    (damaged, *kept) = before
    damaged.write_text("{")
    shown = []
    make_atlas(TINY, tmp_path, threads=2, progress=lambda *told: shown.append(told))
    assert shown[0] == (len(kept), 12, None)
    assert shown[-1][:2] == (12, 12)
    assert all(path.stat().st_mtime_ns == before[path] for path in kept)
    for path in [*made[0].glob("*.csv"), *(made[0] / "state").iterdir()]:
        assert (tmp_path / path.relative_to(made[0])).read_bytes() == path.read_bytes()
    monkeypatch.setattr(survey, "race", None)  # would fail if it were called
    make_atlas(TINY, tmp_path, threads=1, progress=silent)


def test_atlases_of_other_settings_keep_what_each_has_made():
    """So that a quick one in the folder of a long one that was interrupted costs nothing."""
    others = [Settings(**{**vars(TINY), **change}) for change in (
        {"starts": (0.1,)}, {"depths": (1, 2, 3)}, {"steps": 7}, {"n": 60})]  # fmt: skip
    assert len({each.digest for each in [TINY, *others]}) == 5
    assert Settings(**{**vars(TINY), "seeds": 1}).digest == TINY.digest


def test_ctrl_c_ends_the_runs_in_all_threads(tmp_path):
    endless = Settings(**{**vars(TINY), "conditions": (1e6,), "steps": 10**9})
    timers = []

    def begin(done, total, left):
        if not timers:
            timers.append(threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)))
            timers[0].start()

    with pytest.raises(KeyboardInterrupt):
        make_atlas(endless, tmp_path, threads=2, progress=begin)
    assert not [each for each in threading.enumerate() if each.name.startswith("accel-")]
    assert not list((tmp_path / "state").iterdir())


def test_an_error_in_a_thread_is_raised(tmp_path, monkeypatch):
    def failing(*arguments):
        raise OSError("no space")

    monkeypatch.setattr(survey, "race", failing)
    with pytest.raises(OSError, match="no space"):
        make_atlas(TINY, tmp_path, threads=2, progress=silent)


def test_other_settings_are_told(made):
    out = made[0]
    assert atlas.other_settings(out, TINY) is None
    assert atlas.other_settings(out / "none", TINY) is None
    other = Settings(**{**vars(TINY), "seeds": 4, "steps": 10})
    assert atlas.other_settings(out, other) == "seeds: 3, steps: 300"


@pytest.mark.parametrize("content", ["{", "[]", '{"settings": 3}', '{"settings": {}}', "\xff"])
def test_what_is_no_atlas_has_no_settings(tmp_path, content):
    (tmp_path / "atlas.json").write_text(content, encoding="latin-1")
    assert atlas.other_settings(tmp_path, TINY) is None


def test_what_an_atlas_covers():
    full = chosen(False, None)
    assert len(full.tasks()) == len(set(full.tasks())) == 6 * 6 * 3 * 5
    assert full.predicted_start == 1e-2
    assert [len(full.rules(start)) for start in full.starts] == [5, 9, 5]
    assert len(chosen(True, None).tasks()) == 4 * 3 * 3
    assert len(chosen(True, 2).tasks()) == 2 * len(chosen(True, None).tasks())
    assert {task.seed for task in chosen(False, 2).tasks()} == {0, 1}
    with pytest.raises(ValueError, match="seeds must be >= 1 and <= 1000, got 0"):
        Settings(seeds=0)


def test_two_points_are_those_of_the_theory_and_networks_beside_them():
    (pair,) = pairs((4.0,), (8.0,), (2,))
    rule = two_point(8.0, 1.0, 4.0, 2)
    assert (pair.plain, pair.predicted) == (rule.plain.steps, rule.deep.steps)
    assert 0.5 < pair.measured / pair.predicted < 2


def test_a_network_that_is_not_there_in_time_has_no_steps():
    assert math.isinf(two_points._network(4.0, 8.0, 2, 1e-6, 20))


def test_plain_descent_takes_longer_by_the_power_of_the_ratio():
    """The (y1/y2)^(p-2) of the paper's section 7, for targets that are far apart."""
    near, far = pairs((4.0,), (8.0, 16.0), (2,))
    assert far.plain / near.plain == pytest.approx(2.0 ** (4 - 2), rel=0.1)
