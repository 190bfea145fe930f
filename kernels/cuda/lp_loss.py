"""The fused pass over the data: one read of X yields residuals, losses and gradients of all maps.

A map is one output of one model: map c predicts target column c % k. Whatever route a pass takes,
it leaves its sums in ``slots`` rows of float64, the gradients in ``partials``
(slots, maps, d) and the losses in ``losses`` (slots, maps), which the next kernel adds up in the
order of the slots: no atomics, the same bits every time. Losses are added up in the run's dtype
over at most 64 rows, then in float64; gradients in the run's dtype over the rows of a lane or a
product.

rows
    Up to four maps. A warp holds a few rows in registers between residual and gradient; several
    16-byte loads a lane are under way at a time.
tiles
    More maps, as long as the pass takes not much longer than reading X (``tiles.py``).
blocks
    For wide networks, two products of our own (``blocks_pass.py``), also on the Gram path: by
    request only, since it depends on what else a step has in it.
products
    Everything else: two cuBLAS products a tile, which stays in the second-level cache between them.

A loss that couples the outputs of a row is differentiated where all products of a row are in
memory: by products or blocks.

In the form "diagonal" no pass is made: what follows it takes an entry of the gradient from its own
entry of the map. In the form "entries" a pass reads what was seen of the map (``entries.py``).
"""

from typing import Any, NamedTuple

import numpy as np
from numba import cuda, types

from ..specs import Loss
from . import blocks_pass, entries
from .jit import (
    THREADS,
    WARP,
    Kernel,
    address_of,
    as_like,
    blocks_at_once,
    pointer,
    xp,
)
from .losses import (
    Code,
    code_of,
    curvature,
    is_coupled,
    make_coupled,
    make_differentiate,
    slope_scale,
)
from .planning import makes_kernel
from .powers import Data, data_type
from .ptx import make_load
from .reduce import SUMS, block_sum, make_lane_sums, make_products
from .tiles import tiles_launch
from .tiles_layout import tiles_shape, tiles_slots

#: Vector loads of a lane that are under way at a time, and words of 32 bits it may hold of X.
_FLIGHT, _HELD = 8, 32
#: Words in registers a lane up to which two blocks of the rows route share a multiprocessor.
_SHARED_OUT = 64
#: Bytes of X in a tile of the products: residuals and X should both stay in the cache.
TILE_BYTES = 16 * 2**20
#: Most maps of the rows route, and rows of X that are worth a block.
ROWS_MAPS, _LEAST_ROWS = 4, 128
#: Most maps of the tiles route, by bytes of an element. Reading X takes as long as the arithmetic
#: of 17 maps does on sm_90; far beyond, cuBLAS has faster products (tensor cores in float64).
#: Estimates from issue rates and bandwidths, not measured.
TILES_MAPS = {4: 32, 8: 16}
_SLOPES_SUMS = SUMS * THREADS // WARP
#: Residuals of a map that one block differentiates.
_CHUNK = 4096


class Shape(NamedTuple):
    """How the rows route lays a row out: ``group`` lanes hold it, ``vectors`` of ``lanes`` each.

    A lane works on ``unroll`` rows at a time, and on ``maps`` maps.
    """

    lanes: int
    group: int
    vectors: int
    unroll: int
    maps: int


