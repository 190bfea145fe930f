r"""Learning rates from the curvature of the loss, without a run.

``first_rate`` is where a search begins: one over the largest eigenvalue of the Hessian at W = 0,
which is exact and the same for every network. ``stable_rate`` is for a run that is not searched
for: one over the largest curvature along its first steps.

Every rule that descends along the gradient moves the parameters by :math:`-\eta\, u(\theta)`, u the
gradient with respect to all factors or the end-to-end rule's direction. Around a minimum plain
gradient descent is stable for :math:`\eta < 2 / \lambda`, :math:`\lambda` the largest eigenvalue of
u's Jacobian J; the heavy ball is up to :math:`(2 + 2 \mu) / \lambda`, Nesterov's form of it up to
:math:`(2 + 2 \mu) / (1 + 2 \mu) / \lambda`, never less than 4/3 of the :math:`1 / \lambda` that is
returned here.

:math:`\lambda` comes from power iteration, with :math:`J v \approx (u(\theta + \epsilon v) -
u(\theta - \epsilon v)) / 2 \epsilon`: two passes over the data, and no J is formed. The norm of J v
converges at a saddle too, where eigenvalues come in pairs of opposite sign.

A deep net near zero starts at such a saddle, where the curvature says nothing about later, since it
grows with the factors. So ``stable_rate`` takes the largest curvature along a few steps of descent,
each at the rate that the curvature there allows, which leaves most saddles at once. Where it does
not, since the loss falls by less than its rounding errors, the largest curvature along such steps
from balanced factors of a lower map counts as well (``saddles``): at the saddle itself there is
next to none. The curvature may still grow afterwards, and for p > 2 it mostly falls: ``train``
begins with this rate and then follows the loss (``pacing``).

The loss of a batch bends more than that of all rows along some directions, and a rate above
:math:`2 / L` for the curvature L of a batch makes its step overshoot there. So where the steps have
batches the curvature of the steepest of them counts as well, at the same points. Momentum adds the
overshoots up. Along a direction where batches have the curvatures :math:`\lambda + \xi`, of mean
:math:`\lambda` and variance :math:`\sigma^2`, the heavy ball :math:`x_{t+1} = x_t - \eta (\lambda +
\xi_t) x_t + \mu (x_t - x_{t-1})` has a second moment that stays bounded if and only if

.. math::
    \eta \left( \lambda + \frac{1 + \mu}{1 - \mu} \frac{\sigma^2}{\lambda} \right) < 2 (1 + \mu),

which follows from the variance of an autoregression of order 2. Curvatures of 0 to L have
:math:`\sigma^2 \le \lambda (L - \lambda)`, so :math:`\eta < 2 (1 - \mu) / L` is enough, and half of
that is what counts. For Nesterov's form it is the same to first order in the rate.
"""

import math
import sys
from collections.abc import Callable, Sequence

import numpy as np

from accel._core.base import BaseProblem
from accel._core.curvature import end_to_end_hessian, largest_eigenvalues
from accel._core.matrix_problems import MatrixProblem, here
from accel._core.matrix_sensing import MatrixSensing
from accel._core.network import Network
from accel._core.optimizers import USUAL_RATES, EndToEnd, Optimizer
from accel._core.oracle import Oracle
from accel._core.problem import Problem, local_problem
from accel._runs.batching import all_rows, batches_of
from accel._runs.checks import check_model
from accel._runs.saddles import factors_of, lower_map
from accel._support.arrays import Array
from accel._support.backends import resolve
from accel.kernels.reference import batches as rows_of
from accel.kernels.reference import entries
from accel.kernels.reference.losses import curvature as curvature_of
from accel.kernels.reference.norms import norm
from accel.kernels.specs import COUPLED_KINDS, Batches, Loss
from accel.schedules.schedule import range_of

__all__ = ["first_rate", "stable_rate"]

_STEPS = 40  # the most steps of descent
_STILL = 6  # steps without a larger curvature than before, after which descent ends
_HALVINGS = 30  # how often a step of descent is halved at most, until the loss falls
_FIRST, _NEXT = 20, 3  # products with J at the first point, and at every later one
_ENOUGH = 0.01  # a smaller relative change of the curvature is taken for none
_BATCHES = 8  # batches whose curvature is looked at, the steepest of an epoch
_DRAWN = 512  # batches at most that are drawn with replacement to find these

#: From a matrix to the loss and its gradient, or from the parameters to the loss and u.
_Field = Callable[[Array], tuple[float, Array]]


