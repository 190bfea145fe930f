"""The problem of recovering a matrix from linear measurements of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from accel._core.checks import chosen_dtype, ready
from accel._core.matrix_problems import MatrixProblem, checked_single
from accel._support import validation
from accel._support.arrays import Array
from accel._support.backends import Backend, cpu_threads
from accel.kernels.needs import Shape
from accel.kernels.protocols import TrainingLoop
from accel.kernels.reference import entries
from accel.kernels.specs import Batches, ModelSpec
from accel.losses import Loss, Lp

__all__ = ["MatrixSensing"]


_SQUARE = Lp(2.0)


@dataclass(frozen=True, eq=False, repr=False, init=False)
class MatrixSensing(MatrixProblem):
    r"""The mean of :math:`\ell(\langle A_e, W \rangle, y_e)` over linear measurements of a matrix.

    Parameters
    ----------
    A : (n, k, d) array_like
        The matrices of the measurements, :math:`\langle A_e, W \rangle = \sum_{ij} (A_e)_{ij}
        W_{ij}`. A float32 array makes a float32 problem, anything else a float64 one.
    y : (n,) array_like
        What was measured.
    loss, dtype, method
        As for ``MatrixCompletion``.

    Attributes
    ----------
    A : (n, k, d) array
        C-contiguous, on a 64-byte boundary. The caller's own array if it is laid out like that, so
        do not write to that one any more.
    values : (n, 1) array
        What was measured.
    n : int
        Number of measurements.
    k, d, dtype, loss_function, method
        As of ``MatrixCompletion``.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As by ``MatrixCompletion``; a TypeError, too, if no dtype is given, A is float32 and y is
        not.

    Notes
    -----
    A step costs the chain of factors and one reading of A, n k d numbers. It is the loss of a
    ``Problem`` on rows of A with one output, the map being vec(W).

    Examples
    --------
    >>> import accel
    >>> problem = accel.MatrixSensing([[[1.0, 0.0], [0.0, 1.0]]], [3.0])
    >>> problem.loss([[1.0, 5.0], [5.0, 1.0]])
    1.0
    """

    A: Array
    values: Array
    takes_batches = True

    def __init__(
        self,
        A: Any,
        y: Any,
        loss: Loss | str = _SQUARE,
        *,
        dtype: Any = None,
        method: str = "auto",
    ) -> None:
        matrices = validation.numeric("A", A, ndim=(3,))
        measured = validation.numeric("y", y, ndim=(1,))
        if len(matrices) != len(measured):
            raise ValueError(
                f"A and y must have as many measurements, got shapes {matrices.shape} and "
                f"{measured.shape}"
            )
        dtype = chosen_dtype(dtype, {"A": matrices, "y": measured}, (A, y))
        matrices, values = ready("A", matrices, dtype), ready("y", measured, dtype)
        loss = checked_single(loss, method, dtype, self.methods)
        n, k, d = matrices.shape
        super().__init__(n, d, k, dtype, loss, method)
        object.__setattr__(self, "A", matrices)  # the class is frozen
        object.__setattr__(self, "values", loss.targets(values))

    @property
    def rows(self) -> Array:
        """The measurements as samples (n, k d), a view."""
        return self.A.reshape(self.n, -1)

    @property
    def fingerprint(self) -> tuple[Array, ...]:
        """The measurements, and what was measured."""
        return self.A, self.values

    def shape(self, form: str) -> Shape:
        """The shape of the data as the kernels take it."""
        return Shape(self.n, self.d, self.k, self.dtype, "measurements")

    def loop(
        self,
        kernels: Backend,
        models: Sequence[ModelSpec],
        threads: int | None,
        form: str,
        batches: Batches | None = None,
    ) -> TrainingLoop:
        """Begin a run of models on this problem."""
        loss = self.spec._replace(form="measurements")
        return kernels.loop.TrainingLoop(
            self.rows, self.values, loss, models, threads=cpu_threads(threads), batches=batches
        )

    def _evaluated(self, W: Array, kernels: Backend) -> tuple[float, Array]:
        return entries.measured_loss_and_gradient(self.rows, self.values, W, self.spec)

    def hessian_product(self, W: Array, V: Array, kernels: Backend) -> Array:
        """Second derivative of the loss at W along V, (k, d) in float64."""
        at, along = W.reshape(1, -1), V.reshape(1, -1)
        product = kernels.curvature.hessian_product(self.rows, self.values, at, along, self.spec)
        return product.reshape(W.shape)
