"""python -m benchmarks minibatches, on one case, and its tables."""

import json

import numpy as np
import pytest

import accel
from benchmarks.groups import minibatches
from benchmarks.harness import machine, records
from benchmarks.harness.registry import summary
from benchmarks.peers import Descent, Gap, Sweep
from benchmarks.peers.minibatches import numpy_params

from ...children import ROOT, python


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.setattr(machine, "restart_without_override", lambda: None)


def missing(*arguments):
    raise Gap("it is not installed")


@pytest.mark.slow  # it compiles steps of batches and of all rows
def test_batches_schedules_and_noise_are_told(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(minibatches, "CASES", minibatches.CASES[:1])
    monkeypatch.setattr(minibatches, "torch_of_batches", missing)
    monkeypatch.setattr(minibatches, "jax_of_batches", missing)
    path = tmp_path / "minibatches.json"
    assert minibatches.main(["--quick", "--threads", "1", "--output", str(path)]) == 0
    content = records.read(path)
    case, *others = content["rows"]
    assert [line["batch"] for line in case["lines"]] == [
        "n/8 = 321, epoch", "n/32 = 81, epoch", "n/128 = 21, epoch", "n/8 = 321, replacement",
        "n/8 = 321, none",
    ]  # fmt: skip
    for line in case["lines"]:
        assert 0 < line["apart"] <= 1e-6
        assert line["seconds"]["accel"]["1"] > 0
        assert line["rows"] > 0
        assert not line["seconds"]["PyTorch"]
    assert set(case["gaps"].values()) == {"it is not installed"}
    for row in others:
        assert set(row["variants"]) == set(minibatches.VARIANTS)
        assert all(each["1"] > 0 for each in row["variants"].values())
    assert len(content["benchmarks"]) == 1 + 2 * 5 + 3 * len(minibatches.VARIANTS)
    told = capsys.readouterr().out
    assert summary(content) in told
    assert "not measured" in told


# One fresh interpreter: JAX and numba keep threads, after which no later test could fork.
PEERS = """
import json, sys
import numpy as np
from benchmarks.groups.minibatches import Batch, built
from benchmarks.harness.cases import Case
from benchmarks.harness.reference import difference
from benchmarks.peers import Gap
from benchmarks.peers.minibatches import numpy_params

outcomes = {}
for outputs, widths, models in ((1, (), 1), (1, (1, 1), 1), (1, (2,), 3), (3, (4,), 1)):
    data = f"50x8x{outputs}"
    case = Case("", "", data, "float64", 4.0, widths, 1e-3, 0, (), (), models=models)
    run, _ = case.descent(1)
    for batch in (Batch(part=4), Batch(25), Batch(12, shuffle="replacement")):
        rows = batch.of_steps(50)
        expected = numpy_params(run, rows, 2 * len(rows))
        try:
            stepper = built(sys.argv[1], run, batch, rows, 1)
        except Gap as gap:
            print(json.dumps(str(gap)))
            sys.exit()
        for steps in (1, len(rows), len(rows) - 1):
            stepper.advance(steps)
        name = f"{outputs}, {widths}, {models}, {batch}"
        outcomes[name] = difference(run, expected, stepper.params())
print(json.dumps(outcomes))
"""


@pytest.mark.slow  # torch, JAX and its compiler
@pytest.mark.parametrize("library", ["PyTorch", "JAX"])
def test_others_go_through_the_same_rows(library):
    """And begin with the first rows after the last ones, in several calls."""
    done = python("-c", PEERS, library, cwd=ROOT, limit=300)
    outcomes = json.loads(done.stdout.splitlines()[-1])
    if isinstance(outcomes, str):
        pytest.skip(outcomes)
    assert len(outcomes) == 12
    assert not {name: off for name, off in outcomes.items() if off > 1e-10}


def descent(n=30, d=5, rate=1e-3):
    rng = np.random.default_rng(0)
    X, Y, params = rng.normal(size=(n, d)), rng.normal(size=(n, 1)), rng.normal(size=d)
    return Descent(X, Y, 4.0, (d, 1), params, rate)


def test_the_reference_is_a_run_of_accel_with_the_same_rows():
    run, batch = descent(), minibatches.Batch(8)
    network = accel.LinearNetwork(run.widths, init=run.factors(run.params))
    result = accel.train(
        accel.LpProblem(run.X, run.Y, 4.0), network, accel.GradientDescent(1e-3), 20,
        batch_size=8, backend="reference",
    )  # fmt: skip
    rows = batch.of_steps(30)
    assert len(rows) == 64
    assert {len(own) for own in rows} == {8, 6}
    found = numpy_params(run, rows, 20)
    np.testing.assert_allclose(found, result.network.params, rtol=1e-12)
    both = numpy_params(Sweep((run, descent(rate=1e-4))), rows, 20)
    np.testing.assert_array_equal(both[0], found)
    assert np.linalg.norm(both[1] - run.params) < np.linalg.norm(found - run.params)


@pytest.mark.parametrize(
    ("batch", "rows", "title"),
    [
        (minibatches.Batch(part=8), 321, "n/8 = 321, epoch"),
        (minibatches.Batch(64, shuffle="none"), 64, "64, none"),
    ],
)
def test_a_batch_in_words(batch, rows, title):
    assert batch.rows(2565) == rows
    assert batch.title(2565) == title
    assert batch.spec(2565) == (rows, batch.shuffle, 0, 0.0, False)


LINE = {
    "batch": "n/8 = 321, epoch", "rows": 5e-7, "bound": 0.25, "faster": 2.0, "apart": 1e-16,
    "seconds": {
        "accel": {"1": 2e-6, "2": 3e-6}, "PyTorch": {"1": 9e-6, "2": 6e-6}, "JAX": {"2": 5e-6},
    },
}  # fmt: skip
ROW = {"title": "gas", "all": {"1": 20e-6, "2": 10e-6}, "agree": True, "gaps": {}}


@pytest.mark.parametrize(
    ("changes", "cells"),
    [
        ({}, "| 2 / 3 | 0.10 / 0.30 | **no** | 0.5 | 6 | 5 | 2.50 | yes | 1e-16 |"),
        ({"bound": 0.3}, "| 0.10 / 0.30 | yes | 0.5 |"),
        ({"bound": None, "faster": 2.6}, "| 0.10 / 0.30 |  | 0.5 | 6 | 5 | 2.50 | **no** |"),
        (
            {"seconds": {"accel": {"1": 2e-6, "2": 3e-6}, "PyTorch": {}, "JAX": {}}},
            "| **no** | 0.5 |  |  |  | not measured |",
        ),
    ],
)
def test_what_is_missed_is_said_to_be(changes, cells):
    """A batch must keep to its share with one thread and with all; ours is held to the best."""
    row = ROW | {"lines": [LINE | changes]}
    found = {name: {"1": 1e-6} for name in minibatches.VARIANTS}
    found["Langevin"] = {"1": 1.5e-6}
    other = {"title": "gas, all rows: schedules and noise", "agree": True, "variants": found}
    content = records.record("minibatches", True, rounds=1, rows=[row, other])
    text = summary(content)
    assert "| gas | n/8 = 321, epoch | 20 / 10 |" in text
    assert cells in text
    assert "| gas, all rows | 1 | 1.00 | 1.50 | 1.00 | 1.00 |" in text


def test_parameters_that_part_are_no_success(monkeypatch, tmp_path):
    row = ROW | {"agree": False, "lines": [], "samples": {}}
    monkeypatch.setattr(minibatches, "measure", lambda *arguments: dict(row))
    monkeypatch.setattr(minibatches, "STEPS", ())
    assert minibatches.main(["--quick", "--output", str(tmp_path / "minibatches.json")]) == 1


@pytest.mark.slow  # torch and JAX, and it compiles steps
def test_the_same_steps_under_pytest_benchmark(tmp_path):
    """A group of the table is a case with a batch, or what is compared with a constant rate."""
    pytest.importorskip("pytest_benchmark")
    path = tmp_path / "times.json"
    python(
        "-m", "pytest", "benchmarks/test_step.py", "-q", "--quick", "-p", "no:cacheprovider",
        "-k", "(test_minibatch and gas-n1-f64 and (epoch or none) and not JAX) or "
        "(test_schedule_or_noise and gas and epoch)",
        f"--benchmark-json={path}", cwd=ROOT,
    )  # fmt: skip
    groups = {}
    for each in json.loads(path.read_text())["benchmarks"]:
        groups.setdefault(each["group"], []).append(each["extra_info"]["contender"])
    noise = groups.pop("step: gas, n/8 = 321, epoch")
    assert noise == list(minibatches.VARIANTS)
    assert len(groups) == 4
    for group, found in groups.items():
        assert group.startswith("step: minibatches, gas, depth 1, float64, p = 4, n/")
        assert {"accel", "accel, all rows"} <= set(found) <= set(minibatches.CONTENDERS)