def _smoothed(given: BaseProblem) -> BaseProblem:
    """Return the problem, with another loss where the curvature of its own says little."""
    problem = here(given)
    smooth = problem.loss_function.smooth
    if smooth != problem.loss_function and isinstance(problem, MatrixProblem | Problem):
        return problem.with_loss(smooth)
    return problem


def _samples(problem: BaseProblem) -> tuple[Array, Array]:
    """Return the samples (n, m) and what was seen of each, on the host."""
    if isinstance(problem, MatrixSensing):
        return problem.rows, problem.values
    host = local_problem(problem).host
    return host.X, host.Y


def _traces(problem: BaseProblem, W: Array) -> Array:
    """Return the trace of the Hessian of every row's loss in the map, at W, but for a factor."""
    X, Y = _samples(problem)
    own = W.reshape(Y.shape[1], X.shape[1]).astype(X.dtype)  # the map; so X is not copied
    with np.errstate(over="ignore", invalid="ignore"):
        traces: Array = np.einsum("ij,ij->i", X, X, dtype=np.float64)
        if problem.spec.kind not in COUPLED_KINDS:
            bends = curvature_of(problem.spec, X @ own.T, Y)
            traces *= bends.sum(axis=1, dtype=np.float64)
    return traces


def _picked(problem: BaseProblem, batches: Batches | None, W: Array) -> list[Array]:
    """Return the rows of the steepest batches of an epoch; none if every step has all rows.

    Steep is whose Hessian in the map has a large trace, at W.
    """
    if batches is None or all_rows(problem, batches):
        return []
    n, size, shuffle, seed = problem.n, batches.size, batches.shuffle, batches.seed
    traces, steps = _traces(problem, W), rows_of.steps_per_epoch(n, size)
    if shuffle == "replacement":
        count = min(max(steps, _BATCHES), _DRAWN)
        drawn = [rows_of.rows(n, size, shuffle, seed, step) for step in range(count)]
        order = np.argsort([-traces[rows].sum() for rows in drawn], kind="stable")
        return [drawn[step] for step in order[:_BATCHES]]
    labels = rows_of.labels(n, size, seed, 0) if shuffle == "epoch" else np.arange(n) // size
    means = np.bincount(labels, traces) / np.bincount(labels)
    order = np.argsort(-means, kind="stable")
    return [np.flatnonzero(labels == step) for step in order[:_BATCHES]]


def _of_rows(problem: BaseProblem, rows: Array) -> _Field:
    """Return the function from a matrix, in float64, to the loss of some rows and its gradient."""
    X, Y = (data[rows] for data in _samples(problem))
    evaluate = (
        entries.measured_loss_and_gradient
        if isinstance(problem, MatrixSensing)
        else resolve("reference").lp_loss.loss_and_gradient
    )
    return lambda W: evaluate(X, Y, W, problem.spec)


def _direction(evaluate: _Field, network: Network, optimizer: Optimizer) -> _Field:
    """Return u, the function from the parameters, in float64, to the loss and the direction."""
    reference, structure = resolve("reference"), network.structure

    def u(params: Array) -> tuple[float, Array]:
        with np.errstate(over="ignore", invalid="ignore"):  # the loss is inf then
            W = reference.end_to_end(params, structure)
            loss, G = evaluate(W)
            if not (np.isfinite(W).all() and math.isfinite(loss)):
                return math.inf, np.zeros_like(params)
            if isinstance(optimizer, EndToEnd):
                return loss, reference.precondition.precondition(W, G, optimizer.depth).ravel()
            return loss, reference.gradients(params, structure, G)

    return u


def _decay(optimizer: Optimizer) -> float:
    """What a step subtracts from the weights at most, as a fraction of them, over the rate."""
    N = optimizer.depth if isinstance(optimizer, EndToEnd) else 1
    return N * range_of(optimizer.weight_decay)[1]


def _memory(optimizer: Optimizer) -> float:
    """Over how many steps a rule adds up its gradients: 1 / (1 - momentum)."""
    return 1 / (1 - range_of(getattr(optimizer, "momentum", 0.0))[1])


def _curvature(
    u: _Field, params: Array, reach: float, v: Array, products: int
) -> tuple[float, Array]:
    """Return the largest eigenvalue of J, infinite if it overflows, and its vector.

    Power iteration from v, with differences of size ``reach``.
    """
    largest = 0.0
    for _ in range(products):
        with np.errstate(over="ignore", invalid="ignore"):
            product = (u(params + reach * v)[1] - u(params - reach * v)[1]) / (2 * reach)
            size = norm(product)
        if not math.isfinite(size):
            return math.inf, v
        if size == 0:
            return largest, v
        v, before, largest = product / size, largest, max(largest, size)
        if abs(size - before) <= _ENOUGH * size:
            break
    return largest, v


