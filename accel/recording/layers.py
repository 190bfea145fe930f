"""How the factors relate to each other and to the gradient, and how fast the product moves."""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from accel._core.optimizers import EndToEnd, Langevin
from accel._support import validation
from accel._support.arrays import Array
from accel.kernels.reference.entrywise import gradients
from accel.kernels.specs import Entrywise
from accel.recording.quantity import Model, Moment, Output, Quantity, needs_matrices, size_of
from accel.schedules.schedule import at

__all__ = ["Alignment", "Balancedness", "StepSize"]


@dataclass(frozen=True)
class Balancedness(Quantity):
    r"""How far the factors are from balanced: :math:`\|W_{j+1}^\top W_{j+1} - W_j W_j^\top\|_F`.

    Gradient flow conserves every one of these differences: Arora, Cohen, Hazan (2018), arXiv
    1802.06509, theorem 1. Recorded is ``balancedness_layers``, (N - 1,), one for each pair of
    neighbours, and ``balancedness``, the largest, that of ``LinearNetwork.balancedness``. At depth
    1 the latter is 0, and there are no pairs. Of a diagonal network that is a product of vectors
    the differences are :math:`u_{j+1}^2 - u_j^2`; there are none of a power difference.
    """

    cost = "two products of matrices for each pair of neighbouring factors"

    def check(self, model: Model) -> None:
        """Refuse power differences."""
        structure = model.network.structure
        if isinstance(structure, Entrywise) and structure.form != "hadamard":
            needs_matrices(model, self.name)

    def outputs(self, model: Model) -> dict[str, Output]:
        """A number, and for N > 1 a vector (N - 1,)."""
        pairs = {f"{self.name}_layers": Output((model.network.depth - 1,))}
        return {self.name: Output()} | (pairs if model.network.depth > 1 else {})

    def measure(self, moment: Moment) -> dict[str, Any]:
        """Return the largest norm, and all of them."""
        layers = [
            size_of(above**2 - below**2 if above.ndim == 1 else above.T @ above - below @ below.T)
            for below, above in itertools.pairwise(moment.factors)
        ]
        pairs = {f"{self.name}_layers": layers} if layers else {}
        return {self.name: max(layers, default=0.0)} | pairs


def _cosine(A: Array, B: Array) -> float:
    """The cosine of the angle between two matrices; NaN if one is 0."""
    sizes = size_of(A), size_of(B)
    if not all(sizes):
        return float("nan")
    product = float(np.vdot(A, B)) / sizes[0] / sizes[1]
    if math.isfinite(product) and abs(product) > 1e-100:  # nothing over- or underflowed
        return product
    return float(np.vdot(A / sizes[0], B / sizes[1]))


@dataclass(frozen=True)
class Alignment(Quantity):
    r"""The cosine of the gradient with the weights, and the alignment of neighbouring factors.

    ``alignment`` is :math:`\langle G, W_e \rangle / (\|G\| \|W_e\|)` with the gradient
    :math:`G = \nabla L(W_e)`: at -1 descent only stretches the weights. ``alignment_layers``,
    (N - 1,), is :math:`|\langle v_1(W_{j+1}), u_1(W_j) \rangle|` with the first right and left
    singular vectors of neighbours: 1 where they are aligned, as gradient flow makes them. Ji,
    Telgarsky (2019), "Gradient descent aligns the layers of deep linear networks", arXiv
    1810.02032. NaN where a matrix is 0.

    Parameters
    ----------
    layers : bool
        Whether to record ``alignment_layers``.
    """

    layers: bool = False
    cost = "a pass over the data; with layers also singular vectors of every factor"

    def __post_init__(self) -> None:
        validation.flag("layers", self.layers)

    def check(self, model: Model) -> None:
        """Refuse the layers of a diagonal network, which have no singular vectors of interest."""
        if self.layers:
            needs_matrices(model, f"{self.name}(layers=True)")

    def outputs(self, model: Model) -> dict[str, Output]:
        """A number, and with layers a vector (N - 1,)."""
        outputs = {self.name: Output()}
        if self.layers and model.network.depth > 1:
            outputs[f"{self.name}_layers"] = Output((model.network.depth - 1,))
        return outputs

    def measure(self, moment: Moment) -> dict[str, Any]:
        """Return the cosine, and with layers the alignment of every pair of neighbours."""
        values: dict[str, Any] = {self.name: _cosine(moment.gradient, moment.end_to_end)}
        if self.layers and len(moment.factors) > 1:
            sides = [_first_vectors(W) for W in moment.factors]
            values[f"{self.name}_layers"] = [
                abs(float(right @ left)) for (left, _), (_, right) in itertools.pairwise(sides)
            ]
        return values


