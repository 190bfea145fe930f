import dataclasses
import json
import pickle

import numpy as np
import pytest

import accel
from accel import History, Result
from accel._files import archives
from accel._runs.history import HISTORY

from ..files.test_archives import npz, sealed

PROBLEM = accel.LpProblem(np.eye(4), [4.0, 3.0, 2.0, 1.0])


def make_result(optimizer=None, dtype="f8", **changes):
    network = accel.LinearNetwork((4, 2, 1), seed=1, dtype=dtype)
    history = History(
        step=np.array([0, 5, 7]),
        loss=np.array([3.0, 1.0 / 3.0, 1e-300]),
        gradient_norm=np.array([1.0, 0.1, 0.01]),
        weight_norm=np.array([0.1, 1.0, 2.0]),
        seconds=np.array([0.0, 0.5, 0.7]),
    )
    values = {
        "network": network,
        "history": history,
        "status": "completed",
        "steps": 7,
        "seconds": 0.7,
        "diverged_at": None,
        "optimizer": optimizer or accel.GradientDescent(0.1),
        "loss_function": accel.losses.Lp(4.0),
        "method": "direct",
        "backend": "cpu",
        "threads": 2,
    }
    return Result(**{**values, **changes})


def assert_same(a, b):
    assert a.network.widths == b.network.widths
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a.network.params, b.network.params)
    assert list(a.history.recorded) == list(b.history.recorded)
    for name in (*HISTORY, *a.history.recorded):
        left, right = a.history[name], b.history[name]
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)
    for field in dataclasses.fields(Result):
        if field.name not in ("network", "history", "_state"):
            assert getattr(a, field.name) == getattr(b, field.name)
            assert type(getattr(a, field.name)) is type(getattr(b, field.name))


@pytest.mark.parametrize(
    "optimizer",
    [
        accel.GradientDescent(1 / 3, weight_decay=0.1),
        accel.Momentum(0.1, 0.8),
        accel.Nesterov(0.1),
        accel.AdaGrad(),
        accel.AdaDelta(rho=0.8),
        accel.RMSProp(alpha=0.7),
        accel.Adam(beta2=0.9),
        accel.EndToEnd(0.1, depth=3),
        accel.GroupRMSProp(0.1, scale="factor"),
    ],
    ids=lambda optimizer: optimizer.name,
)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_round_trip(tmp_path, optimizer, dtype):
    result = make_result(optimizer, dtype)
    path = result.save(tmp_path / "run.npz")
    assert path == tmp_path / "run.npz"
    assert_same(Result.load(path), result)


def test_round_trip_of_a_real_run(tmp_path):
    network = accel.LinearNetwork.for_problem(PROBLEM, 2)
    result = accel.train(PROBLEM, network, accel.Adam(), 20, backend="reference")
    assert_same(Result.load(result.save(str(tmp_path / "run"))), result)


def test_round_trip_of_what_was_recorded(tmp_path):
    network = accel.LinearNetwork.for_problem(PROBLEM, 2)
    record = ["singular_values(factors=True)", "schatten(0.5)", "snapshots", lambda step, net: step]
    result = accel.train(PROBLEM, network, accel.GradientDescent(0.01), 20, record=record)
    loaded = Result.load(result.save(tmp_path / "run"))
    assert_same(loaded, result)
    assert loaded.history["schatten(0.5)"].shape == (21,)


def test_round_trip_of_a_diverged_run(tmp_path):
    history = History(*(np.array([value]) for value in (0, np.inf, np.nan, 0.1, 0.0)))
    result = make_result(status="diverged", diverged_at=0, steps=0, history=history)
    assert_same(Result.load(result.save(tmp_path / "run.npz")), result)


def test_the_path_is_taken_as_it_is(tmp_path):
    make_result().save(tmp_path / "a.run")
    make_result().save(tmp_path / "a.run")  # replaces the file
    assert [path.name for path in tmp_path.iterdir()] == ["a.run"]


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = make_result().save(tmp_path / "run.npz")
    before = path.read_bytes()

    def fail(file):
        raise OSError("disk full")

    monkeypatch.setattr(archives, "seal", fail)
    with pytest.raises(OSError, match="disk full"):
        make_result(steps=8).save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.npz"]


def test_nothing_in_the_file_is_pickled(tmp_path):
    path = make_result().save(tmp_path / "run.npz")
    with np.load(path, allow_pickle=False) as archive:
        assert all(archive[name].dtype.kind in "fiU" for name in archive)
        assert json.loads(str(archive["json"]))["format"] == 3


