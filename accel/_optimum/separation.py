r"""Whether labels can be separated: then a loss of margins has no minimum.

Let the margins of a map be ``z_i = y_i x_i'w``. If those of one map are all above 0, the logistic
and the exponential loss of its multiples fall towards 0, which no map reaches. That is proved by
the margins themselves, computed with twice the digits. Newton's method finds such a map if there is
one: below a sum of log 2, or 1, every margin is above 0.

If there is none, but a map h whose margins are all at least 0, and some above it, there is no
minimum either: along h the loss falls towards that of the rows whose margins are 0, whose minimum
is the infimum. Then Newton's method moves along such maps for ever, by a margin of about 1 in every
step, while the other rows settle: the difference of two of its points, projected so that the small
margins are 0, is tested. That margins are 0 cannot be known better than to rounding errors.
(Albert and Anderson 1984, "On the Existence of Maximum Likelihood Estimates in Logistic Regression
Models": complete and quasi-complete separation.)
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from accel._optimum.best_pair import BestPair
from accel._optimum.certificate import Rows
from accel._support.arrays import Array

__all__ = ["MarginMap", "Margins", "Watch", "watch_output"]

_NEAR = 1e-3  # the relative gap from which quasi-separation is looked for
_MOVING = 0.5  # steps that change a prediction by more than this may go on for ever
_SETTLED = 0.5  # margins of the difference of two points below this count as 0, if they can be
_APART = 4  # steps between the two points, at least
_ZERO = 1e-12  # relative to the largest margin: those below it are rounding errors
_POSITIVE = 1e-6  # likewise: those above it are not
_NULL = 1e-12  # of squares, relative to the largest: combinations of rows below it count as 0


class MarginMap(Protocol):
    """The linear map from points to margins (m,); points are flat.

    Attributes
    ----------
    fixed : (m,) bool array or None
        Margins that have to be 0 for the loss to stay bounded, however they are signed.
    """

    fixed: Array | None

    def of(self, z: Array) -> Array:
        """The margins of a point."""

    def gram(self, chosen: Array) -> Array:
        """``B'B`` for the matrix B of the map without the rows that are not chosen, (m,) bool."""

    def pulled(self, z: Array, chosen: Array) -> Array:
        """``B'(B z)``."""


class Margins:
    """Those of one output, ``labels * (A z)``."""

    def __init__(self, A: Array, labels: Array) -> None:
        self.A, self.labels = A, labels
        self.fixed: Array | None = None

    def of(self, z: Array) -> Array:
        """See ``MarginMap``."""
        margins: Array = self.labels * (self.A @ z)
        return margins

    def gram(self, chosen: Array) -> Array:
        """See ``MarginMap``."""
        rows = self.A[chosen]
        return np.asarray(rows.T @ rows)

    def pulled(self, z: Array, chosen: Array) -> Array:
        """See ``MarginMap``."""
        rows = self.A[chosen]
        return np.asarray(rows.T @ (rows @ z))


def quasi_separated(h: Array, margins: MarginMap) -> Array | None:
    """Project h so that its small margins are 0; which are 0, if no other one is below.

    Parameters
    ----------
    h : array
        The difference of two points.
    margins : MarginMap

    Returns
    -------
    (m,) bool array or None
        None if some margin is negative, or none positive.
    """
    b = margins.of(h)
    small = b < _SETTLED
    if margins.fixed is not None:
        small |= margins.fixed
    if small.all():
        return None
    if small.any():
        values, vectors = np.linalg.eigh(margins.gram(small))
        kept = values > _NULL * float(values[-1])
        P = vectors[:, kept] / np.sqrt(values[kept])
        for _ in range(3):  # each time it removes what rounding has left
            h = h - P @ (P.T @ margins.pulled(h, small))
        b = margins.of(h)
    top = float(b.max())
    right = np.all(b[~small] > _POSITIVE * top) and np.all(np.abs(b[small]) <= _ZERO * top)
    return small if top > 0 and right else None


class Watch:
    """What ``smooth.newton`` asks of every point: whether there is proof that labels separate.

    Parameters
    ----------
    margins : MarginMap
    near : callable
        Whether the gap is at most this part of the loss.
    proves : callable
        Whether all margins of a point are above 0, for certain.

    Attributes
    ----------
    found : str
        Empty, "separable" or "quasi-separable".
    zero : (m,) bool array
        If quasi-separable: the margins that stay.
    """

    def __init__(
        self,
        margins: MarginMap,
        near: Callable[[float], bool],
        proves: Callable[[Array], bool],
    ) -> None:
        self.margins, self.near, self.proves = margins, near, proves
        self.found, self.points = "", list[Array]()
        self.zero = np.zeros(0, dtype=bool)

    @property
    def z(self) -> Array:
        """The last point."""
        return self.points[-1]

    def __call__(self, z: Array, least: float, size: float) -> bool:
        """Say whether all labels are separated, and so nothing is left to do.

        Where only some are, the method goes on towards the infimum.

        Parameters
        ----------
        z : array
            The point.
        least : float
            The least of its margins, in floating point.
        size : float
            How much the last step has changed a prediction at most.
        """
        self.points.append(z.ravel())
        if least > 0 and self.proves(z):
            self.found = "separable"
            return True
        last = len(self.points) - 1
        if not self.found and last > _APART and size > _MOVING and self.near(_NEAR):
            for first in {last // 2, last - _APART}:
                zero = quasi_separated(self.points[last] - self.points[first], self.margins)
                if zero is not None:
                    self.found, self.zero = "quasi-separable", zero
        return False


def watch_output(best: BestPair, rows: Rows, T: Array, w: Array) -> Watch:
    """The watch of one output: of points z of ``w + T z``."""
    labels = best.side.labels

    def proves(z: Array) -> bool:
        m, error = rows.residual(w + T @ z)
        return bool(np.all(labels * m > error))

    return Watch(Margins(best.A, labels), best.met, proves)
