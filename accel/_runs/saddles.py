r"""Runs that end at the saddle where they began, or shrank to, told from slow or finished ones.

A run from very small factors may make all its steps beside the saddle at 0, where its gradient with
respect to the factors is next to nothing though that with respect to their product G is not. Its
loss is that of the start then, and nothing else is wrong with it. Here it is recognised, in this
order, so that a run that is well costs nothing, and one on a GPU stays there:

- The loss has fallen by less than a thousandth, or the product has shrunk to a thousandth of what
  it was, and no factor has grown by a tenth (in a run of fewer than 100 steps by as many
  thousandths). What grows like that leaves the saddle within ten times as many steps, or a
  thousand.
- Along a direction that the product W does not use (``accel._core.saddles``) the loss can be
  lowered by a hundredth at least, by a piece of length t of rank one. A converged run has no such
  direction, nor one at the best map of low rank that its widths allow, nor one at rest between loss
  and weight decay.
- The gradient with respect to the factors is less than a thousandth of :math:`\sqrt N \sigma
  t^{1 - 1/N}`, what it is for balanced factors of such a piece, :math:`\sigma = u^\top G v`. This
  tells a saddle from a learning rate that is too small. It has no unit, and for factors of size
  :math:`\epsilon` times those of the piece it is :math:`\epsilon^{N - 1}`: descent stays for
  :math:`\epsilon^{2 - N}` times as long as at a healthy start.

All of it is computed in float64, where such gradients do not underflow yet.
"""

import contextlib
import contextvars
import math
import warnings
from collections.abc import Callable, Iterator

import numpy as np

from accel._core.base import BaseProblem
from accel._core.diagonal_network import DiagonalNetwork
from accel._core.initializers import balanced_factors
from accel._core.network import Network
from accel._core.optimizers import EndToEnd, Optimizer
from accel._core.saddles import UNUSED, Direction, penalties, unused_directions
from accel._runs.history import History
from accel._support.arrays import Array
from accel._support.backends import Backend, resolve
from accel.kernels.reference.norms import norm
from accel.schedules.schedule import range_of

__all__ = [
    "SaddleWarning",
    "depth_of",
    "factors_of",
    "lower_map",
    "stands_still",
    "unwarned",
    "warn",
]

_FALLEN = 1e-3  # of the loss: a run that lowers it by more has left
_VANISHED = 1e-3  # of the norm of the product at the start
_GROWN = 0.1, 1e-3  # of a factor's norm: what a run that has left has at least, and in a step
_LOWER = 0.01  # of the loss: what a piece of rank one must be able to gain
_SHARE = 1e-3  # of the gradient of balanced factors of that piece
_LONGEST, _LENGTHS = 64.0, 14  # in L / sigma; below _LOWER times that no convex loss gains _LOWER


class SaddleWarning(RuntimeWarning):
    """A run ended at the saddle at which it began: its factors are too small to move."""


_unwarned = contextvars.ContextVar("accel saddles unwarned", default=False)


@contextlib.contextmanager
def unwarned() -> Iterator[None]:
    """A context in which ``train`` warns of no saddle: its caller tells of many runs, or by itself.

    Unlike ``warnings.catch_warnings`` it is for one thread only.
    """
    token = _unwarned.set(True)
    try:
        yield
    finally:
        _unwarned.reset(token)


def depth_of(network: Network, optimizer: Optimizer) -> int:
    """Return the N by which a run moves W: that of the network, or of the end-to-end rule."""
    return optimizer.depth if isinstance(optimizer, EndToEnd) else network.depth


def _entries(W: Array, G: Array) -> Iterator[Direction]:
    """Yield the entry along which the loss falls most: of all, and of those hardly used."""
    sizes, slopes = np.abs(W[0]), np.abs(G[0])
    for rank, candidates in enumerate((sizes < math.inf, sizes < UNUSED * sizes.max())):
        i = int(np.argmax(np.where(candidates, slopes, 0.0)))
        if candidates[i] and 0 < slopes[i] < math.inf:
            unit = np.zeros(len(sizes))
            unit[i] = 1.0
            yield Direction(rank, float(sizes[i]), W - W * unit, np.sign(G[0, i : i + 1]), unit)


def _gradient(params: Array, W: Array, G: Array, network: Network, optimizer: Optimizer) -> float:
    """The norm of the gradient with respect to the factors; for the end-to-end rule its like."""
    reference = resolve("reference")
    if isinstance(optimizer, EndToEnd):
        return norm(reference.precondition.precondition(W, G, optimizer.depth))
    return norm(reference.gradients(params, network.structure, G))


