r"""The numerical rank of X: how many combinations of its columns are more than rounding errors.

Let the entries of column j have errors of the size :math:`e_j`, relative to its root mean square.
They change :math:`X v` by at most :math:`b(v) = \sum_j |v_j| e_j |x_j|`. So where
:math:`|X v| \le b(v)`, X v may consist of errors, and a weight in the direction v means nothing.
The v that are tested are the right singular vectors of X with columns scaled to the same
:math:`e_j |x_j|`, the directions that are most and least above their errors. (With columns scaled
otherwise, one with large errors would be part of many directions and hide them.)

References
----------
Higham (2002), "Accuracy and Stability of Numerical Algorithms", chapters 7 and 20.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from accel._support import validation
from accel._support.arrays import Array

_EPS = float(np.finfo(np.float64).eps)
_RCOND = 1e-12  # the e_j that are assumed
_DIGITS = 5e-15  # half a unit in the 15th digit: the error of numbers in decimal tables
_SAFE = 1e100  # squares of numbers between this and its inverse lose nothing
_DOUBT = 10.0  # directions within this factor of the limit are doubtful


class Rank(NamedTuple):
    """The combinations of the columns of X that are more than rounding errors.

    Attributes
    ----------
    sizes : (rank,) array
        Singular values of X, with scaled columns.
    M : (d, rank) array
        The columns of ``X M / sizes`` are orthonormal. Among all w with the same ``X w`` the vector
        ``M (z / sizes)`` has the least norm. In that norm the weight of each column is multiplied
        by the column's error, if errors decided about the rank.
    doubtful : int
        How many directions are within a factor of ten of the limit.
    """

    sizes: Array
    M: Array
    doubtful: int


def _negligible(S: Array, n: int, d: int) -> float:
    """The error of singular values S of an (n, d) matrix."""
    return max(n, d) * _EPS * float(S[0])


def _errors(norms: Array, rcond: float | Array) -> Array:
    """The errors of columns of these norms."""
    errors: Array = np.maximum(rcond, _EPS) * np.where(norms > 0, norms, norms.max() or 1.0)
    return errors


def _is_clear(least: float, negligible: float, errors: Array) -> bool:
    """Whether the least singular value is so large that no direction is doubtful."""
    return least > _DOUBT * max(negligible, math.sqrt(len(errors)) * float(errors.max()))


def is_clearly_full(S: Array, norms: Array, n: int, rcond: float | Array) -> bool:
    """Whether, by singular values S (d,) and norms (d,) of its columns alone, X has full rank."""
    return _is_clear(float(S[-1]), _negligible(S, n, len(S)), _errors(norms, rcond))


def numerical_rank(S: Array, Vt: Array, scale: Array, n: int, rcond: float | Array) -> Rank:
    """Find out which directions are more than rounding errors.

    Parameters
    ----------
    S, Vt : array
        Singular values and right singular vectors of X (n, d) divided by ``scale``.
    scale : (d,) array
        Of the columns.
    n : int
    rcond : float or (d,) array
        The e_j.
    """
    column, negligible = scale[:, np.newaxis], _negligible(S, n, len(scale))
    clear = negligible < S  # the others are errors of the decomposition
    sizes, V = S[clear], Vt[clear].T
    M = V / column
    if len(sizes) < len(scale):
        rows = np.linalg.qr(V * column)[0]  # a basis of the row space of X
        M = rows @ (rows.T @ M)
    norms = np.sqrt(S**2 @ Vt**2)
    errors = _errors(norms, rcond)
    if not len(sizes) or _is_clear(float(sizes[-1]), negligible, errors):
        return Rank(sizes, M, 0)
    _, T, Wt = np.linalg.svd(sizes[:, np.newaxis] * V.T / errors, full_matrices=False)
    V = Wt.T / errors[:, np.newaxis]
    limit = np.maximum(np.sum(np.abs(Wt), axis=1), negligible * np.linalg.norm(V, axis=0))
    kept = limit < T
    if not kept.all():
        sizes, M = T[kept], V[:, kept] / column
    doubtful = np.count_nonzero((limit < _DOUBT * T) & (_DOUBT * limit >= T))
    return Rank(sizes, M, int(doubtful))


def usual_rcond(dtype: np.dtype[Any]) -> float:
    """Return the errors that are assumed in data of this dtype."""
    return max(_RCOND, 4 * float(np.finfo(dtype).eps))


def checked_rcond(rcond: Any, d: int, dtype: np.dtype[Any]) -> float | Array:
    """Check a number for all columns, or one for each of d; the usual number for None."""
    if rcond is None:
        return usual_rcond(dtype)
    each = validation.numeric("rcond", rcond, ndim=(0, 1)).astype(np.float64)
    if each.ndim == 0:
        return validation.real("rcond", each.item(), least=0, below=1)
    if len(each) != d:
        raise ValueError(f"rcond must have one value a feature, {d}, got shape {each.shape}")
    validation.all_finite("rcond", each)
    if each.min() < 0:
        raise ValueError(f"rcond must be >= 0, got {each.min():g}")
    return each


def column_norms(X: Array) -> tuple[Array, Array]:
    """Return the largest sizes of the columns of X, 1 for 0, and their norms divided by those."""
    peak = np.maximum(X.max(axis=0), -X.min(axis=0)).astype(np.float64)
    peak[peak == 0] = 1.0
    if X.dtype == np.float64 and peak.min() > 1 / _SAFE and peak.max() < _SAFE:
        return peak, np.sqrt(np.einsum("ij,ij->j", X, X)) / peak
    scaled = X / peak  # so that no square overflows
    return peak, np.sqrt(np.einsum("ij,ij->j", scaled, scaled))


def centred_rcond(X: Array, offsets: Array, within: float) -> Array:
    """The e_j of columns from which multiples of the last one, the intercept's, were subtracted.

    Parameters
    ----------
    X : (n, d + 1) array
    offsets : (d,) array
        Those multiples: the means. Rounding errors relative to the columns before the subtraction
        are large relative to what is left.
    within : float
        Other errors, relative to the columns as they are now.
    """
    peak, norms = column_norms(X)
    sizes = peak * norms / math.sqrt(len(X))
    before = np.append(np.abs(offsets), 0.0) * sizes[-1]
    own = min(within, max(_DIGITS, float(np.finfo(X.dtype).eps)))
    rcond: Array = within + own * before / np.where(sizes > 0, sizes, 1.0)
    return rcond


def singular_values(R: Array, intercept: bool) -> Array:
    """Singular values of X; with an intercept, of its other columns orthogonal to the last one.

    Parameters
    ----------
    R : (min(n, columns), columns) float64 array
        Of a QR decomposition of X, which has the same singular values and is smaller.
    intercept : bool
        Whether the last column of X is the intercept's.

    Returns
    -------
    (min(n, d),) float64 array
        d is the number of columns without the intercept's.
    """
    values: Array
    if not intercept:
        values = np.linalg.svd(R, compute_uv=False)
        return values
    n, d = len(R), R.shape[1] - 1
    first = np.asarray(np.linalg.qr(np.roll(R, 1, axis=1), mode="r"))  # the last column goes first
    values = np.zeros(min(n, d))
    if n > 1:
        rest = np.linalg.svd(first[1:, 1:], compute_uv=False)
        values[: len(rest)] = rest
    return values
