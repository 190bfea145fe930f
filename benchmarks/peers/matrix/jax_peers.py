"""JAX: each form as one compiled loop of many steps."""

import functools
from collections.abc import Callable
from typing import Any

from benchmarks.peers.common import (
    Descent,
    Stepper,
    Sweep,
    factor_gradients,
    residual_power,
    suffix_products,
)
from benchmarks.peers.jax_peers import compiled_loop, descended
from benchmarks.peers.matrix.common import END_TO_END, GRAM, LAYERWISE, Batch, Variants, forms

#: p / n times ``gradients(p, X, Y, factors)`` are the gradients of the loss.
Gradients = Callable[[float, Any, Any, list[Any]], list[Any]]


def jax_variants(run: Descent | Sweep) -> Variants:
    """Each form; the models of a sweep mapped over, stacked by hand, or one after the other.

    Its threads are as many as the process may use.
    """
    variants: dict[str, Callable[[], Stepper]] = {}
    for form in forms(Batch.of(run).one):
        if isinstance(run, Descent):
            variants[form] = functools.partial(jax_steps, run, form)
            continue
        variants[f"{form}, vmap"] = functools.partial(jax_vmap, run, form)
        variants[f"{form}, stacked"] = functools.partial(jax_stacked, run, form)
        variants[f"{form}, unrolled"] = functools.partial(jax_unrolled, run, form)
    return variants


def jax_steps(run: Descent, form: str) -> Stepper:
    """A run of one model."""
    gradients, X, Y = _form(run, form)
    scale = Batch.of(run).scale

    def step(_: Any, X: Any, Y: Any, factors: list[Any]) -> list[Any]:
        return descended(factors, gradients(run.p, X, Y, factors), scale)

    return compiled_loop(step, X, Y, run.factors(run.params))


def jax_vmap(run: Sweep, form: str) -> Stepper:
    """One model's step mapped over the models."""
    gradients, X, Y = _form(run.first, form)
    scales = Batch.of(run).scale

    def model(X: Any, Y: Any, factors: list[Any], scale: Any) -> list[Any]:
        return descended(factors, gradients(run.first.p, X, Y, factors), scale)

    def step(jax: Any, X: Any, Y: Any, stacks: list[Any]) -> list[Any]:
        return jax.vmap(model, in_axes=(None, None, 0, 0))(X, Y, stacks, scales)

    return compiled_loop(step, X, Y, run.first.factors(run.params))


def jax_stacked(run: Sweep, form: str) -> Stepper:
    """Stacks of factors; the data are met by all models at once."""
    gradients, X, Y = _form(run.first, form)
    batch = Batch.of(run)

    def step(_: Any, X: Any, Y: Any, stacks: list[Any]) -> list[Any]:
        return descended(stacks, gradients(run.first.p, X, Y, stacks), batch.scale)

    return compiled_loop(step, X, Y, run.first.factors(run.params))


def jax_unrolled(run: Sweep, form: str) -> Stepper:
    """As many steps as there are models in each of the loop's, for the compiler to share out."""
    gradients, X, Y = _form(run.first, form)
    scales, depth = Batch.of(run).scale[:, 0, 0], run.first.depth

    def step(_: Any, X: Any, Y: Any, factors: list[Any]) -> list[Any]:
        moved = []
        for m, scale in enumerate(scales):
            mine = factors[depth * m : depth * (m + 1)]
            moved += descended(mine, gradients(run.first.p, X, Y, mine), scale)
        return moved

    every = [factor for descent in run.descents for factor in descent.factors(descent.params)]
    stepper = compiled_loop(step, X, Y, every)
    return stepper._replace(params=lambda: stepper.params().reshape(len(scales), -1))


def _form(one: Descent, form: str) -> tuple[Gradients, Any, Any]:
    """The gradients of a form, and what they read in the place of X and Y."""
    if form == GRAM:
        return _gram, one.X.T @ one.X, one.Y.T @ one.X
    return {END_TO_END: _end_to_end, LAYERWISE: _layerwise}[form], one.X, one.Y


def _gram(p: float, XX: Any, YX: Any, factors: list[Any]) -> list[Any]:
    suffixes = suffix_products(factors)
    return factor_gradients(factors, suffixes, _of_rows(suffixes[0], XX) - YX)


def _end_to_end(p: float, X: Any, Y: Any, factors: list[Any]) -> list[Any]:
    suffixes = suffix_products(factors)
    power = residual_power(_of_rows(suffixes[0], X.T) - Y.T, p)
    return factor_gradients(factors, suffixes, _of_rows(power, X))


def _layerwise(p: float, X: Any, Y: Any, factors: list[Any]) -> list[Any]:
    outputs = [_of_rows(factors[0], X.T)]
    for factor in factors[1:]:
        outputs.append(factor @ outputs[-1])
    delta, gradients = residual_power(outputs[-1] - Y.T, p), []
    for factor, output in zip(factors[:0:-1], outputs[-2::-1], strict=True):
        gradients.append(delta @ output.swapaxes(-1, -2))
        delta = factor.swapaxes(-1, -2) @ delta
    return [*gradients, _of_rows(delta, X)][::-1]


def _of_rows(stack: Any, matrix: Any) -> Any:
    """``stack @ matrix`` as one product of the rows of all the models."""
    product = stack.reshape(-1, stack.shape[-1]) @ matrix
    return product.reshape(*stack.shape[:-1], matrix.shape[-1])
