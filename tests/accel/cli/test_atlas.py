"""The command ``accel atlas`` on a tiny atlas."""

import json
import sys

import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")
pytest.importorskip("matplotlib")

from accel.cli import atlas as command
from accel.cli import progress
from accel.experiments.atlas import atlas
from accel.experiments.atlas.settings import Settings
from accel.experiments.atlas.two_points import Pair

from ..shell import run

TINY = {
    "exponents": (2.0, 4.0), "conditions": (10.0, 100.0), "alignments": ("top", "spread"),
    "starts": (1e-2,), "depths": (1, 2), "steps": 200, "n": 12, "d": 3,
}  # fmt: skip


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(command, "chosen", lambda quick, seeds: Settings(**TINY, seeds=seeds or 1))
    monkeypatch.setattr(atlas, "pairs", lambda: [Pair(4.0, 2.0, 2, 14, 5, 4)])


def test_an_atlas(tmp_path):
    ended = run("atlas", "--out", str(tmp_path), "--threads", "1")
    assert ended.exit_code == 0, ended.output
    lines = ended.stdout.splitlines()
    table = [line.split() for line in lines if line.split()[:1] in (["top"], ["spread"])]
    assert [row[:2] for row in table] == [
        ["top", "2"],
        ["top", "4"],
        ["spread", "2"],
        ["spread", "4"],
    ]
    assert all(cell == "?" or cell.endswith("@2") for row in table for cell in row[2:])
    report = json.loads((tmp_path / "atlas.json").read_text())
    assert lines[-5:-1] == [*report["sentences"], report["prediction"]]
    assert lines[-1] == f"written: {tmp_path / 'atlas.csv'} and figures beside it"
    assert (tmp_path / "atlas.csv").exists()

    # The same again is no other one; with more seeds it is.
    again = run("atlas", "--out", str(tmp_path), "--json")
    assert again.exit_code == 0
    assert again.stderr == ""
    assert json.loads(again.stdout)["sentences"] == report["sentences"]
    refused = run("atlas", "--out", str(tmp_path), "--seeds", "2")
    assert refused.exit_code == 2
    assert "has an atlas of other settings (seeds: 1): --force replaces it" in refused.stderr
    assert run("atlas", "--out", str(tmp_path), "--seeds", "2", "--force").exit_code == 0
    assert json.loads((tmp_path / "atlas.json").read_text())["settings"]["seeds"] == 2


def test_ctrl_c_tells_how_to_go_on(tmp_path, monkeypatch):
    def interrupted(*arguments, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "make_atlas", interrupted)
    ended = run("atlas", "--out", str(tmp_path))
    assert ended.exit_code == 130
    assert f"goes on from what is kept in {tmp_path / 'state'}" in ended.stderr


@pytest.mark.parametrize("terminal", [True, False])
def test_progress(terminal, monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.problem_progress(True) as show:
        for second in range(0, 25, 5):
            now[0] = float(second)
            show(second, 540, 61.0 if second else None)
    told = capsys.readouterr()
    assert told.out == ""
    if not terminal:
        lines = told.err.splitlines()
        assert lines == [f"accel: {n} of 540 problems, about 1:01 left" for n in (10, 20)]


def test_nothing_is_shown_if_quiet(capsys):
    with progress.problem_progress(False) as show:
        show(1, 2, None)
    assert capsys.readouterr() == ("", "")
