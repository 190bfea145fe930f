"""Diagonal networks beside the loops that one would write in PyTorch."""

import numpy as np
import pytest

import accel

torch = pytest.importorskip("torch")

RULES = {
    "gd": (accel.GradientDescent(0.01), lambda p: torch.optim.SGD(p, 0.01)),
    "momentum": (accel.Momentum(0.002), lambda p: torch.optim.SGD(p, 0.002, momentum=0.9)),
    "nesterov": (
        accel.Nesterov(0.002), lambda p: torch.optim.SGD(p, 0.002, momentum=0.9, nesterov=True),
    ),
    "adagrad": (accel.AdaGrad(0.05), lambda p: torch.optim.Adagrad(p, 0.05)),
    "adadelta": (accel.AdaDelta(), lambda p: torch.optim.Adadelta(p, 1.0)),
    "rmsprop": (accel.RMSProp(0.01), lambda p: torch.optim.RMSprop(p, 0.01)),
    "adam": (accel.Adam(0.01), lambda p: torch.optim.Adam(p, 0.01)),
}  # fmt: skip


@pytest.mark.parametrize("form", ["power-difference", "hadamard"])
@pytest.mark.parametrize("rule", RULES)
def test_the_same_numbers(form, rule):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((12, 20)), rng.standard_normal(12)
    for depth, p in ((2, 2), (3, 4)):
        problem = accel.LpProblem(X, y, p=p, scale="1/p")
        network = accel.DiagonalNetwork(20, depth, form, init="near_zero", scale=0.3, seed=1)
        vectors = [torch.tensor(u, requires_grad=True) for u in network.factors]
        ours, make = RULES[rule]
        theirs = make(vectors)
        for _ in range(40):
            theirs.zero_grad()
            if form == "hadamard":
                w = torch.stack(vectors).prod(0)
            else:
                w = vectors[0] ** depth - vectors[1] ** depth
            loss = ((torch.tensor(X) @ w - torch.tensor(y)).abs() ** p).mean() / p
            loss.backward()
            theirs.step()
        result = accel.train(problem, network, ours, 40, record_every=39)
        np.testing.assert_allclose(result.history.loss[1], loss.item(), rtol=1e-9)
        expected = torch.cat(vectors).detach().numpy()
        np.testing.assert_allclose(result.network.params, expected, rtol=1e-8, atol=1e-10)
        assert np.abs(expected - network.params).max() > 1e-3
