"""What train() prints while it runs."""

import sys
import textwrap
import threading
import time

import pytest

from ...children import started
from ..problems import Scripted


def test_progress_lines(scripted, capfd, monkeypatch):
    monkeypatch.setattr("accel._runs.progress._INTERVAL", 0.0)
    scripted(Scripted([0.25]), 50, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines()[-1] == "accel: step 50 of 50, loss 0.25"


def test_silence_by_default(scripted, capfd):
    scripted(Scripted([0.25]), 50)
    assert capfd.readouterr() == ("", "")


PROGRESS_BAR = """
    import threading, accel
    problem = accel.LpProblem([[1.0], [2.0]], [1.0, 3.0])
    network = accel.LinearNetwork.for_problem(problem)
    threads = []
    accel.train(problem, network, accel.Adam(), 3000, progress=True, backend="reference",
                callback=lambda step, loss: threads.append(threading.active_count()))
    print("threads", max(threads))
"""


def test_progress_bar():
    pytest.importorskip("rich")
    with started(sys.executable, "-c", textwrap.dedent(PROGRESS_BAR), terminal=True,
                 TERM="xterm", COLUMNS="120") as process:  # fmt: skip
        out, err = process.stdout.rest(), process.stderr.rest()
        assert process.wait() == 0
    assert (
        out == "threads 2\n"
    )  # main thread and worker: the bar starts none, and prints nothing to stdout
    assert "3000/3000" in err
    assert "loss" in err


def test_a_word_while_compiling(scripted, capfd, monkeypatch):
    monkeypatch.setattr("accel._runs.progress._PATIENCE", 0.05)

    class Slow(Scripted):
        def __call__(self, *arguments, **keywords):
            time.sleep(0.3)
            return super().__call__(*arguments, **keywords)

    scripted(Slow([1.0]), 5)
    assert "compiling kernels (first run only)" in capfd.readouterr().err
    assert threading.active_count() == 1
