"""What a run records of its iterates, beside loss and norms: the values that ``record=`` takes.

``accel.train(..., record=["singular_values", "sharpness", f])`` takes names, names with constants
such as ``"schatten(0.5)"``, the values of this module, and functions ``f(step, network)``. What was
recorded is in ``result.history``, by name: an array whose first axis is that of
``history.step``.

Bits of a run do not depend on what is recorded, and what is recorded depends on the iterate alone.
All is computed in float64 on the host, but for passes over the data, which the run's backend makes:
loss and gradient in the dtype of the problem, second derivatives in float64.
"""

from accel._support.names import publish
from accel.recording.layers import Alignment, Balancedness, StepSize
from accel.recording.naming import NAMES, by_name
from accel.recording.others import DistanceTo, Function, LossOn, RecoveryError, Snapshots
from accel.recording.quantity import Model, Moment, Output, Quantity
from accel.recording.sharpness import EndToEndSharpness, Sharpness
from accel.recording.spectra import (
    EffectiveRank,
    NuclearNorm,
    Schatten,
    SingularValues,
    StableRank,
)

__all__ = [
    "NAMES",
    "Alignment",
    "Balancedness",
    "DistanceTo",
    "EffectiveRank",
    "EndToEndSharpness",
    "Function",
    "LossOn",
    "Model",
    "Moment",
    "NuclearNorm",
    "Output",
    "Quantity",
    "RecoveryError",
    "Schatten",
    "Sharpness",
    "SingularValues",
    "Snapshots",
    "StableRank",
    "StepSize",
    "by_name",
]

publish(__name__, globals(), __all__)
