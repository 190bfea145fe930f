"""A model of one's own table: its coefficients, the file that keeps it, and ``accel predict``."""

import csv
import gzip
import io
import json
import re
import shutil
from importlib.util import find_spec

import numpy as np
import pytest

import accel
from accel._core.scaling import Scaling

from ..shell import SMALL, run, run_json

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")

RNG = np.random.default_rng(4)
X = RNG.standard_normal((40, 2)) * [20.0, 5.0] + [100.0, 30.0]
PRICE = X @ [3.0, -2.0] + 7.0 + RNG.standard_normal(40)
ABOVE = np.where(PRICE > 250, 1, -1)
FAST = ["--backend", "reference", "--p", "2", "--steps", "300", "--no-optimum"]
LABELS = ["--backend", "reference", "--steps", "100", "--no-optimum"]


def table(path, columns):
    with open(path, "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    monkeypatch.setattr("accel.cli.train.result_figure", lambda *_: None)
    monkeypatch.setattr("accel.cli.train.save_figure", lambda path, _: path.touch())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a model of homes.csv; homes-new.csv has its columns in another order."""
    folder = tmp_path_factory.mktemp("trained")
    table(folder / "homes.csv", {"size": X[:, 0], "age": X[:, 1], "price": PRICE})
    names = [f"home {i}" for i in range(40)]
    new = {"id": names, "age": X[:, 1], "price": PRICE, "size": X[:, 0]}
    table(folder / "homes-new.csv", new)
    run_json("train", folder / "homes.csv", *FAST, "--out", folder / "model.npz")
    return folder


@pytest.fixture
def model(trained):
    """The model, and its tables, in this folder."""
    for name in ("homes.csv", "homes-new.csv", "model.npz"):
        shutil.copy(trained / name, name)
    return "model.npz"


def test_a_table_becomes_a_model(model):
    report = run_json("train", "homes.csv", *FAST)
    result = accel.Result.load(model)
    coef, intercept = result.coefficients()
    np.testing.assert_allclose(coef, [3, -2], atol=0.05)
    np.testing.assert_allclose(intercept, 7, atol=4)
    assert report["coefficients"] == {"size": coef[0], "age": coef[1]}
    assert report["intercept"] == float(intercept)
    assert result.scaling.features == ("size", "age")
    assert result.scaling.targets == ("price",)
    assert result.scaling.source.startswith("homes.csv, 40 x 2, sha256 ")
    shown = run("train", "homes.csv", *FAST).stdout
    assert "price = intercept plus the sum of coefficient times feature" in shown
    assert f"{coef[0]:.6g}" in shown
    assert f"{coef[1] * X[:, 1].std():+.4g}" in shown
    assert f"{intercept:.6g}" in shown
    assert "--out model.npz keeps the model, for accel predict" in shown


def test_predictions_in_the_units_of_the_table(model):
    ended = run("predict", model, "homes-new.csv")
    assert ended.exit_code == 0, ended.output
    predicted = [float(row["price"]) for row in rows(ended.stdout)]
    expected = accel.Result.load(model).predict(X)
    np.testing.assert_allclose(predicted, expected, rtol=1e-15)
    assert "left out: id" in ended.stderr
    rmse = np.sqrt(np.mean((expected - PRICE) ** 2))
    assert f"rmse {rmse:.6g}" in ended.stderr
    loss = np.mean((expected - PRICE) ** 2) / np.var(PRICE)
    report = run_json("predict", model, "homes-new.csv")
    assert report["rmse"] == pytest.approx(rmse, rel=1e-12)
    assert report["loss"] == pytest.approx(loss, rel=1e-12)
    assert report["loss"] == pytest.approx(run_json("train", "homes.csv", *FAST)["loss"])
    assert report["predictions"] == {"price": predicted}
    assert report["ignored_columns"] == ["id"]
    assert run("predict", model, "homes-new.csv", "--quiet").stderr.count("\n") == 1  # the error


def test_a_file_of_predictions(tmp_path, model):
    ended = run("predict", model, "homes-new.csv", "--out", "new/predictions.csv")
    assert ended.exit_code == 0, ended.output
    assert "written: new/predictions.csv" in ended.stdout
    assert "40 predictions by a model of homes.csv, 40 x 2" in ended.stdout
    written = tmp_path / "new" / "predictions.csv"
    assert written.read_text() == run("predict", model, "homes-new.csv", "--out", "-").stdout
    for arguments, message in (
        ([], "new/predictions.csv is there already: --force replaces it"),
        (["--out", model, "--force"], "--out would overwrite the model in model.npz"),
        (["--out", "homes-new.csv", "--force"], "--out would overwrite the data in homes-new.csv"),
        (["--out", "new"], "--out new: new cannot be written: a folder"),
    ):
        refused = run("predict", model, "homes-new.csv", "--out", "new/predictions.csv", *arguments)
        assert refused.exit_code == 2
        assert message in refused.stderr
    assert run("predict", model, "homes-new.csv", "--out", written, "--force").exit_code == 0


def test_files_of_other_kinds(model):
    expected = run_json("predict", model, "homes-new.csv")
    np.save("plain.npy", X)
    np.savez("some.npz", X=X, y=PRICE)
    np.savez("other.npz", samples=X, count=[40])
    np.savetxt("commented.csv", np.column_stack([PRICE, X]), delimiter=",",
               header="price,size,age")  # fmt: skip
    np.savetxt("plain.csv", X, delimiter=";")
    with open("homes-new.csv", "rb") as plain, gzip.open("packed.csv.gz", "wb") as packed:
        packed.write(plain.read())
    frame = pytest.importorskip("pandas").read_csv("homes-new.csv")
    frame.to_csv("tabs.tsv", sep="\t", index=False)
    kinds = ["plain.npy", "some.npz", "other.npz", "commented.csv", "plain.csv", "packed.csv.gz",
             "tabs.tsv"]  # fmt: skip
    if find_spec("pyarrow") or find_spec("fastparquet"):
        frame.to_parquet("columns.parquet")
        kinds.append("columns.parquet")
    for name in kinds:
        report = run_json("predict", model, name)
        np.testing.assert_allclose(report["predictions"]["price"], expected["predictions"]["price"],
                                   rtol=1e-15)  # fmt: skip
        known = name in ("some.npz", "commented.csv", "packed.csv.gz", "tabs.tsv",
                         "columns.parquet")  # fmt: skip
        assert (report.get("rmse") is not None) == known, name


def test_the_target_by_another_name(model):
    table("sold.csv", {"paid": PRICE, "size": X[:, 0], "age": X[:, 1]})
    assert "rmse" not in run_json("predict", model, "sold.csv")
    expected = run_json("predict", model, "homes-new.csv")["rmse"]
    for name in ("paid", "0", "-3"):
        assert run_json("predict", model, "sold.csv", "--target", name)["rmse"] == expected
    np.save("whole.npy", np.column_stack([PRICE, X]))
    assert run_json("predict", model, "whole.npy", "--target", "0")["rmse"] == expected


def test_a_data_set_by_its_name():
    pytest.importorskip("sklearn")
    trained = run_json("train", "diabetes", *FAST, "--out", "model.npz")
    report = run_json("predict", "model.npz", "diabetes")
    assert report["loss"] == pytest.approx(trained["loss"], rel=1e-9)
    assert list(report["predictions"]) == ["progression"]
    assert "diabetes, 442 x 10, sha256 " in report["trained_on"]


def test_data_that_were_not_standardised():
    table("small.csv", {"a": X[:, 0] / 100, "b": X[:, 1] / 100, "y": PRICE / 100})
    arguments = ["train", "small.csv", *FAST, "--no-standardize", "--out", "model.npz"]
    report = run_json(*arguments)
    assert report["intercept"] == 0
    assert "intercept" not in run(*arguments, "--force").stdout
    predicted = run_json("predict", "model.npz", "small.csv")
    assert predicted["loss"] == pytest.approx(report["loss"], rel=1e-12)
    assert predicted["loss"] == pytest.approx(predicted["rmse"] ** 2, rel=1e-12)


def test_several_outputs_and_many_features():
    data = ["ill-conditioned:n=30,d=20,condition=3,k=6", "--threads", "1"]
    report = run_json("train", *data, *FAST, "--out", "model.npz")
    result = accel.Result.load("model.npz")
    coef, intercept = result.coefficients()
    assert [*report["coefficients"]] == [f"y{c}" for c in range(6)]
    np.testing.assert_array_equal(
        [[*row.values()] for row in report["coefficients"].values()], coef
    )
    np.testing.assert_array_equal([*report["intercept"].values()], intercept)
    shown = run("train", *data, *FAST).stdout
    assert "the 10 of 20 features that move the output most, the first 4 of 6 outputs" in shown
    effect = np.abs(coef * result.scaling.x_scale / result.scaling.y_scale[:, None]).max(axis=0)
    below = shown.partition("feature ")[2].split("\n")
    order = [line.split()[0] for line in below if line.startswith("x")]
    assert order == [f"x{j}" for j in np.argsort(-effect)[:10]]
    predicted = run_json("predict", "model.npz", data[0])
    assert predicted["loss"] == pytest.approx(report["loss"], rel=1e-9)
    assert len([name for name in predicted if name.startswith("rmse_of_y")]) == 6


@pytest.mark.parametrize("loss", ["logistic", "exponential"])
def test_two_classes(loss):
    table("sold.csv", {"size": X[:, 0], "age": X[:, 1], "sold": ABOVE})
    report = run_json("train", "sold.csv", "--loss", loss, *LABELS, "--out", "model.npz")
    shown = run("train", "sold.csv", "--loss", loss, *LABELS).stdout
    odds = {"logistic": "e^margin", "exponential": "e^2 margin"}[loss]
    assert "margin of sold = intercept plus" in shown
    assert f"above 0 it predicts +1, with the odds {odds}" in shown.replace("\n", " ")
    ended = run("predict", "model.npz", "sold.csv")
    result = accel.Result.load("model.npz")
    (first, *_) = predicted = rows(ended.stdout)
    assert [*first] == ["sold", "p(sold=1)"]
    np.testing.assert_array_equal([int(row["sold"]) for row in predicted], result.predict(X))
    np.testing.assert_allclose([float(row["p(sold=1)"]) for row in predicted],
                               result.predict_proba(X)[:, 1], rtol=1e-14)  # fmt: skip
    scored = run_json("predict", "model.npz", "sold.csv")
    assert scored["loss"] == pytest.approx(report["loss"], rel=1e-12)
    assert scored["accuracy"] == np.mean(result.predict(X) == ABOVE)
    table("zero.csv", {"size": X[:, 0], "age": X[:, 1], "sold": (ABOVE + 1) // 2})
    refused = run("predict", "model.npz", "zero.csv")
    assert refused.exit_code == 2
    assert "the targets in the data do not fit the model: y must hold labels -1" in refused.stderr


def test_several_classes():
    kind = np.digitize(PRICE, [230, 260])
    table("kinds.csv", {"size": X[:, 0], "age": X[:, 1], "kind": kind})
    report = run_json("train", "kinds.csv", "--loss", "cross-entropy", *LABELS, "--out", "m.npz")
    assert [*report["coefficients"]] == ["kind=0", "kind=1", "kind=2"]
    shown = run("train", "kinds.csv", "--loss", "cross-entropy", *LABELS).stdout
    assert "output of a class = intercept plus" in shown
    predicted = run_json("predict", "m.npz", "kinds.csv")
    assert [*predicted["predictions"]] == ["kind", "p(kind=0)", "p(kind=1)", "p(kind=2)"]
    result = accel.Result.load("m.npz")
    assert predicted["predictions"]["kind"] == result.predict(X).tolist()
    assert predicted["loss"] == pytest.approx(report["loss"], rel=1e-12)
    assert predicted["accuracy"] == np.mean(result.predict(X) == kind)


ROWS = [
    ("model nosuch.npz: no such file", "nosuch.npz", "homes-new.csv"),
    ("result homes.csv is not readable", "homes.csv", "homes-new.csv"),
    ("model old.npz does not say in which units its data were, .* train it again", "old.npz",
     "homes-new.csv"),
    ("nosuch.csv: no such file", "model.npz", "nosuch.csv"),
    ("homes.txt: expected a file that ends in .csv", "model.npz", "homes.txt"),
    ("less.csv: columns age missing, the model needs size, age, the file has size, aged; did you "
     "mean 'aged'", "model.npz", "less.csv"),
    ("holes.csv: not readable: line 3, column 'age': no value; a prediction needs all features",
     "model.npz", "holes.csv"),
    ("words.csv: not readable: line 2, column 'age': 'old' is no number", "model.npz", "words.csv"),
    ("huge.csv: not readable: line 2, column 'age': '1e999' is no number", "model.npz", "huge.csv"),
    ("short.csv: not readable: line 3 has 1 columns", "model.npz", "short.csv"),
    ("none.csv: it has no rows", "model.npz", "none.csv"),
    ("wide.npy: without names of columns it must have those of the model, 2: size, age, got 3",
     "model.npz", "wide.npy"),
    ("wide.npy: target must be >= -3 and < 3, got 7", "model.npz", "wide.npy", "--target", "7"),
    ("wide.npy: without names of columns, target must be the number", "model.npz", "wide.npy",
     "--target", "price"),
    ("target must be one of id, age, price, size, got 'prize'; did you mean 'price'", "model.npz",
     "homes-new.csv", "--target", "prize"),
    ("size is a feature of the model, no target", "model.npz", "homes-new.csv", "--target", "size"),
    ("--target must name as many columns as the model predicts, 1: price, got 'price,age'",
     "model.npz", "homes-new.csv", "--target", "price,age"),
    (r"wide.npz: it must hold an array X, or one of 2 columns, it holds A", "model.npz",
     "wide.npz"),
    ("no array 'z' in it", "model.npz", "good.npz", "--target", "z"),
    ("X and y must have as many rows, got 40 and 3", "model.npz", "odd.npz"),
    ("nan.npy: X must be finite", "model.npz", "nan.npy"),
    ("short.npz: not readable", "model.npz", "short.npz"),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:50] for row in ROWS])
def test_what_cannot_be_predicted(model, tmp_path, row):
    problem = accel.LpProblem(np.eye(2), [1.0, 2.0])
    network = accel.LinearNetwork((2, 1))
    rule = accel.GradientDescent(0.1)
    accel.train(problem, network, rule, 1, backend="reference").save("old.npz")
    texts = {"homes.txt": "", "less.csv": "size,aged\n1,2\n", "holes.csv": "size,age\n1,2\n1,NA\n",
             "words.csv": "size,age\n1,old\n", "short.csv": "size,age\n1,2\n3\n",
             "none.csv": "size,age\n", "short.npz": "PK\3\4",
             "huge.csv": "size,age\n1,1e999\n"}  # fmt: skip
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    np.save("wide.npy", np.ones((3, 3)))
    np.save("nan.npy", [[1.0, np.nan]])
    np.savez("wide.npz", A=np.ones((3, 3)))
    np.savez("good.npz", X=X)
    np.savez("odd.npz", X=X, y=np.ones(3))
    match, *arguments = row
    ended = run("predict", *arguments)
    assert ended.exit_code == 2
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert re.search(match, line)


def test_columns_of_one_name_and_of_none():
    with open("twins.csv", "w") as stream:
        stream.write("a,,a,y\n" + "".join(f"{b},{a},{b * a},{a + b}\n" for a, b in X))
    report = run_json("train", "twins.csv", *FAST, "--out", "model.npz")
    assert [*report["coefficients"]] == ["a", "x1", "a (2)"]
    predicted = run_json("predict", "model.npz", "twins.csv")
    assert predicted["loss"] == pytest.approx(report["loss"], rel=1e-9)


def test_names_that_are_meant_to_harm():
    with open("evil.csv", "w") as stream:
        stream.write("\x1b[31m,[red]b[/],y\n" + "".join(f"{a},{b},{a + b}\n" for a, b in X))
    ended = run("train", "evil.csv", *FAST)
    assert ended.exit_code == 0, ended.output
    assert "\x1b" not in ended.stdout
    assert "[red]b[/]" in ended.stdout


def test_a_diverged_run_has_coefficients():
    report = run_json("train", *SMALL, "--learning-rate", "100", "--backend", "reference")
    assert report["status"] == "diverged"
    assert len(report["coefficients"]) == 3


def test_the_help_of_predict():
    ended = run("predict", "--help")
    assert ended.exit_code == 0
    assert "accel predict model.npz new.csv --out predictions.csv" in ended.stdout


def test_the_scaling_of_a_file_is_public(model):
    assert isinstance(accel.Result.load(model).scaling, Scaling)
    assert json.loads(run("predict", model, "homes-new.csv", "--json").stdout)["n"] == 40
