import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")
pytest.importorskip("matplotlib")

from typer.testing import CliRunner

import accel
from accel import cli, commands, terminal
from accel.tuning import Model

RUNNER = CliRunner()
SMALL = ["ill-conditioned:n=40,d=3,condition=10", "--threads", "1"]
QUICK = [*SMALL, "--steps", "30", "--grid", "4"]
COMMAND = [sys.executable, "-m", "accel"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments):
    return RUNNER.invoke(commands.app, [str(argument) for argument in arguments])


def run_json(*arguments):
    ended = run(*arguments, "--json")
    assert ended.exit_code == 0, ended.output
    return json.loads(ended.stdout)


# --- compare


def test_with_no_arguments_depth_accelerates_l4_regression_on_real_data(tmp_path):
    pytest.importorskip("sklearn")
    ended = run("compare")
    assert ended.exit_code == 0, ended.output
    assert re.search(r"in 1000 steps at depth 1 and in \d{3} at depth", ended.stdout)
    assert (tmp_path / "accel-out" / "compare-diabetes-p4.png").exists()
    assert (tmp_path / "accel-out" / "compare-diabetes-p4.csv").exists()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_default_comparison_is_honest(seed):
    """Depth 1 is tuned to its limit, and what depth gains does not hang on one seed."""
    pytest.importorskip("sklearn")
    found = run_json("compare", "--seed", seed)
    assert (found["data"], found["p"], found["standardized"]) == ("diabetes", 4.0, True)
    plain, *deeper = (model for model in found["models"] if model["optimizer"] == "gd")
    assert [plain["depth"], *(model["depth"] for model in deeper)] == [1, 2, 3]
    assert plain["next_rate_diverges_at"] < 1000
    assert not any(model["at_edge_of_grid"] for model in found["models"])
    for model in deeper:
        assert model["steps_to_target"] < 800 < plain["steps_to_target"] == 1000
        assert model["distance"] < plain["distance"] / 10
    # At p = 2 the paper finds no such thing, and neither do we.
    plain, *deeper = run_json("compare", "--seed", seed, "--p", 2, "--optimizers", "gd")["models"]
    assert all(model["distance"] > plain["distance"] / 10 for model in deeper)


def test_models_and_depths(tmp_path):
    found = run_json("compare", *QUICK, "--depths", "1,4", "--optimizers", "gd,adam@2,end-to-end")
    assert [(model["optimizer"], model["depth"]) for model in found["models"]] == [
        ("gd", 1), ("gd", 4), ("adam", 2), ("end-to-end", 1), ("end-to-end", 4),
    ]  # fmt: skip
    assert found["files"] == [
        f"accel-out/compare-ill_conditioned-p4.{end}" for end in ("png", "csv")
    ]
    assert all((tmp_path / file).exists() for file in found["files"])


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
    found = run_json("compare", "t.csv", "--target-column", "price", "--optimizers", "gd",
                     "--depths", "1,2", "--steps", "20", "--grid", "2")  # fmt: skip
    standard = accel.standardize(table[:, [0, 2]], table[:, 1])
    best = accel.optimum(accel.LpProblem(standard.X, standard.y))
    assert found["optimum"] == pytest.approx(best.loss)


def test_several_outputs_in_float32(tmp_path):
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((30, 4)), rng.standard_normal((30, 2))
    np.savez(tmp_path / "k.npz", X=X.astype("f4"), y=Y.astype("f4"))
    found = run_json("compare", "k.npz", "--optimizers", "gd", "--steps", "20", "--grid", "2")
    assert (found["k"], found["dtype"]) == (2, "float32")


def test_two_points_are_not_standardised():
    found = run_json("compare", "two-points:y1=5,y2=1", "--steps", "20", "--optimizers", "gd@1")
    assert not found["standardized"]
    assert found["optimum"] == 0


def test_quiet_is_the_table_alone():
    ended = run("compare", *QUICK, "--quiet")
    assert ended.exit_code == 0
    assert "best" in ended.stdout.splitlines()[0]
    assert "curves" not in ended.stdout


# --- train


def test_train_shows_how_it_ended():
    ended = run("train", *SMALL, "--steps", "1_0")
    assert ended.exit_code == 0, ended.output
    for row in ("status", "steps", "loss", "distance", "gradient norm", "a step on 1 thread"):
        assert row in ended.stdout


