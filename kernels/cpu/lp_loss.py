"""The fused pass over the data, in tiles of rows that stay in the first-level cache.

Each tile is read from memory once and used twice: residuals first, then, from the cache, its part
of the gradient, while the next tile is already being fetched. For one output the two halves are a
matrix-vector product and a sum of scaled rows, for several they are two small matrix products.

Rows are padded to whole vectors (``Data``). Within a run every other pass goes through the tiles
backwards: what the last one left in the second-level cache is then still there.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..specs import Loss
from .jit import LINE, aligned_zeros, entry, inlined, inner, lanes_for, named, padded
from .simd import View, at, tiles

#: Bytes of X in a tile: a third of a 48 KiB first-level cache, so that the next one fits too.
_TILE_BYTES = 16 * 1024
#: With several outputs a tile is worth more arithmetic, and G passes through the cache with it.
_TILE_BYTES_OUTPUTS = 64 * 1024
#: Tiles after which the gradient moves from the run's dtype into float64.
_FLUSH = 128
#: Where the gradient starts in a row of partial sums; the loss is entry 0, on a line of its own.
SUMS_HEAD = 8


class Data(NamedTuple):
    """The problem as the kernels read it.

    ``X`` is flat, n rows of ``ld`` elements of which d count and the rest are zero; ``Y`` is flat,
    n rows of ``kp`` (k, padded if k > 1). On the Gram path they hold X'X (d rows of ``ld``) and Y'X
    (k rows of ``ld``) and ``yy`` the sum of squares of Y. A tile has ``tile`` rows.
    """

    X: np.ndarray
    Y: np.ndarray
    n: int
    d: int
    ld: int
    k: int
    kp: int
    tile: int
    from_gram: bool
    yy: float


def pack(X: np.ndarray, Y: np.ndarray) -> Data:
    """Lay out X (n, d) and Y (n, k) for the kernels; X is copied only if it is not so already.

    That is at every call if d is no multiple of the vector length. No copy is kept: it would be a
    second X in memory, and wrong as soon as somebody writes to the first.
    """
    (n, d), k = X.shape, Y.shape[1]
    lanes = lanes_for(d, X.dtype)
    ld, kp = padded(d, lanes), k if k == 1 else padded(k, lanes)
    budget = (_TILE_BYTES if k == 1 else _TILE_BYTES_OUTPUTS) // (ld * X.dtype.itemsize)
    tile = min(max(budget // 8 * 8, 8), 128)
    return Data(_rows(X, ld), _rows(Y, kp), n, d, ld, k, kp, tile, False, 0.0)


def pack_gram(XX: np.ndarray, YX: np.ndarray, YY: float, n: int) -> Data:
    """Lay out what ``gram`` returns, in the form of ``Data``."""
    k, d = YX.shape
    ld = padded(d, lanes_for(d, XX.dtype))
    return Data(_rows(XX, ld), _rows(YX, ld), n, d, ld, k, k, n, True, YY)


def _rows(matrix: np.ndarray, ld: int) -> np.ndarray:
    rows, columns = matrix.shape
    if columns == ld and matrix.flags.c_contiguous and matrix.ctypes.data % LINE == 0:
        flat = matrix.reshape(-1)
    else:
        flat = aligned_zeros(rows * ld, matrix.dtype)
        flat.reshape(rows, ld)[:, :columns] = matrix
    flat.flags.writeable = False  # always, since to Numba that is another type
    return flat


@cache
def _make_differentiate(dtype: np.dtype[Any]):
    """Compile ``differentiate(residuals, targets, start, count, p)``.

    It finds predictions in ``residuals`` and, with r the predictions less the targets from
    ``start`` on, leaves |r|^(p-1) sign(r) there; it returns the sum of |r|^p in float64.
    """
    scalar = dtype.type

    @inlined
    @named(dtype.name)
    def differentiate(residuals, targets, start, count, p):
        total, start = 0.0, np.uintp(start)
        # A loop for each p that needs no more than products; p is looked at once a tile.
        if p == 2.0:
            for i in range(count):
                r = residuals[i] - targets[start + np.uintp(i)]
                total += np.float64(r * r)
                residuals[i] = r
        elif p == 3.0:
            for i in range(count):
                r = residuals[i] - targets[start + np.uintp(i)]
                bent = r * abs(r)
                total += np.float64(bent * r)
                residuals[i] = bent
        elif p == 4.0:
            for i in range(count):
                r = residuals[i] - targets[start + np.uintp(i)]
                square = r * r
                total += np.float64(square * square)
                residuals[i] = square * r
        elif p == 1.0:
            for i in range(count):
                r = residuals[i] - targets[start + np.uintp(i)]
                total += np.float64(abs(r))
                residuals[i] = np.sign(r)
        else:
            for i in range(count):
                r = residuals[i] - targets[start + np.uintp(i)]
                size = abs(r) ** scalar(p - 1.0)
                total += np.float64(size * abs(r))
                residuals[i] = np.copysign(size, r)
        return total

    return differentiate


@cache
def make_forward(dtype: np.dtype[Any], lanes: int):
    """Compile the pass over tiles ``first`` to ``last`` of ``data``.

    ``forward(data, weights, work, sums, first, last, backwards, p)`` leaves the sum of |r|^p in
    ``sums[0]`` and the unscaled gradient, k rows of ``ld``, from ``sums[SUMS_HEAD]`` on.
    ``weights`` is W for one output, W' in d rows of ``kp`` for several; ``work`` is scratch.
    """
    matvec, accumulate, weighted_sum = tiles(dtype, lanes)
    differentiate = _make_differentiate(dtype)

    @inner
    @named(dtype.name, lanes)
    def forward(data, weights, work, sums, first, last, backwards, p):
        ld, kp = data.ld, data.kp
        size = data.k * ld
        residuals, gradient = work[: data.tile * kp], work[data.tile * kp :]
        unscaled, targets = sums[SUMS_HEAD:], data.Y
        for j in range(size):
            gradient[j] = 0
            unscaled[j] = 0.0
        total = 0.0
        for i in range(first, last):
            t = first + last - 1 - i if backwards else i
            row = t * data.tile
            rows = min(data.tile, data.n - row)
            X = View(at(data.X, row * ld), ld, 1)
            R = View(at(residuals, 0), kp, 1)
            if data.k == 1:
                matvec(X, View(at(weights, 0), 0, 1), R, rows, ld)
            else:
                for j in range(rows * kp):
                    residuals[j] = 0
                accumulate(X, View(at(weights, 0), kp, 1), R, rows, kp, data.d)

            total += differentiate(residuals, targets, row * kp, rows * kp, p)

            transposed = View(at(residuals, 0), 1, kp)
            G = View(at(gradient, 0), ld, 1)
            if data.k == 1:
                ahead = 0 if i == last - 1 else -data.tile * ld if backwards else data.tile * ld
                weighted_sum(transposed, X, G, ld, rows, ahead)
            else:
                accumulate(transposed, X, G, data.k, ld, rows)

            if (i - first) % _FLUSH == _FLUSH - 1 or i == last - 1:
                for j in range(size):
                    unscaled[j] += np.float64(gradient[j])
                    gradient[j] = 0
        sums[0] = total

    return forward


@cache
def make_gram_forward(dtype: np.dtype[Any], lanes: int):
    """Compile the p = 2 pass from X'X and Y'X: the same results as ``forward``, O(k d^2)."""
    accumulate = tiles(dtype, lanes).accumulate

    @inner
    @named(dtype.name, lanes)
    def forward(data, weights, work, sums):
        ld, size = data.ld, data.k * data.ld
        for j in range(size):
            work[j] = -data.Y[j]
        G, W = View(at(work, 0), ld, 1), View(at(weights, 0), ld, 1)
        accumulate(W, View(at(data.X, 0), ld, 1), G, data.k, ld, data.d)
        total, unscaled = data.yy, sums[SUMS_HEAD:]
        for j in range(size):
            total += weights[j] * (work[j] - data.Y[j])
            unscaled[j] = work[j]
        sums[0] = total

    return forward


def work_size(data: Data) -> int:
    """Elements of scratch that a thread needs for the pass."""
    return data.tile * data.kp + data.k * data.ld


def sums_size(data: Data) -> int:
    """Elements of a row of partial sums, in whole cache lines."""
    return SUMS_HEAD + padded(data.k * data.ld, 8)


def _unscaled(data: Data, sums: np.ndarray) -> np.ndarray:
    """The gradient (k, d) that a pass leaves in its sums, before it is scaled."""
    return sums[SUMS_HEAD : SUMS_HEAD + data.k * data.ld].reshape(data.k, data.ld)[:, : data.d]


@cache
def _make_pass(dtype: np.dtype[Any], lanes: int):
    forward = make_forward(dtype, lanes)

    @entry("pass", dtype.name, lanes)
    def whole_pass(data, weights, work, sums, p):
        last = (data.n + data.tile - 1) // data.tile
        forward(data, weights, work, sums, 0, last, False, p)

    return whole_pass


def loss_and_gradient(
    X: np.ndarray, Y: np.ndarray, W: np.ndarray, loss: Loss
) -> tuple[float, np.ndarray]:
    """Loss and end-to-end gradient (k, d) at W, in one pass on one thread."""
    data = pack(X, Y)
    dtype, lanes = X.dtype, lanes_for(data.d, X.dtype)
    work, sums = aligned_zeros(work_size(data), dtype), aligned_zeros(sums_size(data), np.float64)
    if data.k == 1:
        weights = aligned_zeros(data.ld, dtype)
        weights[: data.d] = W[0]
    else:
        weights = aligned_zeros(data.d * data.kp, dtype)
        weights.reshape(data.d, data.kp)[:, : data.k] = W.T
    _make_pass(dtype, lanes)(data, weights, work, sums, float(loss.p))
    scale = loss.factor / data.n
    return float(scale * sums[0]), (scale * loss.p * _unscaled(data, sums)).astype(dtype)


def gram(X: np.ndarray, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return X'X (d, d), Y'X (k, d) and the sum of squares of Y, once a run: BLAS through NumPy."""
    X, Y = X.astype(np.float64, copy=False), Y.astype(np.float64, copy=False)
    return X.T @ X, Y.T @ X, float(np.vdot(Y, Y))


