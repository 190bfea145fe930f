"""The command as a whole: info, help, errors, the process."""

import os

import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")
pytest.importorskip("matplotlib")

import accel
from accel import cli
from accel._support import gpu
from accel.cli import app, train

from ...children import python
from ..shell import QUICK, SMALL, run, run_json, spawn

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def test_info():
    ended = run("info")
    assert ended.exit_code == 0
    for word in ("numba", "SIMD width", "threads", "caches", "GPU"):
        assert word in ended.stdout
    assert run_json("info")["versions"]["accel"] == accel.__version__


@pytest.mark.parametrize("command", ["train", "compare", "reproduce"])
def test_a_backend_that_is_missing(command, monkeypatch):
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)
    monkeypatch.setattr(gpu, "_device_or_reason", lambda: "no driver")
    ended = run(command, "--backend", "cuda")
    assert ended.exit_code == 2
    assert ended.stderr == "accel: backend 'cuda' is not available: no driver\n"
    told = run_json("info")
    assert told["machine"]["GPU"].startswith("none used: no driver")
    assert told["kernels"]["backends"] == "reference, cpu"


def test_version_and_help():
    assert run("--version").stdout == f"accel {accel.__version__}\n"
    for arguments in ([], ["--help"], ["-h"]):
        ended = run(*arguments)
        assert ended.exit_code == 0
        assert "compare" in ended.stdout
    for command in ("compare", "train", "reproduce", "atlas", "info", "warm"):
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
        (["compare", *QUICK, "--target-distance", "-1"], "target_distance must be"),
        (["compare", *SMALL[:1], "--threads", "0"], "threads must be"),
        (["compare", *QUICK, "--seed", "-1"], "seed must be"),
        (["compare", *QUICK, "--scale", "-1"], "scale must be"),
        (["compare", *QUICK, "--init", "zero"], "'zero' is not one of"),
        (["compare", *QUICK, "--dtype", "float16"], "'float16' is not one of"),
        (["compare", "ill-conditioned:n=40,d=3,k=2", "--width", "1"], "widths of at least"),
        (["compare", "a", "b"], "unexpected extra argument"),
        (["train", *SMALL, "--backend", "gpu"], "'gpu' is not one of"),
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

    monkeypatch.setattr(train, "train", fail)
    ended = run("train", *SMALL)
    assert ended.exit_code == 2
    assert ended.stderr.startswith("accel: ")
    assert ended.stderr.count("\n") == 1


def test_a_bug_is_not_hidden(monkeypatch):
    def fail(*arguments, **keywords):
        raise KeyError("bug")

    monkeypatch.setattr(train, "train", fail)
    ended = run("train", *SMALL)
    assert isinstance(ended.exception, KeyError)


def test_without_standalone_mode_the_caller_gets_the_exception():
    import typer.main

    command = typer.main.get_command(app.app)
    with pytest.raises(ValueError, match="depth"):
        command.main(["train", *SMALL, "--depth", "0"], standalone_mode=False)


def finish(*arguments, **environment):
    with spawn(*arguments, **environment) as process:
        stdout, stderr = process.stdout.rest(), process.stderr.rest()
        return process.wait(), stdout, stderr


def test_the_module_is_the_command():
    assert finish("--version") == (0, f"accel {accel.__version__}\n", "")
    code, stdout, stderr = finish("compare", "nosuch")
    assert (code, stdout, stderr.count("\n")) == (2, "", 1)


def test_a_reader_that_goes_away_makes_no_traceback():
    reader, writer = os.pipe()
    os.close(reader)
    with spawn("compare", *QUICK, stdout=writer) as process:
        os.close(writer)
        assert "Traceback" not in process.stderr.rest()
        process.wait()


@pytest.mark.parametrize("name", cli._REQUIRED)
def test_without_the_extra_there_is_one_clear_line(name):
    code = f"import sys; sys.modules[{name!r}] = None; from accel.cli import main; main()"
    ended = python("-c", code, code=2)
    assert ended.stderr == f'accel: the command needs {name}: pip install "implicit-accel[cli]"\n'


def test_the_library_does_not_need_the_extra():
    ended = python(
        "-c",
        "import sys, accel, accel.cli\n"
        "heavy = {'typer', 'rich', 'matplotlib', 'pandas', 'sklearn', 'numba'}\n"
        "print(sorted(heavy & {*sys.modules}))",
    )
    assert ended.stdout == "[]\n"
