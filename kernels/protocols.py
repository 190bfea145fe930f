"""What every backend offers: its files, what they hold, and the run that its loop makes.

Problems, runs and estimators call nothing of a backend but this. Arrays are NumPy's for the CPU
backends, NumPy's or CuPy's for ``cuda``; of a problem, n are the samples, d the features, k the
outputs, M the models.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .needs import Shape
from .specs import Batches, Entrywise, Loss, ModelSpec

Array = NDArray[Any]


class Snapshot(NamedTuple):
    """Everything that the rest of a run depends on, its rates apart.

    Attributes
    ----------
    step : int
        Updates made so far by the models in the run.
    active : (A,) int64 array, NumPy's
        The models in the run.
    fates : (M, 2) int64 array, NumPy's
        Status code and updates made, of every model.
    params, state : 1-D arrays of the run's dtype
        Factors and optimiser state of all models, in the backend's layout, and on the device with
        ``cuda``. In a run of one model its state begins with the first of its slots.
    """

    step: int
    active: Array
    fates: Array
    params: Array
    state: Array


class TrainingLoop(Protocol):
    """A run: full-batch descent of M models on one problem, each as if it were alone.

    A model that has ended leaves the run, and its factors stay as they are. Losses and norms are
    float64. Arrays "as of now" must not be written to, nor kept beyond the next call of a method.
    """

    @property
    def threads(self) -> int:
        """Parts that the work is cut into, at least 1: fewer than asked for if it is small."""

    @property
    def step(self) -> int:
        """Updates made so far by the models that are still in the run."""

    @property
    def active(self) -> Array:
        """Indices of the models that are still in the run, (A,) int64, as of now."""

    @property
    def statuses(self) -> Array:
        """RUNNING, CONVERGED, TARGET or DIVERGED of every model, (M,) int64, as of now."""

    @property
    def steps(self) -> Array:
        """Updates made by every model, (M,) int64, as of now."""

    def params(self, model: int) -> Array:
        """Return a copy of a model's flat factors, (n_params,), in NumPy's memory."""

    def device_params(self, model: int) -> Array:
        """Return a copy of a model's flat factors where they lie: with ``cuda`` on the GPU."""

    def advance(
        self, steps: int, record_every: int = 0, tol: float = 0.0, target: float = -np.inf
    ) -> None:
        """Make up to ``steps`` updates of every model in the run.

        Before each, the current iterate is judged in this order: with a loss or gradient that is
        not finite the model has DIVERGED; the iterate is recorded if its step is a multiple of
        ``record_every``, which 0 turns off; with a gradient norm of at most ``tol`` > 0 it has
        CONVERGED, with a loss of at most ``target`` it has met its TARGET. The iterate after the
        last update is not judged. A request to stop ends the call early.

        With batches only an iterate that is to be recorded is judged so, by all data; of the
        others, and of the batches, no more is asked than that loss and gradient are finite.
        """

    def evaluate(self) -> Array:
        """Return steps, loss, norms of gradient and end-to-end matrix of every model, (M, 4).

        They are those of the current iterates, in the run or not, and are recorded nowhere.
        """

    def take_history(self) -> tuple[Array, Array]:
        """Return what was recorded since the last call.

        Returns
        -------
        steps : (m,) int64 array
        rows : (m, M, 3) or, with batches, (m, M, 4) float64 array
            Loss, norms of gradient and end-to-end matrix, loss of the batch; NaN for a model not in
            the run.
        """

    def set_rate(self, model: int, rate: float) -> None:
        """Change the learning rate of a model for the steps to come, and end its schedule."""

    def snapshot(self) -> Snapshot:
        """Return the state of the run, without its history; copies."""

    def restore(self, snapshot: Snapshot, models: Iterable[int] | None = None) -> None:
        """Go back to a snapshot, any number of times; from there the run repeats itself to the bit.

        With ``models`` only those go back, and only they are in the run then. Its arrays may all be
        NumPy's, such as those of a file.
        """

    def stop(self) -> None:
        """Ask the run to stop after the step or the launch in hand; from another thread, too."""


class LoopModule(Protocol):
    """``loop``: whole runs."""

    def TrainingLoop(
        self,
        X: Array,
        Y: Array,
        loss: Loss,
        models: Sequence[ModelSpec],
        threads: int = 1,
        batches: Batches | None = None,
    ) -> TrainingLoop:
        """Begin a run.

        Parameters
        ----------
        X, Y : (n, d), or (d,) in the form "diagonal", and (n, k) arrays of one dtype
            In the forms "entries" and "measurements", which ``cuda`` has not yet, as ``Loss`` says.
            On the device only where ``NeedsModule.TAKES_DEVICE_ARRAYS``.
        loss : Loss
            In the form "gram" (p = 2 and float64) steps are made from the Gram matrices; in the
            form "diagonal" (p = 2) X is the diagonal (d,) of a matrix (d, d), and Y (d, k).
        models : sequence of ModelSpec
            At least one; ``widths`` from d to k, and (d, k) for the end-to-end rule. Of entrywise
            ones k is 1, ``cuda`` takes none, and ``cpu`` takes those of one form at a time.
        threads : int
            At most; a backend may use fewer, and does not look at it where it has no threads.
        batches : Batches, optional
            The rows of each step, of data in the form "direct" or "measurements"; by default all.
        """


