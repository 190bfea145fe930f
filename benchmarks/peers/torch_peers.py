"""PyTorch: autograd in both orders, the step by hand, and that through torch.compile."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers.common import (
    Descent,
    Gap,
    Stepper,
    Sweep,
    absolute_power,
    factor_gradients,
    flat,
    one_line,
    require,
    residual_power,
    suffix_products,
)


def torch_layerwise(run: Descent) -> Stepper:
    """A Sequential of Linear layers, autograd and torch.optim.SGD: what users write."""
    require("torch")
    import torch

    X, Y = torch.from_numpy(run.X), torch.from_numpy(run.Y)
    layers = [
        torch.nn.Linear(columns, rows, bias=False, dtype=X.dtype)
        for rows, columns in zip(run.widths[1:], run.widths[:-1], strict=True)
    ]
    with torch.no_grad():
        for layer, factor in zip(layers, run.factors(run.params), strict=True):
            layer.weight.copy_(torch.from_numpy(factor))
    model = torch.nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=run.learning_rate)

    def step() -> None:
        loss = absolute_power(model(X) - Y, run.p).sum() / len(X)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return _torch_run(run, step, lambda: [layer.weight for layer in layers])


def torch_factors_first(run: Descent) -> Stepper:
    require("torch")
    import torch

    X, Y, factors = _torch_tensors(run)
    for factor in factors:
        factor.requires_grad_()

    def step() -> None:
        W = suffix_products(factors)[0]
        r = (X.mv(W[0]) if Y.dim() == 1 else X @ W.T) - Y
        loss = absolute_power(r, run.p).sum() / len(X)
        gradients = torch.autograd.grad(loss, factors)
        with torch.no_grad():
            for factor, gradient in zip(factors, gradients, strict=True):
                factor.sub_(gradient, alpha=run.learning_rate)

    return _torch_run(run, step, lambda: factors)


def torch_by_hand(run: Descent) -> Stepper:
    require("torch")
    import torch

    X, Y, factors = _torch_tensors(run)
    single = Y.dim() == 1
    r = torch.empty_like(Y)
    scale = run.learning_rate * run.p / len(X)

    def step() -> None:
        suffixes = suffix_products(factors)
        if single:
            torch.addmv(Y, X, suffixes[0][0], beta=-1, out=r)
            G = X.T.mv(residual_power(r, run.p))[None]
        else:
            torch.addmm(Y, X, suffixes[0].T, beta=-1, out=r)
            G = residual_power(r, run.p).T @ X
        gradients = factor_gradients(factors, suffixes, G)
        for factor, gradient in zip(factors, gradients, strict=True):
            factor.sub_(gradient, alpha=scale)

    return _torch_run(run, torch.no_grad()(step), lambda: factors)


def torch_sweep(run: Sweep) -> Stepper:
    """Every model's residuals by one product with the data, every gradient by a second."""
    require("torch")
    factors, step = torch_sweep_step(run)
    return _torch_run(run, step, lambda: factors)


def torch_sweep_step(run: Sweep, device: str = "cpu") -> tuple[list[Any], Callable[[], None]]:
    """The factors, stacks of them, and a step of theirs, in place."""
    import torch

    p = run.first.p
    X, y = on_device(run.X, device), on_device(run.first.Y, device)
    factors = [on_device(stack.copy(), device) for stack in run.first.factors(run.params)]
    scale = on_device(run.rates, device) * (p / len(X))
    r = torch.empty((len(X), len(scale)), dtype=X.dtype, device=device)
    G = torch.empty((len(scale), X.shape[1]), dtype=X.dtype, device=device)

    def step() -> None:
        suffixes = suffix_products(factors)
        torch.addmm(y, X, suffixes[0][:, 0].T, beta=-1, out=r)
        torch.mm(residual_power(r, p).T, X, out=G)
        gradients = factor_gradients(factors, suffixes, G.mul_(scale)[:, None])
        for factor, gradient in zip(factors, gradients, strict=True):
            factor.sub_(gradient)

    return factors, torch.no_grad()(step)


def torch_compiled(run: Descent) -> Stepper:
    """The step by hand through torch.compile, several steps to a call of the compiled code."""
    require("torch")
    import torch

    unrolled = 5
    X, Y, factors = _torch_tensors(run)
    one = functional_step(run.p, run.learning_rate * run.p / len(X))

    def several(X: Any, Y: Any, factors: list[Any]) -> list[Any]:
        for _ in range(unrolled):
            factors = one(X, Y, factors)
        return factors

    torch.set_num_threads(run.threads)  # the compiler writes it into its code
    compiled = torch.compile(several, fullgraph=True, dynamic=False)
    state = factors

    def advance(steps: int) -> None:
        nonlocal state
        torch.set_num_threads(run.threads)
        with torch.no_grad():
            for _ in range(steps // unrolled):
                state = compiled(X, Y, state)
            for _ in range(steps % unrolled):
                state = one(X, Y, state)

    try:
        # Deprecations inside the compiler are not ours; under pytest they would be errors.
        with torch.no_grad(), warnings.catch_warnings(action="ignore"):
            compiled(X, Y, factors)
    except Exception as error:  # every failure of the compiler is the same gap to us
        raise Gap(f"torch.compile fails here: {one_line(error)}") from error
    return Stepper(advance, lambda: flat([tensor.numpy() for tensor in state]))


def functional_step(p: float, scale: float) -> Callable[[Any, Any, list[Any]], list[Any]]:
    """A step by hand of X, Y and the factors to new factors, for a compiler to make its own."""

    def one(X: Any, Y: Any, factors: list[Any]) -> list[Any]:
        suffixes = suffix_products(factors)
        if Y.dim() == 1:
            r = X.mv(suffixes[0][0]) - Y
            G = X.T.mv(residual_power(r, p))[None]
        else:
            r = X @ suffixes[0].T - Y
            G = residual_power(r, p).T @ X
        gradients = factor_gradients(factors, suffixes, G)
        return [f - scale * g for f, g in zip(factors, gradients, strict=True)]

    return one


def on_device(values: Any, device: str) -> Any:
    """A tensor of a NumPy or CuPy array, without a copy unless it has to move."""
    import torch

    if isinstance(values, np.ndarray):
        return torch.from_numpy(values).to(device)
    return torch.from_dlpack(values)


def _torch_tensors(run: Descent) -> tuple[Any, Any, list[Any]]:
    import torch

    Y = np.ascontiguousarray(run.Y[:, 0]) if run.outputs == 1 else run.Y
    factors = [torch.from_numpy(factor.copy()) for factor in run.factors(run.params)]
    return torch.from_numpy(run.X), torch.from_numpy(Y), factors


def _torch_run(
    run: Descent | Sweep, step: Callable[[], None], factors: Callable[[], list[Any]]
) -> Stepper:
    import torch

    def advance(steps: int) -> None:
        torch.set_num_threads(run.threads)
        for _ in range(steps):
            step()

    return Stepper(advance, lambda: flat([factor.detach().numpy() for factor in factors()]))