def test_train_does_what_the_library_does():
    found = run_json("train", *SMALL, "--p", "3", "--depth", "3", "--width", "4", "--init",
                     "orthogonal", "--scale", "0.5", "--seed", "7", "--optimizer", "RMSprop",
                     "--learning-rate", "0.003", "--weight-decay", "0.1", "--steps", "40",
                     "--dtype", "float32")  # fmt: skip
    data = accel.datasets.make_ill_conditioned(40, 3, 10.0)
    standard = accel.standardize(data.X, data.y)
    problem = accel.LpProblem(standard.X, standard.y, p=3, dtype="float32")
    network = accel.LinearNetwork.for_problem(problem, 3, 4, init="orthogonal", scale=0.5, seed=7)
    rule = accel.RMSProp(0.003, weight_decay=0.1)
    expected = accel.train(problem, network, rule, 40, threads=1)
    assert found["loss"] == expected.loss
    assert found["gradient_norm"] == expected.history.gradient_norm[-1]
    assert (found["optimizer"], found["weight_decay"]) == ("rmsprop", 0.1)


@pytest.mark.parametrize("optimizer", ["gd", "momentum", "nesterov", "adagrad", "adadelta",
                                       "rmsprop", "adam", "end-to-end"])  # fmt: skip
def test_every_optimizer_has_a_rate_of_its_own(optimizer):
    found = run_json("train", *SMALL, "--optimizer", optimizer, "--steps", "50", "--depth", "1")
    start = run_json("train", *SMALL, "--optimizer", optimizer, "--steps", "1", "--depth", "1")
    assert found["status"] == "completed"
    assert found["loss"] < start["loss"]


def test_train_writes_history_and_figure(tmp_path):
    run_json("train", *SMALL, "--steps", "20", "--record-every", "5", "--out", "runs")
    folder = tmp_path / "runs"
    assert sorted(path.suffix for path in folder.iterdir()) == [".csv", ".npz", ".png"]
    result = accel.Result.load(folder / "train-ill_conditioned-p4.npz")
    assert result.history.step.tolist() == [0, 5, 10, 15, 20]
    run_json("train", *SMALL, "--steps", "20", "--out", "one.npz")
    assert accel.Result.load("one.npz").steps == 20
    assert (tmp_path / "one.png").exists()


def test_train_stops_at_a_distance():
    found = run_json("train", *SMALL, "--steps", "1e5", "--target", "1e-6")
    assert found["status"] == "target"
    assert 0 <= found["distance"] <= 1e-6


def test_train_without_the_optimum():
    found = run_json("train", *SMALL, "--steps", "1e5", "--target", "0.5", "--no-optimum")
    assert found["status"] == "target"
    assert found["loss"] <= 0.5
    assert found["optimum"] is None


def test_train_stops_at_a_gradient():
    assert run_json("train", *SMALL, "--steps", "1e5", "--tol", "1e-3")["status"] == "converged"


def test_divergence_is_a_result():
    arguments = ["train", *SMALL, "--learning-rate", "100"]
    ended = run(*arguments)
    assert ended.exit_code == 0
    assert "diverged" in ended.stdout
    assert run_json(*arguments)["diverged_at"] > 0


# --- info and the rest


def test_info():
    ended = run("info")
    assert ended.exit_code == 0
    for word in ("numba", "SIMD width", "threads", "caches", "GPU"):
        assert word in ended.stdout
    assert run_json("info")["versions"]["accel"] == accel.__version__


