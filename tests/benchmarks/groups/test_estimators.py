"""python -m benchmarks estimators, on very small data."""

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.6")

from benchmarks.groups import estimators
from benchmarks.harness import machine, records
from benchmarks.harness.registry import summary


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setenv("ACCEL_NUM_THREADS", "1")
    monkeypatch.setattr(machine, "restart_without_override", lambda: None)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 3))
    monkeypatch.setattr(
        estimators, "problems", lambda quick: {"small": (X, X[:, 0] + rng.standard_normal(60))}
    )


def test_all_reach_the_minimum_or_say_that_they_do_not(small, capsys, tmp_path):
    path = tmp_path / "out" / "estimators.json"
    assert estimators.main(["--quick", "--output", str(path)]) == 0
    told = capsys.readouterr().out
    content = records.read(path)
    assert [case["p"] for case in content["cases"]] == list(estimators.POWERS)
    for case in content["cases"]:
        rows = {row["contender"]: row for row in case["rows"]}
        assert rows["accel, Newton"]["reached"]
        for row in rows.values():
            assert row["contender"] in told
            assert "gap" in row or (row["seconds"] > 0 and row["excess"] >= 0)
        peers = {1: "QuantileRegressor", 2: "LinearRegression"}
        assert rows[peers.get(case["p"], "SciPy L-BFGS-B")]["reached"]
    assert all(estimators.table(case) in summary(content) for case in content["cases"])
    kinds = {b["name"]: b["extra_info"]["kind"] for b in content["benchmarks"]}
    assert (kinds["accel, Newton"], kinds["SciPy L-BFGS-B"]) == ("ours", "peer")
    assert len(content["benchmarks"][0]["stats"]["data"]) == 1


def test_a_peer_that_is_missing_is_a_named_gap(small, monkeypatch):
    def missing(X, y, p):
        raise ImportError("no module", name="skglm")

    monkeypatch.setattr(estimators, "estimators", lambda: [estimators.Estimator("skglm", missing)])
    ((X, y),) = estimators.problems(True).values()
    rows = estimators.measure(X, y, 2, 1)
    assert rows == [{"contender": "skglm", "ours": False, "gap": "not installed (skglm)"}]
    assert "not installed" in estimators.table({"data": "small", "p": 2, "rows": rows})
