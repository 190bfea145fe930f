"""Samples for a model: columns by their names, and files that are damaged."""

import gzip
import random

import numpy as np
import pytest

from accel.datasets.samples import Wanted, read_samples, samples_of, unique

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
    assert unique(["a", "b", "a", "a"]) == ["a", "b", "a (2)", "a (3)"]


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


def test_a_parquet_that_is_none(tmp_path):
    if not any(importable(name) for name in ("polars", "pandas")):
        pytest.skip("nothing reads it")
    (tmp_path / "t.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises((ValueError, ImportError), match=r"t\.parquet: "):
        read_samples(tmp_path / "t.parquet", WANTED)


def importable(name):
    try:
        __import__(name)
    except ImportError:
        return False
    return True


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "npy", "npz"])
def test_damaged_files_are_read_or_refused(tmp_path, kind):
    path = tmp_path / f"f.{kind}"
    whole = {"csv": CSV, "csv.gz": gzip.compress(CSV)}.get(kind)
    if whole is None:
        np.save(path, X) if kind == "npy" else np.savez(path, X=X, y=X[:, 0])
        whole = path.read_bytes()
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
