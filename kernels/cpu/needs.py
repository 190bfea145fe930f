"""What a run takes of the host's memory."""

from collections.abc import Sequence

from .. import needs
from ..needs import Shape
from ..specs import ModelSpec
from .columns import fits, row_lanes
from .jit import LINE, lanes_for, padded, row_length
from .many_maps import tile_rows, work_size

TAKES_DEVICE_ARRAYS = False


def data_bytes(shape: Shape) -> dict[str, float]:
    """Return the bytes that the data take in addition to X and Y, by purpose.

    X and Y are contiguous and start on cache lines, as ``LpProblem`` lays them out.
    """
    n, d, k, dtype, form = shape
    if form == "diagonal":
        return {"a copy of the diagonal": 8.0 * (k + 1) * row_length(d, dtype)}
    if k == 1 and form == "direct" and fits(n, d, dtype):
        rows = padded(n, row_lanes(n, dtype))
        return {"a copy of the data by columns": float(rows * (d + 1) * dtype.itemsize)}
    row = row_length(d, dtype)
    copied = form == "direct" and row != d
    return {"a padded copy of X": float(n * row * dtype.itemsize) if copied else 0.0}


def run_bytes(
    shape: Shape, models: Sequence[ModelSpec], records: float, threads: int
) -> dict[str, float]:
    """Return the bytes for everything else, by purpose."""
    n, d, k, dtype, form = shape
    bytes_of = needs.run_bytes(
        shape, models, records, threads, copies=(5, 3), line=LINE // dtype.itemsize
    )
    columns = len(models) * k
    if columns > 1 and form == "direct" and not (k == 1 and fits(n, d, dtype)):
        lanes, row = lanes_for(d, dtype), row_length(d, dtype)
        work = work_size(columns, row, tile_rows(lanes), lanes)
        each = dtype.itemsize * work
        bytes_of["panels of maps"] = each * needs.useful_threads(shape, threads)
    return bytes_of
