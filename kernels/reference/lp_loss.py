r"""The l_p loss of a linear map and what one pass over the data yields of it.

For data ``X`` (n, d), targets ``Y`` (n, k), a map ``W`` (k, d) and real p >= 1,

.. math::
    L(W) = \frac{f}{n} \sum_i \sum_c |r_{ic}|^p, \qquad r = X W^\top - Y,

    G = \nabla L(W) = \frac{f p}{n} \, D^\top X, \qquad
    D_{ic} = |r_{ic}|^{p-1} \operatorname{sign}(r_{ic}).

The factor f is 1 for the form of the paper's figures and 1/p for the form of its text. The
derivative at r = 0 is taken as 0 for every p; at p = 1 that is one of the subgradients.

For p = 2 the loss is a quadratic of W whose coefficients ``XX = X'X``, ``YX = Y'X`` and
``YY = sum y^2`` need the data only once:

.. math::
    L(W) = \frac{f}{n} \left( \langle W \, XX, W \rangle - 2 \langle YX, W \rangle + YY \right),
    \qquad G = \frac{2 f}{n} (W \, XX - YX).

A singular value decomposition ``X = U diag(s) Q'`` takes it apart into d quadratics for each
output. With ``V = W Q``, and ``Z = U'Y`` (d, k) in place of the targets,

.. math::
    L(W) = \frac{f}{n} \Bigl( \sum_{c,i} (s_i v_{ci} - z_{ic})^2 + |Y|^2 - |Z|^2 \Bigr),
    \qquad G Q = \frac{2 f}{n} \bigl( (s_i v_{ci} - z_{ic}) s_i \bigr)_{ci},

which is the loss of V on the data ``diag(s)`` with targets Z, but for a constant, the ``rest``.
"""

import numpy as np

from ..protocols import Array
from ..specs import Loss
from .losses import curvature, value_and_slope


def loss_and_gradient(X: Array, Y: Array, W: Array, loss: Loss) -> tuple[float, Array]:
    r"""Loss and end-to-end gradient, from the data.

    Parameters
    ----------
    X : (n, d) array
    Y : (n, k) array
    W : (k, d) array
    loss : Loss
        ``loss.form`` is ignored: this is the direct pass.

    Returns
    -------
    value : float
        Summed in float64 whatever the dtype of the data: a float32 sum over many rows stops
        growing once a term is below half a unit in the last place of what is there already.
    gradient : (k, d) array of the dtype of X

    Notes
    -----
    With eps that of the dtype, what is returned belongs to residuals that are wrong by at most

    .. math:: \delta_{ic} = (d + 2) \epsilon \, (|W| |x_i| + |y_i|)_c

    and, given those, has a relative error of at most ``2 (p + 2) (1 + h) eps`` in every power (the
    CPU backend: ``(p + 2) eps``), and an error of ``m eps`` times the sum of the absolute values of
    its terms in their sum. Here h is 0 for p = 1, 2, 3 and 4, and else the largest ``|log |r||``;
    for the loss m eps is ``n + 4`` times the eps of float64 (the CUDA backend: plus 64 times that
    of the dtype), for the gradient m is ``n + 4`` (the CPU backend: at most ``2^14 + 4``, the rows
    after which float32 sums move into float64). Results below the normal numbers lose digits as
    such numbers do.

    Where a term or a sum overflows, the loss is inf or NaN.
    """
    n = len(X)
    values, slopes = value_and_slope(loss, X @ W.T, Y)
    value = loss.factor / n * float(np.sum(values, dtype=np.float64))
    return value, (loss.slope_factor / n) * (slopes.T @ X)


def gram(X: Array, Y: Array) -> tuple[Array, Array, float]:
    """What the p = 2 loss needs of the data, in float64.

    Returns
    -------
    XX : (d, d) array
    YX : (k, d) array
    YY : float
    """
    X, Y = X.astype(np.float64), Y.astype(np.float64)
    return X.T @ X, Y.T @ X, float(np.sum(Y**2))


