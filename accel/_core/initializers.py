r"""The initial factors of a network, by the name of the initialisation.

At W = 0 a network of depth N >= 2 has a saddle, and the more factors there are the longer descent
stays near it. Balanced factors with the singular value s in their product move it by
:math:`\dot s = -N s^{2 - 2/N} u^\top G v` (Arora, Cohen, Hu, Luo 2019, theorem 3), so that from
:math:`s_0` the time to leave grows like :math:`\log(1 / s_0)` at depth 2, and like :math:`s_0^{2/N
- 1}` beyond. Factors with entries of 0.01 begin at :math:`s_0 \approx 0.01^N`: at depth 4 they
leave after some 10 000 steps, at depth 8 never (figure 5 left there). What counts is the product,
so the default is one of the product: entries of 0.01 at every depth from 3 on, from which a few
hundred steps are enough.

Then the shares of the factors matter too. If one of them is much smaller than the others, as
independent scalars happen to be, the rest must wait for it; if much larger, steps that suit the
others are too long for it. So all are given the same spectral norm, which is how balanced factors
are, and with hidden layers of width 1 they are balanced exactly. No singular value of a product of
balanced factors passes through 0, so one that begins uphill first shrinks towards the saddle:
``LinearNetwork.for_problem``, which knows the data, turns it round.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from accel._support.arrays import Array

__all__ = [
    "INITIALIZERS",
    "PRODUCT",
    "Initializer",
    "Shapes",
    "balanced_factors",
    "factors_of_svd",
    "initial_factors",
]

#: Size of the entries of a product near zero, where no scale of the factors is given.
PRODUCT = 0.01
Shapes = list[tuple[int, int]]
Initializer = Callable[[Shapes, float, np.random.Generator], list[Array]]


def _near_zero(shapes: Shapes, scale: float, rng: np.random.Generator) -> list[Array]:
    return [scale * rng.standard_normal(shape) for shape in shapes]


def _spectral_norm(Z: Array) -> float:
    """About that of a Gaussian matrix (Davidson, Szarek 2001); exact for a vector."""
    norm = float(np.linalg.norm(Z))
    if min(Z.shape) == 1 or not norm:
        return norm
    rows, columns = Z.shape
    return norm * (1 / math.sqrt(rows) + 1 / math.sqrt(columns))


def _chained(factors: list[Array]) -> tuple[Array, float]:
    """The product of matrices, the first one rightmost: one of norm 1, and the norm's logarithm."""
    size = float(np.linalg.norm(factors[0]))
    P, logarithm = factors[0] / size, math.log(size)
    for Z in factors[1:]:
        P = Z @ P
        size = float(np.linalg.norm(P))  # taken out, so that no depth underflows
        P, logarithm = P / size, logarithm + math.log(size)
    return P, logarithm


def _near_zero_product(shapes: Shapes, rng: np.random.Generator) -> list[Array]:
    """Gaussian factors of equal spectral norm; the entries of their product are of size PRODUCT."""
    factors = [Z / _spectral_norm(Z) for Z in _near_zero(shapes, 1.0, rng)]
    # The norm of W = A B is that of A'A times BB', met at a narrow layer: W may have no room.
    middle = 1 + int(np.argmin([rows for rows, _ in shapes[:-1]]))
    B, below = _chained(factors[:middle])
    A, above = _chained([Z.T for Z in reversed(factors[middle:])])
    norm = below + above + math.log(float(np.sum((A @ A.T) * (B @ B.T)))) / 2
    wanted = math.log(PRODUCT) + math.log(shapes[-1][0] * shapes[0][1]) / 2
    scale = math.exp((wanted - norm) / len(shapes))
    return [scale * Z for Z in factors]


