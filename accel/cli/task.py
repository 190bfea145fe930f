"""The data that a command is given, as a problem to solve."""

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
        X, y = opened.dataset.X, opened.dataset.y
        self.target_names = opened.dataset.target_names
        self._named = self.target_names != names_of("y", y)
        if self.standardized:
            scaled = standardize_checked(X, y)  # they were checked as they were read
            X, y = scaled.X, y if loss.classifies else scaled.y
        self.problem = (
            LpProblem(X, y, loss.p, scale=loss.scale, dtype=dtype)
            if isinstance(loss, Lp)
            else Problem(X, y, loss, dtype=dtype)
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
        """The part of the names of output files that tells the data and p."""
        loss = self.problem.loss_function
        return f"{self.name}-p{loss.p:g}" if isinstance(loss, Lp) else f"{self.name}-{loss.name}"

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
