"""What is recorded, in one algebra for all libraries, and Lanczos's method."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from benchmarks.peers.common import (
    Descent,
    absolute_power,
    factor_gradients,
    residual_power,
    suffix_products,
)

#: What costs little: a decomposition, some products of matrices, two passes over data.
CHEAP = (
    "singular_values",
    "effective_rank",
    "stable_rank",
    "nuclear_norm",
    "schatten(0.5)",
    "balancedness",
    "alignment",
    "step_size",
    "distance",
    "validation_loss",
)
#: Passes over the data of a record of the sharpness, at most.
PASSES = 30

#: A record of the flat parameters, by name; a number for the sharpness.
Cheap = Callable[[np.ndarray], dict[str, np.ndarray]]
Sharpness = Callable[[np.ndarray], float]


class Recorders(NamedTuple):
    """The variants of both kinds of records, by words that name them."""

    cheap: Mapping[str, Cheap]
    sharpness: Mapping[str, Sharpness]


@dataclass(frozen=True)
class Recording:
    """A run, held-out data X (n, d) and Y (n, k), and a known matrix (k, d)."""

    run: Descent
    X: Any
    Y: Any
    known: Any

    def moved(self, move: Callable[[np.ndarray], Any]) -> "Recording":
        """The same with all arrays but the start in a library's own kind."""
        run = replace(self.run, X=move(self.run.X), Y=move(self.run.Y))
        return Recording(run, move(self.X), move(self.Y), move(self.known))


def quantities(
    xp: Any, singular_values: Callable[[Any], Any], recording: Recording, factors: list[Any]
) -> dict[str, Any]:
    """All of `CHEAP` in a library whose namespace is `xp`, each product of matrices once."""
    run, norm = recording.run, xp.linalg.norm
    suffixes = suffix_products(factors)
    W = suffixes[0]
    size = norm(W)
    values = singular_values(W)
    shares = values / values.sum()
    pairs = xp.stack(
        [norm(above.T @ above - below @ below.T) for below, above in itertools.pairwise(factors)]
    )
    G = residual_power(run.X @ W.T - run.Y, run.p).T @ run.X
    # <W, S S' W T'T> is the square of the norm of S' W T'.
    moved = sum((block * block).sum() for block in factor_gradients(factors, suffixes, W))
    held_out = recording.X @ W.T - recording.Y
    return {
        "singular_values": values,
        "effective_rank": xp.exp(-(shares * xp.log(shares)).sum()),
        "stable_rank": (values * values).sum() / values[0] ** 2,
        "nuclear_norm": values.sum(),
        "schatten(0.5)": (values**0.5).sum() ** 2,
        "balancedness": pairs.max(),
        "balancedness_layers": pairs,
        "alignment": (G * W).sum() / (norm(G) * size),
        "step_size": run.learning_rate * moved / size**2,
        "distance": norm(W - recording.known),
        "validation_loss": absolute_power(held_out, run.p).sum() / len(recording.X),
    }


def network_loss(run: Descent, factors: list[Any]) -> Any:
    """The loss in the factors, for a library to differentiate."""
    W = suffix_products(factors)[0]
    return absolute_power(run.X @ W.T - run.Y, run.p).sum() / len(run.X)


def start_of(size: int) -> np.ndarray:
    """Random numbers that Lanczos's method starts from, together with the gradient."""
    return np.random.default_rng(0).standard_normal(size)


def largest_eigenvalue(
    product: Callable[[Any], Any], start: Any, gradient: Any, basis: Any
) -> float:
    """By Lanczos's method, with as many products as the empty `basis` has rows.

    Arrays are NumPy's or PyTorch's.
    """
    norm = float(start @ start) ** 0.5
    q = start + gradient * (norm / float(gradient @ gradient) ** 0.5)
    q = q / float(q @ q) ** 0.5
    diagonal, beside = np.zeros(len(basis)), np.zeros(len(basis))
    for j in range(len(basis)):
        basis[j] = q
        w = product(q)
        diagonal[j] = float(q @ w)
        known = basis[: j + 1]
        w = w - (known @ w) @ known
        beside[j] = float(w @ w) ** 0.5
        q = w / beside[j]
    T = np.diag(diagonal) + np.diag(beside[:-1], 1) + np.diag(beside[:-1], -1)
    return float(np.linalg.eigvalsh(T)[-1])
