"""Singular values of the end-to-end matrix and of its factors; the ranks and norms they make."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from accel._support import validation
from accel._support.arrays import Array
from accel.recording.quantity import (
    Model,
    Moment,
    Output,
    Quantity,
    needs_matrices,
    singular_values,
)

__all__ = ["EffectiveRank", "NuclearNorm", "Schatten", "SingularValues", "StableRank"]

_SVD = "the singular values of a k x d matrix, once for all quantities that need them"


def _ratios(values: Array) -> Array:
    """Singular values over the largest; zeros if that is 0."""
    largest = values[0]
    return values / largest if largest else values


@dataclass(frozen=True)
class SingularValues(Quantity):
    r"""The singular values :math:`\sigma_1 \ge \sigma_2 \ge \dots` of the end-to-end matrix.

    From a small start they are learned one after the other: Saxe, McClelland, Ganguli (2014), arXiv
    1312.6120; Gidel, Bach, Lacoste-Julien (2019), arXiv 1904.13262.

    Parameters
    ----------
    top : int, optional
        How many of the largest; all by default. A matrix that has fewer yields all.
    factors : bool
        Whether to record those of every factor, too: ``singular_values_W1`` and so on.
    """

    top: int | None = None
    factors: bool = False
    cost = f"{_SVD}; with factors also those of each factor"

    def __post_init__(self) -> None:
        if self.top is not None:
            object.__setattr__(self, "top", validation.integer("top", self.top, least=1))
        validation.flag("factors", self.factors)

    def check(self, model: Model) -> None:
        """Refuse the singular values of factors that are vectors."""
        if self.factors:
            needs_matrices(model, f"{self.name}(factors=True)")

    def outputs(self, model: Model) -> dict[str, Output]:
        """Vectors (r,), float64."""
        counts = {self.name: model.rank}
        if self.factors:
            for j, W in enumerate(model.network.factors, 1):
                counts[f"{self.name}_W{j}"] = min(W.shape)
        most = max(counts.values()) if self.top is None else self.top
        return {name: Output((min(count, most),)) for name, count in counts.items()}

    def measure(self, moment: Moment) -> dict[str, Any]:
        """Return singular values, descending."""
        values = {self.name: moment.singular_values}
        if self.factors:
            for j, W in enumerate(moment.factors, 1):
                values[f"{self.name}_W{j}"] = singular_values(W)
        return {name: sigma[: self.top] for name, sigma in values.items()}


@dataclass(frozen=True)
class _OfSpectrum(Quantity):
    """What numbers made of the singular values share."""

    cost = _SVD

    def outputs(self, model: Model) -> dict[str, Output]:
        """A number."""
        return {self.name: Output()}


@dataclass(frozen=True)
class EffectiveRank(_OfSpectrum):
    r"""The effective rank: :math:`\exp(-\sum_i \rho_i \log \rho_i)`, the entropy's exponential.

    With :math:`\rho_i = \sigma_i / \sum_j \sigma_j`; 0 for W = 0. Roy, Vetterli (2007), "The
    effective rank", EUSIPCO; for deep linear networks Arora, Cohen, Hu, Luo (2019), arXiv
    1905.13655.
    """

    def measure(self, moment: Moment) -> dict[str, Any]:
        """Return a number from 1 to min(d, k), or 0."""
        values = _ratios(moment.singular_values)
        total = values.sum()
        if total == 0:
            return {self.name: 0.0}
        shares = values[values > 0] / total if total > 0 else values  # NaN stays NaN
        return {self.name: np.exp(-np.sum(shares * np.log(shares)))}


@dataclass(frozen=True)
class StableRank(_OfSpectrum):
    r"""The stable rank: :math:`\|W_e\|_F^2 / \|W_e\|_2^2`; 0 for W = 0.

    Rudelson, Vershynin (2007), "Sampling from large matrices", J. ACM 54.
    """

    def measure(self, moment: Moment) -> dict[str, Any]:
        """Return a number from 1 to the rank, or 0."""
        return {self.name: np.sum(_ratios(moment.singular_values) ** 2)}


@dataclass(frozen=True)
class NuclearNorm(_OfSpectrum):
    r"""The nuclear norm :math:`\sum_i \sigma_i`.

    What matrix factorization was conjectured to minimise: Gunasekar et al. (2017), arXiv
    1705.09280; but see Arora, Cohen, Hu, Luo (2019), arXiv 1905.13655.
    """

    def measure(self, moment: Moment) -> dict[str, Any]:
        """Return the sum of the singular values."""
        return {self.name: moment.singular_values.sum()}


@dataclass(frozen=True)
class Schatten(_OfSpectrum):
    r"""The Schatten norm :math:`(\sum_i \sigma_i^q)^{1/q}`, a quasi-norm for q < 1.

    Singular values that are 0 but for rounding count for q < 1: 1e-16 to the power 1/2 is 1e-8.
    q = 2/N is what weight decay of N factors penalises, to the power q: Shang, Liu, Cheng (2016),
    arXiv 1606.01245; Dai, Karzand, Srebro (2021), NeurIPS, "Representation costs of linear neural
    networks".

    Parameters
    ----------
    q : float
        Above 0.
    """

    q: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "q", validation.real("q", self.q, above=0))

    @property
    def name(self) -> str:
        """``schatten(q)``, so that several can be recorded."""
        return f"schatten({self.q:g})"

    def measure(self, moment: Moment) -> dict[str, Any]:
        """Return the norm."""
        values = moment.singular_values
        return {self.name: values[0] * np.sum(_ratios(values) ** self.q) ** (1 / self.q)}
