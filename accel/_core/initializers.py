"""The initial factors of a network, by the name of the initialisation."""

from collections.abc import Callable
from typing import Any

import numpy as np

from accel._support.arrays import Array

__all__ = ["INITIALIZERS", "Initializer", "Shapes", "balanced_factors", "factors_of_svd"]

Shapes = list[tuple[int, int]]
Initializer = Callable[[Shapes, float, np.random.Generator], list[Array]]


def _near_zero(shapes: Shapes, scale: float, rng: np.random.Generator) -> list[Array]:
    return [scale * rng.standard_normal(shape) for shape in shapes]


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


#: Every initialiser by its name, with its default scale.
INITIALIZERS: dict[str, tuple[Initializer, float]] = {
    "near_zero": (_near_zero, 0.01),
    "balanced": (_balanced, 0.01),
    "identity": (_identity, 0.01),
    "orthogonal": (_orthogonal, 1.0),
}