def rows_shape(d: int, maps: int, dtype: np.dtype[Any], address: int = 0) -> Shape | None:
    """Return how to lay out rows of d elements from this address on; None if they do not fit."""
    lanes = 16 // dtype.itemsize
    while d % lanes or address % (lanes * dtype.itemsize):
        lanes //= 2
    group = 1
    while group < WARP and group * lanes < d:
        group *= 2
    vectors = -(-d // (group * lanes))
    words = vectors * lanes * dtype.itemsize // 4
    if words * maps > _HELD:
        return None
    unroll = max(1, min(_FLIGHT // vectors, _HELD // words, _FLIGHT // maps))
    return Shape(lanes, group, vectors, unroll, maps)


@makes_kernel
def make_rows(dtype: np.dtype[Any], code: Code, shape: Shape) -> Kernel:
    """Make the kernel of the rows route.

    ``rows(data, weights, partials, losses, running, p)``: one slot a block; it does nothing if no
    model is ``running``. Shared memory: a row of the gradient, and a loss, a map and warp.
    """
    lanes, group, vectors, unroll, maps = shape
    scalar, columns, rows_at_once = dtype.type, vectors * lanes, WARP // group
    warps = THREADS // WARP
    of_maps, of_rows, of_both = maps * columns, unroll * columns, unroll * maps
    load, differentiate = make_load(lanes), make_differentiate(dtype, code)

    multiply = make_products(dtype, unroll, maps, columns, 1)
    halves = [WARP >> level for level in range(1, 6)]
    among, across = ([h for h in halves if h < group], [h for h in halves if h >= group])
    add_residuals = make_lane_sums(of_both, *among)
    add_losses, add_gradients = make_lane_sums(maps, *across), make_lane_sums(of_maps, *across)

    def rows(data, weights, partials, losses, running, p):
        going = 0
        for m in range(maps // data.k):
            going += running[m]
        if going == 0:
            return
        n, d = data.n, data.d
        thread = cuda.threadIdx.x
        lane, warp = thread % WARP, thread // WARP
        inner, outer = lane % group, lane // group
        block, blocks = cuda.blockIdx.x, cuda.gridDim.x
        first, last = n * block // blocks, n * (block + 1) // blocks

        w = cuda.local.array(of_maps, dtype)
        g = cuda.local.array(of_maps, dtype)
        total = cuda.local.array(maps, types.float64)
        x = cuda.local.array(of_rows, dtype)
        y = cuda.local.array(of_both, dtype)
        r = cuda.local.array(of_both, dtype)
        target = cuda.local.array(maps, types.int64)
        for m in range(maps):
            target[m], total[m] = m % data.k, 0.0
            for i in range(columns):
                column = (i // lanes * group + inner) * lanes + i % lanes
                w[m * columns + i] = weights[m * d + column] if column < d else scalar(0)
                g[m * columns + i] = scalar(0)

        stride = warps * unroll * rows_at_once
        for start in range(first + warp * unroll * rows_at_once, last, stride):
            # No branches, so that all loads are on their way before the first is needed: what lies
            # beyond the last row or column is read from elsewhere, and counts nothing.
            for u in range(unroll):
                row = min(start + u * rows_at_once + outer, last - 1)
                for c in range(vectors):
                    column = (c * group + inner) * lanes
                    values = load(data.X, row * d + (column if column < d else 0))
                    for v in range(lanes):
                        x[u * columns + c * lanes + v] = values[v]
                for m in range(maps):
                    y[u * maps + m] = data.Y[row * data.k + target[m]]
            multiply(x, w, r)
            add_residuals(r)
            for m in range(maps):
                loss = scalar(0)
                for u in range(unroll):
                    slope, value = differentiate(r[u * maps + m], y[u * maps + m], p)
                    counts = start + u * rows_at_once + outer < last
                    slope, value = slope if counts else scalar(0), value if counts else scalar(0)
                    loss += value
                    for c in range(columns):
                        g[m * columns + c] += slope * x[u * columns + c]
                total[m] += float(loss)

        add_losses(total)
        add_gradients(g)
        shared = cuda.shared.array(0, types.float64)
        size = maps * (d + 1)
        if outer == 0:
            for m in range(maps):
                if inner == 0:
                    shared[warp * size + maps * d + m] = total[m]
                for i in range(columns):
                    column = (i // lanes * group + inner) * lanes + i % lanes
                    if column < d:
                        shared[warp * size + m * d + column] = float(g[m * columns + i])
        cuda.syncthreads()
        for i in range(thread, size, THREADS):
            whole = shared[i]
            for other in range(1, warps):
                whole += shared[other * size + i]
            if i < maps * d:
                partials[block * maps * d + i] = whole
            else:
                losses[block * maps + i - maps * d] = whole

    f64, signature = pointer(np.float64), [data_type(dtype), pointer(dtype)]
    signature += [f64, f64, pointer(np.int64), types.float64]
    held = (2 * maps + unroll) * columns * dtype.itemsize // 4
    key = (dtype.name, code, *shape)
    return Kernel(rows, signature, key, blocks=2 if held <= _SHARED_OUT else 1)


@makes_kernel
def make_slopes(dtype: np.dtype[Any], code: Code) -> Kernel:
    """Make the middle of the products route, in place on products.

    ``slopes(data, products, losses, p, first, rows, slot)``: products is (maps, rows) and begins
    at row ``first`` of the data. Blocks are (chunks, maps); each writes one loss.
    """
    differentiate = make_differentiate(dtype, code)

    def slopes(data, products, losses, p, first, rows, slot):
        thread = cuda.threadIdx.x
        chunk, chunks, m = cuda.blockIdx.x, cuda.gridDim.x, cuda.blockIdx.y
        begin, end, target = rows * chunk // chunks, rows * (chunk + 1) // chunks, m % data.k
        sums = cuda.shared.array(_SLOPES_SUMS, types.float64)
        total = 0.0
        for i in range(begin + thread, end, THREADS):
            at = m * rows + i
            y = data.Y[(first + i) * data.k + target]
            products[at], value = differentiate(products[at], y, p)
            total += float(value)
        total = block_sum(total, sums)
        if thread == 0:
            losses[(slot + chunk) * cuda.gridDim.y + m] = total

    signature = [data_type(dtype), pointer(dtype), pointer(np.float64)]
    signature += [types.float64, types.int64, types.int64, types.int64]
    return Kernel(slopes, signature, (dtype.name, code))


class Pass:
    """A pass over the data that can be made again and again, with all its memory.

    Parameters
    ----------
    data : Data
        Of device arrays.
    weights : (maps * d,) device array
        Where the pass finds the maps.
    loss : Loss
    running : (models,) device array of int64
        The pass may leave out its work if all of them are 0.
    most : int, optional
        Maps of the largest pass of the run, which decides on the route: so the bits of a map do not
        depend on how many others there are.
    route : {"rows", "tiles", "products", "blocks"}, optional
        For wide networks, measurements and tests; chosen by the shape of the problem otherwise.

    Attributes
    ----------
    partials : (slots, maps, d) float64 device array
    losses : (loss slots, maps) float64 device array
        Filled in the form "direct" only.
    form : {"direct", "gram", "diagonal"}
        What the sums are like: those of entries as if they were of a pass over data.
    on_device : bool
        Whether a pass is nothing but kernel launches, so that a CUDA graph can hold it.
    """

    def __init__(
        self,
        data: Data,
        weights: Any,
        loss: Loss,
        running: Any,
        most: int | None = None,
        route: str | None = None,
    ) -> None:
        self._data, self._weights, self._loss = data, weights, loss
        dtype, maps = weights.dtype, weights.size // data.d
        self.form = "direct" if loss.form == "entries" else loss.form
        most = most or maps
        code, address = code_of(loss), address_of(data.X)
        shape = rows_shape(data.d, most, dtype, address)
        both = address | address_of(weights)
        tiles = tiles_shape(data.n, data.d, data.k, most, dtype, both)
        if is_coupled(loss) and route in ("rows", "tiles"):
            raise ValueError(f"a pass for {loss.kind} is made by products or blocks, got {route}")
        if route is None and is_coupled(loss):
            route = "products"
        elif route is None:
            few, some = most <= ROWS_MAPS, most <= TILES_MAPS[dtype.itemsize]
            route = "rows" if shape and few else "tiles" if tiles and some else "products"
        slots = loss_slots = groups = 1
        self.on_device = False
        if loss.form == "diagonal":
            self.on_device = True
        elif loss.form == "entries":
            loss_slots = -(-entries.chunks_of(data) // data.k)
            self.on_device = True
        elif route == "blocks":
            slots, loss_slots = blocks_pass.slots_of(data, loss.form == "gram")
            self.on_device = True
        elif loss.form == "gram":
            pass
        elif route == "rows":
            slots = loss_slots = min(blocks_at_once(2), -(-data.n // _LEAST_ROWS))
            launch = make_rows(dtype, code, shape._replace(maps=maps))
            shared = 8 * THREADS // WARP * maps * (data.d + 1)
            self.on_device = True
        elif route == "tiles":
            slots = loss_slots = tiles_slots(data.n, most, tiles)
            launch, groups, shared = tiles_launch(dtype, code, tiles, maps)
            self.on_device = True
        else:
            self._rows = max(min(TILE_BYTES // (data.d * dtype.itemsize), data.n), 1)
            self._rows = min(self._rows, max(TILE_BYTES // (maps * dtype.itemsize), 1))
            self._chunks = -(-self._rows // (THREADS if is_coupled(loss) else _CHUNK))
            loss_slots = self._chunks * -(-data.n // self._rows)
        self.partials = xp.zeros((slots, maps, data.d), np.float64)
        self.losses = xp.zeros((loss_slots, maps), np.float64)
        if loss.form == "diagonal":
            self._make = _nothing
        elif loss.form == "entries" or route == "blocks":
            module = entries if loss.form == "entries" else blocks_pass
            self._make = module.prepared(data, weights, loss, running, self.partials, self.losses)
        elif loss.form == "gram":
            self._make = self._from_gram
        elif self.on_device:
            arguments = (data, weights, self.partials, self.losses, running)
            arguments += (maps, float(loss.p)) if route == "tiles" else (float(loss.p),)
            self._make = launch.prepared((slots, groups), arguments, shared=shared)
        else:
            self._make = self._by_products
            self._prepare_products(code, running)

    def __call__(self) -> None:
        """Make a pass: fill ``partials`` and ``losses``."""
        self._make()

    def _from_gram(self) -> None:
        XX = self._data.X.reshape(self._data.d, self._data.d)
        xp.matmul(self._weights.reshape(-1, self._data.d), XX, out=self.partials[0])

    def _prepare_products(self, code: Code, running: Any) -> None:
        """Lay out what a pass by products needs, so that it only launches."""
        data, maps, dtype = self._data, self.losses.shape[1], self._weights.dtype
        memory = xp.empty(maps * self._rows, dtype)
        self._maps = self._weights.reshape(maps, data.d)
        self._product = xp.empty((maps, data.d), dtype)
        if is_coupled(self._loss):
            self._differentiate = make_coupled(dtype, True).prepared(
                (self._chunks, maps // data.k), (data, memory, self.losses, running)
            )
        else:
            self._differentiate = make_slopes(dtype, code).prepared(
                (self._chunks, maps), (data, memory, self.losses, float(self._loss.p))
            )
        X = data.X.reshape(data.n, data.d)
        self._tiles = []
        for slot, first in enumerate(range(0, data.n, self._rows)):
            tile = X[first : first + self._rows]
            residuals = memory[: maps * len(tile)].reshape(maps, len(tile))
            place = first, len(tile), slot * self._chunks
            self._tiles.append((tile, tile.T, residuals, place))

    def _by_products(self) -> None:
        self.partials[...] = 0
        for tile, transposed, residuals, place in self._tiles:
            xp.matmul(self._maps, transposed, out=residuals)
            self._differentiate(*place)
            xp.matmul(residuals, tile, out=self._product)
            self.partials[0] += self._product


def _nothing() -> None:
    """The pass in the form "diagonal"."""


def on_device(a: Any, dtype: Any = None) -> Any:
    """Return an array as a contiguous one on the device, itself if it is that already."""
    return xp.ascontiguousarray(xp.asarray(a, dtype=dtype))


def pack(X: Any, Y: Any) -> Data:
    """Put X (n, d) and Y (n, k) where the kernels read them; no copy if they are there already."""
    return Data(on_device(X).reshape(-1), on_device(Y).reshape(-1), *X.shape, Y.shape[1])


def pack_diagonal(s: Any, Y: Any) -> Data:
    """Put a diagonal s (d,) and targets Y (d, k) in the form of ``Data``."""
    diagonal, targets = on_device(s), xp.asarray(Y).T
    repeated = diagonal * xp.ones((len(targets), 1), diagonal.dtype)
    d, k = Y.shape
    return Data(repeated.reshape(-1), on_device(targets).reshape(-1), d, d, k)


def pack_gram(XX: Any, YX: Any, n: int) -> Data:
    """Put what ``gram`` returns, of n rows, in the form of ``Data``."""
    k, d = YX.shape
    return Data(on_device(XX).reshape(-1), on_device(YX).reshape(-1), n, d, k)


def loss_and_gradient(X: Any, Y: Any, W: Any, loss: Loss) -> tuple[float, Any]:
    """Loss and end-to-end gradient (k, d) at W, in one pass."""
    data = pack(X, Y)
    weights = on_device(W, data.X.dtype).reshape(-1)
    one = Pass(data, weights, loss._replace(form="direct"), xp.ones(1, np.int64))
    one()
    gradient = (slope_scale(loss, len(X)) * one.partials.sum(axis=0)).astype(data.X.dtype)
    return loss.factor / len(X) * float(one.losses.sum()), as_like(W, gradient)


def gram(X: Any, Y: Any) -> tuple[Any, Any, float]:
    """Return X'X (d, d), Y'X (k, d) and the sum of squares of Y, in float64, once a run."""
    A, B = on_device(X, np.float64), on_device(Y, np.float64)
    return as_like(X, A.T @ A), as_like(X, B.T @ A), float(xp.vdot(B, B))


def gram_loss_and_gradient(
    XX: Any, YX: Any, YY: float, n: int, W: Any, factor: float
) -> tuple[float, Any]:
    """Loss and gradient for p = 2 from what ``gram`` returns."""
    A, B, w = on_device(XX), on_device(YX), on_device(W)
    WX = w @ A
    value = factor / n * (float(xp.sum((WX - 2 * B) * w)) + YY)
    return value, as_like(W, (2 * factor / n) * (WX - B))


def hessian(X: Any, y: Any, w: Any, loss: Loss) -> Any:
    """Hessian (d, d) of the single-output loss at w (d,), float64 throughout, a tile at a time."""
    A, targets, weights = on_device(X), on_device(y), on_device(w, np.float64)
    n, d = A.shape
    H = xp.zeros((d, d), np.float64)
    rows = max(TILE_BYTES // (8 * d), 1)
    for first in range(0, n, rows):
        tile = A[first : first + rows].astype(np.float64)
        curved = curvature(loss, tile @ weights, targets[first : first + rows])
        H += tile.T @ (curved[:, None] * tile)
    return as_like(w, (loss.curvature_factor / n) * H)
