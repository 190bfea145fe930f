"""What a run takes of the host's memory: the rest is on the device."""

from collections.abc import Sequence

from .. import needs
from ..needs import Shape
from ..specs import ModelSpec

TAKES_DEVICE_ARRAYS = True


def data_bytes(shape: Shape) -> dict[str, float]:
    """Bytes for the data beside X and Y, by what they are for: none."""
    return {}


def run_bytes(
    shape: Shape, models: Sequence[ModelSpec], records: float, threads: int
) -> dict[str, float]:
    """Bytes for everything else, by what they are for: of factors the start and the result."""
    return needs.run_bytes(shape, models, records, threads, copies=_copies)


def _copies(slots: int) -> int:
    return 2
