r"""Rotations of the input: the run of a problem in coordinates where its data are smaller.

Let B (d, q) have orthonormal columns that span at least the row space of X (n, d). Write X' = X B,
so that X = X' B^T, and let the columns of V (d, r), orthonormal and orthogonal to B, span what the
rows of the first factor W_1 (n_1, d) have outside of it. Then W_1 = W_1' [B V]^T with W_1' = W_1 [B
V], and for the data [X' 0] (n, q + r)

.. math::
    X W_1^\top = [X' \; 0] \, W_1'^\top, \qquad
    \nabla_{W_1} L^N = \nabla_{W_1'} L^N \, [B \; V]^\top .

A rule that maps factors and gradients linearly along the input, with coefficients that depend on
them through inner products only, does the same to W_1' as to W_1: gradient descent, momentum and
Nesterov's form of it, weight decay, group RMSProp, whose coefficients are the norms of gradients,
and the end-to-end rule, since :math:`P_{W Q}(G Q) = P_W(G) Q` for Q with orthonormal columns that
span the rows of W and G. So the run of W_1' on [X' 0] is that
of W_1 on X, rotated, to the end: with the same losses, and the same norms of gradients and
end-to-end matrices. Rules that scale every entry by itself (AdaGrad, AdaDelta, RMSProp, Adam) do
not commute.

Two choices of B serve:

- ``row_space``, for every p: X^T = B X'^T is the QR decomposition. With n < d, X' is (n, n).
- ``spectral``, for p = 2: X = U diag(s) B^T is the singular value decomposition. With Z = U^T Y

  .. math:: |X W^\top - Y|^2 = |\operatorname{diag}(s) (W B)^\top - Z|^2 + |Y - U Z|^2 ,

  whose last term is a constant. A pass costs two multiply-adds for each entry of W B.

They are made once a run, on the host and whatever the backend: there is no compiled version.
"""

import numpy as np

from ..protocols import Array
from .norms import norm

#: A block has so many rows for each of its columns, and so many numbers, at least: it stays in the
#: caches, and what it is reduced to is small beside it.
_ROWS, _NUMBERS = 8, 2**15
#: What is smaller, relative to all of a factor, is taken for its rounding errors.
_ROUNDING = 32 * 2.0**-52


def row_space(X: Array) -> tuple[Array, Array]:
    """A basis of the row space of the data, and the data in it.

    Parameters
    ----------
    X : (n, d) array

    Returns
    -------
    basis : (d, q) float64 array
        With q = min(n, d) orthonormal columns.
    coordinates : (n, q) float64 array
        ``X`` is ``coordinates @ basis.T``, with an error of at most ``16 q eps`` times its norm in
        every row.
    """
    basis, triangle = np.linalg.qr(X.T.astype(np.float64))
    return basis, np.ascontiguousarray(triangle.T)


def block_rows(m: int) -> int:
    """Rows of a block of m columns, features and targets, that ``spectral`` takes at a time."""
    return max(_ROWS * m, _NUMBERS // m)


def _triangle(X: Array, Y: Array) -> Array:
    """The triangular factor of [X Y], by blocks of rows that are joined in pairs, as in a tree."""
    rows = block_rows(X.shape[1] + Y.shape[1])
    triangles: list[tuple[int, Array]] = []  # each of 2^level blocks; the levels descend

    def reduced(stacked: Array) -> Array:
        return np.asarray(np.linalg.qr(stacked, mode="r"))

    for start in range(0, len(X), rows):
        block = (X[start : start + rows], Y[start : start + rows])
        level, triangle = 0, reduced(np.concatenate(block, axis=1, dtype=np.float64))
        while triangles and triangles[-1][0] == level:
            level, triangle = level + 1, reduced(np.concatenate([triangles.pop()[1], triangle]))
        triangles.append((level, triangle))
    return reduced(np.concatenate([triangle for _, triangle in triangles]))


def spectral(X: Array, Y: Array) -> tuple[Array, Array, Array, float]:
    """The p = 2 problem in the basis of the right singular vectors of X.

    Parameters
    ----------
    X : (n, d) array
    Y : (n, k) array

    Returns
    -------
    basis : (d, q) float64 array
        With q = min(n, d) orthonormal columns.
    s : (q,) float64 array
        Singular values of X, descending.
    Z : (q, k) float64 array
    rest : float
        ``|X W' - Y|^2`` is ``|diag(s) (W basis)' - Z|^2 + rest``.

    Notes
    -----
    Nothing is squared before the end: s and Z come from a QR decomposition of [X Y], block by block
    of rows, and the decomposition of the triangle of X. Such steps by orthogonal matrices give what
    data would give that are wrong by ``c eps |X|`` and ``c eps |Y|`` (Frobenius norms; Higham 2002,
    "Accuracy and Stability of Numerical Algorithms", section 19.3), so the norm of the residuals is
    wrong by at most ``c eps (|W| |X| + |Y|)``: also where the residuals are small, or X is badly
    conditioned. c is at most ``16 (q + k) log2(n)``; in practice it is below 8.
    """
    outer, (n, d) = None, X.shape
    if n < d:
        outer, X = row_space(X)
    q, triangle = X.shape[1], _triangle(X, Y)
    U, s, basis = np.linalg.svd(triangle[:q, :q])
    Z = U.T @ triangle[:q, q:]
    basis = basis.T if outer is None else outer @ basis.T
    return np.ascontiguousarray(basis), s, Z, float(np.sum(triangle[q:, q:] ** 2))


def outside(basis: Array, W: Array) -> Array:
    """An orthonormal basis of what the rows of a factor have outside of the span of a basis.

    Parameters
    ----------
    basis : (d, q) array
        With orthonormal columns.
    W : (n_1, d) array

    Returns
    -------
    (d, r) float64 array
        With r at most ``min(n_1, d - q)``: directions in which W is below ``32 eps`` times its norm
        are left out.
    """
    (d, q), given = basis.shape, W.T.astype(np.float64)
    if q == d:
        return np.zeros((d, 0))  # a basis of everything
    rest = given - basis @ (basis.T @ given)
    rest -= basis @ (basis.T @ rest)  # once is not enough where little is left
    U, sizes, _ = np.linalg.svd(rest, full_matrices=False)
    kept = min(int(np.sum(sizes > _ROUNDING * norm(W))), d - q)
    V = U[:, :kept]
    V, _ = np.linalg.qr(V - basis @ (basis.T @ V))
    return np.ascontiguousarray(V)
