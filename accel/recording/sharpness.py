"""The largest eigenvalues of the Hessian, in the factors and in the end-to-end matrix."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from accel._core.curvature import end_to_end_hessian, factor_hessian, largest_eigenvalues
from accel._core.matrix_problems import here
from accel._support import validation
from accel.recording.quantity import Model, Moment, Output, Quantity

__all__ = ["EndToEndSharpness", "Sharpness"]

_PASSES = 30  # over the data, at most, for one record
_TOL = 1e-6


@dataclass(frozen=True)
class _LargestEigenvalues(Quantity):
    """What both share: how many eigenvalues, from how many passes at most."""

    top: int = 1
    passes: int | None = None
    cost = f"up to {_PASSES} passes for each over the data and through the chain of factors"

    def __post_init__(self) -> None:
        object.__setattr__(self, "top", validation.integer("top", self.top, least=1))
        if self.passes is not None:
            least = self.top + 1
            object.__setattr__(
                self, "passes", validation.integer("passes", self.passes, least=least)
            )

    @property
    def most(self) -> int:
        """The passes over the data that a record may take."""
        return _PASSES * self.top if self.passes is None else self.passes

    def check(self, model: Model) -> None:
        """Refuse problems whose data are elsewhere."""
        here(model.problem)

    def _shape(self, size: int) -> dict[str, Output]:
        top = min(self.top, size)
        return {self.name: Output() if self.top == 1 else Output((top,))}

    def _values(self, values: Any) -> dict[str, Any]:
        return {self.name: values[0] if self.top == 1 else values}


@dataclass(frozen=True)
class Sharpness(_LargestEigenvalues):
    r"""The sharpness: the largest eigenvalues of the Hessian of the network's loss in its factors.

    Gradient descent with rate :math:`\eta` is stable where it is below :math:`2 / \eta`, tends to
    grow up to there and then stays: Cohen, Kaur, Li, Kolter, Talwalkar (2021), arXiv 2103.00065.
    By Lanczos's method with exact products with the Hessian, from a start that depends on nothing
    but the iterate: from below, to 1e-6 of the largest absolute value of an eigenvalue, or as good
    as ``passes`` allow.

    Parameters
    ----------
    top : int
        How many eigenvalues. Of more than one a vector (top,), descending, is recorded.
    passes : int, optional
        Over the data, at most, for one record; at least ``top + 1``. By default 30 for each of the
        eigenvalues, which for networks of ten thousand weights and more may leave 1e-4 or so.
    """

    def outputs(self, model: Model) -> dict[str, Output]:
        """A number, or a vector."""
        return self._shape(model.network.n_params)

    def measure(self, moment: Moment) -> dict[str, Any]:
        """Return the largest eigenvalues."""
        params = moment.params.astype(np.float64)
        gradient, product = factor_hessian(moment.oracle, params, moment.structure, moment.kernels)
        start = np.random.default_rng(0).standard_normal(params.size)
        if 0 < (size := np.linalg.norm(gradient)) < np.inf:  # it tends to turn to the sharpest one
            start += gradient * (np.linalg.norm(start) / size)
        top = min(self.top, params.size)
        return self._values(largest_eigenvalues(product, start, top, _TOL, self.most - 1)[0])


@dataclass(frozen=True)
class EndToEndSharpness(_LargestEigenvalues):
    r"""The largest eigenvalues of the Hessian of the loss L in the end-to-end matrix.

    For p = 2 it is :math:`2 f / n` times the largest eigenvalue of X'X all along. Else as
    ``Sharpness``.

    Parameters
    ----------
    top, passes : int
        As for ``Sharpness``.
    """

    cost = f"up to {_PASSES} passes over the data for each"

    def outputs(self, model: Model) -> dict[str, Output]:
        """A number, or a vector."""
        return self._shape(model.problem.d * model.problem.k)

    def measure(self, moment: Moment) -> dict[str, Any]:
        """Return the largest eigenvalues."""
        W = moment.end_to_end
        product = end_to_end_hessian(moment.oracle, W)
        start = np.random.default_rng(0).standard_normal(W.size)
        top = min(self.top, W.size)
        return self._values(largest_eigenvalues(product, start, top, _TOL, self.most)[0])
