"""The images of the MNIST experiment: where they come from, and messages about damaged files."""

import gzip
import os
import struct
import sys

import numpy as np
import pytest

from accel.datasets import mnist
from accel.datasets.mnist import MnistData, load

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (7, 28, 28), dtype=np.uint8)
LABELS = np.arange(7, dtype=np.uint8)


def idx(array):
    """An array of bytes in the IDX format."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write(folder, images=None, labels=None, suffix=""):
    """Write both files to a folder: the given contents, or complete ones."""
    contents = (images or idx(IMAGES), labels or idx(LABELS))
    for name, content in zip(NAMES, contents, strict=True):
        (folder / f"{name}{suffix}").write_bytes(content)
    return folder


@pytest.fixture(autouse=True)
def nothing_around(monkeypatch, tmp_path):
    """Without environment variables, the user's cache and a network."""
    pooch = pytest.importorskip("pooch")
    monkeypatch.delenv("ACCEL_MNIST", raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)

    def offline(*_, **__):
        raise OSError("no network\nhere")

    monkeypatch.setattr(pooch, "retrieve", offline)


def same(data):
    np.testing.assert_array_equal(data.images, IMAGES)
    np.testing.assert_array_equal(data.labels, LABELS)
    assert data.images.dtype == data.labels.dtype == np.uint8
    assert data.source == "MNIST"


@pytest.mark.parametrize("form", ["plain", "gz", "dotted", "gz without its suffix", "npz"])
def test_forms(tmp_path, form):
    path = tmp_path
    if form == "plain":
        write(tmp_path)
    elif form == "dotted":
        (tmp_path / "train-images.idx3-ubyte").write_bytes(idx(IMAGES))
        (tmp_path / "train-labels.idx1-ubyte").write_bytes(idx(LABELS))
    elif form == "npz":
        path = tmp_path / "mnist.npz"
        np.savez(path, x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:1], y_test=LABELS[:1])
    else:
        packed = gzip.compress(idx(IMAGES)), gzip.compress(idx(LABELS))
        write(tmp_path, *packed, suffix=".gz" if form == "gz" else "")
    data = load(path)
    same(data)
    assert str(path) in data.note


def test_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("ACCEL_MNIST", str(write(tmp_path)))
    same(load())
    monkeypatch.setenv("ACCEL_MNIST", "/nowhere")
    same(load(tmp_path))
    with pytest.raises(ValueError, match="/nowhere: no such file or folder"):
        load()


IMAGES_IDX, LABELS_IDX = idx(IMAGES), idx(LABELS)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (b"", None, "must begin with the bytes 0 0 8 3"),
        (IMAGES_IDX[:15], None, "must begin with the bytes 0 0 8 3"),
        (LABELS_IDX, None, "must begin with the bytes 0 0 8 3"),
        (b"\0\0\x09\3" + IMAGES_IDX[4:], None, "must begin with the bytes 0 0 8 3"),
        (b"<html>not what you asked for</html>", None, "it begins with b'<html>"),
        (IMAGES_IDX[:-1], None, r"promises 5488 entries, shape \(7, 28, 28\), and 5487 follow"),
        (IMAGES_IDX + b"\0", None, "and 5489 follow"),
        (b"\0\0\x08\3" + b"\xff" * 12, None, "and 0 follow"),
        (None, LABELS_IDX[:-2], "train-labels.*promises 7 entries.* and 5 follow"),
        (None, idx(LABELS[:6]), r"must be as many.*\(7, 28, 28\).*\(6,\)"),
        (None, idx(np.full(7, 10, np.uint8)), "labels must be at most 9, got 10"),
        (idx(IMAGES[:, 1:]), None, r"must have shape \(n, 28, 28\), got \(7, 27, 28\)"),
        (idx(IMAGES[:0]), idx(LABELS[:0]), "images must not be empty"),
        (gzip.compress(IMAGES_IDX)[:-20], None, "not readable"),
        (gzip.compress(IMAGES_IDX)[:40] + b"x" * 400, None, "not readable"),
    ],
)
def test_damaged_idx(tmp_path, images, labels, message):
    write(tmp_path)
    for name, content in zip(NAMES, (images, labels), strict=True):
        if content is not None:
            (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path)
    assert str(caught.value).startswith(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_the_size_of_an_unpacked_file_is_bounded(monkeypatch, tmp_path):
    monkeypatch.setattr(mnist, "_LIMIT", 1000)
    write(tmp_path, gzip.compress(idx(np.zeros((7, 28, 28), np.uint8))))
    with pytest.raises(ValueError, match="larger than 1000 bytes"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"x": IMAGES, "y_train": LABELS},
            r"no array 'x_train' in it, it holds x \(7, 28, 28\), y_train \(7,\)",
        ),
        ({"x_train": IMAGES.astype(float), "y_train": LABELS}, "images must be of dtype uint8"),
        ({"x_train": np.array([{}]), "y_train": LABELS}, "not readable: it holds Python objects"),
        (b"PK\x03\x04 cut short", "not readable"),
    ],
)
def test_damaged_npz(tmp_path, arrays, message):
    path = tmp_path / "mnist.npz"
    if isinstance(arrays, bytes):
        path.write_bytes(arrays)
    else:
        np.savez(path, **arrays)
    with pytest.raises(ValueError, match=message):
        load(path)


