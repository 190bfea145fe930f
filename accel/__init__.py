"""Deep linear networks and their implicit acceleration.

The main path: data into an ``LpProblem``, or a ``Problem`` with another loss, a ``LinearNetwork``
or a ``DiagonalNetwork`` to start from, an optimiser, and ``train``, which returns a ``Result``.
``optimum`` finds the loss to compare with.

Importing this package loads NumPy and nothing heavier; compiled kernels, plotting and data sets
are loaded when first used.

References
----------
Arora, Cohen, Hazan (2018), "On the Optimization of Deep Networks: Implicit Acceleration by
Overparameterization", arXiv 1802.06509.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from accel import tuning
from accel._core.batches import Batches
from accel._core.diagonal_network import DiagonalNetwork
from accel._core.matrix_problems import MatrixCompletion, MatrixFactorization
from accel._core.matrix_sensing import MatrixSensing
from accel._core.network import LinearNetwork
from accel._core.optimizers import (
    AdaDelta,
    AdaGrad,
    Adam,
    EndToEnd,
    GradientDescent,
    GroupRMSProp,
    Langevin,
    Momentum,
    Nesterov,
    Optimizer,
    RMSProp,
)
from accel._core.problem import LpProblem, Problem
from accel._core.scaling import Scaling
from accel._core.standardize import Standardized, standardize
from accel._optimum.any_problem import optimum
from accel._optimum.nuclear import MinimumNuclearNorm, minimum_nuclear_norm
from accel._optimum.optimum import Optimum
from accel._runs.batching import LabelNoise
from accel._runs.history import History
from accel._runs.rates import stable_rate
from accel._runs.results import Result
from accel._runs.saddles import SaddleWarning
from accel._runs.sweeping import Sweep, sweep
from accel._runs.training import train
from accel._support.names import publish
from accel.tuning.found import GridSearch
from accel.tuning.sweeps import grid_search

if TYPE_CHECKING:
    from accel import datasets, losses, recording, schedules, theory

    __version__: str

__all__ = [
    "AdaDelta",
    "AdaGrad",
    "Adam",
    "Batches",
    "DiagonalNetwork",
    "EndToEnd",
    "GradientDescent",
    "GridSearch",
    "GroupRMSProp",
    "History",
    "LabelNoise",
    "Langevin",
    "LinearNetwork",
    "LpProblem",
    "MatrixCompletion",
    "MatrixFactorization",
    "MatrixSensing",
    "MinimumNuclearNorm",
    "Momentum",
    "Nesterov",
    "Optimizer",
    "Optimum",
    "Problem",
    "RMSProp",
    "Result",
    "SaddleWarning",
    "Scaling",
    "Standardized",
    "Sweep",
    "datasets",
    "grid_search",
    "losses",
    "minimum_nuclear_norm",
    "optimum",
    "recording",
    "schedules",
    "stable_rate",
    "standardize",
    "sweep",
    "theory",
    "train",
    "tuning",
]


publish(__name__, globals(), [*__all__, "__version__"])


if not TYPE_CHECKING:  # a checker would take every name for one that is found here

    def __getattr__(name: str) -> Any:
        if name in ("datasets", "losses", "recording", "schedules", "theory"):
            return import_module(f"accel.{name}")
        if name == "__version__":
            from importlib.metadata import PackageNotFoundError, version

            try:
                return version("implicit-accel")
            except PackageNotFoundError:  # in a zip or a frozen application without its metadata
                return "unknown"
        raise AttributeError(f"module 'accel' has no attribute {name!r}")
