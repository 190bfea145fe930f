"""Losses of every kind, data for them, and how far a pass over these may be off by rounding."""

from typing import Any, NamedTuple

import numpy as np

from accel.kernels.reference.losses import curvature, value_and_slope
from accel.kernels.specs import COUPLED_KINDS, MARGIN_KINDS, Loss

#: Every kind but l_p, with numbers at which both branches are taken.
KINDS = {
    "huber": Loss(0.4, 0.7, kind="huber"),
    "pinball": Loss(0.3, 0.7, kind="pinball"),
    "expectile": Loss(0.8, 0.7, kind="expectile"),
    "logcosh": Loss(1.0, 0.7, kind="logcosh"),
    "logistic": Loss(1.0, 0.7, kind="logistic"),
    "exponential": Loss(1.0, 0.7, kind="exponential"),
    "cross-entropy": Loss(1.0, 0.7, kind="cross-entropy"),
}
#: Those of several outputs, and those that take each output by itself.
SEVERAL = [name for name in KINDS if name not in MARGIN_KINDS]
ALONE = [name for name in KINDS if name not in COUPLED_KINDS]


def outputs(name: str, k: int) -> int:
    """Return k outputs for this kind, or the one that a margin has."""
    return 1 if name in MARGIN_KINDS else k


def targets(rng: np.random.Generator, name: str, n: int, k: int) -> Any:
    """Return targets (n, k): numbers, labels -1 and +1, or rows of probabilities."""
    if name in MARGIN_KINDS:
        return rng.choice([-1.0, 1.0], (n, k))
    if name in COUPLED_KINDS:
        rows = rng.dirichlet(np.ones(k), n)
        rows[::2] = np.eye(k)[rng.integers(0, k, len(rows[::2]))]  # every other one is a class
        return rows
    return rng.standard_normal((n, k))


class Bounded(NamedTuple):
    """Sums over all rows, without factors, in float64, and how far a pass may be from each."""

    value: float
    value_error: float
    gradient: Any
    gradient_error: Any


def bounded(loss: Loss, X: Any, Y: Any, W: Any) -> Bounded:
    """Sums of values and of slopes times X, from (n, d), (n, k), (k, d), and bounds of rounding.

    Products of which each is wrong by ``delta``, functions with a relative error of 16 eps in value
    and slope, and sums. Where a loss has no curvature its slope is no more sensitive than that of
    its neighbours, but for a pinball's kink, where no sample lies.
    """
    eps, (n, d), k = np.finfo(X.dtype).eps, X.shape, len(W)
    X, Y, W = (a.astype(np.float64) for a in (X, Y, W))
    products = X @ W.T
    delta = (d + 2) * eps * (abs(X) @ abs(W).T + abs(Y))
    values, slopes = value_and_slope(loss, products, Y)
    if loss.kind == "cross-entropy":
        # The values of a row are summed, and every slope moves with all products of the row.
        steep = np.ones_like(products)
        delta = np.broadcast_to(delta.max(axis=1, keepdims=True), delta.shape)
        own = (k + 16) * eps * (slopes + 2 * Y)  # of soft-max and target
        of_value = (k + 16) * eps * (abs(values) + Y * (1 + abs(products)))
    else:
        steep = {"huber": 1.0, "expectile": 2.0}.get(loss.kind, 0.0)
        if loss.kind in ("logcosh", "logistic", "exponential"):
            steep = 1.01 * curvature(loss, products, Y)
        own, of_value = 16 * eps * abs(slopes), 16 * eps * abs(values)
    of_slope = own + steep * delta
    of_value = of_value + abs(slopes) * delta + steep * delta**2
    value_error = of_value.sum() + 64 * eps * abs(values).sum()
    sums = (n + 4) * eps * abs(slopes).T @ abs(X)
    return Bounded(values.sum(), value_error, slopes.T @ X, of_slope.T @ abs(X) + sums)