def lower_map(
    evaluate: Callable[[Array], tuple[float, Array]],
    params: Array,
    network: Network,
    optimizer: Optimizer,
) -> Array | None:
    """Return a map of lower loss that the factors cannot move to, if they are at a saddle.

    Parameters
    ----------
    evaluate : callable
        From a map (k, d) in float64 to its loss and gradient.
    params : (n_params,) array
        The factors, in float64.
    network, optimizer
        The kind of network, and the rule.

    Returns
    -------
    (k, d) array or None
        W and a piece of rank one.
    """
    N, end_to_end = depth_of(network, optimizer), isinstance(optimizer, EndToEnd)
    if N == 1:
        return None
    W = resolve("reference").end_to_end(params, network.structure)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        loss, G = evaluate(W)
        if not (0 < loss < math.inf and np.isfinite(G).all()):
            return None
        G = G.astype(np.float64)
        slope = _gradient(params, W, G, network, optimizer)
        decay = range_of(optimizer.weight_decay)[1]
        balanced, power, share = math.sqrt(N), 1 - 1 / N, _SHARE
        if end_to_end:  # the rule has two such factors, on either side of G
            balanced, power, share = N, 2 * power, share**2
        width = min(W.shape) if end_to_end else min(network.widths)
        diagonal = isinstance(network, DiagonalNetwork)
        for each in _entries(W, G) if diagonal else unused_directions(W, G, width):
            sigma, piece = float(each.u @ G @ each.v), np.outer(each.u, each.v)
            lengths = _LONGEST * loss / sigma * 0.5 ** np.arange(_LENGTHS)
            small = slope < share * balanced * sigma * lengths**power
            if not small[0] or not math.isfinite(lengths[0]):
                continue
            added = penalties(lengths, decay, N)
            values = np.array([_loss(evaluate, W - t * piece) for t in lengths]) + added
            best = int(np.argmin(values))
            used = each.size >= UNUSED * lengths[best]
            if small[best] and not used and loss - values[best] > _LOWER * loss:
                lower: Array = each.used - lengths[best] * piece
                return lower
    return None


def factors_of(W: Array, network: Network) -> Array:
    """Return balanced parameters of a map, in float64, for a network of this kind."""
    if isinstance(network, DiagonalNetwork):
        roots = np.abs(W[0]) ** (1 / network.depth)
        if network.form == "power-difference":
            return np.concatenate([np.where(W[0] > 0, roots, 0.0), np.where(W[0] < 0, roots, 0.0)])
        signs = np.where(W[0] < 0, -1.0, 1.0)
        return np.concatenate([*[roots] * (network.depth - 1), signs * roots])
    shapes = [factor.shape for factor in network.factors]
    return np.concatenate([factor.ravel() for factor in balanced_factors(W, shapes)])


def _loss(evaluate: Callable[[Array], tuple[float, Array]], W: Array) -> float:
    loss = evaluate(W)[0]
    return loss if math.isfinite(loss) else math.inf


def _has_grown(start: Network, end: Network, steps: int) -> bool:
    """Whether a factor has become larger by so much that the run is about to leave, or has left."""
    before, after = ([norm(W) for W in network.factors] for network in (start, end))
    least = min(_GROWN[0], _GROWN[1] * steps)
    largest = max(before)
    return any(b - a > least * (a or largest) for a, b in zip(before, after, strict=True))


def _has_vanished(history: History) -> bool:
    """Whether the product has shrunk to nothing, as one does that cannot change its sign."""
    return float(history.weight_norm[-1]) < _VANISHED * float(history.weight_norm[0])


def stands_still(
    problem: BaseProblem,
    kernels: Backend,
    start: Network,
    end: Network,
    optimizer: Optimizer,
    history: History,
) -> bool:
    """Tell whether a run that made all its steps ended at the saddle at which it began.

    Parameters
    ----------
    problem : BaseProblem
    kernels : Backend
        What the run was made with.
    start, end : Network
    optimizer : Optimizer
    history : History
    """
    first, last = float(history.loss[0]), float(history.loss[-1])
    if depth_of(start, optimizer) == 1 or not last < math.inf:
        return False
    if last < (1 - _FALLEN) * first and not _has_vanished(history):
        return False
    if _has_grown(start, end, int(history.step[-1])):
        return False

    def evaluate(W: Array) -> tuple[float, Array]:
        rounded = W.astype(problem.dtype)
        if not np.isfinite(rounded).all():
            return math.inf, np.zeros_like(W)
        return problem.single_pass(rounded, kernels)

    return lower_map(evaluate, end.params.astype(np.float64), start, optimizer) is not None


def warn(network: Network, optimizer: Optimizer, history: History) -> None:
    """Warn the caller of ``train`` that a run stands still."""
    if _unwarned.get():
        return
    N = depth_of(network, optimizer)
    if _has_vanished(history):
        warnings.warn(
            f"the run ended at the saddle at 0: in {history.step[-1]} steps its product of {N} "
            "balanced factors has shrunk to nothing, since it cannot change its sign; another "
            "seed, or the start of LinearNetwork.for_problem, begins downhill",
            SaddleWarning,
            stacklevel=4,
        )
        return
    told = (
        f"the run ended at the saddle at which it began: {history.step[-1]} steps took the loss "
        f"from {history.loss[0]:.6g} to {history.loss[-1]:.6g}, since the product of {N} small "
        "factors has next to no gradient; a larger start leaves it: without scale, with "
    )
    init = "constant" if isinstance(network, DiagonalNetwork) else "balanced"
    advice = f"init={init!r}, on standardised data, or at a larger learning rate"
    warnings.warn(told + advice, SaddleWarning, stacklevel=4)
