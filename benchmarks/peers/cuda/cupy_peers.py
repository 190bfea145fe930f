"""CuPy: the step by hand in a Python loop; and a copy on the device, the ceiling of bandwidth.

`xp` is CuPy; the tests put NumPy in its place.
"""

import functools
import importlib
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers.common import Descent, Stepper, Sweep, require
from benchmarks.peers.cuda.chain import chain_step
from benchmarks.peers.numpy_peers import array_step, array_sweep_step


def cupy_by_hand(run: Descent, xp: Any = None) -> Stepper:
    """The lines of "NumPy by hand": array operations into preallocated buffers."""
    xp = xp or _cupy()
    params, step = array_step(xp, run)
    return _run(xp, step, lambda: to_host(params))


def cupy_fused(run: Descent, xp: Any = None, blas: Any = None) -> Stepper:
    """The BLAS's gemv and ger, updates included, and one kernel for all between the products."""
    xp = xp or _cupy()
    params = xp.array(run.params)
    X, y = xp.asarray(run.X), xp.asarray(run.Y[:, 0])
    do = _Blas(xp, blas or importlib.import_module("cupy.cublas"), params.dtype, len(X), run.p)
    step = chain_step(do, X, y, run.factors(params), run.learning_rate * run.p / len(X))
    return _run(xp, step, lambda: to_host(params))


def cupy_sweep(run: Sweep, xp: Any = None) -> Stepper:
    """One column a model in the two products with the data."""
    xp = xp or _cupy()
    params, step = array_sweep_step(xp, run)
    return _run(xp, step, lambda: to_host(params))


def copy_half(run: Descent, xp: Any = None) -> Stepper:
    """Copy half of X: read and written that makes X's bytes, so its time is that of one read of X
    at the bandwidth of a copy.
    """
    xp = xp or _cupy()
    return copying(xp, xp.asarray(run.X).reshape(-1)[: run.X.size // 2])


def copying(xp: Any, source: Any) -> Stepper:
    """Copies of an array on the device, one a step."""
    target = xp.empty_like(source)
    return _run(xp, lambda: xp.copyto(target, source), lambda: to_host(target[:1]))


class _Blas:
    """`Operations` of CuPy, with scalars that are NumPy's already as its wrappers want them."""

    def __init__(self, xp: Any, blas: Any, dtype: np.dtype[Any], n: int, p: float):
        self._xp, self._blas, self._dtype = xp, blas, dtype
        self._r, self._power = self.empty(n), self.empty(n)
        self._between = xp.ElementwiseKernel(
            "T r, T y", "T out", power_code(p), f"residual_power_{int(p)}"
        )
        self._scalar = functools.cache(lambda value: np.array(value, dtype))

    def empty(self, size: int) -> Any:
        return self._xp.empty(size, self._dtype)

    def product(
        self, A: Any, x: Any, out: Any, *, transposed: bool, scale: float = 1.0, keep: float = 0.0
    ) -> None:
        scalar = self._scalar
        self._blas.gemv("T" if transposed else "N", scalar(scale), A, x, scalar(keep), out)

    def residual_power(self, X: Any, y: Any, w: Any) -> Any:
        self.product(X, w, self._r, transposed=False)
        self._between(self._r, y, self._power)
        return self._power

    def add_outer(self, x: Any, y: Any, A: Any) -> None:
        self._blas.ger(self._scalar(1.0), x, y, A)

    def add(self, x: Any, out: Any) -> None:
        self._blas.axpy(self._scalar(1.0), x, out)


def power_code(p: float) -> str:
    """``out = e |e| ** (p - 2)`` with e = r - y, for an ElementwiseKernel; p an integer from 2."""
    if p != int(p) or p < 2:
        raise ValueError(f"the fused form is written for integers p from 2, got {p}")
    base = "e" if p % 2 == 0 else "fabs(e)"
    return f"T e = r - y; out = {' * '.join(['e', *itertools.repeat(base, int(p) - 2)])}"


def to_host(array: Any) -> np.ndarray:
    """A copy in NumPy of an array of CuPy or NumPy."""
    return array.get() if hasattr(array, "get") else np.array(array)


def _cupy() -> Any:
    require("cupy")
    return importlib.import_module("cupy")


def _run(xp: Any, step: Callable[[], object], params: Callable[[], np.ndarray]) -> Stepper:
    def advance(steps: int) -> None:
        for _ in range(steps):
            step()
        if hasattr(xp, "cuda"):
            xp.cuda.get_current_stream().synchronize()

    return Stepper(advance, params)
