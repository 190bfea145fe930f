"""python -m benchmarks completion, on very small matrices."""

import json
import re

import pytest

pytest.importorskip("torch")

from benchmarks.groups import completion
from benchmarks.harness import machine, records
from benchmarks.harness.registry import summary

from ...children import ROOT, python


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


def test_the_same_cases_under_pytest_benchmark(tmp_path):
    """Each contender is held to the reference there; a group of the table is a case."""
    pytest.importorskip("pytest_benchmark")
    path = tmp_path / "times.json"
    python(
        "-m", "pytest", "benchmarks/test_matrix.py", "-q", "--quick", "-p", "no:cacheprovider",
        "-k", "test_completion and n2", f"--benchmark-json={path}", cwd=ROOT,
    )  # fmt: skip
    found = json.loads(path.read_text())["benchmarks"]
    cases = [case for case in completion.CASES if case.depth == 2]
    assert {each["group"] for each in found} == {f"matrix: {case.title}" for case in cases}
    assert len(found) == len(cases) * len(completion.LOOPS)
    assert {each["extra_info"]["contender"] for each in found} == set(completion.LOOPS)


def test_a_contender_with_other_factors_is_told(monkeypatch):
    """The difference from ours is relative to the largest number."""
    case = completion.quick_form(completion.CASES[0])
    ours = completion.factors_after(case, completion.OURS, 1, 5)
    assert completion.apart(1.5 * ours, ours) == pytest.approx(0.5)
    monkeypatch.setitem(completion.LOOPS, completion.PLAIN, stopped)
    assert completion.difference(case, 1, 5) > 1e-3


def stopped(problem, network, optimizer, threads):
    """A contender that makes no step."""
    return lambda steps: None, lambda: network.params
