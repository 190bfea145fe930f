"""What all losses share."""

from abc import ABC
from dataclasses import dataclass
from typing import Any, ClassVar

from accel._support import validation
from accel._support.arrays import Array
from accel.kernels import specs
from accel.kernels.reference import losses as kernels

__all__ = ["Loss"]


@dataclass(frozen=True)
class Loss(ABC):
    """What one sample costs; use one of its subclasses.

    Attributes
    ----------
    name : str
        As ``by_name`` takes it.
    classifies : bool
        Whether its targets are labels, and not numbers.
    """

    name: ClassVar[str]
    classifies: ClassVar[bool] = False
    _number: ClassVar[str] = ""  # the field that the kernels call p

    @property
    def spec(self) -> specs.Loss:
        """The loss as the kernels take it, of a pass over the data."""
        return specs.Loss(float(getattr(self, self._number or "", 0.0)), kind=self.name)

    @property
    def quadratic(self) -> bool:
        """Whether it is the square of the residual, but for a factor."""
        return False

    @property
    def smoothness(self) -> int:
        """0 for a loss with kinks, 1 for a continuous slope, 2 for a slope that is Lipschitz."""
        return 2

    @property
    def degree(self) -> float | None:
        """The s with which it scales, ``l(c m, c y) = c^s l(m, y)`` for all c > 0; None of others.

        Losses that have one take ``sample_weight``.
        """
        return None

    @property
    def smooth(self) -> "Loss":
        """The loss by whose curvature learning rates go: this one, if its curvature has a bound.

        For a loss whose curvature grows as it falls, or has no bound, one of squares that bends at
        least as much, or about as much.
        """
        return self

    def targets(self, y: Array) -> Array:
        """Return y, (n,) or (n, k), as the matrix of targets (n, k): here as it is.

        Its numbers are finite where this is called.

        Raises
        ------
        ValueError
            If they are no targets of this loss.
        """
        return y.reshape(len(y), -1)

    def _arguments(self, prediction: Any, y: Any) -> tuple[Array, Array]:
        m = validation.numeric("prediction", prediction, ndim=(1, 2))
        given = validation.numeric("y", y, ndim=(1, 2))
        if len(m) != len(given):
            raise ValueError(
                f"prediction and y must have as many rows, got shapes {m.shape} and {given.shape}"
            )
        validation.all_finite("prediction", m)
        validation.all_finite("y", given)
        m = m.reshape(len(m), -1).astype(float)
        Y = self.targets(given).astype(float)
        if m.shape != Y.shape:
            raise ValueError(
                f"prediction must have {Y.shape[1]} columns for these targets, got {m.shape[1]}"
            )
        return m, Y

    def value(self, prediction: Any, y: Any) -> Array:
        """Return what each sample costs, in float64.

        Parameters
        ----------
        prediction : (n,) or (n, k) array_like
        y : (n,) or (n, k) array_like
            As ``Problem`` takes them.

        Returns
        -------
        (n,) array
            Sums over the outputs.

        Raises
        ------
        TypeError, ValueError
            If the shapes do not fit, or y holds no targets of this loss.
        """
        spec = self.spec
        values, _ = kernels.value_and_slope(spec, *self._arguments(prediction, y))
        total: Array = spec.factor * values.sum(axis=1)
        return total

    def slope(self, prediction: Any, y: Any) -> Array:
        """Return the derivative of ``value`` in the predictions, (n, k); 0 where there is a kink.

        Parameters and errors are those of ``value``.
        """
        spec = self.spec
        _, slopes = kernels.value_and_slope(spec, *self._arguments(prediction, y))
        scaled: Array = spec.slope_factor * slopes
        return scaled
