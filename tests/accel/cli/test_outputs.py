"""The files that commands write: curves as CSV, figures, and where they go."""

import csv
import os
from dataclasses import replace

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


@pytest.mark.parametrize(("quantities", "rows", "columns"), [
    ([], 1, 1), (["a"], 1, 2), (["a", "b"], 1, 3), (["a", "b", "c"], 2, 3), (list("abcdef"), 3, 3),
])  # fmt: skip
def test_many_panels_are_rows_of_three(comparison, quantities, rows, columns):
    result = comparison.models[0].result
    steps = np.arange(1.0, len(result.history.step) + 1)
    history = replace(result.history, recorded=dict.fromkeys(quantities, steps))
    figure = figures.result_figure(replace(result, history=history), None, "the title")
    assert len(figure.axes) == 1 + len(quantities)
    grid = figure.axes[0].get_gridspec()
    assert (grid.nrows, grid.ncols) == (rows, columns)
    width, height = figure.get_size_inches()
    assert width <= 15
    assert height == pytest.approx(4.5 * rows)
    assert figure.get_suptitle() == "the title"


def paths(out, kinds=ALL, source=None, force=False):
    chosen = outputs.output_paths(out, "run", kinds, source, force=force)
    return [str(path) for path in chosen]


def test_files_that_are_there_are_kept(tmp_path):
    (tmp_path / "run.png").touch()
    assert paths(tmp_path, (".csv",))
    for out in (tmp_path, tmp_path / "run.csv"):
        with pytest.raises(ValueError, match=r"run.png is there already: --force replaces it"):
            paths(out)
        assert paths(out, force=True)[-1] == str(tmp_path / "run.png")
    with pytest.raises(ValueError, match="--out would overwrite the data"):
        paths(tmp_path / "run.png", source=tmp_path / "run.png", force=True)


def test_names_of_files():
    network = accel.LinearNetwork((5, 3, 4, 1))
    name = outputs.train_name("my data/x-p4", accel.Adam(1e-5), network, 7)
    assert name == "train-my_data_x-p4-adam-d3-w4-lr1e-05-s7"
    flat = accel.LinearNetwork((5, 1))
    assert outputs.train_name("a", accel.GradientDescent(0.5), flat, 0) == "train-a-gd-d1-lr0.5-s0"
    models = [Model("gd", 1), Model("gd", 3), Model("adam", 2)]
    assert outputs.comparison_name("a", models, 6, 1, {}) == "compare-a-gd-d1-d3-adam-d2-w6-s1"
    names = {outputs.comparison_name("a", models, 6, 1, {"steps": n}) for n in (20, 30)}
    assert len(names) == 2
    long, other = (outputs.train_name("x" * 300 + end, accel.Adam(1), flat, 0) for end in "ab")
    assert len(long) == 100
    assert long != other


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


@pytest.mark.parametrize("name", ["curve.pdf", "model.json", "a.SVG"])
def test_a_kind_of_file_that_is_not_written_is_no_folder(tmp_path, name):
    with pytest.raises(ValueError, match=r"--out must be a folder or end in \.csv, \.png, got"):
        outputs.output_paths(tmp_path / name, "x", (".csv", ".png"), None, force=False)
    assert outputs.output_paths(tmp_path / "v1.2", "x", (".csv",), None, force=False)
