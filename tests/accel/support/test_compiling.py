"""What is said of compilation: when there is one, what it makes, and how long it took."""

import logging
import re
import sys
from pathlib import Path

import pytest

from accel._support import compiling
from accel._support.backends import Backend, resolve
from accel.kernels import compiling as kernels
from accel.kernels import cpu
from accel.kernels.compiling import Compilation

from ...children import python

SCRIPT = """
import sys
from accel._support.backends import resolve

resolve("cpu").needs  # from now on it is said
from accel.kernels.cpu.jit import entry, inner

@inner
def inside(x):
    return x + 1

def make_probe(wrong):
    def advance(x):
        return inside(x) + wrong
    advance.__module__ = "accel.kernels.cpu.solo"
    return entry("probe", "float64", "huber")(advance)

if "wrong" in sys.argv:
    make_probe("text")(1.0)
assert make_probe(0)(1.0) == 2
assert make_probe(0)(1.0) == 2  # another one, from the disk if that is used
"""
LINES = (
    r"accel: compiling the training loop for huber loss, float64, \S+( vectors)? \({}; .*\) \.\.\.",
    r"accel: \.\.\. {} \d+(\.\d)? s",
)


@pytest.fixture
def script(tmp_path):
    """``script(*arguments, **environment)``: the lines on stderr."""
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)

    def lines(*arguments, code=0, **environment):
        told = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), **environment}
        return python(path, *arguments, code=code, **told).stderr.splitlines()

    return lines


def matches(lines, when, how="done in"):
    expected = [LINES[0].format(when), LINES[1].format(how)]
    return len(lines) == 2 and all(map(re.fullmatch, expected, lines))


def test_it_is_said_once_and_not_of_what_the_disk_has(script):
    assert matches(script(), "the first time on this machine")
    assert script() == []


def test_without_a_cache_it_is_said_of_every_compilation(script):
    lines = script(ACCEL_CACHE="0")
    assert matches(lines[:2], "it cannot be kept")
    assert matches(lines[2:], "it cannot be kept")


def test_a_compilation_that_fails(script):
    lines = script("wrong", code=1)
    assert matches(lines[:2], "the first time on this machine", "ended after")
    assert "TypingError" in "".join(lines[2:])


@pytest.fixture
def told():
    """The function that says it, set as a backend sets it, and put back."""
    before = kernels._told
    compiling.announce("cuda")
    yield kernels._told
    kernels.tell(before)


def test_the_log_has_it_too(told, caplog, capsys):
    caplog.set_level(logging.INFO, "accel")
    what = Compilation("cuda", "resident", "resident_loop_float32_9", True)
    with kernels.happening(what):
        pass
    begin, end = caplog.messages
    assert begin == (
        "compiling the CUDA kernel resident_loop_float32_9 (the first time on this machine) ..."
    )
    assert re.fullmatch(r"\.\.\. done in 0\.0 s", end)
    assert capsys.readouterr().err.splitlines() == [f"accel: {begin}", f"accel: {end}"]


def test_it_can_be_silenced(told, caplog, capsys):
    caplog.set_level(logging.INFO, "accel")
    with compiling.silenced(), kernels.happening(Compilation("cuda", "resident", "loop", True)):
        pass
    assert capsys.readouterr().err == ""
    assert len(caplog.messages) == 2
    with kernels.happening(Compilation("cuda", "resident", "loop", True)):
        pass
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_failure_is_passed_on(told, capsys):
    with pytest.raises(RuntimeError, match="nvJitLink"), kernels.happening(
        Compilation("cuda", "resident", "loop", False)
    ):  # fmt: skip
        raise RuntimeError("nvJitLink")
    assert "(it cannot be kept)" in capsys.readouterr().err.splitlines()[0]


def test_a_closed_stderr_stops_nothing(told, monkeypatch, tmp_path):
    with open(tmp_path / "file", "w") as closed:
        monkeypatch.setattr(sys, "stderr", closed)
    with kernels.happening(Compilation("cuda", "resident", "loop", True)):
        pass


def test_the_reference_says_nothing(monkeypatch):
    monkeypatch.setattr(kernels, "tell", pytest.fail)
    assert resolve("reference").needs is Backend("reference").needs


@pytest.mark.parametrize(("file", "kernel", "expected"), [
    ("stochastic", "advance_stochastic_float32_8_one_product_lp",
     "the training loop of minibatches for float32, "),
    ("lp_loss", "hessian_hessian_8_cross-entropy",
     "the Hessian of the loss for cross-entropy loss, "),
    ("lp_loss", "whole_pass_pass_float64_4_one_lp", "the pass over the data for float64, "),
    ("unheard", "of_this_float32", "the kernel of_this_float32 for float32, "),
])  # fmt: skip
def test_what_is_compiled(file, kernel, expected):
    assert compiling.described(Compilation("cpu", file, kernel, True)).startswith(expected)


def test_every_file_with_kernels_has_words():
    """Of those that Python calls; so that a new one gets some, too."""
    files = {
        path.stem
        for path in Path(cpu.__file__).parent.glob("*.py")
        if "@entry(" in path.read_text()
    }
    assert files == {*compiling._WHAT}
