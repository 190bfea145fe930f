r"""Theorem 2: the end-to-end rule follows no gradient, so no regulariser has its effect.

For k = 1 the rule moves w against the field

.. math:: F(w) = \|w\|^{2-2/N} \left( g + (N-1) \Pr\nolimits_w g \right), \qquad g = \nabla L(w).

Were F a gradient, its Jacobian would be symmetric and its integral along every closed curve 0.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from accel._core.checks import as_map
from accel._core.network import Network
from accel._core.problem import Problem, local_problem
from accel._support import showing, validation
from accel._support.arrays import Array
from accel._support.backends import resolve
from accel.kernels.reference.norms import norm
from accel.theory import checks

_SUBDIVISIONS = 200


def _field(problem: Problem, w: Array, depth: int) -> Array:
    """F at w (d,)."""
    row = w[np.newaxis]
    precondition = resolve("reference").precondition.precondition
    values: Array = precondition(row, problem.gradient(row), depth)[0]
    return values


def curl(problem: Problem, w: Any, depth: int) -> Array:
    r"""Return the antisymmetric part of the Jacobian of F, in closed form.

    With the gradient g and the Hessian H of the loss at w,

    .. math::
        \tfrac12 (J - J^\top) = \tfrac{N-1}{2} \|w\|^{-2/N} (w q^\top - q w^\top), \qquad
        q = (1 - 2/N) \, g + H w.

    Parameters
    ----------
    problem : Problem
        In float64, k = 1, p >= 2.
    w : (d,) array_like, or network
        Of a network its end-to-end matrix, a row.
    depth : int
        N, at least 1.

    Returns
    -------
    (d, d) array
        Entry (i, j) is half of dF_i/dw_j - dF_j/dw_i. It is 0 for N = 1, and for N = 2 where w is
        an eigenvector of H: everywhere for p = 2 and whitened features.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or range; if w = 0 and depth is 2: F grows like
        the norm of w there and has no Jacobian.

    References
    ----------
    Arora, Cohen, Hazan (2018), arXiv 1802.06509, section 6, theorem 2.

    Examples
    --------
    The features differ in scale, so at depth 3 the rule follows no gradient:

    >>> import accel
    >>> problem = accel.LpProblem([[1.0, 0.0], [0.0, 2.0]], [3.0, 1.0], p=4)
    >>> accel.theory.curl(problem, [1.0, 1.0], depth=3).round(3)
    array([[ 0.   ,  5.291],
           [-5.291,  0.   ]])
    """
    checks.problem(problem, single_output=True, smoothness=2)
    if isinstance(w, Network) and w.widths[-1] == 1:
        w = w.end_to_end()[0]
    w = checks.vector("w", as_map(w), problem.d)
    depth = validation.depth(depth)
    length = norm(w)
    if length == 0 or depth == 1:
        if depth == 2:
            raise ValueError(f"w must not be 0 for depth 2, got {validation.shown(w)}")
        return np.zeros((problem.d, problem.d))
    local = local_problem(problem).host
    X, y = local.X, local.Y[:, 0]
    H: Array = resolve().lp_loss.hessian(X, y, w, problem.spec)
    q = (1 - 2 / depth) * problem.gradient(w) + H @ w
    product: Array = np.outer(w / length, q)  # scaled against overflow and underflow
    antisymmetric: Array = (depth - 1) / 2 * length ** (1 - 2 / depth) * (product - product.T)
    return antisymmetric


@dataclass(frozen=True, eq=False)
class ClosedCurveIntegral:
    """The integral of F along the curve of theorem 2's proof.

    Attributes
    ----------
    value : float
    error : float
        Bound on the error of ``value`` as the quadrature estimates it: the sum over the pieces.
    pieces : (float, float, float, float)
        The ray from -R to -r, the arc of radius r, the ray from r to R, the arc of radius R.
    plane : (d, 2) array
        The orthonormal vectors e and f.
    """

    value: float
    error: float
    pieces: tuple[float, float, float, float]
    plane: Array

    def __repr__(self) -> str:
        plane = showing.shape(self.plane)
        return showing.line(self, value=f"{self.value:.6g}", error=f"{self.error:.2g}", plane=plane)


def _unit(name: str, v: Array, given: object) -> Array:
    """The unit vector of v; raise ValueError if v is 0."""
    largest = float(np.max(np.abs(v)))
    if largest == 0:
        raise ValueError(f"{name} must not be 0, got {validation.shown(given)}")
    scaled: Array = v / largest  # the squares of v may overflow or underflow
    return scaled / float(np.linalg.norm(scaled))


def _plane(direction: Any, second: Any, d: int) -> Array:
    """The orthonormal vectors e and f (d, 2)."""
    e = _unit("direction", checks.vector("direction", direction, d), direction)
    if second is None:
        along = np.zeros(d)
        along[np.argmin(np.abs(e))] = 1.0
    else:
        along = _unit("second", checks.vector("second", second, d), second)
    across = along - (e @ along) * e
    if float(np.linalg.norm(across)) < 1e-8:  # cancellation would leave too few digits
        raise ValueError(
            f"second must not be parallel to direction, got {validation.shown(second)}"
        )
    f = _unit("second", across, second)
    f = _unit("second", f - (e @ f) * e, second)
    return np.column_stack([e, f])


def closed_curve_integral(
    problem: Problem,
    depth: int,
    direction: Any,
    r: float,
    R: float,
    *,
    second: Any = None,
    rtol: float = 1e-10,
) -> ClosedCurveIntegral:
    r"""Integrate F along the closed curve of theorem 2's proof.

    The curve runs from -R e to -r e, on a half circle about 0 through r f to r e, out to R e, and
    back on the half circle through R f.

    Parameters
    ----------
    problem : Problem
        In float64, k = 1, d >= 2, p > 1.
    depth : int
        N, at least 1.
    direction : (d,) array_like
        Its unit vector is e. The theorem needs a slope of the loss along e at 0.
    r, R : float
        0 < r < R.
    second : (d,) array_like, optional
        Its part orthogonal to e gives f; by default that of the coordinate axis along which e has
        its least component (the first one of several).
    rtol : float
        Relative tolerance of every piece.

    Returns
    -------
    ClosedCurveIntegral
        0 up to its error for N = 1, where F is the gradient itself.

    Raises
    ------
    ImportError
        If SciPy is not installed.
    TypeError, ValueError
        If an argument is of the wrong kind, shape or range.

    Notes
    -----
    Only half of the loss enters, and f not at all. Along the arcs F is a power of the radius times
    g, hence with a = 2 - 2/N and :math:`\Delta(s) = L(s e) - L(-s e)`

    .. math::
        \oint F = (N-1) \left( R^a \Delta(R) - r^a \Delta(r) - 2 \int_r^R s^{a-1} \Delta(s) \, ds
        \right).

    A term :math:`s^m` of :math:`\Delta` enters with the factor (a + m - 2) / (a + m). For N > 2 the
    slope at 0, m = 1, decides for small radii: that is the theorem. For N = 2 its factor is 0; the
    integral then begins with the third derivative of the loss along e, and is 0 for p = 2,
    although F is no gradient there either: see ``curl``.

    The quadrature knows nothing of this: it integrates F, in the plane of e and f.

    References
    ----------
    Arora, Cohen, Hazan (2018), arXiv 1802.06509, section 6, theorem 2.

    Examples
    --------
    >>> import accel
    >>> problem = accel.LpProblem([[1.0, 0.0], [0.0, 1.0]], [3.0, 1.0], p=2)
    >>> around = accel.theory.closed_curve_integral(problem, 4, [1.0, 0.0], 0.1, 1.0)
    >>> round(around.value, 6), around.error < 1e-9
    (-3.588616, True)
    """
    checks.problem(problem, single_output=True, smoothness=1)
    if problem.d < 2:
        raise ValueError(f"problem must have d >= 2 features, got d = {problem.d}")
    depth = validation.depth(depth)
    r = validation.real("r", r, above=0)
    R = validation.real("R", R, above=r)
    rtol = validation.real("rtol", rtol, least=1e-13, below=1)
    quad = checks.scipy_module("integrate").quad
    plane = _plane(direction, second, problem.d)
    # w and F(w) stay in the plane, so two features are enough.
    local = local_problem(problem).host
    flat = Problem(local.X @ plane, local.Y, problem.loss_function)

    def along_ray(s: float) -> float:
        return float(_field(flat, np.array([s, 0.0]), depth)[0])

    def along_arc(angle: float, radius: float) -> float:
        c, s = math.cos(angle), math.sin(angle)
        values = _field(flat, radius * np.array([c, s]), depth)
        return float(radius * (c * values[1] - s * values[0]))

    # A piece may be 0 by symmetry; then only an absolute tolerance can be met.
    atol = rtol * R * max(abs(along_ray(R)), abs(along_ray(-R)))
    routes: list[tuple[Any, float, float, tuple[float, ...]]] = [
        (along_ray, -R, -r, ()),
        (along_arc, math.pi, 0.0, (r,)),
        (along_ray, r, R, ()),
        (along_arc, 0.0, math.pi, (R,)),
    ]
    results = [
        # full_output returns warnings as a message, which the error estimate makes superfluous.
        quad(f, a, b, args, True, atol, rtol, _SUBDIVISIONS)[:2]
        for f, a, b, args in routes
    ]
    one, two, three, four = (float(value) for value, _ in results)
    return ClosedCurveIntegral(
        value=math.fsum((one, two, three, four)),
        error=math.fsum(float(error) for _, error in results),
        pieces=(one, two, three, four),
        plane=plane,
    )
