r"""The loss of entries of a matrix, and of linear measurements of it.

Where m entries of the end-to-end matrix W (k, d) are observed, entry (i_e, j_e) as v_e,

.. math::
    L(W) = \frac{f}{m} \sum_{e=1}^{m} \ell(W_{i_e j_e}, v_e), \qquad
    G_{ij} = \frac{f}{m} \sum_{e : (i_e, j_e) = (i, j)} \ell'(W_{i_e j_e}, v_e).

G is 0 where nothing was observed. An entry that was observed several times counts as often.

Linear measurements :math:`y_e = \langle A_e, W \rangle = \sum_{ij} (A_e)_{ij} W_{ij}` are the loss
of :mod:`.lp_loss` on data of k d features and one output: the samples are the :math:`A_e`, row by
row, and so is the map.
"""

import numpy as np

from ..protocols import Array
from ..specs import Loss
from . import lp_loss
from .losses import curvature, value_and_slope

__all__ = [
    "hessian_product",
    "loss_and_gradient",
    "measured_loss_and_gradient",
    "whole_hessian_product",
    "whole_loss_and_gradient",
]


def loss_and_gradient(places: Array, values: Array, W: Array, loss: Loss) -> tuple[float, Array]:
    """Loss and gradient of observed entries.

    Parameters
    ----------
    places : (m, 2) int64 array
        Row and column of each of them.
    values : (m, 1) array
    W : (k, d) array
    loss : Loss

    Returns
    -------
    value : float
        Summed in float64 whatever the dtype.
    gradient : (k, d) array of the dtype of W

    Notes
    -----
    With eps that of the dtype, a residual has a relative error of at most ``eps``: it is one
    subtraction. Given it, a power of it has one of at most ``2 (p + 2) (1 + h) eps``, as in
    ``lp_loss.loss_and_gradient``, the loss one of ``(m + 4)`` times the eps of float64 in its sum,
    and an entry of the gradient that was observed c times one of ``(c + 3) eps`` in its own.
    """
    m, (rows, columns) = len(values), places.T
    each, slopes = value_and_slope(loss, W[rows, columns], values[:, 0])
    value = loss.factor / m * float(np.sum(each, dtype=np.float64))
    G = np.zeros(W.shape, W.dtype)
    np.add.at(G, (rows, columns), (loss.slope_factor / m * slopes).astype(W.dtype))
    return value, G


def hessian_product(places: Array, values: Array, W: Array, V: Array, loss: Loss) -> Array:
    """Return the second derivative of the loss of observed entries at W along V, (k, d), float64.

    Where a residual is 0 the weight of its entry is as in ``lp_loss.hessian``.
    """
    rows, columns = places.T
    weights = curvature(loss, W[rows, columns].astype(np.float64), values[:, 0])
    product = np.zeros(W.shape)
    scale = loss.curvature_factor / len(values)
    np.add.at(product, (rows, columns), scale * weights * V[rows, columns])
    return product


def whole_loss_and_gradient(M: Array, W: Array, loss: Loss) -> tuple[float, Array]:
    """Loss and gradient (k, d) where every entry was observed, once: those of a matrix M (k, d)."""
    each, slopes = value_and_slope(loss, W, M)
    value = loss.factor / M.size * float(np.sum(each, dtype=np.float64))
    return value, (loss.slope_factor / M.size) * slopes


def whole_hessian_product(M: Array, W: Array, V: Array, loss: Loss) -> Array:
    """Return the second derivative of that loss at W along V, (k, d), float64."""
    weights = curvature(loss, W.astype(np.float64), M)
    product: Array = (loss.curvature_factor / M.size) * weights * V
    return product


def measured_loss_and_gradient(A: Array, y: Array, W: Array, loss: Loss) -> tuple[float, Array]:
    """Loss and gradient (k, d) of linear measurements.

    Parameters
    ----------
    A : (n, k d) array
        The matrices of the measurements, row by row.
    y : (n, 1) array
    W : (k, d) array
    loss : Loss
    """
    value, G = lp_loss.loss_and_gradient(A, y, W.reshape(1, -1), loss)
    return value, G.reshape(W.shape)
