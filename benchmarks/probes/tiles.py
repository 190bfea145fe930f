"""``python -m benchmarks probes tiles``: would a BLAS product per tile of a sweep beat our own?

The two products of a pass over one tile, with 64 maps and d = 128, on one thread: residuals
R += X W and gradients G += X' R, maps along the rows of W, R and G, in panels of the width that the
table of shapes names. Ours run inside compiled code, as in a pass; NumPy's are calls from Python,
about a microsecond each, on whole matrices, and overwrite where a pass has to add.
"""

import argparse
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.harness import machine, page
from benchmarks.harness.timing import elapsed, in_turn, medians, seconds_each

MAPS, D, ROWS = 64, 128, (24, 48, 96, 192)
ROUNDS, SECONDS = 9, 0.01


@functools.cache
def products(dtype: np.dtype[Any]) -> tuple[int, Any, Any]:
    """Maps in a panel and our products, ``repeats`` times over.

    They are called with (X, W, R, repeats) and (X, R, G, repeats); W, R and G hold a panel behind
    the other.
    """
    from accel.kernels.cpu.jit import inner, lanes_for
    from accel.kernels.cpu.panels import panels
    from accel.kernels.cpu.shapes import shapes
    from accel.kernels.cpu.simd import View, at

    lanes, vectors = lanes_for(D, dtype), shapes().tile_vectors
    width, depth = lanes * vectors, shapes().depth
    routines = panels(dtype, lanes, vectors)
    multiply, collect = routines.rows, routines.columns

    @inner
    def residuals(X, W, R, repeats):
        rows, d = X.shape
        x, w, r = X.ravel(), W.ravel(), R.ravel()
        for _ in range(repeats):
            for panel in range(len(W)):
                first, target = panel * d * width, View(at(r, panel * rows * width), width, 1)
                for t in range(0, d, depth):
                    part = View(at(w, first + t * width), width, 1)
                    multiply(View(at(x, t), d, 1), part, target, rows, min(depth, d - t), 0)

    @inner
    def gradients(X, R, G, repeats):
        rows, d = X.shape
        x, r, g = X.ravel(), R.ravel(), G.ravel()
        for _ in range(repeats):
            for panel in range(len(R)):
                slopes = View(at(r, panel * rows * width), width, 1)
                target = View(at(g, panel * d * width), width, 1)
                collect(View(at(x, 0), d, 1), slopes, target, d, rows)

    return width, residuals, gradients


def contenders(dtype: np.dtype[Any], rows: int) -> dict[str, Callable[[int], object]]:
    """What is timed: each makes a product `repeats` times."""
    from accel.kernels.cpu.jit import aligned_zeros

    rng = np.random.default_rng(0)
    width, residuals, gradients = products(dtype)
    count = -(-MAPS // width)

    def in_panels(matrix: np.ndarray) -> np.ndarray:
        """Lay out a matrix whose columns are maps, panel by panel."""
        n = len(matrix)
        filled = np.zeros((n, count * width), dtype)
        filled[:, :MAPS] = matrix
        panels = aligned_zeros(filled.size, dtype).reshape(count, n, width)
        panels[:] = filled.reshape(n, count, width).transpose(1, 0, 2)
        return panels

    def whole(panels: np.ndarray) -> np.ndarray:
        """Undo ``in_panels``."""
        _, n, _ = panels.shape
        return panels.transpose(1, 0, 2).reshape(n, -1)[:, :MAPS]

    X = aligned_zeros(rows * D, dtype).reshape(rows, D)
    X[:] = rng.standard_normal(X.shape)
    W = rng.standard_normal((D, MAPS)).astype(dtype)
    P = np.matmul(X, W)
    weights, slopes = in_panels(W), in_panels(P)
    R, G = in_panels(np.zeros_like(P)), in_panels(np.zeros_like(W))
    residuals(X, weights, R, 1)
    gradients(X, slopes, G, 1)
    scale = np.sqrt(D * rows)
    np.testing.assert_allclose(whole(R), P, rtol=0, atol=1e-5 * scale)
    np.testing.assert_allclose(whole(G), X.T @ P, rtol=0, atol=1e-4 * scale)
    # Sums grow by as much with every call: those of tiny numbers stay finite, and normal.
    weights *= dtype.type(1e-10)
    slopes *= dtype.type(1e-10)

    def blas(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> Callable[[int], object]:
        def run(repeats: int) -> None:
            for _ in range(repeats):
                np.matmul(left, right, out=out)

        return run

    return {
        "rows": lambda repeats: residuals(X, weights, R, repeats),
        "BLAS X W": blas(X, W, np.empty_like(P)),
        "columns": lambda repeats: gradients(X, slopes, G, repeats),
        "BLAS X' R": blas(X.T, P, np.empty_like(W)),
    }


def rates(calls: dict[str, Callable[[int], object]], multiply_adds: float) -> dict[str, float]:
    """GFLOP/s of each, the median of interleaved rounds."""
    samples = {}
    for name, call in calls.items():
        repeats = max(1, round(SECONDS / seconds_each(call, SECONDS)))
        samples[name] = functools.partial(_seconds, call, repeats)
    seconds = medians(in_turn(samples, ROUNDS))
    return {name: 2e-9 * multiply_adds / value for name, value in seconds.items()}


def _seconds(call: Callable[[int], object], repeats: int) -> float:
    return elapsed(functools.partial(call, repeats)) / repeats


def main(arguments: list[str]) -> int:
    """Print a table for each dtype."""
    argparse.ArgumentParser(
        prog="python -m benchmarks probes tiles",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(arguments)
    machine.restart_without_override()
    import threadpoolctl

    from benchmarks.peers.peak import peak, start_values

    with threadpoolctl.threadpool_limits(limits=1, user_api="blas"):
        for dtype in (np.dtype(np.float64), np.dtype(np.float32)):
            kernel, width = (fastest := peak(dtype)).kernel, fastest.width
            values, flags = start_values(fastest, 1, dtype), np.zeros(1, np.int64)

            def alone(rounds, kernel=kernel, values=values, flags=flags):
                kernel(values, rounds, flags, 0)

            ceiling = rates({"peak": alone}, width)["peak"]
            print(f"\n{dtype}, one thread: peak {ceiling:.0f} GFLOP/s; GFLOP/s (share of it)\n")
            names = list(contenders(dtype, ROWS[0]))
            print(f"Panels of {products(dtype)[0]} maps.\n")
            print(page.head(["rows", *names], text=()))
            for rows in ROWS:
                measured = rates(contenders(dtype, rows), rows * D * MAPS)
                cells = (f"{measured[name]:.1f} ({measured[name] / ceiling:.0%})" for name in names)
                print(page.row([rows, *cells]), flush=True)
    return 0
