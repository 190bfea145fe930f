"""Hostile files: nothing in them is executed, nothing is read that is too large, nothing hangs."""

import io
import os
import pickle
import struct
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from accel import Result
from accel._files import npy
from accel.datasets import gas, load_file, load_gas_ethanol
from accel.datasets.mnist import load as load_mnist

from ..refusing import refused

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")

LOADERS = [load_file, load_gas_ethanol, load_mnist, Result.load]


class Evil:
    def __reduce__(self):
        return Path.touch, (Path("executed"),)


def header(text, version=1):
    """The beginning of a .npy with this header."""
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text.encode("latin1")


def promising(shape, descr="<f8", order=False):
    return header(f"{{'descr': {descr!r}, 'fortran_order': {order}, 'shape': {shape}}}\n")


def zipped(path, members, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def saved(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


# The content of a .npy, and what the message says.
NO_ARRAYS = {
    "empty": (b"", "EOF"),
    "cut": (saved(np.ones((3, 2)))[:-1], r"promises the shape \(3, 2\).*47 bytes follow"),
    "cut header": (saved(np.ones((3, 2)))[:40], "EOF"),
    "text": (b"1,2\n3,4\n", "magic string"),
    "pickle": (pickle.dumps(Evil()), "magic string"),
    "pickled": (saved(np.array([[Evil(), 1]], dtype=object)), "never loaded .allow_pickle=False"),
    "huge": (promising((10**9, 10**9)), r"promises the shape \(1000000000, 1000000000\)"),
    "huger": (promising((10**30, 2)), "promises the shape"),
    "huge and empty": (promising((10**30, 0)), "too large"),
    "negative": (promising((-1, 2)) + bytes(64), r"promises the shape \(-1, 2\)"),
    "two negatives": (promising((-2, -2)) + bytes(64), r"promises the shape \(-2, -2\)"),
    "fortran": (promising((10**9, 9), order=True), "promises the shape"),
    "wide text": (promising((2, 2), "<U500000000"), "of 2000000000 bytes each"),
    "wide void": (promising((2, 2), "|V2000000000"), "of 2000000000 bytes each"),
    "no dtype": (promising((2, 2), "<q99"), "descr is not a valid"),
    "objects": (promising((2, 2), "|O"), "never loaded"),
    "hidden objects": (promising((2, 2), [("a", "<f8"), ("b", "|O")]), "never loaded"),
    "no dictionary": (header("[1, 2]\n"), "Header is not a dictionary"),
    "no literal": (header("__import__('os').system('touch executed')\n"), "malformed"),
    "open bracket": (header("{'descr': (((((\n"), "EOF"),
    # Since Python 3.12 the tokenizer says so first.
    "deep": (header("(" * 5000 + ")" * 5000), "(parse header|too many nested parentheses)"),
    "long header": (header("{" + " " * 30_000 + "}"), "expected 30002 bytes"),
    "endless header": (
        b"\x93NUMPY\x02\0\xff\xff\xff\xff" + b" " * 100_000,
        "expected 4294967295 bytes",
    ),
    "version": (b"\x93NUMPY\x09\0\x10\0", "EOF"),
    "zero bytes": (header("\0" * 50), "(parse header|null bytes)"),
}


@pytest.mark.parametrize(("content", "match"), NO_ARRAYS.values(), ids=NO_ARRAYS)
def test_no_array(content, match):
    Path("a.npy").write_bytes(content)
    zipped("a.npz", {"X.npy": content, "y.npy": saved(np.ones(3))})
    zipped("m.npz", {"x_train.npy": content, "y_train.npy": saved(np.ones(3, np.uint8))})
    refused(ValueError, f"^a.npy: not readable: .*{match}", lambda: load_file("a.npy"))
    for load, name in ((load_file, "a"), (load_gas_ethanol, "a"), (load_mnist, "m")):
        refused(ValueError, f"^{name}.npz: not readable: .", partial(load, f"{name}.npz"))
    assert not Path("executed").exists()


@pytest.mark.parametrize("load", [load_file, load_gas_ethanol, load_mnist])
def test_a_member_that_unpacks_to_too_much(monkeypatch, load):
    monkeypatch.setattr(npy, "_FREE", 1000)
    bomb = saved(np.zeros((10_000, 100)))
    members = dict.fromkeys(("X.npy", "y.npy", "x_train.npy", "y_train.npy"), bomb)
    zipped("a.npz", members, zipfile.ZIP_DEFLATED)
    refused(ValueError, r"^a.npz: not readable: '.*' would unpack to 8000128 bytes, out of",
            lambda: load("a.npz"))  # fmt: skip


def test_a_member_that_lies_about_its_size():
    """No more is read than the declared size, and nothing if that is too large."""
    members = {"X.npy": saved(np.ones((500, 10))), "y.npy": saved(np.ones(500))}
    whole = zipped("a.npz", members, zipfile.ZIP_DEFLATED)
    content = Path(whole).read_bytes()
    true = struct.pack("<I", len(members["X.npy"]))
    for size in (0, 100, 200, 2**31, 2**32 - 2):
        Path("a.npz").write_bytes(content.replace(true, struct.pack("<I", size)))
        refused(ValueError, "^a.npz: not readable: ", lambda: load_file("a.npz"))


def test_what_is_large_and_not_packed_is_read(monkeypatch):
    monkeypatch.setattr(npy, "_FREE", 1000)
    np.savez("a.npz", X=np.ones((1000, 10)), y=np.ones(1000))
    assert load_file("a.npz").X.shape == (1000, 10)
    np.savez_compressed("a.npz", X=np.random.default_rng(0).random((1000, 10)), y=np.ones(1000))
    assert load_file("a.npz").X.shape == (1000, 10)


def test_other_archives():
    good = {"X.npy": saved(np.ones((2, 2))), "y.npy": saved(np.ones(2))}
    zipped("a.npz", good)
    content = bytearray(Path("a.npz").read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # says that it is encrypted
    content[6] |= 1
    Path("e.npz").write_bytes(content)
    refused(ValueError, "^e.npz: not readable: .*encrypted", lambda: load_file("e.npz"))
    content = Path("a.npz").read_bytes().replace(b"PK\x01\x02\x14\x03\x14\0\0\0\0\0",
                                                 b"PK\x01\x02\x14\x03\x14\0\0\0\x63\0")  # fmt: skip
    Path("c.npz").write_bytes(content)
    refused(ValueError, "^c.npz: not readable", lambda: load_file("c.npz"))
    zipped("raw.npz", {"X": b"no array at all", "y": b"none"})
    refused(ValueError, "^raw.npz: not readable: .*magic", lambda: load_file("raw.npz"))
    names = {f"{number:05}.npy": b"" for number in range(2000)}
    zipped("many.npz", names | {"\x1b[31m.npy": b""})
    refused(ValueError, "no array 'X' in it, it holds 00000, .* and 1971 more",
            lambda: load_file("many.npz"))  # fmt: skip


# The content of a .csv, and what the message says.
NO_TABLES = {
    "text": (b"a,b\nsome,words\n", "could not convert string 'some'"),
    "prose": (b"To be, or not to be\nthat is the question\n", "not readable"),
    "binary": (bytes(range(256)) * 4, "not readable"),
    "zeros": (bytes(10_000), "not readable|no rows"),
    "zero byte": (b"a,b\n1,2\0\n", "could not convert"),
    "utf-16": ("a,b\n1,2\n".encode("utf-16"), "not readable: .*utf-8"),
    "latin-1": ("größe,b\n1,2\n".encode("latin-1"), "not readable: .*utf-8"),
    "open quote": (b'a,b\n1,"2\n3,4\n', "not readable"),
    "open quote first": (b'"a,b\n1,2\n3,4\n', "not readable|header has|no rows"),
    "long cell": (b"a," + b"b" * 300_000 + b"\n1,2\n", "not readable: field larger than"),
    "long number": (b"1,2\n1," + b"9" * 500_000 + b"\n",
                    "row 2 of numbers, column 2 must be finite, got inf"),
    "many columns": (b"1," * 100_000 + b"1\nx" + b",1" * 100_000 + b"\n", "could not convert"),
    "many names": (",".join(f"n{j}" for j in range(100_000)).encode() + b"\n1,2\n",
                   "header has 100000 columns, the rows have 2"),
    "complex": (b"1,2\n1+2j,3\n", "could not convert string '1.2j'"),
    "hex": (b"0x1,2\n", "no rows"),
    "date": (b"2020-01-01,2\n2020-01-02,3\n", "could not convert"),
    "underscore": (b"1_000,2\n", "could not convert"),
    "decimal comma": (b"1,5;2,5\n1,5;x\n", "not readable"),
    "formula": (b"a,b\n=cmd|'/C calc'!A0,1\n", "could not convert"),
    "blank": (b"\n\n \n\t\n", "no rows"),
    "mark alone": (b"\xef\xbb\xbf", "no rows"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "match"), NO_TABLES.values(), ids=NO_TABLES)
def test_no_table(content, match):
    Path("t.csv").write_bytes(content)
    refused(ValueError, f"^t.csv: .*({match})", lambda: load_file("t.csv"))


def test_an_unknown_column_of_very_many():
    Path("t.csv").write_text(",".join(f"n{j}" for j in range(50_000)) + "\n" + "1," * 49_999 + "1")
    with pytest.raises(ValueError, match=r"t.csv: target must be one of n0, n1, .* more, got 'y'"):
        load_file("t.csv", "y")


def places():
    """Paths that cannot be read as files, with the reason."""
    os.mkfifo("pipe.npz")
    Path("loop.npz").symlink_to("loop.npz")
    Path("dangling.npz").symlink_to("nothing")
    Path("file").write_text("")
    return {
        "pipe.npz": "no regular file|it is no regular file",
        "loop.npz": "symbolic links",
        "dangling.npz": "[Nn]o such file",
        "file/a.npz": "[Nn]o such file|Not a directory",
        "/dev/zero": "no regular file|ends in|expected",
        "two\nlines.npz": r"two\\nlines.npz'",
        "\x1b[31m.npz": "[Nn]o such file",
        "~nobody-of-this-name/a.npz": "path must be in a folder that is there",
        "a" * 300 + ".npz": "[Nn]ame too long",
        "zero\0.npz": "null|no such file",
        "\udcff.npz": "[Nn]o such file",
    }


@pytest.mark.parametrize("load", LOADERS, ids=lambda load: load.__qualname__)
def test_no_file(load):
    for path, match in places().items():
        with pytest.raises((ValueError, OSError), match=match) as caught:
            load(path)
        assert load == Result.load or caught.type is ValueError
        if caught.type is ValueError:
            assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("variable", "load"), [("ACCEL_DATA", load_gas_ethanol), ("ACCEL_MNIST", load_mnist)]
)
def test_no_file_in_the_environment(monkeypatch, variable, load):
    for path, match in places().items():
        if "\0" not in path:
            monkeypatch.setenv(variable, path)
            match = match.replace("path must", f"{variable} must")
            with pytest.raises(ValueError, match=match):
                load()
    Path("home").mkdir()
    monkeypatch.setenv("HOME", str(Path("home").absolute()))
    monkeypatch.setenv(variable, "~/a.npz")
    with pytest.raises(ValueError, match=r"home/a\.npz: no such file"):
        load()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read")
@pytest.mark.parametrize("load", LOADERS[:3])
def test_a_file_that_may_not_be_read(load):
    np.savez("a.npz", X=np.ones((2, 2)), y=np.ones(2))
    Path("a.npz").chmod(0)
    refused(ValueError, "^a.npz: .*denied", lambda: load("a.npz"))


@pytest.mark.parametrize(
    "name",
    ["../../batch1.dat", "/etc/batch1.dat", "..\\..\\batch1.dat", "a/../batch1.dat",
     "batch1.dat/../../b"],
)  # fmt: skip
def test_nothing_is_extracted(name):
    zipped("in.zip", {name: b"1;10 1:1\n"})
    refused(ValueError, "^in.zip: ", lambda: load_gas_ethanol("in.zip"))
    assert os.listdir() == ["in.zip"]


@pytest.mark.parametrize(
    ("members", "match"),
    [
        ({"batch1.dat": b"1;10 1:1\n" * 2566}, "batch1.dat has more than the 2565 ethanol samples"),
        ({"batch1.dat": b"2;1\n" * 5_000_000}, "batch1.dat is larger than 16777216 bytes"),
        ({"batch11.dat": b"1;10 1:1\n"}, "no batchN.dat with ethanol"),
        ({f"batch{'9' * 5000}.dat": b"1;10 1:1\n"}, "no batchN.dat with ethanol"),
        (
            {"batch1.dat": b"1;10 1:" + b"9" * 5000},
            "batch1.dat, line 1: expected 'gas;concentration",
        ),
        ({"batch1.dat": b"1;10 1:\x1b[31m"}, r"batch1.dat, line 1: expected .*\\x1b\[31m"),
    ],
)
def test_bad_batches(members, match):
    zipped("in.zip", members, zipfile.ZIP_DEFLATED)
    refused(ValueError, f"^in.zip: .*{match}", lambda: load_gas_ethanol("in.zip"))


def test_a_zip_of_another_kind(monkeypatch):
    zipped("in.zip", {"batch1.dat": b"1;10 1:1\n"})
    content = bytearray(Path("in.zip").read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    Path("e.zip").write_bytes(content)
    refused(ValueError, "^e.zip: not readable: .*encrypted", lambda: load_gas_ethanol("e.zip"))
    monkeypatch.setattr(gas, "_ZIP_LIMIT", 100)
    refused(ValueError, "^in.zip: larger than 100 bytes", lambda: load_gas_ethanol("in.zip"))


def test_a_pipe_among_the_batches_is_not_waited_for():
    os.mkfifo("batch1.dat")
    refused(ValueError, "no batchN.dat in this folder", lambda: load_gas_ethanol("."))


def test_a_result_that_asks_for_memory():
    """Its widths are those of a network of 8 TB."""
    from ..runs.test_results import make_result, rewrite

    path = make_result().save("run.npz")
    rewrite(path, widths=[10**6, 10**6, 1])
    refused(ValueError, "run.npz is not readable: its params, .10,., do not fit",
            lambda: Result.load(path))  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"steps": "many"}, "steps must be an integer, got 'many'"),
        ({"steps": -1}, "steps must be >= 0, got -1"),
        ({"diverged_at": 1.5}, "diverged_at must be an integer, got 1.5"),
        ({"p": 0}, "p must be finite and >= 1, got 0"),
        ({"scale": "half"}, "scale must be one of mean, 1/p"),
        ({"method": None}, "method must be one of direct, gram"),
        ({"threads": 0}, "threads must be >= 1, got 0"),
        ({"widths": [4, -2, 1]}, r"widths\[1\] must be >= 1"),
        ({"loss": np.array(["a", "b", "c"])}, "loss must hold real numbers"),
        ({"params": np.full(10, np.nan)}, r"params must be finite.*params\[0\] = nan"),
    ],
)
def test_a_result_with_other_words(changes, match):
    from ..runs.test_results import make_result, rewrite

    path = make_result().save("run.npz")
    rewrite(path, **changes)
    refused(ValueError, f"run.npz is not readable: {match}", lambda: Result.load(path))
