"""Schedules by a formula: polynomials, decays, half a wave of a cosine, inverse powers."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from accel._support import validation
from accel.kernels.reference.schedules import Segment, Term
from accel.kernels.specs import COSINE, EXPONENTIAL, INVERSE_POWER, POLYNOMIAL, STAIRCASE
from accel.schedules.schedule import Checks, OtherName, Schedule

__all__ = ["CosineDecay", "ExponentialDecay", "InversePower", "Linear", "Polynomial", "Step"]


def _ordered(a: float, b: float) -> tuple[float, float]:
    return min(a, b), max(a, b)


@dataclass(frozen=True)
class Linear(Schedule):
    """On a line from one value to another; ``optax.linear_schedule``.

    Parameters
    ----------
    init_value, end_value : float
    transition_steps : int
        From one to the other, at least 1.
    transition_begin : int
        The steps at ``init_value`` before that.

    Raises
    ------
    TypeError, ValueError
        If a parameter is no number, or out of range.
    """

    init_value: float
    end_value: float
    transition_steps: int
    transition_begin: int = 0

    @property
    def segments(self) -> list[Segment]:
        """One, of one term."""
        constants = (self.init_value, self.end_value, self.transition_steps, 1.0)
        return [(0, (Term(POLYNOMIAL, constants, self.transition_begin),))]

    @property
    def range(self) -> tuple[float, float]:
        """The two values."""
        return _ordered(self.init_value, self.end_value)


@dataclass(frozen=True)
class Polynomial(Schedule):
    r"""From one value to another by a power; ``optax.polynomial_schedule``.

    With i and e the two values, u steps after ``transition_begin`` and T ``transition_steps``, it
    is :math:`e + (i - e) (1 - u / T)^{power}`, and e from u = T on.

    Parameters
    ----------
    init_value, end_value : float
    power : float
        Above 0.
    transition_steps : int
        From one to the other, at least 1.
    transition_begin : int
        The steps at ``init_value`` before that.

    Raises
    ------
    TypeError, ValueError
        If a parameter is no number, or out of range.
    """

    init_value: float
    end_value: float
    power: float
    transition_steps: int
    transition_begin: int = 0

    @property
    def segments(self) -> list[Segment]:
        """One, of one term."""
        constants = (self.init_value, self.end_value, self.transition_steps, self.power)
        return [(0, (Term(POLYNOMIAL, constants, self.transition_begin),))]

    @property
    def range(self) -> tuple[float, float]:
        """The two values."""
        return _ordered(self.init_value, self.end_value)


def _end(name: str, value: Any) -> float | None:
    return None if value is None else validation.real(name, value)


@dataclass(frozen=True)
class ExponentialDecay(Schedule):
    r"""``optax.exponential_decay``: :math:`init\_value \cdot decay\_rate^{u / T}`.

    Here u are the steps after ``transition_begin``, and T are ``transition_steps``.

    Parameters
    ----------
    init_value : float
    transition_steps : int
        In which it falls by ``decay_rate``, at least 1.
    decay_rate : float
        Above 0. Above 1 it grows, as for a test of the range of learning rates.
    transition_begin : int
        The steps at ``init_value`` before that.
    staircase : bool
        Whether it falls at the end of each ``transition_steps`` only.
    end_value : float, optional
        The least value, or for a ``decay_rate`` of 1 and more the largest.

    Raises
    ------
    TypeError, ValueError
        If a parameter is no number, or out of range.
    """

    init_value: float
    transition_steps: int
    decay_rate: float
    transition_begin: int = 0
    staircase: bool = False
    end_value: float | None = None

    _checks: ClassVar[Checks] = {"end_value": _end}

    @property
    def _ends(self) -> tuple[float, float]:
        """The values between which it is kept."""
        end = self.end_value
        falls = self.decay_rate < 1
        least = end if falls and end is not None else -math.inf
        return least, end if not falls and end is not None else math.inf

    @property
    def segments(self) -> list[Segment]:
        """One, of one term."""
        kind = STAIRCASE if self.staircase else EXPONENTIAL
        rate = self.decay_rate if self.init_value else 1.0  # 0 times what overflows is no number
        constants = (self.init_value, rate, self.transition_steps, *self._ends)
        return [(0, (Term(kind, constants, self.transition_begin),))]

    @property
    def range(self) -> tuple[float, float]:
        """From the first value to where it tends."""
        limit = self.init_value
        if limit and self.decay_rate != 1:
            limit = 0.0 if self.decay_rate < 1 else math.copysign(math.inf, limit)
        low, high = self._ends
        a, b = (min(max(value, low), high) for value in (self.init_value, limit))
        return _ordered(a, b)


@dataclass(frozen=True)
class Step(OtherName):
    """Stairs: every so many steps the value falls by a factor; ``torch.optim.lr_scheduler.StepLR``.

    It is ``ExponentialDecay`` with ``staircase=True``.

    Parameters
    ----------
    init_value : float
    transition_steps : int
        Steps on one stair, at least 1.
    decay_rate : float
        From one stair to the next, above 0.

    Raises
    ------
    TypeError, ValueError
        If a parameter is no number, or out of range.
    """

    init_value: float
    transition_steps: int
    decay_rate: float = 0.1

    @property
    def _same(self) -> ExponentialDecay:
        return ExponentialDecay(
            self.init_value, self.transition_steps, self.decay_rate, staircase=True
        )


@dataclass(frozen=True)
class CosineDecay(Schedule):
    r"""Half a wave of a cosine; ``optax.cosine_decay_schedule``.

    At step t, of T ``decay_steps``, it is ``init_value`` times
    :math:`\alpha + (1 - \alpha) ((1 + \cos(\pi t / T)) / 2)^{exponent}`, and
    :math:`\alpha` times ``init_value`` from T on.

    Parameters
    ----------
    init_value : float
    decay_steps : int
        At least 1.
    alpha : float
        What is left at the end, as a fraction of ``init_value``.
    exponent : float
        Above 0.

    Raises
    ------
    TypeError, ValueError
        If a parameter is no number, or out of range.

    References
    ----------
    Loshchilov, Hutter (2017), "SGDR: Stochastic Gradient Descent with Warm Restarts", arXiv
    1608.03983.
    """

    init_value: float
    decay_steps: int
    alpha: float = 0.0
    exponent: float = 1.0

    @property
    def segments(self) -> list[Segment]:
        """One, of one term."""
        constants = (self.init_value, self.alpha, self.decay_steps, self.exponent)
        return [(0, (Term(COSINE, constants),))]

    @property
    def range(self) -> tuple[float, float]:
        """The first value and the last."""
        return _ordered(self.init_value, self.init_value * self.alpha)


@dataclass(frozen=True)
class InversePower(Schedule):
    r"""As an inverse power of the step: :math:`init\_value \cdot (1 + t / scale)^{-power}`.

    With ``power`` above 1/2 and at most 1 the sum of the rates is infinite and that of their
    squares is not, which stochastic approximation asks for.

    Parameters
    ----------
    init_value : float
    power : float
        Above 0.
    scale : float
        The steps until it has fallen by ``2 ** -power``, above 0.

    Raises
    ------
    TypeError, ValueError
        If a parameter is no number, or out of range.

    References
    ----------
    Robbins, Monro (1951), "A Stochastic Approximation Method", Annals of Mathematical Statistics
    22.
    """

    init_value: float
    power: float = 0.5
    scale: float = 1.0

    @property
    def segments(self) -> list[Segment]:
        """One, of one term."""
        return [(0, (Term(INVERSE_POWER, (self.init_value, self.scale, self.power)),))]

    @property
    def range(self) -> tuple[float, float]:
        """From 0 to the first value."""
        return _ordered(self.init_value, 0.0)
