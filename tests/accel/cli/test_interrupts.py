"""Ctrl-C, and the progress bar that it may come across."""

import json
import os
import signal
import sys
import threading
import time

import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")
pytest.importorskip("matplotlib")

from accel._files import archives
from accel.cli import compare, progress
from accel.tuning import Model

from ..shell import QUICK, SMALL, run, spawn

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def test_an_interrupt_before_anything_is_done(monkeypatch):
    def interrupt(*arguments, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr(compare, "compare", interrupt)
    assert run("compare", *QUICK).exit_code == 130


@pytest.mark.parametrize("as_json", [False, True])
def test_an_interrupt_leaves_the_partial_table(monkeypatch, as_json):
    run_all = compare.compare

    def interrupted(*arguments, watch, **keywords):
        def watching(model, rate, number):
            if model.depth == 2:
                raise KeyboardInterrupt
            return watch(model, rate, number)

        return run_all(*arguments, watch=watching, **keywords)

    monkeypatch.setattr(compare, "compare", interrupted)
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


def test_a_ctrl_c_that_a_run_did_not_see_ends_the_search():
    before = signal.getsignal(signal.SIGINT)
    with progress.ending_at_interrupt() as check:
        check()
        with pytest.raises(KeyboardInterrupt):
            interrupt_this_process()
        with pytest.raises(KeyboardInterrupt):
            check()
    assert signal.getsignal(signal.SIGINT) is before
    with progress.search_progress(10, False) as (watch, _):
        with pytest.raises(KeyboardInterrupt):
            interrupt_this_process()
        with pytest.raises(KeyboardInterrupt):
            watch(None, 1.0, 1)


def test_no_signal_is_handled_in_another_thread():
    seen = []

    def enter():
        with progress.ending_at_interrupt() as check:
            seen.append(check())

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [None]


def test_the_bar(monkeypatch, capsys):
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress.search_progress(10, True) as (watch, done):
        callback = watch(Model("gd", 3), 0.1, 1)
        assert not callback(5, 1.0)
        assert done(None) is None


def interrupt_after(process, word):
    """Send Ctrl-C once a line of stderr has the word in it; exit code and stdout."""
    assert any(word in line for line in process.stderr)
    process.send_signal(signal.SIGINT)
    return process.wait(), process.stdout.rest()


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT")
def test_ctrl_c_in_a_real_comparison():
    # At such rates gradient descent is soon done, and AdaGrad is not for minutes.
    with spawn("compare", SMALL[0], "--steps", "1e9", "--optimizers", "gd@1,adagrad@1",
               "--grid", "1e-3:1e-2:1") as process:  # fmt: skip
        code, stdout = interrupt_after(process, "gd, depth 1: rate")
    assert code == 130
    assert "gd, depth 1" in stdout
    assert "adagrad, depth 1" not in stdout  # as a row of the table; file names have all models


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT")
def test_ctrl_c_in_a_real_run(tmp_path):
    with spawn("train", SMALL[0], "--steps", "1e10", "--checkpoint", "run.npz") as process:
        code, stdout = interrupt_after(process, "step")
    assert code == 130
    assert "interrupted" in stdout
    assert archives.read(tmp_path / "run.npz", 2)[1]["loop_step"] > 1000
