r"""From the factors to the end-to-end matrix, and from its gradient back to the factors.

The network's loss is :math:`L^N(W_1, ..., W_N) = L(W_e)` with the end-to-end matrix
:math:`W_e = W_N \cdots W_1`. With :math:`G = \nabla L(W_e)` (k, d), the chain rule gives

.. math::
    \frac{\partial L^N}{\partial W_j} = S_j^\top T_j, \qquad
    S_j = W_N \cdots W_{j+1}, \qquad T_j = G \, (W_{j-1} \cdots W_1)^\top.

Both recurrences, ``S_{j-1} = S_j W_j`` from ``S_N = I`` down and ``T_{j+1} = T_j W_j'`` from
``T_1 = G`` up, carry k rows: all N gradients cost O(N) products, none of them between two factors.

The factors live in one flat array, ``W_1`` row-major, then ``W_2``, up to ``W_N``; ``widths`` is
``(n_0, ..., n_N)`` with ``n_0 = d``, ``n_N = k`` and ``W_j`` of shape ``(n_j, n_{j-1})``.
"""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from ..protocols import Array


def factors_of(params: Array, widths: Sequence[int]) -> list[Array]:
    """Views ``[W_1, ..., W_N]`` into the flat array."""
    shapes = list(zip(widths[1:], widths[:-1], strict=True))
    ends = np.cumsum([rows * columns for rows, columns in shapes])
    blocks = np.split(params, ends[:-1])
    return [block.reshape(shape) for block, shape in zip(blocks, shapes, strict=True)]


def starts_of(widths: Sequence[int]) -> list[int]:
    """Where each factor begins in the flat array."""
    sizes = [rows * columns for rows, columns in zip(widths[1:], widths[:-1], strict=True)]
    return list(accumulate(sizes[:-1], initial=0))


def suffixes_of(factors: list[Array]) -> list[Array]:
    """``[S_1, ..., S_N]``, each with k rows."""
    suffixes: list[Array] = [np.eye(len(factors[-1]), dtype=factors[-1].dtype)]
    for W in reversed(factors[1:]):
        suffixes.append(suffixes[-1] @ W)
    return suffixes[::-1]


def end_to_end(params: Array, widths: Sequence[int]) -> Array:
    """The end-to-end matrix ``W_N ... W_1``.

    Parameters
    ----------
    params : (n_params,) array
    widths : sequence of int

    Returns
    -------
    (k, d) array of the dtype of params, a copy also at depth 1

    Notes
    -----
    Its error is, element by element, at most ``(n_1 + ... + n_N) eps |W_N| ... |W_1|``, and 0 at
    depth 1.
    """
    factors = factors_of(params, widths)
    return suffixes_of(factors)[0] @ factors[0]


def gradients(params: Array, widths: Sequence[int], G: Array) -> Array:
    """The gradient of the network's loss with respect to every factor.

    Parameters
    ----------
    params : (n_params,) array
    widths : sequence of int
    G : (k, d) array
        Gradient of the loss at the end-to-end matrix.

    Returns
    -------
    (n_params,) array, laid out like params

    Notes
    -----
    Its error is, element by element, at most ``(n_0 + ... + n_N) eps |S_j|' |G| |T|`` with the same
    products of absolute values, ``|S_j| = |W_N| ... |W_{j+1}|``, ``|T| = |W_1|' ... |W_{j-1}|'``.
    """
    factors = factors_of(params, widths)
    T, blocks = G, []
    for W, S in zip(factors, suffixes_of(factors), strict=True):
        blocks.append((S.T @ T).ravel())
        T = T @ W.T
    return np.concatenate(blocks)
