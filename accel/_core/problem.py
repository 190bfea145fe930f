"""Fitting data by a linear map: the data are checked once, and laid out for the kernels."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from accel._core.base import BaseProblem, checked_problem
from accel._core.checks import checked_data, checked_method, chosen_dtype, ready
from accel._core.digits import squares_by_column
from accel._core.rotated import Rotated
from accel._core.scaling import given_data
from accel._core.weighting import (
    checked_sample_weight,
    kept_rows,
    required_degree,
    scaled_rows,
    weight_roots,
)
from accel._support import arrays, validation
from accel._support.arrays import Array, aligned, laid_out
from accel._support.backends import Backend, cpu_threads, resolve
from accel.kernels.protocols import TrainingLoop
from accel.kernels.specs import Batches, ModelSpec
from accel.losses import Loss, Lp
from accel.losses.naming import checked as checked_loss

__all__ = ["LpProblem", "Problem", "local_problem"]

_log = logging.getLogger("accel")

_SQUARE = Lp(2.0)
_BLOCK = 2**20  # numbers of X in a block of a single pass


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Problem(BaseProblem):
    r"""The loss :math:`L(W) = \frac{1}{n} \sum_i \ell(W x_i, y_i)` of a linear map.

    Parameters
    ----------
    X : (n, d) array_like, data frame of pandas or Polars, Standardized or Dataset
        One row a sample. A float32 X makes a float32 problem, anything else a float64 one.
        Booleans are 0 and 1; no value of a frame may be missing. An array on a GPU stays there:
        CuPy's, or any that has DLPack or ``__cuda_array_interface__``, such as PyTorch's and JAX's.
        What ``standardize`` returned, and a data set, hold y, units and names, too.
    y : (n,) or (n, k) array_like, column or data frame
        Where X is: if one of them is on the GPU, the other one is copied there. For the losses of
        labels see ``accel.losses``. May be
        left out after a ``Standardized`` or a ``Dataset``; or given, in units of its own, as labels
        are: ``Problem(scaled, labels, "logistic")``.
    loss : accel.losses.Loss or str
        What a sample costs, summed over its outputs: such as ``Huber(1.35)``, or its name with
        constants, ``"huber(1.35)"``. By default ``Lp(2)``, the square.
    sample_weight : (n,) array_like, optional
        At least 0. A sample of weight s counts as s samples: the loss is the mean over the samples
        with these weights, and does not change with their scale. For losses that scale with the
        residual: ``Lp`` for any p, ``Pinball`` and ``Expectile``.
    dtype : {"float32", "float64"}, optional
        Convert the data to it. Without it nothing is ever rounded, but for what weights do.
    method : {"auto", "direct", "gram", "spectral", "rowspace"}
        How training evaluates the loss. ``"direct"``: by a pass over the data. ``"gram"``, for p =
        2 in float64: from ``X'X``, ``X'y`` and ``y'y``, at a cost of k d^2 a step. ``"spectral"``,
        for p = 2: in the basis of the singular vectors of X, at a cost of k d. ``"rowspace"``: by a
        pass over X in a basis of its row space, n^2 numbers for n < d. The last two are, but for
        rounding, the run by passes over the data, for the rules that commute with rotations of the
        input: ``GradientDescent``, ``Momentum``, ``Nesterov`` and ``EndToEnd``; others are refused.
        ``"auto"`` chooses for every model of a run: for such a rule and enough steps to outweigh a
        decomposition of X ``"spectral"`` if p = 2, and ``"rowspace"`` if not and n <= d / 2;
        otherwise ``"gram"`` for p = 2 in float64 with n > 2 d; otherwise, or if ``tol`` or
        ``target`` need more digits, ``"direct"``.

    Attributes
    ----------
    X : (n, d) array
        C-contiguous, on a 64-byte boundary. The caller's own array if it is laid out like that, so
        do not write to that one any more. On a GPU a CuPy array, C-contiguous, that shares the
        memory of the caller's if that one is. With weights a copy, whose rows are multiplied by
        :math:`(w_i / \bar w)^{1/s}`, s being p, 1 for ``Pinball`` and 2 for ``Expectile``, and
        from which samples of weight 0 are left out: their mean loss is the weighted one.
    Y : (n, k) array
        Likewise; k = 1 for a 1-D y. For ``CrossEntropy`` rows of probabilities.
    sample_weight : (n,) float64 array or None
        Of the samples in X: those above 0, divided by their mean. None without weights.
    n, d, k : int
        Numbers of samples, those of weight 0 apart, features and outputs.
    dtype : dtype
        float32 or float64: of the data, and of every network trained on it.
    on_device : bool
        Whether the data is on a GPU.
    loss_function : accel.losses.Loss
        The loss as given.
    method : str
        As given; the result of a run says which one it took.
    scaling : Scaling or None
        Of a ``Standardized``, a data set or a frame whose columns have names: units and names. None
        for arrays.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind, such as an object array, or if no dtype is given and
        numbers would be rounded: y is float64 and X float32, or an integer has more binary digits
        than the dtype, 53 or 24.
    ValueError
        If the data is empty, of the wrong shape, not finite or has missing values, if y holds no
        targets of the loss, or labels that were standardised, if a weight is negative, all are 0
        or the loss takes none, if loss or method is unknown, if the Gram or the spectral method is
        asked for with another loss than p = 2, or the former in float32, or if the data is on a GPU
        that cannot be used here; the message says what is missing.
    MemoryError
        If the data has to be copied and the machine has no memory for that.

    Examples
    --------
    >>> import accel
    >>> problem = accel.Problem([[1.0], [2.0]], [3.0, 1.0], loss=accel.losses.Huber(1.0))
    >>> problem
    Problem(n=2, d=1, k=1, loss=Huber(delta=1.0), dtype=float64, method='auto')
    >>> problem.loss([0.0])
    1.5
    """

    X: Array
    Y: Array
    sample_weight: Array | None
    methods = ("auto", "direct", "gram", "spectral", "rowspace")
    takes_batches = True

    def __init__(
        self,
        X: Any,
        y: Any = None,
        loss: Loss | str = _SQUARE,
        *,
        sample_weight: Any = None,
        dtype: Any = None,
        method: str = "auto",
    ) -> None:
        given = given_data(X, y)
        X, y = checked_data(given.X, given.y, device=True)
        dtype = chosen_dtype(dtype, {"X": X, "y": y}, given[:2])
        loss = checked_loss(loss)
        if loss.classifies and given.standard_labels:
            raise ValueError(
                f"y must hold labels for {loss!r}, got them standardised: give them as they were, "
                "as in Problem(scaled, y, loss)"
            )
        checked_method(loss, method, dtype, self.methods)
        weight = None
        if sample_weight is not None:
            degree, weight = required_degree(loss), checked_sample_weight(sample_weight, len(X))
        X, y = ready("X", X, dtype), ready("y", y, dtype)
        Y = laid_out(loss.targets(y), dtype)
        if weight is not None:
            if not weight.all():
                X, Y = kept_rows(X, weight > 0), kept_rows(Y, weight > 0)
                weight = weight[weight > 0]
            root, weight = weight_roots(weight, degree), weight_roots(weight, 1.0)
            X, Y = scaled_rows(X, root, dtype), scaled_rows(Y, root, dtype)
            for name, rows in (("X with sample_weight", X), ("y with sample_weight", Y)):
                validation.all_finite(name, rows)
        (n, d), k = X.shape, Y.shape[1]
        super().__init__(n, d, k, dtype, loss, method, scaling=given.scaling(X, y, k))
        object.__setattr__(self, "X", X)  # the class is frozen
        object.__setattr__(self, "Y", Y)
        object.__setattr__(self, "sample_weight", weight)

    @property
    def on_device(self) -> bool:
        """Whether the data is on a GPU."""
        return arrays.on_device(self.X)

    @property
    def host(self) -> "Problem":
        """The problem with NumPy arrays: itself, or a copy, made once, if the data is on a GPU."""
        return self._copied if self.on_device else self

    @cached_property
    def _copied(self) -> "Problem":
        _log.info("copied the data of %r from the GPU to the host, where it is asked for", self)
        return self._with(X=aligned(self.X), Y=aligned(self.Y))

    def with_loss(self, loss: Loss) -> "Problem":
        """Return the problem with another loss of the same targets and weights.

        Raises
        ------
        ValueError
            If there are weights, and the loss takes none.
        """
        if self.sample_weight is None:
            return Problem(self.X, self.Y, loss)
        power = 1 / required_degree(loss) - 1 / required_degree(self.loss_function)
        root = self.sample_weight**power
        X, Y = (scaled_rows(a, root, self.dtype) for a in (self.X, self.Y))
        return self._with(X=X, Y=Y, loss_function=loss)

    @cached_property
    def squares(self) -> tuple[Array, float]:
        """Squares of the norms of the columns of X and of Y, see ``BaseProblem``; computed once."""
        return squares_by_column(self.X), float(np.sum(squares_by_column(self.Y)))

    @property
    def fingerprint(self) -> tuple[Array, ...]:
        """X and Y, on the host, and weights where there are some."""
        data = self.host.X, self.host.Y
        return data if self.sample_weight is None else (*data, self.sample_weight)

    def resolve(self, backend: str, *, work: float = 0.0, steps: int = 1) -> Backend:
        """Return the backend of that name; see ``BaseProblem.resolve``."""
        return resolve(backend, work=work, steps=steps, on_device=self.on_device)

    def needs(self, kernels: Backend, form: str) -> dict[str, float]:
        """Return bytes on the host that these kernels take for the data beside X and Y."""
        return kernels.needs.data_bytes(self.shape(form))

    def loop(
        self,
        kernels: Backend,
        models: Sequence[ModelSpec],
        threads: int | None,
        form: str,
        batches: Batches | None = None,
    ) -> TrainingLoop:
        """Begin a run of models on this problem."""
        data, loss = self._for(kernels), self.spec._replace(form=form)
        return kernels.loop.TrainingLoop(
            data.X, data.Y, loss, models, threads=cpu_threads(threads), batches=batches
        )

    def rotated(self, method: str) -> Rotated:
        """The data in the basis of a method, ``"spectral"`` or ``"rowspace"``; computed once."""
        return self._spectral if method == "spectral" else self._in_row_space

    @cached_property
    def _spectral(self) -> Rotated:
        return Rotated.spectral(self.host.X, self.host.Y)

    @cached_property
    def _in_row_space(self) -> Rotated:
        return Rotated.row_space(self.host.X, self.host.Y)

    def _for(self, kernels: Backend) -> "Problem":
        """The problem with arrays that these kernels take."""
        return self if kernels.needs.TAKES_DEVICE_ARRAYS else self.host

    def single_pass(self, W: Array, kernels: Backend) -> tuple[float, Array]:
        """Loss and gradient (k, d) at a NumPy array W (k, d), once: no data is laid out for it."""
        if self.on_device:
            return super().single_pass(W, kernels)
        spec, loss, gradient = self.spec, 0.0, np.zeros_like(W)
        rows = max(_BLOCK // self.d, 1)
        for start in range(0, self.n, rows):
            X, Y = self.X[start : start + rows], self.Y[start : start + rows]
            part = spec._replace(factor=spec.factor * len(X) / self.n)
            value, slope = resolve("reference").lp_loss.loss_and_gradient(X, Y, W, part)
            loss, gradient = loss + float(value), gradient + slope
        return loss, gradient

    def loss_and_gradient(self, W: Any, *, backend: str = "auto") -> tuple[float, Array]:
        """Loss and gradient with respect to W, by one pass over the data whatever the method.

        The CPU backend copies X at every call if d is no multiple of its vector length, the CUDA
        backend copies X and Y if they are on the host; ``train`` does so once a run.

        Parameters
        ----------
        W : (k, d) array_like, or (d,) for k = 1, or network
            Converted to the dtype of the problem. A network stands for its end-to-end matrix.
        backend : {"auto", "cpu", "cuda", "reference"}
            ``"auto"`` is ``"cuda"`` for data on a GPU, else ``"cpu"``.

        Returns
        -------
        loss : float
        gradient : array of the shape of W, (k, d) for a network
            Where the loss of a sample has a kink its contribution is 0. A CuPy array for a W on the
            GPU, if the backend is ``"cuda"``; else a NumPy array.

        Raises
        ------
        TypeError, ValueError
            If W has the wrong shape, is not finite or holds no real numbers, or if there is no
            such backend.
        """
        kernels = self.resolve(backend)
        data = self._for(kernels)
        W = self._weights(W, device=kernels.needs.TAKES_DEVICE_ARRAYS)
        value, gradient = kernels.lp_loss.loss_and_gradient(
            data.X, data.Y, W.reshape(self.k, self.d), self.spec
        )
        if not arrays.on_device(W):
            gradient = arrays.to_host(gradient)
        return float(value), gradient.reshape(W.shape)


@dataclass(frozen=True, eq=False, repr=False, init=False)
class LpProblem(Problem):
    r"""The loss :math:`L(W) = \frac{f}{n} \sum_i \sum_c |W x_i - y_i|_c^p` of a linear map.

    It is ``Problem(X, y, loss=accel.losses.Lp(p, scale))``, which says what is not said here.

    Parameters
    ----------
    X : (n, d) array_like, data frame of pandas or Polars, Standardized or Dataset
    y : (n,) or (n, k) array_like, column or data frame
        May be left out after one that holds it: ``LpProblem(scaled, p=4)``.
    p : float
        At least 1.
    scale : {"mean", "1/p"}
        ``"mean"`` is f = 1, the loss of the paper's figures; ``"1/p"`` is f = 1/p, that of its
        text.
    sample_weight : (n,) array_like, optional
        With weights w the loss is :math:`f \sum_i w_i \sum_c |W x_i - y_i|_c^p / \sum_i w_i`.
    dtype : {"float32", "float64"}, optional
    method : {"auto", "direct", "gram", "spectral", "rowspace"}

    Attributes
    ----------
    p, factor : float
    scale : str

    Raises
    ------
    TypeError, ValueError, MemoryError
        As by ``Problem``; if p < 1, or scale is unknown.

    References
    ----------
    Arora, Cohen, Hazan (2018), "On the Optimization of Deep Networks: Implicit Acceleration by
    Overparameterization", arXiv 1802.06509, section 3.

    Examples
    --------
    >>> import accel
    >>> problem = accel.LpProblem([[1.0, 0.0], [0.0, 1.0]], [3.0, 1.0], p=4)
    >>> problem
    LpProblem(n=2, d=2, k=1, p=4, scale='mean', dtype=float64, method='auto')
    >>> problem.loss([0.0, 0.0])
    41.0
    """

    def __init__(
        self,
        X: Any,
        y: Any = None,
        p: float = 4.0,
        *,
        scale: str = "mean",
        sample_weight: Any = None,
        dtype: Any = None,
        method: str = "auto",
    ) -> None:
        loss = Lp(p, scale)
        super().__init__(X, y, loss, sample_weight=sample_weight, dtype=dtype, method=method)


def local_problem(value: object) -> Problem:
    """Return a problem whose data, X and Y, are on this machine.

    Raises
    ------
    TypeError
        If it is no problem, or one whose data are on other machines, or are no X and Y.
    """
    problem = checked_problem(value)
    if not isinstance(problem, Problem) and problem.data_are != BaseProblem.data_are:
        raise TypeError(
            f"the data of a {type(problem).__name__} {problem.data_are}, and this needs X and y: "
            "it is for a Problem"
        )
    if not isinstance(problem, Problem):
        raise TypeError(
            f"the data of a {type(problem).__name__} are on the workers, and this needs them in "
            "one place: make a Problem of them if they fit, as X.compute() and y.compute()"
        )
    return problem
