r"""Diagonal linear networks: vectors that make one linear map entry by entry."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from accel._core.base import BaseProblem, checked_problem
from accel._core.initializers import PRODUCT
from accel._core.network import Network, flat_factors, given_factors
from accel._support import memory, validation
from accel._support.arrays import Array
from accel.kernels.specs import Entrywise, ModelSpec, Rule, Structure

#: How the map is made of the vectors.
FORMS = ("power-difference", "hadamard")
_INITIALIZERS = ("constant", "near_zero")
_SCALE = 0.01


def _entries(z: Array, depth: int, scale: float | None) -> Array:
    """Entries of a start: z times the scale, or by default roots of what is 0.01 z in w."""
    if scale is None and depth > 2:
        roots: Array = np.copysign(np.abs(PRODUCT * z) ** (1 / depth), z)
        return roots
    return (_SCALE if scale is None else scale) * z


@dataclass(frozen=True, eq=False, repr=False, init=False)
class DiagonalNetwork(Network):
    r"""A diagonal linear network: one output :math:`\langle w, x \rangle`, w entry by entry.

    Descent on its vectors is biased towards sparse w, the more so the smaller they begin: from
    large ones it ends where descent on w would, at the least l2 norm; from small ones near the
    least l1 norm.

    Parameters
    ----------
    d : int
        Features. There is one output.
    depth : int
        N, 1 to 10 000.
    form : {"power-difference", "hadamard"}
        :math:`w = u^N - v^N`, of two vectors, or :math:`w = u_1 \circ \dots \circ u_N`; powers and
        products are those of the entries.
    init : {"constant", "near_zero"} or sequence of arrays
        ``"constant"``: :math:`u = v = \alpha` in every entry; of a product all vectors but the
        last, which is 0. Either begins at w = 0 and favours no sign. ``"near_zero"``: independent
        Gaussian entries. Arrays: u and v, or ``u_1`` to ``u_N``, each (d,).
    scale : float, optional
        The :math:`\alpha`, or the standard deviation of the Gaussian entries. It is what moves
        between the rich regime (small) and the kernel regime (large). From 0 nothing moves where N
        > 1. By default 0.01; from N = 3 on, where descent from there stays at the saddle at w = 0,
        :math:`0.01^{1/N}` if constant, and else Gaussian entries of deviation 0.01 of whose sizes
        the N-th root is taken: so :math:`u^N` and the products are of size 0.01 at every depth. Not
        for given arrays.
    seed : int
        Of the random numbers of ``"near_zero"``.
    dtype : {"float64", "float32"}
        Arrays are converted to it, but for integers that it would round.

    Attributes
    ----------
    widths : tuple of int
        ``(d, 1)``: features and outputs.
    depth : int
    form : str
    params : (n_params,) array
        The vectors one after the other.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, out of range or of the wrong shape.
    MemoryError
        If the machine has no memory for so many parameters.

    Notes
    -----
    For underdetermined least squares, N = 2 and u = v = alpha, gradient flow of the power
    difference ends at the w that fits the data and has the least :math:`\sum_i q(w_i / \alpha^2)`,
    :math:`q(z) = 2 - \sqrt{4 + z^2} + z \operatorname{arsinh}(z / 2)`: for alpha to 0 the least l1
    norm, for alpha to infinity the least l2 norm (Woodworth et al. 2020, theorem 1).

    A diagonal network does not commute with rotations of the input, so the methods ``"spectral"``
    and ``"rowspace"`` are not for it, nor is ``EndToEnd``.

    References
    ----------
    Woodworth, Gunasekar, Lee, Moroshko, Savarese, Golan, Soudry, Srebro (2020), "Kernel and rich
    regimes in overparametrized models", arXiv 2002.09277; Vaskevicius, Kanade, Rebeschini (2019),
    "Implicit regularization for optimal sparse recovery", arXiv 1909.05122; Gissin,
    Shalev-Shwartz, Daniely (2019), "The implicit bias of depth: how incremental learning drives
    generalization", arXiv 1909.12051.

    Examples
    --------
    >>> import accel
    >>> network = accel.DiagonalNetwork(3, scale=0.1)
    >>> network
    DiagonalNetwork(d=3, depth=2, form='power-difference', dtype=float64)
    >>> network.end_to_end()
    array([[0., 0., 0.]])
    """

    form: str
    _depth: int

    rotates = False

    def __init__(
        self,
        d: int,
        depth: int = 2,
        form: str = "power-difference",
        *,
        init: str | Sequence[Any] | Array = "constant",
        scale: float | None = None,
        seed: int = 0,
        dtype: Any = np.float64,
    ) -> None:
        d, depth = validation.integer("d", d, least=1), validation.depth(depth)
        form = validation.choice("form", form, FORMS)
        vectors = Entrywise(form, depth).vectors
        memory.require(
            f"a diagonal network of {validation.shown(vectors)} vectors of length {d}",
            40 * vectors * d,  # with what initialisation takes, in float64 whatever the dtype
        )
        rng = np.random.default_rng(validation.integer("seed", seed, least=0))
        dtype = validation.float_dtype("dtype", dtype)
        if scale is not None:
            scale = validation.real("scale", scale, least=0)
        if isinstance(init, str):
            named = validation.choice("init", init, _INITIALIZERS)
            shape = (vectors, d)
            z = np.ones(shape) if named == "constant" else rng.standard_normal(shape)
            factors = list(_entries(z, depth, scale))
            if (named, form) == ("constant", "hadamard"):
                factors[-1] = np.zeros(d)
        elif scale is not None:
            raise ValueError(f"scale must be left out where init is given as arrays, got {scale:g}")
        else:
            factors = given_factors(init, [(d,)] * vectors, dtype, _INITIALIZERS)
        self._hold(flat_factors(factors, dtype), widths=(d, 1), form=form, _depth=depth)

    @classmethod
    def for_problem(
        cls,
        problem: BaseProblem,
        depth: int = 2,
        form: str = "power-difference",
        *,
        init: str | Sequence[Any] | Array = "constant",
        scale: float | None = None,
        seed: int = 0,
    ) -> "DiagonalNetwork":
        """Make a network that fits a problem of one output: its features and dtype.

        Parameters
        ----------
        problem : Problem
        depth, form, init, scale, seed
            As for the class.

        Returns
        -------
        DiagonalNetwork

        Raises
        ------
        TypeError, ValueError
            Also if the problem has several outputs.
        """
        checked_problem(problem)
        if problem.k != 1:
            raise ValueError(
                f"problem must have one output for a DiagonalNetwork, got k = {problem.k}"
            )
        return cls(
            problem.d, depth, form, init=init, scale=scale, seed=seed, dtype=problem.dtype
        )  # fmt: skip

    def __repr__(self) -> str:
        return (
            f"DiagonalNetwork(d={self.widths[0]}, depth={self.depth}, form={self.form!r}, "
            f"dtype={self.dtype})"
        )

    @property
    def _form(self) -> str:
        return f"diagonal: {self.form}"

    @property
    def depth(self) -> int:
        """The N."""
        return self._depth

    @property
    def structure(self) -> Structure:
        """Form and depth, as the kernels take them."""
        return Entrywise(self.form, self.depth)

    @property
    def factors(self) -> list[Array]:
        """``[u, v]`` or ``[u_1, ..., u_N]``, each (d,), views into ``params``."""
        return list(self.params.reshape(-1, self.widths[0]))

    def spec(self, rule: Rule) -> ModelSpec:
        """Return the network and a rule as the kernels take them."""
        entrywise = Entrywise(self.form, self.depth)
        return ModelSpec((self.widths[0], entrywise.vectors), self.params, rule, entrywise)

    def conserved(self) -> Array:
        r"""Return what gradient flow conserves, in float64.

        Returns
        -------
        (N - 1, d) or (d,) array
            Of a product :math:`u_{j+1}^2 - u_j^2`. Of a power difference :math:`u \circ v` for N =
            2, else :math:`u^{2-N} + v^{2-N}`, which is infinite where a vector is 0 and N > 2.
        """
        vectors = self.params.astype(np.float64).reshape(-1, self.widths[0])
        if self.form == "hadamard":
            differences: Array = np.diff(vectors**2, axis=0)
            return differences
        u, v = vectors
        if self.depth == 2:
            return u * v
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            sums: Array = u ** (2.0 - self.depth) + v ** (2.0 - self.depth)
        return sums

    def balancedness(self) -> float:
        """Return the largest norm of ``u_{j+1} ** 2 - u_j ** 2``; 0 at depth 1.

        Gradient flow conserves these differences. For a power difference, each of whose layers is
        the same vector, it is 0 always; see ``conserved``.
        """
        if self.form == "power-difference":
            return 0.0
        return max((float(np.linalg.norm(row)) for row in self.conserved()), default=0.0)
