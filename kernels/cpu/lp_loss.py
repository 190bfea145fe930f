"""The fused pass over the data: residuals, losses and gradients of all maps at once.

X is read once and used twice, for the residuals and, out of the caches, for the gradients. For one
map with one output that is a matrix-vector product and a sum of scaled rows (:mod:`.one_map`), for
the maps of a sweep or for several outputs two matrix products (:mod:`.many_maps`). Rows are padded
to whole vectors (``Data``).
"""

from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from ..specs import COUPLED_KINDS, MARGIN_KINDS, Loss
from .coupled import make_coupled
from .coupled import work_size as coupled_work_size
from .differentiate import make_weights
from .factor_chain import Layout
from .gram_pass import gram_loss_and_gradient as gram_loss_and_gradient
from .jit import LINE, aligned_zeros, entry, lanes_for, padded, row_length, spliced
from .many_maps import make_many_maps, tile_rows
from .many_maps import work_size as many_work_size
from .one_map import FLUSH, make_one_map, make_one_map_of_rows
from .shapes import shapes
from .simd import View, at, tiles

#: Bytes of X in a tile of the Hessian, which is worth more arithmetic.
_HESSIAN_BYTES = 64 * 1024
#: Rows of the Hessian at a time, whole vectors.
_HESSIAN_COLUMNS = 32


class Data(NamedTuple):
    """The problem as the kernels read it.

    ``X`` is flat, n rows of ``ld`` elements of which d count and the rest are zero; ``Y`` is flat,
    n rows of k, and for wide networks in panels if the form is not "direct". A tile has ``tile``
    rows; after ``flush`` tiles a gradient moves from the run's dtype into float64. ``several`` says
    which pass is taken, that for several maps or outputs or that for one; ``streamed``, whether X
    comes from memory. ``rest`` is added to the sum of the loss.
    """

    X: np.ndarray
    Y: np.ndarray
    n: int
    d: int
    ld: int
    k: int
    tile: int
    flush: int
    several: bool
    streamed: bool
    rest: float


def pack(X: np.ndarray, Y: np.ndarray, maps: int = 1) -> Data:
    """Lay out X (n, d) and Y (n, k) for the passes of a run over so many maps.

    X is copied only if it has to be: if d is no multiple of the vector length. No copy outlives the
    run: it would be a second X in memory, and wrong as soon as somebody writes to the first.
    """
    (n, d), ld = X.shape, row_length(X.shape[1], X.dtype)
    return for_maps(pack_rows(rows_of(X, ld).reshape(n, ld), Y, d), maps)


def pack_rows(X: np.ndarray, Y: np.ndarray, d: int) -> Data:
    """Lay out rows of whole vectors, X (n, ld) with zeros behind d elements; X is not copied.

    ``for_maps`` says for which passes.
    """
    (n, ld), k = X.shape, Y.shape[1]
    return Data(rows_of(X, ld), rows_of(Y, k), n, d, ld, k, 1, 1, False, False, 0.0)


def pack_measured(A: np.ndarray, y: np.ndarray, layout: Layout, maps: int) -> Data:
    """Lay out measurements A (n, k d) of end-to-end matrices as rows of a factor chain's layout.

    To the passes they are samples of one output, and so are the matrices: k rows, each padded. A is
    copied only if d is no multiple of the vector length.
    """
    n, k, d, row = len(A), layout.k, layout.widths[0], layout.row
    if row == d:
        rows = rows_of(A, k * d)
    else:
        rows = aligned_zeros(n * k * row, A.dtype)
        rows.reshape(n, k, row)[:, :, :d] = A.reshape(n, k, d)
    return for_maps(pack_rows(rows.reshape(n, k * row), y, k * row), maps, layout.lanes)


