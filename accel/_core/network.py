r"""Deep linear networks: factors :math:`W_1, ..., W_N` whose product is one linear map.

``Network`` is what they share with diagonal networks (``diagonal_network``).
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from accel._core.base import BaseProblem, checked_problem
from accel._core.initializers import INITIALIZERS, initial_factors
from accel._support import arrays, memory, showing, validation
from accel._support.arrays import Array
from accel._support.backends import resolve
from accel.kernels.specs import ModelSpec, Rule, Structure

_ADVICE = "convert it first if it may be rounded, as by astype(float)"


def given_factors(
    arrays: Any, shapes: Sequence[tuple[int, ...]], dtype: np.dtype[Any], named: Collection[str]
) -> list[Array]:
    """Check arrays that were given as ``init``, which may also be one of some names."""
    try:
        arrays = list(arrays)
    except TypeError:
        raise TypeError(
            f"init must be one of {', '.join(named)} or a sequence of arrays, "
            f"got {validation.shown(arrays)}"
        ) from None
    if len(arrays) != len(shapes):
        raise ValueError(f"init must hold {len(shapes)} arrays, one a factor, got {len(arrays)}")
    factors = []
    for j, (value, shape) in enumerate(zip(arrays, shapes, strict=True)):
        factor = validation.numeric(f"init[{j}]", value, ndim=(len(shape),))
        if factor.shape != shape:
            raise ValueError(f"init[{j}] must have shape {shape}, got {factor.shape}")
        validation.unrounded(f"init[{j}]", factor, dtype, value, _ADVICE)
        factors.append(factor)
    return factors


def checked_widths(widths: Any) -> tuple[int, ...]:
    """Check the widths of a network, d to k, and return them as a tuple."""
    listed = validation.members("widths", widths, most=validation.MOST_DEPTH + 1)
    if len(listed) < 2:
        raise ValueError(f"widths must hold at least 2 numbers, d and k, got {tuple(listed)}")
    return tuple(
        validation.integer(f"widths[{j}]", width, least=1) for j, width in enumerate(listed)
    )


def _converted(name: str, factor: Array, dtype: np.dtype[Any]) -> Array:
    """Return a finite copy in this dtype, on the GPU if the factor is there."""
    with np.errstate(over="ignore"):  # the check below reports it
        copy = factor.astype(dtype)
    validation.all_finite(name, copy, factor)
    return copy


def flat_factors(factors: Sequence[Array], dtype: np.dtype[Any]) -> Array:
    """Copies of all factors in this dtype, finite, in one piece."""
    flat = [_converted(f"init[{j}]", W, dtype).ravel() for j, W in enumerate(factors)]
    return np.concatenate(flat)


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Network(ABC):
    """What all networks share: flat parameters that make one linear map, (k, d).

    Attributes
    ----------
    widths : tuple of int
        From d features to k outputs.
    rotates : bool
        Whether descent on it commutes with rotations of the input.
    """

    widths: tuple[int, ...]
    _held: Any  # the factors where they are: an array of NumPy's or CuPy's
    rotates: ClassVar[bool]

    def _hold(self, factors: Any, **facts: Any) -> None:
        vars(self).update(facts, _held=factors)  # the class is frozen

    @property
    def _facts(self) -> dict[str, Any]:
        """All attributes but the parameters."""
        return {name: fact for name, fact in vars(self).items() if name not in ("_held", "params")}

    @cached_property
    def params(self) -> Array:
        """The factors in one piece, (n_params,); those on a GPU are copied to the host once."""
        params: Array = arrays.to_host(self._held)
        return params

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a table of the main facts."""
        return showing.table(
            {
                "network": f"{type(self).__name__}, {self._form}",
                "depth": self.depth,
                "widths": showing.widths(self.widths),
                "parameters": self._held.size,
                "dtype": self.dtype,
            }
        )

    @property
    @abstractmethod
    def _form(self) -> str:
        """How the factors make the map, in a table of facts."""

    @property
    def __cuda_array_interface__(self) -> Any:
        if not arrays.on_device(self._held):
            raise AttributeError("a network on the host has no attribute __cuda_array_interface__")
        return self._held.__cuda_array_interface__

    def __getstate__(self) -> dict[str, Any]:
        return {**self._facts, "_held": self.params}

    @property
    @abstractmethod
    def depth(self) -> int:
        """Number of factors N."""

    @property
    @abstractmethod
    def structure(self) -> Structure:
        """What the kernels make the end-to-end matrix by."""

    @property
    @abstractmethod
    def factors(self) -> list[Array]:
        """The factors, views into ``params``."""

    @abstractmethod
    def balancedness(self) -> float:
        """Return how far neighbouring factors are from balanced; 0 at depth 1."""

    @abstractmethod
    def spec(self, rule: Rule) -> ModelSpec:
        """Return the network and a rule as the kernels take them."""

    @property
    def n_params(self) -> int:
        """Number of entries in all factors."""
        return int(self._held.size)

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        dtype: np.dtype[Any] = self._held.dtype
        return dtype

    def end_to_end(self) -> Array:
        """Return the linear map, (k, d): ``W_N ... W_1``, or what a diagonal network makes."""
        # Products too small to load compiled code for.
        product: Array = resolve("reference").end_to_end(self.params, self.structure)
        return product

    def predict(self, X: Any) -> Array:
        """Apply the network to samples.

        Parameters
        ----------
        X : (m, d) array_like

        Returns
        -------
        (m,) array for k = 1, else (m, k)
            A CuPy array if X is on a GPU.

        Raises
        ------
        TypeError, ValueError
            If X has the wrong shape, is not finite or holds no real numbers.
        """
        X = validation.numeric("X", X, ndim=(2,), device=True)
        validation.all_finite("X", X)
        if X.shape[1] != self.widths[0]:
            raise ValueError(f"X must have {self.widths[0]} columns, got shape {X.shape}")
        W = self.end_to_end()
        prediction: Array = X @ (arrays.as_device("W", W) if arrays.on_device(X) else W).T
        return prediction[:, 0] if self.widths[-1] == 1 else prediction

    def copy(self) -> Self:
        """Return a network with factors of its own."""
        return self.with_params(self.params)

    def with_params(self, params: Any) -> Self:
        """Return a network of this kind, these widths and this dtype with a copy of other factors.

        Parameters
        ----------
        params : (n_params,) array_like
            Those of an array on a GPU stay there until they are asked for.

        Raises
        ------
        TypeError, ValueError
            If params has the wrong length, is not finite or holds no real numbers.
        """
        given = validation.numeric("params", params, ndim=(1,), device=True)
        if given.shape != (self.n_params,):
            raise ValueError(f"params must have shape {(self.n_params,)}, got {given.shape}")
        validation.unrounded("params", given, self.dtype, params, _ADVICE)
        converted = _converted("params", given, self.dtype)
        other = object.__new__(type(self))
        other._hold(converted, **self._facts)
        return other


