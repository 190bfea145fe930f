"""Bugs that the fuzzer found, each by its smallest input."""

import io
import struct
import zipfile

import numpy as np
import pytest

from accel.datasets import load_file, load_gas_ethanol

from . import loaders, mutations, runs


def _npy(header, data=b"\x00" * 48):
    text = header.encode("latin-1")
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def _header(shape, descr="'<f8'"):
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n"


_HEADERS = {
    "tokenize.TokenError": "{'shape'",
    "IndentationError": "  x\n y",
    "of nothing": "",
    "OverflowError": _header("(9999999999999999999999, 2)"),
    "MemoryError": _header("(1000000000000, 2)"),
    "MemoryError, overflowing": _header("(4294967296, 4294967296)"),
    "MemoryError of a dtype": _header("(2, 3)", "'(100000000,)<f8'"),
    "RecursionError": "(" * 2000,
    "SyntaxWarning": _header("(0, 3inf)"),
    "null bytes": "{'descr': '\x00', }",
}


@pytest.mark.parametrize("header", _HEADERS.values(), ids=_HEADERS)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_header_that_is_none(header, suffix, tmp_path):
    path, content = tmp_path / f"input{suffix}", _npy(header)
    if suffix == ".npz":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("X.npy", content)
            archive.writestr("y.npy", content)
    else:
        path.write_bytes(content)
    assert loaders.read_or_refuse(load_file, path) is None


def test_a_header_of_python_2_is_read_in_silence(tmp_path):
    path = tmp_path / "input.npy"
    path.write_bytes(_npy(_header("(2L, 3L)"), np.arange(6.0).tobytes()))
    data = loaders.read_or_refuse(load_file, path)
    np.testing.assert_array_equal(data.X, [[0, 1], [3, 4]])


@pytest.mark.skipif(np.dtype("g").itemsize == 8, reason="long double is double here")
def test_what_is_not_finite_in_double_is_refused_in_silence(tmp_path):
    path = tmp_path / "input.npy"
    np.save(path, np.frombuffer(b"\xff" * 96, "g").reshape(2, 3))
    assert loaders.read_or_refuse(load_file, path) is None


def _zip(name, content, method=zipfile.ZIP_DEFLATED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr(name, content)
        archive.writestr(name.replace("X", "y").replace("1", "2"), content)
    return bytearray(stream.getvalue())


def _central(archive):
    return archive.index(b"PK\x01\x02")


def _unknown_method(archive):
    struct.pack_into("<H", archive, 8, 255)
    struct.pack_into("<H", archive, _central(archive) + 10, 255)


def _unknown_version(archive):
    struct.pack_into("<H", archive, _central(archive) + 6, 255)


def _flag(bit):
    def set_flag(archive):
        archive[6] |= 1 << bit
        archive[_central(archive) + 8] |= 1 << bit

    return set_flag


def _seek_below_0(archive):
    struct.pack_into("<I", archive, archive.index(b"PK\x05\x06") + 16, 2**31 - 1)


def _another_name(archive):
    struct.pack_into("<H", archive, 26, 1000)


_DAMAGE = {
    "unknown method": (zipfile.ZIP_STORED, _unknown_method),
    "unknown version": (zipfile.ZIP_STORED, _unknown_version),
    "encrypted": (zipfile.ZIP_STORED, _flag(0)),
    "patched": (zipfile.ZIP_STORED, _flag(5)),
    "negative seek": (zipfile.ZIP_STORED, _seek_below_0),
    "a name of a kilobyte": (zipfile.ZIP_STORED, _another_name),
}


def _lzma_damaged(archive):
    at = archive.index(b"\x09\x04\x05\x00")  # the version and the size of the properties
    archive[at + 4] = 255


def _lzma_greedy(archive):
    at = archive.index(b"\x09\x04\x05\x00")
    struct.pack_into("<I", archive, at + 5, 2**32 - 1)  # a dictionary of 4 GiB


_DAMAGE["LZMA damaged"] = (zipfile.ZIP_LZMA, _lzma_damaged)
_DAMAGE["LZMA greedy"] = (zipfile.ZIP_LZMA, _lzma_greedy)


@pytest.mark.parametrize(("method", "damage"), _DAMAGE.values(), ids=_DAMAGE)
@pytest.mark.parametrize("kind", ["npz", "uci"])
def test_a_damaged_zip(method, damage, kind, tmp_path):
    if kind == "npz":
        content, path, load = mutations.npy(np.ones((90, 9))), tmp_path / "input.npz", load_file
        archive = _zip("X.npy", content, method)
    else:
        content, path, load = b"1;50.0 1:2.5\n" * 90, tmp_path / "input.zip", load_gas_ethanol
        archive = _zip("batch1.dat", content, method)
    damage(archive)
    path.write_bytes(archive)
    assert loaders.read_or_refuse(load, path) is None


def test_a_table_of_nothing_but_blanks_is_refused_in_silence(tmp_path):
    path = tmp_path / "input.csv"
    path.write_text(" ")
    assert loaders.read_or_refuse(load_file, path) is None


def test_norms_at_the_end_of_the_number_range(tmp_path):
    """The norm of the weights was infinite where they and the loss were not."""
    case = runs.Case(
        (1, 9, 1), (), 0, {"p": 1.0, "dtype": "f8", "scale": "mean", "method": "auto"}, (1.0, 1.0),
        {"init": "near_zero", "scale": 1.0},
        {"name": "end-to-end", "learning_rate": 1.0, "weight_decay": 1.0, "depth": 5},
        {"record_every": 1, "tol": 1.0, "target": 1.0}, 22, 1, (),
    )  # fmt: skip
    runs.check(case, tmp_path)


def test_a_quote_that_the_first_line_leaves_open(tmp_path):
    """The next line would be read as a part of it, and the header be looked for in the first."""
    path = tmp_path / "input.csv"
    path.write_text(' \n" \n"1, +01, +0')
    with pytest.raises(ValueError, match=r"input\.csv: .*opens a quote"):
        load_file(path)
