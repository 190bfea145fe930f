"""What a run takes of the host's memory."""

from collections.abc import Sequence

from .. import needs
from ..needs import Shape
from ..specs import END_TO_END, GROUP_RMSPROP, STATE_SLOTS, ModelSpec
from .columns import fits, row_lanes
from .coupled import work_size as coupled_work_size
from .factor_chain import Layout
from .jit import LINE, lanes_for, padded, row_length
from .many_maps import tile_rows, work_size
from .precondition import work_size as precondition_size
from .tape import numbers_of
from .wide_pass import is_wide, wide_lanes, wide_sums_size
from .wide_sampled import work_size as sampled_size

TAKES_DEVICE_ARRAYS = False


def data_bytes(shape: Shape) -> dict[str, float]:
    """Return the bytes that the data take in addition to X and Y, by purpose.

    X and Y are contiguous and start on cache lines, as ``LpProblem`` lays them out.
    """
    bytes_of = _data_bytes(shape)
    if shape.batch:
        bytes_of |= {"the rows of batches": float(4 * (4 * shape.n + numbers_of(shape.batch)))}
    return bytes_of


def _data_bytes(shape: Shape) -> dict[str, float]:
    n, d, k, dtype, form, _ = shape
    if is_wide(shape.rows, d, k, dtype, form):
        row = padded(d, wide_lanes(d, k, dtype))
        copied = form == "direct" and row != d
        bytes_of = {"a padded copy of X": float(n * row * dtype.itemsize) if copied else 0.0}
        if form == "entries":
            size = n * (dtype.itemsize + 4 * 8) + 8 * (k + d + 4 * LINE)
            return {"the entries, sorted": float(size)}
        if form != "direct":
            bytes_of["a copy of the targets"] = float(row * (k + LINE) * dtype.itemsize)
        return bytes_of
    if form == "measurements":
        row = row_length(d, dtype)
        copied = float(n * k * row * dtype.itemsize) if row != d else 0.0
        return {"a padded copy of the measurements": copied}
    if form == "diagonal":
        return {"a copy of the diagonal": 8.0 * (k + 1) * row_length(d, dtype)}
    if k == 1 and form == "direct" and fits(n, d, dtype) and not shape.batch:
        rows = padded(n, row_lanes(n, dtype))
        return {"a copy of the data by columns": float(rows * (d + 1) * dtype.itemsize)}
    row = row_length(d, dtype)
    copied = form in ("direct", "coupled") and row != d
    return {"a padded copy of X": float(n * row * dtype.itemsize) if copied else 0.0}


def run_bytes(
    shape: Shape, models: Sequence[ModelSpec], records: float, threads: int
) -> dict[str, float]:
    """Return the bytes for everything else, by purpose."""
    n, d, k, dtype, form, _ = shape
    bytes_of = needs.run_bytes(
        shape, models, records, threads, copies=(5, 3), line=LINE // dtype.itemsize
    )
    columns = len(models) * k
    if shape.batch:
        own = tile_rows(lanes_for(d, dtype)) * row_length(d, dtype) + shape.batch * k
        bytes_of["the rows of batches, copied"] = float(threads * dtype.itemsize * own)
        # Ranks divide the epochs whose rows are made, and one is counted with the data.
        epochs = numbers_of(shape.batch) // n + 1
        bytes_of["the rows of other epochs"] = float(8 * n * (min(threads, epochs) - 1))
    if is_wide(shape.rows, d, k, dtype, form):
        bytes_of |= _wide_bytes(shape, models, threads)
    elif form == "coupled":
        lanes, row = lanes_for(d, dtype), row_length(d, dtype)
        work = coupled_work_size(columns, k, row, tile_rows(lanes), lanes)
        bytes_of["panels of maps"] = (
            float(dtype.itemsize) * work * needs.useful_threads(shape, threads)
        )
    elif form == "measurements" and len(models) > 1:
        lanes, row = lanes_for(d, dtype), k * row_length(d, dtype)
        each = dtype.itemsize * work_size(len(models), row, tile_rows(lanes), lanes)
        bytes_of["panels of maps"] = each * needs.useful_threads(shape, threads)
    elif columns > 1 and form == "direct" and (shape.batch or not (k == 1 and fits(n, d, dtype))):
        lanes, row = lanes_for(d, dtype), row_length(d, dtype)
        work = work_size(columns, row, tile_rows(lanes), lanes)
        each = dtype.itemsize * work
        bytes_of["panels of maps"] = each * needs.useful_threads(shape, threads)
    return bytes_of


def _wide_bytes(shape: Shape, models: Sequence[ModelSpec], threads: int) -> dict[str, float]:
    """Return the bytes of what networks with many outputs hold otherwise, or in addition."""
    _, d, k, dtype, form, _ = shape
    lanes, size = wide_lanes(d, k, dtype), dtype.itemsize
    row, factors, products, scratch = padded(d, lanes), 0, 0, 0
    rows = max(sum(model.widths[1:]) for model in models)
    for model in models:
        layout = Layout(tuple(model.widths), dtype, lanes, wide=True)
        kind, hyper, _ = model.rule
        factors += layout.n_params * (5 + 3 * STATE_SLOTS[kind] + (kind == GROUP_RMSPROP))
        products += layout.n_products
        if kind == END_TO_END:
            scratch = max(scratch, 8 * precondition_size(k, d, int(hyper[2])) + size * k * row)
    ranks = min(threads, len(models))
    sampled = max(sum(sampled_size(tuple(model.widths), lanes)) for model in models)
    bytes_of = {
        "parameters and optimiser state": float(size * factors),
        "products of factors": float(size * products),
        "gradients": 8.0 * ranks * max(wide_sums_size(row, k, lanes, form), rows),
    }
    if form == "entries":
        bytes_of["transposed first factors"] = float(threads * size * sampled)
    return bytes_of | ({"the end-to-end rule": float(threads * scratch)} if scratch else {})
