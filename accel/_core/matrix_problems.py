"""Problems whose loss sees the end-to-end matrix itself: some of its entries, or all of them."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from accel._core.base import BaseProblem, checked_problem
from accel._core.checks import checked_method, chosen_dtype, ready
from accel._core.problem import Problem, local_problem
from accel._support import memory, validation
from accel._support.arrays import Array
from accel._support.backends import Backend, cpu_threads, resolve
from accel.kernels import specs
from accel.kernels.needs import Shape
from accel.kernels.protocols import TrainingLoop
from accel.kernels.reference import entries
from accel.kernels.specs import Batches, ModelSpec
from accel.losses import Loss, Lp
from accel.losses.naming import checked as checked_loss

__all__ = [
    "MatrixCompletion",
    "MatrixFactorization",
    "MatrixProblem",
    "checked_shape",
    "checked_single",
    "here",
]


_SQUARE = Lp(2.0)


@dataclass(frozen=True, eq=False, repr=False)
class MatrixProblem(BaseProblem):
    """A loss of n numbers seen of the end-to-end matrix W (k, d).

    Such problems have no X and Y, and no methods that replace those: runs evaluate the loss
    directly. Single passes are plain NumPy whatever the backend.
    """

    methods = ("auto", "direct")
    data_are = "are numbers seen of a matrix"

    @property
    def on_device(self) -> bool:
        """Always False: the numbers are on the host."""
        return False

    @property
    def squares(self) -> tuple[Array, float]:
        """Nothing that a method of these problems asks for.

        Raises
        ------
        TypeError
            Always: there are no columns of X.
        """
        raise TypeError(f"a {type(self).__name__} has no columns of X")

    def with_loss(self, loss: Loss) -> Self:
        """Return the same problem with another loss, which has the same targets."""
        return self._with(loss_function=loss)

    def form(self, weights: float = 0.0, tol: float = 0.0, target: float = float("-inf")) -> str:
        """Return ``"direct"``: there is no other form."""
        return "direct"

    def resolve(self, backend: str, *, work: float = 0.0, steps: int = 1) -> Backend:
        """Return the backend of that name; ``"auto"`` is ``"cpu"``, GPU or not.

        Raises
        ------
        TypeError, ValueError
            If there is no such backend, or if it cannot be used here.
        """
        return resolve("cpu" if isinstance(backend, str) and backend == "auto" else backend)

    def needs(self, kernels: Backend, form: str) -> dict[str, float]:
        """Return bytes that these kernels take for the data beside the problem's own."""
        return kernels.needs.data_bytes(self.shape(form))

    def loss_and_gradient(self, W: Any, *, backend: str = "auto") -> tuple[float, Array]:
        """Loss and gradient with respect to W; see ``Problem.loss_and_gradient``.

        Parameters
        ----------
        W : (k, d) array_like, or (d,) for k = 1, or network
            Converted to the dtype of the problem. A network stands for its end-to-end matrix.
        backend : {"auto", "cpu", "cuda", "reference"}
            All the same for a single pass.

        Returns
        -------
        loss : float
        gradient : array of the shape of W, (k, d) for a network
            Where the loss of an observation has a kink its contribution is 0.

        Raises
        ------
        TypeError, ValueError
            If W has the wrong shape, is not finite or holds no real numbers, or if there is no
            such backend.
        """
        kernels = self.resolve(backend)
        W = self._weights(W, device=False)
        value, gradient = self._evaluated(W.reshape(self.k, self.d), kernels)
        return float(value), gradient.reshape(W.shape)

    @abstractmethod
    def _evaluated(self, W: Array, kernels: Backend) -> tuple[float, Array]:
        """Loss and gradient at W (k, d)."""

    @abstractmethod
    def hessian_product(self, W: Array, V: Array, kernels: Backend) -> Array:
        """Second derivative of the loss at W along V, (k, d) in float64."""


