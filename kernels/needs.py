"""Estimates of the bytes that a run takes on the host; the ``needs`` of every backend uses them."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from .specs import STATE_SLOTS, ModelSpec


class Shape(NamedTuple):
    """The shape of a problem: n samples, d features, k outputs.

    ``form`` is that of the run's ``Loss``, but "coupled" for passes over the data of a loss that
    couples the outputs. In the form "diagonal" n is d; in the forms "entries" and "measurements" n
    are the numbers seen of a matrix (k, d). A step has all rows, or so many in a ``batch``.
    """

    n: int
    d: int
    k: int
    dtype: np.dtype[Any]
    form: str
    batch: int = 0

    @property
    def rows(self) -> int:
        """Rows of a step, at most."""
        return self.batch or self.n


def useful_threads(shape: Shape, threads: int) -> int:
    """Of so many threads, those that find work."""
    row = 1 if shape.form in ("diagonal", "entries") else shape.d
    return min(threads, 1 + shape.rows * row * shape.k * shape.dtype.itemsize // 2**16)


def run_bytes(
    shape: Shape,
    models: Sequence[ModelSpec],
    records: float,
    threads: int,
    *,
    copies: tuple[int, int],
    line: int = 1,
) -> dict[str, float]:
    """Return the bytes for everything but the data, by purpose.

    Parameters
    ----------
    shape : Shape
    models : sequence of ModelSpec
        Only their widths and rules count.
    records : float
        Of the history.
    threads : int
    copies : (int, int)
        How often a model's flat factors are held, and each slot of its state: in use, in two
        snapshots, the factors as the start and the result too, and in between. With batches there
        is one more snapshot, of where a run that diverges can go back to.
    line : int
        Rows are padded to a multiple of so many elements.
    """
    _, d, k, dtype, form, _ = shape
    size, (factors, slots) = dtype.itemsize, (number + bool(shape.batch) for number in copies)
    params = products = 0
    for model in models:
        padded = sum(rows * -(-columns // line) * line for columns, rows in pairwise(model.widths))
        params += padded * (factors + slots * STATE_SLOTS[model.rule.kind])
        products += 2 * k * sum(columns + line for columns in model.widths[:-1])
        if model.entrywise is not None:  # two for every vector, not two for all
            products += 2 * (model.entrywise.vectors - 1) * (d + line)
    maps = len(models) * k * (d + line)
    threads = useful_threads(shape, threads)
    needs: dict[str, float] = {
        "parameters and optimiser state": size * params,
        "products of factors": size * products,
        "gradients": maps * (size + threads * (size + 8)),
        f"a history of {records:.3g} records": 140 * records * len(models),
    }
    if form == "gram":
        needs["the Gram matrix"] = 16 * d * (d + line)
    return needs
