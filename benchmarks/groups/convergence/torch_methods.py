"""PyTorch: ``torch.optim`` on the factors, multiplied first, in float64."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from accel import Optimizer
from benchmarks.harness.timing import seconds_each
from benchmarks.peers import Descent, Stepper
from benchmarks.peers.common import absolute_power, flat, require, suffix_products

#: Constructors in ``torch.optim`` and the names there of our constants.
_RULES: dict[str, tuple[str, dict[str, str], dict[str, Any]]] = {
    "gd": ("SGD", {}, {}),
    "momentum": ("SGD", {"momentum": "momentum"}, {}),
    "nesterov": ("SGD", {"momentum": "momentum"}, {"nesterov": True}),
    "adagrad": ("Adagrad", {"eps": "eps"}, {}),
    "adadelta": ("Adadelta", {"rho": "rho", "eps": "eps"}, {}),
    "rmsprop": ("RMSprop", {"alpha": "alpha", "eps": "eps"}, {}),
    "adam": ("Adam", {"eps": "eps"}, {}),
}
#: How an optimiser may go over the factors; the fastest is taken.
_FORMS: tuple[dict[str, bool], ...] = ({}, {"foreach": True}, {"fused": True})


def prepare(run: Descent, rule: Optimizer, device: str) -> Callable[[], Stepper]:
    """What makes fresh runs, with the number of threads and the form that are fastest here."""
    require("torch")
    import torch

    X = torch.from_numpy(run.X).to(device)
    y = torch.from_numpy(np.ascontiguousarray(run.Y[:, 0])).to(device)
    counts = (1, run.threads) if device == "cpu" and run.threads > 1 else (run.threads,)

    def fresh(threads: int, form: dict[str, bool]) -> Stepper:
        factors = [torch.from_numpy(f.copy()).to(device) for f in run.factors(run.params)]
        for factor in factors:
            factor.requires_grad_()
        optimizer = _made(torch, rule, factors, form)

        def advance(steps: int) -> None:
            torch.set_num_threads(threads)
            for _ in range(steps):
                optimizer.zero_grad()
                r = X.mv(suffix_products(factors)[0][0]) - y
                (absolute_power(r, run.p).sum() / len(X)).backward()
                optimizer.step()
            if device == "cuda":
                torch.cuda.synchronize()

        note = f"{threads} threads" + "".join(f", {name}" for name in form)
        return Stepper(
            advance, lambda: flat([f.detach().cpu().numpy() for f in factors]), note=note
        )

    def seconds(setting: tuple[int, dict[str, bool]]) -> float:
        try:
            return seconds_each(fresh(*setting).advance)
        except (RuntimeError, TypeError, ValueError):  # there is no such form of this optimiser
            return float("inf")

    best = min(itertools.product(counts, _FORMS), key=seconds)
    return lambda: fresh(*best)


def _made(torch: Any, rule: Optimizer, factors: list[Any], form: dict[str, bool]) -> Any:
    name, renamed, further = _RULES[rule.name]
    constants = {theirs: getattr(rule, own) for own, theirs in renamed.items()}
    if rule.name == "adam":
        constants["betas"] = (rule.beta1, rule.beta2)
    kind = getattr(torch.optim, name)
    return kind(factors, lr=rule.learning_rate, **constants, **further, **form)
