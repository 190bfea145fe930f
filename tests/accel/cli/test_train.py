"""``accel train``."""

import json

import pytest

import accel

from ..shell import SMALL, run, run_json

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def named(report, loss="p4"):
    """The name of the files of a run of depth 2 from seed 0, without their endings."""
    rate = f"{report['learning_rate']:.3g}"
    return f"train-ill_conditioned-{loss}-{report['optimizer']}-d2-w1-lr{rate}-s0"


def test_train_shows_how_it_ended():
    ended = run("train", *SMALL, "--steps", "1_0")
    assert ended.exit_code == 0, ended.output
    for row in ("status", "steps", "loss", "distance", "gradient norm", "a step on 1 thread"):
        assert row in ended.stdout


def test_train_says_that_it_ended_at_the_saddle():
    held = ("train", *SMALL, "--depth", "8", "--init", "near_zero", "--steps", "20", "--no-optimum")
    ended = run(*held, "--scale", "0.01")
    assert "at the saddle where it began" in " ".join(ended.stdout.split())
    assert "SaddleWarning" not in ended.output
    report = run_json(*held, "--scale", "0.01")
    assert (report["status"], report["at_saddle"]) == ("completed", True)
    assert run_json(*held)["at_saddle"] is False  # by default it begins away from it


def test_train_does_what_the_library_does():
    report = run_json("train", *SMALL, "--p", "3", "--depth", "3", "--width", "4", "--init",
                     "orthogonal", "--scale", "0.5", "--seed", "7", "--optimizer", "RMSprop",
                     "--learning-rate", "0.003", "--weight-decay", "0.1", "--steps", "40",
                     "--dtype", "float32")  # fmt: skip
    data = accel.datasets.make_ill_conditioned(40, 3, 10.0)
    standard = accel.standardize(data.X, data.y)
    problem = accel.LpProblem(standard.X, standard.y, p=3, dtype="float32")
    network = accel.LinearNetwork.for_problem(problem, 3, 4, init="orthogonal", scale=0.5, seed=7)
    rule = accel.RMSProp(0.003, weight_decay=0.1)
    expected = accel.train(problem, network, rule, 40, threads=1)
    assert report["loss"] == expected.loss
    assert report["gradient_norm"] == expected.history.gradient_norm[-1]
    assert (report["optimizer"], report["weight_decay"]) == ("rmsprop", 0.1)
    given = {"init": "orthogonal", "scale": 0.5, "width": 4, "seed": 7}
    assert {name: report[name] for name in given} == given


HOUSES = """city,size,rooms,price,rent
Oslo,50,2,100,9
Rome,60,3,150,12
Oslo,70,NA,180,15
Rome,80,4,200,17
"""


@pytest.mark.parametrize(
    ("arguments", "names", "told"),
    [
        (["--target", "price", "--features", "size,rooms"], ["price"], "(3 x 2 to price, stand"),
        (["--target-column", "3", "--features", "rooms"], ["price"], "(3 x 1 to price, stand"),
        (["--target", "price,rent", "--features", "1,2"], ["price", "rent"],
         "(3 x 2 to price and rent, standardised), p = 4"),
        (["--target", "1,2,3,4", "--features", "size", "--no-standardize"], None,
         "'size' is among the features"),
    ],
)  # fmt: skip
def test_the_columns_of_a_table(tmp_path, arguments, names, told, caplog):
    (tmp_path / "houses.csv").write_text(HOUSES)
    command = ["train", "houses.csv", *arguments, "--steps", "2", "--backend", "reference"]
    assert "missing values: 1 in column 'rooms'" in run(*command).output or names is None
    ended = run(*command, "--drop-missing")
    assert told in ended.output
    assert ended.exit_code == (0 if names else 2)
    if names:
        assert ended.output.startswith("houses (3 x ")
        assert run_json(*command, "--drop-missing")["target_names"] == names
        assert "houses.csv: 1 of 4 rows are left out; missing values: 1 in" in caplog.text


