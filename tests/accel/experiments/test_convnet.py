"""The files and findings of figure 5 right; the network itself is tested in test_mnist.py."""

import csv
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rich")
pytest.importorskip("matplotlib")

from accel.datasets.mnist import MnistData
from accel.experiments import convnet
from accel.experiments.mnist import MnistResult, NetResult
from accel.experiments.time_left import TimeLeft

IMAGES = np.zeros((4, 28, 28), dtype=np.uint8)
DATA = MnistData(IMAGES, np.arange(4, dtype=np.uint8), "digits", "a stand-in, because")


def net(loss, entropy):
    steps = np.arange(3)
    return NetResult(steps, *(np.full(3, value) for value in (loss, loss, entropy, entropy)),
                     1000, 0.125)  # fmt: skip


@pytest.fixture
def trained(monkeypatch):
    """A stand-in for the training that needs no torch, and the arguments of its last call."""
    called = {"status": "completed", "inits": []}
    deeper = {"balanced": net(0.6, 0.03), "near_zero": net(0.06, 0.04)}

    def run(data, steps, *, callback, **keywords):
        called.update(keywords, steps=steps)
        called["inits"].append(keywords["init"])
        callback(steps, 2.0, 1.0)
        init, seed = keywords["init"], keywords["seed"]
        return MnistResult(net(3.2, 0.5), deeper[init], called["status"], steps, 1.0, data.source,
                           data.note, init, 64, seed, 1)  # fmt: skip

    monkeypatch.setattr(convnet, "import_torch", lambda: None)
    monkeypatch.setattr(convnet.mnist_data, "load", lambda: DATA)
    monkeypatch.setattr(convnet.mnist, "run", run)
    return called


def run(out, divisor=1, progress=lambda *told: None):
    return convnet.run(
        out, divisor=divisor, seed=3, time_left=TimeLeft(progress), state=out / "state", threads=1
    )


def test_lines_notes_and_files(tmp_path, trained):
    told = []
    report = run(tmp_path, progress=lambda *values: told.append(values))
    assert trained["steps"] == 8500
    assert trained["seed"] == 3
    ends = {line["label"]: (line["ours"], line["ratio"], line["off"]) for line in report["lines"]}
    assert ends == {
        "original": (3.2, pytest.approx(2.0), False),
        "overparameterised, balanced start": (0.6, pytest.approx(12.0), True),
        "overparameterised, near_zero start": (0.06, pytest.approx(1.2), False),
    }
    assert "a stand-in, because" in report["notes"][0]
    assert "original 0.5 (12.50%); overparameterised, balanced start 0.03" in report["notes"][2]
    assert trained["inits"] == ["balanced", "near_zero"]
    assert told[-1][1:3] == (8500, 2)
    assert {path.name for path in tmp_path.glob("figure5r.*")} == {"figure5r.png", "figure5r.svg"}
    with (tmp_path / "curves" / "convnet-original.csv").open() as stream:
        assert [row["loss"] for row in csv.DictReader(stream)] == ["3.2"] * 3
    with np.load(tmp_path / "curves/convnet-overparameterised-near_zero-start.npz") as saved:
        assert saved["smoothed_cross_entropy"].tolist() == [0.04] * 3


def test_a_diverged_network_is_null_in_the_report(tmp_path, trained, monkeypatch):
    finished = convnet.mnist.run

    def diverged(*arguments, **keywords):
        return replace(finished(*arguments, **keywords), original=net(np.nan, np.nan))

    monkeypatch.setattr(convnet.mnist, "run", diverged)
    line = run(tmp_path)["lines"][0]
    assert (line["ours"], line["ratio"], line["cross_entropy"], line["off"]) == (
        None, None, None, True,
    )  # fmt: skip


def test_a_quick_run_is_compared_with_nothing(tmp_path, trained):
    report = run(tmp_path, 50)
    assert [(line["ratio"], line["off"]) for line in report["lines"]] == [(None, False)] * 3
    assert "published" not in (tmp_path / "figure5r.svg").read_text()
    run(tmp_path, 1)
    assert "published, at the last iteration" in (tmp_path / "figure5r.svg").read_text()


def test_full_length_and_quick_have_checkpoints_of_their_own(tmp_path, trained):
    paths = set()
    for divisor, steps in ((50, 170), (1, 8500)):
        run(tmp_path, divisor)
        assert trained["steps"] == steps
        paths.add(trained["checkpoint"])
    assert len(paths) == 2


def test_ctrl_c(tmp_path, trained):
    trained["status"] = "interrupted"
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)


@pytest.mark.parametrize("missing", ["torch", "data"])
def test_what_is_missing_is_the_reason(tmp_path, trained, monkeypatch, missing):
    def fail():
        raise ImportError(f"no {missing}")

    if missing == "torch":
        monkeypatch.setattr(convnet, "import_torch", fail)
    else:
        monkeypatch.setattr(convnet.mnist_data, "load", fail)
    assert run(tmp_path)["skipped"] == f"no {missing}"
    assert run(tmp_path)["lines"] == []
