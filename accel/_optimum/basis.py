r"""A basis of the columns of X, orthonormal but for small errors, and the singular values.

Where X is far from rank-deficient, Cholesky's factor of ``X'X`` will do. With its columns scaled to
one size let ``X'X = R'R``; then the columns of ``A = X T``, ``T = R^{-1}``, are orthonormal but for
errors of about :math:`\kappa^2 \epsilon`, :math:`\kappa` being the condition number of X. These
errors are computed, ``E = A'A - 1``, and to second order ``(1 + E/2 - E^2/8) R`` is the factor with
which they would not have been made. Where they are not small enough, T is corrected likewise, and A
made once more (Yamamoto, Nakatsukasa, Yanagisawa and Fukaya 2015, "Roundoff error analysis of the
CholeskyQR2 algorithm": the result is as good as Householder's). All of that is matrix products,
several times as fast as reflections. Else, and where the rank may be in doubt, singular vectors
decide.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from accel._optimum.rank import column_norms, is_clearly_full, numerical_rank
from accel._optimum.twofold import EPS
from accel._support import memory
from accel._support.arrays import Array, aligned_empty

# Of E, in the Frobenius norm:
_NEAR = 1e-5  # the largest of which E^3 does not count
_ENOUGH = 1e-7  # the largest that is left as it is: the methods project twice or more


def _product(X: Array, T: Array) -> Array:
    """``X T``, aligned."""
    A = aligned_empty((len(X), T.shape[1]), np.dtype(np.float64))
    return np.matmul(X, T, out=A)


def _off_identity(A: Array) -> Array:
    """``A'A - 1``."""
    gram: Array = A.T @ A
    gram.flat[:: len(gram) + 1] -= 1.0
    return gram


@dataclass(frozen=True, eq=False)
class Basis:
    """A basis of the column space of X: the matrix ``X T``, with nearly orthonormal columns.

    Attributes
    ----------
    A : (n, rank) array
        ``X T`` in floating point.
    T : (d, rank) array
    row_norms : (n,) array
        Of A.
    error : float
        An upper bound of the Frobenius norm of A less the exact ``X T``.
    least : float
        A lower bound of the smallest singular value of the exact ``X T``; 0 if there is none.
    """

    A: Array
    T: Array
    row_norms: Array
    error: float
    least: float

    @classmethod
    def of(cls, columns: Array, T: Array) -> Self:
        """Make it from X, whose entries may have an error of one or two roundings, and T."""
        A = _product(columns, T)
        return cls.of_product(A, T, float(np.linalg.norm(_off_identity(A))), *column_norms(columns))

    @classmethod
    def of_product(cls, A: Array, T: Array, off: float, peak: Array, sizes: Array) -> Self:
        """Make it from ``A = X T`` in floating point and what else is known.

        Parameters
        ----------
        A, T : array
        off : float
            The Frobenius norm of ``A'A - 1`` in floating point.
        peak, sizes : (d,) array
            The norms of the columns of X are ``peak * sizes``.
        """
        with np.errstate(under="ignore"):
            widths = np.linalg.norm(peak[:, np.newaxis] * T, axis=1)
        error = (len(T) + 8) * EPS * float(sizes @ widths)
        least = math.sqrt(max(1 - off - len(A) * EPS * A.shape[1], 0.0)) - error
        row_norms = np.sqrt(np.einsum("ij,ij->i", A, A))
        return cls(A, T, row_norms, error, max(least, 0.0))


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
    G = (X.T @ X) / scale / scale[:, np.newaxis]
    try:
        R: Array = np.linalg.cholesky(G).T
    except np.linalg.LinAlgError:
        return None
    T = np.linalg.inv(R) / scale[:, np.newaxis]
    A = _product(X, T)
    E = _off_identity(A)
    off = float(np.linalg.norm(E))
    if not off <= _NEAR:
        return None
    E2 = E @ E
    R = R + (E / 2 - E2 / 8) @ R
    if off > _ENOUGH:
        T -= T @ (E / 2 - 3 / 8 * E2)
        np.matmul(X, T, out=A)
        off = float(np.linalg.norm(_off_identity(A)))
    values, sizes = np.linalg.svd(R, compute_uv=False), np.sqrt(np.diag(G))
    if off > _ENOUGH or not is_clearly_full(values, sizes, n, rcond):
        return None
    return Decomposition(values, Basis.of_product(A, T, off, scale, sizes), 0, R * scale)


def _by_singular_vectors(X: Array, scale: Array, rcond: float | Array) -> Decomposition:
    memory.require("the singular vectors of X", {"copies of X": 32 * X.size})
    nothing = scale == 0
    scale = np.where(nothing, 1.0, scale)
    # Without the left vectors it takes half the time.
    R = np.asarray(np.linalg.qr(X / scale, mode="r"))
    _, S, Vt = np.linalg.svd(R, full_matrices=False)
    sizes, M, doubtful = numerical_rank(S, Vt, scale, len(X), rcond)
    M[nothing] = 0.0  # zero already, but for rounding errors of LAPACK
    return Decomposition(S, Basis.of(X, M / sizes), doubtful, R * scale)
