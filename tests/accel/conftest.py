"""The real data: the gas-sensor Ethanol problem, standardised, where it can be had."""

import os
from pathlib import Path

import pytest

from accel import LpProblem, optimum, standardize
from accel.datasets import load_gas_ethanol

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "gas_ethanol.npz"


@pytest.fixture(scope="session")
def gas():
    """X (2565, 128) and y (2565,), zero mean and unit variance, float64."""
    path = os.environ.get("ACCEL_DATA") or SHARED
    if not Path(path).exists():
        pytest.skip("the gas data is neither at ACCEL_DATA nor at ../shared/data")
    data = load_gas_ethanol(path)
    return standardize(data.X, data.y)


@pytest.fixture(scope="session")
def gas_l4(gas):
    """The l4 problem of the paper's figures and its optimal loss."""
    problem = LpProblem(gas.X, gas.y, p=4)
    return problem, optimum(problem).loss
