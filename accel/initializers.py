"""How the factors of a network begin."""

from collections.abc import Callable

import numpy as np

from accel.validation import Array

__all__ = ["INITIALIZERS", "Initializer", "Shapes"]

Shapes = list[tuple[int, int]]
Initializer = Callable[[Shapes, float, np.random.Generator], list[Array]]


def _near_zero(shapes: Shapes, scale: float, rng: np.random.Generator) -> list[Array]:
    return [scale * rng.standard_normal(shape) for shape in shapes]


def _balanced(shapes: Shapes, scale: float, rng: np.random.Generator) -> list[Array]:
    """Split a Gaussian matrix by its SVD: every factor gets the singular values to the 1/N."""
    depth, (k, d) = len(shapes), (shapes[-1][0], shapes[0][1])
    rank = min(k, d)
    narrow = min([rows for rows, _ in shapes[:-1]], default=rank)
    if narrow < rank:
        raise ValueError(
            f"init 'balanced' needs hidden widths of at least min(d, k) = {rank}, got {narrow}"
        )
    target = scale * rng.standard_normal((k, d))
    if depth == 1:
        return [target]
    U, sizes, Vt = np.linalg.svd(target, full_matrices=False)
    factors = [np.zeros(shape) for shape in shapes]
    for factor in factors:
        factor[:rank, :rank] = np.diag(sizes ** (1 / depth))
    factors[0][:rank] = factors[0][:rank, :rank] @ Vt
    factors[-1][:, :rank] = U @ factors[-1][:rank, :rank]
    return factors


def _identity(shapes: Shapes, scale: float, rng: np.random.Generator) -> list[Array]:
    return [np.eye(*shape) for shape in shapes[:-1]] + _near_zero(shapes[-1:], scale, rng)


def _orthogonal(shapes: Shapes, scale: float, rng: np.random.Generator) -> list[Array]:
    """Uniformly distributed matrices with orthonormal rows or columns."""
    factors = []
    for shape in shapes:
        q, r = np.linalg.qr(rng.standard_normal((max(shape), min(shape))))
        q = q * np.where(np.diag(r) < 0, -1.0, 1.0)  # else not uniform: LAPACK prefers signs
        factors.append(scale * (q if shape[0] >= shape[1] else q.T))
    return factors


#: By name, with the scale they have by default.
INITIALIZERS: dict[str, tuple[Initializer, float]] = {
    "near_zero": (_near_zero, 0.01),
    "balanced": (_balanced, 0.01),
    "identity": (_identity, 0.01),
    "orthogonal": (_orthogonal, 1.0),
}
