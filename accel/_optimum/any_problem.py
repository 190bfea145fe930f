"""The public function for the reference optimum of a problem of any kind."""

from typing import Any

from accel._core.base import checked_problem
from accel._core.matrix_problems import MatrixProblem
from accel._core.problem import Problem
from accel._optimum.matrices import matrix_optimum
from accel._optimum.optimum import Optimum, proven

__all__ = ["optimum"]


def optimum(
    problem: Problem | MatrixProblem,
    *,
    tol: float = 1e-10,
    max_iter: int = 200,
    backend: str = "auto",
    rcond: Any = None,
) -> Optimum:
    r"""Minimise the loss of a problem over all linear maps, up to a proven distance.

    Losses of residuals and l_p are minimised output by output: by Newton's method, pinball by an
    interior point method (Portnoy and Koenker 1997) and from there to a vertex, Huber's loss and
    log-cosh by an interior point method and Newton's. Losses of labels have no minimum if a map
    separates the labels; that is found and said, see ``Optimum.status``.

    Losses that see the matrix itself, of observed entries or of measurements, have many minimisers.
    Of those with the same predictions the one of least nuclear norm is returned, to which a proof
    belongs, too (``Optimum.nuclear``): the convex reference for what a deep network finds from a
    small start. Wherever what was seen does not contradict itself the loss is 0.

    Parameters
    ----------
    problem : Problem, MatrixCompletion, MatrixSensing or MatrixFactorization
        With any loss of ``accel.losses``. All is computed in float64 whatever its dtype, with
        memory for two to four copies of X, or of the measurements, and a dozen k x d matrices.
    tol : float
        The duality gap to reach, relative to the loss. Where all residuals are below 1.4e-14
        sqrt(n) of the largest target, they count as rounding errors, since the minimum may be 0,
        and tol is relative to the loss at W = 0. For p < 2, pinball, Huber's loss and log-cosh,
        where the fit hardly depends on rows far away, residuals are cut to ten times their median
        in the loss that the gap is compared with, and medians decide what rounding errors are.
        Where rounding W to float64 alone costs more than tol, as for targets of 1e12 with residuals
        of 1, tol is not reached. The nuclear norm is proven to 1e-6 of itself, or as far as 5000
        iterations lead: ``minimum_nuclear_norm`` takes other numbers.
    max_iter : int
        Newton steps for each output, those of interior point methods among them; for each entry
        of which several observations differ.
    backend : {"auto", "cpu", "cuda", "reference"}
        Whose Hessian kernel, for p > 2, and products with twice the digits to use; ``"auto"`` is
        ``"cpu"``, or NumPy where loading Numba is not worth it. NumPy computes the rest on the
        host, above all a basis of the columns of X; data on a GPU is copied there.
    rcond : float or (d,) array_like, optional
        Of measurements (k d,); it plays no part where entries were observed.
        How large the rounding errors in the entries of X are, relative to the root mean square of
        their column; 1e-12 by default, 4.8e-7 in float32. A combination ``X v`` of columns counts
        as 0 if it may consist of rounding errors:
        :math:`|X v| \le \sum_j |v_j| \, \mathrm{rcond}_j |x_j|`, v being a right singular vector of
        X with columns scaled to the same rounding errors. What is below ``max(n, d) * 2.2e-16`` of
        the largest singular value of X with columns scaled to the same size, the error of the
        decomposition, counts as 0 in any case. Give one number a column where columns differ, for
        example because large means were subtracted.

    Returns
    -------
    Optimum

    Raises
    ------
    TypeError, ValueError
        If problem is none, if tol is not above 0 or max_iter not at least 1, if the backend is
        unknown, if rcond is negative or no number, or if y is so large that the loss overflows.
    MemoryError
        If the machine has no memory for the basis, or for those matrices.

    References
    ----------
    Boyd and Vandenberghe (2004), "Convex Optimization", sections 5.1.6 and 9.5. Portnoy and Koenker
    (1997), "The Gaussian Hare and the Laplacian Tortoise", Statistical Science 12. Albert and
    Anderson (1984), "On the Existence of Maximum Likelihood Estimates in Logistic Regression
    Models", Biometrika 71. For the nuclear norm see ``minimum_nuclear_norm``.

    Examples
    --------
    >>> import accel
    >>> best = accel.optimum(accel.LpProblem([[1.0], [1.0], [1.0]], [0.0, 0.0, 3.0], p=2))
    >>> best.W, best.loss
    (array([[1.]]), 2.0)
    >>> least = accel.optimum(accel.MatrixCompletion((2, 2), [0, 0, 1], [0, 1, 0], [1.0, 2.0, 2.0]))
    >>> least.loss, round(least.nuclear.nuclear_norm, 5)
    (0.0, 4.0)
    """
    checked_problem(problem)
    if isinstance(problem, MatrixProblem):
        return matrix_optimum(problem, tol, max_iter, backend, rcond)
    return proven(problem, tol, max_iter, backend, rcond)[0]
