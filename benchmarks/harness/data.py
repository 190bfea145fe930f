"""The data of the cases, aligned so that every library reads them at full speed."""

import functools
import importlib.util
import os

import numpy as np

from accel import datasets
from accel._support.arrays import aligned_empty
from benchmarks import ROOT

#: n, d and k of the named problems.
SHAPES = {
    "gas": (2565, 128, 1),
    "tall": (10**6, 128, 1),
    "outputs": (10**5, 256, 32),
    "diabetes": (442, 10, 1),
}


def find_gas() -> str | None:
    """Path of the gas data: what `ACCEL_DATA` names, else a copy beside the checkout, if any."""
    shared = ROOT.parent / "shared" / "data" / "gas_ethanol.npz"
    return os.environ.get("ACCEL_DATA") or (str(shared) if shared.is_file() else None)


@functools.lru_cache(maxsize=1)  # the tall case is half a gigabyte: keep one problem at a time
def load(name: str, dtype: str, quick: bool = False) -> tuple[np.ndarray, np.ndarray, str]:
    """X (n, d) and Y (n, k), 64-byte aligned for every contender, and what they are.

    The name is that of a known problem or a shape: ``"442x10"``, or ``"442x10x3"`` with k = 3.
    The two points are as they are in the paper, all other data standardised.
    """
    if name == "two-points":
        points = datasets.two_points(10.0, 1.0)
        arrays = (_aligned(a, dtype) for a in (points.X, points.y[:, None]))
        return *arrays, "two points on the axes, 2 x 2, targets 10 and 1"
    if name == "gas" and (path := find_gas()) is not None:
        gas = datasets.load_gas_ethanol(path)
        X, Y = gas.X.astype(np.float64), gas.y.astype(np.float64)[:, None]
        source = "the gas problem, 2565 x 128, standardised"
    elif name == "diabetes" and importlib.util.find_spec("sklearn"):
        diabetes = datasets.load_diabetes()
        X, Y = diabetes.X, diabetes.y[:, None]
        source = "scikit-learn's diabetes data, 442 x 10, standardised"
    else:
        n, d, k = SHAPES.get(name) or (*map(int, name.split("x")), 1)[:3]
        n = n // 20 if quick and n > 10_000 else n
        rng = np.random.default_rng(0)
        X = rng.standard_normal((n, d), dtype=np.float32)
        Y = X @ rng.standard_normal((d, k), dtype=np.float32) / d**0.5
        Y += 0.1 * rng.standard_normal((n, k), dtype=np.float32)
        source = f"synthetic Gaussian, {n} x {d} to {k}, standardised"
    return _standardised(X, dtype), _standardised(Y, dtype), source


def _aligned(values: np.ndarray, dtype: str) -> np.ndarray:
    result = aligned_empty(values.shape, np.dtype(dtype))
    result[:] = values
    return result


def _standardised(values: np.ndarray, dtype: str) -> np.ndarray:
    mean = values.mean(axis=0, dtype=np.float64)
    std = values.std(axis=0, dtype=np.float64)
    result = aligned_empty(values.shape, np.dtype(dtype))
    # In blocks: no float64 copy of half a gigabyte of float32.
    for start in range(0, len(values), 4096):
        block = slice(start, start + 4096)
        result[block] = (values[block] - mean) / std
    return result