def gram_loss_and_gradient(
    XX: Array, YX: Array, YY: float, n: int, W: Array, factor: float
) -> tuple[float, Array]:
    """Loss and end-to-end gradient for p = 2, from the Gram matrices of n rows.

    Returns
    -------
    value : float
    gradient : (k, d) array

    Notes
    -----
    With eps = 2.2e-16 and m = n + 2 d + 8 the error of the loss is at most
    ``m eps f / n sum_i (|W| |x_i| + |y_i|)^2``, that of the gradient
    ``m eps 2 f / n sum_i (|W| |x_i| + |y_i|) |x_i|'``. In the direct pass there is ``|r_i|`` in
    place of one of the factors: small residuals make its loss exact, but not this one.
    """
    WX = W @ XX
    value = factor / n * float(np.sum((WX - 2 * YX) * W) + YY)
    return value, (2 * factor / n) * (WX - YX)


def diagonal_loss_and_gradient(s: Array, Y: Array, W: Array, loss: Loss) -> tuple[float, Array]:
    r"""Loss and end-to-end gradient for p = 2 where the matrix of data is diagonal.

    They are those of ``loss_and_gradient(np.diag(s), Y, W, loss)``, where n is d, and ``loss.rest``
    is added to the sum of the loss.

    Parameters
    ----------
    s : (d,) array
        The diagonal.
    Y : (d, k) array
    W : (k, d) array
    loss : Loss

    Returns
    -------
    value : float
        Summed in float64 whatever the dtype of the data.
    gradient : (k, d) array of the dtype of W

    Notes
    -----
    With eps that of the dtype, what is returned belongs to residuals that are wrong by at most

    .. math:: \delta_{ci} = 2 \epsilon \, (|w_{ci}| s_i + |y_{ic}|)

    and, given those, every element of the gradient has a relative error of at most ``4 eps``, and
    every square in the loss; its sum has one of ``k d + 4`` times the eps of float64. Nothing is
    added up in the gradient, so the error of an element does not depend on the other singular
    values, however large their ratio is.

    With s, U and Q from a decomposition of X (n, d) that is computed in float64, ``rest`` as the
    sum of squares of ``Y - U U'Y``, and W the rotation of a map V, there are errors of the size of
    ``delta = (n + d + 8) eps (|X| |V| + |Y|)`` in all, in Frobenius norms: with ``|r|`` that of the
    residuals of V, ``sqrt(n / f value)`` is within delta of it, and the gradient, rotated back, is
    within ``2 f / n |X| (delta + (n + d + 8) eps |r|)`` of that of the direct pass. Neither bound
    has the condition of X in it. In the Gram form the loss has an error of the order of eps times
    the square of ``|X| |V| + |Y|``; here ``|r|`` is in place of one of the factors.
    """
    residual = s * W - Y.T
    total = float(np.sum(residual**2, dtype=np.float64)) + loss.rest
    return loss.factor / len(s) * total, (2 * loss.factor / len(s)) * (residual * s)


def hessian(X: Array, y: Array, w: Array, loss: Loss) -> Array:
    r"""Second derivative for a single output: ``f p (p-1) / n * X' diag(|r|^(p-2)) X``.

    Parameters
    ----------
    X : (n, d) array
    y : (n,) array
    w : (d,) array
    loss : Loss

    Returns
    -------
    (d, d) float64 array
        A row with r = 0 weighs 1 for p = 2 and 0 for p > 2. For p < 2, where its curvature is
        infinite, it is left out.

    Notes
    -----
    The residuals are wrong as in ``loss_and_gradient``, with the eps of float64; given them, the
    error is at most ``(n + 2 (p + 2) (1 + h) + 8) eps`` times the sum of the absolute values of the
    terms (the CPU backend: ``(n + p + 10) eps``).
    """
    n = len(X)
    X = X.astype(np.float64)
    weight = curvature(loss, X @ w, y)
    H: Array = (loss.curvature_factor / n) * (X.T @ (weight[:, np.newaxis] * X))
    return H