def _reach(params: Array, loss: float, direction: Array, eps: float) -> float:
    """Step of the differences: well below the scale of the loss, well above rounding errors."""
    slope, size = norm(direction), norm(params)
    # The distance to a loss of 0 if the loss were linear, and the size of the parameters.
    scale = min(loss / slope if slope else math.inf, size or math.inf)
    reach = max(eps ** (1 / 3) * scale, eps ** (1 / 2) * size)
    return float(reach) if 0 < reach < math.inf else eps ** (1 / 3)


def _largest_curvature(
    u: _Field,
    params: Array,
    eps: float,
    convex: bool,
    batches: Sequence[Array],
    of_rows: Callable[[Array], _Field],
    memory: float,
) -> tuple[float, Array | None]:
    """The largest curvature along some steps of descent from the parameters.

    Infinite if it overflows. Beside it the parameters where the descent ended, if the loss has
    fallen so little that they may be at a saddle still. A convex loss has no saddle, so that there
    the descent ends as soon as the curvature has not grown for a while; else only if the loss has
    fallen as well. That of the loss of each batch of rows counts ``memory`` times at the same
    points; the descent is the same without them.
    """
    v = np.random.default_rng(0).standard_normal(params.size)
    v /= np.linalg.norm(v)
    loss, direction = u(params)
    if not (math.isfinite(loss) and np.isfinite(direction).all()):
        return math.inf, None
    left = math.inf if convex else 0.9 * loss  # below this the saddle of the start has been left
    largest, beside, products, still = 0.0, 0.0, _FIRST, 0
    vectors = [v] * len(batches)
    for _ in range(_STEPS):
        reach = _reach(params, loss, direction, eps)
        curvature, v = _curvature(u, params, reach, v, products)
        for j, rows in enumerate(batches):  # copied here, so that no more than one is in memory
            bent, vectors[j] = _curvature(of_rows(rows), params, reach, vectors[j], products)
            beside = max(beside, bent)
        still = 0 if curvature > (1 + _ENOUGH) * largest or loss > left else still + 1
        largest, products = max(largest, curvature), _NEXT
        if math.isinf(curvature):
            break
        step = 1 / curvature if curvature else 1.0
        for _ in range(_HALVINGS):
            after = u(params - step * direction)
            if after[0] < loss:
                break
            step /= 2
        if still == _STILL or not after[0] < loss:
            break
        params, (loss, direction) = params - step * direction, after
    held = loss > left and math.isfinite(largest)
    return max(largest, memory * beside), params if held else None


def _rate_for(curvature: float) -> float:
    """One over a curvature: 1 for no curvature, otherwise between the extreme normal numbers."""
    if curvature == 0:
        return 1.0
    return max(min(1 / float(curvature), sys.float_info.max), sys.float_info.min)


