"""Checkpoints: the state of a run in one file, from which it goes on after an interruption."""

import contextlib
import hashlib
import json
import logging
import os
import time
from collections.abc import Collection, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from accel._core.base import BaseProblem
from accel._core.network import Network
from accel._core.optimizers import Optimizer
from accel._files import archives, paths
from accel._support import validation
from accel._support.arrays import Array, to_host
from accel.losses import Loss, Lp

__all__ = [
    "EVERY",
    "Checkpoint",
    "Place",
    "Saved",
    "check_arrays",
    "digest",
    "digest_of",
    "first_difference",
    "of_models",
    "of_one",
    "place",
    "read",
]

EVERY = 30.0  # seconds
_FORMAT = 2
_BEFORE = 40  # characters that a refusal shows of a long fact before what differs

_log = logging.getLogger("accel")


class Place(NamedTuple):
    """The checkpoint file of a run, and the seconds between two saves."""

    path: Path
    every: float


def place(checkpoint: Any, checkpoint_every: Any) -> Place | None:
    """Check the arguments of a run that concern its checkpoint; None if it has none."""
    every = validation.real("checkpoint_every", checkpoint_every, least=0)
    if checkpoint is None:
        return None
    path = paths.given("checkpoint", checkpoint)
    if (refusal := paths.refusal(path)) not in ("", paths.MISSING):
        raise ValueError(f"checkpoint must be a file, got {paths.text(path)}: {refusal}")
    return Place(path, every)


def digest(*parts: Any) -> str:
    """Return a hash of arrays, and of the ``repr`` of all other values."""
    checksum = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            checksum.update(repr((part.shape, part.dtype.str)).encode())
            checksum.update(np.ascontiguousarray(part).data)
        else:
            checksum.update(f"{part!r}\n".encode())
    return checksum.hexdigest()[:32]


class Saved(NamedTuple):
    """What a run goes on from: a checkpoint, or the end of a run that a result has.

    Attributes
    ----------
    run : dict
        What identifies the run.
    arrays : dict of str to array
    path : Path, optional
        The file that it was read from.
    kind : str
        Of that file.
    """

    run: dict[str, Any]
    arrays: dict[str, Array]
    path: Path | None = None
    kind: str = "checkpoint"

    def reading(self) -> contextlib.AbstractContextManager[None]:
        """Convert exceptions that a damaged file causes to a ValueError that names it."""
        if self.path is None:
            return contextlib.nullcontext()
        return archives.reading(self.kind, self.path)

    def methods(self, models: int) -> list[Any]:
        """Return what it says is the method of each of so many models; nothing is checked."""
        method = self.run.get("method")
        return method if isinstance(method, list) else [method] * models


def read(place: Place) -> Saved | None:
    """Read a file; None if there is none.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is damaged.
    """
    archives.remove_unfinished(place.path)
    try:
        with archives.reading("checkpoint", place.path):
            described, arrays = archives.read(place.path, _FORMAT)
            run = dict(described["run"])
            if "loss" in run and "method" not in run:  # of version 0.1: one of two, for all models
                loss, _, gram = run["loss"].rpartition(", gram=")
                run |= {"loss": f"{loss})", "method": {"True)": "gram", "False)": "direct"}[gram]}
            run.setdefault("record", [])
            return Saved(run, arrays, place.path)
    except FileNotFoundError:
        return None


def _names(record: Any) -> Any:
    """What is recorded, without the hashes of what else identifies it."""
    if not isinstance(record, list):
        return record
    return [str(entry).rpartition(" ")[0] for entry in record]


def _difference(name: str, there: Any, here: Any) -> str:
    """Say how a fact of one run differs from that of another; of long ones what is different."""
    if name == "record":
        there, here = _names(there), _names(here)
        if there == here:
            return f"record: {', '.join(here)} with other constants or data there than here"
    texts = [" ".join(repr(value).split()) for value in (there, here)]
    if max(map(len, texts)) > validation.SHOWN:
        same = takewhile(lambda pair: pair[0] == pair[1], zip(*texts, strict=False))
        common = "".join(one for one, _ in same)
        words = (common.rfind(mark) + len(mark) for mark in (", ", "(") if mark in common)
        if begin := max(len(common) - _BEFORE, *words, 0):
            texts = [f"...{text[begin:]}" for text in texts]
    other, own = map(validation.cut, texts)
    return f"{name}: {other} there, {own} here"


def digest_of(problem: BaseProblem) -> str:
    """Return a hash of the data of a problem."""
    return digest(*problem.fingerprint)


def _loss(loss: Loss) -> str:
    """A loss as files have it since the first version, when all were powers."""
    return f"Loss(p={loss.p}, factor={loss.factor})" if isinstance(loss, Lp) else repr(loss)


def _start(models: Sequence[tuple[Network, Optimizer]]) -> str:
    return digest(*(part for net, _ in models for part in (net.structure, net.params)))


