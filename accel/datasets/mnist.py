"""Training images of the MNIST experiment: MNIST, or scikit-learn's digits if it is not available.

Only NumPy is needed to import this module; pooch and scikit-learn are imported where they are used.
"""

import gzip
import logging
import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from accel._files import download, npy, paths
from accel._files.paths import unreadable
from accel._support import showing, validation
from accel._support.arrays import Array

__all__ = ["MnistData", "load"]

_log = logging.getLogger("accel")

_SIDE = 28  # pixels
_CLASSES = 10
#: PyTorch's mirror, which torchvision reads; the original site asks for a password.
_MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"
#: As in several unrelated public repositories, which check their own downloads by them.
_SHA256 = {
    "train-images-idx3-ubyte.gz":
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz":
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
}  # fmt: skip
_IMAGES, _LABELS = _SHA256
_HOW_TO = (
    "set ACCEL_MNIST to a folder with MNIST's train-images-idx3-ubyte and train-labels-idx1-ubyte "
    "(with or without .gz), or to a .npz with x_train and y_train"
)
# Larger files are refused, so that they cannot fill the memory.
_LIMIT = 2**28  # bytes of an unpacked file; MNIST has 47 MB
_DOWNLOAD_LIMIT = 2**26  # bytes; the images have 10 MB


@dataclass(frozen=True, eq=False)
class MnistData:
    """Labelled images to train on.

    Attributes
    ----------
    images : (n, 28, 28) array of uint8
        Grey values, 0 being the background.
    labels : (n,) array of uint8
        The digits, 0 to 9.
    source : {"MNIST", "digits"}
        "MNIST" for a file of your own, too, whose content is not compared with MNIST.
    note : str
        One line: where the images are from and, if they are not MNIST, why.

    Raises
    ------
    TypeError, ValueError
        If images and labels are of another kind or shape, or are not as many.
    """

    images: Array
    labels: Array
    source: Literal["MNIST", "digits"]
    note: str

    def __repr__(self) -> str:
        return showing.line(self, n=len(self.labels), source=repr(self.source))

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a table of the main facts."""
        return showing.table(
            {"images": self.images.shape, "source": self.source, "note": self.note}
        )

    def __post_init__(self) -> None:
        validation.choice("source", self.source, ("MNIST", "digits"))
        images = validation.numeric("images", self.images, ndim=(3,))
        labels = validation.numeric("labels", self.labels, ndim=(1,))
        for name, array in (("images", images), ("labels", labels)):
            if array.dtype != np.uint8:
                raise TypeError(f"{name} must be of dtype uint8, got {array.dtype}")
        if images.shape[1:] != (_SIDE, _SIDE):
            raise ValueError(f"images must have shape (n, 28, 28), got {images.shape}")
        if len(images) != len(labels):
            raise ValueError(
                "images and labels must be as many, got images of shape "
                f"{images.shape} and labels of shape {labels.shape}"
            )
        if labels.max() >= _CLASSES:
            raise ValueError(f"labels must be at most 9, got {labels.max()}")


def _read_idx(path: Path, ndim: int) -> Array:
    """Read an array of bytes in the IDX format, gzipped or not.

    The format is: two zero bytes, the type (8: unsigned bytes), the number of dimensions, each
    dimension as four bytes, the most significant first, and then the entries, row by row.
    """
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
        stream.seek(0)
        content = (gzip.GzipFile(fileobj=stream) if packed else stream).read(_LIMIT + 1)
    if len(content) > _LIMIT:
        raise ValueError(f"it is larger than {_LIMIT} bytes")
    head = 4 + 4 * ndim
    if len(content) < head or content[:4] != bytes((0, 0, 8, ndim)):
        raise ValueError(
            f"it must begin with the bytes 0 0 8 {ndim} and {ndim} dimensions (IDX, unsigned "
            f"bytes), it begins with {validation.shown(content[:head])}"
        )
    shape = struct.unpack(f">{ndim}I", content[4:head])
    if len(content) != head + math.prod(shape):
        raise ValueError(
            f"its header promises {math.prod(shape)} entries, shape {shape}, and "
            f"{len(content) - head} follow"
        )
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)


def _idx(path: Path, ndim: int) -> Array:
    try:
        return _read_idx(path, ndim)
    except npy.DAMAGED as error:
        raise unreadable(path, error) from error


def _read_npz(path: Path) -> tuple[Array, Array]:
    try:
        images, labels = npy.load_npz(path, ("x_train", "y_train"))
    except npy.DAMAGED as error:
        raise unreadable(path, error) from error
    return images, labels


def _find(folder: Path, name: str) -> Path:
    """One of the two files in a folder, under any of its usual names."""
    plain = name.removesuffix(".gz")
    for candidate in (name, plain, plain.replace("-idx", ".idx")):
        if (folder / candidate).is_file():
            return folder / candidate
    raise ValueError(f"{paths.text(folder)}: neither {name} nor {plain} is in this folder")


def _read(path: Path) -> MnistData:
    where, refusal = paths.text(path), paths.refusal(path)
    if refusal == paths.FOLDER:
        images, labels = _idx(_find(path, _IMAGES), 3), _idx(_find(path, _LABELS), 1)
    elif refusal:
        raise ValueError(f"{where}: {refusal.replace('file', 'file or folder')}")
    elif path.suffix.lower() == ".npz":
        images, labels = _read_npz(path)
    else:
        raise ValueError(f"{where}: expected a folder with the IDX files, or a .npz")
    try:
        return MnistData(images, labels, "MNIST", f"MNIST, read from {where}")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


def _download() -> Path:
    """The folder of pooch's cache with the training files, downloaded if they are not there.

    Raises
    ------
    FileNotFoundError
        If they cannot be downloaded, with the reason.
    """
    try:
        import pooch
    except ImportError as error:
        raise FileNotFoundError("pooch, which would download it, is not installed") from error
    folder = Path(pooch.os_cache("implicit-accel")) / "mnist"
    for name, sha256 in _SHA256.items():
        try:
            download.fetch(_MIRROR + name, sha256, name, folder, _DOWNLOAD_LIMIT)
        except (OSError, ValueError) as error:  # no network, no space, or another hash
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise FileNotFoundError(f"it could not be downloaded ({reason:.100})") from error
    return folder


def _digits(reason: str) -> MnistData:
    """scikit-learn's digits, enlarged to the size of MNIST's; ``reason`` says why not MNIST."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            f"no MNIST: {reason}; {_HOW_TO}; scikit-learn's digits, which would do in its place, "
            "need pip install 'implicit-accel[cli]'"
        ) from error
    bunch = load_digits()
    grey = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    large = grey.repeat(3, axis=1).repeat(3, axis=2)
    margin = (_SIDE - large.shape[1]) // 2
    images = np.pad(large, ((0, 0), (margin, margin), (margin, margin)))
    note = (
        f"scikit-learn's {len(images)} digits of 8 x 8 pixels, each pixel repeated 3 x 3 and a "
        f"margin of {margin} around, in place of MNIST: {reason}"
    )
    _log.warning("%s; for MNIST, %s", note, _HOW_TO)
    return MnistData(images, bunch.target.astype(np.uint8), "digits", note)


