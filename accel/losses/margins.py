"""Losses of labels: of two classes by their margin, of several by a soft-max."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from accel._support import validation
from accel._support.arrays import Array
from accel.losses.loss import Loss

__all__ = ["CrossEntropy", "Exponential", "Logistic"]

_SUM = 1e-5  # how far from 1 the sum of a row of probabilities may be


def _first(wrong: Array, y: Array) -> Any:
    """The first of the numbers that are wrong."""
    return y.ravel()[int(wrong.ravel().argmax())]


def log_probabilities(outputs: Array, log_odds: float = 1.0) -> Array:
    """Return logarithms of the probabilities of the classes, accurate for the smallest ones, too.

    Parameters
    ----------
    outputs : (m, 1) or (m, k) array
        Margins for the second one of two classes; or an output a class, for the soft-max.
    log_odds : float
        That a margin of 1 stands for.

    Returns
    -------
    (m, 2) or (m, k) array
    """
    if outputs.shape[1] == 1:
        outputs = log_odds * outputs
        logs: Array = -np.logaddexp(0, np.hstack([outputs, -outputs]))
        return logs
    outputs = outputs - outputs.max(axis=1, keepdims=True)
    logs = outputs - np.log(np.exp(outputs).sum(axis=1, keepdims=True))
    return logs


class _Margin(Loss):
    """What the losses of two classes share: their labels, and what their margins mean.

    Attributes
    ----------
    log_odds : float
        What a margin of 1 stands for, see ``LinearClassifier.predict_proba``.
    """

    classifies = True
    log_odds: ClassVar[float] = 1.0

    def targets(self, y: Array) -> Array:
        """Check that y, (n,) or (n, 1), holds -1 and +1; return it as (n, 1)."""
        if y.ndim == 2 and y.shape[1] != 1:
            raise ValueError(f"y must have one column of labels, got shape {y.shape}")
        wrong = (y != 1) & (y != -1)
        if wrong.any():
            hint = ": 2 * y - 1 makes them of 0 and 1" if ((y == 0) | (y == 1)).all() else ""
            raise ValueError(f"y must hold labels -1 and +1, got {_first(wrong, y):g}{hint}")
        return y.reshape(-1, 1)


@dataclass(frozen=True)
class Logistic(_Margin):
    r"""The logistic loss of a label of -1 or +1, :math:`\log(1 + e^{-z})` with :math:`z = y m`.

    There is no minimum where a map separates the labels: the loss falls towards 0 as the map grows.
    """

    name = "logistic"


@dataclass(frozen=True)
class Exponential(_Margin):
    """The exponential loss of a label of -1 or +1, :math:`e^{-z}` with :math:`z = y m`.

    There is no minimum where a map separates the labels: the loss falls towards 0 as the map grows.
    """

    name = "exponential"
    log_odds = 2.0


@dataclass(frozen=True)
class CrossEntropy(Loss):
    r"""The cross-entropy of k classes, :math:`\log \sum_c e^{m_c} - m_y`, an output a class.

    Targets are labels (n,), integers from 0 on, or rows of probabilities (n, k), which add up to 1
    and for which it is :math:`\log \sum_c e^{m_c} - \sum_c y_c m_c`.

    Parameters
    ----------
    classes : int, optional
        The k; by default one more than the largest label, or the columns of y.

    Raises
    ------
    TypeError, ValueError
        If classes is no integer of at least 2.
    """

    classes: int | None = None

    name = "cross-entropy"
    classifies = True

    def __post_init__(self) -> None:
        if self.classes is not None:
            validation.integer("classes", self.classes, least=2)

    def targets(self, y: Array) -> Array:
        """Return rows of probabilities (n, k), from labels (n,) or as they are."""
        if y.ndim == 1:
            wrong = (y < 0) | (y != np.floor(y))
            if wrong.any():
                raise ValueError(
                    f"y must hold labels of classes, integers from 0 on, got {_first(wrong, y):g}"
                )
            count = int(y.max()) + 1
            classes = max(count, 2) if self.classes is None else self.classes
            if count > classes:
                raise ValueError(f"y must hold labels below {classes}, got {count - 1}")
            kind = y.dtype if y.dtype.kind == "f" else np.dtype(np.float64)
            numbers = np.cumsum(np.ones_like(y, dtype=kind, shape=(classes,))) - 1
            probabilities: Array = (y.reshape(-1, 1) == numbers).astype(kind)
            return probabilities
        if self.classes is not None and y.shape[1] != self.classes:
            raise ValueError(f"y must have {self.classes} columns, got shape {y.shape}")
        if y.shape[1] < 2:
            raise ValueError(f"y must hold labels (n,) or probabilities (n, k), got {y.shape}")
        wrong = y < 0
        if wrong.any():
            raise ValueError(f"y must hold probabilities, got {_first(wrong, y):g}")
        sums = y.sum(axis=1)
        wrong = abs(sums - 1) > _SUM
        if wrong.any():
            raise ValueError(
                f"y must hold rows that add up to 1, got one with {_first(wrong, sums):g}"
            )
        return y
