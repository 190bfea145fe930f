"""What every problem offers, wherever its data lie."""

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

import numpy as np

from accel._core.checks import checked_weights
from accel._core.digits import shortfall
from accel._core.scaling import Scaling
from accel._support import showing, validation
from accel._support.arrays import Array, laid_out
from accel._support.backends import Backend
from accel.kernels import specs
from accel.kernels.needs import Shape
from accel.kernels.protocols import TrainingLoop
from accel.kernels.specs import ModelSpec
from accel.losses import Loss, Lp
from accel.losses.having import HasLoss

__all__ = ["BaseProblem", "checked_problem"]

_log = logging.getLogger("accel")


@dataclass(frozen=True, eq=False, repr=False)
class BaseProblem(HasLoss, ABC):
    r"""The loss :math:`L(W) = \frac{1}{n} \sum_i \ell(W x_i, y_i)` of a linear map.

    A subclass holds X (n, d) and Y (n, k), on this machine or on others, and evaluates the loss
    there: ``Problem`` and ``accel.distributed.DaskProblem``; or it has n numbers that were seen of
    W itself, as ``MatrixCompletion`` has. Networks, runs and searches use nothing of a problem but
    the members of this class.

    Attributes
    ----------
    n, d, k : int
        Samples, features and outputs.
    dtype : dtype
        float32 or float64: of the data, and of every network trained on it.
    loss_function : accel.losses.Loss
        The l.
    method : str
        As it was asked for; a run chooses by itself where that is ``"auto"``.
    methods : tuple of str
        Those that problems of the class have.
    scaling : Scaling or None
        The units of the data and the names of their columns, where they are known.
    """

    n: int
    d: int
    k: int
    dtype: np.dtype[Any]
    loss_function: Loss
    method: str
    scaling: Scaling | None = field(default=None, kw_only=True)
    methods: ClassVar[tuple[str, ...]]
    #: Why what needs X and Y cannot have them, in an error message.
    data_are: ClassVar[str] = "are on the workers"
    takes_batches: ClassVar[bool] = False

    def __repr__(self) -> str:
        loss = f"loss={self.loss_function!r}"
        if isinstance(self.loss_function, Lp):
            loss = f"p={self.p:g}, scale={self.scale!r}"
        if getattr(self, "sample_weight", None) is not None:
            loss += ", weighted"
        return (
            f"{type(self).__name__}(n={self.n}, d={self.d}, k={self.k}, {loss}, "
            f"dtype={self.dtype}, method={self.method!r})"
        )

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a table of the main facts."""
        return showing.table(
            {
                "problem": type(self).__name__,
                "samples n": self.n,
                "features d": self.d,
                "outputs k": self.k,
                "loss": self.loss_function,
                "dtype": self.dtype,
                "method": self.method,
            }
        )

    @property
    def quadratic(self) -> bool:
        """Whether the loss is a sum of squares, but for a factor."""
        return self.loss_function.quadratic

    @property
    def factor(self) -> float:
        """What the mean is multiplied by: 1, or 1/p."""
        return self.spec.factor

    @property
    def spec(self) -> specs.Loss:
        """The loss as the kernels take it, of a pass over the data."""
        return self.loss_function.spec

    def shape(self, form: str) -> Shape:
        """The shape of the data as the kernels take it, for a run in this form of the loss."""
        if form == "direct" and self.spec.kind in specs.COUPLED_KINDS:
            form = "coupled"
        return Shape(self.n, self.d, self.k, self.dtype, form)

    @property
    @abstractmethod
    def on_device(self) -> bool:
        """Whether the data is on a GPU."""

    @property
    @abstractmethod
    def squares(self) -> tuple[Array, float]:
        """Squares of the norms of the columns of X, (d,), and of Y; not 0 unless all numbers are.

        Asked for with a quadratic loss only.
        """

    @property
    @abstractmethod
    def fingerprint(self) -> tuple[Array, ...]:
        """Arrays that tell this data from other data."""

    @abstractmethod
    def resolve(self, backend: str, *, work: float = 0.0, steps: int = 1) -> Backend:
        """Return the backend of that name, which can be used where the data are.

        Parameters
        ----------
        backend : {"auto", "cpu", "cuda", "reference"}
        work : float
            Multiply-adds of a step of the run that ``"auto"`` chooses for, those of all models
            together.
        steps : int
            Of that run.

        Raises
        ------
        TypeError, ValueError
            If there is no such backend, or if it is not available.
        """

    @abstractmethod
    def needs(self, kernels: Backend, form: str) -> dict[str, float]:
        """Return bytes on this host for the data of a run beside the problem's own, by purpose."""

    @abstractmethod
    def loop(
        self,
        kernels: Backend,
        models: Sequence[ModelSpec],
        threads: int | None,
        form: str,
        batches: specs.Batches | None = None,
    ) -> TrainingLoop:
        """Begin a run of models on this problem, with so many threads.

        ``form`` is ``"direct"`` or ``"gram"``; ``batches``, where ``takes_batches``, are for
        ``"direct"``.
        """

    @abstractmethod
    def loss_and_gradient(self, W: Any, *, backend: str = "auto") -> tuple[float, Array]:
        """Loss and gradient with respect to W, by one pass over the data whatever the method.

        Parameters
        ----------
        W : (k, d) array_like, or (d,) for k = 1, or network
            Converted to the dtype of the problem. A network stands for its end-to-end matrix.
        backend : {"auto", "cpu", "cuda", "reference"}

        Returns
        -------
        loss : float
        gradient : array of the shape of W, (k, d) for a network

        Raises
        ------
        TypeError, ValueError
            If W has the wrong shape, is not finite or holds no real numbers, or if there is no
            such backend.
        """

    def single_pass(self, W: Array, kernels: Backend) -> tuple[float, Array]:
        """Loss and gradient (k, d) at a NumPy array W (k, d), once: no data is laid out for it."""
        return self.loss_and_gradient(W, backend=kernels.name)

    def loss(self, W: Any, *, backend: str = "auto") -> float:
        """Return the loss at W; see ``loss_and_gradient``."""
        return self.loss_and_gradient(W, backend=backend)[0]

    def gradient(self, W: Any, *, backend: str = "auto") -> Array:
        """Return the gradient at W; see ``loss_and_gradient``."""
        return self.loss_and_gradient(W, backend=backend)[1]

    def form(self, weights: float = 0.0, tol: float = 0.0, target: float = -math.inf) -> str:
        """Return the form of the loss for a run of any rule, in the coordinates of the data.

        Parameters
        ----------
        weights : float
            Norm of the end-to-end matrix at the start.
        tol, target : float
            As for ``train``.

        Returns
        -------
        str
            ``"gram"`` if that is the method by name, or for p = 2 in float64 if n > 2 d, X'X has
            the digits that the run needs, and no method is named that does without; else
            ``"direct"``.

        Raises
        ------
        ValueError
            If the Gram method was asked for by name and has not the digits.
        """
        if self.method != "gram" and not (
            self.quadratic
            and self.dtype == np.float64
            and self.n > 2 * self.d
            and self.method in ("auto", "spectral")
        ):
            return "direct"
        reason = shortfall("gram", self.squares, self.n, self.factor, weights, tol, target)
        if reason is None:
            return "gram"
        if self.method == "gram":
            raise ValueError(f"method 'gram' has not the digits, use 'direct' or 'auto': {reason}")
        _log.info("passes over the data in place of the Gram method: %s", reason)
        return "direct"

    def _with(self, **changed: Any) -> Self:
        """Return a copy with other values of some fields."""
        copy = object.__new__(type(self))
        for name in (each.name for each in fields(self)):
            object.__setattr__(copy, name, changed.get(name, getattr(self, name)))
        return copy

    def _weights(self, W: Any, *, device: bool) -> Array:
        """Check a linear map, and convert it to the problem's dtype."""
        given = checked_weights(W, self.k, self.d, device=device)
        converted = laid_out(given, self.dtype)
        validation.all_finite("W", converted, given)
        return converted


def checked_problem(value: object) -> BaseProblem:
    """Return the value if it is a problem; raise TypeError if not."""
    if not isinstance(value, BaseProblem):
        raise TypeError(f"problem must be of type Problem, got {validation.shown(value)}")
    return value
