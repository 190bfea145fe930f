"""Schedules one after the other, and those that begin with a warm-up."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from accel._support import validation
from accel.kernels.reference.schedules import Segment
from accel.schedules.curves import CosineDecay, Linear
from accel.schedules.schedule import Checks, OtherName, Schedule, all_schedules, shifted
from accel.schedules.tables import ascending

__all__ = ["Join", "WarmupConstant", "WarmupCosineDecay"]


def _boundaries(name: str, given: Any) -> tuple[int, ...]:
    """Check steps as ``ascending`` does; there may be none."""
    return () if isinstance(given, Sequence) and not given else ascending(name, given)


@dataclass(frozen=True)
class Join(Schedule):
    """One schedule after the other; ``optax.join_schedules``.

    Parameters
    ----------
    schedules : sequence of Schedule
        The steps of each count from where it begins.
    boundaries : sequence of int
        Where those after the first begin: ascending, at least 1, one fewer than schedules.

    Raises
    ------
    TypeError, ValueError
        If they are no such sequences.
    """

    schedules: tuple[Schedule, ...]
    boundaries: tuple[int, ...]

    _checks: ClassVar[Checks] = {"schedules": all_schedules, "boundaries": _boundaries}

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.schedules) != len(self.boundaries) + 1:
            raise ValueError(
                f"schedules must be one more than boundaries, got {len(self.schedules)} and "
                f"{len(self.boundaries)}"
            )

    @property
    def segments(self) -> list[Segment]:
        """Those of each schedule, as far as the next one."""
        ends = (*self.boundaries, None)
        made: list[Segment] = []
        for schedule, begin, end in zip(self.schedules, (0, *self.boundaries), ends, strict=True):
            own = shifted(schedule.segments, begin)
            made += [segment for segment in own if end is None or segment[0] < end]
        return made

    @property
    def range(self) -> tuple[float, float]:
        """A bound: the least and the largest value of all, whether they are reached or not."""
        ranges = [schedule.range for schedule in self.schedules]
        return min(low for low, _ in ranges), max(high for _, high in ranges)


@dataclass(frozen=True)
class WarmupConstant(OtherName):
    """On a line to a value that is kept; ``optax.warmup_constant_schedule``.

    Parameters
    ----------
    init_value, peak_value : float
    warmup_steps : int
        From one to the other, at least 1.

    Raises
    ------
    TypeError, ValueError
        If a parameter is no number, or out of range.
    """

    init_value: float
    peak_value: float
    warmup_steps: int

    @property
    def _same(self) -> Linear:
        return Linear(self.init_value, self.peak_value, self.warmup_steps)


@dataclass(frozen=True)
class WarmupCosineDecay(OtherName):
    """On a line to a value, and from there on half a wave; ``optax.warmup_cosine_decay_schedule``.

    Parameters
    ----------
    init_value, peak_value : float
    warmup_steps : int
        From one to the other, at least 1.
    decay_steps : int
        Of both parts together: more than ``warmup_steps``.
    end_value : float
    exponent : float
        As for ``CosineDecay``.

    Raises
    ------
    TypeError, ValueError
        If a parameter is no number, or out of range.
    """

    init_value: float
    peak_value: float
    warmup_steps: int
    decay_steps: int
    end_value: float = 0.0
    exponent: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.integer("decay_steps", self.decay_steps, least=self.warmup_steps + 1)
        if not math.isfinite(self._alpha):
            raise ValueError(
                "end_value must be a finite multiple of peak_value, "
                f"got {self.end_value:g} and {self.peak_value:g}"
            )

    @property
    def _alpha(self) -> float:
        """What is left at the end of the half wave, as a fraction of where it begins."""
        return self.end_value / self.peak_value if self.peak_value else 0.0

    @property
    def _same(self) -> Join:
        warm_up = Linear(self.init_value, self.peak_value, self.warmup_steps)
        rest = self.decay_steps - self.warmup_steps
        decay = CosineDecay(self.peak_value, rest, self._alpha, self.exponent)
        return Join((warm_up, decay), (self.warmup_steps,))