def test_no_such_file_and_another_kind_of_file(tmp_path):
    with pytest.raises(ValueError, match=r"neither train-images-idx3-ubyte\.gz nor"):
        load(tmp_path)
    other = tmp_path / "mnist.csv"
    other.write_text("1,2")
    with pytest.raises(ValueError, match=r"expected a folder with the IDX files, or a \.npz"):
        load(other)


def test_download_is_checked(monkeypatch, tmp_path):
    """pooch is replaced: what it is asked to download, and that the files are read."""
    import pooch

    asked = {}

    def retrieve(url, known_hash, fname, path, downloader):
        asked[url] = known_hash
        path.mkdir(parents=True, exist_ok=True)
        (path / fname).write_bytes(gzip.compress(idx(IMAGES if "images" in fname else LABELS)))
        return str(path / fname)

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    same(load())
    assert all(url.startswith("https://") for url in asked)
    assert [url.rsplit("/", 1)[1] for url in asked] == [f"{name}.gz" for name in NAMES]
    assert all(len(known) == 71 and known.startswith("sha256:") for known in asked.values())
    assert sorted(os.listdir(tmp_path / "cache/implicit-accel/mnist")) == [f"{n}.gz" for n in NAMES]


def test_digits_stand_in_and_say_why(caplog):
    datasets = pytest.importorskip("sklearn.datasets")
    data = load()
    assert data.source == "digits"
    assert "in place of MNIST: it could not be downloaded (OSError: no network here)" in data.note
    assert data.note in caplog.text
    assert "ACCEL_MNIST" in caplog.text
    assert data.images.shape == (1797, 28, 28)
    # Every pixel of 8 x 8 is the centre of its 3 x 3; grey values 0 ... 16 become 0 ... 255.
    middles = data.images[:, 3:27:3, 3:27:3]
    np.testing.assert_array_equal(np.rint(middles * (16 / 255)), datasets.load_digits().images)
    np.testing.assert_array_equal(data.images[:, 2:26:3, 4:27:3], middles)
    assert data.images.max() == 255
    assert not data.images[:, [0, 1, 26, 27]].any()
    assert not data.images[:, :, [0, 1, 26, 27]].any()
    np.testing.assert_array_equal(data.labels, datasets.load_digits().target)


def test_without_pooch_and_without_scikit_learn(monkeypatch):
    pytest.importorskip("sklearn.datasets")
    monkeypatch.setitem(sys.modules, "pooch", None)
    assert "pooch, which would download it, is not installed" in load().note
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"pooch.*ACCEL_MNIST.*implicit-accel\[cli\]"):
        load()


def test_data_of_your_own_is_checked():
    with pytest.raises(ValueError, match="source must be one of MNIST, digits, got 'CIFAR'"):
        MnistData(IMAGES, LABELS, "CIFAR", "")
    with pytest.raises(TypeError, match="labels must be of dtype uint8, got int64"):
        MnistData(IMAGES, LABELS.astype(np.int64), "MNIST", "")
