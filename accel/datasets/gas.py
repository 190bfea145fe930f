"""The gas-sensor data of the UCI archive: its locations, its formats, and checks of its content."""

import contextlib
import hashlib
import logging
import re
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from accel._files import archives, download, npy, paths
from accel._files.paths import unreadable
from accel._support import validation
from accel._support.arrays import Array
from accel.datasets.readers import read_npz

_log = logging.getLogger("accel")

_UCI_NAME = "gas+sensor+array+drift+dataset+at+different+concentrations.zip"
_UCI_URL = f"https://archive.ics.uci.edu/static/public/270/{_UCI_NAME}"
#: As in several unrelated public repositories, which check their own downloads by it.
_UCI_SHA256 = "98fe3a30981a222dd4518fbcc3dddd45d5c0ce9b03ef6dc6fe5cf7a04cfbff5e"
_HOW_TO = f"download {_UCI_URL} and set ACCEL_DATA to the zip, or to the folder it is in"
_NPZ_NAME = "gas_ethanol.npz"
_MEMBER = re.compile(r"(?:.*/)?batch([1-9]|10)\.dat")
# Larger files are refused, so that they cannot fill the memory. The largest batch has 10 MiB.
_MEMBER_LIMIT = 16 * 2**20  # bytes
_ZIP_LIMIT = 2**27  # bytes
_ETHANOL = b"1"
_SHAPE = (2565, 128)
#: The mean of the first feature (the steady-state resistance change) of each of the 16 sensors.
_SENSOR_MEANS = (
    *(58539.1, 55278.9, 15716.9, 15765.2, 4163.70, 3917.64, 21013.4, 21879.8),
    *(60053.6, 53430.7, 18348.7, 14993.5, 5943.63, 5863.35, 24965.9, 22155.8),
)


def _parse_batch(name: str, text: bytes) -> tuple[list[Array], list[float]]:
    """The features and concentrations of the ethanol samples of a batch.

    Each line is ``gas;concentration 1:v1 2:v2 ...``; a feature that is left out is 0.
    """
    rows: list[Array] = []
    concentrations: list[float] = []
    for number, line in enumerate(text.splitlines(), 1):
        head, _, pairs = line.strip().partition(b" ")
        gas, separator, concentration = head.partition(b";")
        if not head or (separator and gas != _ETHANOL):
            continue
        try:
            cells = np.array([pair.split(b":") for pair in pairs.split()], dtype=np.float64)
            index, row = cells[:, 0], np.zeros(_SHAPE[1])
            rising = index[0] >= 1 and index[-1] <= len(row) and np.all(np.diff(index) > 0)
            if not (separator and cells.shape[1] == 2 and rising and np.all(index % 1 == 0)):
                raise ValueError
            row[index.astype(int) - 1] = cells[:, 1]
            concentrations.append(float(concentration))
            if not np.isfinite([concentrations[-1], *row]).all():
                raise ValueError
        except (IndexError, ValueError):
            raise ValueError(
                f"{name}, line {number}: expected 'gas;concentration 1:v1 2:v2 ... 128:v128', "
                f"got {validation.shown(line.decode(errors='replace'))}"
            ) from None
        rows.append(row)
        if len(rows) > _SHAPE[0]:
            raise ValueError(f"{name} has more than the {_SHAPE[0]} ethanol samples of all batches")
    return rows, concentrations


def _read_batches(where: Path, files: Mapping[str, Callable[[], Any]]) -> tuple[Array, Array]:
    """Parse ``batchN.dat`` files, in the order of N. ``files`` holds functions that open them."""
    rows: list[Array] = []
    concentrations: list[float] = []
    numbered = {int(m[1]): name for name in files if (m := _MEMBER.fullmatch(name))}
    for number in sorted(numbered):
        name = f"{paths.text(where)}: batch{number}.dat"
        try:
            with files[numbered[number]]() as stream:
                text = stream.read(_MEMBER_LIMIT + 1)
        except npy.DAMAGED as error:
            raise unreadable(where, error) from error
        if len(text) > _MEMBER_LIMIT:
            raise ValueError(f"{name} is larger than {_MEMBER_LIMIT} bytes")
        more_rows, more_concentrations = _parse_batch(name, text)
        rows += more_rows
        concentrations += more_concentrations
    if not rows:
        raise ValueError(f"{paths.text(where)}: no batchN.dat with ethanol samples in it")
    return np.array(rows), np.array(concentrations)


