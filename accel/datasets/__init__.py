"""Data sets: those of the paper and of scikit-learn, synthetic ones, and your own files."""

from accel._support.names import publish
from accel.datasets.loaders import (
    Dataset,
    load_diabetes,
    load_file,
    load_gas_ethanol,
    make_ill_conditioned,
    two_points,
)
from accel.datasets.low_rank import LowRank, make_low_rank

__all__ = [
    "Dataset",
    "LowRank",
    "load_diabetes",
    "load_file",
    "load_gas_ethanol",
    "make_ill_conditioned",
    "make_low_rank",
    "two_points",
]

publish(__name__, globals(), __all__)
