"""The initial factors of a network, by the name of the initialisation."""

from collections.abc import Callable

import numpy as np

from accel._support.arrays import Array

__all__ = ["INITIALIZERS", "Initializer", "Shapes", "split"]

Shapes = list[tuple[int, int]]
Initializer = Callable[[Shapes, float, np.random.Generator], list[Array]]


def _near_zero(shapes: Shapes, scale: float, rng: np.random.Generator) -> list[Array]:
    return [scale * rng.standard_normal(shape) for shape in shapes]


def split(W: Array, shapes: Shapes, noise: float = 0.0) -> list[Array]:
    """Return balanced factors whose product is W, or the map nearest to W of the rank they allow.

    They come from the SVD of W: every factor gets the singular values to the power 1/N. Those of
    at most ``noise`` times the largest count as 0, since their N-th root may be large.
    """
    if len(shapes) == 1:
        return [W]
    U, sizes, Vt = np.linalg.svd(W, full_matrices=False)
    rank = min(len(sizes), *(rows for rows, _ in shapes[:-1]))
    sizes[sizes <= noise * sizes[0]] = 0
    factors = [np.zeros(shape) for shape in shapes]
    for factor in factors:
        factor[:rank, :rank] = np.diag(sizes[:rank] ** (1 / len(shapes)))
    factors[0][:rank] = factors[0][:rank, :rank] @ Vt[:rank]
    factors[0][:, ~W.any(axis=0)] = 0  # zero columns of W stay zero in spite of rounding
    factors[-1][:, :rank] = U[:, :rank] @ factors[-1][:rank, :rank]
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
    return split(scale * rng.standard_normal((k, d)), shapes)


def _identity(shapes: Shapes, scale: float, rng: np.random.Generator) -> list[Array]:
    return [np.eye(*shape) for shape in shapes[:-1]] + _near_zero(shapes[-1:], scale, rng)


def _orthogonal(shapes: Shapes, scale: float, rng: np.random.Generator) -> list[Array]:
    """Uniformly distributed matrices with orthonormal rows or columns."""
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
