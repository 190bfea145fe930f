"""Matrix completion in PyTorch: as it is usually written, and with gradients by hand."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

import accel
from benchmarks.peers.common import flat

#: Makes so many steps, and returns the factors in one piece.
Loop = tuple[Callable[[int], None], Callable[[], np.ndarray]]


def _observed(problem: accel.MatrixCompletion) -> tuple[Any, Any, Any]:
    """Rows, columns and values of what is seen."""
    import torch

    rows, columns = (torch.from_numpy(np.ascontiguousarray(a)) for a in problem.places.T)
    return rows, columns, torch.from_numpy(problem.values[:, 0])


class _GroupRMSProp:
    """The rule with one scale for all parameters, as the code of the 2019 paper defines it."""

    def __init__(self, rule: accel.GroupRMSProp) -> None:
        self.rule, self.mean, self.step = rule, 0.0, 0

    def rate(self, gradients: list[Any]) -> float:
        """The learning rate over the root of the mean of squared norms."""
        rule = self.rule
        square = sum(float((g * g).sum()) for g in gradients)
        self.mean = rule.alpha * self.mean + (1 - rule.alpha) * square
        self.step += 1
        return rule.learning_rate / ((self.mean / (1 - rule.alpha**self.step)) ** 0.5 + rule.eps)


def _rates(optimizer: accel.Optimizer) -> Callable[[list[Any]], float]:
    if isinstance(optimizer, accel.GroupRMSProp):
        return _GroupRMSProp(optimizer).rate
    return lambda gradients: optimizer.learning_rate


def autograd(
    problem: accel.MatrixCompletion,
    network: accel.LinearNetwork,
    optimizer: accel.Optimizer,
    threads: int,
) -> Loop:
    """The loop as it is written: multiply, gather, backward, step."""
    import torch

    factors = [torch.tensor(W, requires_grad=True) for W in network.factors]
    rows, columns, values = _observed(problem)
    rate = _rates(optimizer)

    def advance(steps: int) -> None:
        torch.set_num_threads(threads)
        for _ in range(steps):
            W = factors[0]
            for factor in factors[1:]:
                W = factor @ W
            loss = (W[rows, columns] - values).square().mean()
            for factor in factors:
                factor.grad = None
            loss.backward()
            with torch.no_grad():
                gradients = [factor.grad for factor in factors]
                eta = rate(gradients)
                for factor, gradient in zip(factors, gradients, strict=True):
                    factor.sub_(gradient, alpha=eta)

    return advance, lambda: flat([factor.detach().numpy() for factor in factors])


def by_hand(
    problem: accel.MatrixCompletion,
    network: accel.LinearNetwork,
    optimizer: accel.Optimizer,
    threads: int,
) -> Loop:
    """The same without autograd, into buffers that are made once."""
    import torch

    factors = [torch.tensor(W) for W in network.factors]
    rows, columns, values = _observed(problem)
    place = rows * problem.d + columns
    k, widths = problem.k, network.widths
    suffixes = [torch.empty(k, width, dtype=values.dtype) for width in widths[:-1]]
    pulled = [torch.zeros(k, width, dtype=values.dtype) for width in widths[:-1]]
    suffixes[-1] = factors[-1]
    gradients = [torch.empty_like(factor) for factor in factors]
    rate, scale = _rates(optimizer), 2 / problem.n
    pairs = list(itertools.pairwise(range(len(factors))))

    def advance(steps: int) -> None:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            for _ in range(steps):
                for j, above in reversed(pairs):
                    torch.mm(suffixes[above], factors[j], out=suffixes[j])
                slopes = (suffixes[0].view(-1)[place] - values).mul_(scale)
                pulled[0].zero_()
                pulled[0].view(-1).index_add_(0, place, slopes)
                for j, above in pairs:
                    torch.mm(suffixes[above].mT, pulled[j], out=gradients[j])
                    torch.mm(pulled[j], factors[j].mT, out=pulled[above])
                gradients[-1].copy_(pulled[-1])
                eta = rate(gradients)
                for factor, gradient in zip(factors, gradients, strict=True):
                    factor.sub_(gradient, alpha=eta)

    return advance, lambda: flat([factor.numpy() for factor in factors])
