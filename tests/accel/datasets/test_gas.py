"""The gas data: every format, content that is refused, the download and its cache."""

import io
import logging
import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from accel.datasets import gas as uci
from accel.datasets import load_gas_ethanol

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
FEATURES = 128


@pytest.fixture(scope="module")
def original():
    """The path of the gas data, where ``ACCEL_DATA`` or the development machine has it."""
    for folder in (os.environ.get("ACCEL_DATA"), SHARED):
        path = Path(folder or "") / "gas_ethanol.npz"
        if folder and path.is_file():
            return path
    pytest.skip("the gas data is neither at ACCEL_DATA nor at ../shared/data")


@pytest.fixture(scope="module")
def arrays(original):
    with np.load(original) as archive:
        return archive["X"].astype(float), archive["y"].astype(float)


def line(gas, concentration, row, digits=9):
    pairs = " ".join(f"{j}:{value:.{digits}g}" for j, value in enumerate(row, 1))
    return f"{gas};{concentration:.6f} {pairs} \n"


@pytest.fixture(scope="module")
def batches(arrays):
    """The text of ten batches in UCI's format, with other gases among the ethanol samples."""
    X, y = arrays
    parts = np.array_split(np.arange(len(y)), 10)
    texts = {}
    for number, rows in enumerate(parts, 1):
        lines = [line(1, y[i], X[i]) for i in rows]
        lines[3:3] = [line(2, 50.0, X[rows[0]]), line(6, 10.0, X[rows[1]])]
        texts[f"batch{number}.dat"] = "".join(lines).encode()
    return texts


@pytest.fixture(scope="module")
def archive(batches):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        file.writestr("__MACOSX/._batch1.dat", b"\x00\x05")
        file.writestr("Dataset/readme.txt", b"not data")
        for name in sorted(batches):  # batch10 before batch2
            file.writestr(f"Dataset/{name}", batches[name])
    return content.getvalue()


@pytest.fixture(autouse=True)
def nothing_around(monkeypatch, tmp_path):
    """Without environment variables, the user's cache and a network."""
    pooch = pytest.importorskip("pooch")
    monkeypatch.delenv("ACCEL_DATA", raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)

    def offline(*_, **__):
        raise OSError("no network\nhere")

    monkeypatch.setattr(pooch, "retrieve", offline)


def test_gas_npz(original, arrays):
    data = load_gas_ethanol(original)
    np.testing.assert_array_equal(data.X, arrays[0])
    np.testing.assert_array_equal(data.y, arrays[1])
    assert data.X.dtype == data.y.dtype == np.float64
    assert data.X.shape == (2565, FEATURES)
    assert len(set(data.feature_names)) == FEATURES
    assert data.feature_names[8] == "sensor02_dR"
    assert data.name == "gas_ethanol"
    assert data.y.mean() == pytest.approx(114.9503, abs=5e-5)
    assert data.y.std() == pytest.approx(86.6206, abs=5e-5)


def test_gas_zip(tmp_path, archive, arrays, caplog):
    path = tmp_path / "uci.zip"
    path.write_bytes(archive)
    with caplog.at_level(logging.WARNING, "accel"):
        data = load_gas_ethanol(path)
    np.testing.assert_array_equal(
        data.X.astype(np.float32), arrays[0]
    )  # 9 digits distinguish all float32 numbers
    np.testing.assert_array_equal(data.y, arrays[1])
    assert "differs from the published archive" in caplog.text
    assert os.listdir(tmp_path) == ["uci.zip"]


def test_gas_folder_of_batches(tmp_path, batches, arrays):
    for name, text in batches.items():
        (tmp_path / name).write_bytes(text)
    np.testing.assert_array_equal(load_gas_ethanol(tmp_path).y, arrays[1])


def test_gas_of_five_digits_is_the_same_problem(tmp_path, arrays):
    """UCI has more decimals than the copies in use; both are accepted."""
    X, y = arrays
    rounded = np.array([[float(f"{value:.5g}") for value in row] for row in X])
    np.savez(tmp_path / "gas_ethanol.npz", X=rounded, y=y)
    load_gas_ethanol(tmp_path)


@pytest.mark.parametrize("form", ["file", "folder", "folder of zip"])
def test_gas_from_the_environment(monkeypatch, tmp_path, original, archive, arrays, form):
    if form == "folder of zip":
        (tmp_path / "any name.zip").write_bytes(archive)
    given = {"file": original, "folder": original.parent}.get(form, tmp_path)
    monkeypatch.setenv("ACCEL_DATA", str(given))
    np.testing.assert_array_equal(load_gas_ethanol().y, arrays[1])