@dataclass(frozen=True, eq=False, repr=False, init=False)
class MatrixCompletion(MatrixProblem):
    r"""The mean of :math:`\ell(W_{ij}, v_{ij})` over the observed entries of a matrix.

    A network that is trained on it from a small start completes the matrix: the standard
    experiment on the implicit bias of depth.

    Parameters
    ----------
    shape : (int, int)
        Of the matrix: k rows, the outputs of a network, and d columns, its features.
    rows, columns : (n,) array_like of int
        Where the observed entries are, counted from 0. An entry may be observed several times, and
        counts as often.
    values : (n,) array_like
        What was observed. A float32 array makes a float32 problem, anything else a float64 one.
    loss : accel.losses.Loss or str
        What an observation costs, by default ``Lp(2)``, the square. ``Logistic`` is for values of
        -1 and +1; not ``CrossEntropy``, which couples outputs.
    dtype : {"float32", "float64"}, optional
        Convert the values to it. Without it nothing is ever rounded.
    method : {"auto", "direct"}
        The same: there is no other way to evaluate this loss.

    Attributes
    ----------
    k, d : int
        The shape.
    n : int
        Number of observations.
    places : (n, 2) int64 array
        Row and column of each.
    values : (n, 1) array
    dtype : dtype
        float32 or float64: of the values, and of every network trained on them.
    loss_function : accel.losses.Loss
    method : str

    Raises
    ------
    TypeError
        If an argument is of the wrong kind, such as places that are no integers, or if no dtype is
        given and values would be rounded.
    ValueError
        If there are no observations, if their arrays differ in length, if a place is outside of
        the matrix, if a value is not finite, if they are no targets of the loss, or if
        loss or method are unknown.
    MemoryError
        If the machine has no memory for a copy of the observations.

    Notes
    -----
    A step costs the chain of factors and what is observed: no residual of unobserved entries is
    formed.

    References
    ----------
    Gunasekar, Woodworth, Bhojanapalli, Neyshabur, Srebro (2017), "Implicit regularization in matrix
    factorization", arXiv 1705.09280. Arora, Cohen, Hu, Luo (2019), "Implicit regularization in deep
    matrix factorization", arXiv 1905.13655.

    Examples
    --------
    >>> import accel
    >>> problem = accel.MatrixCompletion((2, 3), [0, 1, 1], [0, 0, 2], [1.0, 2.0, -1.0])
    >>> problem
    MatrixCompletion(n=3, d=3, k=2, p=2, scale='mean', dtype=float64, method='auto')
    >>> problem.loss([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    2.0
    """

    places: Array
    values: Array

    def __init__(
        self,
        shape: tuple[int, int],
        rows: Any,
        columns: Any,
        values: Any,
        loss: Loss | str = _SQUARE,
        *,
        dtype: Any = None,
        method: str = "auto",
    ) -> None:
        k, d = checked_shape(shape)
        listed = validation.numeric("values", values, ndim=(1,))
        memory.require("the observations", (16 + listed.itemsize) * listed.size)
        places = np.empty((len(listed), 2), np.int64)
        for axis, (name, given, most) in enumerate((("rows", rows, k), ("columns", columns, d))):
            places[:, axis] = _indices(name, given, most, len(listed))
        dtype = chosen_dtype(dtype, {"values": listed}, (values,))
        observed = ready("values", listed, dtype)
        loss = checked_single(loss, method, dtype, self.methods)
        super().__init__(len(observed), d, k, dtype, loss, method)
        object.__setattr__(self, "places", places)  # the class is frozen
        object.__setattr__(self, "values", loss.targets(observed))

    @property
    def fingerprint(self) -> tuple[Array, ...]:
        """The shape and the observations."""
        return np.array([self.k, self.d]), self.places, self.values

    def shape(self, form: str) -> Shape:
        """The shape of the data as the kernels take it."""
        return Shape(self.n, self.d, self.k, self.dtype, "entries")

    def loop(
        self,
        kernels: Backend,
        models: Sequence[ModelSpec],
        threads: int | None,
        form: str,
        batches: Batches | None = None,
    ) -> TrainingLoop:
        """Begin a run of models on this problem."""
        loss = self.spec._replace(form="entries")
        return kernels.loop.TrainingLoop(
            self.places, self.values, loss, models, threads=cpu_threads(threads), batches=batches
        )

    def _evaluated(self, W: Array, kernels: Backend) -> tuple[float, Array]:
        return entries.loss_and_gradient(self.places, self.values, W, self.spec)

    def hessian_product(self, W: Array, V: Array, kernels: Backend) -> Array:
        """Second derivative of the loss at W along V, (k, d) in float64."""
        return entries.hessian_product(self.places, self.values, W, V, self.spec)


