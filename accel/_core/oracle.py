"""The oracle of a problem: loss, gradient and second derivative at one linear map after another."""

import math
from functools import cached_property
from typing import Any

import numpy as np

from accel._core.base import BaseProblem
from accel._core.matrix_problems import MatrixProblem
from accel._core.problem import Problem, local_problem
from accel._support import arrays
from accel._support.arrays import Array, aligned_empty
from accel._support.backends import Backend, resolve

__all__ = ["Oracle"]


class Oracle:
    """A problem whose data are laid out once, for maps W (k, d) in float64, NumPy's.

    Loss and gradient are computed in the problem's dtype, second derivatives in float64.

    Parameters
    ----------
    problem : BaseProblem
    kernels : Backend, optional
        By default the one that ``"auto"`` is for a single pass.
    from_gram : bool
        Whether losses and gradients, too, may come from X'X, where the Gram method has the digits
        for a run: fewer than passes over the data have where residuals are small.
    """

    def __init__(
        self, problem: BaseProblem, kernels: Backend | None = None, *, from_gram: bool = False
    ) -> None:
        self._problem, self._from_gram = problem, from_gram
        self._kernels = problem.resolve("auto") if kernels is None else kernels

    @cached_property
    def _gram(self) -> tuple[Array, Array, float] | None:
        """X'X, Y'X and the squares of Y, where they take the place of the data."""
        problem = self._problem
        if not isinstance(problem, Problem) or problem.on_device or problem.form() != "gram":
            return None
        return resolve("reference").lp_loss.gram(problem.X, problem.Y)

    @cached_property
    def _arrays(self) -> tuple[Array, Array]:
        """X and Y where the kernels want them: on the GPU, or here."""
        problem = local_problem(self._problem)
        if not self._kernels.needs.TAKES_DEVICE_ARRAYS:
            return problem.host.X, problem.host.Y
        if problem.on_device:
            return problem.X, problem.Y
        return arrays.as_device("X", problem.X), arrays.as_device("Y", problem.Y)

    @cached_property
    def _pieces(self) -> list[Any]:
        """The data as the kernels' sums take them."""
        problem, chunks, (X, Y) = self._problem, self._kernels.chunks, self._arrays
        length = chunks.row_length(problem.d, problem.dtype)
        if length != problem.d:
            given, X = X, aligned_empty((problem.n, length), problem.dtype)
            X[:, : problem.d], X[:, problem.d :] = given, 0
        return chunks.pieces(X, Y, problem.d, problem.n + -problem.n % 8)

    def loss_and_gradient(self, W: Array) -> tuple[float, Array]:
        """Loss, infinite where W is not finite, and gradient (k, d) in float64."""
        problem = self._problem
        converted = W.astype(problem.dtype, copy=False)
        if not np.isfinite(converted).all():
            return math.inf, np.full_like(W, np.nan)
        if not isinstance(problem, Problem):
            loss, gradient = problem.loss_and_gradient(converted, backend=self._kernels.name)
            return loss, gradient.astype(np.float64)
        if self._from_gram and self._gram is not None:
            plain, factor = resolve("reference").lp_loss, problem.factor
            return plain.gram_loss_and_gradient(*self._gram, problem.n, W, factor)
        (piece,) = self._pieces
        sums = self._kernels.chunks.sums(piece, converted[np.newaxis], problem.spec, 1)
        scale = problem.factor / problem.n
        slope = problem.spec.slope_factor / problem.n
        gradient = (slope * sums[:-1].reshape(W.shape)).astype(problem.dtype)
        return scale * float(sums[-1]), gradient.astype(np.float64, copy=False)

    def hessian_product(self, W: Array, V: Array) -> Array:
        """Second derivative of the loss at W along V, (k, d).

        Raises
        ------
        TypeError
            If the data are on other machines.
        """
        problem = self._problem
        if isinstance(problem, MatrixProblem):
            return problem.hessian_product(W, V, self._kernels)
        if self._gram is not None:
            (XX, YX, _), plain = self._gram, resolve("reference").lp_loss
            zero, factor = np.zeros_like(YX), problem.factor
            return plain.gram_loss_and_gradient(XX, zero, 0.0, problem.n, V, factor)[1]
        X, Y = self._arrays
        product: Array = self._kernels.curvature.hessian_product(X, Y, W, V, problem.spec)
        return product
