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
    Stepper,
    Sweep,
    absolute_power,
    factor_gradients,
    flat,
    require,
    residual_power,
    scaled_gram,
    suffix_products,
)

#: Makes a run of ``step(jax, X, Y, factors)``, the data and the factors at the start.
Loop = Callable[[Callable[..., list[Any]], Any, Any, list[np.ndarray]], Stepper]


def jax_layerwise(run: Descent) -> Stepper:
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


def jax_factors_first(run: Descent) -> Stepper:
    def gradients(jax: Any, X: Any, Y: Any, factors: list[Any]) -> list[Any]:
        def loss(factors: list[Any]) -> Any:
            W = suffix_products(factors)[0]
            r = (X @ W[0] if Y.ndim == 1 else X @ W.T) - Y
            return absolute_power(r, run.p).sum() / len(X)

        return jax.grad(loss)(factors)

    return _jax_run(run, gradients)


def jax_by_hand(run: Descent, loop: Loop | None = None) -> Stepper:
    """`loop` makes a run of a step, like `compiled_loop`, which it is by default."""

    def gradients(_: Any, X: Any, Y: Any, factors: list[Any]) -> list[Any]:
        return _gradients_by_hand(run.p, X, Y, factors)

    return _jax_run(run, gradients, loop=loop)


def _gradients_by_hand(p: float, X: Any, Y: Any, factors: list[Any]) -> list[Any]:
    suffixes = suffix_products(factors)
    W = suffixes[0]
    r = (X @ W[0] if Y.ndim == 1 else X @ W.T) - Y
    power = residual_power(r, p)
    G = ((power @ X)[None] if Y.ndim == 1 else power.T @ X) * (p / len(X))
    return factor_gradients(factors, suffixes, G)


def jax_gram(run: Descent) -> Stepper:
    XX, YX = scaled_gram(run)

    def gradients(jax: Any, X: Any, Y: Any, factors: list[Any]) -> list[Any]:
        # `scaled_gram` has the learning rate in it already.
        return [(factors[0] @ X - Y) / run.learning_rate]

    return _jax_run(replace(run, X=XX, Y=YX), gradients, flatten=False)


def jax_vmap(run: Sweep, loop: Loop | None = None) -> Stepper:
    """One model's step by hand, mapped over the models."""

    def one(X: Any, y: Any, factors: list[Any], rate: Any) -> list[Any]:
        return descended(factors, _gradients_by_hand(run.first.p, X, y, factors), rate)

    return _jax_vmap(run, one, run.X, run.first.Y[:, 0], loop)


def jax_gram_vmap(run: Sweep) -> Stepper:
    """One model's step from X'X and Y'X, mapped over the models."""

    def one(XX: Any, YX: Any, factors: list[Any], rate: Any) -> list[Any]:
        return descended(factors, [factors[0] @ XX - YX], rate)

    return _jax_vmap(run, one, *scaled_gram(replace(run.first, learning_rate=1.0)))


def _jax_vmap(
    run: Sweep, one: Callable[..., list[Any]], X: Any, Y: Any, loop: Loop | None = None
) -> Stepper:
    rates = run.rates[:, 0]

    def step(jax: Any, X: Any, Y: Any, stacks: list[Any]) -> list[Any]:
        return jax.vmap(one, in_axes=(None, None, 0, 0))(X, Y, stacks, rates)

    return (loop or compiled_loop)(step, X, Y, run.first.factors(run.params))


def jax_sweep(run: Sweep, loop: Loop | None = None) -> Stepper:
    """Every model's residuals by one product with the data, every gradient by a second."""
    scale = run.rates * run.X.dtype.type(run.first.p / len(run.X))

    def step(_: Any, X: Any, y: Any, stacks: list[Any]) -> list[Any]:
        suffixes = suffix_products(stacks)
        G = scale * (residual_power(X @ suffixes[0][:, 0].T - y, run.first.p).T @ X)
        return descended(stacks, factor_gradients(stacks, suffixes, G[:, None]), 1)

    return (loop or compiled_loop)(step, run.X, run.first.Y, run.first.factors(run.params))


def _jax_run(
    run: Descent,
    gradients: Callable[..., list[Any]],
    flatten: bool = True,
    loop: Loop | None = None,
) -> Stepper:
    Y = run.Y[:, 0] if flatten and run.outputs == 1 else run.Y

    def step(jax: Any, X: Any, Y: Any, factors: list[Any]) -> list[Any]:
        return descended(factors, gradients(jax, X, Y, factors), run.learning_rate)

    return (loop or compiled_loop)(step, run.X, Y, run.factors(run.params))


def descended(factors: list[Any], gradients: list[Any], rate: Any) -> list[Any]:
    return [f - rate * gradient for f, gradient in zip(factors, gradients, strict=True)]


def compiled_loop(
    step: Callable[..., list[Any]], X: np.ndarray, Y: np.ndarray, factors: list[np.ndarray]
) -> Stepper:
    """The whole run in one compiled loop; the data are arguments, lest they be folded in."""
    require("jax")
    import jax

    # Without it JAX computes in float32 whatever it is given; float32 arrays stay float32 with it.
    jax.config.update("jax_enable_x64", True)
    cpu = jax.devices("cpu")[0]
    X, Y = jax.device_put(X, cpu), jax.device_put(np.ascontiguousarray(Y), cpu)
    state = [jax.device_put(factor.copy(), cpu) for factor in factors]

    @jax.jit
    def loop(X: Any, Y: Any, factors: list[Any], steps: int) -> list[Any]:
        return jax.lax.fori_loop(0, steps, lambda _, factors: step(jax, X, Y, factors), factors)

    def advance(steps: int) -> None:
        nonlocal state
        state = jax.block_until_ready(loop(X, Y, state, steps))

    return Stepper(advance, lambda: flat([np.asarray(factor) for factor in state]))