def test_data_with_a_name_tells_its_target_too():
    ended = run("train", "diabetes", "--steps", "1", "--backend", "reference", "--no-optimum")
    assert ended.output.startswith("diabetes (442 x 10 to progression, standardised), p = 4")
    ended = run("train", "ill-conditioned:k=2", "--steps", "1", "--backend", "reference")
    assert ended.output.startswith("ill_conditioned (1000 x 20 to 2, standardised), p = 4")


def test_what_train_says_of_a_start_that_was_not_given():
    """Null is the default of the kind of start."""
    report = run_json("train", *SMALL, "--steps", "5", "--backend", "reference")
    given = {"init": "balanced", "scale": None, "width": None, "seed": 0}
    assert {name: report[name] for name in given} == given


def test_what_else_is_recorded(tmp_path):
    names = "singular_values(factors=True), sharpness,schatten(0.5),snapshots"
    arguments = ["train", *SMALL, "--steps", "20", "--record-every", "5", "--record", names]
    report = run_json(*arguments, "--out", "runs", "--dtype", "float32")
    stem = tmp_path / "runs" / named(report)
    result = accel.Result.load(stem.with_name(f"{stem.name}.npz"))
    history = result.history
    assert list(history.recorded) == [
        "singular_values", "singular_values_W1", "singular_values_W2", "sharpness",
        "schatten(0.5)", "snapshots",
    ]  # fmt: skip
    assert report["recorded"]["sharpness"] == history["sharpness"][-1]
    assert report["recorded"]["snapshots"] == history["snapshots"][-1].tolist()
    header, *rows = stem.with_name(f"{stem.name}.csv").read_text().splitlines()
    assert "seconds,singular_values_1,singular_values_W1_1," in header
    assert len(rows) == 5
    shown = run(*arguments).stdout
    assert "singular values W1" in shown
    assert "schatten(0.5)" in shown
    assert "snapshots" not in shown


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("5", [0, 5, 10, 12]),
        ("1e1", [0, 10, 12]),
        ("2,7,1", [0, 1, 2, 7, 12]),
        ("7,", [0, 7, 12]),
        ("log", list(range(13))),
    ],
)
def test_which_steps_are_recorded(tmp_path, text, steps):
    arguments = ["--steps", "12", "--record-every", text, "--out", str(tmp_path / "run.npz")]
    run_json("train", *SMALL, "--backend", "reference", *arguments)
    assert accel.Result.load(tmp_path / "run.npz").history.step.tolist() == steps


@pytest.mark.parametrize("names", ["", " , "])
def test_nothing_else_is_recorded(names):
    assert run_json("train", *SMALL, "--steps", "5", "--record", names)["recorded"] == {}


def test_what_cannot_be_recorded():
    ended = run("train", *SMALL, "--record", "sharpnes")
    assert ended.exit_code == 2
    assert "record must be one of" in ended.output.replace("\n", " ")
    assert "sharpness" in ended.output


@pytest.mark.parametrize("backend", ["auto", "cpu", "cuda", "reference"])
def test_the_backend_is_told(gpu_stand_in, backend):
    arguments = ["train", *SMALL, "--steps", "10", "--backend", backend]
    report = run_json(*arguments)
    assert report["backend"] == {"auto": "cpu"}.get(backend, backend)
    assert report["steps"] == 10
    assert ("a step on the GPU" in run(*arguments).stdout) == (backend == "cuda")


@pytest.mark.parametrize("optimizer", ["gd", "momentum", "nesterov", "adagrad", "adadelta",
                                       "rmsprop", "adam", "end-to-end",
                                       "group-rmsprop"])  # fmt: skip
def test_every_optimizer_has_a_rate_of_its_own(optimizer):
    report = run_json("train", *SMALL, "--optimizer", optimizer, "--steps", "50", "--depth", "1")
    start = run_json("train", *SMALL, "--optimizer", optimizer, "--steps", "1", "--depth", "1")
    assert report["status"] == "completed"
    assert report["loss"] < start["loss"]


def test_a_rule_with_noise():
    rule = ["--optimizer", "langevin", "--lr", "0.01", "--temperature", "0.5"]
    arguments = ["train", *SMALL, "--steps", "20", *rule]
    reports = [run_json(*arguments, "--seed", seed) for seed in ("1", "1", "2")]
    losses = [report["loss"] for report in reports]
    assert losses[0] == losses[1] != losses[2]
    assert reports[0]["temperature"] == 0.5
    ended = run("train", *SMALL, "--optimizer", "langevin")
    assert ended.exit_code == 2
    assert "langevin needs a value for temperature" in ended.output.replace("\n", " ")


