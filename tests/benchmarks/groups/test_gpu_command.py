"""The command of the GPU suite: arguments, the reason not to run, device and figure 3."""

import types
from unittest.mock import create_autospec

import pytest

from accel._support import backends
from accel._support import gpu as accel_gpu
from accel.experiments import reproduce as experiment
from benchmarks.groups import gpu
from benchmarks.groups.gpu import cases, device, figure3, report
from benchmarks.groups.gpu.command import chosen, main, parse
from benchmarks.harness import page
from benchmarks.harness.cases import COPY, OURS, SINGLE_RUNS
from benchmarks.peers import Gap

from ... import children


def test_without_a_gpu(monkeypatch, capsys):
    monkeypatch.setattr(backends, "unavailable", lambda: {"cuda": "no NVIDIA driver"})
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)
    assert main([]) == 2
    printed = capsys.readouterr()
    assert printed.err == "no benchmarks of the GPU: no NVIDIA driver\n"
    assert not printed.out


def test_the_simulator_is_no_gpu(monkeypatch, capsys):
    monkeypatch.setattr(backends, "unavailable", lambda: {"cuda": None})
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    assert main([]) == 2
    assert "simulator" in capsys.readouterr().err


def test_the_pytest_form_skips_with_the_reason(monkeypatch):
    reason = gpu.reason()
    if reason is None:
        pytest.skip("there is a GPU")
    done = children.pytest("benchmarks", "-m", "gpu")
    assert reason in done.stdout
    assert "passed" not in done.stdout


def test_an_unknown_case(monkeypatch, capsys):
    monkeypatch.setattr(gpu, "reason", lambda: None)
    monkeypatch.setattr(gpu, "fair_environment", lambda: None)
    assert main(["--case", "depth9"]) == 2
    assert "unknown case depth9; known: ceilings, depth1-f32" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ([], ["ceilings", "one", "two"]),
        (["--case", "two", "--case", "one"], ["one", "two"]),
        (["--skip", "ceilings"], ["one", "two"]),
        (["--case", "one", "--case", "two", "--skip", "one"], ["two"]),
    ],
)
def test_what_is_chosen(arguments, names):
    assert chosen(parse(arguments), ["ceilings", "one", "two"]) == names


def test_the_environment_is_fair_to_all(monkeypatch):
    monkeypatch.setenv("CUPY_TF32", "1")
    monkeypatch.delenv("XLA_PYTHON_CLIENT_PREALLOCATE", raising=False)
    gpu.fair_environment()
    import os

    assert "CUPY_TF32" not in os.environ
    assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"


def test_every_case_has_its_contenders_and_its_targets():
    assert len({case.name for case in cases.CASES}) == len(cases.CASES)
    for case in cases.CASES:
        by_name = cases.ON_GPU.descents if case.models == 1 else cases.ON_GPU.sweeps
        assert set(case.contenders) <= set(by_name)
        assert case.contenders[0] == OURS
        against = {target.against for target in case.targets} - {"best peer"}
        assert against <= set(case.contenders)
    titles = {case.name: case.title for case in cases.CASES}
    assert titles["depth3-f32"] == "gas problem, depth 3, width 1, float32"
    assert titles["wide-f32"] == "gas problem, 128-100-100-1, float32"
    used = {name for case in cases.CASES for name in case.contenders}
    assert used == {*cases.ON_GPU.descents, *cases.ON_GPU.sweeps}
    assert {case.name for case in cases.CASES} >= set(cases.SCANNED)
    assert [case.name for case in cases.CASES if COPY in case.contenders] == ["vast-f32"]
    assert set(cases.PEERS.values()) == used - {OURS, SINGLE_RUNS}


def test_the_order_is_by_value():
    assert cases.in_order() == [
        "ceilings", "depth1-f32", "depth1-f64", "scan", "vast-f32", "wide-f32", "square100-f64",
        "square200-f64", "sweep64-f32", "sweep64-f64", "depth3-f32", "depth3-f64", "figure3",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("peers", "left"),
    [
        (None, set()),
        ("none", set(cases.PEERS)),
        ("jax, copy", set(cases.PEERS) - {"jax", "copy"}),
        ("cupy,cupy-fused,torch-eager,torch-graph,jax,jax-vmap,copy", {"torch-compiled"}),
    ],
)
def test_which_peers_are_left_out(peers, left):
    assert cases.left_out(peers) == {cases.PEERS[name] for name in left}
    assert OURS not in cases.left_out(peers)


