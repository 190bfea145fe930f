"""What is said of compilation: when there is one, what it makes, and how long it took."""

import io
import json
import logging
import re
import sys
import threading
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
    r"accel: compiling the training loop for huber loss, float64, \S+( vectors)? \({}\) \.\.\.",
    r"accel: \.\.\. {} \d+(\.\d)? s",
)


@pytest.fixture
def script(tmp_path):
    """``script(*arguments, **environment)``: the lines on stderr."""
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)

    def lines(*arguments, **options):
        told = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), **options}
        return python(path, *arguments, **told).stderr.splitlines()

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


def test_a_terminal_has_one_line_that_goes_on(script):
    first, drawn, *_, cleared, last = script(terminal=True)
    what = "accel: compiling the training loop for huber loss, "
    assert first == cleared.strip() == ""
    assert re.fullmatch(what + r".*: 0 of 1 functions, 0\.\d s", drawn)
    assert re.fullmatch(what + r".* \(the first time on this machine\): done in .* s", last)
    assert script(terminal=True) == []


def test_other_versions_are_named(script, tmp_path):
    script()
    (notes,) = tmp_path.rglob("accel-made-for*.json")
    (facts,) = json.loads(notes.read_text())
    notes.write_text(json.dumps([facts | {"numba": "0.1", "numpy": "1.0"}]))
    for path in [*tmp_path.rglob("*.nbi")]:  # so Numba takes those of another version
        path.unlink()
    why = (
        f"those on the disk are for Numba 0.1, now {facts['numba']}; "
        f"NumPy 1.0, now {facts['numpy']}"
    )
    assert matches(script(), re.escape(why))
    assert script() == []
    assert len(json.loads(notes.read_text())) == 2


def test_another_processor_is_named(script):
    script()
    generic = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    assert matches(script(**generic), r"those on the disk are for the processor \S+, now generic")
    assert script(**generic) == script() == []


@pytest.fixture
def told():
    """The function that says it, set as a backend sets it, and put back."""
    before = kernels._told, kernels._not_kept, kernels._loaded
    compiling.announce("cuda")
    yield kernels._told
    kernels.tell(*before)


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


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """``terminal()``: from here on stderr is one; pytest has a stderr of its own for each phase."""

    def begin():
        shown = Terminal()
        monkeypatch.setattr(sys, "stderr", shown)
        monkeypatch.setattr(sys, "__stderr__", shown)
        return shown

    return begin


def test_functions_are_counted(told, terminal, monkeypatch):
    shown = terminal()
    monkeypatch.setattr(compiling, "_REDRAWN", 0.001)
    counts = iter([(0, 3), (2, 3), (3, 3)])
    through = threading.Event()

    def functions():
        count = next(counts, None)
        if count is None:
            through.set()
        return count or (3, 3)

    with kernels.happening(Compilation("cpu", "solo", "loop_float64", True, "why", functions)):
        assert through.wait(60)
    first, *drawn, cleared, last = shown.getvalue().split("\r")
    assert first == cleared.strip() == ""
    facts = [re.sub(r", \d.*", "", text.rpartition(": ")[2]) for text in drawn]
    assert facts[:3] == ["0 of 3 functions", "2 of 3 functions", "machine code"]
    assert re.fullmatch(r"accel: compiling the training loop for .* \(why\): done in .* s\n", last)


def test_a_line_fits_a_terminal(told, terminal):
    shown = terminal()
    with kernels.happening(Compilation("cuda", "resident", 200 * "x", True)):
        pass
    _, line, *_ = shown.getvalue().split("\r")
    assert re.fullmatch(r"accel: compiling the CUDA kernel x*\.\.\.: 0\.\d s", line)
    assert len(line) == 79


def test_two_at_once_have_lines_of_their_own(told, terminal):
    shown = terminal()
    outer, inner = (Compilation("cuda", "resident", name, True) for name in ("outer", "inner"))
    with kernels.happening(outer), kernels.happening(inner):
        pass
    assert "accel: compiling the CUDA kernel inner (the first time on this machine) ...\n" in (
        shown.getvalue()
    )


def test_a_terminal_can_be_silenced(told, terminal):
    shown = terminal()
    with compiling.silenced(), kernels.happening(Compilation("cuda", "resident", "loop", True)):
        pass
    assert shown.getvalue() == ""


def test_a_bar_steps_aside(told, terminal):
    shown = terminal()
    with (
        compiling.stepping_aside(lambda: shown.write("away"), lambda: shown.write("back")),
        kernels.happening(Compilation("cuda", "resident", "loop", True)),
    ):
        pass
    assert shown.getvalue().startswith("away\r")
    assert shown.getvalue().endswith(" s\nback")


def test_a_kernel_that_cannot_be_kept(told, capsys):
    kernels.not_kept(OSError("No space left on device"))
    assert capsys.readouterr().err == (
        "accel: ... and could not be kept, so every process compiles it: No space left on device\n"
    )


def test_others_can_hear_of_it(told, monkeypatch, capsys):
    heard = []
    monkeypatch.setattr(compiling, "_hearers", compiling._hearers)
    compiling.heard_by(
        lambda what: heard.append, heard.append, lambda *kernel: heard.append(kernel)
    )
    compiling.announce("cuda")
    with kernels.happening(Compilation("cuda", "resident", "loop", True)):
        pass
    kernels.not_kept(error := OSError())
    kernels.loaded(test_others_can_hear_of_it)
    assert heard == [True, error, ("test_compiling", "test_others_can_hear_of_it")]
    assert capsys.readouterr().err == ""


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
    ("advance", "advance_advance_float64_8_one_lp",
     "the training loop of several threads for float64, "),
    ("solo", "advance_joint_float64_8_one_lp", "the training loop for float64, "),
    ("lp_loss", "hessian_hessian_8_cross-entropy",
     "the Hessian of the loss for cross-entropy loss, "),
    ("lp_loss", "whole_pass_pass_float64_4_one_lp", "the pass over the data for float64, "),
    ("unheard", "of_this_float32", "the kernel of_this_float32 for float32, "),
])  # fmt: skip
def test_what_is_compiled(file, kernel, expected):
    assert compiling.described(Compilation("cpu", file, kernel, True)).startswith(expected)


def test_every_file_with_kernels_has_words():
    """Of those that are compiled by themselves; so that a new one gets some, too."""
    files = {
        path.stem
        for path in Path(cpu.__file__).parent.glob("*.py")
        if re.search(r"^ *@(entry|piece)\(", path.read_text(), re.MULTILINE)
    }
    assert files == {*compiling._WHAT}
