"""A pass over the data by our own products: many maps, and all of it in kernels of many blocks.

cuBLAS is faster on large data, but CuPy lets no CUDA graph hold it, and by the host a launch takes
longer than one of these products. They are for the networks that ``wide`` is for.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numba import cuda, types

from ..specs import Loss
from .jit import THREADS, Kernel, attribute, pointer, xp
from .losses import Code, code_of, is_coupled, make_coupled, make_differentiate
from .planning import makes_kernel
from .powers import Data, data_type
from .products import ENTRIES, PRODUCT_SIZE, TILE, Factor, make_product, tiles, tiles_over
from .reduce import SUMS_SIZE, block_sum, this_thread

#: Rows of X that are worth a slot, and most slots.
_LEAST_ROWS, _MOST_SLOTS = 128, 16


@makes_kernel
def make_residuals(dtype: np.dtype[Any], code: Code) -> Kernel:
    """Make ``residuals(data, weights, slopes, losses, running, p)``: blocks are (tiles, models).

    The slopes of a model go to ``slopes`` (models, n, k), a loss a tile to ``losses`` (slots,
    models, k), where its place means nothing. It leaves out models that are not ``running``. Of a
    coupled loss these are the products, and zeros.
    """
    product, differentiate = make_product(dtype, True, True), make_differentiate(dtype, code)

    def residuals(data, weights, slopes, losses, running, p):
        thread, tile, model = this_thread(), cuda.blockIdx.x, cuda.blockIdx.y
        if running[model] == 0:
            return
        shared = cuda.shared.array(PRODUCT_SIZE, dtype)
        doubles = cuda.shared.array(SUMS_SIZE, types.float64)
        totals = cuda.local.array(ENTRIES, dtype)
        n, d, k = data.n, data.d, data.k
        over = tiles_over(k)
        row, column = tile // over * TILE, tile % over * TILE
        left, right = Factor(data.X, 0, d, n), Factor(weights, model * k * d, d, k)
        product(left, right, row, column, 0, d, shared, totals)
        loss = 0.0
        for i in range(ENTRIES):
            e = thread + THREADS * i
            at_row, c = row + e // TILE, column + e % TILE
            if at_row < n and c < k:
                slope, value = differentiate(totals[i], data.Y[at_row * k + c], p)
                slopes[(model * n + at_row) * k + c] = slope
                loss += float(value)
        loss = block_sum(loss, doubles)
        if thread == 0:
            losses[(tile // k * cuda.gridDim.y + model) * k + tile % k] = loss

    signature = [data_type(dtype), pointer(dtype), pointer(dtype), pointer(np.float64)]
    signature += [pointer(np.int64), types.float64]
    return Kernel(residuals, signature, (dtype.name, code), blocks=2)


@makes_kernel
def make_gradients(dtype: np.dtype[Any], from_gram: bool) -> Kernel:
    """Make ``gradients(data, left, partials, running)``: blocks are (tiles, models, slots).

    ``left`` are the slopes (models, n, k), whose products with X go to ``partials``, each slot over
    its share of the rows; on the Gram path the maps themselves (models, k, d), by X'X.
    """
    product = make_product(dtype, from_gram, False)

    def gradients(data, left, partials, running):
        tile, model = cuda.blockIdx.x, cuda.blockIdx.y
        if running[model] == 0:
            return
        shared = cuda.shared.array(PRODUCT_SIZE, dtype)
        totals = cuda.local.array(ENTRIES, dtype)
        d, k = data.d, data.k
        n = d if from_gram else data.n
        slot, slots = cuda.blockIdx.z, cuda.gridDim.z
        first, last = n * slot // slots, n * (slot + 1) // slots
        over = tiles_over(d)
        row, column = tile // over * TILE, tile % over * TILE
        maps = Factor(left, model * n * k, d if from_gram else k, k)
        product(maps, Factor(data.X, 0, d, d), row, column, first, last, shared, totals)
        begin = (slot * cuda.gridDim.y + model) * k
        for i in range(ENTRIES):
            e = this_thread() + THREADS * i
            c, j = row + e // TILE, column + e % TILE
            if c < k and j < d:
                partials[(begin + c) * d + j] = float(totals[i])

    signature = [data_type(dtype), pointer(dtype), pointer(np.float64), pointer(np.int64)]
    return Kernel(gradients, signature, (dtype.name, int(from_gram)), blocks=2)


def slots_of(data: Data, from_gram: bool) -> tuple[int, int]:
    """Return the slots of gradients, and of losses: those of one model, whatever its company."""
    over = tiles(data.k)
    if from_gram:
        return 1, 1
    room = attribute("MultiProcessorCount") // (over * tiles(data.d))
    slots = max(min(room, data.n // _LEAST_ROWS, _MOST_SLOTS), 1)
    return slots, -(-tiles(data.n) * over // data.k)


def prepared(
    data: Data, weights: Any, loss: Loss, running: Any, partials: Any, losses: Any
) -> Callable[[], None]:
    """Return a function that launches a pass for the maps in ``weights``."""
    dtype, models, from_gram = weights.dtype, len(running), loss.form == "gram"
    slots, over = len(partials), tiles(data.k)
    slopes = weights if from_gram else xp.empty(models * data.n * data.k, dtype)
    add_up = make_gradients(dtype, from_gram).prepared(
        (over * tiles(data.d), models, slots), (data, slopes, partials, running)
    )
    if from_gram:
        return add_up
    multiply = make_residuals(dtype, code_of(loss)).prepared(
        (tiles(data.n) * over, models),
        (data, weights, slopes, losses, running, float(loss.p)),
    )
    if not is_coupled(loss):
        return _in_order(multiply, add_up)
    differentiate = make_coupled(dtype, False).prepared(
        (-(-data.n // THREADS), models), (data, slopes, losses, running)
    )
    # No more chunks than tiles: their losses have places.
    return _in_order(multiply, partial(differentiate, 0, data.n, 0), add_up)


def _in_order(*launches: Callable[[], None]) -> Callable[[], None]:
    def launch() -> None:
        for one in launches:
            one()

    return launch
