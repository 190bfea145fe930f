"""The data of a problem in a basis of their own; the mathematics is in kernels/reference."""

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np

from accel._support.arrays import LARGE, Array, aligned
from accel.kernels.reference import rotation

__all__ = ["EXPORTED", "Rotated"]

#: The names of what ``Rotated.export`` may return.
EXPORTED = ("basis", "coordinates", "targets", "rest")

_log = logging.getLogger("accel")


class Rotated(NamedTuple):
    """X and Y as rotated factors meet them.

    Attributes
    ----------
    method : {"spectral", "rowspace"}
    basis : (d, q) float64 array
        Orthonormal columns that span the row space of X.
    X : (q,) or (n, q) array
        Singular values, or coordinates of the rows in the basis; of the problem's dtype.
    Y : (q, k) or (n, k) array
        What is regressed on them.
    rest : float
        Squares of Y that no map reaches, which the spectral method counts apart.
    """

    method: str
    basis: Array
    X: Array
    Y: Array
    rest: float

    @classmethod
    def spectral(cls, X: Array, Y: Array) -> Self:
        """The data (n, d) and (n, k) in the basis of the singular vectors of X."""
        basis, s, Z, rest = rotation.spectral(X, Y)
        return cls("spectral", basis, s.astype(X.dtype), aligned(Z, X.dtype), rest)

    @classmethod
    def row_space(cls, X: Array, Y: Array) -> Self:
        """The data in a basis of the row space of X."""
        basis, coordinates = rotation.row_space(X)
        if basis.nbytes > LARGE:
            _log.info(
                "X in its row space: a basis %s (%.0f MiB) is kept with the problem",
                basis.shape, basis.nbytes / 2**20,
            )  # fmt: skip
        return cls("rowspace", basis, aligned(coordinates, X.dtype), Y, 0.0)

    def export(self) -> dict[str, Array]:
        """Return all of it but the targets of the method "rowspace", which are the problem's."""
        arrays = {"basis": self.basis, "coordinates": self.X}
        if self.method == "spectral":
            arrays |= {"targets": self.Y, "rest": np.array(self.rest)}
        return arrays

    @classmethod
    def of(cls, method: str, arrays: Mapping[str, Array], X: Array, Y: Array) -> Self:
        """Return what ``export`` was called on, for the data X and Y of the problem.

        Raises
        ------
        KeyError, ValueError
            If the arrays are not of this method and these data.
        """
        (n, d), k = X.shape, Y.shape[1]
        q = min(n, d)
        kinds: dict[str, tuple[tuple[int, ...], Any]] = {"basis": ((d, q), np.float64)}
        if method == "spectral":
            kinds |= {"coordinates": ((q,), X.dtype), "targets": ((q, k), X.dtype)}
            kinds |= {"rest": ((), np.float64)}
        else:
            kinds |= {"coordinates": ((n, q), X.dtype)}
        for name, (shape, dtype) in kinds.items():
            if arrays[name].shape != shape or arrays[name].dtype != dtype:
                raise ValueError(f"its {name} is not that of this problem")
        basis, coordinates = arrays["basis"], aligned(arrays["coordinates"])
        if method == "spectral":
            rest = float(arrays["rest"])
            return cls(method, basis, coordinates, aligned(arrays["targets"]), rest)
        return cls(method, basis, coordinates, Y, 0.0)