def load(path: str | os.PathLike[str] | None = None) -> MnistData:
    """Load the training images of MNIST, or scikit-learn's digits if it is not available.

    MNIST is read from ``path``, else from where the environment variable ``ACCEL_MNIST`` points,
    else from pooch's cache, else it is downloaded from PyTorch's mirror (11 MB). If that fails,
    scikit-learn's digits are returned instead, which is logged and noted in the result.

    Parameters
    ----------
    path : path, optional
        A folder with ``train-images-idx3-ubyte`` and ``train-labels-idx1-ubyte``, gzipped or not
        (the test files beside them are not read), or a ``.npz`` with ``x_train`` (n, 28, 28) and
        ``y_train`` (n,), both uint8. ``ACCEL_MNIST`` may be any of these, too.

    Returns
    -------
    MnistData
        In the order of the source; MNIST has n = 60 000, the digits 1797.

    Raises
    ------
    ValueError
        If ``path`` or ``ACCEL_MNIST`` names a file that is missing, damaged or of another kind.
    ImportError
        If MNIST is not available and scikit-learn is not installed; the message says what to do.

    Notes
    -----
    A download must have the published sha256. Files are parsed as plain bytes, with every size
    checked; nothing in them is executed.

    References
    ----------
    LeCun, Cortes, Burges, "The MNIST database of handwritten digits". Alpaydin, Kaynak (1998),
    "Optical Recognition of Handwritten Digits", UCI, doi 10.24432/C50P49, for the digits.
    """
    given = paths.named("path", path, "ACCEL_MNIST")
    if given is not None:
        return _read(given)
    try:
        return _read(_download())
    except FileNotFoundError as error:
        return _digits(str(error))
