"""The data that a command is given, as a problem to solve."""

from typing import Any

from accel._core.problem import LpProblem
from accel._core.standardize import standardize_checked
from accel._optimum.optimum import losses_at_zero
from accel.cli.catalogue import open_data

__all__ = ["Task"]


class Task:
    """The data of a command, loaded, standardised if asked for, and made a problem."""

    def __init__(
        self,
        data: str,
        p: float,
        column: str | None,
        standardized: bool | None,
        dtype: str | None,
    ) -> None:
        opened = open_data(data, column)
        self.path, self.name = opened.path, opened.dataset.name
        self.standardized = opened.standardize if standardized is None else standardized
        X, y = opened.dataset.X, opened.dataset.y
        if self.standardized:
            scaled = standardize_checked(X, y)  # they were checked as they were read
            X, y = scaled.X, scaled.y
        self.problem = LpProblem(X, y, p=p, dtype=dtype)
        losses_at_zero(self.problem)  # raises here what ``optimum`` would raise after some output

    def __str__(self) -> str:
        problem = self.problem
        size = f"{problem.n} x {problem.d}" + (f" to {problem.k}" if problem.k > 1 else "")
        scaled = ", standardised" if self.standardized else ""
        return f"{self.name} ({size}{scaled}), p = {problem.p:g}"

    @property
    def stem(self) -> str:
        """The part of the names of output files that tells the data and p."""
        return f"{self.name}-p{self.problem.p:g}"

    def described(self) -> dict[str, Any]:
        """Its description for ``--json``."""
        problem = self.problem
        return {
            "data": self.name,
            "n": problem.n,
            "d": problem.d,
            "k": problem.k,
            "standardized": self.standardized,
            "p": problem.p,
            "dtype": str(problem.dtype),
        }
