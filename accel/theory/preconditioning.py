r"""Claim 1: what depth does to the gradient of the end-to-end matrix is a linear map.

With the thin SVD :math:`W = U \operatorname{diag}(\sigma) V^\top`, U (k, m) and V (d, m) with
m = min(k, d), a matrix G splits into the part inside both spans, :math:`U U^\top G V V^\top`, and
the parts outside of one of them; none is outside of both, because U or V is square. Inside,
:math:`P_W` multiplies :math:`u_r v_s^\top` by :math:`\Lambda_{rs}`; outside, where one of the two
singular values is 0, by the only term of the sum that is not 0, :math:`\sigma^{2-2/N}`. Hence it is
applied in O(k d m), without a matrix of (k d) x (k d) or d x d.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from accel._core.checks import as_map
from accel._support import validation
from accel._support.arrays import Array
from accel.theory import checks

_DENSE_LIMIT = 4096  # entries of W: the dense matrix then takes 128 MiB


@dataclass(frozen=True, eq=False)
class Preconditioner:
    r"""The map :math:`P_W(G) = \sum_{j=1}^N [WW^\top]^{(j-1)/N} G \, [W^\top W]^{(N-j)/N}`.

    Made by ``preconditioner``. Matrices become vectors row by row, as ``numpy.ravel`` does and the
    package's flat parameters lie: ``vec(u v')`` is ``numpy.kron(u, v)``. (The paper stacks columns;
    the eigenvalues are the same, the entries of the eigenvectors are permuted.)

    Attributes
    ----------
    depth : int
        The N.
    U : (k, m) array
        Left singular vectors of W, m = min(k, d).
    sigma : (m,) array
        Singular values, descending; exactly 0 where they are 0 but for rounding.
    V : (d, m) array
        Right singular vectors.

    Examples
    --------
    >>> from accel import theory
    >>> theory.preconditioner([4.0, 0.0], depth=2).dense()
    array([[8., 0.],
           [0., 4.]])
    """

    depth: int
    U: Array
    sigma: Array
    V: Array

    def __repr__(self) -> str:
        k, d = self.shape
        return f"Preconditioner(k={k}, d={d}, depth={self.depth})"

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (k, d) of W, and of the matrices it applies to."""
        return len(self.U), len(self.V)

    @property
    def eigenvalues(self) -> Array:
        r"""The (k, d) array of :math:`\sum_j \sigma_r^{2(j-1)/N} \sigma_s^{2(N-j)/N}`.

        Singular values beyond min(k, d) count as 0, and 0^0 is 1. None is negative.
        """
        k, d = self.shape
        left, right = np.zeros(k), np.zeros(d)
        left[: len(self.sigma)] = right[: len(self.sigma)] = self.sigma
        return self._lambda(left, right)

    def eigenvectors(self) -> Array:
        """Return the eigenvectors as columns, in the order of ``eigenvalues.ravel()``.

        Returns
        -------
        (k d, k d) array
            Orthogonal; column ``r * d + s`` is ``vec(u_r v_s')``.

        Raises
        ------
        ValueError
            If k d is more than 4096.
        """
        k, d = self.shape
        if k * d > _DENSE_LIMIT:
            raise ValueError(
                f"W must have at most {_DENSE_LIMIT} entries for a dense matrix, got {k} x {d}"
            )
        return np.kron(_completed(self.U), _completed(self.V))

    def apply(self, G: Any) -> Array:
        """Apply the map to a matrix.

        Parameters
        ----------
        G : (k, d) array_like, or (d,) for k = 1

        Returns
        -------
        float64 array of the shape of G

        Raises
        ------
        TypeError, ValueError
            If G has the wrong shape, is not finite or holds no real numbers.
        """
        given = checks.matrix("G", G, self.shape)
        flat, U, V = given.reshape(self.shape), self.U, self.V
        left, right = U.T @ flat, flat @ V
        inside = left @ V
        outer = self.sigma ** (2 - 2 / self.depth)
        product: Array = U @ (self._lambda(self.sigma, self.sigma) * inside) @ V.T
        product += (U * outer) @ (left - inside @ V.T)
        product += ((right - U @ inside) * outer) @ V.T
        return product.reshape(given.shape)

    def dense(self) -> Array:
        """Return the matrix P with ``P @ G.ravel() == apply(G).ravel()``.

        Returns
        -------
        (k d, k d) array
            Symmetric, positive semi-definite.

        Raises
        ------
        ValueError
            If k d is more than 4096.
        """
        vectors = self.eigenvectors()
        matrix: Array = (vectors * self.eigenvalues.ravel()) @ vectors.T
        return matrix

    def _lambda(self, left: Array, right: Array) -> Array:
        """The sums for all pairs of these singular values."""
        N = self.depth
        powers = 2 / N * np.arange(N)
        total: Array = (left[:, np.newaxis] ** powers) @ (right[:, np.newaxis] ** powers[::-1]).T
        return total


def _completed(columns: Array) -> Array:
    """Complete orthonormal columns to a square orthogonal matrix."""
    basis = np.linalg.qr(columns, mode="complete")[0]
    return np.hstack([columns, basis[:, columns.shape[1] :]])


def preconditioner(W: Any, depth: int) -> Preconditioner:
    """Make the map by which a balanced net of this depth transforms its gradient.

    Parameters
    ----------
    W : (k, d) array_like, or (d,) for k = 1, or network
        End-to-end matrix, of any rank; that of a network. Singular values below
        ``max(k, d) * 2.2e-16`` of the largest count as 0.
    depth : int
        N, at least 1; for 1 it is the identity.

    Returns
    -------
    Preconditioner

    Raises
    ------
    TypeError, ValueError
        If W is not finite or holds no real numbers, or if depth is no integer >= 1.

    References
    ----------
    Arora, Cohen, Hazan (2018), arXiv 1802.06509, theorem 1, claims 1 and 2.

    Examples
    --------
    For k = 1 it lengthens the gradient along w, by the depth, and scales it by a power of the norm:

    >>> from accel import theory
    >>> P = theory.preconditioner([4.0, 0.0], depth=2)
    >>> P.eigenvalues
    array([[8., 4.]])
    >>> P.apply([1.0, 1.0])
    array([8., 4.])
    """
    matrix = np.atleast_2d(checks.matrix("W", as_map(W)))
    depth = validation.depth(depth)
    U, sigma, Vt = np.linalg.svd(matrix, full_matrices=False)
    # The powers go down to 2/N, and 1e-17 ** (2/8) is far from 0.
    sigma[sigma <= np.finfo(np.float64).eps * max(matrix.shape) * sigma[0]] = 0
    return Preconditioner(depth, U, sigma, Vt.T)
