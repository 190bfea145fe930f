r"""The Hessian of the network's loss in its factors times a vector, exactly.

A direction V has a matrix ``V_j`` for every factor ``W_j``. Along it the end-to-end matrix moves by
its *tangent* :math:`\dot W_e`, and the gradient of the loss L by :math:`\dot G`, the second
derivative of L along that:

.. math::
    \dot W_e = \sum_j W_N \cdots W_{j+1} \, V_j \, W_{j-1} \cdots W_1, \qquad
    \dot G = \frac{f p (p - 1)}{n} \, E^\top X, \qquad
    E_{ic} = |r_{ic}|^{p-2} (X \dot W_e^\top)_{ic}.

The gradient of factor j is :math:`S_j^\top T_j` (:mod:`.factor_chain`). By the product rule its
derivative along V, which is the block of the Hessian times V that belongs to factor j, is

.. math::
    \dot S_j^\top T_j + S_j^\top \dot T_j,

where the recurrences of S and T are differentiated, too:
:math:`\dot S_{j-1} = \dot S_j W_j + S_j V_j` from :math:`\dot S_N = 0`, and
:math:`\dot T_{j+1} = \dot T_j W_j^\top + T_j V_j^\top` from :math:`\dot T_1 = \dot G`. So a product
costs one pass over the data and O(N) products of matrices, and no Hessian is formed: Pearlmutter
(1994), "Fast exact multiplication by the Hessian", Neural Computation 6.
"""

from collections.abc import Callable, Sequence

import numpy as np

from ..protocols import Array
from ..specs import Loss
from .factor_chain import factors_of, suffixes_of
from .losses import curvature_along


def hessian_product(X: Array, Y: Array, W: Array, V: Array, loss: Loss) -> Array:
    r"""Second derivative of the loss of a linear map W along a direction V, by one pass.

    Parameters
    ----------
    X : (n, d) array
    Y : (n, k) array
    W, V : (k, d) arrays
    loss : Loss
        ``loss.form`` is ignored.

    Returns
    -------
    (k, d) float64 array
        The derivative of the gradient along V. At r = 0 as in ``lp_loss.hessian``: the weight is 1
        for p = 2 and 0 else; for p < 2, where the curvature is infinite, that leaves the row out.

    Notes
    -----
    All is computed in float64. The residuals are wrong as in ``lp_loss.loss_and_gradient``; given
    them, the error is at most ``(n + d + 2 (p + 2) (1 + h) + 8) eps`` times the sum of the absolute
    values of the terms ``|r|^(p-2) |V| |x_i| |x_i|'`` (the CPU backend: without the 2 and the h).
    """
    X, W, V = (a.astype(np.float64) for a in (X, W, V))
    moved = curvature_along(loss, X @ W.T, Y, X @ V.T)
    product: Array = (loss.curvature_factor / len(X)) * (moved.T @ X)
    return product


class ChainCurvature:
    """The chain of factors at one point, for products with the Hessian along many directions.

    Parameters
    ----------
    params : (n_params,) array
    widths : sequence of int
    G : (k, d) array
        Gradient of the loss at the end-to-end matrix.
    """

    def __init__(self, params: Array, widths: Sequence[int], G: Array) -> None:
        self._widths = widths
        self._factors = factors_of(params, widths)
        self._suffixes = suffixes_of(self._factors)
        self._pulled = [G]
        for W in self._factors[:-1]:
            self._pulled.append(self._pulled[-1] @ W.T)

    def _moved(self, moves: list[Array]) -> tuple[list[Array], Array]:
        """The derivatives of the suffixes as the factors move, and that of the whole product."""
        tangents: list[Array] = [np.zeros_like(self._suffixes[-1])]
        for W, V, S in zip(self._factors[::-1], moves[::-1], self._suffixes[::-1], strict=True):
            tangents.append(tangents[-1] @ W + S @ V)
        return tangents[-2::-1], tangents[-1]

    def tangent(self, direction: Array) -> Array:
        r"""Derivative :math:`\dot W_e` of the end-to-end matrix as the factors move.

        Parameters
        ----------
        direction : (n_params,) array

        Returns
        -------
        (k, d) array of the dtype of params
        """
        return self._moved(factors_of(direction, self._widths))[1]

    def product(self, direction: Array, second: Callable[[Array], Array]) -> Array:
        r"""The Hessian times a direction.

        Parameters
        ----------
        direction : (n_params,) array
        second : callable
            From :math:`\dot W_e` (k, d), which it must not keep, to :math:`\dot G` (k, d).

        Returns
        -------
        (n_params,) array, laid out like params

        Notes
        -----
        Given what ``second`` returns, its error is at most ``2 (n_0 + ... + n_N) eps`` times the
        same sums with the absolute values of all matrices.
        """
        moves = factors_of(direction, self._widths)
        tangents, moved = self._moved(moves)
        U, blocks = second(moved), []
        chains = (self._factors, moves, self._suffixes, tangents, self._pulled)
        for W, V, S, D, T in zip(*chains, strict=True):
            blocks.append((D.T @ T + S.T @ U).ravel())
            U = U @ W.T + T @ V.T
        return np.concatenate(blocks)
