"""What a run takes of the host's memory: the rest is on the device."""

from collections.abc import Sequence

from .. import needs
from ..needs import Shape
from ..specs import ModelSpec

TAKES_DEVICE_ARRAYS = True


def data_bytes(shape: Shape) -> dict[str, float]:
    """Return an empty dict: beyond X and Y the data take no memory of the host."""
    return {}


def run_bytes(
    shape: Shape, models: Sequence[ModelSpec], records: float, threads: int
) -> dict[str, float]:
    """Return the bytes for everything else, by purpose; factors count as start and as result."""
    return needs.run_bytes(shape, models, records, threads, copies=(2, 0))
