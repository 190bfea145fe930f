"""Standardised data, and the conversion back to the user's units."""

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from accel._core import units
from accel._core.checks import checked_data, checked_weights
from accel._core.units import Units
from accel._support import showing, validation
from accel._support.arrays import Array, aligned_empty

_log = logging.getLogger("accel")

_NAMED = 10  # constant columns that the log names
_SHOWN = 4  # targets whose means a notebook shows


@dataclass(frozen=True, eq=False)
class Standardized:
    """Data with zero mean and unit population variance in every column, and their user's units.

    Attributes
    ----------
    X : (n, d) array
        In standard units, of the dtype of the data if that was float32, else float64.
    y : (n,) or (n, k) array
        Likewise.
    x_mean, x_scale, x_rest : (d,) float64 array
        ``X = (X_user - x_mean - x_rest) / x_scale``. The rest is the rounding error of x_mean, at
        most half a unit in its last place: it matters where the mean of a column is very large
        beside its spread. The scale of a constant column is 1.
    y_mean, y_scale, y_rest : float64 array, 0-D or (k,)
    """

    X: Array
    y: Array
    x_mean: Array
    x_scale: Array
    y_mean: Array
    y_scale: Array
    x_rest: Array
    y_rest: Array

    def __repr__(self) -> str:
        return showing.line(self, X=self.X.shape, y=self.y.shape, dtype=self.X.dtype)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a table of the main facts."""
        facts: dict[str, object] = {
            "X": f"{self.X.shape} {self.X.dtype}, every column of mean 0 and variance 1",
            "y": f"{self.y.shape}, likewise",
        }
        if self.y_mean.size <= _SHOWN:
            facts["mean of y"], facts["scale of y"] = (
                ", ".join(f"{number:.6g}" for number in np.ravel(numbers))
                for numbers in (self.y_mean, self.y_scale)
            )
        return showing.table(facts)

    @property
    def _units(self) -> tuple[Units, Units]:
        return (
            Units(self.x_mean, self.x_rest, self.x_scale),
            Units(self.y_mean, self.y_rest, self.y_scale),
        )

    def _matrix(self, W: Any) -> Array:
        k, d = self.y_mean.size, self.x_mean.size
        given = checked_weights(W, k, d).astype(np.float64)
        validation.all_finite("W", given)
        return given.reshape((k, d) if self.y_mean.ndim else d)

    def predict(self, W: Any, X_new: Any) -> Array:
        """Predict targets in the user's units.

        Parameters
        ----------
        W : (k, d) array_like, or (d,) for k = 1, or network
            A map fitted to the standardised data, such as a trained network.
        X_new : (m, d) array_like
            Samples in the user's units.

        Returns
        -------
        (m,) or (m, k) float64 array
            With as many dimensions as the y that was standardised.

        Raises
        ------
        TypeError, ValueError
            If W or X_new has the wrong shape, is not finite or does not hold real numbers.
        """
        X_new = validation.numeric("X_new", X_new, ndim=(2,))
        if X_new.shape[1] != self.x_mean.size:
            raise ValueError(f"X_new must have {self.x_mean.size} columns, got {X_new.shape}")
        validation.all_finite("X_new", X_new)
        x, y = self._units
        return y.user(x.standard(X_new, np.empty(X_new.shape)) @ self._matrix(W).T)

    def coefficients(self, W: Any) -> tuple[Array, Array]:
        """Coefficients and intercept in the user's units: ``y = X_user @ coef.T + intercept``.

        Parameters
        ----------
        W : (k, d) array_like, or (d,) for k = 1, or network
            A map fitted to the standardised data.

        Returns
        -------
        coef : (d,) or (k, d) float64 array
        intercept : float64 array, 0-D or (k,)

        Raises
        ------
        TypeError, ValueError
            If W has the wrong shape, is not finite or holds no real numbers.
        """
        x, y = self._units
        coef = units.coefficients(self._matrix(W), x, y)
        return coef, units.intercept(coef, x, y)


def _standard(name: str, a: Array) -> tuple[Array, Units]:
    """Return standardised columns, laid out as ``LpProblem`` needs them, and their units."""
    single = a.dtype.kind == "f" and a.dtype.itemsize == 4
    constant = a.min(axis=0) == a.max(axis=0)
    if constant.any():
        where = ", ".join(map(str, np.flatnonzero(constant)[:_NAMED]))
        more = ", ..." if constant.sum() > _NAMED else ""
        _log.warning("%s is constant in column %s%s, which becomes 0", name, where, more)
    of_columns = Units.of(name, a)
    out = aligned_empty(a.shape, np.dtype(np.float32 if single else np.float64))
    return of_columns.standard(a, out), of_columns


def standardize(X: Any, y: Any) -> Standardized:
    """Shift and scale every column of X and y to zero mean and unit population variance.

    Parameters
    ----------
    X : (n, d) array_like, or data frame of pandas or Polars
    y : (n,) or (n, k) array_like, column or data frame
        Arrays on a GPU are copied to the host, where the result is.

    Returns
    -------
    Standardized
        Constant columns become 0, and a warning that names them is logged.

    Raises
    ------
    TypeError, ValueError
        If ``LpProblem`` would refuse the data, or if numbers are so large that a mean or a distance
        from it overflows.

    Examples
    --------
    >>> import accel
    >>> data = accel.standardize([[1.0], [3.0]], [10.0, 30.0])
    >>> data.X.ravel(), data.y
    (array([-1.,  1.]), array([-1.,  1.]))
    >>> data.predict([1.0], [[2.0]])
    array([20.])
    """
    given, (X, y) = (X, y), checked_data(X, y)
    for name, a, before in zip("Xy", (X, y), given, strict=True):
        advice = "convert it first if it may be rounded, as by astype(float)"
        validation.unrounded(name, a, np.dtype(np.float64), before, advice)
        validation.all_finite(name, a)
        if a.dtype.kind == "f" and a.dtype.itemsize > 8:
            raise TypeError(f"{name} must be in float64 or less, lest it be rounded, got {a.dtype}")
    return standardize_checked(X, y)


def standardize_checked(X: Array, y: Array) -> Standardized:
    """Standardise data that need no check: finite NumPy arrays, such as those of a ``Dataset``.

    Raises
    ------
    ValueError
        If a mean, or a distance from it, overflows.
    """
    (X, x), (y, of_y) = _standard("X", X), _standard("y", y)
    return Standardized(X, y, x.mean, x.scale, of_y.mean, of_y.scale, x.rest, of_y.rest)
