r"""Penalties of coefficients, and their terms of a duality gap.

A coefficient c costs ``lam |c| + kappa c^2 / 2``, and with ``nonnegative`` infinitely much below 0.
For the slope t that the loss has left for it, the negative of the gradient, its conjugate is the
largest ``t c`` less that cost. With ``u = min(max(t, -lam), lam)``, without the lower bound for
``nonnegative``, Fenchel's inequality is

.. math:: \lambda |c| + \frac{\kappa}{2} c^2 + \frac{(t - u)^2}{2 \kappa} - t c
    = \lambda |c| - u c + \frac{\kappa}{2} \Big( c - \frac{t - u}{\kappa} \Big)^2 \ge 0,

and for kappa = 0 the conjugate is finite, namely 0, where t = u only. The right side has no
cancellation but in ``lam - |u|``.
"""

from dataclasses import dataclass

import numpy as np

from accel._optimum.twofold import EPS
from accel._support.arrays import Array

__all__ = ["Penalty"]


@dataclass(frozen=True, eq=False)
class Penalty:
    """What coefficients cost.

    Attributes
    ----------
    lam, kappa : (d,) float64 array
        At least 0; either all are above 0, or none is.
    nonnegative : bool
    """

    lam: Array
    kappa: Array
    nonnegative: bool

    @property
    def strong(self) -> bool:
        """Whether there are squares: then every slope has a finite conjugate."""
        return bool(self.kappa.any())

    @property
    def absolute(self) -> bool:
        """Whether there are absolute values."""
        return bool(self.lam.any())

    def scaled(self, by_lam: Array | float, by_kappa: Array | float) -> "Penalty":
        """The penalty in other units."""
        return Penalty(self.lam * by_lam, self.kappa * by_kappa, self.nonnegative)

    def value(self, c: Array) -> float:
        """What coefficients (d,), none of which is below 0 if that is forbidden, cost together."""
        return float(self.lam @ np.abs(c) + self.kappa @ c**2 / 2)

    def clipped(self, t: Array) -> Array:
        """The u of every slope t."""
        return np.asarray(np.clip(t, -np.inf if self.nonnegative else -self.lam, self.lam))

    def outside(self, t: Array) -> Array:
        """How far slopes are from those with a finite conjugate."""
        beyond: Array = t - self.lam if self.nonnegative else np.abs(t) - self.lam
        return np.where(self.kappa > 0, 0.0, np.maximum(beyond, 0.0))

    def shrinking(self, t: Array, room: float = 0.0) -> float:
        """The largest factor, at most 1, that brings slopes inside, with some relative room.

        With neither absolute values nor squares, there is none but 0: then it is 1.
        """
        if self.strong or not self.absolute:
            return 1.0
        size = t if self.nonnegative else np.abs(t)
        worst = float(np.max(size / (self.lam * (1 - room)), initial=0.0))
        return 1.0 if worst <= 1 else 1 / worst

    def terms(self, c: Array, t: Array) -> Array:
        """The terms of the gap, for slopes whose conjugate is taken to be finite."""
        u = self.clipped(t)
        aside = np.where(self.kappa > 0, t - u, 0.0)
        squares = np.where(self.kappa > 0, (self.kappa * c - aside) ** 2, 0.0)
        squares /= 2 * np.where(self.kappa > 0, self.kappa, 1.0)
        return np.asarray(np.maximum(self.lam * np.abs(c) - u * c, 0.0) + squares)

    def most(self, c: Array, t: Array, error: Array) -> float:
        """A bound of the sum of the terms for slopes in t +- error, rounding included."""
        ends = [self.terms(c, a) for a in (t - error, t + error)]  # convex in t
        # A slope that is outside by its error only is one of those inside, which are meant.
        rounding = 32 * EPS * ((self.lam + np.abs(t) + error) * np.abs(c) + self.kappa * c**2)
        return float(np.sum(np.maximum(*ends) + rounding)) * (1 + 64 * EPS)
