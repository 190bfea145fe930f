"""Deep linear networks and their implicit acceleration.

The main path: data into an ``LpProblem``, a ``LinearNetwork`` to start from, an optimiser, and
``train``, which returns a ``Result``. ``optimum`` finds the loss to compare with.

Importing this package loads NumPy and nothing heavier; compiled kernels, plotting and data sets
are loaded when first used.

References
----------
Arora, Cohen, Hazan (2018), "On the Optimization of Deep Networks: Implicit Acceleration by
Overparameterization", arXiv 1802.06509.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from accel.grid import GridSearch, grid_search
from accel.network import LinearNetwork
from accel.optimizers import (
    AdaDelta,
    AdaGrad,
    Adam,
    EndToEnd,
    GradientDescent,
    Momentum,
    Nesterov,
    Optimizer,
    RMSProp,
)

# At once, not on demand: importing the submodule later would put it where the function belongs.
from accel.optimum import Optimum, optimum
from accel.problem import LpProblem, Standardized, standardize
from accel.rates import stable_rate
from accel.results import History, Result
from accel.sweep import Sweep, sweep
from accel.training import train

if TYPE_CHECKING:
    from accel import datasets, theory

__all__ = [
    "AdaDelta",
    "AdaGrad",
    "Adam",
    "EndToEnd",
    "GradientDescent",
    "GridSearch",
    "History",
    "LinearNetwork",
    "LpProblem",
    "Momentum",
    "Nesterov",
    "Optimizer",
    "Optimum",
    "RMSProp",
    "Result",
    "Standardized",
    "Sweep",
    "datasets",
    "grid_search",
    "optimum",
    "stable_rate",
    "standardize",
    "sweep",
    "theory",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in ("datasets", "theory"):
        return import_module(f"accel.{name}")
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("implicit-accel")
        except PackageNotFoundError:  # in a zip or a frozen application without its metadata
            return "unknown"
    raise AttributeError(f"module 'accel' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