NOISY = ["--batch-size", "8", "--batch-seed", "3", "--backend", "reference"]


@pytest.mark.parametrize("arguments", [
    {"batch_size": 8, "seed": 3}, {"batch_size": 8, "seed": 4},
    {"batch_size": 8, "shuffle": "replacement"}, {"batch_size": 8, "shuffle": "none"},
    {"label_noise": 0.5, "seed": 3}, {"batch_size": 5, "label_noise": 0.5},
], ids=str)  # fmt: skip
def test_batches_and_noise_are_passed_on(arguments):
    names = {"seed": "--batch-seed"}
    words = [word for name, value in arguments.items()
             for word in (names.get(name, "--" + name.replace("_", "-")), str(value))]  # fmt: skip
    report = run_json("train", *SMALL, "--steps", "20", "--learning-rate", "0.01", "--seed", "1",
                      "--backend", "reference", *words)  # fmt: skip
    data = accel.datasets.make_ill_conditioned(40, 3, 10.0)
    standard = accel.standardize(data.X, data.y)
    problem = accel.LpProblem(standard.X, standard.y)
    network = accel.LinearNetwork.for_problem(problem, 2, 1, init="balanced", seed=1)
    expected = accel.train(problem, network, accel.GradientDescent(0.01), 20,
                           backend="reference", **arguments)  # fmt: skip
    assert report["loss"] == expected.loss
    assert report["loss"] != run_json("train", *SMALL, "--steps", "20", "--learning-rate", "0.01",
                                      "--seed", "1", "--backend", "reference")["loss"]  # fmt: skip
    given = {"batch_size": None, "shuffle": "epoch", "seed": 0, "label_noise": 0.0} | arguments
    given["batch_seed"] = given.pop("seed")
    assert {name: report[name] for name in given} == given


def test_batches_are_told():
    ended = run("train", *SMALL, "--steps", "5", "--label-noise", "0.5", *NOISY)
    told = ended.stdout.replace("\n", " ")
    assert "batches of 8 rows (epoch), label noise 0.5, batch seed 3" in told
    assert "batch loss" not in told  # the last iterate has none
    ended = run("train", *SMALL, "--steps", "5", "--label-noise", "0.5", "--backend", "reference")
    assert ", label noise 0.5, batch seed 0" in ended.stdout.replace("\n", " ")
    assert "rows (" not in ended.stdout


def test_the_rate_of_batches_is_stable_for_each_of_them():
    arguments = ["train", *SMALL, "--steps", "1", "--depth", "1", "--backend", "reference"]
    whole = run_json(*arguments)["learning_rate"]
    small = run_json(*arguments, "--batch-size", "2")["learning_rate"]
    data = accel.datasets.make_ill_conditioned(40, 3, 10.0)
    standard = accel.standardize(data.X, data.y)
    problem = accel.LpProblem(standard.X, standard.y)
    network = accel.LinearNetwork.for_problem(problem, 1, init="balanced")
    rule = accel.GradientDescent(1.0)
    assert small == accel.stable_rate(problem, network, rule, batch_size=2) < whole / 2
    given = [*arguments, "--batch-size", "2", "--learning-rate", "0.5"]
    assert run_json(*given)["learning_rate"] == 0.5


def test_train_writes_history_and_figure(tmp_path):
    report = run_json("train", *SMALL, "--steps", "20", "--record-every", "5", "--out", "runs")
    folder = tmp_path / "runs"
    assert sorted(path.suffix for path in folder.iterdir()) == [".csv", ".npz", ".png"]
    result = accel.Result.load(folder / f"{named(report)}.npz")
    assert result.history.step.tolist() == [0, 5, 10, 15, 20]
    run_json("train", *SMALL, "--steps", "20", "--out", "one.npz")
    assert accel.Result.load("one.npz").steps == 20
    assert (tmp_path / "one.png").exists()


