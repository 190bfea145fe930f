"""JAX: each form as one compiled loop.

Its thread pool has one thread for each CPU that the process may use: ``python -m benchmarks`` pins
the process, since JAX offers no other way.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.peers.common import (
    Descent,
    Run,
    absolute_power,
    factor_gradients,
    flat,
    require,
    residual_power,
    scaled_gram,
    suffix_products,
)


def jax_layerwise(run: Descent) -> Run:
    def gradients(jax: Any, X: Any, Y: Any, factors: list[Any]) -> list[Any]:
        def loss(factors: list[Any]) -> Any:
            hidden = X
            for factor in factors[:-1]:
                hidden = hidden @ factor.T
            last = factors[-1]
            r = (hidden @ last[0] if Y.ndim == 1 else hidden @ last.T) - Y
            return absolute_power(r, run.p).sum() / len(X)

        return jax.grad(loss)(factors)

    return _jax_run(run, gradients)


def jax_factors_first(run: Descent) -> Run:
    def gradients(jax: Any, X: Any, Y: Any, factors: list[Any]) -> list[Any]:
        def loss(factors: list[Any]) -> Any:
            W = suffix_products(factors)[0]
            r = (X @ W[0] if Y.ndim == 1 else X @ W.T) - Y
            return absolute_power(r, run.p).sum() / len(X)

        return jax.grad(loss)(factors)

    return _jax_run(run, gradients)


def jax_by_hand(run: Descent) -> Run:
    def gradients(_: Any, X: Any, Y: Any, factors: list[Any]) -> list[Any]:
        suffixes = suffix_products(factors)
        W = suffixes[0]
        r = (X @ W[0] if Y.ndim == 1 else X @ W.T) - Y
        power = residual_power(r, run.p)
        G = ((power @ X)[None] if Y.ndim == 1 else power.T @ X) * (run.p / len(X))
        return factor_gradients(factors, suffixes, G)

    return _jax_run(run, gradients)


def jax_gram(run: Descent) -> Run:
    XX, YX = scaled_gram(run)

    def gradients(jax: Any, X: Any, Y: Any, factors: list[Any]) -> list[Any]:
        # `scaled_gram` has the learning rate in it already.
        return [(factors[0] @ X - Y) / run.learning_rate]

    return _jax_run(replace(run, X=XX, Y=YX), gradients, flatten=False)


def _jax_run(run: Descent, gradients: Callable[..., list[Any]], flatten: bool = True) -> Run:
    """The whole run in one compiled loop; the data are arguments, lest they be folded in."""
    require("jax")
    import jax

    # Without it JAX computes in float32 whatever it is given; float32 arrays stay float32 with it.
    jax.config.update("jax_enable_x64", True)
    Y = np.ascontiguousarray(run.Y[:, 0]) if flatten and run.outputs == 1 else run.Y
    cpu = jax.devices("cpu")[0]
    X, Y = jax.device_put(run.X, cpu), jax.device_put(Y, cpu)
    state = [jax.device_put(factor.copy(), cpu) for factor in run.factors(run.params)]

    @jax.jit
    def loop(X: Any, Y: Any, factors: list[Any], steps: int) -> list[Any]:
        def body(_: Any, factors: list[Any]) -> list[Any]:
            return [
                factor - run.learning_rate * gradient
                for factor, gradient in zip(factors, gradients(jax, X, Y, factors), strict=True)
            ]

        return jax.lax.fori_loop(0, steps, body, factors)

    def advance(steps: int) -> None:
        nonlocal state
        state = jax.block_until_ready(loop(X, Y, state, steps))

    return Run(advance, lambda: flat([np.asarray(factor) for factor in state]))