@dataclass(frozen=True, eq=False, repr=False, init=False)
class LinearNetwork(Network):
    r"""A linear network of depth N with the end-to-end matrix :math:`W_e = W_N \cdots W_1`.

    Parameters
    ----------
    widths : sequence of int
        ``(d, n_1, ..., n_{N-1}, k)``: features, hidden widths, outputs.
    init : {"near_zero", "balanced", "identity", "orthogonal"} or sequence of arrays
        ``"near_zero"``: Gaussian entries. ``"balanced"``: a near-zero Gaussian
        end-to-end matrix split so that ``W_{j+1}' W_{j+1} = W_j W_j'`` exactly; its hidden widths
        must be at least min(d, k). ``"identity"``: ones on the main diagonal and zeros elsewhere,
        the last factor near zero. ``"orthogonal"``: orthonormal rows or columns, whichever fit.
        Arrays: ``W_1`` to ``W_N``, ``W_j`` of shape ``(n_j, n_{j-1})``.
    scale : float, optional
        Standard deviation of the Gaussian entries (0.01; 0 makes zeros), or what multiplies the
        orthogonal factors (1). Not for given arrays. ``"near_zero"`` from depth 3 on has another
        default, since there factors of 0.01 stay at the saddle at 0: Gaussian factors of one and
        the same spectral norm, such that the entries of the product have a root mean square of
        0.01, from which some hundred steps are enough (``for_problem``); the paper's
        experiments begin at ``scale=0.01``.
    seed : int
        Of the random numbers; the same seed gives the same network.
    dtype : {"float64", "float32"}
        Arrays are converted to it, but for integers that it would round.

    Attributes
    ----------
    widths : tuple of int
    params : (n_params,) array
        The factors in one piece: ``W_1`` row by row, then ``W_2``, up to ``W_N``. Those of a
        network that was trained on a GPU are there until they are first asked for, and come as a
        copy. ``cupy.asarray(network)``, or any other library that knows
        ``__cuda_array_interface__``, has them as they are on the GPU, without a copy.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, out of range or of the wrong shape.
    MemoryError
        If the machine has no memory for so many parameters.

    References
    ----------
    Arora, Cohen, Hazan (2018), arXiv 1802.06509, sections 4 and 5, for the balance condition and
    the near-zero and identity initialisation; Saxe, McClelland, Ganguli (2014), arXiv 1312.6120,
    for the orthogonal one.

    Examples
    --------
    >>> import accel
    >>> accel.LinearNetwork((128, 100, 1), seed=1)
    LinearNetwork(widths=(128, 100, 1), dtype=float64)
    """

    rotates = True

    def __init__(
        self,
        widths: Sequence[int],
        *,
        init: str | Sequence[Any] | Array = "near_zero",
        scale: float | None = None,
        seed: int = 0,
        dtype: Any = np.float64,
    ) -> None:
        checked = checked_widths(widths)
        shapes = list(zip(checked[1:], checked[:-1], strict=True))
        n_params = sum(rows * columns for rows, columns in shapes)
        # Initialisation takes up to five copies, in float64 whatever the dtype.
        memory.require(f"a network of widths {validation.shown(checked)}", 40 * n_params)
        rng = np.random.default_rng(validation.integer("seed", seed, least=0))
        dtype = validation.float_dtype("dtype", dtype)
        if scale is not None:
            scale = validation.real("scale", scale, least=0)
        if isinstance(init, str):
            named = validation.choice("init", init, INITIALIZERS)
            factors = initial_factors(named, shapes, scale, rng)
        elif scale is not None:
            raise ValueError(f"scale must be left out where init is given as arrays, got {scale:g}")
        else:
            factors = given_factors(init, shapes, dtype, INITIALIZERS)
        self._hold(flat_factors(factors, dtype), widths=checked)

    @classmethod
    def for_problem(
        cls,
        problem: BaseProblem,
        depth: int = 2,
        width: int | None = None,
        *,
        init: str | Sequence[Any] | Array = "near_zero",
        scale: float | None = None,
        seed: int = 0,
    ) -> "LinearNetwork":
        """Make a network that fits a problem: its features, outputs and dtype.

        Parameters
        ----------
        problem : Problem
        depth : int
            Number of factors, 1 to 10 000.
        width : int, optional
            Of every hidden layer; by default min(d, k), the least that can represent every map.
        init, scale, seed
            As for the class. From depth 3 on the default start near zero goes downhill, and with
            one feature and one output the balanced one from depth 2 on: by one pass over the data
            the last factor is given the sign with which the product does.

        Returns
        -------
        LinearNetwork
        """
        checked_problem(problem)
        hidden = validation.depth(depth) - 1
        if width is None:
            width = min(problem.d, problem.k)
        width = validation.integer("width", width, least=1)
        widths = (problem.d, *[width] * hidden, problem.k)
        network = cls(widths, init=init, scale=scale, seed=seed, dtype=problem.dtype)
        if not isinstance(init, str):
            return network
        # A product of balanced scalars never changes its sign.
        scalar = init == "balanced" and hidden > 0 and problem.d == problem.k == 1
        if scalar or (init == "near_zero" and hidden > 1 and scale is None):
            return network._downhill(problem)
        return network

    def _downhill(self, problem: BaseProblem) -> Self:
        """Return it with the other sign of the last factor, if the loss rises along the product.

        From there the product would first shrink towards the saddle at 0, and stay there.
        """
        W = self.end_to_end()
        backend = "auto" if problem.on_device else "reference"  # compiled code is not for one pass
        with np.errstate(over="ignore", invalid="ignore"):
            slopes = problem.gradient(np.zeros_like(W), backend=backend).astype(np.float64)
            if not float(np.sum(slopes * W)) > 0:
                return self
        params = self.params.copy()
        params[-self.widths[-1] * self.widths[-2] :] *= -1
        return self.with_params(params)

    def __repr__(self) -> str:
        told = f"widths={showing.widths(self.widths)}"
        if showing.widths(self.widths) != str(self.widths):
            told += f", depth={self.depth}"
        return f"LinearNetwork({told}, dtype={self.dtype})"

    @property
    def _form(self) -> str:
        return "product of matrices"

    @property
    def depth(self) -> int:
        """Number of factors N."""
        return len(self.widths) - 1

    @property
    def structure(self) -> Structure:
        """The widths."""
        return self.widths

    @property
    def factors(self) -> list[Array]:
        """``[W_1, ..., W_N]``, views into ``params``."""
        shapes = list(zip(self.widths[1:], self.widths[:-1], strict=True))
        ends = np.cumsum([rows * columns for rows, columns in shapes])
        blocks = np.split(self.params, ends[:-1])
        return [block.reshape(shape) for block, shape in zip(blocks, shapes, strict=True)]

    def spec(self, rule: Rule) -> ModelSpec:
        """Return the network and a rule as the kernels take them."""
        return ModelSpec(self.widths, self.params, rule)

    def balancedness(self) -> float:
        """Return the largest Frobenius norm of ``W_{j+1}' W_{j+1} - W_j W_j'``; 0 at depth 1.

        Gradient flow conserves these differences (Arora, Cohen, Hazan 2018, theorem 1).
        """
        factors = self.factors
        pairs = zip(factors[1:], factors[:-1], strict=True)
        norms = [float(np.linalg.norm(above.T @ above - below @ below.T)) for above, below in pairs]
        return max(norms, default=0.0)
