r"""The losses of one sample: value, slope and curvature in the prediction.

For a prediction m, a target y and the residual ``r = m - y``, or for labels y of -1 and +1 the
margin ``z = y m``:

=============  =====================================================  =======================
kind           value                                                  slope
=============  =====================================================  =======================
lp             :math:`|r|^p`                                          :math:`|r|^{p-1}` sign(r)
huber          :math:`r^2 / 2` for :math:`|r| \le \delta`, else       r, cut to
               :math:`\delta (|r| - \delta / 2)`                      :math:`\pm \delta`
pinball        :math:`(1 - \tau) r` for r > 0, :math:`-\tau r` else   :math:`1-\tau, -\tau`
expectile      :math:`(1 - \tau) r^2` for r > 0, :math:`\tau r^2`     2 (1 - tau) r, 2 tau r
logcosh        :math:`\log \cosh r`                                   tanh r
logistic       :math:`\log(1 + e^{-z})`                               :math:`-y / (1 + e^z)`
exponential    :math:`e^{-z}`                                         :math:`-y e^{-z}`
cross-entropy  :math:`\log \sum_c e^{m_c} - \sum_c y_c m_c`           softmax(m) - y
=============  =====================================================  =======================

The slope of l_p is that over p; the factor p is put to the sum over all samples. The cross-entropy
couples the outputs of a sample; its targets are rows of probabilities, which add up to 1. Where a
loss has a kink the slope is 0.
"""

import numpy as np

from ..protocols import Array
from ..specs import Loss


def _smaller(z: Array) -> tuple[Array, Array]:
    """``e = exp(-|z|)`` and ``1 / (1 + e)``."""
    e = np.exp(-np.abs(z))
    return e, 1 / (1 + e)


def _soft_max(products: Array) -> tuple[Array, Array]:
    """Probabilities (n, k), and the logarithms of the sums of exponentials (n, 1)."""
    most = products.max(axis=1, keepdims=True)
    sizes = np.exp(products - most)
    total = sizes.sum(axis=1, keepdims=True)
    return sizes / total, most + np.log(total)


def value_and_slope(loss: Loss, products: Array, targets: Array) -> tuple[Array, Array]:
    """Values and slopes of all samples.

    Parameters
    ----------
    loss : Loss
    products : (n, k) array
        The predictions.
    targets : (n, k) array

    Returns
    -------
    values : (n, k) array
        Those of the cross-entropy are split over the outputs: their sum is that of the sample.
    slopes : (n, k) array
    """
    kind, p = loss.kind, products.dtype.type(loss.p)
    if kind == "cross-entropy":
        chances, logs = _soft_max(products)
        return targets * (logs - products), chances - targets
    if kind in ("logistic", "exponential"):
        z = targets * products
        if kind == "exponential":
            value = np.exp(-z)
            return value, -targets * value
        e, inverse = _smaller(z)
        value = np.maximum(-z, 0) + np.log1p(e)
        return value, -targets * np.where(z >= 0, e * inverse, np.where(z < 0, inverse, z))
    r = products - targets
    size = np.abs(r)
    if kind == "huber":
        slope = np.clip(r, -p, p)
        return slope * (r - slope / 2), slope
    if kind == "pinball":
        slope = np.where(r > 0, 1 - p, np.where(r < 0, -p, r))
        return slope * r, slope
    if kind == "expectile":
        slope = 2 * np.where(r > 0, 1 - p, p) * r
        return slope * r / 2, slope
    if kind == "logcosh":
        slope = np.tanh(r)
        small = size < 0.5  # elsewhere what is subtracted is less than half of what is left
        inner = np.where(small, slope, 0)
        value = np.where(
            small, -np.log1p(-(inner**2)) / 2, size + np.log1p(np.exp(-2 * size)) - np.log(2)
        )
        return value.astype(products.dtype), slope
    return size**loss.p, np.sign(r) * size ** (loss.p - 1)


def curvature(loss: Loss, products: Array, targets: Array) -> Array:
    """Second derivatives of the values of all samples, over p (p - 1) for l_p; not cross-entropy.

    Parameters
    ----------
    loss : Loss
    products, targets : (n, k) arrays

    Returns
    -------
    (n, k) array
        At the kinks and where there is none: 0, for l_2 1; that of the expectile at r = 0 is that
        of r < 0. Where the curvature of l_p is infinite, at r = 0 for p < 2, it is 0.
    """
    kind, p = loss.kind, loss.p
    if kind in ("logistic", "exponential"):
        z = targets * products
        if kind == "exponential":
            weights: Array = np.exp(-z) * targets**2
            return weights
        e, inverse = _smaller(z)
        weights = e * inverse**2
        return weights
    r = products - targets
    size = np.abs(r)
    if kind == "huber":
        return np.where(size <= p, 1.0, np.where(size > p, 0.0, size))
    if kind == "pinball":
        return r * 0
    if kind == "expectile":
        return np.where(r > 0, 2 * (1 - p), np.where(r <= 0, 2 * p, r))
    if kind == "logcosh":
        weights = 4 * np.exp(-2 * size) / (1 + np.exp(-2 * size)) ** 2
        return weights
    at_zero = np.full_like(size, 1.0 if p == 2 else 0.0)
    weights = np.power(size, p - 2, out=at_zero, where=size != 0)  # of NaN it is NaN
    return weights


def curvature_along(loss: Loss, products: Array, targets: Array, moves: Array) -> Array:
    """Second derivatives of the values times ``moves``, (n, k), the changes of the predictions.

    As ``curvature``, and for the cross-entropy, too: ``s (u - s'u)`` for a sample's soft-max s and
    its move u.
    """
    if loss.kind == "cross-entropy":
        chances, _ = _soft_max(products)
        moved: Array = chances * (moves - np.sum(chances * moves, axis=1, keepdims=True))
        return moved
    moved = curvature(loss, products, targets) * moves
    return moved
