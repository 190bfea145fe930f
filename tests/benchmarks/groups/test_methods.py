"""python -m benchmarks methods, on very small data."""

import re

import pytest

from benchmarks.groups import methods
from benchmarks.harness import machine, records
from benchmarks.harness.registry import summary


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.setattr(machine, "restart_without_override", lambda: None)


def test_the_methods_agree_and_are_told_side_by_side(capsys, tmp_path):
    path = tmp_path / "out" / "methods.json"
    assert methods.main(["--quick", "--output", str(path)]) == 0
    told = capsys.readouterr().out
    content = records.read(path)
    assert len(content["rows"]) == len(methods.CASES)
    for row in content["rows"]:
        assert row["agree"]
        assert 0 < row["apart"] <= methods.AGREE  # two ways to the same numbers, but not one
        assert min(row["seconds"]) > 0
        assert row["title"] in told
    assert {tuple(row["methods"]) for row in content["rows"]} == {
        methods.SPECTRAL,
        methods.ROWSPACE,
    }
    assert len(content["benchmarks"]) == 2 * len(methods.CASES)
    assert summary(content) in told


def test_a_target_that_is_missed_is_said_to_be(capsys):
    case = methods.quick_form(methods.CASES[0])
    slow = methods.replace(case, microseconds=1e-9)
    rows = [methods.measure(c, 1, 20) for c in (case, slow)]
    assert not rows[1]["met"]
    content = records.record("methods", True, rounds=1, rows=rows)
    (line,) = re.findall(r"^.*must: 1e-09 us.*$", methods.summary(content), re.MULTILINE)
    assert line.rstrip(" |").endswith("**no**")


def test_methods_that_part_are_no_success(monkeypatch, tmp_path):
    monkeypatch.setattr(methods, "difference", lambda case, steps: 1e-3)
    monkeypatch.setattr(methods, "CASES", methods.CASES[:1])
    assert methods.main(["--quick", "--output", str(tmp_path / "methods.json")]) == 1
