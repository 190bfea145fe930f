"""What train() prints and shows while it runs."""

import builtins
import math
import re
import sys
import textwrap
import threading
from types import ModuleType

import pytest

from accel._runs.bars import in_notebook
from accel._runs.progress import progress

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
    assert "loss 0." in err
    assert "nan" not in err
    assert "inf" not in err


class ZMQInteractiveShell:
    """Stands in for a kernel: notes what its notebook is shown."""

    def __init__(self):
        self.shown = []

    def display(self, thing, *, display_id):
        assert display_id is True
        self.update(thing)
        return self

    def update(self, thing):
        self.shown.append(thing._repr_mimebundle_(include=None, exclude=None)["text/html"])


@pytest.fixture
def kernel(monkeypatch):
    kernel = ZMQInteractiveShell()
    module = ModuleType("IPython.display")
    module.display = kernel.display
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setattr(builtins, "get_ipython", lambda: kernel, raising=False)
    return kernel


def test_a_bar_in_a_notebook(scripted, kernel, capfd, monkeypatch):
    monkeypatch.setattr("accel._runs.bars._REDRAWN", 0.0)
    monkeypatch.setitem(sys.modules, "rich", None)  # it is not asked for
    threads = []
    scripted(
        Scripted([0.25], pause=0.02), 15, progress=True,
        callback=lambda step, loss: threads.append(threading.active_count()),
    )  # fmt: skip
    assert capfd.readouterr() == ("", "")
    assert max(threads) == 2  # as in a terminal, below which no thread is started
    first, *between, last = kernel.shown
    assert first.startswith('training <progress value="0" max="15"')
    assert first.endswith("</progress> 0/15, 0.00 s")
    assert re.search(r", loss 0\.25, 0\.\d\d s, 1 s left$", between[-2])
    assert re.search(r" 15/15, loss 0\.25, 0\.\d\d s$", between[-1])
    assert re.fullmatch(r"training: 15 steps, loss 0\.25, 0\.\d\d s", last)
    assert len(between) >= 2


def test_the_words_beside_a_bar(kernel, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("accel._runs.bars.time.monotonic", lambda: clock[0])

    def fail():
        with progress(True, 10_000, "<b>") as report:
            for clock[0], step, loss in (
                (2.0, 5000, math.inf), (2.1, 5001, 3.0), (7.0, 6000, 2.0), (8.0, 6200, math.nan),
                (4000.0, 4000, 0.5),
            ):  # fmt: skip
                report(step, loss)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert [re.sub(r".*</progress>", "", text) for text in kernel.shown] == [
        " 0/10000, 0.00 s",
        " 5000/10000, 2 s",
        " 6000/10000, loss 2, 7 s, 20 s left",
        " 6200/10000, loss 2, 8 s, 19 s left",
        " 4000/10000, loss 0.5, 1:06:40",
        "&lt;b&gt;: ended at step 4000 of 10000, loss 0.5, 1:06:40",
    ]
    assert all(text.startswith("&lt;b&gt; <progress value=") for text in kernel.shown[:-1])


def test_no_loss_before_one_is_known(capfd, monkeypatch):
    monkeypatch.setattr("accel._runs.progress._INTERVAL", 0.0)
    with progress(True, 10) as report:
        report(1, math.inf)
        report(2, 0.5)
    lines = capfd.readouterr().err.splitlines()
    assert lines == ["accel: step 1 of 10", "accel: step 2 of 10, loss 0.5"]


def test_a_terminal_of_ipython_is_no_notebook(monkeypatch):
    class TerminalInteractiveShell:
        pass

    class Embedded(TerminalInteractiveShell):
        pass

    assert not in_notebook()
    monkeypatch.setattr(builtins, "get_ipython", Embedded, raising=False)
    assert not in_notebook()
