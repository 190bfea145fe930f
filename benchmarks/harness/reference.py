"""Every contender's first steps are held to those of plain float64 NumPy before it is timed."""

from collections.abc import Callable

import numpy as np

from benchmarks.harness.cases import NOT_A_DESCENT, ON_CPU, Contenders
from benchmarks.peers import Descent, Stepper, Sweep
from benchmarks.peers.common import factor_gradients, residual_power, suffix_products

CHECK_STEPS = 20
#: Largest difference of two contenders' parameters, relative to how far they have moved.
TOLERANCE = {"float64": 1e-6, "float32": 1e-3}

#: From the end-to-end matrix to the gradient of the loss there, both float64 on the host.
Gradient = Callable[[np.ndarray], np.ndarray]


def reference_params(run: Descent | Sweep, gradient: Gradient | None = None) -> np.ndarray:
    """The iterate after CHECK_STEPS by plain float64 NumPy, which every contender has to meet.

    `gradient` is for data that are not on the host.
    """
    if isinstance(run, Sweep):
        return np.stack([reference_params(descent, gradient) for descent in run.descents])
    gradient = gradient or _host_gradient(run)
    params = run.params.astype(np.float64)
    factors = run.factors(params)
    for _ in range(CHECK_STEPS):
        suffixes = suffix_products(factors)
        G = gradient(suffixes[0])
        for factor, change in zip(factors, factor_gradients(factors, suffixes, G), strict=True):
            factor -= run.learning_rate * change
    return params


def _host_gradient(run: Descent) -> Gradient:
    X, Y = run.X.astype(np.float64), run.Y.astype(np.float64)

    def gradient(W: np.ndarray) -> np.ndarray:
        return run.p / len(X) * (residual_power(X @ W.T - Y, run.p).T @ X)

    return gradient


def difference(run: Descent | Sweep, reference: np.ndarray, params: np.ndarray) -> float:
    """How far `params` are from `reference`, relative to the way from the start.

    In a sweep it is the largest over the models.
    """
    start = run.params.astype(np.float64)
    moved = np.linalg.norm(reference.astype(np.float64) - start, axis=-1)
    away = np.linalg.norm(reference.astype(np.float64) - params, axis=-1)
    return float(np.max(away / moved))


def check(name: str, stepper: Stepper, run: Descent | Sweep, reference: np.ndarray) -> float:
    """Make the first CHECK_STEPS steps; how far off they lead, 0 for what has no iterate."""
    stepper.advance(CHECK_STEPS)
    if name in NOT_A_DESCENT:
        return 0.0
    return difference(run, reference, stepper.params())


def start(
    name: str, run: Descent | Sweep, reference: np.ndarray, contenders: Contenders = ON_CPU
) -> Stepper:
    """Build a contender and hold its first CHECK_STEPS steps to the reference.

    Raises
    ------
    Gap
        If its library is missing.
    AssertionError
        If it computes something else than the others.
    """
    stepper = contenders.build(name, run)
    error = check(name, stepper, run, reference)
    tolerance = TOLERANCE[str(run.X.dtype)]
    assert error <= tolerance, f"{name}: iterate off by {error:.2e}, more than {tolerance:.0e}"
    return stepper
