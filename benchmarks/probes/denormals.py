"""``python -m benchmarks probes denormals``: do numbers below the normal ones slow a run down?

Steps of the CPU loop on one thread, float64, 2565 samples of 128 features, with data near 1 beside
data near 1e-310 (all products denormal, or 0), and with weights that decay from 1e-300 into the
denormals beside weights of 1. The ratio depends on the processor: some compute with such numbers at
full speed, others leave them to microcode.
"""

import argparse
import functools
from collections.abc import Callable

import numpy as np

from benchmarks.harness import machine, page
from benchmarks.harness.data import SHAPES
from benchmarks.harness.timing import elapsed, in_turn, medians

N, D, _ = SHAPES["gas"]
STEPS, ROUNDS = 400, 9


def runs() -> dict[str, Callable[[], float]]:
    """Seconds a step of each run; the first of a pair is the ordinary one."""
    from accel.kernels import specs
    from accel.kernels.cpu.loop import TrainingLoop
    from accel.kernels.specs import ADAM, GRADIENT_DESCENT

    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((N, D)), rng.standard_normal((N, 1))
    zeros = np.zeros_like(Y)

    def make(p: float, of_x: float, of_w: float, kind: int, decay: float = 0.0):
        params = np.concatenate([of_w * rng.standard_normal(D * 3), rng.standard_normal(3)])
        rule = specs.Rule(kind, (1e-6, decay, 0.9, 0.999, 1e-8))
        model = specs.ModelSpec((D, 3, 1), params, rule)

        def run() -> float:
            # The targets of a decaying net are 0: nothing but decay moves it.
            data = of_x * X, (zeros if decay else of_x * Y)
            with TrainingLoop(*data, specs.Loss(p), [model]) as loop:
                return elapsed(functools.partial(loop.advance, STEPS)) / STEPS

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
    """Print the table."""
    argparse.ArgumentParser(
        prog="python -m benchmarks probes denormals",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(arguments)
    seconds = list(medians(in_turn(runs(), ROUNDS)).items())
    print(f"{machine.cpu_name()}\n")
    print(page.head(["run", "microseconds a step", "ratio"]))
    for (usual, before), (name, after) in zip(seconds[::2], seconds[1::2], strict=True):
        print(page.row([usual, f"{1e6 * before:.1f}", ""]))
        print(page.row([name, f"{1e6 * after:.1f}", f"{after / before:.2f}"]))
    return 0
