r"""Deep linear networks: factors :math:`W_1, ..., W_N` whose product is one linear map."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from accel._core.base import Problem, checked_problem
from accel._core.initializers import INITIALIZERS, Shapes
from accel._support import arrays, memory, validation
from accel._support.arrays import Array
from accel._support.backends import resolve

_ADVICE = "convert it first if it may be rounded, as by astype(float)"


def _given(arrays: Any, shapes: Shapes, dtype: np.dtype[Any]) -> list[Array]:
    try:
        arrays = list(arrays)
    except TypeError:
        raise TypeError(
            f"init must be one of {', '.join(INITIALIZERS)} or a sequence of arrays, "
            f"got {validation.shown(arrays)}"
        ) from None
    if len(arrays) != len(shapes):
        raise ValueError(f"init must hold {len(shapes)} arrays, one a factor, got {len(arrays)}")
    factors = []
    for j, (value, shape) in enumerate(zip(arrays, shapes, strict=True)):
        factor = validation.numeric(f"init[{j}]", value, ndim=(2,))
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


@dataclass(frozen=True, eq=False, repr=False, init=False)
class LinearNetwork:
    r"""A linear network of depth N with the end-to-end matrix :math:`W_e = W_N \cdots W_1`.

    Parameters
    ----------
    widths : sequence of int
        ``(d, n_1, ..., n_{N-1}, k)``: features, hidden widths, outputs.
    init : {"near_zero", "balanced", "identity", "orthogonal"} or sequence of arrays
        ``"near_zero"``: independent Gaussian entries. ``"balanced"``: a near-zero Gaussian
        end-to-end matrix split so that ``W_{j+1}' W_{j+1} = W_j W_j'`` exactly; its hidden widths
        must be at least min(d, k). ``"identity"``: ones on the main diagonal and zeros elsewhere,
        the last factor near zero. ``"orthogonal"``: orthonormal rows or columns, whichever fit.
        Arrays: ``W_1`` to ``W_N``, ``W_j`` of shape ``(n_j, n_{j-1})``.
    scale : float, optional
        Standard deviation of the Gaussian entries (0.01; 0 makes zeros), or what multiplies the
        orthogonal factors (1). Not for given arrays.
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

    widths: tuple[int, ...]
    _held: Any  # the factors where they are: an array of NumPy's or CuPy's

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
            initializer, default = INITIALIZERS[validation.choice("init", init, INITIALIZERS)]
            factors = initializer(shapes, default if scale is None else scale, rng)
        elif scale is not None:
            raise ValueError(f"scale must be left out where init is given as arrays, got {scale:g}")
        else:
            factors = _given(init, shapes, dtype)
        flat = [_converted(f"init[{j}]", W, dtype).ravel() for j, W in enumerate(factors)]
        self._hold(checked, np.concatenate(flat))

    def _hold(self, widths: tuple[int, ...], factors: Any) -> None:
        object.__setattr__(self, "widths", widths)  # the class is frozen
        object.__setattr__(self, "_held", factors)

    @cached_property
    def params(self) -> Array:
        """The factors in one piece, (n_params,); those on a GPU are copied to the host once."""
        params: Array = arrays.to_host(self._held)
        return params

    @property
    def __cuda_array_interface__(self) -> Any:
        if not arrays.on_device(self._held):
            raise AttributeError("a network on the host has no attribute __cuda_array_interface__")
        return self._held.__cuda_array_interface__

    def __getstate__(self) -> dict[str, Any]:
        return {"widths": self.widths, "_held": self.params}

    @classmethod
    def for_problem(
        cls,
        problem: Problem,
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
        problem : LpProblem
        depth : int
            Number of factors, 1 to 10 000.
        width : int, optional
            Of every hidden layer; by default min(d, k), the least that can represent every map.
        init, scale, seed
            As for the class.

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
        return cls(widths, init=init, scale=scale, seed=seed, dtype=problem.dtype)

    def __repr__(self) -> str:
        return f"LinearNetwork(widths={self.widths}, dtype={self.dtype})"

    @property
    def depth(self) -> int:
        """Number of factors N."""
        return len(self.widths) - 1

    @property
    def n_params(self) -> int:
        """Number of entries in all factors."""
        return int(self._held.size)

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        dtype: np.dtype[Any] = self._held.dtype
        return dtype

    @property
    def factors(self) -> list[Array]:
        """``[W_1, ..., W_N]``, views into ``params``."""
        shapes = list(zip(self.widths[1:], self.widths[:-1], strict=True))
        ends = np.cumsum([rows * columns for rows, columns in shapes])
        blocks = np.split(self.params, ends[:-1])
        return [block.reshape(shape) for block, shape in zip(blocks, shapes, strict=True)]

    def end_to_end(self) -> Array:
        """Multiply the factors: ``W_N ... W_1``, a (k, d) array."""
        chain = resolve("reference").factor_chain  # products too small to load compiled code for
        product: Array = chain.end_to_end(self.params, self.widths)
        return product

    def balancedness(self) -> float:
        """Return the largest Frobenius norm of ``W_{j+1}' W_{j+1} - W_j W_j'``; 0 at depth 1.

        Gradient flow conserves these differences (Arora, Cohen, Hazan 2018, theorem 1).
        """
        factors = self.factors
        pairs = zip(factors[1:], factors[:-1], strict=True)
        norms = [float(np.linalg.norm(above.T @ above - below @ below.T)) for above, below in pairs]
        return max(norms, default=0.0)

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

    def copy(self) -> "LinearNetwork":
        """Return a network with factors of its own."""
        return self.with_params(self.params)

    def with_params(self, params: Any) -> "LinearNetwork":
        """Return a network of these widths and dtype with a copy of other factors.

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
        other._hold(self.widths, converted)
        return other
