"""The data that a command is given, as a problem to solve."""

from dataclasses import asdict
from hashlib import file_digest, sha256
from typing import Any

from accel._core.problem import LpProblem, Problem
from accel._core.standardize import standardize_checked
from accel._optimum.optimum import losses_at_zero
from accel._support import validation
from accel.cli.catalogue import Reading, open_data
from accel.datasets.columns import names_of
from accel.losses import Loss, Lp, by_name

__all__ = ["Task", "loss_of"]

_P = 4.0  # where nothing else is asked for
_SHOWN = 3  # targets whose names are told


def loss_of(p: float | None, name: str | None) -> Loss:
    """Return the loss of the options ``--p`` and ``--loss``."""
    if name is None:
        return Lp(_P if p is None else p)
    if p is not None:
        raise ValueError("--p must be left out where --loss is given")
    return by_name(name)


class Task:
    """The data of a command, loaded, standardised if asked for, and made a problem."""

    def __init__(
        self,
        data: str,
        loss: Loss,
        reading: Reading | None,
        standardized: bool | None,
        dtype: str | None,
    ) -> None:
        opened = open_data(data, reading)
        self.path, self.name = opened.path, opened.dataset.name
        self.standardized = opened.standardize if standardized is None else standardized
        given: Any = opened.dataset
        self.target_names = given.target_names
        self._named = self.target_names != names_of("y", given.y)
        if self.standardized:
            given = standardize_checked(  # they were checked as they were read
                given.X, given.y,
                names=given.feature_names, targets=given.target_names, source=given.name,
            )  # fmt: skip
        y = opened.dataset.y if loss.classifies else None  # labels stay as they are
        self.problem = (
            LpProblem(given, y, loss.p, scale=loss.scale, dtype=dtype)
            if isinstance(loss, Lp)
            else Problem(given, y, loss, dtype=dtype)
        )
        if isinstance(loss, Lp):
            losses_at_zero(self.problem)  # raises here what ``optimum`` would after some output

    def __str__(self) -> str:
        problem = self.problem
        to = str(problem.k) if problem.k > 1 else ""
        if self._named and problem.k <= _SHOWN:
            *some, last = map(validation.cut, self.target_names)
            to = " and ".join(filter(None, [validation.listed(some), validation.listed([last])]))
        size = f"{problem.n} x {problem.d}" + (f" to {to}" if to else "")
        scaled = ", standardised" if self.standardized else ""
        return f"{self.name} ({size}{scaled}), {self._loss}"

    @property
    def stem(self) -> str:
        """The part of the names of output files that tells the data and the loss."""
        loss = self.problem.loss_function
        if isinstance(loss, Lp):
            return f"{self.name}-p{loss.p:g}"
        constants = (f"{value:g}" for value in asdict(loss).values() if value is not None)
        return f"{self.name}-{loss.name}{'-'.join(constants)}"

    def told(self) -> str:
        """What the data are, for a file of what was fitted to them: name, size and a hash.

        The hash is that of the file, or else of X and Y.
        """
        problem, name = self.problem, self.name
        if self.path is None:
            digest = sha256(problem.host.X.data)
            digest.update(problem.host.Y.data)
        else:
            name = self.path.name
            with self.path.open("rb") as file:
                digest = file_digest(file, "sha256")
        return f"{name}, {problem.n} x {problem.d}, sha256 {digest.hexdigest()[:16]}"

    @property
    def _loss(self) -> str:
        loss = self.problem.loss_function
        return f"p = {loss.p:g}" if isinstance(loss, Lp) else f"loss {loss!r}"

    def described(self) -> dict[str, Any]:
        """Its description for ``--json``."""
        problem, loss = self.problem, self.problem.loss_function
        return {
            "data": self.name,
            "n": problem.n,
            "d": problem.d,
            "k": problem.k,
            "target_names": list(self.target_names),
            "standardized": self.standardized,
            **({"p": problem.p} if isinstance(loss, Lp) else {"loss": repr(loss)}),
            "dtype": str(problem.dtype),
        }