def factors_of_svd(
    U: Any, sizes: Any, Vt: Any, shapes: Shapes, zeros: Callable[[tuple[int, int]], Any] = np.zeros
) -> list[Any]:
    r"""Make balanced factors of a matrix from its singular value decomposition.

    Of :math:`W = U \operatorname{diag}(\sigma) V^\top` and with
    :math:`S = \operatorname{diag}(\sigma^{1/N})` they are

    .. math:: W_1 = S V^\top, \quad W_2 = \dots = W_{N-1} = S, \quad W_N = U S,

    with rows and columns of zeros where a hidden layer is wider than there are singular values. So
    :math:`W_{j+1}^\top W_{j+1} = W_j W_j^\top`. Where a hidden layer is narrower, the smallest
    singular values are left out.

    Parameters
    ----------
    U, sizes, Vt : (k, r), (r,) and (r, d) array
        Of NumPy or of a library whose arrays take the same operators, as PyTorch's do.
    shapes : list of (int, int)
        Of the N >= 2 factors, from ``W_1`` to ``W_N``.
    zeros : function
        Of a shape: makes such an array.
    """
    rank = min(len(sizes), *(rows for rows, _ in shapes[:-1]))
    roots = sizes[:rank] ** (1 / len(shapes))
    factors = [zeros(shape) for shape in shapes]
    factors[0][:rank] = roots[:, None] * Vt[:rank]
    diagonal = list(range(rank))
    for factor in factors[1:-1]:
        factor[diagonal, diagonal] = roots
    factors[-1][:, :rank] = U[:, :rank] * roots
    return factors


def balanced_factors(W: Array, shapes: Shapes, noise: float = 0.0) -> list[Array]:
    """Balanced factors of W, or of the nearest matrix that factors of these shapes can make.

    Parameters
    ----------
    W : (k, d) array
    shapes : list of (int, int)
        Of the factors, from ``W_1`` to ``W_N``.
    noise : float
        Singular values of at most this times the largest count as 0: rounding errors, which the
        N-th root would make large.
    """
    if len(shapes) == 1:
        return [W]
    U, sizes, Vt = np.linalg.svd(W, full_matrices=False)
    sizes[sizes <= noise * sizes[0]] = 0
    factors = [factor + 0.0 for factor in factors_of_svd(U, sizes, Vt, shapes)]  # without -0.0
    factors[0][:, ~W.any(axis=0)] = 0  # zero columns of W stay zero in spite of rounding
    return factors


def _balanced(shapes: Shapes, scale: float, rng: np.random.Generator) -> list[Array]:
    """Balanced factors of a Gaussian matrix."""
    k, d = shapes[-1][0], shapes[0][1]
    rank = min(k, d)
    narrow = min([rows for rows, _ in shapes[:-1]], default=rank)
    if narrow < rank:
        raise ValueError(
            f"init 'balanced' needs hidden widths of at least min(d, k) = {rank}, got {narrow}"
        )
    return balanced_factors(scale * rng.standard_normal((k, d)), shapes)


def _identity(shapes: Shapes, scale: float, rng: np.random.Generator) -> list[Array]:
    return [np.eye(*shape) for shape in shapes[:-1]] + _near_zero(shapes[-1:], scale, rng)


def _orthogonal(shapes: Shapes, scale: float, rng: np.random.Generator) -> list[Array]:
    """Matrices with orthonormal rows or columns, drawn from the uniform (Haar) distribution."""
    factors = []
    for shape in shapes:
        q, r = np.linalg.qr(rng.standard_normal((max(shape), min(shape))))
        q = q * np.where(np.diag(r) < 0, -1.0, 1.0)  # LAPACK's choice of signs is not uniform
        factors.append(scale * (q if shape[0] >= shape[1] else q.T))
    return factors


#: Every initialiser by its name, with its default scale; that of ``near_zero`` up to depth 2.
INITIALIZERS: dict[str, tuple[Initializer, float]] = {
    "near_zero": (_near_zero, 0.01),
    "balanced": (_balanced, 0.01),
    "identity": (_identity, 0.01),
    "orthogonal": (_orthogonal, 1.0),
}


def initial_factors(
    name: str, shapes: Shapes, scale: float | None, rng: np.random.Generator
) -> list[Array]:
    """Draw the factors of an initialisation; without a scale those of its default."""
    initializer, default = INITIALIZERS[name]
    if scale is None and initializer is _near_zero and len(shapes) > 2:
        return _near_zero_product(shapes, rng)
    return initializer(shapes, default if scale is None else scale, rng)
