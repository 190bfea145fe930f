"""JAX: the step by hand, scanned over the steps and compiled as a whole.

`platform` is "gpu"; the tests say "cpu".
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers import jax_peers
from benchmarks.peers.common import Descent, Gap, Stepper, Sweep, flat, one_line, require
from benchmarks.peers.cuda.chain import LENGTHS, pieces

#: Steps to one turn of the loop: XLA launches what is in a turn together.
_UNROLLED = 10


def jax_scan(run: Descent, platform: str = "gpu") -> Stepper:
    return jax_peers.jax_by_hand(run, functools.partial(scanned, platform=platform))


def jax_vmap_scan(run: Sweep, platform: str = "gpu") -> Stepper:
    """One model's step, mapped over the models."""
    return jax_peers.jax_vmap(run, functools.partial(scanned, platform=platform))


def jax_sweep_scan(run: Sweep, platform: str = "gpu") -> Stepper:
    """Every model's residuals by one product with the data, every gradient by a second."""
    return jax_peers.jax_sweep(run, functools.partial(scanned, platform=platform))


def scanned(
    step: Callable[..., list[Any]], X: Any, Y: Any, factors: list[np.ndarray], platform: str
) -> Stepper:
    """Scans of fixed lengths, compiled beforehand.

    A loop whose length is known when it is compiled runs without a word from the host; one with
    any other asks it before each turn.
    """
    require("jax")
    import jax

    # Without it JAX computes in float32 whatever it is given; float32 arrays stay float32 with it.
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_default_matmul_precision", "highest")  # no TF32
    try:
        device = jax.devices(platform)[0]
    except RuntimeError as error:
        raise Gap(f"JAX has no {platform}: {one_line(error)}") from error
    X, Y = (_put(jax, values, device) for values in (X, Y))
    state = [jax.device_put(factor.copy(), device) for factor in factors]

    def several(X: Any, Y: Any, factors: list[Any], length: int) -> list[Any]:
        def turn(factors: list[Any], _: None) -> tuple[list[Any], None]:
            return step(jax, X, Y, factors), None

        unroll = min(length, _UNROLLED)
        return jax.lax.scan(turn, factors, None, length=length, unroll=unroll)[0]

    compiled = {
        length: jax.jit(functools.partial(several, length=length)).lower(X, Y, state).compile()
        for length in LENGTHS
    }

    def advance(steps: int) -> None:
        nonlocal state
        for length in pieces(steps):
            state = compiled[length](X, Y, state)
        jax.block_until_ready(state)

    return Stepper(advance, lambda: flat([np.asarray(factor) for factor in state]).copy())


def _put(jax: Any, values: Any, device: Any) -> Any:
    """An array of JAX of one of NumPy or, without a copy, of CuPy."""
    if isinstance(values, np.ndarray):
        return jax.device_put(values, device)
    return jax.dlpack.from_dlpack(values)
