"""Checkpoints: a run that is interrupted and resumed gives the bits of an uninterrupted one."""

import contextlib
import logging
import os
import re
import signal
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import accel
from accel import sweep, train
from accel._files import archives
from accel._runs import run as chunks

from ..disk import no_room, read_only
from ..killing import killed
from ..problems import BACKENDS, PROBLEM, make_problem, start
from .test_sweeping import assert_same, mixed, rates


@pytest.mark.parametrize("backend", BACKENDS)
def test_resumed_is_as_never_interrupted(backend, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "_GROWTH", 2)
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
    ("differs", "other"),
    [
        (r"optimizers: .*0\.001,.* there, .*0\.002,.* here", {"optimizer": accel.Adam(0.002)}),
        ("start: ", {"network": start(seed=1)}),
        ("start: ", {"network": start(width=2)}),
        ("target: -inf there, 0.1 here", {"target": 0.1}),
        ("record_every: 1 there, 7 here", {"record_every": 7}),
        ("loss: .*p=4", {"problem": make_problem(p=3)}),
        ("data: ", {"problem": make_problem(n=41)}),
        ("backend: 'cpu' there, 'reference' here", {"backend": "reference"}),
    ],
)
def test_the_checkpoint_of_another_run_is_refused(differs, other, tmp_path):
    path = tmp_path / "run.npz"
    same = {"problem": PROBLEM, "network": start(), "optimizer": accel.Adam(), "steps": 500}
    train(**same, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=rf"run\.npz belongs to another run \({differs}"):
        train(**same | other, checkpoint=path)
    with pytest.raises(ValueError, match=r"run\.npz belongs to another run \(start: "):
        sweep(PROBLEM, [(start(), accel.Adam())] * 2, 500, checkpoint=path)
    assert path.read_bytes() == before
    assert train(**same, checkpoint=path, threads=1).status == "completed"


def _refusal(path, first, other):
    """What is said where a run is given the checkpoint of one with other arguments."""
    same = {"problem": PROBLEM, "network": start(), "optimizer": accel.Adam(), "steps": 2000}
    same |= {"backend": "reference"}
    train(**same | first, checkpoint=path, callback=lambda step, loss: True)
    with pytest.raises(ValueError, match="belongs to another run") as refused:
        train(**same | other, checkpoint=path)
    (said,) = re.findall(
        r"another run \((.*)\): choose another file, or delete it", str(refused.value)
    )
    return said


def test_a_refusal_names_what_was_given_and_not_what_follows_from_it(tmp_path):
    """Here the interval of records is that of an epoch, and of so many steps."""
    said = _refusal(tmp_path / "batches", {"batch_size": 16}, {"batch_size": 8})
    assert re.fullmatch(r"batches: .*size=16,.* there, .*size=8,.* here", said)
    said = _refusal(tmp_path / "all", {}, {"batch_size": 8})
    assert said.startswith("batches: None there, ")
    said = _refusal(tmp_path / "records", {}, {"record_every": 9})
    assert said == "record_every: 2 there, 9 here"


def test_a_refusal_shows_where_long_texts_differ(tmp_path):
    rules = [
        accel.Momentum(accel.schedules.WarmupCosineDecay(0.0, 0.001, 100, 2000, end))
        for end in (1e-4, 1e-5)
    ]
    said = _refusal(tmp_path / "run", *({"optimizer": rule} for rule in rules))
    assert re.fullmatch(r"optimizers: \.\.\.end_value=0\.0001.* there, \.\.\..*=1e-05.* here", said)
    assert len(said) < 220


def test_a_refusal_has_no_hash_of_what_is_recorded(tmp_path):
    said = _refusal(tmp_path / "names", {"record": "sharpness"}, {"record": "balancedness"})
    assert said == "record: ['sharpness'] there, ['balancedness'] here"
    held_out = [{"validation": make_problem(n=n)} for n in (5, 6)]
    said = _refusal(tmp_path / "data", *held_out)
    assert said == "record: validation_loss with other constants or data there than here"


def _without(name):
    def damage(path):
        described, arrays = archives.read(path, 2)
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
    with pytest.raises(ValueError, match=r"run\.npz is not readable"):
        train(PROBLEM, start(), accel.Adam(), 500, checkpoint=path)


def test_of_a_later_version(tmp_path):
    path = tmp_path / "run.npz"
    archives.write(path, {"format": 99, "run": {}}, {})
    with pytest.raises(ValueError, match=r"run\.npz is not readable: .*99, of a later version"):
        train(PROBLEM, start(), accel.Adam(), 500, checkpoint=path)


def steps_in(path):
    return int(archives.read(path, 2)[1]["loop_step"])


@pytest.mark.parametrize("every", [0, 1e9])
def test_progress_is_saved_from_time_to_time(every, tmp_path):
    path, steps = tmp_path / "deep" / "run.npz", []

    def look(step, loss):
        steps.append(steps_in(path))

    train(
        PROBLEM, start(), accel.Adam(), 3000, checkpoint=path, callback=look,
        checkpoint_every=every,
    )  # fmt: skip
    if every:
        assert set(steps) == {0}
    else:
        assert steps == sorted(set(steps))
        assert len(steps) > 2
    assert steps_in(path) == 3000


