"""The end-to-end rule: two sums for one output, an SVD by CuPy for several.

Runs apply the former inside their kernels (``epilogue``). The function at the end is for the
latter, and for callers that ask for one direction: that of one output is a vector, for which NumPy
is faster.
"""

from typing import Any

import numpy as np

from ..reference.precondition import precondition as by_numpy
from .jit import as_like, device, to_host, xp


@device
def stretch_and_push(square, along, depth):
    """Return a and b such that one output moves along ``a (g + b w)``: claim 2.

    ``square`` is the squared norm of w, ``along`` its product with g.
    """
    if square == 0.0:
        return 1.0 if depth == 1.0 else 0.0, 0.0
    return square ** (1.0 - 1.0 / depth), (depth - 1.0) * along / square


def _several_outputs(W: Any, G: Any, depth: int) -> Any:
    """Return theorem 1's direction, in float64, with the thin SVD of W: no (d, d) matrix is formed.

    ``[W'W]^{(N-j)/N}`` is 0 on what is orthogonal to all right vectors V of W, except for j = N,
    where it is the identity: this is the term with ``B - (B V) V'``. Likewise for the left vectors.
    """
    negligible = np.finfo(W.dtype).eps * max(W.shape)
    W, G = W.astype(np.float64), G.astype(np.float64)
    U, sigma, Vt = xp.linalg.svd(W, full_matrices=False)
    # What is zero but for rounding must be zero: the powers go down to 2/N.
    sigma = xp.where(sigma <= negligible * sigma[0], 0.0, sigma)
    powers = [sigma ** (2 * j / depth) for j in range(depth)]  # 0 ** 0 is 1
    inner = U.T @ G @ Vt.T
    weights = sum(xp.outer(powers[j], powers[depth - 1 - j]) for j in range(depth))
    result = U @ (weights * inner) @ Vt
    last = powers[depth - 1]
    result += (U * last) @ (U.T @ G - inner @ Vt)  # j = N: right of the row space
    result += ((G @ Vt.T - U @ inner) * last) @ Vt  # j = 1: left of the column space
    return result


def precondition(W: Any, G: Any, depth: int) -> Any:
    """Apply the end-to-end rule's preconditioner at W (k, d) to G (k, d)."""
    w, g = xp.asarray(W), xp.asarray(G)
    if depth == 1:
        result = g.copy()
    elif len(w) == 1:
        result = xp.asarray(by_numpy(to_host(w), to_host(g), depth))
    else:
        result = _several_outputs(w, g, depth)
    return as_like(W, result.astype(w.dtype))