def test_a_path_comes_before_the_environment(monkeypatch, original):
    monkeypatch.setenv("ACCEL_DATA", "/nowhere")
    load_gas_ethanol(original)
    with pytest.raises(ValueError, match="/nowhere: no such file or folder"):
        load_gas_ethanol()


def test_gas_download_is_checked_and_cached(monkeypatch, tmp_path, archive, arrays):
    import pooch

    calls = []

    def retrieve(url, known_hash, fname, path, downloader):
        calls.append((url, known_hash))
        path.mkdir(parents=True)
        (path / fname).write_bytes(archive)
        return str(path / fname)

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    for _ in range(2):
        data = load_gas_ethanol()
        np.testing.assert_array_equal(data.y, arrays[1])
    ((url, known_hash),) = calls  # the second time from the cache
    assert url.startswith("https://archive.ics.uci.edu/static/public/270/")
    assert known_hash == f"sha256:{uci._UCI_SHA256}"
    cache = tmp_path / "cache" / "implicit-accel"
    assert sorted(os.listdir(cache)) == sorted([uci._UCI_NAME, "gas_ethanol.npz"])
    (cache / "gas_ethanol.npz").write_bytes(b"PK\x03\x04 cut short")
    (cache / uci._UCI_NAME).unlink()
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: None)
    load_gas_ethanol()
    assert len(calls) == 2


def test_gas_nowhere_says_what_to_do(monkeypatch):
    for match in ("could not download", "pip install 'implicit-accel"):
        with pytest.raises(FileNotFoundError, match=match) as caught:
            load_gas_ethanol()
        message = str(caught.value)
        assert "https://archive.ics.uci.edu" in message
        assert "ACCEL_DATA" in message
        assert "\n" not in message
        monkeypatch.setitem(sys.modules, "pooch", None)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.zip", b"no zip", "not readable: File is not a zip file"),
        ("a.npz", b"no zip", "not readable"),
        ("a.npz", {"X": np.ones((3, 2)), "y": np.ones(3)}, "not the Ethanol problem"),
        ("a.npz", {"X": np.ones((2565, 128)), "y": np.ones(2565)}, "means are not the published"),
        ("a.npz", {"y": np.ones(3)}, "no array 'X'"),
        ("a.txt", b"1;2 1:1", "expected a .npz, a .zip or a folder"),
        ("batch1.dat", b"1;2 1:1", "not the Ethanol problem"),
        ("batch1.dat", b"2;2 1:1", "no batchN.dat with ethanol"),
        ("note.dat", b"", "no gas_ethanol.npz, no zip and no batchN.dat"),
    ],
)
def test_other_data_is_refused(tmp_path, name, content, message):
    path = tmp_path / name
    if isinstance(content, dict):
        np.savez(path, **content)
    else:
        path.write_bytes(content)
    where = tmp_path if path.suffix == ".dat" else path
    with pytest.raises(ValueError, match=message) as caught:
        load_gas_ethanol(where)
    assert str(caught.value).startswith(str(where))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "bad",
    [
        b"1 1:2 2:3",
        b"1;10 1:2 3",
        b"1;10 1:2 2:x",
        b"1;x 1:2",
        b"1;10 0:2",
        b"1;10 129:2",
        b"1;10 2:1 1:2",
        b"1;10 1:1 1:2",
        b"1;10 1.5:1",
        b"1;10 nan:1",
        b"1;10 inf:1",
        b"1;10 1:nan",
        b"1;10 1:-inf",
        b"1;nan 1:1",
        b"1;inf 1:1",
        b"1;10",
        b"1;10 1 2:3:4",
    ],
)
def test_a_malformed_line_is_shown(tmp_path, bad):
    (tmp_path / "batch7.dat").write_bytes(b"1;1.0 1:1 2:2\r\n\n" + bad + b"\n")
    with pytest.raises(ValueError, match=r"batch7\.dat, line 3: expected 'gas;concentration"):
        load_gas_ethanol(tmp_path)


def test_a_feature_left_out_is_zero():
    rows, concentrations = uci._parse_batch("b", b"1;2.5 2:1e-3 128:-7\n3;1 1:1\n")
    assert concentrations == [2.5]
    assert np.flatnonzero(rows[0]).tolist() == [1, 127]
    assert rows[0][[1, 127]].tolist() == [1e-3, -7.0]


def test_a_bomb_does_not_fill_the_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(uci, "_MEMBER_LIMIT", 1000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("batch1.dat", b"\n" * 100_000)
    with pytest.raises(ValueError, match="larger than 1000 bytes"):
        load_gas_ethanol(tmp_path)
