"""What a run takes of the host's memory: the rest is on the device."""

from collections.abc import Sequence

from .. import needs
from ..needs import Shape
from ..specs import ModelSpec

TAKES_DEVICE_ARRAYS = True


def data_bytes(shape: Shape) -> dict[str, float]:
    """Return the bytes beyond X and Y: of entries, which are sorted here; of other data none."""
    if shape.form == "entries":
        return {"the entries, sorted": float(shape.n * (shape.dtype.itemsize + 6 * 8))}
    return {}


def run_bytes(
    shape: Shape, models: Sequence[ModelSpec], records: float, threads: int
) -> dict[str, float]:
    """Return the bytes for everything else, by purpose; factors count as start and as result."""
    return needs.run_bytes(shape, models, records, threads, copies=(2, 0))
