"""Descent whose steps take some rows of the data, by hand in PyTorch and JAX.

They are given the rows of their steps as arrays of indices, made beforehand, and begin with the
first again after the last. The form is that of the step with the
fewest operations: two products with the rows of a batch, then every factor's gradient.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.peers.common import (
    Descent,
    Stepper,
    Sweep,
    factor_gradients,
    flat,
    require,
    residual_power,
    suffix_products,
)
from benchmarks.peers.jax_peers import descended


def numpy_params(run: Descent | Sweep, rows: Sequence[np.ndarray], steps: int) -> np.ndarray:
    """The iterate after so many steps by plain float64 NumPy, which every contender has to meet."""
    if isinstance(run, Sweep):
        return np.stack([numpy_params(descent, rows, steps) for descent in run.descents])
    X, Y, params = (a.astype(np.float64) for a in (run.X, run.Y, run.params))
    factors = run.factors(params)
    for step in range(steps):
        own = rows[step % len(rows)]
        suffixes = suffix_products(factors)
        power = residual_power(X[own] @ suffixes[0].T - Y[own], run.p)
        G = run.p / len(own) * (power.T @ X[own])
        for factor, change in zip(factors, factor_gradients(factors, suffixes, G), strict=True):
            factor -= run.learning_rate * change
    return params


def torch_of_batches(run: Descent | Sweep, rows: Sequence[np.ndarray], threads: int) -> Stepper:
    """The rows gathered into a buffer, and the step by hand in place, with so many threads."""
    require("torch")
    import torch

    one = run.first if isinstance(run, Sweep) else run
    single = isinstance(run, Descent) and one.outputs == 1
    X, Y = torch.from_numpy(one.X), torch.from_numpy(one.Y)
    Y = Y[:, 0].clone() if single else Y
    factors = [torch.from_numpy(factor.copy()) for factor in one.factors(run.params)]
    rates: Any = one.learning_rate
    if isinstance(run, Sweep):
        rates = torch.from_numpy(run.rates)[:, :, None]
    picked = [torch.from_numpy(np.ascontiguousarray(own)) for own in rows]
    columns = (len(run.descents),) if isinstance(run, Sweep) else Y.shape[1:]
    # One set of buffers for full batches, one for what is left at the end of an epoch.
    buffers = {
        count: tuple(
            torch.empty((count, *shape), dtype=X.dtype)
            for shape in (X.shape[1:], Y.shape[1:], columns)
        )
        for count in {len(own) for own in rows}
    }
    done = 0

    def step() -> None:
        nonlocal done
        own = picked[done % len(picked)]
        done += 1
        rows_of_X, rows_of_Y, r = buffers[len(own)]
        torch.index_select(X, 0, own, out=rows_of_X)
        torch.index_select(Y, 0, own, out=rows_of_Y)
        suffixes, scale = suffix_products(factors), one.p / len(own)
        if single:
            torch.addmv(rows_of_Y, rows_of_X, suffixes[0][0], beta=-1, out=r)
            G = rows_of_X.T.mv(residual_power(r, one.p))[None]
        else:
            W = suffixes[0][:, 0] if isinstance(run, Sweep) else suffixes[0]
            torch.addmm(rows_of_Y, rows_of_X, W.T, beta=-1, out=r)
            G = residual_power(r, one.p).T @ rows_of_X
        if isinstance(run, Sweep):
            gradients = factor_gradients(factors, suffixes, G.mul_(rates[:, 0])[:, None])
        else:
            gradients, scale = factor_gradients(factors, suffixes, G), scale * rates
        for factor, gradient in zip(factors, gradients, strict=True):
            factor.sub_(gradient, alpha=scale)

    def advance(steps: int) -> None:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            for _ in range(steps):
                step()

    return Stepper(advance, lambda: flat([factor.numpy() for factor in factors]))


def jax_of_batches(run: Descent | Sweep, rows: Sequence[np.ndarray]) -> Stepper:
    """A compiled loop over the array of indices, with as many threads as the process may use.

    Its batches have one size: where one has fewer rows, others take their place with weight 0.
    """
    require("jax")
    import jax

    jax.config.update("jax_enable_x64", True)
    one = run.first if isinstance(run, Sweep) else run
    sweep, dtype, p = isinstance(run, Sweep), one.X.dtype, one.p
    size = max(len(own) for own in rows)
    indices = np.zeros((len(rows), size), np.int32)
    weights = np.zeros((len(rows), size), dtype)
    for step, own in enumerate(rows):
        indices[step, : len(own)] = own
        indices[step, len(own) :] = own[-1]
        weights[step, : len(own)] = p / len(own)
    single = not sweep and one.outputs == 1
    rate = dtype.type(one.learning_rate)
    rates = run.rates if isinstance(run, Sweep) else None
    cpu = jax.devices("cpu")[0]
    Y = np.ascontiguousarray(one.Y[:, 0]) if single else one.Y
    data = [jax.device_put(a, cpu) for a in (one.X, Y, indices, weights)]
    state = [jax.device_put(factor.copy(), cpu) for factor in one.factors(run.params)]
    done = 0

    def one_step(data: list[Any], step: Any, factors: list[Any]) -> list[Any]:
        X, Y, indices, weights = data
        own, weight = indices[step % len(rows)], weights[step % len(rows)]
        X, Y = (a.at[own].get(mode="promise_in_bounds", indices_are_sorted=True) for a in (X, Y))
        suffixes = suffix_products(factors)
        W = suffixes[0]
        if single:
            G = ((weight * residual_power(X @ W[0] - Y, p)) @ X)[None]
            return descended(factors, factor_gradients(factors, suffixes, G), rate)
        r = X @ (W[:, 0] if sweep else W).T - Y
        G = (weight[:, None] * residual_power(r, p)).T @ X
        if sweep:
            return descended(factors, factor_gradients(factors, suffixes, (rates * G)[:, None]), 1)
        return descended(factors, factor_gradients(factors, suffixes, G), rate)

    @jax.jit
    def loop(data: list[Any], factors: list[Any], first: int, steps: int) -> list[Any]:
        return jax.lax.fori_loop(
            first, first + steps, lambda step, factors: one_step(data, step, factors), factors
        )

    def advance(steps: int) -> None:
        nonlocal state, done
        state = jax.block_until_ready(loop(data, state, done, steps))
        done += steps

    return Stepper(advance, lambda: flat([np.asarray(factor) for factor in state]))
