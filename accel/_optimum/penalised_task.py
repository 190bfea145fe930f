r"""What is minimised with penalties, the gap that slopes prove, and the system of a step.

.. math:: \sum_i \frac{|r_i|^p}{p} + \sum_j \lambda_j |c_j| + \frac{\kappa_j}{2} c_j^2, \qquad
    r = A c + b o - y,

with ``c >= 0`` if asked for.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from accel._optimum.certificate import gap_terms, weighted
from accel._optimum.newton import ridged, slopes
from accel._optimum.penalty import Penalty
from accel._support.arrays import Array

__all__ = ["INSIDE", "Point", "System", "Task", "gap_of", "proven_slopes"]

_MANY = 1500  # unknowns from which systems of n are solved in the place of larger ones
INSIDE = 1e-13  # what slopes are moved inside by where 0 is the boundary


@dataclass(frozen=True, eq=False)
class Task:
    """The problem of one output, in units in which columns of A and targets are of size 1.

    Attributes
    ----------
    A : (n, d) array
    ones : (n,) array or None
        The column of the intercept.
    y : (n,) array
    p : float
    penalty : Penalty
    dependent : bool
        Whether columns may make up for each other while nothing but 0 bounds coefficients. Then a
        square of tau times each is added to the barrier, or its minimum might be at infinity.
    """

    A: Array
    ones: Array | None
    y: Array
    p: float
    penalty: Penalty
    dependent: bool = False

    def residual(self, c: Array, b: float) -> Array:
        """Return ``A c + b o - y``."""
        r: Array = self.A @ c - self.y
        return r if self.ones is None else r + b * self.ones

    def value(self, c: Array, r: Array) -> float:
        """What is minimised."""
        return float(np.sum(np.abs(r) ** self.p)) / self.p + self.penalty.value(c)


class Point(NamedTuple):
    """A point, and slopes that prove how good it is.

    Attributes
    ----------
    c, b : (d,) array, float
    r, v : (n,) array
    gap, value : float
        What is proved, rounding errors aside, and what is minimised.
    steps : int
        Systems that were solved.
    """

    c: Array
    b: float
    r: Array
    v: Array
    gap: float
    value: float
    steps: int = 0


def proven_slopes(task: Task, v: Array, weights: Array, slack: float = 0.0) -> Array | None:
    """Move slopes into what the conjugates allow, up to slack; None where that cannot be done."""
    p, penalty = task.p, task.penalty
    if task.ones is not None:
        o = task.ones
        spread = float(weights @ o**2)
        if spread > 0:
            v = v - weights * o * (float(o @ v) / spread)
    top = float(np.abs(v).max(initial=0.0))
    if not math.isfinite(top):
        return None
    if p == 1 and top > 1:
        v = v / top
    t = -(task.A.T @ v)
    v = v * penalty.shrinking(t)
    if (
        not penalty.strong
        and not penalty.absolute
        and t.max(initial=0.0) > max(INSIDE * len(v), slack)
    ):
        return None
    return v


def gap_of(task: Task, c: Array, r: Array, v: Array) -> float:
    terms = gap_terms(r, v - slopes(r, task.p, 0.0), task.p)
    return float(np.sum(terms)) / task.p + float(np.sum(task.penalty.terms(c, -(task.A.T @ v))))


class System:
    """The second derivatives at a point, ``[A, o]' diag(weights) [A, o]`` and a diagonal."""

    def __init__(self, task: Task, weights: Array, diagonal: Array) -> None:
        self._A, self._o, self._w, self._D = task.A, task.ones, weights, diagonal
        n, d = task.A.shape
        self._many = d > max(n, _MANY) and bool((diagonal > 0).all())
        with np.errstate(all="ignore"):
            if self._many:
                self._scale = np.sqrt(weights)[:, np.newaxis] * task.A
                H = np.eye(n) + (self._scale / diagonal) @ self._scale.T
            else:
                H = weighted(task.A, weights) + np.diag(diagonal)
                if task.ones is not None:
                    cross = task.A.T @ (weights * task.ones)
                    corner = float(weights @ task.ones**2)
                    H = np.block([[H, cross[:, np.newaxis]], [cross, np.array([[corner]])]])
            size = np.sqrt(np.diag(H))
            size[~(size > 0)] = 1.0
            self._size = size
            self._H = ridged(H / size / size[:, np.newaxis], float(len(H)))

    @property
    def sound(self) -> bool:
        """Whether it can be solved."""
        return self._H is not None

    def _solve(self, a: Array) -> Array:
        assert self._H is not None
        solved: Array = np.linalg.solve(self._H, a / self._size) / self._size
        return solved

    def _by_rows(self, a: Array) -> Array:
        """Solve the part without the intercept by the Woodbury formula, refined once."""
        x = np.zeros_like(a)
        for _ in range(2):
            left = a - self._A.T @ (self._w * (self._A @ x)) - self._D * x
            first = left / self._D
            x = x + first - (self._scale.T @ self._solve(self._scale @ first)) / self._D
        return x

    def solve(self, a: Array, last: float) -> tuple[Array, float]:
        """Return the coefficients (d,) and the intercept that the system maps to a and last."""
        if not self._many:
            x = self._solve(a if self._o is None else np.append(a, last))
            return (x, 0.0) if self._o is None else (x[:-1], float(x[-1]))
        x = self._by_rows(a)
        if self._o is None:
            return x, 0.0
        cross = self._A.T @ (self._w * self._o)
        other = self._by_rows(cross)
        corner = float(self._w @ self._o**2) - float(cross @ other)
        b = (last - float(cross @ x)) / corner if corner > 0 else 0.0
        return x - b * other, b
