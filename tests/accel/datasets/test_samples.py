"""Samples for a model: columns by their names, and files that are damaged."""

import gzip
import random
import zipfile
from decimal import Decimal
from importlib.util import find_spec

import numpy as np
import pytest

from accel.datasets import load_file
from accel.datasets.columns import unique
from accel.datasets.samples import Wanted, read_samples, samples_of

from ...fuzz import mutations

X = np.random.default_rng(0).standard_normal((6, 2))
WANTED = Wanted(["a", "b"], ["y"])
CSV = ("a,b,y\n" + "".join(f"{a!r},{b!r},{a + b!r}\n" for a, b in X.tolist())).encode()


def test_columns_by_name():
    table = np.column_stack([np.zeros(6), X[:, 1], X[:, 0], X.sum(axis=1)])
    samples = samples_of("it", WANTED, table, ["index", "b", "a", "y"])
    np.testing.assert_array_equal(samples.X, X)
    np.testing.assert_array_equal(samples.y, X.sum(axis=1)[:, None])
    assert samples.ignored == ("index",)
    samples = samples_of("it", WANTED, table[:, :3], ["", "b", "a"])
    assert samples.y is None
    assert samples.ignored == ("x0",)
    with pytest.raises(ValueError, match=r"^it: columns b missing, the model needs a, b, the f"):
        samples_of("it", WANTED, X, ["a", "y"])
    with pytest.raises(ValueError, match=r"^it: X must hold real numbers"):
        samples_of("it", WANTED, X.astype(str), ["a", "b"])


def test_names_that_are_there_more_than_once():
    names = ["a", "b", "a (2)", "a (3)"]
    assert unique(["a", "b", "a", "a"]) == names
    assert unique(names) == names
    assert unique(["a", "a (2)", "a"]) == names[:1] + names[2:]


def wanted(data, chosen=None):
    return Wanted(data.feature_names, data.target_names, chosen)


TWINS = "a,a,y,y\n1,2,3,4\n5,6,7,8\n"


@pytest.mark.parametrize(
    ("features", "target", "names"),
    [
        ([1], 3, ("a (2)", "y (2)")),
        ([1, 0], 3, ("a (2)", "a", "y (2)")),
        ([1], 0, ("a (2)", "a")),
        ([2, 0, 1], 3, ("y", "a", "a (2)", "y (2)")),
    ],
)
def test_the_second_of_two_columns_of_a_name(tmp_path, features, target, names):
    path = tmp_path / "t.csv"
    path.write_text(TWINS)
    data = load_file(path, target, features)
    assert (*data.feature_names, *data.target_names) == names
    samples = read_samples(path, wanted(data))
    np.testing.assert_array_equal(samples.X, data.X)
    np.testing.assert_array_equal(samples.y[:, 0], data.y)


