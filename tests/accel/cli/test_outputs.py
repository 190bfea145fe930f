"""The files that commands write: curves as CSV, figures, and where they go."""

import csv
import os

import numpy as np
import pytest

import accel

pytest.importorskip("matplotlib")

from accel._reports.csv_files import history_csv
from accel._reports.figures import save_figure
from accel.cli import figures, outputs
from accel.tuning import Grid, Model, compare

PROBLEM = accel.LpProblem(np.eye(3) + 1.0, [3.0, 2.0, -1.0])
ALL = (".npz", ".csv", ".png")
PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def comparison():
    return compare(PROBLEM, [Model("gd", 1), Model("gd", 2)], 30, grid=Grid(4))


def test_curves_as_csv(tmp_path, comparison):
    outputs.comparison_csv(tmp_path / "c.csv", comparison)
    with (tmp_path / "c.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == sum(len(tuned.result.history) for tuned in comparison.models)
    last = rows[-1]
    assert (last["optimizer"], last["depth"], last["step"]) == ("gd", "2", "30")
    assert float(last["loss"]) == comparison.models[1].result.loss
    assert float(last["distance"]) == comparison.models[1].distance
    assert float(last["learning_rate"]) == comparison.models[1].rate


def test_a_history_as_csv(tmp_path, comparison):
    history = comparison.models[0].result.history
    history_csv(tmp_path / "h.csv", history)
    table = np.genfromtxt(tmp_path / "h.csv", delimiter=",", names=True)
    assert table.dtype.names == ("step", "loss", "gradient_norm", "weight_norm", "seconds")
    np.testing.assert_array_equal(table["loss"], history.loss)


@pytest.mark.parametrize("floor", [0.0, 1e-3, 1e9])
def test_the_figure_of_a_comparison(tmp_path, comparison, floor):
    figure = figures.comparison_figure(comparison, "no $math$ $", floor)
    against_steps, against_seconds = figure.axes
    assert against_steps.get_yscale() == "log"
    lines = against_steps.get_lines()
    assert [line.get_label().split(", rate")[0] for line in lines[:2]] == [
        "gd, depth 1", "gd, depth 2",
    ]  # fmt: skip
    drawn = lines[0].get_ydata()
    assert not np.any(drawn <= floor)
    assert against_seconds.get_xlabel() == "training time (ms)"
    save_figure(tmp_path / "c.png", figure)
    assert (tmp_path / "c.png").read_bytes().startswith(PNG)


def test_drawing_changes_no_curve(comparison):
    before = comparison.models[0].result.history.loss.copy()
    figures.comparison_figure(comparison, "", 1e9)
    np.testing.assert_array_equal(comparison.models[0].result.history.loss, before)


def test_the_figure_of_a_run(tmp_path, comparison):
    result = comparison.models[0].result
    for best in (comparison.best, None):
        figure = figures.result_figure(result, best, "[title]")
        save_figure(tmp_path / "r.png", figure)
    assert (tmp_path / "r.png").read_bytes().startswith(PNG)


def paths(out, kinds=ALL, source=None):
    return [str(path) for path in outputs.output_paths(out, "run", kinds, source)]


def test_where_files_go(tmp_path):
    folder = tmp_path / "new" / "folder"
    assert paths(folder) == [f"{folder}/run{kind}" for kind in ALL]
    assert paths(tmp_path / "a.csv") == [f"{tmp_path}/a.csv", f"{tmp_path}/a.png"]
    assert paths(tmp_path / "a.png") == [f"{tmp_path}/a.png"]
    (tmp_path / "odd.csv").mkdir()
    assert paths(tmp_path / "odd.csv", (".csv",)) == [f"{tmp_path}/odd.csv/run.csv"]
    assert not folder.exists()


def test_where_no_file_may_go(tmp_path):
    data = tmp_path / "data.csv"
    data.write_text("1,2\n")
    with pytest.raises(ValueError, match="overwrite"):
        paths(data, source=data)
    with pytest.raises(ValueError, match=r"end in \.png, \.csv"):
        paths(tmp_path / "a.npz", (".png", ".csv"))
    with pytest.raises(ValueError, match="no folder"):
        paths(data / "below")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match="no folder"):
        paths(tmp_path / "a")


def test_files_are_written_by_their_suffix(tmp_path):
    written = []
    chosen = [tmp_path / "new" / "a.csv", tmp_path / "new" / "a.PNG"]
    outputs.write(chosen, {".csv": written.append, ".png": written.append})
    assert written == chosen
    assert (tmp_path / "new").is_dir()
