"""Train a small net plain, with factors, and by the end-to-end rule; then multiply the factors.

    pip install 'implicit-accel[torch]' && python examples/overparameterize.py

The three start as the same function and see the same data. Factors and rule move the net alike; the
collapsed net is of the size of the plain one and computes what the factors computed.
"""

import copy

import torch
from torch import nn

from accel.torch import EndToEndSGD, collapse, overparameterize

DEPTH = 2
RATE = 0.1
STEPS = 300


def n_parameters(model: nn.Module) -> int:
    """Count what is trained."""
    return sum(parameter.numel() for parameter in model.parameters())


def train(model: nn.Module, optimizer: torch.optim.Optimizer, X, y) -> float:
    """Minimise the mean fourth power of the residuals over all the data; its last value."""
    for _ in range(STEPS):
        loss = (model(X) - y).pow(4).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def main() -> None:
    """Run all three and print what comes out."""
    torch.manual_seed(0)
    X = torch.randn(512, 16)
    y = torch.sin(X @ torch.randn(16, 4) / 4)
    plain = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    factored = overparameterize(copy.deepcopy(plain), depth=DEPTH)
    ruled = copy.deepcopy(plain)
    print(f"start: outputs differ by {(factored(X) - plain(X)).abs().max():.0e}")

    runs = {
        "plain SGD": (plain, torch.optim.SGD(plain.parameters(), RATE)),
        f"SGD on {DEPTH} factors": (factored, torch.optim.SGD(factored.parameters(), RATE)),
        "end-to-end rule": (ruled, EndToEndSGD(ruled.parameters(), RATE, depth=DEPTH)),
    }
    for name, (model, optimizer) in runs.items():
        loss = train(model, optimizer, X, y)
        print(f"{name:16} {n_parameters(model):5} parameters, loss {loss:.3e} after {STEPS} steps")

    before = factored(X).detach()
    collapse(factored)
    change = (factored(X) - before).abs().max()
    print(f"collapsed: {n_parameters(factored)} parameters, outputs differ by {change:.0e}")


if __name__ == "__main__":
    main()
