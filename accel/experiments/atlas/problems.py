r"""The problems of the atlas: an exponent, a spectrum, a place of the target in it, and a seed.

``X = U diag(sigma) V'`` is that of ``datasets.make_ill_conditioned``: the condition number of X'X
is exact, the singular values fall geometrically, the mean square of the entries is 1. The target
is ``y = X w + e`` with

.. math:: w = V c, \qquad c_j = \pm \sigma_j^a,

random signs, and a factor that gives the signal ``X w`` the mean square 1; the entries of e are
Gaussian with the standard deviation 0.1. Singular direction j has the part :math:`\sigma_j c_j` of
the signal, so that the alignment a says where the target is:

==========  ====  ==========================================================================
``top``        1  the top directions prevail, in the signal as the squares of the spectrum
``equal``      0  w has as much of every direction, and the signal is as the spectrum is
``spread``    -1  the signal has as much of every direction: the small ones matter
==========  ====  ==========================================================================

Every network begins as the same map, in a random direction, or its opposite if the loss rises along
it at 0. The map is so long that its predictions are a given part of those of the minimiser, by
their root mean squares. Balanced factors with hidden layers of width 1 make it.
"""

from dataclasses import dataclass

import numpy as np

from accel._core.network import LinearNetwork
from accel._core.problem import LpProblem
from accel._optimum.any_problem import optimum
from accel._optimum.optimum import Optimum
from accel._support.arrays import Array
from accel.datasets import make_ill_conditioned

__all__ = ["ALIGNMENTS", "NOISE", "Instance", "Task", "balanced_network"]

#: The power of its singular value that the target has of a direction.
ALIGNMENTS = {"top": 1.0, "equal": 0.0, "spread": -1.0}
#: Standard deviation of the noise, as a part of the root mean square of the signal.
NOISE = 0.1


@dataclass(frozen=True)
class Task:
    """One problem of the atlas.

    Attributes
    ----------
    p : float
        Exponent of the loss.
    condition : float
        Condition number of X'X.
    alignment : str
        Of ``ALIGNMENTS``.
    seed : int
        Of singular vectors, signs, noise and the direction of the start, which are the same for all
        exponents, condition numbers and alignments.
    n, d : int
        Numbers of samples and features.
    """

    p: float
    condition: float
    alignment: str
    seed: int
    n: int
    d: int

    @property
    def name(self) -> str:
        """What tells it from the other problems of an atlas, as the name of a file."""
        return f"p{self.p:g}-condition{self.condition:g}-{self.alignment}-seed{self.seed}"

    def instance(self) -> "Instance":
        """Make the data, and find the minimum."""
        X = make_ill_conditioned(self.n, self.d, self.condition, self.seed).X
        sigma, Vt = np.linalg.svd(X, full_matrices=False)[1:]
        Vt *= np.sign(Vt.sum(axis=1))[:, np.newaxis]  # else the signs were LAPACK's choice
        rng = np.random.default_rng([self.seed, 1])
        signs = rng.choice([-1.0, 1.0], self.d)
        w = (signs * sigma ** ALIGNMENTS[self.alignment]) @ Vt
        w /= _size(X @ w)
        y = X @ w + NOISE * rng.standard_normal(self.n)
        direction = rng.standard_normal(self.d)
        # At p = 2 training goes by the singular vectors, where a step takes a few numbers.
        problem = LpProblem(X, y, self.p, method="spectral" if self.p == 2 else "direct")
        return Instance(problem, w, optimum(problem), direction)


@dataclass(frozen=True, eq=False)
class Instance:
    """The data of a problem.

    Attributes
    ----------
    problem : LpProblem
    w : (d,) array
        The map that the targets are made by.
    best : Optimum
        The minimum of the loss, with its proof.
    direction : (d,) array
        In which networks begin, but for sign and length.
    """

    problem: LpProblem
    w: Array
    best: Optimum
    direction: Array

    def start(self, part: float) -> Array:
        """Return the map (1, d) that all networks begin as.

        Parameters
        ----------
        part : float
            Root mean square of its predictions, as a part of that of the minimiser's.
        """
        X = self.problem.host.X
        slope = self.problem.gradient(np.zeros((1, X.shape[1])), backend="reference")
        length = part * _size(X @ self.best.W[0]) / _size(X @ self.direction)
        uphill = float(slope[0] @ self.direction) > 0
        start: Array = (-length if uphill else length) * self.direction[np.newaxis]
        return start


def _size(predictions: Array) -> float:
    """Return a root mean square."""
    return float(np.sqrt(np.mean(predictions**2)))


def balanced_network(start: Array, depth: int) -> LinearNetwork:
    """Return a balanced network with hidden layers of width 1 that is this map.

    Parameters
    ----------
    start : (1, d) array
        Not zero.
    depth : int
        Number of factors.
    """
    size = float(np.linalg.norm(start))
    root = size ** (1 / depth)
    others = [np.full((1, 1), root)] * (depth - 1)
    return LinearNetwork((start.shape[1], *[1] * depth), init=[start * (root / size), *others])
