"""Schedules from arrays: constant between steps that are given, or interpolated."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property, partial
from typing import Any, ClassVar, Self

import numpy as np

from accel._support import validation
from accel._support.arrays import Array
from accel.kernels.reference.schedules import Segment, Term
from accel.kernels.specs import LINES_OF_TABLE, STEPS_OF_TABLE, WAVES_OF_TABLE
from accel.schedules.schedule import LATEST, Checks, Schedule

__all__ = ["PiecewiseConstant", "PiecewiseInterpolate"]

_SHOWN = 16  # numbers of an array that a repr shows


def ascending(name: str, given: Any) -> tuple[int, ...]:
    """Check steps, of which each is at least 1 and above the one before."""
    steps = validation.numeric(name, given, ndim=(1,))
    if steps.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers, got dtype {steps.dtype}")
    if steps[0] < 1 or steps[-1] > LATEST or (steps[1:] <= steps[:-1]).any():
        raise ValueError(f"{name} must be at least 1 and ascend, got {validation.shown(given)}")
    return tuple(steps.tolist())


def _numbers(name: str, given: Any) -> tuple[float, ...]:
    values = validation.numeric(name, given, ndim=(1,)).astype(np.float64)
    validation.all_finite(name, values)
    return tuple(values.tolist())


def _text(numbers: tuple[float, ...]) -> str:
    """Numbers as a repr shows them: of many a digest, by which runs are told apart."""
    if len(numbers) <= _SHOWN:
        return repr(numbers)
    digest = hashlib.sha256(np.asarray(numbers).tobytes()).hexdigest()
    return f"<{len(numbers)} numbers, {digest[:16]}>"


@dataclass(frozen=True, repr=False)
class _Table(Schedule):
    """What both share."""

    boundaries: tuple[int, ...]
    values: tuple[float, ...]

    _checks: ClassVar[Checks] = {"boundaries": ascending, "values": _numbers}

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.values) != len(self.boundaries) + 1:
            raise ValueError(
                f"values must be one more than boundaries, got {len(self.values)} and "
                f"{len(self.boundaries)}"
            )

    def __repr__(self) -> str:
        shown = [getattr(self, field.name) for field in fields(self)]
        texts = [_text(part) if isinstance(part, tuple) else repr(part) for part in shown]
        named = (f"{f.name}={text}" for f, text in zip(fields(self), texts, strict=True))
        return f"{type(self).__name__}({', '.join(named)})"

    @cached_property
    def _table(self) -> Array:
        return np.array([*self.boundaries, *self.values], np.float64)

    @property
    def range(self) -> tuple[float, float]:
        """The least and the largest of the values."""
        return min(self.values), max(self.values)

    @classmethod
    def from_scales(
        cls, init_value: float, boundaries_and_scales: Mapping[int, float], *constants: Any
    ) -> Self:
        """Make it as optax does: at each boundary the value is multiplied by what stands there.

        Parameters
        ----------
        init_value : float
        boundaries_and_scales : mapping of int to float
            At least one step; factors of the value.
        *constants
            Further parameters.
        """
        init_value = validation.real("init_value", init_value)
        if not isinstance(boundaries_and_scales, Mapping):
            raise TypeError(
                "boundaries_and_scales must be a mapping, "
                f"got {validation.shown(boundaries_and_scales)}"
            )
        given = sorted(boundaries_and_scales.items())
        scales = _numbers("boundaries_and_scales", [scale for _, scale in given])
        with np.errstate(over="ignore"):  # refused in the next line
            products = np.cumprod([init_value, *scales])
        values = _numbers("boundaries_and_scales", products)
        return cls(ascending("boundaries", [step for step, _ in given]), values, *constants)


@dataclass(frozen=True, repr=False)
class PiecewiseConstant(_Table):
    """Constant between boundaries; ``optax.piecewise_constant_schedule`` by values.

    Parameters
    ----------
    boundaries : (m,) array_like of int
        Steps, ascending, at least 1: the first at which the next value holds.
    values : (m + 1,) array_like of float
        The first holds from step 0 on.

    Raises
    ------
    TypeError, ValueError
        If they are no such arrays.

    See Also
    --------
    from_scales : the same by factors from value to value, as optax takes them.
    """

    @property
    def segments(self) -> list[Segment]:
        """One, of a table."""
        return [(0, (Term(STEPS_OF_TABLE, (), 0, self._table),))]


@dataclass(frozen=True, repr=False)
class PiecewiseInterpolate(_Table):
    """From value to value; ``optax.piecewise_interpolate_schedule`` by values.

    Parameters
    ----------
    boundaries : (m,) array_like of int
        Steps, ascending, at least 1, at which all values but the first are reached.
    values : (m + 1,) array_like of float
        The first is that of step 0, and the last holds from the last boundary on.
    interpolate_type : {"linear", "cosine"}
        On lines, or on half waves of a cosine.

    Raises
    ------
    TypeError, ValueError
        If they are no such arrays.

    See Also
    --------
    from_scales : the same by factors from value to value, as optax takes them.
    """

    interpolate_type: str = "linear"

    _checks: ClassVar[Checks] = {
        **_Table._checks,
        "interpolate_type": partial(validation.choice, options=("linear", "cosine")),
    }

    @property
    def segments(self) -> list[Segment]:
        """One, of a table."""
        kind = LINES_OF_TABLE if self.interpolate_type == "linear" else WAVES_OF_TABLE
        return [(0, (Term(kind, (), 0, self._table),))]