@dataclass(frozen=True, eq=False, repr=False, init=False)
class MatrixFactorization(MatrixProblem):
    r"""The mean of :math:`\ell(W_{ij}, M_{ij})` over all entries of a known matrix M.

    Parameters
    ----------
    M : (k, d) array_like
        A float32 array makes a float32 problem, anything else a float64 one.
    loss, dtype, method
        As for ``MatrixCompletion``.

    Attributes
    ----------
    M : (k, d) array
        C-contiguous, on a 64-byte boundary. The caller's own array if it is laid out like that, so
        do not write to that one any more.
    n : int
        Number of entries, k d.
    k, d, dtype, loss_function, method
        As of ``MatrixCompletion``.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As by ``MatrixCompletion``.

    Notes
    -----
    The loss is a mean over all k d entries: that of a ``Problem`` with X the identity, which is
    a mean over the d samples, divided by k. With p = 2 a step costs the chain of factors and k d.

    Examples
    --------
    >>> import accel
    >>> problem = accel.MatrixFactorization([[2.0, 0.0], [0.0, 1.0]])
    >>> problem.loss([[0.0, 0.0], [0.0, 0.0]])
    1.25
    """

    M: Array

    def __init__(
        self,
        M: Any,
        loss: Loss | str = _SQUARE,
        *,
        dtype: Any = None,
        method: str = "auto",
    ) -> None:
        given = validation.numeric("M", M, ndim=(2,))
        dtype = chosen_dtype(dtype, {"M": given}, (M,))
        known = ready("M", given, dtype)
        loss = checked_single(loss, method, dtype, self.methods)
        loss.targets(known.reshape(-1))
        k, d = known.shape
        super().__init__(k * d, d, k, dtype, loss, method)
        object.__setattr__(self, "M", known)  # the class is frozen

    @property
    def fingerprint(self) -> tuple[Array, ...]:
        """The matrix."""
        return (self.M,)

    def shape(self, form: str) -> Shape:
        """The shape of the data as the kernels take it."""
        if self.quadratic:
            return Shape(self.d, self.d, self.k, self.dtype, "diagonal")
        return Shape(self.n, self.d, self.k, self.dtype, "entries")

    def needs(self, kernels: Backend, form: str) -> dict[str, float]:
        """Return bytes that these kernels take for the data beside the problem's own."""
        places = {} if self.quadratic else {"the places of all entries": 16.0 * self.n}
        return super().needs(kernels, form) | places

    def loop(
        self,
        kernels: Backend,
        models: Sequence[ModelSpec],
        threads: int | None,
        form: str,
        batches: Batches | None = None,
    ) -> TrainingLoop:
        """Begin a run of models on this problem."""
        if self.quadratic:  # the kernels divide by d
            X, Y = np.ones(self.d, self.dtype), self.M.T
            loss = specs.Loss(2.0, self.factor / self.k, "diagonal")
        else:
            X, Y = np.argwhere(np.ones(self.M.shape, bool)), self.M.reshape(-1, 1)
            loss = self.spec._replace(form="entries")
        return kernels.loop.TrainingLoop(
            X, Y, loss, models, threads=cpu_threads(threads), batches=batches
        )

    def _evaluated(self, W: Array, kernels: Backend) -> tuple[float, Array]:
        return entries.whole_loss_and_gradient(self.M, W, self.spec)

    def hessian_product(self, W: Array, V: Array, kernels: Backend) -> Array:
        """Second derivative of the loss at W along V, (k, d) in float64."""
        return entries.whole_hessian_product(self.M, W, V, self.spec)


def checked_single(
    loss: object, method: str, dtype: np.dtype[Any], methods: tuple[str, ...]
) -> Loss:
    """Check a loss of single numbers, and a method."""
    checked = checked_loss(loss)
    if checked.spec.kind in specs.COUPLED_KINDS:
        raise ValueError(f"loss must be one of single numbers, got {checked!r}")
    checked_method(checked, method, dtype, methods)
    return checked


def checked_shape(shape: Any) -> tuple[int, int]:
    """Check the shape of a matrix, k rows and d columns."""
    sizes = validation.members("shape", shape, "two integers", most=2)
    if len(sizes) != 2:
        raise ValueError(f"shape must hold two integers, k and d, got {validation.shown(shape)}")
    k, d = (validation.integer(f"shape[{i}]", size, least=1) for i, size in enumerate(sizes))
    return k, d


def _indices(name: str, given: Any, most: int, count: int) -> Array:
    """Check so many indices below ``most``."""
    indices = validation.numeric(name, given, ndim=(1,))
    if indices.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers, got dtype {indices.dtype}")
    if len(indices) != count:
        raise ValueError(f"{name} must have one entry a value, {count}, got {len(indices)}")
    for extreme in (int(indices.min()), int(indices.max())):
        if not 0 <= extreme < most:
            raise ValueError(f"{name} must be from 0 to {most - 1}, got {extreme}")
    return indices


def here(value: object) -> Problem | MatrixProblem:
    """Return a problem that can be asked for curvature: one whose data are on this machine.

    Raises
    ------
    TypeError
        If it is no problem, or if its data are on other machines.
    """
    problem = checked_problem(value)
    return problem if isinstance(problem, MatrixProblem) else local_problem(problem)