def _first_vectors(W: Array) -> tuple[Array, Array]:
    """The first left and the first right singular vector; NaN for a matrix that is 0."""
    if not W.any():
        return np.full(len(W), np.nan), np.full(W.shape[1], np.nan)
    U, _, V = np.linalg.svd(W, full_matrices=False)
    return U[:, 0], V[0]


def _square(A: Array) -> float:
    """The square of the Frobenius norm; infinite where it overflows."""
    size = size_of(A)
    return size * size  # not size**2, which raises an OverflowError


@dataclass(frozen=True)
class StepSize(Quantity):
    r"""The rate at which a step moves the end-to-end matrix along itself.

    A step with rate :math:`\eta` moves :math:`W_e`, to first order, by :math:`-\eta P(G)` with the
    preconditioner :math:`P(G) = \sum_j S_j S_j^\top G \, T_j^\top T_j` of claim 1, where
    :math:`S_j = W_N \cdots W_{j+1}` and :math:`T_j = W_{j-1} \cdots W_1`. This is
    :math:`\eta \langle W_e, P(W_e) \rangle / \|W_e\|^2`: for balanced factors with one output
    :math:`\eta N \|w\|^{2 - 2/N}`, the adaptive step size with which claim 2 describes implicit
    acceleration. Arora, Cohen, Hazan (2018), arXiv 1802.06509. NaN at W = 0. For rules with
    momentum or noise it is that of the gradient's part; for rules that rescale the gradient there
    is none. For a diagonal network P is likewise what the gradients of its vectors do to the map.
    """

    cost = "four products of matrices a factor; for the end-to-end rule, singular vectors"

    def check(self, model: Model) -> None:
        """Refuse rules that rescale every entry of the gradient."""
        if not (model.optimizer.rotates or isinstance(model.optimizer, Langevin)):
            raise ValueError(
                "record 'step_size' needs a rule that follows the gradient, "
                f"got {model.optimizer.name}"
            )

    def outputs(self, model: Model) -> dict[str, Output]:
        """A number."""
        return {self.name: Output()}

    def measure(self, moment: Moment) -> dict[str, Any]:
        """Return the rate along the end-to-end matrix."""
        W, rule = moment.end_to_end, moment.optimizer
        rate = at(rule.learning_rate, moment.step)
        size = size_of(W)
        if not 0 < size < np.inf:
            return {self.name: float("nan")}
        V = W / size
        if isinstance(rule, EndToEnd):
            moved = moment.kernels.precondition.precondition(W, V, rule.depth)
            return {self.name: rate * float(np.vdot(V, moved))}
        # <V, P(V)> is the square of the norm of what V is pulled back to: S' V T' of each factor.
        if isinstance(moment.structure, Entrywise):
            params = moment.params.astype(np.float64, copy=False)
            return {self.name: rate * _square(gradients(params, moment.structure, V))}
        behind, total = V, 0.0
        for factor, S in zip(moment.factors[:-1], moment.suffixes[1:], strict=True):
            total += _square(S.T @ behind)
            behind = behind @ factor.T
        return {self.name: rate * (total + _square(behind))}
