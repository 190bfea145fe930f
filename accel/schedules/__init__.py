"""Schedules: what a learning rate, a weight decay or a momentum is from step to step.

A schedule is a small value, such as ``CosineDecay(0.1, 1000)``, that every optimiser takes as its
``learning_rate`` and ``weight_decay``, ``Momentum`` and ``Nesterov`` as their ``momentum``, and
``Langevin`` as its ``temperature``. Steps count from 0. Names and parameters are those of ``optax``
where it has the schedule, and so are the values.
"""

from accel._support.names import publish
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

__all__ = [
    "Constant",
    "CosineDecay",
    "ExponentialDecay",
    "InversePower",
    "Join",
    "Linear",
    "PiecewiseConstant",
    "PiecewiseInterpolate",
    "Polynomial",
    "Product",
    "Schedule",
    "Step",
    "WarmupConstant",
    "WarmupCosineDecay",
]

publish(__name__, globals(), __all__)
