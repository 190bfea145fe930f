"""python -m benchmarks losses, on small data."""

import pytest

from benchmarks.groups import losses
from benchmarks.harness import machine, records
from benchmarks.harness.registry import summary


@pytest.mark.slow  # it compiles a pass for every loss
def test_every_loss_is_told_beside_p_4(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(machine, "restart_without_override", lambda: None)
    path = tmp_path / "losses.json"
    assert losses.main(["--quick", "--threads", "1", "--output", str(path)]) == 0
    content = records.read(path)
    assert len(content["rows"]) == 3
    for row in content["rows"]:
        assert row["ratios"]["lp"] == 1
        assert min(row["ratios"].values()) > 0
        assert len(row["ratios"]) == len(losses.LOSSES)
    assert summary(content) in capsys.readouterr().out


def test_what_is_too_slow_is_said_to_be():
    ratios = {loss.name: 1.2 for loss in losses.LOSSES} | {"lp": 1.0}
    most = {loss.name: limit for loss, limit in losses.LOSSES.items()}
    row = {"title": "gas", "seconds": {"lp": 1e-6}, "ratios": ratios, "most": most}
    content = records.record("losses", True, rounds=1, rows=[row])
    text = losses.summary(content)
    assert "1.20 (must: 1.15, **no**)" in text
    assert "1.20 (must: 1.3, yes)" in text
