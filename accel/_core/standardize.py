"""Standardised data, and the conversion back to the user's units."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from accel._core.checks import checked_data
from accel._core.scaling import Scaling, given_data, named
from accel._core.units import Units
from accel._support import showing, validation
from accel._support.arrays import Array, aligned_empty

_log = logging.getLogger("accel")

_NAMED = 10  # constant columns that the log names
_SHOWN = 4  # targets whose means a notebook shows


@dataclass(frozen=True, eq=False, repr=False)
class Standardized(Scaling):
    """Data with zero mean and unit population variance in every column, and their user's units.

    A problem made of it, ``LpProblem(scaled, p=4)``, knows these units and names, and so does the
    result of a run: ``result.predict`` and ``result.coefficients`` are in the user's units.

    Attributes
    ----------
    X : (n, d) array
        In standard units, of the dtype of the data if that was float32, else float64.
    y : (n,) or (n, k) array
        Likewise.
    x_mean, x_scale, x_rest, y_mean, y_scale, y_rest, feature_names, target_names, source
        As ``Scaling`` has them.
    """

    X: Array
    y: Array

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
        """As ``Scaling`` has them, with an infinite scale for columns that are constant."""
        x, y = super()._units
        return replace(x, scale=np.where(self.X.any(axis=0), x.scale, math.inf)), y

    @property
    def standard_arrays(self) -> tuple[Array, ...]:
        """The X in standard units, which ``predict`` must not be given."""
        return (self.X,)


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


def standardize(X: Any, y: Any = None) -> Standardized:
    """Shift and scale every column of X and y to zero mean and unit population variance.

    Parameters
    ----------
    X : (n, d) array_like, data frame of pandas or Polars, or Dataset
        A ``Dataset`` holds y and the names of the columns, too.
    y : (n,) or (n, k) array_like, column or data frame
        Arrays on a GPU are copied to the host, where the result is. May be left out after a
        ``Dataset``.

    Returns
    -------
    Standardized
        With the names of the columns, where they have any. Constant columns become 0, and a warning
        that names them is logged.

    Raises
    ------
    TypeError, ValueError
        If ``LpProblem`` would refuse the data, if they are standardised already, or if numbers are
        so large that a mean or a distance from it overflows.

    Examples
    --------
    >>> import accel
    >>> data = accel.standardize([[1.0], [3.0]], [10.0, 30.0])
    >>> data.X.ravel(), data.y
    (array([-1.,  1.]), array([-1.,  1.]))
    >>> data.predict([1.0], [[2.0]])
    array([20.])
    """
    given = given_data(X, y)
    if given.scaled is not None and not given.scaled.trivial:
        raise ValueError(
            f"X must be in the user's units, got {given.scaled!r}, which is standardised already: "
            "use it as it is, or standardise the data that it was made of"
        )
    X, y = checked_data(given.X, given.y)
    for name, a, before in zip("Xy", (X, y), given[:2], strict=True):
        advice = "convert it first if it may be rounded, as by astype(float)"
        validation.unrounded(name, a, np.dtype(np.float64), before, advice)
        validation.all_finite(name, a)
        if a.dtype.kind == "f" and a.dtype.itemsize > 8:
            raise TypeError(f"{name} must be in float64 or less, lest it be rounded, got {a.dtype}")
    return standardize_checked(X, y, names=given.names, targets=given.targets, source=given.source)


def standardize_checked(
    X: Array,
    y: Array,
    *,
    names: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
    source: str = "",
) -> Standardized:
    """Standardise data that need no check: finite NumPy arrays, such as those of a ``Dataset``.

    Raises
    ------
    ValueError
        If a mean, or a distance from it, overflows.
    """
    feature_names = named(names, X.shape[1])
    (X, x), (y, of_y) = _standard("X", X), _standard("y", y)
    return Standardized(
        x.mean, x.scale, of_y.mean, of_y.scale, x.rest, of_y.rest, X, y,
        feature_names=feature_names, target_names=named(targets, of_y.mean.size), source=source,
    )  # fmt: skip
