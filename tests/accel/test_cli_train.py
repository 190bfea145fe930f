"""``accel train``."""

import pytest

import accel

from .shell import SMALL, run, run_json

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def test_train_shows_how_it_ended():
    ended = run("train", *SMALL, "--steps", "1_0")
    assert ended.exit_code == 0, ended.output
    for row in ("status", "steps", "loss", "distance", "gradient norm", "a step on 1 thread"):
        assert row in ended.stdout


def test_train_does_what_the_library_does():
    found = run_json("train", *SMALL, "--p", "3", "--depth", "3", "--width", "4", "--init",
                     "orthogonal", "--scale", "0.5", "--seed", "7", "--optimizer", "RMSprop",
                     "--learning-rate", "0.003", "--weight-decay", "0.1", "--steps", "40",
                     "--dtype", "float32")  # fmt: skip
    data = accel.datasets.make_ill_conditioned(40, 3, 10.0)
    standard = accel.standardize(data.X, data.y)
    problem = accel.LpProblem(standard.X, standard.y, p=3, dtype="float32")
    network = accel.LinearNetwork.for_problem(problem, 3, 4, init="orthogonal", scale=0.5, seed=7)
    rule = accel.RMSProp(0.003, weight_decay=0.1)
    expected = accel.train(problem, network, rule, 40, threads=1)
    assert found["loss"] == expected.loss
    assert found["gradient_norm"] == expected.history.gradient_norm[-1]
    assert (found["optimizer"], found["weight_decay"]) == ("rmsprop", 0.1)


@pytest.mark.parametrize("backend", ["auto", "cpu", "cuda", "reference"])
def test_the_backend_is_told(gpu_stand_in, backend):
    arguments = ["train", *SMALL, "--steps", "10", "--backend", backend]
    found = run_json(*arguments)
    assert found["backend"] == {"auto": "cpu"}.get(backend, backend)
    assert found["steps"] == 10
    assert ("a step on the GPU" in run(*arguments).stdout) == (backend == "cuda")


@pytest.mark.parametrize("optimizer", ["gd", "momentum", "nesterov", "adagrad", "adadelta",
                                       "rmsprop", "adam", "end-to-end"])  # fmt: skip
def test_every_optimizer_has_a_rate_of_its_own(optimizer):
    found = run_json("train", *SMALL, "--optimizer", optimizer, "--steps", "50", "--depth", "1")
    start = run_json("train", *SMALL, "--optimizer", optimizer, "--steps", "1", "--depth", "1")
    assert found["status"] == "completed"
    assert found["loss"] < start["loss"]


def test_train_writes_history_and_figure(tmp_path):
    run_json("train", *SMALL, "--steps", "20", "--record-every", "5", "--out", "runs")
    folder = tmp_path / "runs"
    assert sorted(path.suffix for path in folder.iterdir()) == [".csv", ".npz", ".png"]
    result = accel.Result.load(folder / "train-ill_conditioned-p4.npz")
    assert result.history.step.tolist() == [0, 5, 10, 15, 20]
    run_json("train", *SMALL, "--steps", "20", "--out", "one.npz")
    assert accel.Result.load("one.npz").steps == 20
    assert (tmp_path / "one.png").exists()


def test_train_stops_at_a_distance():
    found = run_json("train", *SMALL, "--steps", "1e5", "--target", "1e-6")
    assert found["status"] == "target"
    assert 0 <= found["distance"] <= 1e-6


def test_train_without_the_optimum():
    found = run_json("train", *SMALL, "--steps", "1e5", "--target", "0.5", "--no-optimum")
    assert found["status"] == "target"
    assert found["loss"] <= 0.5
    assert found["optimum"] is None


def test_train_stops_at_a_gradient():
    assert run_json("train", *SMALL, "--steps", "1e5", "--tol", "1e-3")["status"] == "converged"


def test_divergence_is_a_result():
    arguments = ["train", *SMALL, "--learning-rate", "100"]
    ended = run(*arguments)
    assert ended.exit_code == 0
    assert "diverged" in ended.stdout
    assert run_json(*arguments)["diverged_at"] > 0
