"""Schedules in a file: by name, with their constants."""

from dataclasses import fields
from typing import Any

from accel._support import validation
from accel.schedules.curves import (
    CosineDecay,
    ExponentialDecay,
    InversePower,
    Linear,
    Polynomial,
    Step,
)
from accel.schedules.joins import Join, WarmupConstant, WarmupCosineDecay
from accel.schedules.schedule import Constant, Product, Schedule
from accel.schedules.tables import PiecewiseConstant, PiecewiseInterpolate

__all__ = ["SCHEDULES", "described", "from_described"]

#: Every schedule by the name of its class.
SCHEDULES: dict[str, type[Schedule]] = {
    kind.__name__: kind
    for kind in (
        Constant, CosineDecay, ExponentialDecay, InversePower, Join, Linear, PiecewiseConstant,
        PiecewiseInterpolate, Polynomial, Product, Step, WarmupConstant, WarmupCosineDecay,
    )
}  # fmt: skip


def described(value: Any) -> Any:
    """Return a schedule as JSON can hold it, and anything else as it is."""
    if isinstance(value, tuple):
        return [described(part) for part in value]
    if not isinstance(value, Schedule):
        return value
    constants = {field.name: described(getattr(value, field.name)) for field in fields(value)}
    return {"schedule": type(value).__name__, **constants}


def from_described(value: Any) -> Any:
    """Return what ``described`` was given; lists for tuples.

    Raises
    ------
    TypeError, ValueError
        If there is no such schedule, or its constants are wrong.
    """
    if isinstance(value, list):
        return [from_described(part) for part in value]
    if not isinstance(value, dict):
        return value
    constants = {str(name): from_described(part) for name, part in value.items()}
    kind = SCHEDULES[validation.choice("schedule", constants.pop("schedule", None), SCHEDULES)]
    return kind(**constants)
