"""What a run takes of the host's memory: NumPy's intermediate results are a part of it."""

from collections.abc import Sequence

from .. import needs
from ..needs import Shape
from ..specs import ModelSpec

TAKES_DEVICE_ARRAYS = False


def data_bytes(shape: Shape) -> dict[str, float]:
    """Bytes that the data take in addition to X and Y, by purpose.

    Parameters
    ----------
    shape : Shape

    Returns
    -------
    dict of str to float
    """
    columns = 1 if shape.form in ("entries", "measurements") else shape.k
    return {"residuals": 4.0 * shape.n * columns * shape.dtype.itemsize}


def run_bytes(
    shape: Shape, models: Sequence[ModelSpec], records: float, threads: int
) -> dict[str, float]:
    """Bytes for everything else, by purpose.

    Parameters
    ----------
    shape : Shape
    models : sequence of ModelSpec
        Only their widths and rules count.
    records : float
        Of the history.
    threads : int

    Returns
    -------
    dict of str to float
    """
    return needs.run_bytes(shape, models, records, threads, copies=(9, 3))
