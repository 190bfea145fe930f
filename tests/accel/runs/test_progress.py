"""What train() prints and shows while it runs."""

import builtins
import sys
import textwrap
import threading
from types import ModuleType

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


def test_progress_bar_in_a_notebook(scripted, kernel, capfd, monkeypatch):
    monkeypatch.setattr(pytest.importorskip("rich"), "_console", None)  # it would keep the kernel
    threads = []
    scripted(
        Scripted([0.25], pause=0.02), 15, progress=True,
        callback=lambda step, loss: threads.append(threading.active_count()),
    )  # fmt: skip
    assert capfd.readouterr() == ("", "")
    assert max(threads) == 2  # as in a terminal, below which no thread is started
    assert ">0/15<" in kernel.shown[0].replace(" ", "")
    assert ">15/15<" in kernel.shown[-1]
    assert "loss 0.25" in kernel.shown[-1]
    assert len(kernel.shown) >= 3


def test_progress_lines_in_a_notebook_without_rich(scripted, kernel, capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich", None)
    scripted(Scripted([0.25]), 50, progress=True)
    assert capfd.readouterr().err.splitlines()[-1] == "accel: step 50 of 50, loss 0.25"
    assert not kernel.shown
