"""The l_p regression problem: data checked and laid out once for the kernels."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from accel._core.checks import checked_data, checked_loss, checked_weights, common_dtype, unrounded
from accel._core.gram import shortfall, squares_by_column
from accel._core.standardize import Standardized, standardize
from accel._support import arrays, validation
from accel._support.arrays import Array, aligned, laid_out
from accel._support.backends import Backend, cpu_threads, resolve
from accel.kernels.specs import Loss, Model

__all__ = ["LpProblem", "Standardized", "aligned", "standardize"]

_log = logging.getLogger("accel")


def checked_problem(value: object) -> "LpProblem":
    """Check that it is a problem."""
    if not isinstance(value, LpProblem):
        raise TypeError(f"problem must be of type LpProblem, got {validation.shown(value)}")
    return value


@dataclass(frozen=True, eq=False, repr=False, init=False)
class LpProblem:
    r"""The loss :math:`L(W) = \frac{f}{n} \sum_i \sum_c |W x_i - y_i|_c^p` of a linear map.

    Parameters
    ----------
    X : (n, d) array_like, or data frame of pandas or Polars
        One row a sample. A float32 X makes a float32 problem, anything else a float64 one. Truth
        values are 0 and 1; no value of a frame may be missing. An array on a GPU stays there:
        CuPy's, or any that has DLPack or ``__cuda_array_interface__``, such as PyTorch's and JAX's.
    y : (n,) or (n, k) array_like, column or data frame
        Where X is: if one of them is on the GPU, the other one is copied there.
    p : float
        At least 1.
    scale : {"mean", "1/p"}
        ``"mean"`` is f = 1, the loss of the paper's figures; ``"1/p"`` is f = 1/p, that of its
        text.
    dtype : {"float32", "float64"}, optional
        Asks for a conversion. Without it nothing is ever rounded.
    method : {"auto", "direct", "gram"}
        How training evaluates the loss: by a pass over the data, or for p = 2 from ``X'X``, ``X'y``
        and ``y'y``, at a cost that does not depend on n. ``"auto"`` takes the latter for p = 2 in
        float64 with n > 2 d, but for runs whose ``tol`` or ``target`` need more digits than it has.

    Attributes
    ----------
    X : (n, d) array
        C-contiguous, on a 64-byte boundary. The caller's own array if it is laid out like that, so
        do not write to that one any more. On a GPU a CuPy array, C-contiguous, that shares the
        memory of the caller's if that one is.
    Y : (n, k) array
        Likewise; k = 1 for a 1-D y.
    on_device : bool
        Whether the data is on a GPU.
    p, factor : float
    scale, method : str
        The method is resolved: ``"direct"`` or ``"gram"``. A run may take the former for the
        latter, see above; its result tells.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind, such as an object array, or if no dtype is given and
        numbers would be rounded: y is float64 and X float32, or an integer has more binary digits
        than the dtype, 53 or 24.
    ValueError
        If the data is empty, of the wrong shape, not finite or has missing values, if p < 1, if
        scale or method is unknown, if the Gram method is asked for with p != 2 or in float32, or if
        the data is on a GPU that cannot be used here; the message says what is missing.
    MemoryError
        If the data has to be copied and the machine has no memory for that.

    References
    ----------
    Arora, Cohen, Hazan (2018), "On the Optimization of Deep Networks: Implicit Acceleration by
    Overparameterization", arXiv 1802.06509, section 3.

    Examples
    --------
    >>> import accel
    >>> problem = accel.LpProblem([[1.0, 0.0], [0.0, 1.0]], [3.0, 1.0], p=4)
    >>> problem
    LpProblem(n=2, d=2, k=1, p=4, scale='mean', dtype=float64, method='direct')
    >>> problem.loss([0.0, 0.0])
    41.0
    """

    X: Array
    Y: Array
    p: float
    scale: str
    method: str

    def __init__(
        self,
        X: Any,
        y: Any,
        p: float = 4.0,
        *,
        scale: str = "mean",
        dtype: Any = None,
        method: str = "auto",
    ) -> None:
        given, (X, y) = (X, y), checked_data(X, y, device=True)
        if dtype is None:
            dtype = common_dtype(X, y)
            for name, a, before in zip("Xy", (X, y), given, strict=True):
                unrounded(name, a, dtype, before)
        dtype = validation.float_dtype("dtype", dtype)
        free = method == "auto"
        p, method = checked_loss(p, scale, method, dtype, X.shape)
        ready = []
        for name, a in (("X", X), ("y", y)):
            b = laid_out(a, dtype)
            validation.all_finite(name, b, a)
            ready.append(b)
        X, y = ready
        Y = y.reshape(len(y), -1)
        vars(self).update(X=X, Y=Y, p=p, scale=scale, method=method, _free=free)

    def __repr__(self) -> str:
        return (
            f"LpProblem(n={self.n}, d={self.d}, k={self.k}, p={self.p:g}, scale={self.scale!r}, "
            f"dtype={self.dtype}, method={self.method!r})"
        )

    @property
    def n(self) -> int:
        """Number of samples."""
        return int(self.X.shape[0])

    @property
    def d(self) -> int:
        """Number of features."""
        return int(self.X.shape[1])

    @property
    def k(self) -> int:
        """Number of outputs."""
        return int(self.Y.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64: of the data, and of every network trained on it."""
        return self.X.dtype

    @property
    def on_device(self) -> bool:
        """Whether the data is on a GPU."""
        return arrays.on_device(self.X)

    @property
    def host(self) -> "LpProblem":
        """The problem with NumPy arrays: itself, or of one on a GPU a copy, made once."""
        return self._copied if self.on_device else self

    @cached_property
    def _copied(self) -> "LpProblem":
        _log.info("copied the data of %r from the GPU to the host, where it is asked for", self)
        return self._with(X=aligned(self.X), Y=aligned(self.Y))

    @property
    def factor(self) -> float:
        """The f in the loss: 1, or 1/p."""
        return 1.0 if self.scale == "mean" else 1.0 / self.p

    @property
    def spec(self) -> Loss:
        """The loss as the kernels take it."""
        return Loss(self.p, self.factor, self.method == "gram")

    @cached_property
    def _squares(self) -> tuple[Array, float]:
        """Squares of the norms of the columns of X, and of Y; not 0 unless all numbers are."""
        return squares_by_column(self.X), float(np.sum(squares_by_column(self.Y)))

    def suited(
        self, weights: float = 0.0, tol: float = 0.0, target: float = -math.inf
    ) -> "LpProblem":
        """Return the problem as a run should take it.

        That is itself, or if X'X has not the digits that the run needs, the same data with the
        direct method.

        Parameters
        ----------
        weights : float
            Norm of the end-to-end matrix at the start.
        tol, target : float
            As for ``train``.

        Raises
        ------
        ValueError
            If the Gram method was asked for by name.
        """
        if self.method != "gram":
            return self
        reason = shortfall(*self._squares, self.n, self.factor, weights, tol, target)
        if reason is None:
            return self
        if not vars(self)["_free"]:
            raise ValueError(f"method 'gram' has not the digits, use 'direct' or 'auto': {reason}")
        _log.info("passes over the data in place of the Gram method: %s", reason)
        return self._with(method="direct")

    def _with(self, **changed: Any) -> "LpProblem":
        copy = object.__new__(type(self))
        vars(copy).update(vars(self) | changed)
        vars(copy).pop("_copied", None)  # it has not changed
        return copy

    @property
    def fingerprint(self) -> tuple[Array, ...]:
        """Arrays that tell this data from other data."""
        return self.host.X, self.host.Y

    def needs(self, kernels: Backend) -> dict[str, float]:
        """Bytes on the host that these kernels take for the data beside the problem's own."""
        n, d, k, size = self.n, self.d, self.k, self.dtype.itemsize
        if kernels.name == "reference":
            return {"residuals": 4.0 * n * k * size}
        if kernels.name == "cuda":
            return {}
        from accel.kernels.cpu.jit import lanes_for, padded

        row = padded(d, lanes_for(d, self.dtype))
        rows = 0.0 if row == d or self.method == "gram" else float(n * row * size)
        return {"a padded copy of X": rows, "a transposed copy of Y": float(n * k * size)}

    def loop(self, kernels: Backend, models: Sequence[Model], threads: int | None) -> Any:
        """Return a run of models on this problem: the ``TrainingLoop`` of the kernels."""
        data, threads = self if kernels.name == "cuda" else self.host, cpu_threads(threads)
        return kernels.loop.TrainingLoop(data.X, data.Y, self.spec, models, threads=threads)

    def loss(self, W: Any, *, backend: str = "auto") -> float:
        """Return the loss at W; see ``loss_and_gradient``."""
        return self.loss_and_gradient(W, backend=backend)[0]

    def gradient(self, W: Any, *, backend: str = "auto") -> Array:
        """Return the gradient at W; see ``loss_and_gradient``."""
        return self.loss_and_gradient(W, backend=backend)[1]

    def loss_and_gradient(self, W: Any, *, backend: str = "auto") -> tuple[float, Array]:
        """Loss and gradient with respect to W, by one pass over the data whatever the method.

        The CPU backend copies X at every call if d is no multiple of its vector length, the CUDA
        backend copies X and Y if they are on the host; ``train`` does so once a run.

        Parameters
        ----------
        W : (k, d) array_like, or (d,) for k = 1
            Converted to the dtype of the problem.
        backend : {"auto", "cpu", "cuda", "reference"}
            ``"auto"`` is ``"cuda"`` for data on a GPU, else ``"cpu"``.

        Returns
        -------
        loss : float
        gradient : array of the shape of W
            Where a residual is 0 its contribution is 0, for every p. A CuPy array for a W on the
            GPU, if the backend is ``"cuda"``; else a NumPy array.

        Raises
        ------
        TypeError, ValueError
            If W has the wrong shape, is not finite or holds no real numbers, or if there is no
            such backend.
        """
        kernels = resolve(backend, on_device=self.on_device)
        cuda = kernels.name == "cuda"
        data, W = self if cuda else self.host, self._weights(W, device=cuda)
        value, gradient = kernels.lp_loss.loss_and_gradient(
            data.X, data.Y, W.reshape(self.k, self.d), self.spec
        )
        if not arrays.on_device(W):
            gradient = arrays.to_host(gradient)
        return float(value), gradient.reshape(W.shape)

    def _weights(self, W: Any, device: bool) -> Array:
        given = checked_weights(W, self.k, self.d, device=device)
        converted = laid_out(given, self.dtype)
        validation.all_finite("W", converted, given)
        return converted