def of_models(
    data: str,
    loss: Loss,
    models: Sequence[tuple[Network, Optimizer]],
    methods: Sequence[str],
    chosen: Mapping[str, Any],
    backend: str,
    *,
    found: bool = False,
) -> dict[str, Any]:
    """Return what identifies a run, as ``Checkpoint`` takes it.

    The number of threads does not: a run may go on with another one, though the bits then differ.

    Parameters
    ----------
    data : str
        The digest of the data.
    loss : Loss
    models : sequence of (network, optimizer)
        As the run began.
    methods : sequence of str
        One a model.
    chosen : mapping
        What else was asked for.
    backend : str
    found : bool
        Whether the rate follows the loss.
    """
    told = ", rate found" if found else ""
    return {
        "data": data,
        "loss": _loss(loss),
        "start": _start(models),
        "optimizers": [f"{optimizer!r}{told}" for _, optimizer in models],
        **chosen,
        "backend": backend,
        "method": methods[0] if len(set(methods)) == 1 else list(methods),
    }


def of_one(
    run: Mapping[str, Any],
    models: Sequence[tuple[Network, Optimizer]],
    methods: Sequence[str],
    m: int,
) -> dict[str, Any]:
    """Return what identifies the run of one of the models that ``of_models`` was given."""
    own = {"start": _start(models[m : m + 1]), "optimizers": run["optimizers"][m : m + 1]}
    return {**run, **own, "method": methods[m]}


def first_difference(
    there: Mapping[str, Any], here: Mapping[str, Any], without: Collection[str] = ()
) -> str | None:
    """Say how the run that is ``here`` differs from another one; None if it does not.

    Of what differs the first is named, in the order of ``here``; ``without`` is not looked at.
    """
    for name, own in here.items():
        if name not in without and there.get(name) != own:
            return _difference(name, there.get(name), own)
    return None


def check_arrays(
    saved: Mapping[str, Array], like: Mapping[str, Array], growing: Collection[str]
) -> None:
    """Raise ValueError if arrays have not the dtypes and shapes of ``like``.

    Parameters
    ----------
    saved, like : mapping of str to array
    growing : collection of str
        Arrays whose length changes as the run goes on.
    """

    def kinds(arrays: Mapping[str, Array]) -> dict[str, Any]:
        return {
            key: (array.dtype, array.ndim, array.shape[1:] if key in growing else array.shape)
            for key, array in arrays.items()
        }

    if kinds(saved) != kinds(like):
        raise ValueError("its arrays are not those of this run on this processor")


class Checkpoint:
    """The file of one run.

    Parameters
    ----------
    place : Place
    run : mapping
        What identifies the run, by names that fit an error message; JSON must be able to hold it.
        Of what differs the first is named: what a caller chose stands before what follows from it.
    growing : collection of str
        Arrays whose length changes as the run goes on, for ``load``.
    """

    def __init__(self, place: Place, run: Mapping[str, Any], growing: Collection[str] = ()) -> None:
        self._path, self._every = place
        self._run: dict[str, Any] = json.loads(json.dumps(run))  # lists for tuples
        self._growing = growing
        self._last, self._failing = time.monotonic(), False

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() - self._last >= self._every

    def save(self, arrays: Mapping[str, Array]) -> None:
        """Replace the file.

        Raises
        ------
        OSError
            If that fails; then the file is as it was.
        """
        self._last = time.monotonic()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        held = {name: to_host(array) for name, array in arrays.items()}
        archives.write(self._path, {"format": _FORMAT, "run": self._run}, held)
        self._failing = False

    def keep(self, arrays: Mapping[str, Array], *, last: bool = False) -> None:
        """Save; log and continue if that fails, as on a full disk.

        Parameters
        ----------
        arrays : mapping of str to array
        last : bool
            Whether the run has ended, so that saving will not be tried again.
        """
        try:
            self.save(arrays)
        except OSError as error:
            if last:
                _log.warning("the checkpoint is not of the end of the run, but older: %s", error)
            elif not self._failing:
                _log.warning("no checkpoint for now, the run goes on and tries again: %s", error)
            self._failing = True

    def check_run(self, saved: Saved, without: Collection[str] = ()) -> None:
        """Raise ValueError if what a file holds is of another run, in other facts than these."""
        if differs := first_difference(saved.run, self._run, without):
            raise ValueError(
                f"checkpoint {os.fspath(self._path)} belongs to another run ({differs}): choose "
                "another file, or delete it"
            )

    def load(self, like: Mapping[str, Array]) -> dict[str, Array] | None:
        """Read the file and check it, or return None if there is none.

        Raises
        ------
        OSError
            If it cannot be read.
        ValueError
            If it is damaged or belongs to another run.
        """
        saved = read(Place(self._path, self._every))
        if saved is None:
            return None
        self.check_run(saved)
        with saved.reading():
            check_arrays(saved.arrays, like, self._growing)
        return saved.arrays