def for_maps(data: Data, maps: int, lanes: int = 0) -> Data:
    """The same data for passes over at most so many maps, with vectors of so many elements.

    By default those of rows of ``d`` elements.
    """
    several = maps * data.k > 1
    if several:
        tile = tile_rows(lanes or lanes_for(data.d, data.X.dtype))
    else:
        tile = min(max(shapes().tile_bytes // (data.ld * data.X.itemsize) // 8 * 8, 8), 128)
    streamed = data.X.nbytes > shapes().stream_bytes
    flush = max(FLUSH // tile, 1)
    return data._replace(tile=tile, flush=flush, several=several, streamed=streamed)


def rows_of(matrix: np.ndarray, ld: int) -> np.ndarray:
    """Lay out rows of ``ld`` elements on cache lines, flat; a copy only if they are not so yet."""
    rows, columns = matrix.shape
    if columns == ld and matrix.flags.c_contiguous and matrix.ctypes.data % LINE == 0:
        flat = matrix.reshape(-1)
    else:
        flat = aligned_zeros(rows * ld, matrix.dtype)
        flat.reshape(rows, ld)[:, :columns] = matrix
    flat.flags.writeable = False  # always, since to Numba that is another type
    return flat


#: The passes by form: each is a kernel of its own, since a run needs no more than one.
_PASSES = {
    "one": make_one_map,
    "one streamed": partial(make_one_map, streamed=True),
    "one of rows": make_one_map_of_rows,
    "several": make_many_maps,
    "coupled": make_coupled,
}


def form_of(data: Data, kind: str = "lp", *, picked: bool = False) -> str:
    """Which pass goes over these data, or over rows that are picked of them, for a kind of loss."""
    if kind in COUPLED_KINDS:
        return "coupled"
    if data.several:
        return "several"
    if picked:
        return "one of rows"
    return "one streamed" if data.streamed else "one"


@cache
def make_forward(dtype: np.dtype[Any], lanes: int, form: str, kind: str = "lp"):
    """Compile the pass of a form over tiles ``first`` to ``last`` of ``data``, all maps at once.

    ``forward(data, weights, work, sums, first, last, backwards, p)``: ``weights`` holds k rows of
    ``ld`` a map. The unscaled gradients come out in ``sums`` in the same order; the sum of the
    values of map m is entry m from its end. ``work`` is scratch.
    """
    one_pass = _PASSES[form](dtype, lanes, kind)

    @spliced
    def forward(data, weights, work, sums, first, last, backwards, p):
        sums[:] = 0.0
        one_pass(data, weights, work, sums, first, last, backwards, p)

    return forward


def work_size(data: Data, maps: int, kind: str = "lp", lanes: int = 0) -> int:
    """Elements of scratch that a thread needs for a pass with so many maps."""
    columns, form = maps * data.k, form_of(data, kind)
    lanes = lanes or lanes_for(data.d, data.X.dtype)
    if form == "coupled":
        return coupled_work_size(columns, data.k, data.ld, data.tile, lanes)
    if form == "several":
        return many_work_size(columns, data.ld, data.tile, lanes)
    return columns * (data.ld + data.tile)


def sums_size(data: Data, maps: int) -> int:
    """Elements of a row of partial sums: gradients, then losses."""
    return maps * (data.k * data.ld + 1)


@cache
def make_pass(dtype: np.dtype[Any], lanes: int, form: str, kind: str = "lp"):
    """Compile ``forward`` over all tiles, to be called from Python."""
    forward = make_forward(dtype, lanes, form, kind)

    @entry("pass", dtype.name, lanes, form, kind)
    def whole_pass(data, weights, work, sums, p):
        last = (data.n + data.tile - 1) // data.tile
        forward(data, weights, work, sums, 0, last, False, p)

    return whole_pass


def run_pass(
    data: Data, weights: np.ndarray, work: np.ndarray, sums: np.ndarray, loss: Loss
) -> None:
    """Make one pass over all tiles; ``buffers`` makes the other arrays."""
    dtype, form = data.X.dtype, form_of(data, loss.kind)
    whole = make_pass(dtype, lanes_for(data.d, dtype), form, loss.kind)
    whole(data, weights, work, sums, float(loss.p))


def buffers(
    data: Data, W: np.ndarray, kind: str = "lp"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the padded rows of W (k, d), or of maps (M, k, d), scratch, and room for the sums."""
    rows = W.size // data.d
    weights = aligned_zeros(rows * data.ld, W.dtype)
    weights.reshape(rows, data.ld)[:, : data.d] = W.reshape(rows, data.d)
    work = aligned_zeros(work_size(data, rows // data.k, kind), W.dtype)
    return weights, work, aligned_zeros(sums_size(data, rows // data.k), np.float64)


def _unscaled(data: Data, sums: np.ndarray) -> tuple[float, np.ndarray]:
    size = data.k * data.ld
    return float(sums[-1]), sums[:size].reshape(data.k, data.ld)[:, : data.d]


def loss_and_gradient(
    X: np.ndarray, Y: np.ndarray, W: np.ndarray, loss: Loss
) -> tuple[float, np.ndarray]:
    """Loss and end-to-end gradient (k, d) at W, in one pass on one thread.

    Residuals, powers and float32 gradients of up to 2^14 rows are rounded to the dtype, all else is
    added up in float64: see the reference for what that makes of the errors.
    """
    data, scale = pack(X, Y, 1), loss.factor / len(X)
    weights, work, sums = buffers(data, W.astype(X.dtype, copy=False), loss.kind)
    run_pass(data, weights, work, sums, loss)
    total, G = _unscaled(data, sums)
    return scale * total, (scale * loss.unit * G).astype(X.dtype)


def gram(X: np.ndarray, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return X'X (d, d), Y'X (k, d) and the sum of squares of Y, once a run.

    X'X comes from NumPy's BLAS, which divides it among its threads by columns, so that its bits do
    not depend on their number. In Y'X and the sum they would, so ``einsum`` and ``sum`` make those.
    """
    X, Y = X.astype(np.float64, copy=False), Y.astype(np.float64, copy=False)
    return X.T @ X, np.einsum("ic,id->cd", Y, X), float(np.sum(Y * Y))


@cache
def _make_hessian(lanes: int, kind: str):
    routines = tiles(np.dtype(np.float64), lanes)
    dots, accumulate = routines.dots, routines.accumulate
    weigh, margin = make_weights(lanes, kind), kind in MARGIN_KINDS

    @entry("hessian", lanes, kind)
    def hessian(X, y, w, work, H, p):
        n, d = X.shape
        ld = w.size
        rows = work.size // (2 * ld + 1)
        plain, scaled, residuals = 0, rows * ld, 2 * rows * ld
        for first in range(0, n, rows):
            m = min(rows, n - first)
            for i in range(m):
                for j in range(d):
                    work[plain + i * ld + j] = np.float64(X[first + i, j])
            tile = View(at(work, plain), ld, 1)
            dots(tile, View(at(w, 0), 0, 1), View(at(work, residuals), 0, 1), m, 1, ld)
            for i in range(m):
                if margin:
                    work[residuals + i] *= np.float64(y[first + i])
                else:
                    work[residuals + i] -= np.float64(y[first + i])
            weigh(at(work, residuals), m, p)
            for i in range(m):
                for j in range(ld):
                    work[scaled + i * ld + j] = work[residuals + i] * work[plain + i * ld + j]
            for left in range(0, d, _HESSIAN_COLUMNS):  # H is symmetric: nothing left of these
                part = View(at(work, scaled + left), 1, ld)
                right = View(at(work, plain + left), ld, 1)
                target = View(at(H, left * ld + left), ld, 1)
                accumulate(part, right, target, min(_HESSIAN_COLUMNS, d - left), ld - left, m)
        for i in range(d):
            for j in range(i):
                H[i * ld + j] = H[j * ld + i]

    return hessian


def hessian(X: np.ndarray, y: np.ndarray, w: np.ndarray, loss: Loss) -> np.ndarray:
    """Hessian (d, d) of the single-output loss at w (d,), in one pass, float64 throughout."""
    n, d = X.shape
    lanes = lanes_for(d, np.dtype(np.float64))
    ld = padded(d, lanes)
    rows = min(max(_HESSIAN_BYTES // (16 * ld) // 8 * 8, 8), 128)
    work, H = aligned_zeros(rows * (2 * ld + 1), np.float64), aligned_zeros(d * ld, np.float64)
    weights = aligned_zeros(ld, np.float64)
    weights[:d] = w
    _make_hessian(lanes, loss.kind)(X, y, weights, work, H, float(loss.p))
    return loss.curvature_factor / n * H.reshape(d, ld)[:, :d]
