"""NumPy: the step by hand, into preallocated buffers; `xp` may be CuPy as well."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.peers.common import (
    Descent,
    Stepper,
    Sweep,
    factor_gradients,
    require,
    scaled_gram,
    suffix_products,
)


def numpy_by_hand(run: Descent, threads: int | None = None) -> Stepper:
    require("threadpoolctl")
    import threadpoolctl

    pools = threadpoolctl.ThreadpoolController()
    limit = threads or run.threads
    params, step = array_step(np, run)

    def advance(steps: int) -> None:
        with pools.limit(limits=limit, user_api="blas"):
            for _ in range(steps):
                step()

    return Stepper(advance, params.copy)


def array_step(xp: Any, run: Descent) -> tuple[Any, Callable[[], None]]:
    """The parameters, an array of `xp`, and a step of theirs, in place."""
    n, k, p = len(run.X), run.outputs, run.p
    params = xp.array(run.params)
    gradient = xp.empty_like(params)
    factors, gradients = run.factors(params), run.factors(gradient)
    # S_(N-1) is W_N itself, T_N the gradient of W_N itself: neither needs a buffer.
    suffixes = [xp.empty((k, width), params.dtype) for width in run.widths[:-2]] + [factors[-1]]
    prefixes = [xp.empty((k, width), params.dtype) for width in run.widths[:-2]] + [gradients[-1]]
    W, G = suffixes[0], prefixes[0]
    # One output: matrix times vector, half the cost of the same through a matrix product.
    X, w, g = xp.asarray(run.X), (W[0] if k == 1 else W.T), (G[0] if k == 1 else G)
    y = xp.ascontiguousarray(xp.asarray(run.Y[:, 0] if k == 1 else run.Y))
    r, power = xp.empty_like(y), xp.empty_like(y)
    scale = params.dtype.type(run.learning_rate * p / n)

    def step() -> None:
        for j in range(run.depth - 2, -1, -1):
            xp.dot(suffixes[j + 1], factors[j], out=suffixes[j])
        xp.dot(X, w, out=r)
        xp.subtract(r, y, out=r)
        xp.dot(residual_power_into(xp, power, r, p).T, X, out=g)
        xp.multiply(G, scale, out=G)
        for j in range(run.depth - 1):
            xp.dot(prefixes[j], factors[j].T, out=prefixes[j + 1])
            if k == 1:
                xp.multiply(suffixes[j + 1].T, prefixes[j], out=gradients[j])
            else:
                xp.dot(suffixes[j + 1].T, prefixes[j], out=gradients[j])
        xp.subtract(params, gradient, out=params)

    return params, step


def residual_power_into(xp: Any, out: Any, r: Any, p: float) -> Any:
    """`residual_power` without a temporary; at p = 2 it is `r` itself."""
    if p == 2:
        return r
    if p % 2 == 0:
        xp.multiply(r, r, out=out)
        for _ in range(int(p) - 3):
            xp.multiply(out, r, out=out)
        return out
    xp.abs(r, out=out)
    if p != 3:
        xp.power(out, p - 2, out=out)
    return xp.multiply(out, r, out=out)


def numpy_gram(run: Descent) -> Stepper:
    """Depth 1 and p = 2 through X'X and Y'X: d^2 a step, whatever n is."""
    require("threadpoolctl")
    import threadpoolctl

    # d x d: a second thread costs more than it brings.
    pools = threadpoolctl.ThreadpoolController()
    XX, YX = scaled_gram(run)
    W = run.params.copy().reshape(run.outputs, -1)
    G = np.empty_like(W)

    def advance(steps: int) -> None:
        with pools.limit(limits=1, user_api="blas"):
            for _ in range(steps):
                np.dot(W, XX, out=G)
                np.subtract(G, YX, out=G)
                np.subtract(W, G, out=W)

    return Stepper(advance, lambda: W.ravel().copy())


def numpy_sweep(run: Sweep) -> Stepper:
    """Every model's residuals by one product with the data, every gradient by a second."""
    require("threadpoolctl")
    import threadpoolctl

    pools = threadpoolctl.ThreadpoolController()
    params, step = array_sweep_step(np, run)

    def advance(steps: int) -> None:
        with pools.limit(limits=run.threads, user_api="blas"):
            for _ in range(steps):
                step()

    return Stepper(advance, params.copy)


def array_sweep_step(xp: Any, run: Sweep) -> tuple[Any, Callable[[], None]]:
    """The parameters, a row a model, and a step of theirs, in place; one column a model in both
    products with the data.
    """
    X, y, p = xp.asarray(run.X), xp.asarray(run.first.Y), run.first.p
    params = xp.array(run.params)
    factors = run.first.factors(params)
    r = xp.empty((len(X), len(params)), params.dtype)
    power, G = xp.empty_like(r), xp.empty((len(params), X.shape[1]), params.dtype)
    scale = xp.asarray(run.rates * params.dtype.type(p / len(X)))

    def step() -> None:
        suffixes = suffix_products(factors)
        xp.dot(X, suffixes[0][:, 0].T, out=r)
        xp.subtract(r, y, out=r)
        xp.dot(residual_power_into(xp, power, r, p).T, X, out=G)
        xp.multiply(G, scale, out=G)
        gradients = factor_gradients(factors, suffixes, G[:, None])
        for factor, gradient in zip(factors, gradients, strict=True):
            xp.subtract(factor, gradient, out=factor)

    return params, step


def numpy_sweep_gram(run: Sweep) -> Stepper:
    """Depth 1 and p = 2: one product of all models with X'X."""
    require("threadpoolctl")
    import threadpoolctl

    pools = threadpoolctl.ThreadpoolController()
    XX, YX = scaled_gram(replace(run.first, learning_rate=1.0))
    W, rates = run.params, run.rates
    G = np.empty_like(W)

    def advance(steps: int) -> None:
        with pools.limit(limits=run.threads, user_api="blas"):
            for _ in range(steps):
                np.dot(W, XX, out=G)
                np.subtract(G, YX, out=G)
                np.multiply(G, rates, out=G)
                np.subtract(W, G, out=W)

    return Stepper(advance, W.copy)
