"""python -m benchmarks losses, on small data."""

import json

import pytest

from benchmarks.groups import losses
from benchmarks.harness import machine, records
from benchmarks.harness.registry import summary

from ...children import ROOT, python

SOME = ("lp", "huber", "logistic")


@pytest.mark.slow  # it compiles passes: so of a residual and of a margin only
def test_losses_are_told_beside_p_4(monkeypatch, capsys, tmp_path):
    some = {loss: most for loss, most in losses.LOSSES.items() if loss.name in SOME}
    monkeypatch.setattr(losses, "LOSSES", some)
    monkeypatch.setattr(machine, "restart_without_override", lambda: None)
    path = tmp_path / "losses.json"
    assert losses.main(["--quick", "--threads", "1", "--output", str(path)]) == 0
    content = records.read(path)
    assert len(content["rows"]) == 3
    for row in content["rows"]:
        assert row["ratios"]["lp"] == 1
        assert min(row["ratios"].values()) > 0
        assert set(row["ratios"]) == set(SOME)
    assert summary(content) in capsys.readouterr().out


def test_what_is_too_slow_is_said_to_be():
    ratios = {loss.name: 1.2 for loss in losses.LOSSES} | {"lp": 1.0}
    most = {loss.name: limit for loss, limit in losses.LOSSES.items()}
    row = {"title": "gas", "seconds": {"lp": 1e-6}, "ratios": ratios, "most": most}
    content = records.record("losses", True, rounds=1, rows=[row])
    text = losses.summary(content)
    assert "1.20 (must: 1.15, **no**)" in text
    assert "1.20 (must: 1.3, yes)" in text


@pytest.mark.slow  # it compiles the pass of the loss
def test_the_same_steps_under_pytest_benchmark(tmp_path):
    """A group of the table are all losses of a data set and dtype."""
    pytest.importorskip("pytest_benchmark")
    path = tmp_path / "times.json"
    python(
        "-m", "pytest", "benchmarks/test_step.py", "-q", "--quick", "-p", "no:cacheprovider",
        "-k", "test_loss and (lp or huber) and diabetes", f"--benchmark-json={path}", cwd=ROOT,
    )  # fmt: skip
    found = json.loads(path.read_text())["benchmarks"]
    assert [each["extra_info"]["contender"] for each in found] == ["lp", "huber"]
    assert {each["group"] for each in found} == {"step: losses, diabetes, float64"}
