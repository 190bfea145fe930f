r"""Gradient flow: what gradient descent becomes as its steps become small.

For the factors of a net, and for the end-to-end matrix that a balanced net of depth N moves by
theorem 1,

.. math::
    \dot W_j = -\lambda W_j - \frac{\partial L^N}{\partial W_j}, \qquad
    \dot W_e = -\lambda N W_e - \sum_{j=1}^N [W_e W_e^\top]^{(j-1)/N} \, \nabla L(W_e) \,
    [W_e^\top W_e]^{(N-j)/N}.

The time t is what descent covers in ``t / learning_rate`` steps. Both need p >= 2: below, the
gradient is not Lipschitz where a residual is 0, and no step of an explicit method is small enough.

The second is integrated through balanced factors of :math:`W_e`, too, which by theorem 1 is the
same flow. As a differential equation for the entries of :math:`W_e` it is not Lipschitz at singular
matrices, since its powers go down to 2/N: for N = 6 layers, an error of 1e-12 in a singular value
of 0 changes the velocity by 1e-4. The equations of the factors are polynomials in them. With hidden
layers of width r they also keep the rank r of the start, as the flow does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from accel._core.base import BaseProblem
from accel._core.checks import as_map
from accel._core.initializers import factors_of_svd
from accel._core.network import Network
from accel._support import showing, validation
from accel._support.arrays import Array
from accel._support.backends import resolve
from accel.kernels.specs import Structure
from accel.theory import checks
from accel.theory.preconditioning import preconditioner


@dataclass(frozen=True, eq=False)
class Flow:
    """A gradient flow at m times.

    Attributes
    ----------
    times : (m,) array
    matrices : (m, k, d) array
        End-to-end matrices.
    losses : (m,) array
    """

    times: Array
    matrices: Array
    losses: Array

    def __repr__(self) -> str:
        return showing.line(
            self,
            times=len(self.times),
            until=f"{self.times[-1]:.6g}",
            matrices=self.matrices.shape,
            loss=f"{self.losses[-1]:.6g}",
        )


@dataclass(frozen=True, eq=False, repr=False)
class FactorFlow(Flow):
    """The flow of a net's factors at m times.

    Attributes
    ----------
    times, matrices, losses
        As for ``Flow``.
    networks : tuple of networks
        With the factors at these times.
    balancedness : (m,) array
        ``balancedness`` of each.
    """

    networks: tuple[Network, ...]
    balancedness: Array


def _times(t: Any) -> Array:
    """Check and convert the times; raise ValueError unless they are >= 0 and ascending."""
    given = validation.numeric("t", t, ndim=(0, 1))
    times = np.atleast_1d(given).astype(np.float64)
    validation.all_finite("t", times)
    if times[0] < 0 or np.any(np.diff(times) <= 0):
        raise ValueError(f"t must be >= 0 and ascending, got {validation.shown(t)}")
    return times


def _integrated(
    velocity: Callable[[float, Array], Array], start: Array, times: Array, rtol: float, atol: float
) -> Array:
    """The states (m, size) at these times, by Dormand and Prince's method of order 8.

    The integration restarts at every time: the interpolant between steps is of lower order.
    """
    solve = checks.scipy_module("integrate").solve_ivp
    rtol = validation.real("rtol", rtol, least=1e-13, below=1)
    atol = validation.real("atol", atol, above=0)
    state, now, states = start, 0.0, []
    for time in times:
        if time > now:
            if not np.isfinite(velocity(now, state)).all():  # the solver would never end
                raise RuntimeError(f"the flow has no finite velocity at t = {now:g}")
            solution = solve(velocity, (now, time), state, method="DOP853", rtol=rtol, atol=atol)
            if not solution.success:
                raise RuntimeError(
                    f"the flow could not be followed beyond t = {solution.t[-1]:g}: "
                    f"{solution.message}"
                )
            state, now = solution.y[:, -1], float(time)
        states.append(state)
    return np.array(states)


def end_to_end_flow(
    problem: BaseProblem,
    W0: Any,
    depth: int,
    t: Any,
    weight_decay: float = 0.0,
    *,
    rtol: float = 1e-10,
    atol: float = 1e-12,
) -> Flow:
    r"""Follow the flow of the end-to-end matrix that theorem 1 gives to a balanced net.

    Parameters
    ----------
    problem : Problem
        In float64, p >= 2.
    W0 : (k, d) array_like, or (d,) for k = 1, or network
        Where to start: of a network its end-to-end matrix.
    depth : int
        N, at least 1.
    t : float or (m,) array_like
        One time or several, >= 0 and ascending: learning rate times steps.
    weight_decay : float
        The :math:`\lambda` of every factor.
    rtol, atol : float
        Of the integrator, for one step; rtol at least 1e-13.

    Returns
    -------
    Flow

    Raises
    ------
    ImportError
        If SciPy is not installed.
    RuntimeError
        If the integrator gives up, or the velocity overflows.
    TypeError, ValueError
        If an argument is of the wrong kind, shape or range.

    Notes
    -----
    For N >= 2 the rank of the start stays. As in ``preconditioner``, singular values of ``W0``
    below ``max(k, d) * 2.2e-16`` of the largest count as 0. At every step of the integrator the
    factors are multiplied out, in N small products.

    References
    ----------
    Arora, Cohen, Hazan (2018), arXiv 1802.06509, theorem 1.

    Examples
    --------
    >>> import accel
    >>> problem = accel.LpProblem([[1.0, 0.0], [0.0, 1.0]], [3.0, 1.0], p=4)
    >>> flow = accel.theory.end_to_end_flow(problem, [0.1, 0.1], depth=2, t=[0.0, 1.0])
    >>> flow.losses.round(3).tolist()
    [35.692, 0.003]
    """
    checks.problem(problem, smoothness=2)
    shape = (problem.k, problem.d)
    start = checks.matrix("W0", as_map(W0), shape)
    depth = validation.depth(depth)
    times = _times(t)
    decay = validation.real("weight_decay", weight_decay, least=0)
    widths, params = _balanced(start.reshape(shape), depth)
    states = _factors_at(problem, widths, params, times, decay, rtol, atol)
    chain = resolve("reference").factor_chain
    matrices = np.array([chain.end_to_end(params, widths) for params in states])
    return Flow(times, matrices, np.array([problem.loss(W) for W in matrices]))


def _balanced(W: Array, depth: int) -> tuple[tuple[int, ...], Array]:
    """Widths and parameters of balanced factors of W (k, d), as narrow as its rank."""
    k, d = W.shape
    if depth == 1:
        return (d, k), W.ravel()
    P = preconditioner(W, depth)
    rank = max(int(np.count_nonzero(P.sigma)), 1)
    widths = (d, *[rank] * (depth - 1), k)
    shapes = list(zip(widths[1:], widths[:-1], strict=True))
    factors = factors_of_svd(P.U, P.sigma, P.V.T, shapes)
    return widths, np.concatenate([factor.ravel() for factor in factors]) + 0.0  # without -0.0


def _factors_at(
    problem: BaseProblem, structure: Structure, params: Array, times: Array, decay: float,
    rtol: float, atol: float,
) -> Array:  # fmt: skip
    """The factors (m, n_params) on their flow, at these times."""
    kernels = resolve("reference")

    def velocity(_: float, params: Array) -> Array:
        W = kernels.end_to_end(params, structure)
        if not np.isfinite(W).all():  # too long a trial step: the integrator shortens it
            return np.full_like(params, np.nan)
        slope: Array = kernels.gradients(params, structure, problem.gradient(W))
        return -decay * params - slope

    with np.errstate(over="ignore", invalid="ignore"):
        return _integrated(velocity, params, times, rtol, atol)


def factor_flow(
    problem: BaseProblem,
    network: Network,
    t: Any,
    weight_decay: float = 0.0,
    *,
    rtol: float = 1e-10,
    atol: float = 1e-12,
) -> FactorFlow:
    r"""Follow the gradient flow of all factors of a net.

    It conserves every difference :math:`W_{j+1}^\top W_{j+1} - W_j W_j^\top`; weight decay shrinks
    them as :math:`e^{-2 \lambda t}`. What that of a diagonal network conserves,
    ``DiagonalNetwork.conserved`` has.

    Parameters
    ----------
    problem : Problem
        In float64, p >= 2.
    network : LinearNetwork or DiagonalNetwork
        Where to start, balanced or not; of the problem's features, outputs and dtype.
    t : float or (m,) array_like
        One time or several, >= 0 and ascending: learning rate times steps.
    weight_decay : float
        The :math:`\lambda` of every factor.
    rtol, atol : float
        Of the integrator, for one step; rtol at least 1e-13.

    Returns
    -------
    FactorFlow

    Raises
    ------
    ImportError
        If SciPy is not installed.
    RuntimeError
        If the integrator gives up, or the velocity overflows.
    TypeError, ValueError
        If an argument is of the wrong kind, shape or range.

    References
    ----------
    Arora, Cohen, Hazan (2018), arXiv 1802.06509, section 5.

    Examples
    --------
    >>> import accel
    >>> problem = accel.LpProblem([[1.0, 0.0], [0.0, 1.0]], [3.0, 1.0], p=4)
    >>> network = accel.LinearNetwork((2, 2, 1), init="balanced", seed=0)
    >>> flow = accel.theory.factor_flow(problem, network, t=[0.0, 1.0])
    >>> bool(flow.losses[1] < 0.01 < flow.losses[0])
    True
    >>> bool(flow.balancedness.max() < 1e-9)  # what is balanced stays so
    True
    """
    checks.problem(problem, smoothness=2)
    if not isinstance(network, Network):
        raise TypeError(
            "network must be of type LinearNetwork or DiagonalNetwork, "
            f"got {validation.shown(network)}"
        )
    if (network.widths[0], network.widths[-1]) != (problem.d, problem.k):
        raise ValueError(
            f"network must map d = {problem.d} features to k = {problem.k} outputs, "
            f"got widths {network.widths}"
        )
    if network.dtype != problem.dtype:
        raise TypeError(f"network must be in float64, got {network.dtype}")
    times = _times(t)
    decay = validation.real("weight_decay", weight_decay, least=0)
    states = _factors_at(problem, network.structure, network.params, times, decay, rtol, atol)
    networks = tuple(network.with_params(params) for params in states)
    matrices = np.array([net.end_to_end() for net in networks])
    return FactorFlow(
        times=times,
        matrices=matrices,
        losses=np.array([problem.loss(W) for W in matrices]),
        networks=networks,
        balancedness=np.array([net.balancedness() for net in networks]),
    )
