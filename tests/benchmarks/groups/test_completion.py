"""python -m benchmarks completion, on very small matrices."""

import re

import pytest

pytest.importorskip("torch")

from benchmarks.groups import completion
from benchmarks.harness import machine, records
from benchmarks.harness.registry import summary


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.setattr(machine, "restart_without_override", lambda: None)


def test_all_have_the_same_factors_and_are_told_side_by_side(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(completion, "CASES", completion.CASES[1::3])
    path = tmp_path / "completion.json"
    assert completion.main(["--quick", "--threads", "1", "--output", str(path)]) == 0
    told = capsys.readouterr().out
    content = records.read(path)
    assert [row["title"] for row in content["rows"]] == [
        completion.quick_form(case).title for case in completion.CASES
    ]
    for row in content["rows"]:
        assert 0 < row["apart"] <= completion.AGREE  # three ways to the same numbers
        assert min(each for each, _ in row["best"].values()) > 0
    assert len(content["benchmarks"]) == 3 * len(completion.CASES)
    assert summary(content) in told


def test_factors_that_part_are_no_success_and_a_missed_target_is_told(
    monkeypatch, capsys, tmp_path
):
    monkeypatch.setattr(completion, "difference", lambda case, threads, steps: 1e-3)
    monkeypatch.setattr(completion, "CASES", completion.CASES[:1])
    monkeypatch.setattr(completion, "TARGET", 1e9)
    arguments = ["--quick", "--threads", "1", "--output", str(tmp_path / "completion.json")]
    assert completion.main(arguments) == 1
    (line,) = re.findall(r"^.*must: 1e\+09x PyTorch.*$", capsys.readouterr().out, re.MULTILINE)
    assert line.rstrip(" |").endswith("**no**")
