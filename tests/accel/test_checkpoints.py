"""Checkpoints: interrupted and resumed is the same as never interrupted."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import accel
from accel import archives, checkpoints, running, sweep, train

from .runs import BACKENDS, PROBLEM, make_problem, start
from .test_sweep import assert_same, mixed, rates


@pytest.mark.parametrize("backend", BACKENDS)
def test_resumed_is_as_never_interrupted(backend, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "_GROWTH", 2)
    models = mixed(PROBLEM) + rates(init="near_zero", scale=0.5)
    whole = sweep(PROBLEM, models, 600, record_every=50, backend=backend)
    path, stops = tmp_path / "run.npz", (1, 10, 250)

    def interrupt(step, losses):
        return step >= goal

    for goal in (*stops, 10**9):
        part = sweep(
            PROBLEM, models, 600, record_every=50, backend=backend, checkpoint=path,
            callback=interrupt,
        )  # fmt: skip
        assert part.status == ("completed" if goal == 10**9 else "interrupted")
    for ours, theirs in zip(part, whole, strict=True):
        assert_same(ours, theirs)
    assert [p.name for p in tmp_path.iterdir()] == ["run.npz"]


def test_a_complete_run_returns_at_once(tmp_path):
    path = tmp_path / "run.npz"
    first = train(PROBLEM, start(), accel.Adam(), 500, checkpoint=path)
    steps = []
    again = train(
        PROBLEM, start(), accel.Adam(), 500, checkpoint=path,
        callback=lambda step, loss: steps.append(step),
    )  # fmt: skip
    assert steps == []
    assert_same(again, first)
    assert again.seconds == first.seconds


@pytest.mark.parametrize(
    "other",
    [
        lambda path: train(PROBLEM, start(), accel.Adam(), 501, checkpoint=path),
        lambda path: train(PROBLEM, start(), accel.Adam(0.002), 500, checkpoint=path),
        lambda path: train(PROBLEM, start(seed=1), accel.Adam(), 500, checkpoint=path),
        lambda path: train(PROBLEM, start(width=2), accel.Adam(), 500, checkpoint=path),
        lambda path: train(PROBLEM, start(), accel.Adam(), 500, target=0.1, checkpoint=path),
        lambda path: train(make_problem(p=3), start(), accel.Adam(), 500, checkpoint=path),
        lambda path: train(make_problem(n=41), start(), accel.Adam(), 500, checkpoint=path),
        lambda path: sweep(PROBLEM, [(start(), accel.Adam())] * 2, 500, checkpoint=path),
        lambda path: train(
            PROBLEM, start(), accel.Adam(), 500, backend="reference", checkpoint=path
        ),
    ],
)
def test_the_checkpoint_of_another_run_is_refused(other, tmp_path):
    path = tmp_path / "run.npz"
    train(PROBLEM, start(), accel.Adam(), 500, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"run\.npz belongs to another run"):
        other(path)
    assert path.read_bytes() == before


def _without(name):
    def damage(path):
        described, arrays = archives.read(path)
        del arrays[name]
        archives.write(path, described, arrays)

    return damage


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-200]),
        lambda path: path.write_bytes(b"hello"),
        lambda path: np.save(path.open("wb"), np.zeros(3)),
        lambda path: train(PROBLEM, start(), accel.Adam(), 5).save(path),
        _without("clock"),
        _flip,
    ],
)
@pytest.mark.filterwarnings("ignore:unclosed file")
def test_a_damaged_checkpoint_is_refused(damage, tmp_path):
    path = tmp_path / "run.npz"
    train(PROBLEM, start(), accel.Adam(), 500, checkpoint=path)
    damage(path)
    with pytest.raises(ValueError, match=r"run\.npz is none that accel saved"):
        train(PROBLEM, start(), accel.Adam(), 500, checkpoint=path)


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        train(PROBLEM, start(), accel.Adam(), 5, checkpoint=tmp_path / "file" / "run.npz")


def test_progress_is_saved_from_time_to_time(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "_INTERVAL", 0.0)
    path, sizes = tmp_path / "deep" / "run.npz", []

    def look(step, loss):
        sizes.append(int(archives.read(path)[1]["loop_step"]))

    train(PROBLEM, start(), accel.Adam(), 3000, checkpoint=path, callback=look)
    assert sizes == sorted(set(sizes))
    assert len(sizes) > 2


SCRIPT = """
import sys
import accel
from accel import checkpoints
from tests.accel.runs import PROBLEM, start
checkpoints._INTERVAL = 0.02
print("begun", flush=True)
models = [(start(), accel.GradientDescent(rate)) for rate in (1e-4, 1e-3, 5.0)]
sweep = accel.sweep(PROBLEM, models, 2_000_000, record_every=10_000, checkpoint=sys.argv[1])
print(*(float(p).hex() for result in sweep for p in result.network.params))
"""


@pytest.mark.slow
def test_killed_and_resumed(tmp_path):
    """A process killed at any moment leaves a checkpoint from which the run ends the same."""

    def run(path, seconds=None):
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(path)], stdout=subprocess.PIPE, text=True
        )
        with process:
            assert process.stdout.readline() == "begun\n"
            if seconds is not None:
                time.sleep(seconds)
                os.kill(process.pid, signal.SIGKILL)
            return process.stdout.read()

    path = tmp_path / "run.npz"
    for seconds in (0.1, 0.8, 1.2):
        run(path, seconds)
    assert path.exists()
    resumed = run(path)
    assert resumed
    assert resumed == run(tmp_path / "other.npz")
