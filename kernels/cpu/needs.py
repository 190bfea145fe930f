"""What a run takes of the host's memory."""

from collections.abc import Sequence

from .. import needs
from ..needs import Shape
from ..specs import ModelSpec
from .jit import LINE, row_length

TAKES_DEVICE_ARRAYS = False


def data_bytes(shape: Shape) -> dict[str, float]:
    """Return the bytes that the data take in addition to X and Y, by purpose."""
    n, d, k, dtype, gram = shape
    row, size = row_length(d, dtype), dtype.itemsize
    rows = 0.0 if row == d or gram else float(n * row * size)
    return {"a padded copy of X": rows, "a transposed copy of Y": float(n * k * size)}


def run_bytes(
    shape: Shape, models: Sequence[ModelSpec], records: float, threads: int
) -> dict[str, float]:
    """Return the bytes for everything else, by purpose."""
    line = LINE // shape.dtype.itemsize
    return needs.run_bytes(shape, models, records, threads, copies=(5, 3), line=line)