def test_version_and_help():
    assert run("--version").stdout == f"accel {accel.__version__}\n"
    for arguments in ([], ["--help"], ["-h"]):
        ended = run(*arguments)
        assert ended.exit_code == 0
        assert "compare" in ended.stdout
    for command in ("compare", "train", "info"):
        ended = run(command, "--help")
        assert ended.exit_code == 0
        assert "Usage" in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "nosuch"], "data must be one of"),
        (["compare", "nosuch.csv"], "nosuch.csv: no such file"),
        (["compare", "damaged.csv"], "damaged.csv: not readable"),
        (["compare", "table.csv", "--target-column", "z"], "target must be one of"),
        (["compare", "table.csv", "--out", "table.csv"], "overwrite"),
        (["compare", "--out", "x.npz"], "--out must be a folder or end in"),
        (["compare", "--out", "table.csv/x"], "no folder"),
        (["compare", *QUICK, "--p", "0.5"], "p must be"),
        (["compare", *QUICK, "--p", "nan"], "p must be finite"),
        (["compare", *QUICK, "--p", "x"], "--p"),
        (["compare", *SMALL, "--steps", "0"], "steps must be >= 1"),
        (["compare", *SMALL, "--steps", "1.5"], "'1.5' is not an integer"),
        (["compare", *SMALL, "--steps", "inf"], "'inf' is not an integer"),
        (["compare", *QUICK, "--depths", "1,x"], "--depths must be integers"),
        (["compare", *QUICK, "--depths", ""], "--depths must be integers"),
        (["compare", *QUICK, "--depths", "0"], "depth must be >= 1"),
        (["compare", *QUICK, "--optimizers", "gdd"], "did you mean 'gd'"),
        (["compare", *QUICK, "--optimizers", "gd@"], "the depth of gd"),
        (["compare", *QUICK, "--grid", "0"], "points must be >= 1"),
        (["compare", *QUICK, "--grid", "1:2:3:4"], "--grid must be"),
        (["compare", *QUICK, "--grid", "a:b"], "--grid must be"),
        (["compare", *QUICK, "--grid", "1:0.1"], "the grid has no rate"),
        (["compare", *QUICK, "--target", "-1"], "target must be"),
        (["compare", *SMALL[:1], "--threads", "0"], "threads must be"),
        (["compare", *QUICK, "--seed", "-1"], "seed must be"),
        (["compare", *QUICK, "--scale", "-1"], "scale must be"),
        (["compare", *QUICK, "--init", "zero"], "'zero' is not one of"),
        (["compare", *QUICK, "--dtype", "float16"], "'float16' is not one of"),
        (["compare", "ill-conditioned:n=40,d=3,k=2", "--width", "1"], "widths of at least"),
        (["compare", "a", "b"], "unexpected extra argument"),
        (["train", *SMALL, "--depth", "0"], "depth must be"),
        (["train", *SMALL, "--width", "0"], "width must be"),
        (["train", *SMALL, "--optimizer", "sgd"], "optimizer must be one of"),
        (["train", *SMALL, "--learning-rate", "-1"], "learning_rate must be"),
        (["train", *SMALL, "--weight-decay", "-1"], "weight_decay must be"),
        (["train", *SMALL, "--record-every", "0"], "record_every must be"),
        (["train", *SMALL, "--tol", "-1"], "tol must be"),
        (["train", *SMALL, "--stepz", "3"], "No such option"),
        (["trian"], "No such command"),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, list) else "",
)
def test_errors_are_one_line_and_exit_code_2(tmp_path, arguments, message):
    (tmp_path / "table.csv").write_text("a,b\n1,2\n3,4\n5,7\n")
    (tmp_path / "damaged.csv").write_text("a,b\n1,x\n")
    ended = run(*arguments)
    assert ended.exit_code == 2
    assert ended.stderr.startswith("accel: ")
    assert ended.stderr.count("\n") == 1
    assert message in ended.stderr
    assert not (tmp_path / "accel-out").exists()


@pytest.mark.parametrize(
    "error",
    [ValueError("of\ntwo lines"), TypeError("x"), FileNotFoundError(2, "gone", "f"),
     ImportError("x"), MemoryError()],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_what_the_library_raises_is_one_line(monkeypatch, error):
    def fail(*arguments, **keywords):
        raise error

    monkeypatch.setattr(commands, "train", fail)
    ended = run("train", *SMALL)
    assert ended.exit_code == 2
    assert ended.stderr.startswith("accel: ")
    assert ended.stderr.count("\n") == 1


def test_a_bug_is_not_hidden(monkeypatch):
    def fail(*arguments, **keywords):
        raise KeyError("bug")

    monkeypatch.setattr(commands, "train", fail)
    ended = run("train", *SMALL)
    assert isinstance(ended.exception, KeyError)


def test_without_standalone_mode_the_caller_gets_the_exception():
    import typer.main

    command = typer.main.get_command(commands.app)
    with pytest.raises(ValueError, match="depth"):
        command.main(["train", *SMALL, "--depth", "0"], standalone_mode=False)


# --- Ctrl-C


def test_an_interrupt_before_anything_is_done(monkeypatch):
    def interrupt(*arguments, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "compare", interrupt)
    assert run("compare", *QUICK).exit_code == 130


@pytest.mark.parametrize("as_json", [False, True])
def test_an_interrupt_leaves_the_partial_table(monkeypatch, as_json):
    compare = commands.compare

    def interrupted(*arguments, watch, **keywords):
        def watching(model, rate, number):
            if model.depth == 2:
                raise KeyboardInterrupt
            return watch(model, rate, number)

        return compare(*arguments, watch=watching, **keywords)

    monkeypatch.setattr(commands, "compare", interrupted)
    ended = run("compare", *QUICK, *(["--json"] if as_json else []))
    assert ended.exit_code == 130
    assert "interrupted" in ended.stderr
    if as_json:
        assert [model["depth"] for model in json.loads(ended.stdout)["models"]] == [1]
    else:
        assert "gd, depth 1" in ended.stdout
        assert "depth 2" not in ended.stdout


def interrupt_this_process():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)


