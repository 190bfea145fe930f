"""Data on the GPU, made there or copied there, and the gradient of the reference on them."""

import importlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.harness import data
from benchmarks.harness.reference import Gradient
from benchmarks.peers import Descent, Sweep
from benchmarks.peers.common import residual_power
from benchmarks.peers.cuda.cupy_peers import to_host

VAST = (8_000_000, 128)  # 4 GB of float32
_BLOCK = 2**18  # rows: 0.13 GB of float32


def load(name: str, dtype: str, quick: bool = False) -> tuple[Any, Any, str]:
    """X (n, d) and Y (n, k), and what they are: the vast problem on the GPU, others on the host."""
    if name != "vast":
        return data.load(name, dtype, quick)
    n, d = VAST[0] // 20 if quick else VAST[0], VAST[1]
    source = f"synthetic Gaussian, {n} x {d} to 1, made on the GPU"
    return *vast(importlib.import_module("cupy"), n, d, dtype), source


def vast(xp: Any, n: int, d: int, dtype: str, seed: int = 0) -> tuple[Any, Any]:
    """Gaussian X (n, d) and Y = X w + noise (n, 1), both of about unit variance, in blocks."""
    rng = xp.random.default_rng(seed)
    w = rng.standard_normal((d, 1), dtype=dtype) / d**0.5
    X, Y = xp.empty((n, d), dtype), xp.empty((n, 1), dtype)
    for rows in _blocks(n):
        count = rows.stop - rows.start
        X[rows] = rng.standard_normal((count, d), dtype=dtype)
        Y[rows] = X[rows] @ w + 0.1 * rng.standard_normal((count, 1), dtype=dtype)
    return X, Y


def brought(run: Descent | Sweep, xp: Any) -> Descent | Sweep:
    """The same with its data in the memory of `xp`, one copy for all contenders."""
    first = run.first if isinstance(run, Sweep) else run
    X, Y = xp.asarray(first.X), xp.asarray(first.Y)
    if isinstance(run, Sweep):
        return Sweep(tuple(replace(descent, X=X, Y=Y) for descent in run.descents))
    return replace(run, X=X, Y=Y)


def blocked_gradient(run: Descent, xp: Any) -> Gradient:
    """The gradient of the reference, in float64, block by block, for data that stay on the GPU."""
    n = len(run.X)

    def gradient(W: np.ndarray) -> np.ndarray:
        transposed = xp.asarray(W.T)
        total = xp.zeros(W.shape, np.float64)
        for rows in _blocks(n):
            X = run.X[rows].astype(np.float64)
            power = residual_power(X @ transposed - run.Y[rows].astype(np.float64), run.p)
            total += power.T @ X
        return run.p / n * to_host(total)

    return gradient


def _blocks(n: int) -> Iterator[slice]:
    for start in range(0, n, _BLOCK):
        yield slice(start, min(start + _BLOCK, n))
