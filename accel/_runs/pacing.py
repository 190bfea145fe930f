r"""A learning rate that follows the loss: a run in stretches, each kept or taken back.

What rate is stable depends on the curvature, which for p > 2 falls by orders of magnitude as the
residuals do, and grows as a deep net leaves a saddle. No constant rate serves such a run well. Here
the run is made in stretches, each a quarter as long as all before. At its end each is judged by
what the rule lowers, the loss and with weight decay a penalty:

- It has risen, or is not finite: the stretch is taken back, and made again at a third of the rate.
  Momentum begins anew from 0, for the old one may lead uphill at any rate.
- Else the stretch is kept, and the next is tried at twice the rate. Once twice a rate was too
  much, 1, then 2, then 4 stretches keep to it before twice the rate is tried again.

For p < 2, where the gradient is steep up to the minimum and a constant rate circles it, the same
makes the rate fall.

A stretch is longer than the memory of the rule, since with momentum the loss swings. Rules with a
memory, and those that rescale the gradient, do not lower loss plus penalty with weight decay: then
a stretch is taken back only if something is not finite, and the rate never grows.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from accel._core.base import Problem
from accel._core.network import LinearNetwork
from accel._core.optimizers import USUAL_RATES, EndToEnd, Optimizer
from accel._support.arrays import Array
from accel.kernels.specs import STATE_SLOTS

__all__ = ["Pace", "pace_of"]

_SHARE = 4  # a stretch is this fraction of the steps before it
_LEAST = 8  # steps of the first stretches, beside the memory of the rule
_LONGEST_PAUSE = 4  # stretches
# Not by 2 both: stable_rate is half of what a quadratic loss bears, and twice that swings for ever.
_GROWTH, _SHRINKING = 2.0, 3.0
_LESSER = 30  # rates in a row, then the stretch is kept as it is
_NOISE = 16  # units in the last place that the loss may rise by without meaning anything


class State(NamedTuple):
    """All that changes.

    Attributes
    ----------
    rate, end : float
        Of the stretch in hand, and the step at which it ends.
    value, kept : float
        The objective at the end of the last stretch that was kept, and that stretch's rate.
    grown : float
        Whether ``rate`` is twice ``kept``.
    wait, pause : float
        So many stretches until it may grow, and so many the next time that this is too much.
    lowered : float
        How often the rate of this stretch was lowered.
    """

    rate: float
    end: float
    value: float
    kept: float
    grown: float = 0
    wait: float = 0
    pause: float = 1
    lowered: float = 0


class Pace:
    """The learning rate of one run.

    Parameters
    ----------
    penalty : callable
        What is added to the loss, from the parameters.
    noise : float
        By how much the objective may rise without meaning anything, but for its own rounding
        errors of ``relative`` times its size.
    relative : float
    least : int
        Steps of a stretch, at least.
    velocity : float
        Part of the memory of the rule, from its beginning, that is a velocity.
    judged : bool
        Whether the objective is what the rule lowers. Else only a run that is not finite any more
        is taken back, and the rate never grows.
    """

    def __init__(
        self,
        penalty: Callable[[Array], float],
        noise: float,
        relative: float,
        least: int,
        velocity: float,
        judged: bool,
    ) -> None:
        self.penalty, self._velocity = penalty, velocity
        self._noise, self._relative, self._least, self._judged = noise, relative, least, judged
        self.state = State(math.nan, math.inf, math.nan, math.nan)

    @property
    def rate(self) -> float:
        """The rate of the stretch in hand."""
        return self.state.rate

    @property
    def end(self) -> float:
        """The step at which it ends."""
        return self.state.end

    def begin(self, rate: float, value: float) -> None:
        """Begin the first stretch; with an objective that is not finite there is none."""
        end = self._least if math.isfinite(value) else math.inf
        self.state = State(rate, end, value, rate)

    def without_velocity(self, memory: Array) -> Array:
        """Return the memory of a rule that stands still, with which small steps lead downhill."""
        memory = memory.copy()
        memory[: int(self._velocity * len(memory))] = 0
        return memory

    def would_keep(self, value: float) -> bool:
        """Whether a stretch with this objective at its end is a success."""
        before = self.state.value
        risen = value > before + self._noise + self._relative * abs(before)
        return math.isfinite(value) and not (self._judged and risen)

    def keeps(self, step: int, value: float) -> bool:
        """Judge the stretch by the objective at its end, and settle the next rate."""
        state = self.state
        if not self.would_keep(value) and state.lowered < _LESSER:
            state = state._replace(rate=state.rate / _SHRINKING, grown=0, lowered=state.lowered + 1)
            if self.state.grown:
                state = state._replace(wait=state.pause, pause=min(2 * state.pause, _LONGEST_PAUSE))
            self.state = state
            return False
        grows = self._judged and not state.wait and math.isfinite(_GROWTH * state.rate)
        self.state = State(
            rate=_GROWTH * state.rate if grows else state.rate,
            end=step + max(self._least, step // _SHARE),
            value=value,
            kept=state.rate,
            grown=grows,
            wait=max(state.wait - 1, 0),
            pause=1 if state.grown else state.pause,
        )
        return True

    def export(self) -> Array:
        """Return all that the rest of the run depends on."""
        return np.array(self.state, np.float64)

    def resume(self, numbers: Array) -> None:
        """Go on from what ``export`` returned."""
        self.state = State(*(float(number) for number in numbers))


def pace_of(problem: Problem, network: LinearNetwork, optimizer: Optimizer) -> Pace:
    """Return the pace of a run of this model."""
    eps = float(np.finfo(problem.dtype).eps)
    with np.errstate(over="ignore"):
        at_zero = problem.loss(np.zeros((problem.k, problem.d)))
    memory = max(getattr(optimizer, name, 0.0) for name in ("momentum", "beta1"))
    return Pace(
        _penalty(network, optimizer),
        noise=_NOISE * eps * at_zero if math.isfinite(at_zero) else 0.0,
        relative=_NOISE * eps,
        least=_LEAST + math.ceil(memory / (1 - memory)),
        velocity=1 / STATE_SLOTS[optimizer.rule.kind] if memory else 0.0,
        # Decay acts at once, steps with a memory only after a while: from rest the objective rises.
        judged=not (optimizer.weight_decay and (memory or optimizer.name in USUAL_RATES)),
    )


def _penalty(network: LinearNetwork, optimizer: Optimizer) -> Callable[[Array], float]:
    r"""What weight decay makes a rule lower beside the loss.

    :math:`\lambda/2` times the squares of all weights. The end-to-end rule lowers what balanced
    factors would add: N times the sum of the singular values to the 2/N.
    """
    decay = optimizer.weight_decay / 2
    if not decay:
        return lambda params: 0.0
    if isinstance(optimizer, EndToEnd):
        shape, N = (network.widths[1], network.widths[0]), optimizer.depth

        def schatten(params: Array) -> float:
            if not np.isfinite(params).all():  # on its way to divergence
                return math.inf
            sizes: Any = np.linalg.svd(params.reshape(shape).astype(np.float64), compute_uv=False)
            return float(decay * N * np.sum(sizes ** (2 / N)))

        return schatten

    def squares(params: Array) -> float:
        with np.errstate(over="ignore"):
            return float(decay * np.sum(params.astype(np.float64) ** 2))

    return squares
