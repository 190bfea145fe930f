"""What all schedules share, constants, and their products."""

import itertools
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, partial
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from accel._support import validation
from accel._support.arrays import Array
from accel._support.validation import count, integer, real
from accel.kernels.reference.schedules import Segment, Term, program_of, value
from accel.kernels.specs import CONSTANT, EXPONENTIAL, STAIRCASE

__all__ = [
    "LATEST",
    "Checks",
    "Constant",
    "OtherName",
    "Product",
    "Schedule",
    "at",
    "number_or_schedule",
    "range_of",
    "shifted",
]

#: The last step that a schedule may speak of: up to it all are exact in float64.
LATEST = 2**53

#: Checks of parameters by name: each takes the name and what is given, and returns it.
Checks = dict[str, Callable[[str, Any], Any]]

_CHECKS: Checks = {
    **dict.fromkeys(("value", "init_value", "end_value", "peak_value", "alpha"), real),
    **dict.fromkeys(("power", "exponent", "decay_rate", "scale"), partial(real, above=0)),
    **dict.fromkeys(
        ("transition_steps", "decay_steps", "warmup_steps"), partial(count, least=1, most=LATEST)
    ),
    "transition_begin": partial(count, least=0, most=LATEST),
    "staircase": validation.flag,
}


@dataclass(frozen=True)
class Schedule(ABC):
    """A constant that goes from step to step; use one of its subclasses.

    Calling a schedule with a step, or with an array of steps, returns its value there. Steps count
    from 0: the first update of a run goes by ``schedule(0)``. The product of schedules, or of a
    schedule and a number, is one, too.
    """

    _checks: ClassVar[Checks] = {}  # of parameters that the others do not have

    def __post_init__(self) -> None:
        for field in fields(self):
            check = {**_CHECKS, **self._checks}[field.name]
            object.__setattr__(self, field.name, check(field.name, getattr(self, field.name)))

    @property
    @abstractmethod
    def segments(self) -> list[Segment]:
        """What its program is made of, see ``kernels/reference/schedules.py``."""

    @property
    @abstractmethod
    def range(self) -> tuple[float, float]:
        """No value is below the first number nor above the second; they may be infinite."""

    @cached_property
    def program(self) -> Array:
        """The schedule as the kernels take it."""
        return program_of(self.segments)

    def __call__(self, step: Any) -> Any:
        """Return the value at a step, or at each of an array of steps.

        Parameters
        ----------
        step : int or (m,) array_like of int
            At least 0, at most 2**53.

        Returns
        -------
        float or (m,) float64 array

        Raises
        ------
        TypeError, ValueError
            If it is no such integer, or not an array of them.
        """
        if np.ndim(step) == 0:
            return float(value(self.program, [integer("step", step, least=0, most=LATEST)])[0])
        steps = validation.numeric("step", step, ndim=(1,))
        if steps.dtype.kind not in "iu":
            raise TypeError(f"step must hold integers, got dtype {steps.dtype}")
        for extreme in (steps.min(), steps.max()):
            integer("step", int(extreme), least=0, most=LATEST)
        return value(self.program, steps)

    def __mul__(self, other: object) -> "Product":
        factor = _factor(other)
        return NotImplemented if factor is None else Product((self, factor))

    def __rmul__(self, other: object) -> "Product":
        factor = _factor(other)
        return NotImplemented if factor is None else Product((factor, self))


@dataclass(frozen=True)
class OtherName(Schedule):
    """A schedule that is another one, under a name and with parameters of its own."""

    @property
    @abstractmethod
    def _same(self) -> Schedule:
        """The other one."""

    @property
    def segments(self) -> list[Segment]:
        """Those of the other one."""
        return self._same.segments

    @property
    def range(self) -> tuple[float, float]:
        """That of the other one."""
        return self._same.range


@dataclass(frozen=True)
class Constant(Schedule):
    """The same value at every step.

    Parameters
    ----------
    value : float

    Raises
    ------
    TypeError, ValueError
        If it is no finite number.
    """

    value: float

    @property
    def segments(self) -> list[Segment]:
        """One, of one term."""
        return [(0, (Term(CONSTANT, (self.value,)),))]

    @property
    def range(self) -> tuple[float, float]:
        """The value."""
        return self.value, self.value


def _factor(other: object) -> Schedule | None:
    """What a schedule is multiplied by, as a schedule; None if it is neither that nor a number."""
    if isinstance(other, Schedule):
        return other
    if isinstance(other, bool) or not isinstance(other, Real):
        return None
    return Constant(real("value", other))


def all_schedules(name: str, given: Any) -> tuple[Schedule, ...]:
    """Check a sequence of schedules."""
    listed = validation.members(name, given, "schedules")
    for i, schedule in enumerate(listed):
        if not isinstance(schedule, Schedule):
            raise TypeError(
                f"{name}[{i}] must be of accel.schedules, got {validation.shown(schedule)}"
            )
    return tuple(listed)


