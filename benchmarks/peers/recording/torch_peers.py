"""PyTorch: eager records, products with the Hessian by automatic differentiation."""

import functools
from typing import Any

import numpy as np

from benchmarks.peers.common import require
from benchmarks.peers.matrix.common import thread_words
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


def torch_recorders(recording: Recording) -> Recorders:
    """With one thread and with all of them; the Hessian's products in either order.

    ``torch.func.linearize``, which would compute the gradient once, traces it at every iterate.
    """
    require("torch")
    import torch

    there = recording.moved(torch.from_numpy)
    threads = [(n, thread_words(n)) for n in dict.fromkeys((1, recording.run.threads))]
    orders = {"double backward": _double_backward, "forward over reverse": _forward_over_reverse}
    return Recorders(
        cheap={
            **{words: functools.partial(_cheap, there, n) for n, words in threads},
            "NumPy": numpy_cheap(recording),
        },
        sharpness={
            f"{order}, {words}": functools.partial(_sharpness, there, n, make)
            for order, make in orders.items()
            for n, words in threads
        },
    )


def _factors(recording: Recording, params: np.ndarray) -> list[Any]:
    import torch

    return [torch.from_numpy(factor) for factor in recording.run.factors(params)]


def _cheap(recording: Recording, threads: int, params: np.ndarray) -> dict[str, np.ndarray]:
    import torch

    torch.set_num_threads(threads)
    with torch.inference_mode():
        factors = _factors(recording, params)
        values = quantities(torch, torch.linalg.svdvals, recording, factors)
    return {name: value.numpy() for name, value in values.items()}


def _sharpness(recording: Recording, threads: int, make: Any, params: np.ndarray) -> float:
    import torch

    torch.set_num_threads(threads)
    gradient, product = make(recording.run, _factors(recording, params))
    start = torch.from_numpy(start_of(params.size))
    basis = torch.empty((min(PASSES - 1, params.size), params.size), dtype=torch.float64)
    return largest_eigenvalue(product, start, gradient, basis)


def _flat(blocks: Any) -> Any:
    import torch

    return torch.cat([block.ravel() for block in blocks])


def _double_backward(run: Any, factors: list[Any]) -> tuple[Any, Any]:
    """The gradient's graph is kept: a product is a way back through it."""
    import torch

    for factor in factors:
        factor.requires_grad_()
    gradients = torch.autograd.grad(network_loss(run, factors), factors, create_graph=True)

    def product(direction: Any) -> Any:
        blocks = run.factors(direction)
        return _flat(torch.autograd.grad(gradients, factors, blocks, retain_graph=True))

    return _flat(gradients).detach(), product


def _forward_over_reverse(run: Any, factors: list[Any]) -> tuple[Any, Any]:
    import torch

    gradient = torch.func.grad(functools.partial(network_loss, run))

    def product(direction: Any) -> Any:
        return _flat(torch.func.jvp(gradient, (factors,), (run.factors(direction),))[1])

    return _flat(gradient(factors)), product
