"""Losses on other data, distances from a known matrix, the iterates themselves, and functions."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from accel._core.base import BaseProblem
from accel._core.checks import as_map
from accel._core.matrix_problems import MatrixProblem
from accel._core.network import Network
from accel._core.oracle import Oracle
from accel._core.problem import Problem
from accel._support import showing, validation
from accel._support.arrays import Array
from accel.recording.quantity import Model, Moment, Output, Quantity, size_of

__all__ = ["DistanceTo", "Function", "LossOn", "RecoveryError", "Snapshots"]


def _label(label: object) -> str:
    if not isinstance(label, str):
        raise TypeError(f"label must be a text, got {validation.shown(label)}")
    if not label or not label.isprintable():
        raise ValueError(f"label must be a printable text, got {validation.shown(label)}")
    return label


@dataclass(frozen=True)
class LossOn(Quantity):
    """The loss of the end-to-end matrix on another problem, such as held-out data.

    Parameters
    ----------
    problem : Problem, or a matrix problem such as MatrixCompletion
        Of as many features and outputs as the one that is trained on; its p, scale and dtype may
        be others.
    label : str
        The name in the history.
    """

    problem: BaseProblem
    label: str = "validation_loss"
    cost = "a pass over the other data"
    _oracle: Oracle = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.problem, Problem | MatrixProblem):
            raise TypeError(
                f"validation must be of type Problem, got {validation.shown(self.problem)}"
            )
        _label(self.label)
        object.__setattr__(self, "_oracle", Oracle(self.problem))

    @property
    def name(self) -> str:
        """The label."""
        return self.label

    @property
    def parts(self) -> tuple[Any, ...]:
        """The problem, with its data."""
        return (self.problem, *self.problem.fingerprint)

    def check(self, model: Model) -> None:
        """Compare the shapes."""
        theirs, own = ((p.d, p.k) for p in (model.problem, self.problem))
        if theirs != own:
            raise ValueError(
                f"validation must have d = {theirs[0]} features and k = {theirs[1]} outputs, "
                f"got d = {own[0]} and k = {own[1]}"
            )

    def outputs(self, model: Model) -> dict[str, Output]:
        """A number."""
        return {self.name: Output()}

    def measure(self, moment: Moment) -> dict[str, Any]:
        """Return the loss."""
        return {self.name: self._oracle.loss_and_gradient(moment.end_to_end)[0]}


@dataclass(frozen=True, eq=False)
class DistanceTo(Quantity):
    """The Frobenius norm of the difference between the end-to-end matrix and a known one.

    Parameters
    ----------
    W : (k, d) array_like, or (d,) for k = 1, or network
        Such as the matrix that data were made from; that of a network.
    label : str
        The name in the history.
    """

    W: Any
    label: str = "distance"
    cost = "a subtraction of k x d matrices"

    def __post_init__(self) -> None:
        given = validation.numeric("W", as_map(self.W), ndim=(1, 2))
        W = np.array(given, np.float64)
        validation.all_finite("W", W, given)
        W = np.atleast_2d(W)
        W.flags.writeable = False
        object.__setattr__(self, "W", W)
        _label(self.label)

    def __repr__(self) -> str:
        return showing.line(self, W=self.W.shape, label=repr(self.label))

    @property
    def name(self) -> str:
        """The label."""
        return self.label

    @property
    def parts(self) -> tuple[Any, ...]:
        """The matrix."""
        return (self.W,)

    def check(self, model: Model) -> None:
        """Compare the shapes."""
        shape = model.problem.k, model.problem.d
        if self.W.shape != shape:
            kind = type(self).__name__
            raise ValueError(f"W of {kind} must have shape {shape}, got {self.W.shape}")

    def outputs(self, model: Model) -> dict[str, Output]:
        """A number."""
        return {self.name: Output()}

    def measure(self, moment: Moment) -> dict[str, Any]:
        """Return the norm."""
        return {self.name: size_of(moment.end_to_end - self.W)}


@dataclass(frozen=True, eq=False, repr=False)
class RecoveryError(DistanceTo):
    r"""How far the end-to-end matrix is from the one to be recovered, relative to that one's norm.

    :math:`\|W_e - W\|_F / \|W\|_F`, of a matrix that a completion or measurements were made from.

    Parameters
    ----------
    W : (k, d) array_like, or (d,) for k = 1, or network
        Not 0.
    label : str
        The name in the history.
    """

    label: str = "recovery_error"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.W.any():
            raise ValueError("W of RecoveryError must not be 0")

    def measure(self, moment: Moment) -> dict[str, Any]:
        """Return the ratio."""
        return {self.name: size_of(moment.end_to_end - self.W) / size_of(self.W)}


@dataclass(frozen=True)
class Snapshots(Quantity):
    """The end-to-end matrix itself, (k, d), or all factors: ``snapshots_W1`` and so on.

    They are in the dtype of the network, and take the memory of so many matrices.

    Parameters
    ----------
    factors : bool
        Whether to keep the factors in place of their product.
    """

    factors: bool = False
    cost = "a copy; memory for as many matrices as there are records"

    def __post_init__(self) -> None:
        validation.flag("factors", self.factors)

    def outputs(self, model: Model) -> dict[str, Output]:
        """A matrix, or several."""
        dtype = model.network.dtype
        if not self.factors:
            return {self.name: Output((model.problem.k, model.problem.d), dtype)}
        return {
            f"{self.name}_W{j}": Output(W.shape, dtype)
            for j, W in enumerate(model.network.factors, 1)
        }

    def measure(self, moment: Moment) -> dict[str, Any]:
        """Return a matrix, or several."""
        if not self.factors:
            return {self.name: moment.end_to_end}
        return {f"{self.name}_W{j}": W for j, W in enumerate(moment.factors, 1)}


@dataclass(frozen=True)
class Function(Quantity):
    """What a function of yours returns, called as ``function(step, network)``.

    Parameters
    ----------
    function : callable
        Given the number of updates made and the network, a copy. It returns a number or an array,
        of the same shape every time. It is called between two chunks of steps, in the thread that
        makes them; what it raises ends the run and is passed on. A checkpoint knows it by its label
        only.
    label : str, optional
        The name in the history; by default the function's own.
    """

    function: Callable[[int, Network], Any]
    label: str = ""
    cost = "that of the function"

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise TypeError(f"function must be callable, got {validation.shown(self.function)}")
        own = getattr(self.function, "__name__", type(self.function).__name__)
        object.__setattr__(self, "label", _label(self.label or own.strip("<>")))

    def __repr__(self) -> str:  # the function's own has its address, another one in each process
        return f"Function({self.label})"

    @property
    def name(self) -> str:
        """The label."""
        return self.label

    def outputs(self, model: Model) -> dict[str, Output]:
        """Nothing that is known before the first call."""
        return {}

    def measure(self, moment: Moment) -> dict[str, Any]:
        """Return what the function does, as an array of numbers."""
        returned = self.function(moment.step, moment.network)
        try:
            value: Array = np.asarray(returned)
            right = value.dtype.kind in "biuf" and value.size > 0
        except Exception:  # ragged, or of a library that does not convert
            right = False
        if not right:
            raise TypeError(
                f"{self.label}, which is recorded, must return a number or an array of numbers, "
                f"got {validation.shown(returned)}"
            )
        return {self.name: value}
