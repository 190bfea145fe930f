"""``python -m benchmarks probes denormals``: do numbers below the normal ones slow a run down?

Steps of the CPU loop on one thread, float64, 2565 samples of 128 features, with data near 1 beside
data near 1e-310 (all products denormal, or 0), and with weights that decay from 1e-300 into the
denormals beside weights of 1. The ratio should stay below 2.
"""

import argparse
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np

N, D, STEPS, ROUNDS = 2565, 128, 400, 9


def runs() -> dict[str, Callable[[], float]]:
    """Seconds a step of each run; the first of a pair is the ordinary one."""
    from accel.kernels.cpu.loop import TrainingLoop
    from accel.kernels.specs import ADAM, GRADIENT_DESCENT, Loss, Model, Rule

    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((N, D)), rng.standard_normal((N, 1))
    zeros = np.zeros_like(Y)

    def make(p: float, of_x: float, of_w: float, kind: int, decay: float = 0.0):
        params = np.concatenate([of_w * rng.standard_normal(D * 3), rng.standard_normal(3)])
        rule = Rule(kind, (1e-6, decay, 0.9, 0.999, 1e-8))
        model = Model((D, 3, 1), params, rule)

        def run() -> float:
            # The targets of a decaying net are 0: nothing but decay moves it.
            data = of_x * X, (zeros if decay else of_x * Y)
            with TrainingLoop(*data, Loss(p), [model]) as loop:
                begin = time.perf_counter()
                loop.advance(STEPS)
                return (time.perf_counter() - begin) / STEPS

        return run

    made = {}
    for p in (2.0, 4.0, 1.5):
        made[f"p = {p:g}, data of 1"] = make(p, 1.0, 1.0, GRADIENT_DESCENT)
        made[f"p = {p:g}, data of 1e-310"] = make(p, 1e-310, 1.0, GRADIENT_DESCENT)
    for name, kind in (("gradient descent", GRADIENT_DESCENT), ("Adam", ADAM)):
        made[f"{name}, weights of 1 that decay"] = make(4.0, 1.0, 1.0, kind, 1e4)
        made[f"{name}, weights of 1e-307 that decay"] = make(4.0, 1.0, 1e-307, kind, 1e4)
    return made


def main(arguments: list[str]) -> int:
    argparse.ArgumentParser(
        prog="python -m benchmarks probes denormals", description=__doc__
    ).parse_args(arguments)
    made = runs()
    samples: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(ROUNDS):
        for name, run in made.items():
            samples[name].append(run())
    medians = [(name, 1e6 * float(np.median(found))) for name, found in samples.items()]
    print("| run | microseconds a step | ratio |\n|---|---:|---:|")
    for place, ((usual, before), (name, after)) in enumerate(pairwise(medians)):
        if place % 2 == 0:
            print(f"| {usual} | {before:.1f} | |\n| {name} | {after:.1f} | {after / before:.2f} |")
    return 0
