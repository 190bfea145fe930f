"""``accel compare``."""

import re

import numpy as np
import pytest

import accel

from ..shell import QUICK, run, run_json

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def test_with_no_arguments_depth_accelerates_l4_regression_on_real_data(tmp_path):
    pytest.importorskip("sklearn")
    ended = run("compare")
    assert ended.exit_code == 0, ended.output
    assert re.search(r"in 1000 steps at depth 1 and in \d{3} at depth", ended.stdout)
    assert "times are medians of 5 runs" in ended.stdout
    name = "compare-diabetes-p4-gd-d1-d2-d3-adagrad-d1-adam-d1-s0"
    assert (tmp_path / "accel-out" / f"{name}.png").exists()
    assert (tmp_path / "accel-out" / f"{name}.csv").exists()
    assert run("compare").exit_code == 0  # the same comparison in the command's own folder
    again = run("compare", "--out", "accel-out")
    assert again.exit_code == 2
    assert f"{name}.png is there already: --force replaces it" in again.stderr


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))])
def test_the_default_comparison_is_honest(seed):
    """Depth 1 is tuned to its limit, and the gain of depth does not depend on one seed."""
    pytest.importorskip("sklearn")
    report = run_json("compare", "--seed", seed)
    assert (report["data"], report["p"], report["standardized"]) == ("diabetes", 4.0, True)
    plain, *deeper = (model for model in report["models"] if model["optimizer"] == "gd")
    assert [plain["depth"], *(model["depth"] for model in deeper)] == [1, 2, 3]
    assert plain["next_rate_diverges_at"] < 1000
    assert not any(model["at_edge_of_grid"] for model in report["models"])
    for model in deeper:
        assert model["steps_to_target"] < 800 < plain["steps_to_target"] == 1000
        assert model["distance"] < plain["distance"] / 10
    # At p = 2 the paper finds no such thing, and neither do we.
    plain, *deeper = run_json("compare", "--seed", seed, "--p", 2, "--optimizers", "gd")["models"]
    assert all(model["distance"] > plain["distance"] / 10 for model in deeper)


def test_models_and_depths(tmp_path):
    report = run_json("compare", *QUICK, "--depths", "1,4", "--optimizers", "gd,adam@2,end-to-end")
    assert [(model["optimizer"], model["depth"]) for model in report["models"]] == [
        ("gd", 1), ("gd", 4), ("adam", 2), ("end-to-end", 1), ("end-to-end", 4),
    ]  # fmt: skip
    assert report["repeats"] == 5
    name = "compare-ill_conditioned-p4-gd-d1-d4-adam-d2-end-to-end-d1-d4-s0"
    files = [re.sub(r"-[0-9a-f]{6}\.", ".", file) for file in report["files"]]  # other settings
    assert files == [f"accel-out/{name}.{end}" for end in ("png", "csv")]
    assert all((tmp_path / file).exists() for file in report["files"])


def test_the_backend_is_told(gpu_stand_in):
    report = run_json("compare", *QUICK, "--depths", "1", "--backend", "cuda")
    assert {model["backend"] for model in report["models"]} == {"cuda"}


def test_a_range_of_rates_whose_edge_is_best():
    ended = run("compare", *QUICK[:-2], "--grid", "1e-5:1e-4:8", "--depths", "1")
    assert ended.exit_code == 0
    assert "0.0001*" in ended.stdout
    assert "* the edge of the grid" in ended.stdout


def test_the_comparison_is_written_where_asked(tmp_path):
    run_json("compare", *QUICK, "--optimizers", "gd@1", "--out", tmp_path / "new" / "curves.csv")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "curves.csv",
        "curves.png",
    ]


def test_a_file_and_its_target_column(tmp_path):
    rng = np.random.default_rng(0)
    table = rng.standard_normal((50, 3))
    np.savetxt(tmp_path / "t.csv", table, delimiter=",", header="a,price,b", comments="")
    report = run_json("compare", "t.csv", "--target", "price", "--optimizers", "gd",
                     "--depths", "1,2", "--steps", "20", "--grid", "2")  # fmt: skip
    standard = accel.standardize(table[:, [0, 2]], table[:, 1])
    best = accel.optimum(accel.LpProblem(standard.X, standard.y))
    assert report["optimum"] == pytest.approx(best.loss)


def test_several_outputs_in_float32(tmp_path):
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((30, 4)), rng.standard_normal((30, 2))
    np.savez(tmp_path / "k.npz", X=X.astype("f4"), y=Y.astype("f4"))
    report = run_json("compare", "k.npz", "--optimizers", "gd", "--steps", "20", "--grid", "2")
    assert (report["k"], report["dtype"]) == (2, "float32")


def test_two_points_are_not_standardised():
    report = run_json("compare", "two-points:y1=5,y2=1", "--steps", "20", "--optimizers", "gd@1")
    assert not report["standardized"]
    assert report["optimum"] == 0


def test_quiet_is_the_table_alone():
    ended = run("compare", *QUICK, "--quiet")
    assert ended.exit_code == 0
    assert "best" in ended.stdout.splitlines()[0]
    assert "curves" not in ended.stdout