def stable_rate(
    problem: BaseProblem,
    network: Network,
    optimizer: Optimizer,
    *,
    batch_size: int | None = None,
    shuffle: str = "epoch",
    seed: int = 0,
) -> float:
    r"""Return a learning rate with which a run can be expected to be stable.

    Parameters
    ----------
    problem : Problem
    network : LinearNetwork or DiagonalNetwork
        Where the run starts.
    optimizer : Optimizer
        The rule and its other constants; its own learning rate is not looked at. Of a weight decay
        that is scheduled the largest value counts.
    batch_size, shuffle, seed
        As for ``train``. The curvature of batches, over 1 - momentum, counts beside that of all
        rows: above 2 over the curvature of a batch its step overshoots, and momentum adds up what
        steps do. It is that of the 8 batches of the first epoch (with replacement of the first 8 to
        512 steps) whose rows have Hessians with the largest traces at the start. Others may be
        steeper later, but only one of twice the curvature of all of these is too steep.

    Returns
    -------
    float
        One over the largest curvature along the start of the run, weight decay included (that of
        ``EndToEnd`` is N times its ``weight_decay``). For p < 2, where the curvature has no bound,
        it is that of the loss with p = 2; for ``Huber``, ``LogCosh`` and ``Pinball``, which bend
        little away from their minimum, that of half of the square. For ``AdaGrad``, ``AdaDelta``,
        ``RMSProp``, ``GroupRMSProp`` and ``Adam`` a usual rate, or one over the weight decay if
        that is less. From factors so small that steps along the curvature do not leave the saddle
        at 0 either, it is the rate for balanced factors of a map of lower loss. 1 if there is no
        curvature at all. Where the curvature overflows no rate is small enough, and it is the
        smallest normal number.

    Raises
    ------
    TypeError, ValueError
        If the three do not fit together, or batches are asked for that ``train`` would refuse.

    Notes
    -----
    It costs some hundred passes over the data, up to 400 for a deep net near zero, whatever its
    depth; for p = 2 with the Gram method none but that for X'X. With batches as many passes over
    the rows of each of them, by NumPy.

    Examples
    --------
    >>> import accel
    >>> problem = accel.LpProblem([[1.0, 0.0], [0.0, 2.0]], [3.0, 1.0], p=2)
    >>> network = accel.LinearNetwork.for_problem(problem, depth=1)
    >>> round(accel.stable_rate(problem, network, accel.GradientDescent(1.0)), 3)
    0.25
    """
    check_model(problem, network, optimizer)
    batches = batches_of(problem, batch_size, shuffle, seed, None)
    decay = _decay(optimizer)
    if math.isinf(decay):
        raise ValueError(f"weight_decay has no bound, got {optimizer.weight_decay!r}")
    if optimizer.name in USUAL_RATES:
        return min(USUAL_RATES[optimizer.name], 1 / decay) if decay else USUAL_RATES[optimizer.name]
    smoothed = _smoothed(problem)

    def of_rows(rows: Array) -> _Field:
        return _direction(_of_rows(smoothed, rows), network, optimizer)

    evaluate = Oracle(smoothed, from_gram=True).loss_and_gradient
    u = _direction(evaluate, network, optimizer)
    convex = network.depth == 1 and not isinstance(optimizer, EndToEnd)
    eps, start = float(np.finfo(problem.dtype).eps), network.params.astype(np.float64)

    def along(begin: Array) -> tuple[float, Array | None]:
        W = resolve("reference").end_to_end(begin, network.structure)
        picked = _picked(smoothed, batches, W)
        return _largest_curvature(u, begin, eps, convex, picked, of_rows, _memory(optimizer))

    curvature, held = along(start)
    if held is not None:
        lower = lower_map(evaluate, held, network, optimizer)
        if lower is not None:
            curvature = max(curvature, along(factors_of(lower, network))[0])
    return _rate_for(curvature + decay)


def _curvature_at_zero(problem: MatrixProblem) -> float:
    """The largest eigenvalue of the Hessian at W = 0, infinite if it overflows."""
    zero = np.zeros((problem.k, problem.d))
    start = np.random.default_rng(0).standard_normal(zero.size)
    with np.errstate(over="ignore", invalid="ignore"):
        product = end_to_end_hessian(Oracle(_smoothed(problem), from_gram=True), zero)
        (largest,), _ = largest_eigenvalues(product, start, 1, _ENOUGH, _FIRST)
    return float(largest) if math.isfinite(largest) else math.inf


def first_rate(problem: BaseProblem, optimizer: str) -> float:
    """Return the learning rate at which a search for an optimiser's best one begins.

    Parameters
    ----------
    problem : Problem
    optimizer : str
        A key of ``OPTIMIZERS``.

    Returns
    -------
    float
        For rules that rescale the gradient, whose rates have little to do with the curvature, a
        usual one. For the others half of what the curvature at W = 0 allows plain gradient descent
        at depth 1: ``1 / lambda_max`` of the Hessian at 0, of the loss that ``stable_rate`` takes.
        For ``CrossEntropy`` that of ``X'X / (n k)``, which bounds it. 1 if there is no curvature at
        all, and the smallest normal number if it overflows.
    """
    if optimizer in USUAL_RATES:
        return USUAL_RATES[optimizer]
    if isinstance(problem, MatrixProblem):
        return _rate_for(_curvature_at_zero(problem))
    smoothed = local_problem(_smoothed(problem)).host
    hessian, loss = resolve("cpu").lp_loss.hessian, smoothed.spec
    columns, largest = list(map(np.ascontiguousarray, smoothed.Y.T)), 0.0
    if loss.kind in COUPLED_KINDS:
        loss, columns = Loss(2.0, 0.5 / problem.k), [np.zeros(problem.n, problem.dtype)]
    for y in columns:
        with np.errstate(over="ignore", invalid="ignore"):
            H = hessian(smoothed.X, y, np.zeros(problem.d), loss)
        if not np.isfinite(H).all():  # LAPACK computes no eigenvalues then
            return _rate_for(math.inf)
        largest = max(largest, float(np.linalg.eigvalsh(H)[-1]))
    return _rate_for(largest)
