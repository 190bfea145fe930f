r"""The curvature of a loss: products with its Hessian, and its largest eigenvalues by Lanczos.

References
----------
Lanczos (1950), J. Res. Natl. Bur. Stand. 45; full reorthogonalisation and the error bound: Parlett
(1980), "The Symmetric Eigenvalue BaseProblem", chapter 13.
"""

from collections.abc import Callable

import numpy as np

from accel._core.oracle import Oracle
from accel._support.arrays import Array
from accel._support.backends import Backend
from accel.kernels.specs import Structure

__all__ = ["Product", "end_to_end_hessian", "factor_hessian", "largest_eigenvalues"]

#: From a vector to the product of a symmetric matrix with it.
Product = Callable[[Array], Array]

_CHECK = 4  # products between two looks at the errors
_CACHED = 2**17  # numbers of a basis that is kept anyway, since that costs little
_ROUNDING = 8 * float(np.finfo(np.float64).eps)


def factor_hessian(
    oracle: Oracle, params: Array, structure: Structure, kernels: Backend
) -> tuple[Array, Product]:
    """Return the gradient of the network's loss, flat, and the products with its Hessian.

    One pass over the data is made here, and one for every product.

    Parameters
    ----------
    oracle : Oracle
    params : (n_params,) float64 array
    structure : Structure
        Of the network.
    kernels : Backend
        For the chain of factors.
    """
    W = kernels.end_to_end(params, structure)
    G = oracle.loss_and_gradient(W)[1]
    chain = kernels.chain_curvature(params, structure, G)

    def second(moved: Array) -> Array:
        return oracle.hessian_product(W, moved)

    def product(direction: Array) -> Array:
        return chain.product(direction, second)

    return kernels.gradients(params, structure, G), product


def end_to_end_hessian(oracle: Oracle, W: Array) -> Product:
    """Return the products with the Hessian of the loss in W (k, d), for flat vectors."""

    def product(direction: Array) -> Array:
        return oracle.hessian_product(W, direction.reshape(W.shape)).ravel()

    return product


def largest_eigenvalues(
    product: Product, start: Array, top: int, tol: float, most: int
) -> tuple[Array, int]:
    """The largest eigenvalues of a symmetric matrix by Lanczos's method, in blocks of so many.

    Parameters
    ----------
    product : callable
    start : (P,) array
        A vector; the others of the first block are random, always the same.
    top : int
        How many; at most P and ``most``. An eigenvalue counts as often as it occurs.
    tol : float
        Stop once each is within ``tol`` times the largest absolute value of an eigenvalue of one.
    most : int
        Products at most.

    Returns
    -------
    values : (top,) array
        Descending, never above the true ones but for rounding; NaN where a product is not finite.
    made : int
        Products made.
    """
    length, most = start.size, min(most, start.size)
    # Without it the largest eigenvalue is found as well, in memory for three vectors; but what has
    # converged is found again and again, instead of others.
    whole = top > 1 or length * most <= _CACHED
    basis, T = np.empty((most if whole else 0, length)), np.zeros((most, most))
    random = np.random.default_rng(1).standard_normal((top - 1, length))
    block = np.linalg.qr(np.vstack([start, random]).T)[0].T
    last = block[:0]
    made = checked = 0
    while True:
        before, made = made, min(made + len(block), most)
        block = block[: made - before]
        W = np.array([product(q) for q in block])
        if not np.isfinite(W).all():
            return np.full(top, np.nan), made
        near = np.vstack([last, block])  # T has no more than these in exact arithmetic
        inside = near @ W.T
        T[made - len(near) : made, before:made] = inside
        T[before:made, made - len(near) : made] = inside.T
        W -= inside.T @ near
        if whole:
            basis[before:made] = block
            W -= (W @ basis[:made].T) @ basis[:made]
        Q, R = np.linalg.qr(W.T)
        scale = float(np.abs(T[:made, :made]).sum(axis=1).max())
        outside = np.abs(np.diag(R)) > _ROUNDING * scale  # else the space is invariant there
        last, block, R = block, Q.T[outside], R[outside]
        if whole and len(block):  # what is small is mostly rounding errors, along the basis, too
            for _ in range(2):
                block = block - (block @ basis[:made].T) @ basis[:made]
                block = np.linalg.qr(block.T)[0].T
        done = made == most or not len(block)
        if done or made - checked >= _CHECK:
            values, vectors = np.linalg.eigh(T[:made, :made])
            size = float(np.abs(values).max()) or 1.0
            errors = np.linalg.norm((R / size) @ vectors[before:made, -top:], axis=0)
            if done or errors.max() <= tol:
                return values[::-1][:top].copy(), made
            checked = made
