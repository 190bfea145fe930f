"""The end-to-end rule: O(d) for one output, one-sided Jacobi for several, no LAPACK.

For several outputs the smaller of W W' and W' W is diagonalised without being formed: rows of W
(of W' if d < k) are rotated against each other until they are orthogonal. Their lengths are then
the singular values, small ones as exact as large ones, which the fractional powers need. All of it
is float64 whatever the dtype of the run, and in buffers that the caller brings.
"""

from functools import cache
from typing import Any

import numpy as np
from numba import carray

from .jit import aligned_zeros, entry, inner, spliced
from .norms import largest, out_of_range
from .pointers import pointer

_MAX_SWEEPS = 60
_EPS, _EPS_32 = (float(np.finfo(dtype).eps) for dtype in (np.float64, np.float32))


@inner
def _products(W, G, d, unit):
    """|w|^2 and <w, g> for w = W / unit."""
    square = along = 0.0
    for i in range(d):
        w = np.float64(W[i]) / unit
        square += w * w
        along += w * np.float64(G[i])
    return square, along


@inner
def _single(W, G, d, depth, out):
    unit = 1.0
    square, along = _products(W, G, d, 1.0)
    if out_of_range(square):
        unit = largest(W, d)
        if unit == 0.0:
            for i in range(d):
                out[i] = G[i] if depth == 1 else W[i]  # 0, or NaN
            return
        square, along = _products(W, G, d, unit)
    stretch = unit ** (2.0 - 2.0 / depth) * square ** (1.0 - 1.0 / depth)
    push = (depth - 1.0) * along / square
    for i in range(d):
        out[i] = stretch * (np.float64(G[i]) + push * (np.float64(W[i]) / unit))


@inner
def _orthogonalise(A, U):
    """Rotate the rows of A until they are orthogonal; U, the identity on entry, goes along."""
    rows = A.shape[0]
    for _ in range(_MAX_SWEEPS):
        turned = False
        for p in range(rows - 1):
            for q in range(p + 1, rows):
                pp = qq = pq = 0.0
                for i in range(A.shape[1]):
                    pp += A[p, i] * A[p, i]
                    qq += A[q, i] * A[q, i]
                    pq += A[p, i] * A[q, i]
                if abs(pq) <= _EPS * np.sqrt(pp) * np.sqrt(qq):  # pp * qq might vanish
                    continue
                turned = True
                ratio = (qq - pp) / (2.0 * pq)
                tangent = np.copysign(1.0, ratio) / (abs(ratio) + np.sqrt(1.0 + ratio * ratio))
                cosine = 1.0 / np.sqrt(1.0 + tangent * tangent)
                sine = cosine * tangent
                _rotate(A, p, q, cosine, sine)
                _rotate(U, p, q, cosine, sine)
        if not turned:
            return


@inner
def _rotate(M, p, q, cosine, sine):
    for i in range(M.shape[1]):
        above, below = M[p, i], M[q, i]
        M[p, i] = cosine * above - sine * below
        M[q, i] = sine * above + cosine * below


@inner
def _general(W, G, k, d, ld, depth, out, work):
    rows, columns = min(k, d), max(k, d)
    size = rows * columns
    A = work[:size].reshape(rows, columns)
    B = work[size : 2 * size].reshape(rows, columns)
    R = work[2 * size : 3 * size].reshape(rows, columns)
    U = work[3 * size : 3 * size + rows * rows].reshape(rows, rows)
    powers = work[3 * size + rows * rows : 3 * size + rows * (rows + depth)].reshape(rows, depth)

    # The sum over j is the same for the transposed matrices, so take the shape with fewer rows.
    # Divided by the largest entry, no square overflows, and none vanishes that matters.
    unit = largest(W, k * ld)
    unit = unit if unit > 0.0 else 1.0
    for c in range(k):
        for i in range(d):
            r, s = (c, i) if k <= d else (i, c)
            A[r, s] = W[c * ld + i] / unit
            R[r, s] = G[c * ld + i]
    for r in range(rows):
        for s in range(rows):
            U[r, s] = 1.0 if r == s else 0.0
    _orthogonalise(A, U)

    # What is zero in the dtype of W but for rounding must be zero: the powers go down to 2/N.
    # Numba's own finfo would load SciPy in every process, also where the kernel is on the disk.
    highest, negligible = 0.0, (_EPS if W.itemsize == 8 else _EPS_32) * columns
    for r in range(rows):
        sigma = 0.0
        for i in range(columns):
            sigma += A[r, i] * A[r, i]
        powers[r, 0] = np.sqrt(sigma)
        highest = max(highest, powers[r, 0])
    for r in range(rows):
        sigma = powers[r, 0]
        if sigma <= negligible * highest:
            sigma = 0.0
        for i in range(columns):
            A[r, i] = A[r, i] / sigma if sigma > 0.0 else 0.0
        for j in range(depth):
            powers[r, j] = (unit * sigma) ** (2.0 * j / depth)  # 0 ** 0 is 1

    for r in range(rows):
        B[r] = 0.0
        for s in range(rows):
            for i in range(columns):
                B[r, i] += U[r, s] * R[s, i]
    for r in range(rows):
        for i in range(columns):
            R[r, i] = powers[r, depth - 1] * B[r, i]
        for s in range(rows):
            along = weight = 0.0
            for i in range(columns):
                along += B[r, i] * A[s, i]
            for j in range(1, depth):
                weight += powers[r, j - 1] * powers[s, depth - j]
            for i in range(columns):
                R[r, i] += weight * along * A[s, i]
    for c in range(k):
        for i in range(d):
            r, t = (c, i) if k <= d else (i, c)
            total = 0.0
            for s in range(rows):
                total += U[s, r] * R[s, t]
            out[c * ld + i] = total


def work_size(k: int, d: int, depth: int) -> int:
    """Elements of float64 scratch that the rule needs."""
    rows, columns = min(k, d), max(k, d)
    return 0 if k == 1 else 3 * rows * columns + rows * (rows + depth)


@spliced
def apply(W, G, k, d, ld, depth, out, work):
    """Apply the rule to flat rows of ``ld`` elements, d of which count; all four are pointers."""
    if k == 1:
        _single(W, G, d, depth, out)
    else:
        size, rows, columns = k * ld, min(k, d), max(k, d)
        room = carray(work, 3 * rows * columns + rows * (rows + depth))
        _general(carray(W, size), carray(G, size), k, d, ld, depth, carray(out, size), room)


@cache
def _make_entry(dtype: np.dtype[Any]):
    @entry("precondition", dtype.name)
    def whole(W, G, k, d, depth, out, work):
        apply(pointer(W), pointer(G), k, d, d, depth, pointer(out), pointer(work))

    return whole


def precondition(W: np.ndarray, G: np.ndarray, depth: int) -> np.ndarray:
    """Apply the end-to-end rule's preconditioner at W (k, d) to G (k, d)."""
    k, d = W.shape
    out = np.zeros(k * d, W.dtype)
    work = aligned_zeros(work_size(k, d, depth), np.float64)
    flat_W, flat_G = np.ascontiguousarray(W).reshape(-1), np.ascontiguousarray(G).reshape(-1)
    _make_entry(W.dtype)(flat_W, flat_G, k, d, depth, out, work)
    return out.reshape(k, d)
