"""PyTorch without autograd: products into buffers, the updates added by the products themselves.

Autograd takes twice to ten times as long for networks of 20 to 100, torch.compile 1.1 to 2 times.
"""

import functools
from collections.abc import Callable
from typing import Any

from benchmarks.peers.common import Descent, Stepper, Sweep, flat, require, residual_power
from benchmarks.peers.matrix.common import (
    GRAM,
    LAYERWISE,
    Batch,
    Variants,
    forms,
    thread_words,
)


def torch_variants(run: Descent | Sweep) -> Variants:
    """Each form with one thread and with all of them."""
    return {
        f"{form}, {thread_words(threads)}": functools.partial(torch_steps, run, form, threads)
        for form in forms(Batch.of(run).one)
        for threads in dict.fromkeys((1, run.threads))
    }


def torch_steps(run: Descent | Sweep, form: str, threads: int) -> Stepper:
    """A run with so many threads."""
    require("torch")
    import torch

    batch = Batch.of(run)
    factors = [torch.from_numpy(factor) for factor in batch.views(batch.start())]
    if form == LAYERWISE:
        step = _layerwise(batch, factors)
    else:
        step = _end_to_end(batch, factors, form == GRAM)

    def advance(steps: int) -> None:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            for _ in range(steps):
                step()

    return Stepper(advance, lambda: flat([factor.numpy() for factor in factors]))


def _end_to_end(batch: Batch, factors: list[Any], gram: bool) -> Callable[[], None]:
    import torch

    one, lead, dtype = batch.one, batch.lead, factors[0].dtype
    k, d, inner = one.outputs, one.widths[0], range(one.depth - 1)
    multiply, add = (torch.bmm, torch.baddbmm) if lead else (torch.mm, torch.addmm)
    buffers = [
        [torch.empty((*lead, k, one.widths[j]), dtype=dtype) for j in inner] for _ in range(2)
    ]
    last = torch.empty_like(factors[-1])  # the gradient of W_N
    suffixes, prefixes = [*buffers[0], factors[-1]], [*buffers[1], last]
    before = [(suffixes[j + 1], factors[j], suffixes[j]) for j in reversed(inner)]
    # T_(j+1) = T_j W_j' is made of the old W_j, and W_j -= S_j' T_j of the old W_N.
    after = [
        (prefixes[j], factors[j].mT, prefixes[j + 1], factors[j], suffixes[j + 1].mT) for j in inner
    ]
    # The data are met by all models at once.
    W, T = suffixes[0].view(-1, d), prefixes[0]
    G, models = T.view(-1, d), lead[0] if lead else 1
    if gram:
        XX, YX = map(torch.from_numpy, batch.gram())
        YX = YX.repeat(models, 1)
    else:
        X, scaled = torch.from_numpy(one.X), torch.from_numpy(batch.scaled_data())
        targets = torch.from_numpy(one.Y).T.repeat(models, 1).contiguous()
        r = torch.empty_like(targets)
    scale = torch.as_tensor(batch.scale)

    def step() -> None:
        for a, b, out in before:
            multiply(a, b, out=out)
        if gram:
            torch.addmm(YX, W, XX, beta=-1, out=G)
        else:
            torch.addmm(targets, W, X.T, beta=-1, out=r)
            torch.mm(residual_power(r, one.p), scaled, out=G)
        if lead:
            T.mul_(scale)
        for prefix, transposed, following, factor, suffix in after:
            multiply(prefix, transposed, out=following)
            add(factor, suffix, prefix, alpha=-1, out=factor)
        factors[-1].sub_(last)

    return step


def _layerwise(batch: Batch, factors: list[Any]) -> Callable[[], None]:
    """What the layers give and its gradients are (width, n)."""
    import torch

    one, lead = batch.one, batch.lead
    n, d = one.X.shape
    multiply, add = (torch.bmm, torch.baddbmm) if lead else (torch.mm, torch.addmm)
    X, targets = torch.from_numpy(one.X), torch.from_numpy(one.Y).T.contiguous()
    outputs, deltas = (
        [torch.empty((*lead, width, n), dtype=X.dtype) for width in one.widths[1:]]
        for _ in range(2)
    )
    forward = [(factors[j], outputs[j - 1], outputs[j]) for j in range(1, one.depth)]
    backward = [
        (factors[j].mT, deltas[j], deltas[j - 1], factors[j], outputs[j - 1].mT)
        for j in range(one.depth - 1, 0, -1)
    ]
    # The data are met by all models at once.
    W, H, D = factors[0].view(-1, d), outputs[0].view(-1, n), deltas[0].view(-1, n)
    scale = torch.as_tensor(batch.scale)

    def step() -> None:
        torch.mm(W, X.T, out=H)
        for a, b, out in forward:
            multiply(a, b, out=out)
        r = outputs[-1].sub_(targets)
        torch.mul(residual_power(r, one.p), scale, out=deltas[-1])
        for transposed, delta, following, factor, output in backward:
            multiply(transposed, delta, out=following)
            add(factor, delta, output, alpha=-1, out=factor)
        torch.addmm(W, D, X, alpha=-1, out=W)

    return step