def test_nothing_is_overwritten_by_accident(tmp_path):
    arguments = ["train", *SMALL, "--steps", "20", "--learning-rate", "0.01", "--no-optimum",
                 "--backend", "reference", "--out", "runs"]  # fmt: skip
    assert len(run_json(*arguments)["files"]) == 3
    for other in (["--seed", "1"], ["--learning-rate", "0.02"], ["--p", "3"]):
        assert run(*arguments, *other).exit_code == 0  # another name
    before = {path: path.read_bytes() for path in (tmp_path / "runs").iterdir()}
    assert len(before) == 12
    refused = run(*arguments, "--steps", "30")
    assert refused.exit_code == 2
    told = "accel: runs/train-ill_conditioned-p4-gd-d2-w1-lr0.01-s0.npz is there already: --force"
    assert refused.stderr.startswith(told)
    assert {path: path.read_bytes() for path in (tmp_path / "runs").iterdir()} == before
    assert run_json(*arguments, "--steps", "30", "--force")["steps"] == 30
    assert set((tmp_path / "runs").iterdir()) == before.keys()


def test_a_run_that_goes_on_writes_its_files_again(tmp_path):
    arguments = [*KEPT, "--out", "runs"]
    run_json(*arguments)
    (written,) = (tmp_path / "runs").glob("*.npz")
    written.unlink()
    run_json(*arguments, "--resume")
    assert written.exists()


def test_train_stops_at_a_distance():
    report = run_json("train", *SMALL, "--steps", "1e5", "--target-distance", "1e-6")
    assert report["status"] == "target"
    assert 0 <= report["distance"] <= 1e-6


def test_train_without_the_optimum():
    report = run_json("train", *SMALL, "--steps", "1e5", "--target-distance", "0.5", "--no-optimum")
    assert report["status"] == "target"
    assert report["loss"] <= 0.5
    assert report["optimum"] is None


def test_train_stops_at_a_gradient():
    assert run_json("train", *SMALL, "--steps", "1e5", "--tol", "1e-3")["status"] == "converged"


def test_divergence_is_a_result():
    arguments = ["train", *SMALL, "--learning-rate", "100"]
    ended = run(*arguments)
    assert ended.exit_code == 0
    assert "diverged" in ended.stdout
    assert run_json(*arguments)["diverged_at"] > 0


KEPT = ["train", *SMALL, "--steps", "500", "--checkpoint", "run.npz"]


def stopped(monkeypatch, step, *arguments):
    """Run the command until its callback stops it, as Ctrl-C would."""
    with monkeypatch.context() as patch:
        train = accel.train
        patch.setattr(
            "accel.cli.train.train",
            lambda *given, **keywords: train(*given, callback=lambda at, _: at > step, **keywords),
        )  # fmt: skip
        return run(*KEPT, *arguments)


def test_a_run_that_goes_on_replaces_no_file_of_another_run(tmp_path):
    data = [
        "train",
        "ill-conditioned:n=30,d=2",
        "--p",
        "2",
        "--no-optimum",
        "--backend",
        "reference",
    ]
    run_json(*data, "--steps", "4", "--learning-rate", "0.01", "--out", "other.npz")
    before = (tmp_path / "other.npz").read_bytes()
    kept = [*data, "--checkpoint", "run.npz", "--learning-rate", "0.02"]
    run_json(*kept, "--steps", "5")
    refused = run(*kept, "--resume", "--steps", "6", "--out", "other.npz")
    assert refused.exit_code == 2
    assert "other.npz is of another run: --force replaces it" in " ".join(refused.stderr.split())
    assert (tmp_path / "other.npz").read_bytes() == before
    run_json(*kept, "--resume", "--steps", "6", "--out", "other.npz", "--force")


