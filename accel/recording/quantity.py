"""What a run can record of its iterates: a quantity, and the moment that it is measured at."""

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np

from accel._core.base import BaseProblem
from accel._core.network import Network
from accel._core.optimizers import Optimizer
from accel._core.oracle import Oracle
from accel._support import showing
from accel._support.arrays import Array
from accel._support.backends import Backend
from accel.kernels.reference.entrywise import end_to_end, vectors_of
from accel.kernels.reference.factor_chain import factors_of
from accel.kernels.reference.norms import norm
from accel.kernels.specs import Entrywise

__all__ = ["Model", "Moment", "Output", "Quantity"]


class Output(NamedTuple):
    """The shape and the dtype of what a quantity yields at every recorded step."""

    shape: tuple[int, ...] = ()
    dtype: Any = np.dtype(np.float64)


class Model(NamedTuple):
    """A model of a run, as quantities see it before the run begins.

    Attributes
    ----------
    problem : BaseProblem
    network : LinearNetwork or DiagonalNetwork
        The start.
    optimizer : Optimizer
    """

    problem: BaseProblem
    network: Network
    optimizer: Optimizer

    @property
    def rank(self) -> int:
        """How many singular values the end-to-end matrix has."""
        return min(self.problem.d, self.problem.k)


class Moment:
    """An iterate of a model. What several quantities need of it is computed once, if at all.

    Attributes
    ----------
    step : int
        Updates made before it.
    params : (n_params,) array
        The factors in one piece; finite.
    optimizer : Optimizer
        With the learning rate of the step to come, and all else that is scheduled as it is then.
    oracle : Oracle
        Of the problem.
    kernels : Backend
    """

    def __init__(
        self,
        step: int,
        start: Network,
        params: Array,
        optimizer: Optimizer,
        oracle: Oracle,
        kernels: Backend,
    ) -> None:
        self.step, self.params, self.optimizer = step, params, optimizer
        self.oracle, self.kernels = oracle, kernels
        self.structure, self._start = start.structure, start

    def __repr__(self) -> str:
        return showing.line(self, step=self.step, network=self._start, optimizer=self.optimizer)

    @cached_property
    def network(self) -> Network:
        """The network, with a copy of the factors."""
        return self._start.with_params(self.params)

    @cached_property
    def factors(self) -> list[Array]:
        """``[W_1, ..., W_N]``, or the vectors of a diagonal network, in float64."""
        params = self.params.astype(np.float64, copy=False)
        if isinstance(self.structure, Entrywise):
            return vectors_of(params, self.structure)
        return factors_of(params, self.structure)

    @cached_property
    def suffixes(self) -> list[Array]:
        """Products of the matrices from each on: ``W_N ... W_1``, ``W_N ... W_2``, to ``W_N``."""
        products = [self.factors[-1]]
        for W in reversed(self.factors[:-1]):
            products.append(products[-1] @ W)
        return products[::-1]

    @cached_property
    def end_to_end(self) -> Array:
        """``W_N ... W_1``, or what a diagonal network makes, (k, d), in float64."""
        if isinstance(self.structure, Entrywise):
            return end_to_end(self.params.astype(np.float64, copy=False), self.structure)
        return self.suffixes[0]

    @cached_property
    def singular_values(self) -> Array:
        """Those of the end-to-end matrix, descending; NaN where it is not finite."""
        return singular_values(self.end_to_end)

    @cached_property
    def gradient(self) -> Array:
        """That of the loss in the end-to-end matrix, (k, d)."""
        return self.oracle.loss_and_gradient(self.end_to_end)[1]


def needs_matrices(model: Model, what: str) -> None:
    """Raise a ValueError if the factors of a model are vectors, entry by entry."""
    if isinstance(model.network.structure, Entrywise):
        raise ValueError(
            f"record {what!r} needs factors that are matrices, and a DiagonalNetwork has vectors"
        )


def size_of(A: Array) -> float:
    """The Frobenius norm; two passes only where squares may overflow or vanish."""
    squares = float(np.vdot(A, A))
    return math.sqrt(squares) if 1e-290 < squares < 1e290 else norm(A)


def singular_values(W: Array) -> Array:
    """Singular values, descending; NaN where the matrix is not finite."""
    if not np.isfinite(W).all():
        return np.full(min(W.shape), np.nan)
    values: Array = np.linalg.svd(W, compute_uv=False)
    return values


@dataclass(frozen=True)
class Quantity(ABC):
    """What ``train`` and ``sweep`` can record at every step of the history.

    Quantities are small values: a name and constants. A class of your own needs ``name``, ``cost``,
    ``outputs`` and ``measure``; a plain function ``f(step, network)`` does for most purposes.

    Attributes
    ----------
    cost : str
        What one record costs, in terms of the network and of passes over the data.
    """

    cost: ClassVar[str]

    @property
    def name(self) -> str:
        """The name of what is recorded, in the history: by default that of the class."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()

    @property
    def parts(self) -> tuple[Any, ...]:
        """What tells the quantity from others: arrays, and values by their ``repr``."""
        return (self,)

    def check(self, model: Model) -> None:  # noqa: B027 - most need no more than any network
        """Raise a ValueError or TypeError if the quantity is not to be had of such a model."""

    @abstractmethod
    def outputs(self, model: Model) -> dict[str, Output]:
        """Return what ``measure`` will return: an output for each name."""

    @abstractmethod
    def measure(self, moment: Moment) -> dict[str, Any]:
        """Return a number or an array for each name. The factors of the network are finite."""
