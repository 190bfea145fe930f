"""The curvature of the network's loss in its factors: the sharpness, and products with the Hessian.

Where gradient descent is stable, and what it tends to do about it: Cohen, Kaur, Li, Kolter,
Talwalkar (2021), "Gradient descent on neural networks typically occurs at the edge of stability",
arXiv 2103.00065. For deep linear networks: Mulayoff, Michaeli (2020), "Unique properties of flat
minima in deep networks", ICML.
"""

from typing import Any

import numpy as np

from accel._core.curvature import factor_hessian, largest_eigenvalues
from accel._core.matrix_problems import MatrixProblem, here
from accel._core.network import Network
from accel._core.oracle import Oracle
from accel._core.problem import Problem
from accel._runs.checks import check_network
from accel._support import validation
from accel._support.arrays import Array
from accel._support.backends import Backend
from accel.theory import checks

_MOST = 500  # products by default


def _kernels(problem: Problem | MatrixProblem, network: Network, backend: str) -> Backend:
    check_network(problem, network)
    return here(problem).resolve(backend)


def sharpness(
    problem: Problem | MatrixProblem,
    network: Network,
    *,
    top: int = 1,
    tol: float = 1e-8,
    passes: int = _MOST,
    backend: str = "auto",
) -> float | Array:
    r"""Return the largest eigenvalue of the Hessian of the network's loss in its factors.

    Parameters
    ----------
    problem : Problem, or a matrix problem such as MatrixCompletion
        For p < 2 the curvature is infinite where a residual is 0; such rows are left out.
    network : LinearNetwork or DiagonalNetwork
    top : int
        How many of the largest eigenvalues.
    tol : float
        Relative to the largest absolute value of an eigenvalue: how close each must come to an
        eigenvalue.
    passes : int
        Over the data at most, each with one product: more than ``top``. With ``top`` more than 1 as
        many vectors are kept, each as large as the parameters.
    backend : {"auto", "cpu", "cuda", "reference"}

    Returns
    -------
    float, or (top,) array, descending, if ``top`` is more than 1
        From below: to ``tol``, or as good as so many passes allow. NaN where the loss or its
        curvature overflows.

    Raises
    ------
    TypeError, ValueError
        If the two do not fit together, if the data are on other machines, or if an argument is out
        of range.

    Notes
    -----
    Lanczos's method, in blocks for several eigenvalues, on exact products with the Hessian, see
    ``hessian_vector_product``, in float64 whatever the dtype. At a minimum of balanced factors with
    one output :math:`w = W_N \cdots W_1`, for p = 2 and whitened data (:math:`2 f X^\top X / n`
    the identity), it is :math:`N |w|^{2 - 2/N}`: Mulayoff, Michaeli (2020).

    Examples
    --------
    >>> import accel
    >>> problem = accel.LpProblem([[2**0.5, 0.0], [0.0, 2**0.5]], [1.0, 0.0], p=2, scale="1/p")
    >>> network = accel.LinearNetwork((2, 1, 1), init=[[[2**-0.25, 0.0]], [[2**-0.25]]])
    >>> round(accel.theory.sharpness(problem, network), 6)
    1.414214
    """
    kernels = _kernels(problem, network, backend)
    top = validation.integer("top", top, least=1, most=network.n_params)
    tol = validation.real("tol", tol, least=0)
    passes = validation.integer("passes", passes, least=top + 1)
    params = network.params.astype(np.float64)
    oracle = Oracle(problem, kernels)
    with np.errstate(over="ignore", invalid="ignore"):
        _, product = factor_hessian(oracle, params, network.structure, kernels)
        start = np.random.default_rng(0).standard_normal(params.size)
        values, _ = largest_eigenvalues(product, start, top, tol, passes - 1)
    return float(values[0]) if top == 1 else values


def hessian_vector_product(
    problem: Problem, network: Network, direction: Any, *, backend: str = "auto"
) -> Array:
    r"""Return the Hessian of the network's loss in its factors times a vector, exactly.

    Parameters
    ----------
    problem : Problem
    network : LinearNetwork or DiagonalNetwork
    direction : (n_params,) array_like
        Laid out like ``network.params``.
    backend : {"auto", "cpu", "cuda", "reference"}

    Returns
    -------
    (n_params,) float64 array

    Raises
    ------
    TypeError, ValueError
        If the three do not fit together, if direction is not finite or holds no real numbers, or if
        the data are on other machines.

    Notes
    -----
    One pass over the data for the gradient and one for the product, O(N) products of matrices, and
    no Hessian is formed: Pearlmutter (1994), "Fast exact multiplication by the Hessian", Neural
    Computation 6; ``kernels/reference/curvature.py`` has the formulas.

    Examples
    --------
    With the factors (a, b) and c the loss is ``((a c - 3)^4 + (b c - 1)^4) / 2``:

    >>> import accel
    >>> problem = accel.LpProblem([[1.0, 0.0], [0.0, 1.0]], [3.0, 1.0], p=4)
    >>> network = accel.LinearNetwork((2, 1, 1), init=[[[1.0, 0.5]], [[2.0]]])
    >>> accel.theory.hessian_vector_product(problem, network, [0.0, 0.0, 1.0])
    array([10.,  0.,  6.])
    """
    kernels = _kernels(problem, network, backend)
    v = checks.vector("direction", direction, network.n_params)
    params = network.params.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        return factor_hessian(Oracle(problem, kernels), params, network.structure, kernels)[1](v)
