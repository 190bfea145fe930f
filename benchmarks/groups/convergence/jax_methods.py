"""JAX and optax: the factors multiplied first, any number of steps in one compiled loop."""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from accel import Optimizer
from benchmarks.peers import Descent, Stepper
from benchmarks.peers.common import absolute_power, flat, require, suffix_products


def prepare(run: Descent, rule: Optimizer, device: str) -> Callable[[], Stepper]:
    """What makes fresh runs; compiled once for all rates and all problems of one shape."""
    require("jax")
    require("optax")
    import jax

    jax.config.update("jax_enable_x64", True)
    where = jax.devices(device)[0]
    begin, loop = _compiled(replace(rule, learning_rate=1.0), run.p)
    X = jax.device_put(run.X, where)
    y = jax.device_put(np.ascontiguousarray(run.Y[:, 0]), where)
    rate = jax.device_put(np.float64(run.learning_rate), where)

    def fresh() -> Stepper:
        factors = [jax.device_put(factor.copy(), where) for factor in run.factors(run.params)]
        state = factors, begin(factors)

        def advance(steps: int) -> None:
            nonlocal state
            state = jax.block_until_ready(loop(X, y, state, rate, steps))

        return Stepper(advance, lambda: flat([np.asarray(factor) for factor in state[0]]))

    warm = fresh()
    for _ in range(2):  # what a step returns may be of another weak type: compiled anew
        warm.advance(1)
    return fresh


@functools.cache
def _compiled(rule: Optimizer, p: float) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The optimiser's state for factors, and the loop; the rate is an argument of it."""
    import jax
    import optax

    @jax.jit
    def loop(X: Any, y: Any, state: Any, rate: Any, steps: int) -> Any:
        optimizer = _made(optax, rule, rate)

        def loss(factors: list[Any]) -> Any:
            r = X @ suffix_products(factors)[0][0] - y
            return absolute_power(r, p).sum() / len(X)

        def step(_: Any, state: Any) -> Any:
            factors, memory = state
            updates, memory = optimizer.update(jax.grad(loss)(factors), memory, factors)
            return optax.apply_updates(factors, updates), memory

        return jax.lax.fori_loop(0, steps, step, state)

    return jax.jit(_made(optax, rule, 1.0).init), loop


def _made(optax: Any, rule: Optimizer, rate: Any) -> Any:
    """The same rule in optax, whose defaults differ: no bias of AdaGrad's and RMSProp's sums."""
    match rule.name:
        case "gd":
            return optax.sgd(rate)
        case "momentum" | "nesterov":
            return optax.sgd(rate, momentum=rule.momentum, nesterov=rule.name == "nesterov")
        case "adagrad":
            return optax.adagrad(rate, initial_accumulator_value=0.0, eps=rule.eps**2)
        case "adadelta":
            return optax.adadelta(rate, rho=rule.rho, eps=rule.eps)
        case "rmsprop":
            return optax.rmsprop(rate, decay=rule.alpha, eps=rule.eps, eps_in_sqrt=False)
        case "adam":
            return optax.adam(rate, b1=rule.beta1, b2=rule.beta2, eps=rule.eps)
    raise ValueError(f"no {rule.name} in optax")