def rewrite(path, **changes):
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive}
    described = json.loads(str(arrays["json"]))
    for name, value in changes.items():
        if name in arrays:
            arrays[name] = value
        else:
            described[name] = value
    if "json" not in changes:
        arrays["json"] = np.array(json.dumps(described))
    sealed(path, npz(**arrays))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"format": 4}, "format 4, of a later version"),
        ({"format": 1}, "format 1, of an earlier version"),
        ({"status": "fine"}, "'fine'"),
        ({"loss": np.ones(2)}, "history"),
        ({"params": np.ones(7)}, "params"),
        ({"params": np.ones(10, int)}, "dtype"),
        ({"widths": [4, 0, 1]}, "widths"),
        ({"widths": 3}, "widths"),
        ({"optimizer": {"name": "sgd9", "learning_rate": 1}}, "sgd9"),
        ({"optimizer": {"name": "gd", "learning_rate": -1}}, "learning_rate"),
        ({"optimizer": 3}, "mapping"),
        ({"json": np.array("[1]")}, "indices"),
        ({"json": np.array("{")}, "Expecting"),
        ({"loss": np.array([None] * 3)}, "object"),
    ],
)
def test_a_changed_file_is_refused(tmp_path, changes, match):
    path = make_result().save(tmp_path / "run.npz")
    rewrite(path, **changes)
    with pytest.raises(ValueError, match=match) as caught:
        Result.load(path)
    assert "run.npz is not readable" in str(caught.value)


@pytest.mark.parametrize("missing", ["json", "params", "seconds"])
def test_a_missing_array(tmp_path, missing):
    path = make_result().save(tmp_path / "run.npz")
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive if name != missing}
    sealed(path, npz(**arrays))
    with pytest.raises(ValueError, match=f"run.npz is not readable.*{missing}"):
        Result.load(path)


def test_a_truncated_file_is_refused(tmp_path):
    path = make_result().save(tmp_path / "run.npz")
    whole = path.read_bytes()
    for length in [*range(0, len(whole), 37), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is not readable"):
            Result.load(path)


def test_a_damaged_file_is_refused(tmp_path):
    """Whichever byte is wrong."""
    path = make_result().save(tmp_path / "run.npz")
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(50):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="its checksum is missing or wrong"):
            Result.load(path)


def test_pickles_are_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was executed",))

    path = tmp_path / "run.npz"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match="is not readable"):
        Result.load(path)
    sealed(path, npz(json=np.array([Evil()], dtype=object)))
    with pytest.raises(ValueError, match="is not readable"):
        Result.load(path)


def test_other_files(tmp_path):
    path = tmp_path / "other"
    with path.open("wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(ValueError, match="is not readable"):
        Result.load(path)
    path.write_text("step,loss\n")
    with pytest.raises(ValueError, match="is not readable"):
        Result.load(path)
    with pytest.raises(FileNotFoundError):
        Result.load(tmp_path / "nowhere")


def test_loss_and_repr():
    result = make_result()
    assert result.loss == 1e-300
    assert repr(result).startswith("Result(status='completed', steps=7, loss=1e-300")
    assert len(result.history) == 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.steps = 3


def test_to_pandas():
    pytest.importorskip("pandas")
    table = make_result().to_pandas()
    assert list(table.columns) == ["step", "loss", "gradient_norm", "weight_norm", "seconds"]
    assert table["step"].dtype == np.int64
    assert table["loss"].tolist() == [3.0, 1 / 3, 1e-300]


def test_plot():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    assert make_result().plot(ax, optimum=0.25, color="red") is ax
    (line,) = ax.lines
    np.testing.assert_allclose(line.get_ydata(), [2.75, 1 / 3 - 0.25, np.nan])
    assert line.get_label() == "gd, depth 2, rate 0.1"
    assert line.get_color() == "red"
    assert (ax.get_yscale(), ax.get_ylabel()) == ("log", "distance from the optimum")
    import matplotlib.pyplot as plt

    own = make_result().plot(label="mine")
    assert (own.lines[0].get_label(), own.get_ylabel()) == ("mine", "loss")
    plt.close(own.figure)


@pytest.mark.parametrize(("method", "module"), [("to_pandas", "pandas"), ("plot", "matplotlib")])
def test_missing_extras(monkeypatch, method, module):
    for name in (module, f"{module}.pyplot"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(ImportError, match=rf"{module}: pip install .*implicit-accel\[cli\]"):
        getattr(make_result(), method)()