def test_a_name_that_may_be_of_two_columns(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(TWINS)
    for asked, told in (
        (Wanted(["a"], ["z"]), "the header has 2 columns 'a', of which the model knows one"),
        (Wanted(["a (2)"], ["y"]), "the header has 2 columns 'y', of which"),
        (Wanted(["a (2)"], ["z"], ["y"]), "2 columns 'y'; say which is the target by its number"),
    ):
        with pytest.raises(ValueError, match=f"^{path}: ") as caught:
            read_samples(path, asked)
        assert told in str(caught.value)
    assert read_samples(path, Wanted(["a (2)"], ["z"], ["2"])).y.tolist() == [[3], [7]]


def test_a_target_of_the_name_of_a_feature(tmp_path):
    """Of two data frames: the file has the feature."""
    samples = samples_of("it", Wanted(["a"], ["a"]), X, ["a", "b"])
    np.testing.assert_array_equal(samples.X, X[:, :1])
    assert samples.y is None


@pytest.mark.parametrize("kind", ["csv", "npy"])
@pytest.mark.parametrize(
    ("features", "target"), [([2, 0], 1), ([1, 2], 0), ([1, 0], 2), ([0, 2], 1), ([0, 1], 2)]
)
def test_columns_by_their_numbers(tmp_path, caplog, kind, features, target):
    path = tmp_path / f"t.{kind}"
    table = np.arange(12.0).reshape(4, 3)
    np.savetxt(path, table, delimiter=",") if kind == "csv" else np.save(path, table)
    data = load_file(path, target, features)
    samples = read_samples(path, wanted(data, [str(target)]))
    np.testing.assert_array_equal(samples.X, data.X)
    np.testing.assert_array_equal(samples.y[:, 0], data.y)
    told = f"the model's numbers are taken, from 0: {features[0]}, {features[1]}"
    assert (told in caplog.text) == (features != [0, 1])


def test_columns_whose_order_is_not_known():
    for features in (["x1", "x0"], ["x2", "x0"]):
        with pytest.raises(ValueError, match=r"it: the model has the columns .* put a line of nam"):
            samples_of("it", Wanted(features, ["y"]), X)
    with pytest.raises(ValueError, match="it: x2 is a feature of the model, no target"):
        samples_of("it", Wanted(["x2", "x0"], ["y"], ["2"]), np.eye(3))
    np.testing.assert_array_equal(samples_of("it", Wanted(["x1", "x2"], ["y"]), X).X, X)


def test_names_of_the_columns_of_an_array(tmp_path):
    path = tmp_path / "t.npz"
    np.savez(path, X=X, feature_names=["b", " a "], y=X[:, 0])
    samples = read_samples(path, WANTED)
    np.testing.assert_array_equal(samples.X, X[:, ::-1])
    np.testing.assert_array_equal(samples.y[:, 0], X[:, 0])
    np.savez(path, some=X, feature_names=["b", "c"])
    with pytest.raises(ValueError, match="columns a missing"):
        read_samples(path, WANTED)
    for names in (["b", "a", "c"], [1, 2]):  # which do not name these columns
        np.savez(path, X=X, feature_names=names)
        np.testing.assert_array_equal(read_samples(path, WANTED).X, X)


@pytest.mark.parametrize(
    ("text", "features"),
    [
        ("0,1\n5,6\n7,8\n", ["0", "1"]),
        ("1,2,0\n6,9,5\n8,9,7\n", ["0", "1"]),
        (",0,1\n0,5,6\n1,7,8\n", ["0", "1"]),
        ("0,1\n5,6\n7,8\n", ["1", "0"]),
    ],
)
def test_a_header_of_numbers(tmp_path, text, features):
    (tmp_path / "t.csv").write_text(text)
    samples = read_samples(tmp_path / "t.csv", Wanted(features, ["y"]))
    order = [int(name) for name in features]
    np.testing.assert_array_equal(samples.X, np.array([[5, 6], [7, 8]])[:, order])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", '"w, kg";"h, m";"p, q";y\n1;2;3;4\n5;6;7;8\n'),
        ("t.tsv", '"w, kg"\t"h, m"\t"p, q"\ty;;;;;\n1\t2\t3\t4\n5\t6\t7\t8\n'),
        ("t.csv", 'size 5",b,c,y\n1,2,3,4\n5,6,7,8\n'),
        ("t.csv", "# of us, in, 2020, May\n2018,b,2019,2020\n1,2,3,4\n5,6,7,8\n"),
        ("t.csv", '"a\nlong",b,c,y\n1,2,3,4\n5,6,7,8\n'),
    ],
)
@pytest.mark.parametrize("packed", ["", ".gz", ".zip"])
def test_what_trains_predicts(tmp_path, name, text, packed):
    """Both read the table by the same rules."""
    path = tmp_path / f"{name}{packed}"
    if packed == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, text)
    else:
        path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    data = load_file(path, -1, [1, 0, 2])
    np.testing.assert_array_equal(data.X, [[2, 1, 3], [6, 5, 7]])
    samples = read_samples(path, wanted(data))
    np.testing.assert_array_equal(samples.X, data.X)
    np.testing.assert_array_equal(samples.y[:, 0], data.y)


