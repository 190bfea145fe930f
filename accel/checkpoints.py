"""Checkpoints: a run's progress in one file, to go on from after an interruption."""

import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from accel import archives
from accel.network import LinearNetwork
from accel.optimizers import Optimizer
from accel.problem import LpProblem
from accel.validation import Array

_FORMAT = 1
_INTERVAL = 30.0  # seconds


class Checkpoint:
    """The file of one run, told apart from others by a digest of all that decides its numbers.

    The number of threads is not among that: a run may go on with another one, though not to the
    same bits.
    """

    def __init__(self, path: Path, digest: str) -> None:
        self._path, self._digest = path, digest
        self._last = time.monotonic()

    @classmethod
    def of(
        cls,
        path: Path | None,
        problem: LpProblem,
        models: Sequence[tuple[LinearNetwork, Optimizer]],
        limits: Any,
        backend: str,
    ) -> "Checkpoint | None":
        """Return the checkpoint at a path; None without one."""
        if path is None:
            return None
        digest = hashlib.sha256()
        for array in (*problem.fingerprint, *(network.params for network, _ in models)):
            digest.update(repr((array.shape, array.dtype.str)).encode())
            digest.update(np.ascontiguousarray(array).data)
        rules = [(network.widths, optimizer) for network, optimizer in models]
        digest.update(repr((problem.spec, rules, limits, backend)).encode())
        return cls(path, digest.hexdigest())

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() - self._last >= _INTERVAL

    def save(self, arrays: dict[str, Array]) -> None:
        """Replace the file."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        archives.write(self._path, {"format": _FORMAT, "run": self._digest}, arrays)
        self._last = time.monotonic()

    def load(self, like: dict[str, Array]) -> dict[str, Array] | None:
        """Read the file, if it is there; its arrays must be of the kinds of ``like``.

        Raises
        ------
        OSError
            If it cannot be read.
        ValueError
            If it is damaged or belongs to another run.
        """
        name = os.fspath(self._path)
        try:
            described, arrays = archives.read(self._path)
            if described["format"] != _FORMAT:
                raise ValueError(f"format {described['format']!r} is unknown to this version")
            kinds = {key: (array.dtype, array.ndim) for key, array in like.items()}
            if {key: (array.dtype, array.ndim) for key, array in arrays.items()} != kinds:
                raise ValueError("its arrays are not those of a run")
        except FileNotFoundError:
            return None
        except archives.DAMAGE as error:
            raise ValueError(
                f"checkpoint {name} is none that accel saved: {archives.reason(error)}"
            ) from error
        sizes = ("loop_params", "loop_state", "codes")
        if described["run"] != self._digest or any(
            arrays[key].shape != like[key].shape for key in sizes
        ):
            raise ValueError(
                f"checkpoint {name} belongs to another run (other data, models, steps or records, "
                "or another kind of processor): choose another file, or delete it"
            )
        return arrays
