r"""A basis of the columns of X, orthonormal but for rounding errors, and the singular values.

Where X is far from rank-deficient, Cholesky's factor of ``X'X`` will do. Its columns scaled to one
size, ``X'X = R'R``, and ``A = X T`` with ``T = R^{-1}`` is orthonormal but for errors of about
:math:`\kappa^2 \epsilon`, :math:`\kappa` the condition number of X. What ``A'A`` then is, is
computed, and the same done once more if need be (Yamamoto, Nakatsukasa, Yanagisawa and Fukaya 2015,
"Roundoff error analysis of the CholeskyQR2 algorithm": for :math:`\kappa` to some 1e7 the result is
as good as Householder's). All of that is matrix products, several times as fast as a decomposition
by reflections. Else, and wherever the rank may be in doubt, singular vectors decide.
"""

from typing import NamedTuple

import numpy as np

from accel._optimum.certificate import Basis, column_norms, off_identity, product
from accel._optimum.rank import is_clearly_full, numerical_rank
from accel._support.arrays import Array

# Of |A'A - 1|, in the Frobenius norm:
_NEAR = 0.1  # the largest that a second time removes
_ENOUGH = 1e-12  # what is left as it is
_AFTER = 1e-8  # the largest after the second time


class Decomposition(NamedTuple):
    """What is needed of X (n, d).

    Attributes
    ----------
    values : (min(n, d),) array
        Singular values of X, each column divided by its largest absolute value.
    basis : Basis
    doubtful : int
        As in ``Rank``.
    R : (min(n, d), d) array
        Of a QR decomposition ``X = Q R``, up to rotations.
    """

    values: Array
    basis: Basis
    doubtful: int
    R: Array


def decompose(X: Array, rcond: float | Array) -> Decomposition:
    """Decompose X (n, d), float64; rcond are the errors of its entries."""
    # Columns of one size, since errors of 1e-16 of the largest would hide the small ones.
    scale = np.maximum(X.max(axis=0), -X.min(axis=0))
    return _by_cholesky(X, scale, rcond) or _by_singular_vectors(X, scale, rcond)


def _by_cholesky(X: Array, scale: Array, rcond: float | Array) -> Decomposition | None:
    """Decompose X; None where the rank, or the accuracy, might be in doubt."""
    n, d = X.shape
    # Beyond these sizes squares may overflow, or lose digits.
    if n < d or not (scale.min() > 1e-100 and scale.max() < 1e100):
        return None
    try:
        G = (X.T @ X) / scale / scale[:, np.newaxis]
        R = np.linalg.cholesky(G).T
        T = np.linalg.inv(R) / scale[:, np.newaxis]
        A = product(X, T)
        gram = A.T @ A
        off = off_identity(gram)
        if not off <= _NEAR:
            return None
        second = np.linalg.cholesky(gram).T
    except np.linalg.LinAlgError:
        return None
    R = second @ R
    if off > _ENOUGH:
        T = T @ np.linalg.inv(second)
        A = product(X, T)
        off = off_identity(A.T @ A)
    values, sizes = np.linalg.svd(R, compute_uv=False), np.sqrt(np.diag(G))
    if off > _AFTER or not is_clearly_full(values, sizes, n, rcond):
        return None
    return Decomposition(values, Basis.of_product(A, T, off, scale, sizes), 0, R * scale)


def _by_singular_vectors(X: Array, scale: Array, rcond: float | Array) -> Decomposition:
    nothing = scale == 0
    scale = np.where(nothing, 1.0, scale)
    R = np.linalg.qr(X / scale, mode="r")  # without the left vectors it takes half the time
    _, S, Vt = np.linalg.svd(R, full_matrices=False)
    sizes, M, doubtful = numerical_rank(S, Vt, scale, len(X), rcond)
    M[nothing] = 0.0  # zero already, but for rounding errors of LAPACK
    return Decomposition(S, Basis.of(X, M / sizes), doubtful, R * scale)