def test_a_ctrl_c_that_a_run_did_not_see_is_noticed():
    before = signal.getsignal(signal.SIGINT)
    with terminal.noticing() as noticed:
        assert not noticed()
        with pytest.raises(KeyboardInterrupt):
            interrupt_this_process()
        assert noticed()
    assert signal.getsignal(signal.SIGINT) is before
    with terminal.search_progress(10, False) as (watch, _):
        with pytest.raises(KeyboardInterrupt):
            interrupt_this_process()
        with pytest.raises(KeyboardInterrupt):
            watch(None, 1.0, 1)


def test_no_signal_is_handled_in_another_thread():
    seen = []

    def enter():
        with terminal.noticing() as noticed:
            seen.append(noticed())

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [False]


def test_the_bar(monkeypatch, capsys):
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with terminal.search_progress(10, True) as (watch, done):
        callback = watch(Model("gd", 3), 0.1, 1)
        assert not callback(5, 1.0)
        assert done(None) is None


def spawn(*arguments, **environment):
    env = {**os.environ, "ACCEL_NUM_THREADS": "1", **environment}
    return subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )


def interrupt_after(process, word):
    """Send Ctrl-C once a line of stderr has the word in it; exit code and stdout."""
    for line in process.stderr:
        if word in line:
            process.send_signal(signal.SIGINT)
            break
    stdout, _ = process.communicate(timeout=60)
    return process.returncode, stdout


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT")
def test_ctrl_c_in_a_real_comparison():
    # At such rates gradient descent is soon done, and AdaGrad is not for minutes.
    process = spawn("compare", SMALL[0], "--steps", "1e9", "--optimizers", "gd@1,adagrad@1",
                    "--grid", "1e-3:1e-2:1")  # fmt: skip
    code, stdout = interrupt_after(process, "gd, depth 1: rate")
    assert code == 130
    assert "gd, depth 1" in stdout
    assert "adagrad" not in stdout


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT")
def test_ctrl_c_in_a_real_run():
    code, stdout = interrupt_after(spawn("train", SMALL[0], "--steps", "1e10"), "step")
    assert code == 130
    assert "interrupted" in stdout


# --- the process


def finish(*arguments, **environment):
    process = spawn(*arguments, **environment)
    stdout, stderr = process.communicate(timeout=120)
    return process.returncode, stdout, stderr


def test_the_module_is_the_command():
    assert finish("--version") == (0, f"accel {accel.__version__}\n", "")
    code, stdout, stderr = finish("compare", "nosuch")
    assert (code, stdout, stderr.count("\n")) == (2, "", 1)


def test_a_reader_that_goes_away_makes_no_traceback():
    process = spawn("compare", *QUICK)
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait(60)


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("name", cli._NEEDED)
def test_without_the_extra_there_is_one_clear_line(name):
    ended = python(f"import sys; sys.modules[{name!r}] = None; from accel.cli import main; main()")
    assert ended.returncode == 2
    assert ended.stderr == f'accel: the command needs {name}: pip install "implicit-accel[cli]"\n'


def test_the_library_does_not_need_the_extra():
    ended = python(
        "import sys, accel, accel.cli\n"
        "heavy = {'typer', 'rich', 'matplotlib', 'pandas', 'sklearn', 'numba'}\n"
        "print(sorted(heavy & {*sys.modules}))"
    )
    assert ended.stdout == "[]\n"
