"""What every estimator checks at the door, and says at the end of a fit."""

import sys
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

import numpy as np

from accel._core.optimizers import OPTIMIZERS, EndToEnd, Langevin
from accel._support import frames, memory, validation
from accel._support.arrays import Array
from accel.losses import Loss
from accel.sklearn.extra import _check_sample_weight
from accel.sklearn.fitting import Fit

__all__ = [
    "FLOATS",
    "GRADIENT_STEPS",
    "NEWTON_STEPS",
    "SMALL",
    "checked_options",
    "checked_weight",
    "repeated",
    "require_numbers",
    "tell",
    "unconverged",
]

FLOATS = (np.float64, np.float32)
SMALL = 1000  # features or samples up to which "auto" takes Newton's method
NEWTON_STEPS, GRADIENT_STEPS = 200, 10_000  # max_iter where it is None

_RULES = [name for name in OPTIMIZERS if name not in (EndToEnd.name, Langevin.name)]
_ROWS_IN_MESSAGE = 10
_WHOLE = 1e-6  # relative differences from a whole number that are rounding errors, of float32, too
_PARTS = 100  # of the smallest weight, the most that a common divisor of weights is looked for in
_NO_NUMBERS = (str, bytes, np.datetime64, np.timedelta64, date, timedelta)
#: The advice in a warning about descent, by its status.
_ADVICE = {
    "completed": "more steps (max_iter), a larger tol, another solver or learning rate, or "
    "standardize=True",
    "saddle": "another random_state, or a smaller depth or weight_decay",
}


def require_numbers(name: str, value: Any) -> None:
    """Raise TypeError for text and dates, which scikit-learn would convert to floats."""
    columns = frames.columns(value) if frames.is_frame(value) else [("", value)]
    for where, column in columns:
        try:
            array = np.asarray(column)
        except (TypeError, ValueError):  # ragged or sparse, which scikit-learn refuses
            return
        kinds = set(map(type, array.flat)) if array.dtype.kind == "O" else {array.dtype.type}
        if any(issubclass(kind, _NO_NUMBERS) for kind in kinds):
            shown = validation.shown(np.atleast_1d(array)[:_ROWS_IN_MESSAGE].tolist())
            raise TypeError(f"{name} must hold numbers, got text or dates{where}: {shown}")


def checked_weight(sample_weight: Any, X: Array) -> tuple[Array, Array] | None:
    """Return which samples have a weight above 0, and these weights; None where none are given.

    Raises
    ------
    TypeError, ValueError
        If they are no weights of the rows of X, or all 0.
    """
    if sample_weight is None:
        return None
    weight = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
    kept = weight > 0
    if not kept.any():
        raise ValueError("sample_weight must not be zero for every sample")
    return kept, weight[kept]


def repeated(loss: Loss, weight: Array, columns: int) -> Array:
    """Return the rows, as often as their weights say, for a loss that takes none but by rows.

    Parameters
    ----------
    loss : Loss
    weight : (n,) array
        Above 0.
    columns : int
        Of a row, for the check of the memory.

    Raises
    ------
    ValueError
        If they are neither integers nor whole multiples of a part of the smallest one, down to
        1/``_PARTS`` of it.
    MemoryError
        If the machine has no memory for so many rows.
    """
    given = weight.astype(np.float64)
    for parts in range(1, _PARTS + 1):
        counts = parts * (given / float(given.min()))
        whole = np.rint(counts)
        if np.all(np.abs(counts - whole) <= _WHOLE * counts):
            break
    else:
        if not np.array_equal(given, np.rint(given)):
            first = given / given.min()
            row = int(np.argmax(np.abs(first - np.rint(first)) / first))
            raise ValueError(
                f"sample_weight must hold integers, or whole multiples of its smallest number or "
                f"of a part of that, down to 1/{_PARTS}, for {loss!r}, which does not scale with "
                f"the residual, got {weight[row]:g} and {weight.min():g}"
            )
        whole = given  # their common divisor is below a hundredth of the smallest
        if given.max() < 2**53:
            whole = given // np.gcd.reduce(given.astype(np.int64))
    memory.require("the repeated rows", 8 * float(whole.sum()) * columns)
    rows: Array = np.repeat(np.arange(len(weight)), whole.astype(np.int64))
    return rows


def checked_options(model: Any, solvers: Iterable[str]) -> tuple[float, float]:
    """Check the parameters that all estimators have.

    Parameters
    ----------
    model : estimator
    solvers : iterable of str

    Returns
    -------
    rate, decay : float
        The learning rate, 1 in the place of "auto", and the weight decay.

    Raises
    ------
    TypeError, ValueError
        If one is of the wrong kind or out of range.
    """
    validation.choice("solver", model.solver, solvers)
    validation.depth(model.depth)
    for name in ("width", "max_iter"):
        if getattr(model, name) is not None:
            validation.integer(name, getattr(model, name), least=1)
    validation.choice("optimizer", model.optimizer, _RULES)
    validation.real("tol", model.tol, above=0)
    for name in ("fit_intercept", "standardize"):
        validation.flag(name, getattr(model, name))
    rate: Any = model.learning_rate
    if isinstance(rate, str):
        validation.choice("learning_rate", rate, ["auto"])
        rate = 1.0
    rate = validation.real("learning_rate", rate, above=0)
    decay = validation.real("weight_decay", model.weight_decay, least=0)
    if decay and model.solver == "newton":
        others = [repr(solver) for solver in solvers if solver not in ("auto", "newton")]
        raise ValueError(
            f"weight_decay must be 0 for solver 'newton', got {decay:g}: "
            f"take solver {' or '.join(others)}"
        )
    return rate, decay


def tell(solver: str, fit: Fit) -> None:
    """Say on stderr how a fit went."""
    gap = f", duality gap {fit.dual_gap:.3g}" if solver == "newton" else ""
    line = f"{solver}, {fit.iterations} steps, loss {fit.history.loss[-1]:.6g}{gap}"
    print(f"accel: {line}", file=sys.stderr)


def unconverged(model: Any, solver: str, fit: Fit) -> str:
    """Return the warning of a fit that has not come to its tolerance, with advice.

    Parameters
    ----------
    model : estimator
    solver : str
    fit : Fit
    """
    if solver != "newton":
        advice = _ADVICE.get(fit.status, _ADVICE["completed"])
    else:
        ended = fit.iterations < (model.max_iter or NEWTON_STEPS)
        ways = ["a larger tol"] if ended else ["more steps (max_iter)", "a larger tol"]
        advice = " or ".join(ways if model.standardize else [*ways, "standardize=True"])
    return (
        f"tol={model.tol:g} was not reached by {solver} in {fit.iterations} "
        f"step{'s' if fit.iterations > 1 else ''}: {fit.trouble}; consider {advice}"
    )
