"""What a run takes of the host's memory: the rest is on the device."""

from collections.abc import Sequence

from .. import needs
from ..needs import Shape
from ..specs import ModelSpec

TAKES_DEVICE_ARRAYS = True

#: Rows at hand, a megabyte of numbers, but of so many steps at least and at most.
_ROWS, _LEAST, _MOST = 2**18, 16, 4096


def steps_at_hand(size: int) -> int:
    """Return for how many steps a run has the rows at hand, of so many a step."""
    return min(max(_ROWS // size, _LEAST), _MOST)


def data_bytes(shape: Shape) -> dict[str, float]:
    """Return the bytes beyond X and Y: of entries, which are sorted, and of batches."""
    if shape.batch:
        rows = 4 * shape.n + steps_at_hand(shape.batch) * shape.batch
        return {"the rows of batches": float(4 * rows)}
    if shape.form == "entries":
        return {"the entries, sorted": float(shape.n * (shape.dtype.itemsize + 6 * 8))}
    return {}


def run_bytes(
    shape: Shape, models: Sequence[ModelSpec], records: float, threads: int
) -> dict[str, float]:
    """Return the bytes for everything else, by purpose; factors count as start and as result."""
    return needs.run_bytes(shape, models, records, threads, copies=(2, 0))