@pytest.mark.parametrize(
    ("value", "error"), [(-1, ValueError), (np.nan, ValueError), ("30", TypeError)]
)
@pytest.mark.parametrize("checkpoint", [None, "run.npz"])
def test_bad_intervals(value, error, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = {"checkpoint": checkpoint, "checkpoint_every": value}
    with pytest.raises(error, match="checkpoint_every must be"):
        train(PROBLEM, start(), accel.Adam(), 5, **arguments)
    with pytest.raises(error, match="checkpoint_every must be"):
        sweep(PROBLEM, [(start(), accel.Adam())], 5, **arguments)
    assert os.listdir(tmp_path) == []


def run(path, **arguments):
    arguments = {"backend": "reference", "checkpoint_every": 0, **arguments}
    return train(PROBLEM, start(), accel.Adam(), 600, checkpoint=path, **arguments)


def no_step(step, loss):
    pytest.fail("a step was made")


def test_a_place_that_cannot_be_written_is_known_at_once(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        run(tmp_path / "file" / "run.npz", callback=no_step)
    with pytest.raises(ValueError, match=f"{tmp_path.name}: a folder"):
        run(tmp_path, callback=no_step)
    with no_room(), pytest.raises(OSError, match=r"run\.npz"):
        run(tmp_path / "run.npz", callback=no_step)
    assert os.listdir(tmp_path) == ["file"]


def test_a_read_only_folder():
    with tempfile.TemporaryDirectory() as folder:
        part, whole = Path(folder) / "part.npz", Path(folder) / "whole.npz"
        run(part, callback=lambda step, loss: step > 9)
        expected, before = run(whole), part.read_bytes()
        with read_only(Path(folder)):
            with pytest.raises(PermissionError, match=r"part\.npz"):
                run(part, callback=no_step)
            assert_same(run(whole, callback=no_step), expected)  # nothing is written
        assert part.read_bytes() == before
        assert sorted(os.listdir(folder)) == ["part.npz", "whole.npz"]


@pytest.mark.parametrize("for_good", [False, True])
def test_a_disk_that_is_full_for_a_while(for_good, tmp_path, monkeypatch, caplog):
    """The run is not lost, what was saved last stays, and saving is tried again."""
    monkeypatch.setattr(chunks, "_GROWTH", 2)
    path, full, kept = tmp_path / "run.npz", contextlib.ExitStack(), []

    def fill(step, loss):
        if step >= 10 and not kept:
            kept.append(path.read_bytes())
            full.enter_context(no_room())
        if kept and step < 200:
            assert path.read_bytes() == kept[0]
            assert os.listdir(tmp_path) == ["run.npz"]
        if step >= 200 and not for_good and len(kept) == 1:
            kept.append(None)
            full.close()

    with caplog.at_level(logging.WARNING, "accel"), full:
        result = run(path, callback=fill)
    assert_same(result, run(None))
    words = ["no checkpoint for now, the run goes on", "the checkpoint is not of the end"]
    assert len(caplog.messages) == 1 + for_good
    for message, expected in zip(caplog.messages, words[: 1 + for_good], strict=True):
        assert expected in message
        assert "run.npz" in message
    assert (path.read_bytes() == kept[0]) == for_good
    assert os.listdir(tmp_path) == ["run.npz"]
    assert_same(run(path), result)


@pytest.mark.parametrize("save", ["one on the way", "the last"])
def test_ctrl_c_in_a_save(save, tmp_path, monkeypatch):
    """It neither damages the file nor loses the result."""
    path, seal, seals = tmp_path / "run.npz", archives.seal, []

    def struck(file):
        seals.append(threading.current_thread())
        if len(seals) == 2:  # the first is written at the start
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)  # the main thread receives it meanwhile
        seal(file)

    monkeypatch.setattr(archives, "seal", struck)
    result = run(path, checkpoint_every=0 if save == "one on the way" else 1e9)
    assert threading.main_thread() not in seals[1:]
    assert result.status == ("completed" if save == "the last" else "interrupted")
    assert steps_in(path) == result.steps
    assert os.listdir(tmp_path) == ["run.npz"]
    assert_same(run(path), run(None))


def dying(thing, name, call):
    """Have a process killed at a call of a function."""
    function, calls = getattr(thing, name), iter(range(1, 99))

    def die(*arguments):
        if next(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)

    setattr(thing, name, die)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("thing", "name", "call"),
    [(archives, "seal", 2), (os, "fsync", 3), (os, "replace", 2), (os, "open", 2)],
)
def test_killed_within_a_save(thing, name, call, tmp_path):
    """At the second save: before the file is complete, synced and renamed, and afterwards."""
    path = tmp_path / "run.npz"
    run(path, callback=lambda step, loss: step > 9)
    before = steps_in(path)
    child = os.fork()
    if not child:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(120)  # in case it is not killed
        dying(thing, name, call)
        run(path)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    renamed = name == "open"  # the folder is synced after the renaming
    assert len(os.listdir(tmp_path)) == 2 - renamed
    assert (steps_in(path) == before) != renamed
    assert_same(run(path), run(None))
    assert os.listdir(tmp_path) == ["run.npz"]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("work", ["train_one", "sweep_many"])
def test_killed_twenty_times(work, tmp_path):
    """Killed at random moments, it goes on from its checkpoint each time, to the same bits."""
    told = killed(work, tmp_path, 20)
    assert told["codes"] == [-signal.SIGKILL] * 20
    assert told["last"] == 0
    assert told["resumed"] == told["whole"]
    assert os.listdir(tmp_path / "killed") == ["run.npz"]