def _ended(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    """Return the terms of a product, those that grow without bound last and with an end.

    The end is the largest number that there is. What overflows would be inf, and where another term
    is 0 the product no number.
    """
    most, bounded, growing = sys.float_info.max, [], []
    for term in terms:
        if term.kind in (EXPONENTIAL, STAIRCASE):
            init, rate, steps, least, largest = term.constants
            if rate > 1 and (largest >= most if init > 0 else least <= -most):
                ends = max(least, -most), min(largest, most)
                growing.append(term._replace(constants=(init, rate, steps, *ends)))
                continue
        bounded.append(term)
    return (*bounded, *growing)


def _times(a: float, b: float) -> float:
    """The product of two ends of ranges: what is 0 stays 0 beside what has no bound."""
    return a * b if a and b else 0.0


@dataclass(frozen=True)
class Product(Schedule):
    """The product of schedules; ``a * b``, ``0.1 * a`` make one.

    Where one factor is 0 the product is, whatever the others have grown to.

    Parameters
    ----------
    factors : sequence of Schedule
        At least one.

    Raises
    ------
    TypeError, ValueError
        If there is none, or one is no schedule, or if those with a bound have a product without.
    """

    factors: tuple[Schedule, ...]

    _checks: ClassVar[Checks] = {"factors": all_schedules}

    def __post_init__(self) -> None:
        super().__post_init__()
        if math.inf in map(abs, self.range) and math.inf not in self._bounds:
            raise ValueError(
                "factors must have a product below the largest number, got values of up to "
                f"{', '.join(f'{bound:g}' for bound in self._bounds)}"
            )

    @property
    def _bounds(self) -> list[float]:
        """How large every factor may be."""
        return [max(map(abs, factor.range)) for factor in self.factors]

    @property
    def segments(self) -> list[Segment]:
        """Where a factor begins a segment, the product does."""
        listed = [factor.segments for factor in self.factors]
        begins = sorted({begin for segments in listed for begin, _ in segments})
        places = [0] * len(listed)
        made, ended = [], self._may_be_0_times_inf
        for begin in begins:
            for i, segments in enumerate(listed):
                while places[i] + 1 < len(segments) and segments[places[i] + 1][0] <= begin:
                    places[i] += 1
            own = (segments[place][1] for segments, place in zip(listed, places, strict=True))
            terms = tuple(itertools.chain.from_iterable(own))
            made.append((begin, _ended(terms) if ended else terms))
        return made

    @property
    def _may_be_0_times_inf(self) -> bool:
        ranges = [factor.range for factor in self.factors]
        return math.inf in self._bounds and any(low <= 0 <= high for low, high in ranges)

    @property
    def range(self) -> tuple[float, float]:
        """A bound: that of the product of the ranges, which need not be reached."""
        low = high = 1.0
        for factor in self.factors:
            ends = [_times(a, b) for a in (low, high) for b in factor.range]
            low, high = min(ends), max(ends)
        return low, high


def _advice(value: object) -> str:
    """The end of a message about what is neither a number nor a schedule, but may be meant so."""
    if not callable(value) and (isinstance(value, str | bytes) or not hasattr(value, "__len__")):
        return "; a schedule of accel.schedules may stand here, too"
    return (
        "; a schedule of accel.schedules may stand here, too: "
        "PiecewiseConstant(range(1, n), values) has values[t], of n, at step t"
    )


def number_or_schedule(name: str, value: object, *, below: float = math.inf) -> float | Schedule:
    """Check a number of at least 0, or a schedule that has no others."""
    if not isinstance(value, Schedule):
        try:
            return real(name, value, least=0, below=below if below < math.inf else None)
        except TypeError as error:
            raise TypeError(f"{error}{_advice(value)}") from None
    least, most = value.range
    if not least >= 0 or (below < math.inf and not most < below):
        wanted = "" if below == math.inf else f" and < {below:g}"
        raise ValueError(
            f"{name} must be >= 0{wanted} at every step, got {validation.shown(value)}, "
            f"which goes from {least:g} to {most:g}"
        )
    return value


def at(constant: float | Schedule, step: int) -> float:
    """Return the value at a step of what may be scheduled."""
    return float(constant(step)) if isinstance(constant, Schedule) else constant


def range_of(constant: float | Schedule) -> tuple[float, float]:
    """Return the least and the largest value of what may be scheduled."""
    return constant.range if isinstance(constant, Schedule) else (constant, constant)


def shifted(segments: Sequence[Segment], begin: int) -> list[Segment]:
    """Return segments whose time begins at a step."""
    return [
        (first + begin, tuple(term._replace(begin=term.begin + begin) for term in terms))
        for first, terms in segments
    ]
