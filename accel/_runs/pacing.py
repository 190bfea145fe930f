r"""A learning rate that follows the loss: a run in stretches, each kept or taken back.

Which rate is stable depends on the curvature, which for p > 2 falls by orders of magnitude as the
residuals do, and grows as a deep net leaves a saddle. No constant rate suits such a run. Here the
run is made in stretches, each a quarter as long as all before it together. At its end each is
judged by the objective, which is what the rule lowers: the loss, and with weight decay a penalty.

- If the objective has risen or is not finite, the stretch is taken back and made again at a third
  of the rate. Momentum starts again from 0, since the old one may lead uphill at any rate.
- Else the stretch is kept, and the next is tried at twice the rate. After twice a rate was too
  large, 1, then 2, then 4 stretches are made at the rate itself before twice the rate is tried
  again.

For p < 2, where the gradient stays large up to the minimum and a constant rate circles around it,
the same rules make the rate fall. So they do where steps have batches or noise, which a constant
rate does not average out: the loss that is judged is that of all rows as they are. Two rules more
are for these runs, since there the loss may rise at any rate. A stretch is at least an epoch long:
over fewer steps the mean of the gradients may lead uphill. And one that has risen still at a ninth
of its rate is kept, if it is finite; else a loss that was low by chance would be waited for at
smaller and smaller rates, in the end hundreds of times above what a constant rate leads to.

As long as the objective is within a thousandth of what it was at the start, the rate grows to 1024
times the first one at most. Larger ones help to leave a saddle, but where a run stands still, as
from zeros, nothing would tell that they are too large, and they would grow without end.

A stretch is longer than the memory of the rule, since with momentum the loss oscillates. With
weight decay, rules that have a memory or rescale the gradient do not lower loss plus penalty: then
a stretch is taken back only if something is not finite, and the rate never grows.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from accel._core.base import BaseProblem
from accel._core.network import Network
from accel._core.optimizers import USUAL_RATES, EndToEnd, Optimizer
from accel._runs.batching import all_rows
from accel._support.arrays import Array
from accel.kernels.reference.batches import steps_per_epoch
from accel.kernels.specs import STATE_SLOTS, Batches
from accel.schedules.schedule import Schedule, range_of

__all__ = ["Pace", "pace_of"]

_SHARE = 4  # the length of a stretch is the number of steps before it divided by this
_LEAST = 8  # steps of the first stretches, in addition to the memory of the rule
_LONGEST_PAUSE = 4  # stretches
# Not both 2: stable_rate is half of the limit for a quadratic loss, at which a run oscillates for
# ever.
_GROWTH, _SHRINKING = 2.0, 3.0
_LESSER = 30  # times that the rate of a stretch is lowered; then the stretch is kept as it is
_LESSER_WITH_NOISE = 2  # likewise for one that ends at a finite value, in a run with noise
_MOST = 1024.0  # times the first rate: the largest until the objective has fallen
_FALLEN = 1e-3  # by this part of what it was
_NOISE = 16  # units in the last place by which the loss may rise through rounding


class State(NamedTuple):
    """The part of a pace that changes during a run.

    Attributes
    ----------
    rate, end : float
        Of the current stretch, and the step at which it ends.
    value, kept : float
        The objective at the end of the last stretch that was kept, and that stretch's rate.
    grown : float
        Whether ``rate`` is twice ``kept``.
    wait, pause : float
        How many stretches there are until the rate may grow, and how many there will be after the
        next time that it has grown too much.
    lowered : float
        How often the rate of the current stretch was lowered.
    most, above : float
        The largest rate as long as the objective is above this value.
    """

    rate: float
    end: float
    value: float
    kept: float
    grown: float = 0
    wait: float = 0
    pause: float = 1
    lowered: float = 0
    most: float = math.inf
    above: float = math.inf


class Pace:
    """The learning rate of one run.

    Parameters
    ----------
    penalty : callable, optional
        From the parameters to what is added to the loss.
    noise, relative : float
        By how much the objective may rise through rounding: ``noise``, and ``relative`` times its
        size.
    least : int
        The least number of steps of a stretch.
    velocity : float
        The fraction of the memory of the rule, from its beginning, that is a velocity.
    judged : bool
        Whether the objective is what the rule lowers. If not, a stretch is taken back only if it
        ends at a value that is not finite, and the rate never grows.
    lesser : int
        How often at most the rate of a stretch is lowered that ends at a finite value.
    """

    def __init__(
        self,
        penalty: Callable[[Array], float] | None,
        noise: float,
        relative: float,
        least: int,
        velocity: float,
        judged: bool,
        lesser: int = _LESSER,
    ) -> None:
        self.penalty, self._velocity, self._lesser = penalty, velocity, lesser
        self._noise, self._relative, self._least, self._judged = noise, relative, least, judged
        self.state = State(math.nan, math.inf, math.nan, math.nan)

    @property
    def rate(self) -> float:
        """The rate of the current stretch."""
        return self.state.rate

    @property
    def end(self) -> float:
        """The step at which the current stretch ends."""
        return self.state.end

    def begin(self, rate: float, value: float) -> None:
        """Begin the first stretch; it has no end if the objective is not finite."""
        end = self._least if math.isfinite(value) else math.inf
        above = value - _FALLEN * abs(value)
        self.state = State(rate, end, value, rate, most=_MOST * rate, above=above)

    def without_velocity(self, memory: Array) -> Array:
        """Return the memory of a rule without its velocity, so that small steps lead downhill."""
        memory = memory.copy()
        memory[: int(self._velocity * len(memory))] = 0
        return memory

    def would_keep(self, value: float) -> bool:
        """Whether a stretch that ends with this objective is kept."""
        before = self.state.value
        risen = value > before + self._noise + self._relative * abs(before)
        return math.isfinite(value) and not (self._judged and risen)

    def keeps(self, step: int, value: float) -> bool:
        """Set the next rate from the objective at the end of a stretch; whether it is kept."""
        state = self.state
        most = self._lesser if math.isfinite(value) else _LESSER
        if not self.would_keep(value) and state.lowered < most:
            state = state._replace(rate=state.rate / _SHRINKING, grown=0, lowered=state.lowered + 1)
            if self.state.grown:
                state = state._replace(wait=state.pause, pause=min(2 * state.pause, _LONGEST_PAUSE))
            self.state = state
            return False
        ceiling = math.inf if value < state.above else state.most
        grown = _GROWTH * state.rate
        grows = self._judged and not state.wait and math.isfinite(grown) and grown <= ceiling
        self.state = state._replace(
            rate=grown if grows else state.rate,
            end=step + max(self._least, step // _SHARE),
            value=value,
            kept=state.rate,
            grown=grows,
            wait=max(state.wait - 1, 0),
            pause=1 if state.grown else state.pause,
            lowered=0,
            most=ceiling,
        )
        return True

    def export(self) -> Array:
        """Return all that the rest of the run depends on."""
        return np.array(self.state, np.float64)

    def resume(self, numbers: Array) -> None:
        """Go on from what ``export`` returned."""
        self.state = State(*(float(number) for number in numbers))


def pace_of(
    problem: BaseProblem, network: Network, optimizer: Optimizer, batches: Batches | None = None
) -> Pace:
    """Return the pace of a run of this model, by such batches."""
    eps = float(np.finfo(problem.dtype).eps)
    with np.errstate(over="ignore"):
        at_zero = problem.loss(np.zeros((problem.k, problem.d)))
    memory = max(range_of(getattr(optimizer, name, 0.0))[1] for name in ("momentum", "beta1"))
    decay = optimizer.weight_decay
    lowered = not (decay and (memory or optimizer.name in USUAL_RATES))
    least, lesser = _LEAST + math.ceil(memory / (1 - memory)), _LESSER
    if batches is not None and (batches.noise or not all_rows(problem, batches)):
        least, lesser = max(least, steps_per_epoch(problem.n, batches.size)), _LESSER_WITH_NOISE
    return Pace(
        _penalty(network, optimizer),
        noise=_NOISE * eps * at_zero if math.isfinite(at_zero) else 0.0,
        relative=_NOISE * eps,
        least=least,
        velocity=1 / STATE_SLOTS[optimizer.rule.kind] if memory else 0.0,
        # Decay acts at once, steps with a memory only after a while: at first the objective rises.
        # Nor does a penalty stay what it is where the decay is scheduled.
        judged=lowered and not isinstance(decay, Schedule),
        lesser=lesser,
    )


def _penalty(network: Network, optimizer: Optimizer) -> Callable[[Array], float] | None:
    r"""Return the penalty that weight decay adds to the loss, as a function of the parameters.

    :math:`\lambda/2` times the squares of all weights; None without decay. For the end-to-end rule
    it is that of balanced factors: N times the sum of the singular values to the power 2/N. None
    with a schedule, since no run is judged by it then.
    """
    if isinstance(optimizer.weight_decay, Schedule) or not optimizer.weight_decay:
        return None
    decay = optimizer.weight_decay / 2
    if isinstance(optimizer, EndToEnd):
        shape, N = (network.widths[1], network.widths[0]), optimizer.depth

        def schatten(params: Array) -> float:
            if not np.isfinite(params).all():  # the run is diverging
                return math.inf
            sizes: Any = np.linalg.svd(params.reshape(shape).astype(np.float64), compute_uv=False)
            return float(decay * N * np.sum(sizes ** (2 / N)))

        return schatten

    def squares(params: Array) -> float:
        with np.errstate(over="ignore"):
            return float(decay * np.sum(params.astype(np.float64) ** 2))

    return squares
