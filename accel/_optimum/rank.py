r"""Which combinations of the columns of X are rounding errors, and how many are none: its rank.

Let errors of the size :math:`e_j` relative to the root mean square of column j be in its entries.
They change :math:`X v` by at most :math:`b(v) = \sum_j |v_j| e_j |x_j|`, so where
:math:`|X v| \le b(v)`, what is seen of X v may be nothing else, and a weight on it says nothing.
Which v to ask is told by the singular value decomposition of X with columns scaled to the same
:math:`e_j |x_j|`: its right singular vectors are the directions least and most above their errors.
(With other scales a column with large errors would be part of many directions and hide them.)

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
_RCOND = 1e-12  # errors that are taken for granted, e_j
_DIGITS = 5e-15  # half a unit in the 15th digit: how well tables in decimal keep a number
_DOUBT = 10.0  # from a tenth of the limit to ten times it, errors decide about the rank


class Rank(NamedTuple):
    """What of ``X = U S V' diag(scale)`` is used.

    Attributes
    ----------
    sizes : (rank,) array
    M : (d, rank) array
        The columns of ``X M / sizes`` are orthonormal. Of all w with the same X w,
        ``M (z / sizes)`` has the least norm, in units of each column's errors if any decided about
        the rank.
    doubtful : int
        How many directions errors might have added or removed.
    """

    sizes: Array
    M: Array
    doubtful: int


def decide(S: Array, Vt: Array, scale: Array, n: int, rcond: float | Array) -> Rank:
    """Decide, by a decomposition of X (n, d) divided by ``scale`` (d,), and by the e_j."""
    column, negligible = scale[:, np.newaxis], max(n, len(scale)) * _EPS * S[0]
    clear = negligible < S  # the rest is errors of the decomposition
    sizes, V = S[clear], Vt[clear].T
    M = V / column
    if len(sizes) < len(scale):
        rows = np.linalg.qr(V * column)[0]  # a basis of the row space of X
        M = rows @ (rows.T @ M)
    norms = np.sqrt(S**2 @ Vt**2)
    errors = np.maximum(rcond, _EPS) * np.where(norms > 0, norms, norms.max() or 1.0)
    most = max(negligible, math.sqrt(len(scale)) * float(errors.max()))
    if not len(sizes) or sizes[-1] > _DOUBT * most:
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
    """Return the errors that are taken for granted in data of this dtype."""
    return max(_RCOND, 4 * float(np.finfo(dtype).eps))


def checked_rcond(rcond: Any, d: int, dtype: np.dtype[Any]) -> float | Array:
    """Check what was given for all columns, or for each of d; the usual one for None."""
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


def centred_rcond(X: Array, offsets: Array, within: float) -> Array:
    """Errors of columns from which a multiple of the last one, the intercept's, was subtracted.

    Parameters
    ----------
    X : (n, d + 1) array
    offsets : (d,) array
        Those multiples. What the columns were before has its own rounding, relative to its size.
    within : float
        Errors relative to what the columns are now.
    """
    peak = np.maximum(X.max(axis=0), -X.min(axis=0)).astype(np.float64)
    peak[peak == 0] = 1.0
    scaled = X / peak  # so that no square overflows
    sizes = peak * np.sqrt(np.einsum("ij,ij->j", scaled, scaled) / len(X))
    before = np.append(np.abs(offsets), 0.0) * sizes[-1]
    own = min(within, max(_DIGITS, float(np.finfo(X.dtype).eps)))
    rcond: Array = within + own * before / np.where(sizes > 0, sizes, 1.0)
    return rcond


def singular_values(R: Array, intercept: bool) -> Array:
    """Singular values of X, the part along its last column projected out if ``intercept``.

    Parameters
    ----------
    R : (min(n, columns), columns) float64 array
        With ``R'R = X'X``, as of a QR decomposition, which costs less than X itself.
    intercept : bool

    Returns
    -------
    (min(n, d),) float64 array
        d being the number of the columns without that one.
    """
    found: Array
    if not intercept:
        found = np.linalg.svd(R, compute_uv=False)
        return found
    n, d = len(R), R.shape[1] - 1
    first = np.asarray(np.linalg.qr(np.roll(R, 1, axis=1), mode="r"))  # the last column goes first
    values = np.zeros(min(n, d))
    if n > 1:
        found = np.linalg.svd(first[1:, 1:], compute_uv=False)
        values[: len(found)] = found
    return values