class LossModule(Protocol):
    """``lp_loss``: the loss of a linear map, by one pass over the data or from Gram matrices."""

    def loss_and_gradient(self, X: Array, Y: Array, W: Array, loss: Loss) -> tuple[float, Array]:
        """Return loss and gradient (k, d) at W (k, d), by a pass whatever ``loss.form``."""

    def gram(self, X: Array, Y: Array) -> tuple[Array, Array, float]:
        """Return X'X (d, d), Y'X (k, d) and the sum of squares of Y, in float64."""

    def gram_loss_and_gradient(
        self, XX: Array, YX: Array, YY: float, n: int, W: Array, factor: float
    ) -> tuple[float, Array]:
        """Return loss and gradient for p = 2 from what ``gram`` returns, of n rows."""

    def hessian(self, X: Array, y: Array, w: Array, loss: Loss) -> Array:
        """Return the Hessian (d, d) of the loss of one output, y (n,), at w (d,), in float64."""


class ChainModule(Protocol):
    """``factor_chain``: from factors to the end-to-end matrix, and back with its gradient."""

    def end_to_end(self, params: Array, widths: tuple[int, ...]) -> Array:
        """Return the end-to-end matrix (k, d) of flat factors."""

    def gradients(self, params: Array, widths: tuple[int, ...], G: Array) -> Array:
        """Return the gradients of all factors, flat like them, from that of the matrix (k, d)."""


class ChainCurvature(Protocol):
    """The chain of factors at one point, for products with the Hessian along many directions."""

    def tangent(self, direction: Array) -> Array:
        """Return the derivative (k, d) of the end-to-end matrix along a direction, as of now."""

    def product(self, direction: Array, second: Callable[[Array], Array]) -> Array:
        """Return the Hessian times a direction, flat; ``second`` makes G's derivative of W's."""


class CurvatureModule(Protocol):
    """``curvature``: the Hessian of the network's loss in its factors times a vector."""

    def hessian_product(self, X: Array, Y: Array, W: Array, V: Array, loss: Loss) -> Array:
        """Return the loss's second derivative at W along V, (k, d) in float64, by a pass."""

    def ChainCurvature(self, params: Array, widths: tuple[int, ...], G: Array) -> ChainCurvature:
        """Begin products at a point, given the gradient G (k, d) of the loss there."""


class EntrywiseModule(Protocol):
    """``entrywise``: for such maps what ``factor_chain`` and ``curvature`` are for products."""

    def end_to_end(self, params: Array, structure: Entrywise) -> Array:
        """Return the map (1, d) of flat vectors."""

    def gradients(self, params: Array, structure: Entrywise, G: Array) -> Array:
        """Return the gradients of all vectors, flat like them, from that of the map (1, d)."""

    def ChainCurvature(self, params: Array, structure: Entrywise, G: Array) -> ChainCurvature:
        """Begin products with the Hessian at a point, given the gradient G (1, d) of the loss."""


class UpdateModule(Protocol):
    """``updates``: one step of an optimiser."""

    def update(
        self,
        kind: int,
        params: Array,
        grads: Array,
        state: Array,
        hyper: tuple[float, ...],
        step: int,
        starts: Sequence[int] = (0,),
    ) -> None:
        """Change flat params and state (slots, n_params) in place; steps count from 1.

        The factors begin at ``starts``, which only a rule that has something in common for a factor
        asks.
        """


class PreconditionModule(Protocol):
    """``precondition``: the end-to-end rule."""

    def precondition(self, W: Array, G: Array, depth: int) -> Array:
        """Return the direction (k, d) in which ``depth`` balanced factors move W (k, d) for G."""


class ChunksModule(Protocol):
    """``chunks``: sums over a part of the rows, for data that lie in several places."""

    def row_length(self, d: int, dtype: np.dtype[Any]) -> int:
        """Return the length at which rows of d elements are kept: d, or more with padding zeros."""

    def pieces(self, X: Array, Y: Array, d: int, block: int) -> list[Any]:
        """Lay out rows for ``sums``, in pieces that several threads may sum at the same time.

        Parameters
        ----------
        X : (n, row_length) array
            C-contiguous and 64-byte aligned; with the CPU backend its memory is used, not copied.
        Y : (n, k) array of the same dtype
        d : int
        block : int
            Rows of a piece, a multiple of 8; a backend without threads of its own makes one piece.
        """

    def sums(self, piece: Any, W: Array, loss: Loss, most: int) -> Array:
        """Return the unscaled sums of a piece for maps W (M, k, d): flat, float64, NumPy's.

        They are the gradients, sums of the kernels' slopes times ``x_i'``, M times (k, d), and then
        M times the sum of the values, without the factor of the loss. ``most`` is the number of
        maps of the largest pass, on which bits may depend.
        """


class TwofoldModule(Protocol):
    """``twofold``: dot products with twice the digits of float64, of NumPy's arrays."""

    def dot(self, A: Array, x: Array) -> tuple[Array, Array, Array]:
        """Return ``x' A`` for A (m, k) and x (m,): two numbers each, and a bound of the error."""


class NeedsModule(Protocol):
    """``needs``: what a run takes of the host's memory, and where its data may lie.

    Attributes
    ----------
    TAKES_DEVICE_ARRAYS : bool
        Whether all that the backend offers takes arrays on the device as well as NumPy's.
    """

    TAKES_DEVICE_ARRAYS: bool

    def data_bytes(self, shape: Shape) -> dict[str, float]:
        """Return the bytes that the data take on the host in addition to X and Y, by purpose."""

    def run_bytes(
        self, shape: Shape, models: Sequence[ModelSpec], records: float, threads: int
    ) -> dict[str, float]:
        """Return the bytes that models and ``records`` of history take on the host, by purpose."""