@pytest.mark.parametrize("text", [
    "# made by hand\n\na;b;y\n1;2;3\n",
    "a\tb\ty\n1\t2\t3\n",
    '"a","b","y"\n"1","2","3"\n\n',
    "\ufeffa,b,y\r\n1,2,3\r\n",
    "# a,b,y\n1,2,3\n",
    "y,name,b,a\n3,\"Smith, J.\",2,1\n",
])  # fmt: skip
def test_tables_of_text(tmp_path, text):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8", newline="")
    samples = read_samples(tmp_path / "t.csv", WANTED)
    np.testing.assert_array_equal(samples.X, [[1, 2]])
    np.testing.assert_array_equal(samples.y, [[3]])


def test_truth_values_are_those_of_training(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b,y\nTrue,2,FALSE\nfalse,3,True\n")
    data, samples = load_file(path), read_samples(path, WANTED)
    np.testing.assert_array_equal(samples.X, data.X)
    np.testing.assert_array_equal(samples.y[:, 0], data.y)
    assert samples.X.tolist() == [[1, 2], [0, 3]]


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (("True", "2"), "line 3, column 'a': '2' is no truth value, as the first of its column is"),
        (("2", "True"), "line 3, column 'a': 'True' is no number"),
        (("True", "no"), "line 3, column 'a': 'no' is no truth value"),
        (("True", ""), "line 3, column 'a': no value"),
    ],
)
def test_truth_values_among_others(tmp_path, cells, told):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n{},1\n{},2\n".format(*cells))
    with pytest.raises(ValueError, match=told):
        read_samples(path, WANTED)


@pytest.fixture
def parquet(tmp_path):
    polars = pytest.importorskip("polars")

    def written(**columns):
        held = {"b": [3.0, 4.0], "a": [1, 2], "y": [5, 6], "t": ["u", "v"]} | columns
        polars.DataFrame(held).write_parquet(tmp_path / "t.parquet")
        return tmp_path / "t.parquet"

    return written


@pytest.mark.parametrize("a", [[1, 2], [1.0, 2.0], [Decimal("1.00"), Decimal("2.00")]])
def test_a_parquet(parquet, a):
    samples = read_samples(parquet(a=a, __index_level_0__=[7, 8]), WANTED)
    np.testing.assert_array_equal(samples.X, [[1, 3], [2, 4]])
    np.testing.assert_array_equal(samples.y, [[5], [6]])
    assert samples.ignored == ("t",)  # the index is no column, as for training


@pytest.mark.parametrize(
    ("a", "message"),
    [
        (["p", "q"], r"t\.parquet must hold real numbers, got dtype String in column 'a'"),
        ([1, None], r"t\.parquet must not have missing values, .*\[1\] in column 'a'"),
        ([1.0, float("nan")], r"t\.parquet: X must be finite"),
    ],
)
def test_a_parquet_without_numbers(parquet, a, message):
    with pytest.raises(ValueError, match=message):
        read_samples(parquet(a=a), WANTED)


def test_a_parquet_that_is_none(tmp_path):
    if not any(map(find_spec, ("polars", "pandas"))):
        pytest.skip("nothing reads it")
    (tmp_path / "t.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises((ValueError, ImportError), match=r"t\.parquet: "):
        read_samples(tmp_path / "t.parquet", WANTED)


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "npy", "npz", "parquet"])
def test_damaged_files_are_read_or_refused(tmp_path, kind):
    path = tmp_path / f"f.{kind}"
    whole = {"csv": CSV, "csv.gz": gzip.compress(CSV)}.get(kind)
    if kind == "parquet":
        pytest.importorskip("polars").DataFrame(X, schema=["a", "b"]).write_parquet(path)
    elif kind in ("npy", "npz"):
        np.save(path, X) if kind == "npy" else np.savez(path, X=X, y=X[:, 0])
    whole = whole or path.read_bytes()
    messages = []
    for seed in range(150):
        rng = random.Random(seed)
        damage = mutations.archive_damaged if kind == "npz" else mutations.damaged
        path.write_bytes(damage(rng, whole))
        try:
            samples = read_samples(path, WANTED)
        except ValueError as error:
            messages.append(str(error))
        else:
            assert samples.X.shape[1] == 2
            assert np.isfinite(samples.X).all()
    assert len(messages) > 50
    assert all(message.startswith(str(path)) and "\n" not in message for message in messages)
