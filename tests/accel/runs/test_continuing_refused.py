"""Starts from which no run can go on as asked: another run's, damaged files, other sweeps."""

import numpy as np
import pytest

import accel
from accel import Result, sweep, train
from accel._files import archives

from ..problems import PROBLEM, make_problem, start
from .test_continuing import MODELS, RULES


@pytest.mark.parametrize(
    ("said", "other"),
    [
        (r"optimizer: Adam\(.*0\.01,.* there, Adam\(.*0\.02,", {"optimizer": accel.Adam(0.02)}),
        (r"optimizer: Adam.* there, Momentum.* here", {"optimizer": "momentum"}),
        (r"optimizer: .*=0\.01, .* there, .*=0\.5, .* here", {"learning_rate": 0.5}),
        ("learning_rate: 0.01 there, 'auto' here", {"learning_rate": "auto"}),
        (r"batches: None there, .*size=8", {"batch_size": 8}),
        (r"record: \[\] there, \['sharpness'\] here", {"record": "sharpness"}),
        ("data: ", {"problem": make_problem(n=41)}),
        (r"loss: .*p=4.* there, .*p=3", {"problem": make_problem(p=3)}),
        ("backend: 'reference' there, 'cpu' here", {"backend": "cpu"}),
    ],
)
@pytest.mark.parametrize("loaded", [False, True])
def test_the_start_of_another_run_is_refused(said, other, loaded, tmp_path):
    first = train(PROBLEM, start(), RULES["adam"], 40, backend="reference")
    if loaded:
        first = Result.load(first.save(tmp_path / "run.npz"))
    arguments = {"problem": PROBLEM, "steps": 10, "start": first} | other
    with pytest.raises(ValueError, match=rf"start is of another run \({said}.*pass start\.network"):
        train(**arguments)


def test_other_weights_are_refused():
    first = train(PROBLEM, start(), RULES["adam"], 40, backend="reference")
    for other in (start(seed=5), start(depth=3), start(width=2)):
        with pytest.raises(ValueError, match=r"network must be left out with start, or be the one"):
            train(PROBLEM, other, steps=10, start=first)


def test_a_file_of_the_format_before_has_no_state(tmp_path):
    path, first = tmp_path / "run.npz", train(PROBLEM, start(), "adam", 5, backend="reference")
    first.save(path)
    described, arrays = archives.read(path, 3)
    del described["state"]
    kept = {name: array for name, array in arrays.items() if not name.startswith("state_")}
    archives.write(path, described | {"format": 2}, kept)
    old = Result.load(path)
    np.testing.assert_array_equal(old.network.params, first.network.params)
    with pytest.raises(ValueError, match=r"start has no state of its optimiser: .*start\.network"):
        train(PROBLEM, steps=10, start=old)


def test_a_state_that_is_damaged_is_refused(tmp_path):
    path = tmp_path / "run.npz"
    train(PROBLEM, start(), "adam", 5, backend="reference").save(path)
    described, arrays = archives.read(path, 3)
    for name, array in (
        ("state_loop_state", arrays["state_loop_state"][:-1]),
        ("state_loop_params", arrays["state_loop_params"].astype("f4")),
        ("state_rows", arrays["state_rows"][:, :, :2]),
    ):
        archives.write(path, described, arrays | {name: array})
        with pytest.raises(ValueError, match=r"result .*run\.npz is not readable: its arrays"):
            train(PROBLEM, steps=5, start=Result.load(path))
    for name, array in (
        ("state_loop_fates", np.zeros(2, np.int64)),
        ("state_loop_fates", np.zeros((2, 2), np.int64)),
        ("state_codes", np.zeros(0, np.int64)),
        ("state_steps", arrays["state_steps"][1:]),
        ("state_start", np.full_like(arrays["state_start"], np.nan)),
    ):
        archives.write(path, described, arrays | {name: array})
        with pytest.raises(ValueError, match=r"result .*run\.npz is not readable: "):
            Result.load(path)
    for name in ("state_loop_fates", "state_start"):
        archives.write(path, described, {k: a for k, a in arrays.items() if k != name})
        with pytest.raises(ValueError, match=r"result .*run\.npz is not readable: no '"):
            Result.load(path)


def test_sweeps_that_cannot_go_on():
    one, other = (sweep(PROBLEM, MODELS[:2], 9, backend="reference") for _ in range(2))
    mixed = accel.Sweep((one[0], other[1]), "completed", 0.0)
    with pytest.raises(ValueError, match="start must be as sweep returned it, got Sweep"):
        sweep(PROBLEM, steps=5, start=mixed)
    with pytest.raises(ValueError, match="models must be left out with start, or be its 2, got 1"):
        sweep(PROBLEM, MODELS[:1], 5, start=one)
    with pytest.raises(ValueError, match=r"models\[1\]: start is of another run \(optimizer: Adam"):
        sweep(PROBLEM, [MODELS[0], (MODELS[1][0], accel.Adam(0.5))], 5, start=one)
    with pytest.raises(ValueError, match=r"models\[0\]: network must be left out with start"):
        sweep(PROBLEM, MODELS[1::-1], 5, start=one)
