"""``python -m benchmarks probes tiles``: would a BLAS product per tile of a sweep beat our own?

The two products of a pass over one tile, with 64 maps and d = 128, on one thread: residuals
R = W X' and gradients G = R X. Ours run inside compiled code, as in a pass; NumPy's are calls from
Python, about a microsecond each, and its second overwrites G where a pass would have to add.
"""

import argparse
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.harness import machine, page
from benchmarks.harness.timing import elapsed, in_turn, medians, seconds_each

MAPS, D, ROWS = 64, 128, (16, 32, 64, 128, 256)
ROUNDS, SECONDS = 9, 0.01


@functools.cache
def products(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """Our two products, ``repeats`` times over: (X, W, R, repeats) and (R, X, G, repeats)."""
    from accel.kernels.cpu.jit import inner, lanes_for
    from accel.kernels.cpu.simd import View, at, tiles

    routines = tiles(dtype, lanes_for(D, dtype))
    dots, accumulate = routines.dots, routines.accumulate

    @inner
    def residuals(X, W, R, repeats):
        (rows, d), maps = X.shape, len(W)
        x, w, r = X.ravel(), W.ravel(), R.ravel()
        for _ in range(repeats):
            dots(View(at(x, 0), d, 1), View(at(w, 0), d, 1), View(at(r, 0), rows, 1), rows, maps, d)

    @inner
    def gradients(R, X, G, repeats):
        (rows, d), maps = X.shape, len(R)
        r, x, g = R.ravel(), X.ravel(), G.ravel()
        for _ in range(repeats):
            accumulate(
                View(at(r, 0), rows, 1), View(at(x, 0), d, 1), View(at(g, 0), d, 1), maps, d, rows
            )

    return residuals, gradients


def contenders(dtype: np.dtype[Any], rows: int) -> dict[str, Callable[[int], object]]:
    """What is timed: each makes a product `repeats` times."""
    from accel.kernels.cpu.jit import aligned_zeros

    rng = np.random.default_rng(0)

    def matrix(n: int, m: int) -> np.ndarray:
        return aligned_zeros(n * m, dtype).reshape(n, m)

    X, W, R, G = matrix(rows, D), matrix(MAPS, D), matrix(MAPS, rows), matrix(MAPS, D)
    X[:], W[:] = rng.standard_normal(X.shape), rng.standard_normal(W.shape)
    P = np.matmul(W, X.T)
    residuals, gradients = products(dtype)
    residuals(X, W, R, 1)
    gradients(P, X, G, 1)
    scale = np.sqrt(D * rows)
    np.testing.assert_allclose(R, P, rtol=0, atol=1e-5 * scale)
    np.testing.assert_allclose(G, P @ X, rtol=0, atol=1e-4 * scale)

    def blas(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> Callable[[int], object]:
        def run(repeats: int) -> None:
            for _ in range(repeats):
                np.matmul(left, right, out=out)

        return run

    return {
        "dots": lambda repeats: residuals(X, W, R, repeats),
        "BLAS W X'": blas(W, X.T, R.copy()),
        "accumulate": lambda repeats: gradients(P, X, G, repeats),
        "BLAS R X": blas(P, X, G.copy()),
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
            print(page.head(["rows", *names], text=()))
            for rows in ROWS:
                measured = rates(contenders(dtype, rows), rows * D * MAPS)
                cells = (f"{measured[name]:.1f} ({measured[name] / ceiling:.0%})" for name in names)
                print(page.row([rows, *cells]), flush=True)
    return 0