@pytest.mark.parametrize(("peers", "named"), [("jax,torch", "torch"), ("", "''")])
def test_an_unknown_peer(peers, named, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "reason", lambda: None)
    monkeypatch.setattr(gpu, "fair_environment", lambda: None)
    monkeypatch.setattr(device, "describe", lambda: pytest.fail("too late"))
    assert main(["--peers", peers]) == 2
    assert f"unknown peer {named}; known: cupy, cupy-fused," in capsys.readouterr().err


def test_the_help_names_peers_and_cases(capsys):
    with pytest.raises(SystemExit):
        parse(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    for name in (*cases.PEERS, *cases.in_order()):
        assert name in told.replace("- ", "-")


def test_the_name_of_the_file():
    about = {"device": {"name": "NVIDIA H100 80GB HBM3"}}
    content = {"group": "gpu", "machine": about, "date": "2026-11-25"}
    assert report.default_path(content).name == "nvidia-h100-80gb-hbm3-2026-11-25.json"


ANSWER = "580.159.03, P0, 34, 75.1 W, 700.00 W, 1980 MHz, 3201 MHz, 1980 MHz, 3201 MHz, Enabled\n"


def test_what_nvidia_smi_tells(monkeypatch):
    asked = []

    def run(command, **options):
        asked.append(command)
        return types.SimpleNamespace(stdout=ANSWER)

    monkeypatch.setattr(device.subprocess, "run", run)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    state = device.query()
    assert state["driver_version"] == "580.159.03"
    assert state["clocks.sm"] == "1980 MHz"
    assert "--id=2" in asked[0]


def test_without_nvidia_smi(monkeypatch, tmp_path):
    def run(command, **options):
        raise FileNotFoundError

    monkeypatch.setattr(device.subprocess, "run", run)
    path = tmp_path / "version"
    path.write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release\n"
    )
    monkeypatch.setattr(device, "_DRIVER", path)
    h200 = accel_gpu.Gpu("NVIDIA H200", (9, 0), 150 * 2**30, 132, (13, 0))
    monkeypatch.setattr(accel_gpu, "device", lambda: h200)
    about = device.describe()["device"]
    assert about["driver"] == "580.159.04"
    assert about["compute_capability"] == "9.0"
    assert about["at_start"] == {}


@pytest.fixture
def gas(monkeypatch):
    """A figure 3 that takes no time."""
    import numpy as np

    data = types.SimpleNamespace(X=np.random.default_rng(0).random((30, 4)), y=np.arange(30.0))
    monkeypatch.setattr(figure3, "find_gas", lambda: "gas.npz")
    monkeypatch.setattr("accel.datasets.load_gas_ethanol", lambda path: data)
    calls = []

    def reproduce(settings, out, make, *, progress):
        calls.append((settings.figures, settings.quick, settings.backend, out, make(4.0).p))
        progress(None, 0, 1, None)
        return {"seconds": {"training": 0.5, "stages": []}, "figures": ["findings"]}

    # It takes only what the real one does.
    checked = create_autospec(experiment.reproduce, side_effect=reproduce)
    monkeypatch.setattr(experiment, "reproduce", checked)
    return calls


def test_figure_3(gas):
    record = figure3.measure(False, backend="cpu")
    assert [call[:3] for call in gas] == [(("3r",), True, "cpu"), (("3r",), False, "cpu")]
    assert gas[0][3] != gas[1][3]
    assert gas[0][4] == 4.0
    assert record["training_seconds"] == 0.5
    assert 0 <= record["seconds"] < 10
    assert not record["quick"]


def test_figure_3_that_takes_too_long(gas):
    with pytest.raises(Gap, match=r"given up after -1 s"):
        figure3.measure(False, limit=-1.0, backend="cpu")


def test_figure_3_without_its_data(monkeypatch):
    monkeypatch.setattr(figure3, "find_gas", lambda: None)
    with pytest.raises(Gap, match="ACCEL_DATA"):
        figure3.measure(False)


def test_rows_of_figure_3():
    content = {"figure3": {"seconds": 20.0, "quick": False}, "failed": []}
    must, strive = map(page.row, report._further_rows(content))
    assert must.startswith("| figure 3 right, full length with its grids | 20.0 s |")
    assert must.endswith("| must: under 60 s | 20.0 s | yes |")
    assert strive == "|  |  |  |  | strive: under 15 s | 20.0 s | **no** |"
