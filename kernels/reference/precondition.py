r"""What the factors do to the gradient of the end-to-end matrix: Arora, Cohen, Hazan (2018).

Theorem 1: under balance and to first order in the rate, gradient descent on N factors moves
the end-to-end matrix W (k, d) against

.. math:: P_W(G) = \sum_{j=1}^N [W W^\top]^{(j-1)/N} \, G \, [W^\top W]^{(N-j)/N}.

Claim 1: with the SVD :math:`W = U \operatorname{diag}(\sigma) V^\top` (all k left and all d right
vectors, sigma padded by zeros), :math:`P_W` is diagonal in the basis :math:`u_r v_s^\top`:

.. math::
    P_W(G) = U \, (\Lambda \circ U^\top G V) \, V^\top, \qquad
    \Lambda_{rs} = \sum_{j=1}^N \sigma_r^{2(j-1)/N} \sigma_s^{2(N-j)/N}, \qquad 0^0 = 1.

Claim 2: for k = 1 that is :math:`\|w\|^{2-2/N} (g + (N-1) \Pr_w g)`, with :math:`\Pr_w` the
projection on w.
"""

import numpy as np

from ..protocols import Array
from .norms import norm


def _single_output(w: Array, g: Array, depth: int) -> Array:
    size = norm(w)
    if size == 0:
        return g.copy() if depth == 1 else np.zeros_like(g)
    unit = (w.astype(np.float64) / size).astype(w.dtype)
    stretch = np.float64(size) ** (2 - 2 / depth)  # overflows to inf, not to an OverflowError
    direction: Array = stretch * (g + (depth - 1) * np.sum(unit * g) * unit)
    return direction.astype(w.dtype)


def _several_outputs(W: Array, G: Array, depth: int) -> Array:
    k, d = W.shape
    U, sigma, Vt = np.linalg.svd(W)
    # A singular value that is zero but for rounding must be zero: the powers go down to 2/N, and
    # 1e-17 ** (2/8) is far from nothing.
    sigma[sigma <= np.finfo(W.dtype).eps * max(k, d) * sigma[0]] = 0
    left, right = np.zeros(k, W.dtype), np.zeros(d, W.dtype)
    left[: len(sigma)] = right[: len(sigma)] = sigma
    eigenvalues = sum(
        np.outer(left ** (2 * (j - 1) / depth), right ** (2 * (depth - j) / depth))
        for j in range(1, depth + 1)
    )
    direction: Array = U @ (eigenvalues * (U.T @ G @ Vt.T)) @ Vt
    return direction


def precondition(W: Array, G: Array, depth: int) -> Array:
    """The direction in which a balanced network of this depth moves its end-to-end matrix.

    Parameters
    ----------
    W : (k, d) array
        End-to-end matrix, of any rank.
    G : (k, d) array
        Gradient of the loss at W.
    depth : int
        N >= 1; the identity for N = 1.

    Returns
    -------
    (k, d) array of the dtype of W

    Notes
    -----
    With ``h = |log |W|_2|`` the error for one output is, element by element, at most
    ``2 (d + h + 12) eps`` times ``|w|^(2-2/N) (|g| + (N-1) |w| <|w|, |g|> / |w|^2)``. For several
    it is, in the Frobenius norm, at most ``N |W|_2^(2-2/N) |G|`` times ``e^min(1, 2/N)``, where
    ``e = (32 (k + d) + 2 h) eps``: a singular value is known up to e times the largest, and its
    powers go down to 2/N. If the least of them, s, of a W of full rank is above 2 e times the
    largest, that factor is at most ``2 e (|W|_2 / s)^max(0, 1-2/N)``.
    """
    if len(W) == 1:
        return _single_output(W, G, depth)
    return _several_outputs(W, G, depth)