@cache
def _make_gram_pass(dtype: np.dtype[Any], lanes: int):
    forward = make_gram_forward(dtype, lanes)

    @entry("gram", dtype.name, lanes)
    def whole_pass(data, weights, work, sums):
        forward(data, weights, work, sums)

    return whole_pass


def gram_loss_and_gradient(
    XX: np.ndarray, YX: np.ndarray, YY: float, n: int, W: np.ndarray, factor: float
) -> tuple[float, np.ndarray]:
    """Loss and gradient for p = 2 from what ``gram`` returns."""
    data = pack_gram(XX, YX, YY, n)
    size = data.k * data.ld
    work, sums = aligned_zeros(size, XX.dtype), aligned_zeros(sums_size(data), np.float64)
    weights = aligned_zeros(size, XX.dtype)
    weights.reshape(data.k, data.ld)[:, : data.d] = W
    _make_gram_pass(XX.dtype, lanes_for(data.d, XX.dtype))(data, weights, work, sums)
    return factor / n * float(sums[0]), 2.0 * factor / n * _unscaled(data, sums)


@cache
def _make_hessian(lanes: int):
    matvec, accumulate, _ = tiles(np.dtype(np.float64), lanes)

    @entry("hessian", lanes)
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
            matvec(tile, View(at(w, 0), 0, 1), View(at(work, residuals), 0, 1), m, ld)
            for i in range(m):
                r = abs(work[residuals + i] - np.float64(y[first + i]))
                # At r = 0 there is no second derivative for p < 2; 0 ** 0 is 1, right for p = 2.
                weight = 0.0 if r == 0.0 and p < 2.0 else r ** (p - 2.0)
                for j in range(ld):
                    work[scaled + i * ld + j] = weight * work[plain + i * ld + j]
            accumulate(View(at(work, scaled), 1, ld), tile, View(at(H, 0), ld, 1), d, ld, m)

    return hessian


def hessian(X: np.ndarray, y: np.ndarray, w: np.ndarray, loss: Loss) -> np.ndarray:
    """Hessian (d, d) of the single-output loss at w (d,), in one pass, float64 throughout."""
    n, d = X.shape
    lanes = lanes_for(d, np.dtype(np.float64))
    ld = padded(d, lanes)
    rows = min(max(_TILE_BYTES_OUTPUTS // (16 * ld) // 8 * 8, 8), 128)
    work, H = aligned_zeros(rows * (2 * ld + 1), np.float64), aligned_zeros(d * ld, np.float64)
    weights = aligned_zeros(ld, np.float64)
    weights[:d] = w
    _make_hessian(lanes)(X, y, weights, work, H, float(loss.p))
    return loss.factor * loss.p * (loss.p - 1.0) / n * H.reshape(d, ld)[:, :d]