@pytest.mark.parametrize("as_json", [[], ["--json"], ["--quiet"]])
def test_an_interrupted_run_goes_on(tmp_path, monkeypatch, as_json):
    whole = run_json(*KEPT[:-2])
    ended = stopped(monkeypatch, 9, *as_json)
    assert ended.exit_code == 130
    told = "accel: interrupted: the same command with --resume goes on from run.npz\n"
    assert ended.stderr.endswith(told)
    if "--json" in as_json:
        assert json.loads(ended.stdout)["status"] == "interrupted"
    before = (tmp_path / "run.npz").read_bytes()
    refused = run(*KEPT, *as_json)
    assert refused.exit_code == 2
    assert "--checkpoint run.npz is there already: --resume goes on from it" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert (tmp_path / "run.npz").read_bytes() == before
    report = run_json(*KEPT, "--resume")
    assert run_json(*KEPT, "--resume") == report  # there is nothing left to do
    timed = ("seconds", "us_per_step")
    assert {k: v for k, v in report.items() if k not in timed} == {
        k: v for k, v in whole.items() if k not in timed
    }


def test_resume_begins_where_there_is_nothing_yet(tmp_path):
    ended = run(*KEPT, "--resume")
    assert ended.exit_code == 0
    assert "no run.npz yet: the run begins" in ended.stdout
    assert (tmp_path / "run.npz").exists()


def test_the_interval_is_passed_on(monkeypatch):
    given = []
    train = accel.train

    def noted(*arguments, **keywords):
        given.append(keywords["checkpoint_every"])
        return train(*arguments, **keywords)

    monkeypatch.setattr("accel.cli.train.train", noted)
    run_json(*KEPT)
    run_json(*KEPT, "--checkpoint-every", "2.5", "--resume")
    assert given == [30.0, 2.5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resume"], "--resume needs --checkpoint FILE"),
        (["--resume", "run.npz"], "--resume needs --checkpoint FILE"),
        (["--checkpoint", "a.npz", "--checkpoint-every", "-1"], "checkpoint_every must be"),
        (["--checkpoint", "file/a.npz"], "Not a directory: 'file/a.npz'"),
        (["--checkpoint", "file", "--resume"], "checkpoint file is not readable: its checksum"),
        (["--checkpoint", "a.npz", "--out", "./a.npz"], "--out would overwrite --checkpoint a.npz"),
    ],
)
def test_bad_checkpoints(tmp_path, arguments, message):
    (tmp_path / "file").write_text("no checkpoint")
    data = SMALL[1:] if "run.npz" in arguments else SMALL
    ended = run("train", *arguments, *data)
    assert ended.exit_code == 2
    assert message in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
    assert (tmp_path / "file").read_text() == "no checkpoint"


def test_the_checkpoint_of_another_command():
    run_json(*KEPT)
    ended = run(*KEPT, "--resume", "--optimizer", "adam")
    assert ended.exit_code == 2
    assert "belongs to another run (optimizers: " in ended.stderr
    ended = run(*KEPT, "--resume", "--steps", "499")
    assert ended.exit_code == 2
    assert "steps must be at least 500, so many has the run of checkpoint" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_complete_run_goes_on_to_more_steps():
    whole = run_json("train", *SMALL, "--steps", "700", "--record-every", "1")
    run_json(*KEPT)
    longer = run_json(*KEPT, "--resume", "--steps", "700")
    assert longer["steps"] == 700
    assert longer["loss"] == whole["loss"]


def test_another_loss(tmp_path):
    arguments = ["train", *SMALL, "--loss", "huber(0.5)", "--steps", "30", "--out", "runs"]
    report = run_json(*arguments)
    assert report["loss"] > report["optimum"] > 0
    result = accel.Result.load(tmp_path / "runs" / f"{named(report, 'huber0.5')}.npz")
    assert result.loss_function == accel.losses.Huber(0.5)
    assert "loss Huber(delta=0.5)" in run(*arguments, "--force").stdout
    refused = run(*arguments, "--p", "3")
    assert refused.exit_code != 0
    assert "--p must be left out where --loss is given" in refused.output


def test_labels_that_a_map_separates_have_no_minimum(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("x,y\n" + "".join(f"{x},{1 if x > 0 else -1}\n" for x in (-2, -1, 1, 2.5)))
    ended = run("train", str(path), "--loss", "logistic", "--steps", "20")
    assert ended.exit_code == 0, ended.output
    assert "a linear map separates the labels" in ended.output
    assert "distance" not in ended.stdout
    compared = run("compare", str(path), "--loss", "logistic", "--steps", "20")
    assert compared.exit_code != 0
    assert "a linear map separates the labels" in compared.output
