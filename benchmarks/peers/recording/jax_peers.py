"""JAX: a record is one compiled function; or it is NumPy's, but for the products."""

import functools
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.peers.common import require
from benchmarks.peers.recording.common import (
    PASSES,
    Recorders,
    Recording,
    largest_eigenvalue,
    network_loss,
    quantities,
    start_of,
)
from benchmarks.peers.recording.numpy_peers import numpy_cheap


def jax_recorders(recording: Recording) -> Recorders:
    """Its threads are as many as the process may use."""
    require("jax")
    import jax

    jax.config.update("jax_enable_x64", True)
    cpu = jax.devices("cpu")[0]
    there = recording.moved(lambda array: jax.device_put(np.ascontiguousarray(array), cpu))
    return Recorders(
        cheap={"compiled": _cheap(there), "NumPy": numpy_cheap(recording)},
        sharpness={
            "compiled": _compiled_sharpness(there),
            "compiled products": _sharpness(there),
        },
    )


# The data are arguments of what is compiled, lest they be folded in.


def _cheap(recording: Recording) -> Any:
    import jax
    from jax import numpy as jnp

    run = recording.run

    @jax.jit
    def record(factors: list[Any], *data: Any) -> dict[str, Any]:
        given = iter(data)
        here = recording.moved(lambda _: next(given))
        singular_values = functools.partial(jnp.linalg.svd, compute_uv=False)
        return quantities(jnp, singular_values, here, factors)

    data = run.X, run.Y, recording.X, recording.Y, recording.known

    def on_host(params: np.ndarray) -> dict[str, np.ndarray]:
        values = record(run.factors(params), *data)
        return {name: np.asarray(value) for name, value in values.items()}

    return on_host


def _gradient(recording: Recording, X: Any, Y: Any) -> Any:
    """The gradient of the loss in flat parameters."""
    import jax

    run = replace(recording.run, X=X, Y=Y)
    return jax.grad(lambda params: network_loss(run, run.factors(params)))


def _sharpness(recording: Recording) -> Any:
    """Each product compiled, Lanczos's method on the host."""
    import jax

    run = recording.run

    @jax.jit
    def gradient(params: Any, X: Any, Y: Any) -> Any:
        return _gradient(recording, X, Y)(params)

    @jax.jit
    def product(params: Any, direction: Any, X: Any, Y: Any) -> Any:
        return jax.jvp(_gradient(recording, X, Y), (params,), (direction,))[1]

    def sharpness(params: np.ndarray) -> float:
        basis = np.empty((min(PASSES - 1, params.size), params.size))

        def on_host(direction: np.ndarray) -> np.ndarray:
            return np.asarray(product(params, direction, run.X, run.Y))

        first = np.asarray(gradient(params, run.X, run.Y))
        return largest_eigenvalue(on_host, start_of(params.size), first, basis)

    return sharpness


def _compiled_sharpness(recording: Recording) -> Any:
    """All of Lanczos's method in one compiled loop; rows to come are zeros and change nothing."""
    import jax
    from jax import numpy as jnp

    run = recording.run

    @jax.jit
    def largest(params: Any, start: Any, X: Any, Y: Any) -> Any:
        gradient, product = jax.linearize(_gradient(recording, X, Y), params)
        q = start + gradient * (jnp.linalg.norm(start) / jnp.linalg.norm(gradient))
        most = min(PASSES - 1, params.size)

        def step(j: Any, state: Any) -> Any:
            basis, diagonal, beside, q = state
            basis = basis.at[j].set(q)
            w = product(q)
            diagonal = diagonal.at[j].set(q @ w)
            w = w - (basis @ w) @ basis
            size = jnp.linalg.norm(w)
            return basis, diagonal, beside.at[j].set(size), w / size

        empty = jnp.zeros((most, params.size)), jnp.zeros(most), jnp.zeros(most)
        _, diagonal, beside, _ = jax.lax.fori_loop(0, most, step, (*empty, q / jnp.linalg.norm(q)))
        T = jnp.diag(diagonal) + jnp.diag(beside[:-1], 1) + jnp.diag(beside[:-1], -1)
        return jnp.linalg.eigvalsh(T)[-1]

    def sharpness(params: np.ndarray) -> float:
        return float(largest(params, start_of(params.size), run.X, run.Y))

    return sharpness
