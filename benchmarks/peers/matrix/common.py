"""What the three libraries share: which forms suit a run, and its parameters layer by layer."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.peers.common import Descent, Stepper, Sweep

#: Names of the forms of a step; the package's docstring says what they are.
END_TO_END, GRAM, LAYERWISE = "end-to-end", "Gram", "layerwise"

#: Builds each variant of a contender, by words that name it.
Variants = Mapping[str, Callable[[], Stepper]]


def multiply_adds(one: Descent, form: str) -> int:
    """Those of a step of one model in a form: what the products of matrices take."""
    if form != LAYERWISE:
        return replace(one, form="gram" if form == GRAM else "direct").multiply_adds
    layers = [rows * columns for rows, columns in itertools.pairwise(one.widths)]
    # Forward, to the weights and back to the inputs, of which the first layer's are not needed.
    return len(one.X) * (3 * sum(layers) - layers[0])


def forms(one: Descent) -> list[str]:
    """The forms that take the fewest multiply-adds: at n = d and p > 2 two take as many."""
    possible = [END_TO_END, LAYERWISE, *[GRAM] * (one.p == 2)]
    fewest = min(multiply_adds(one, form) for form in possible)
    return [form for form in possible if multiply_adds(one, form) == fewest]


def thread_words(threads: int) -> str:
    """So many threads, as the names of variants have it."""
    return f"{threads} thread{'s' * (threads > 1)}"


@dataclass(frozen=True)
class Batch:
    """One model, or the models of a sweep side by side.

    `lead` is () or (models,): the shape in front of every matrix of a model's own. `scale` is
    ``learning_rate p / n``, a scalar or (models, 1, 1).
    """

    one: Descent
    lead: tuple[int, ...]
    scale: Any
    params: np.ndarray

    @classmethod
    def of(cls, run: Descent | Sweep) -> "Batch":
        """The models of a run."""
        if isinstance(run, Descent):
            scale = run.X.dtype.type(run.learning_rate * run.p / len(run.X))
            return cls(run, (), scale, run.params)
        scale = run.rates[:, :, None] * run.X.dtype.type(run.first.p / len(run.X))
        return cls(run.first, (len(run.descents),), scale, run.params)

    def start(self) -> np.ndarray:
        """A flat copy of the parameters: all models' W_1 first, then all their W_2."""
        return np.concatenate([factor.ravel() for factor in self.one.factors(self.params)])

    def views(self, flat: np.ndarray) -> list[np.ndarray]:
        """The factors of `start`, or stacks of them, each of them contiguous."""
        shapes = [
            (*self.lead, rows, columns) for columns, rows in itertools.pairwise(self.one.widths)
        ]
        ends = list(itertools.accumulate(int(np.prod(shape)) for shape in shapes))
        parts = np.split(flat, ends[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]

    def gram(self) -> tuple[np.ndarray, np.ndarray]:
        """X'X (d, d) and Y'X (k, d), which the Gram form reads in the place of the data.

        Both have the scale in them if it is the same for all models.
        """
        XX, YX = self.one.X.T @ self.one.X, self.one.Y.T @ self.one.X
        return (XX, YX) if self.lead else (self.scale * XX, self.scale * YX)

    def scaled_data(self) -> np.ndarray:
        """X, times the scale if that is the same for all models."""
        return self.one.X if self.lead else self.scale * self.one.X
