"""NumPy: records on the host, a variant of both peers, and the reference for all."""

import numpy as np

from benchmarks.peers.common import factor_gradients, flat, residual_power, suffix_products
from benchmarks.peers.recording.common import (
    PASSES,
    Cheap,
    Recording,
    largest_eigenvalue,
    quantities,
    start_of,
)


def numpy_cheap(recording: Recording) -> Cheap:
    def singular_values(W: np.ndarray) -> np.ndarray:
        return np.linalg.svd(W, compute_uv=False)

    def record(params: np.ndarray) -> dict[str, np.ndarray]:
        return quantities(np, singular_values, recording, recording.run.factors(params))

    return record


def numpy_records(recording: Recording, steps: int, every: int) -> dict[str, np.ndarray]:
    """What plain float64 NumPy records of its own descent, at every so many steps and the last.

    Of the sharpness it records what Lanczos's method has after as many products as the contenders'
    may make, here differences of gradients: where that is not yet the eigenvalue, it is not theirs.
    """
    run, cheap = recording.run, numpy_cheap(recording)
    params = run.params.astype(np.float64)
    records = []
    for step in range(steps + 1):
        if step % every == 0 or step == steps:
            records.append(cheap(params) | {"sharpness": _sharpness(recording, params)})
        params = params - run.learning_rate * _gradient(recording, params)
    return {name: np.array([record[name] for record in records]) for name in records[0]}


def _gradient(recording: Recording, params: np.ndarray) -> np.ndarray:
    run = recording.run
    factors = run.factors(params)
    suffixes = suffix_products(factors)
    G = run.p / len(run.X) * (residual_power(run.X @ suffixes[0].T - run.Y, run.p).T @ run.X)
    return flat(factor_gradients(factors, suffixes, G))


def _sharpness(recording: Recording, params: np.ndarray) -> float:
    width = 1e-5 * float(np.linalg.norm(params))

    def product(direction: np.ndarray) -> np.ndarray:
        ahead, behind = (
            _gradient(recording, params + sign * width * direction) for sign in (1, -1)
        )
        return (ahead - behind) / (2 * width)

    basis = np.empty((min(PASSES - 1, params.size), params.size))
    gradient = _gradient(recording, params)
    return largest_eigenvalue(product, start_of(params.size), gradient, basis)