def _read_zip(path: Path) -> tuple[Array, Array]:
    if path.stat().st_size > _ZIP_LIMIT:
        raise ValueError(f"{paths.text(path)}: larger than {_ZIP_LIMIT} bytes")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != _UCI_SHA256:
        _log.warning("%s differs from the published archive, so its content is checked", path)
    try:
        archive = zipfile.ZipFile(BytesIO(content))
    except npy.DAMAGED as error:
        raise unreadable(path, error) from error
    with archive:
        names = archive.namelist()
        return _read_batches(path, {name: partial(archive.open, name) for name in names})


def _read_folder(path: Path) -> tuple[Array, Array]:
    preferred = (path / _NPZ_NAME, path / _UCI_NAME, *sorted(path.glob("*.zip")))
    file = next((p for p in preferred if p.is_file()), None)
    if file is not None:
        return read_gas(file)
    files = {p.name: partial(p.open, "rb") for p in path.glob("batch*.dat") if p.is_file()}
    if not files:
        raise ValueError(
            f"{paths.text(path)}: no {_NPZ_NAME}, no zip and no batchN.dat in this folder"
        )
    return _read_batches(path, files)


def read_gas(path: Path) -> tuple[Array, Array]:
    """Read X (2565, 128) and y (2565,), float64, from a file or folder in any of the formats.

    Raises
    ------
    ValueError
        If they are not there, not readable or not the published data.
    """
    where, refusal = paths.text(path), paths.refusal(path)
    try:
        if refusal == paths.FOLDER:
            X, y = _read_folder(path)
        elif refusal:
            raise ValueError(f"{where}: {refusal.replace('file', 'file or folder')}")
        elif path.suffix.lower() == ".npz":
            X, y, *_ = read_npz(path)
        elif path.suffix.lower() == ".zip":
            X, y = _read_zip(path)
        else:
            raise ValueError(f"{where}: expected a .npz, a .zip or a folder with batchN.dat files")
    except OSError as error:
        raise ValueError(f"{where}: {error.strerror or error}") from error
    if X.shape != _SHAPE or y.shape != _SHAPE[:1]:
        raise ValueError(
            f"{where}: not the Ethanol problem, which has X {_SHAPE} and y {_SHAPE[:1]}: "
            f"X is {X.shape}, y {y.shape}"
        )
    X, y = X.astype(np.float64, copy=False), y.astype(np.float64, copy=False)
    facts = np.array([y.mean(), y.std(), *X[:, ::8].mean(axis=0)])
    if not np.allclose(facts, (114.9503, 86.6206, *_SENSOR_MEANS), rtol=1e-4, atol=0):
        raise ValueError(f"{where}: not the Ethanol problem: its means are not the published ones")
    return X, y


def download_gas() -> tuple[Array, Array]:
    """Read the data from pooch's cache, or download, check and parse it, and fill the cache.

    Raises
    ------
    FileNotFoundError
        If it cannot be downloaded; the message says what to do.
    """
    try:
        import pooch
    except ImportError as error:
        raise FileNotFoundError(
            "the gas data is not here, and pooch, which would download it, is not installed: "
            f"pip install 'implicit-accel[cli]', or {_HOW_TO}"
        ) from error
    folder = Path(pooch.os_cache("implicit-accel"))
    parsed = folder / _NPZ_NAME
    if parsed.is_file():
        try:
            return read_gas(parsed)
        except ValueError as error:
            _log.warning("the cached gas data is damaged and is made again: %s", error)
    try:
        archive = download.fetch(_UCI_URL, _UCI_SHA256, _UCI_NAME, folder, _ZIP_LIMIT)
    except (OSError, ValueError) as error:  # no network, no space, or another hash
        reason = " ".join(str(error).split())
        raise FileNotFoundError(f"could not download the gas data; {_HOW_TO} ({reason})") from error
    X, y = read_gas(archive)
    # Go on without a cache if the disk is full or read-only. Other processes may read the old file.
    with contextlib.suppress(OSError), archives.replacing(parsed) as file:
        np.savez_compressed(file, X=X, y=y)
    return X, y
