"""The progress of ``accel reproduce`` on stderr."""

import sys

import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")

from accel.cli import progress
from accel.experiments.time_left import Stage

STAGE = Stage("l4: pilot", 3, 100, 300.0)


def test_the_bar(monkeypatch, capsys):
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress.reproduction_progress(True) as show:
        show(STAGE, 10, 3, None)
        show(STAGE, 20, 2, 61.0)
    assert capsys.readouterr().out == ""


def test_lines_are_rare_where_there_is_no_terminal(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.reproduction_progress(True) as show:
        for second in range(0, 25, 5):
            now[0] = float(second)
            show(STAGE, second, 2, 61.0)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[1] == "accel: l4: pilot: step 10 of 100, 2 of 3 models alive, about 1:01 left"


def test_nothing_is_shown_if_quiet(capsys):
    with progress.reproduction_progress(False) as show:
        show(STAGE, 10, 3, None)
    assert capsys.readouterr() == ("", "")
