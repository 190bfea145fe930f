import json

import numpy as np
import pytest

from benchmarks import RESULTS, ROOT
from benchmarks.__main__ import main
from benchmarks.harness import compare, records

from ...children import python

SECONDS = [3.0, 1.0, 2.0, 4.0, 100.0]


def content():
    made = records.record("step", quick=False, rounds=5)
    made["benchmarks"] = [
        records.entry("a case", "accel", SECONDS, 10, kind="ours"),
        records.entry("a case", "a | peer <&>", [1.0], kind="peer"),
    ]
    return made


def test_there_and_back(tmp_path):
    made = content()
    assert records.read(records.write(made, tmp_path / "deep" / "one.json")) == made
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["one.json"]


def test_statistics_are_those_of_pytest_benchmark():
    theirs = pytest.importorskip("pytest_benchmark.stats").Stats()
    for seconds in SECONDS:
        theirs.update(seconds)
    ours = records.statistics(SECONDS)
    assert list(ours) == list(theirs.fields)
    for name in ("min", "max", "mean", "stddev", "rounds", "median", "q1", "q3", "total", "ops"):
        if name not in ("q1", "q3"):  # of the several definitions they take another
            assert ours[name] == pytest.approx(getattr(theirs, name))
    assert ours["q1"] == 2.0
    assert ours["iqr"] == 2.0
    assert ours["outliers"] == theirs.outliers == "1;1"
    assert ours["hd15iqr"] == 4.0


def test_pytest_benchmark_compares_it(tmp_path):
    pytest.importorskip("pytest_benchmark")
    path = records.write(content(), tmp_path / "one.json")
    done = python("-m", "pytest_benchmark", "compare", path, cwd=tmp_path)
    assert "a case" in done.stdout
    assert "a | peer" in done.stdout


def test_its_keys_are_those_of_pytest_benchmark(tmp_path):
    document = json.loads(records.write(content(), tmp_path / "one.json").read_text())
    assert set(document) == {
        "machine_info", "commit_info", "benchmarks", "datetime", "version", "accel",
    }  # fmt: skip
    (first, _) = document["benchmarks"]
    assert set(first) == {
        "group", "name", "fullname", "params", "param", "extra_info", "options", "stats",
    }  # fmt: skip
    assert first["stats"]["data"] == SECONDS
    assert first["stats"]["iterations"] == 10


def test_numbers_stay_on_a_line_and_what_is_no_number_becomes_null(tmp_path):
    made = records.record("scaling", quick=True)
    made["field"] = {
        "a": [1, np.float64(2.5), float("nan")],
        "b": np.int64(3),
        "text": "[\n 1\n]",
        "c": [[1, 2], [3, 4]],
    }
    path = records.write(made, tmp_path / "one.json")
    assert '"a": [1, 2.5, null]' in path.read_text()
    assert '"c": [[1, 2], [3, 4]]' in path.read_text()
    assert records.read(path)["field"] == {
        "a": [1, 2.5, None],
        "b": 3,
        "text": "[\n 1\n]",
        "c": [[1, 2], [3, 4]],
    }


def test_what_is_committed_has_no_samples_and_a_line_a_row(tmp_path):
    pytest.importorskip("pytest_benchmark")
    made = content() | {
        "cases": [
            {"name": "a", "contenders": [{"contender": "accel", "median_us": 1.0}] * 2},
            {"name": "b", "rows": [{"curve": [[1, 2]], "samples": [3.0], "reached": {"0.1": 4}}]},
        ]
    }
    slim = records.slim(made)
    assert slim["cases"] == [made["cases"][0], {"name": "b", "rows": [{"reached": {"0.1": 4}}]}]
    assert [list(b["stats"]) for b in slim["benchmarks"]] == [
        [key for key in b["stats"] if key != "data"] for b in made["benchmarks"]
    ]
    assert made["benchmarks"][0]["stats"]["data"] == SECONDS
    path = records.write(slim, tmp_path / "one.json")
    lines = [line.strip() for line in path.read_text().splitlines()]
    assert lines.count('{"contender": "accel", "median_us": 1.0}') == 1
    assert sum(line.startswith('{"group": "a case", ') for line in lines) == 2
    assert records.read(path) == slim
    comparison = compare.compare(*(json.loads(path.read_text()) for _ in range(2)))
    assert [change.name for change in comparison.changes] == ["a case: accel"]
    done = python("-m", "pytest_benchmark", "compare", path, cwd=tmp_path)
    assert "a case" in done.stdout


def test_it_is_kept_under_its_own_name(tmp_path, capsys):
    about = {"cpu": "Intel(R) Xeon(R) CPU @ 2.00GHz (family 6, model 85)", "cpus_in_use": 2}
    made = content() | {"machine": about, "date": "2026-11-30"}
    path = records.write(made, tmp_path / "step.json")
    out = tmp_path / "out"
    assert main(["keep", str(path), "--folder", str(out)]) == 0
    (kept,) = out.iterdir()
    assert kept.name == "intel-xeon-family-6-model-85-2cpu-2026-11-30-step.json"
    assert records.read(kept) == records.slim(made)
    gpu = {"machine": {"device": {"name": "NVIDIA H200"}}, "date": "2026-11-30", "group": "gpu"}
    assert records.file_name(gpu) == "nvidia-h200-2026-11-30.json"
    records.write(made | {"quick": True}, path)
    assert main(["keep", str(path), "--folder", str(out)]) == 2
    assert "quick" in capsys.readouterr().err


def test_a_report_of_accel_reproduce_is_kept_without_its_trials(tmp_path, capsys):
    line = {"label": "a", "ours": 0.5}
    report = {
        "settings": {"quick": False},
        "figures": [{"key": "2", "lines": [line | {"trials": [{"rate": 0.1}]}], "checks": []}],
        "finished": "2026-11-30 20:55:50 +0000",
    }
    path = tmp_path / "report.json"
    path.write_text(json.dumps(report))
    assert main(["keep", str(path), "--folder", str(tmp_path)]) == 0
    kept = tmp_path / "reproduce-2026-11-30.json"
    assert capsys.readouterr().out == f"{kept}\n"
    expected = report | {"figures": [{"key": "2", "lines": [line], "checks": []}]}
    assert json.loads(kept.read_text()) == expected
    assert '{"label": "a", "ours": 0.5}\n' in kept.read_text()
    committed = list((ROOT / "docs" / "records").glob("reproduce-*.json"))
    assert committed
    for path in committed:
        assert main(["keep", str(path), "--folder", str(tmp_path)]) == 0
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_all_that_is_committed_is_slim():
    paths = sorted(RESULTS.glob("*.json"))
    assert len(paths) >= 8
    for path in paths:
        content = records.read(path)
        assert records.slim(content) == content
        assert not content["quick"]
        assert path.read_text() == f"{records.text(json.loads(path.read_text()))}\n"
