r"""The accuracy of the forms of a p = 2 loss, and whether it is enough for a run.

The Gram form computes the loss from ``X'X``, ``Y'X`` and :math:`|Y|^2`: where residuals are small,
as a difference of large numbers. Its rounding error is

.. math:: \frac{f}{n} \sqrt n \, u \, (|Y| + |W| |X|)^2, \qquad u = 2^{-53},

whatever the residuals are, and that of the gradient is :math:`\frac{2 f}{n} \sqrt n \, u \, |X|
(|Y| + |W| |X|)`, all norms being Frobenius norms. (With n instead of its root that is a bound; the
root is the usual size, for independent rounding errors in sums of n terms: Higham and Mary 2019, "A
New Approach to Probabilistic Rounding Error Analysis".) Before a run only the W at its start is
known, and that W has to explain Y in the end, so that :math:`|W| |X| \ge |Y|`.

The spectral form is a sum of squares. What is wrong by rounding errors are the residuals, as in a
pass over the data: in their norm, by :math:`\delta = 16 \, u \, (|Y| + |W| |X|)` (of the usual size
again; see ``kernels.reference.rotation.spectral``). Where the residuals have the norm
:math:`\rho`, the error of the loss is :math:`\frac{f}{n} (2 \rho \delta + \delta^2)`, and that of
the gradient :math:`\frac{2 f}{n} |X| \delta`. A pass over the data does no better, but where
columns or rows of X differ much in size: its errors are relative to every product of a weight and a
feature, those of the spectral form to the largest ones.

The squares in ``X'X``, and those of singular values, overflow, or underflow, long before X does.
"""

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from accel._support import arrays
from accel._support.arrays import Array

__all__ = ["shortfall", "squares_by_column"]

_UNIT = 2.0**-53
_SPECTRAL = 16 * _UNIT  # of the norm of residuals
#: The loss at ``target`` should be known to six digits, the gradient norm at ``tol`` to one.
_LOSS_DIGITS, _GRADIENT_DIGITS = 1e-6, 0.1
#: Outside of this range, terms of the squares of norms may underflow or overflow in products.
_LEAST, _MOST = 1e-280, 1e290
_BLOCK = 2**20  # numbers that are squared at a time


def squares_by_column(a: Array) -> Array:
    """Squares of the norms of the columns, (d,); 0 only for columns of zeros."""

    def gather(of_rows: Callable[[Any], Any], join: Callable[[Array, Array], Array]) -> Array:
        rows = max(_BLOCK // a.shape[1], 1)
        parts = (of_rows(a[i : i + rows]) for i in range(0, len(a), rows))
        return reduce(join, map(arrays.to_host, parts))

    with np.errstate(over="ignore", under="ignore"):
        squares = gather(lambda rows: (rows * rows).sum(axis=0), np.add)
    if not squares.all():
        largest = gather(lambda rows: abs(rows).max(axis=0), np.maximum)
        squares = np.where((squares == 0) & (largest > 0), np.finfo(np.float64).tiny, squares)
    return squares


def shortfall(
    form: str,
    squares: tuple[Array, float],
    n: int,
    factor: float,
    weights: float = 0.0,
    tol: float = 0.0,
    target: float = -math.inf,
) -> str | None:
    """Return why a form of the loss has not the digits for a run; None if it has.

    Parameters
    ----------
    form : {"gram", "spectral"}
    squares : ((d,) array, float)
        Squares of the norms of the columns of X, and of Y.
    n : int
    factor : float
        The f of the loss.
    weights : float
        Norm of the end-to-end matrix at the start.
    tol, target : float
        As for ``train``; 0 and -inf never stop.
    """
    columns, yy = squares
    all_squares = np.append(columns, yy)
    all_squares = all_squares[all_squares != 0]
    if not ((all_squares > _LEAST) & (all_squares < _MOST)).all():
        return "squares of the data overflow or vanish: rescale X and y"
    of_x, of_y = math.sqrt(float(np.sum(columns))), math.sqrt(yy)
    reach = of_y + max(of_y, weights * of_x)
    scale = factor / n
    if form == "gram":
        unit = math.sqrt(n) * _UNIT
        noise = scale * unit * reach * reach  # not reach**2, which raises an OverflowError
    else:
        unit = _SPECTRAL
        residuals = math.sqrt(max(target, 0.0) / scale)
        noise = scale * unit * reach * (2 * residuals + unit * reach)
    if -math.inf < target < noise / _LOSS_DIGITS:
        return f"target = {target:.3g} is too low for a loss with rounding errors of {noise:.1g}"
    noise = 2 * scale * unit * of_x * reach
    if 0 < tol < noise / _GRADIENT_DIGITS:
        return f"tol = {tol:.3g} is too low for a gradient with rounding errors of {noise:.1g}"
    return None
