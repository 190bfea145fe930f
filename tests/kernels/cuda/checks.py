"""``python -m tests.kernels.cuda.checks NAME``: one check of the backend cuda, in a line.

They are what is asked first of a GPU that nobody has seen: each is a process of its own, so that a
kernel that hangs or writes where it must not takes no other with it. ``--list`` names them in
waves, from the smallest kernel up; those of a wave may run at the same time. The line says how far
the result is from the reference and how far it may be; the exit code is 1 if it is too far. In the
simulator (NUMBA_ENABLE_CUDASIM=1) the problems are smaller.
"""

import argparse
import sys
import time
import traceback
from functools import partial
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np

import accel
from accel._support import gpu
from accel.kernels.reference import curvature, factor_chain, lp_loss, precondition, updates
from accel.kernels.reference import loop as reference_loop
from accel.kernels.specs import (
    LANGEVIN,
    RUNNING,
    STATE_SLOTS,
    Batches,
    Entrywise,
    Loss,
    ModelSpec,
    Rule,
)

from ..runs import PLAIN, RULES, SCHEDULED, problem
from .kinds import KINDS, bounded, outputs, targets

# Numba and CuPy take seconds to load, and ``--list`` needs neither: they are imported in functions.

F4, F8 = np.float32, np.float64
#: Descent with noise from counters.
NOISY = Rule(LANGEVIN, (0.01, 0.0, 0.1, 2.0**52 + 3, 0.0))
#: How far a run may be from the reference in float64, relative to its largest number.
RUNS = {F4: 1e-4, F8: 1e-10}
#: Likewise loss and gradient of one pass.
PASSES = {F4: 1e-4, F8: 1e-11}


class Outcome(NamedTuple):
    """How far off, how far it may be, and what else is worth a look."""

    error: float
    allowed: float
    note: str = ""


def size(on_a_gpu, simulated):
    """Return what to use here: the simulator runs threads one after the other."""
    return simulated if gpu.simulated() else on_a_gpu


def off(got, expected):
    """Return the largest difference relative to the largest number, nan where one is nan."""
    expected = np.asarray(expected, F8)
    return float(np.max(abs(np.asarray(got, F8) - expected)) / np.max(abs(expected)))


def largest(*errors):
    """Return the largest, nan if one is: Python's ``max`` would lose it."""
    return float(np.max(errors))


def one_line(error):
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def check_updates():
    from accel.kernels.cuda import updates as ours

    errors = []
    for rule in (RULES["adam"], PLAIN, NOISY):
        rng = np.random.default_rng(0)
        params, grads = rng.standard_normal((2, 1000))
        state = np.zeros((STATE_SLOTS[rule.kind], 1000))
        expected, expected_state = params.copy(), state.copy()
        ours.update(rule.kind, params, grads, state, rule.hyper, 1)
        updates.update(rule.kind, expected, grads, expected_state, rule.hyper, 1)
        errors.append(off(params, expected))
    return Outcome(largest(*errors), 1e-14)


def check_chain():
    from accel.kernels.cuda import factor_chain as ours

    errors = []
    for widths in (size((128, 100, 100, 1), (20, 15, 15, 1)), (7, 3, 2), (9, 4)):
        case = problem(d=widths[0], hidden=widths[1:-1], k=widths[-1])
        G = np.random.default_rng(1).standard_normal((widths[-1], widths[0]))
        for function, more in (("end_to_end", ()), ("gradients", (G,))):
            got, expected = (
                getattr(module, function)(case.params, widths, *more)
                for module in (ours, factor_chain)
            )
            errors.append(off(got, expected))
    return Outcome(largest(*errors), 1e-12)


def check_blas():
    """What is left to CuPy: its products, its solver's singular values."""
    from accel.kernels.cuda import curvature as ours_curvature
    from accel.kernels.cuda import lp_loss as ours
    from accel.kernels.cuda import precondition as ours_precondition

    both_curvatures = (ours_curvature, curvature)
    X, Y, *_ = problem(n=500, d=20, k=3)
    W = np.random.default_rng(1).standard_normal((3, 20))
    pairs = list(zip(ours.gram(X, Y), lp_loss.gram(X, Y), strict=True))
    pairs.append([module.hessian(X, Y[:, 0], W[0], Loss(3.0)) for module in (ours, lp_loss)])
    moved = [m.hessian_product(X, Y, W, W[::-1].copy(), Loss(3.0)) for m in both_curvatures]
    pairs.append(moved)
    chains = [m.ChainCurvature(W.ravel(), (20, 3), W) for m in both_curvatures]
    pairs.append([chain.tangent(X[:3].ravel()) for chain in chains])
    pairs.append([chain.product(X[:3].ravel(), lambda moved: moved + W) for chain in chains])
    both = (ours_precondition, precondition)
    pairs.append([module.precondition(W, W[::-1].copy(), 3) for module in both])
    error = largest(*(off(got, expected) for got, expected in pairs))
    return Outcome(error, 1e-9, "Gram, Hessians, singular values")


def check_pass(route, dtype, n, d, k, p=4.0):
    """One pass over the data by this route."""
    from accel.kernels.cuda import lp_loss as ours
    from accel.kernels.cuda.jit import to_host, xp

    case = problem(n=n, d=d, k=k, hidden=(), p=p, dtype=dtype)
    W = case.params.reshape(k, d)
    going = xp.ones(1, np.int64)
    made = ours.Pass(ours.pack(case.X, case.Y), ours.on_device(case.params), case.loss, going,
                     route=route)  # fmt: skip
    made()
    value, G = to_host(made.losses.sum(axis=0)).sum(), to_host(made.partials.sum(axis=0))
    exact = (array.astype(F8) for array in (case.X, case.Y, W))
    expected, expected_G = lp_loss.loss_and_gradient(*exact, case.loss)
    return Outcome(largest(off(value / n, expected), off(p / n * G, expected_G)), PASSES[dtype])


def check_losses(n, d):
    """Passes of losses of every kind, off by a part of what rounding may do; some by two routes."""
    from accel.kernels.cuda import lp_loss as ours
    from accel.kernels.cuda.jit import to_host, xp

    routes = [("rows", name, F4, 1, 1) for name in KINDS if name != "cross-entropy"]
    routes += [("tiles", "logcosh", F4, 2, 3), ("tiles", "logistic", F8, 8, 1)]
    routes += [(route, "cross-entropy", dtype, 2, 10)
               for route, dtype in (("products", F4), ("blocks", F8))]  # fmt: skip
    rng, errors = np.random.default_rng(0), []
    for route, name, dtype, models, k in routes:
        X, W = (rng.standard_normal(s).astype(dtype) for s in [(n, d), (models, k, d)])
        W, Y = W / dtype(np.sqrt(d)), targets(rng, name, n, outputs(name, k)).astype(dtype)
        one = ours.Pass(ours.pack(X, Y), ours.on_device(W).reshape(-1), KINDS[name],
                        xp.ones(models, np.int64), route=route)  # fmt: skip
        one()
        values = to_host(one.losses).reshape(-1, models, k).sum(axis=(0, 2))
        gradients = to_host(one.partials.sum(axis=0)).reshape(models, k, d)
        for m in range(models):
            value, value_error, G, G_error = bounded(KINDS[name], X, Y, W[m])
            errors += [
                abs(values[m] - value) / value_error,
                np.max(abs(gradients[m] - G) / G_error),
            ]
    return Outcome(largest(*errors), 1.0, f"times the bound; {len(KINDS)} kinds")


def started(
    dtype, widths, n, rule="gradient descent", p=4.0, form="direct", models=1, entrywise=None
):
    """Return the arguments of a TrainingLoop, and of the reference's on the same numbers.

    ``rule`` is a name, or a rule itself.
    """
    rule = RULES[rule] if isinstance(rule, str) else rule
    shape = {"n": n, "d": widths[0], "hidden": widths[1:-1], "k": widths[-1], "p": p}
    cases = [problem(seed, **shape, form=form, dtype=dtype) for seed in range(models)]
    X, Y, loss, *_ = cases[0]

    def listed(of):
        if entrywise is None:
            return [ModelSpec(widths, case.params.astype(of), rule) for case in cases]
        shape, rng = (widths[0], entrywise.vectors), np.random.default_rng(0)
        starts = rng.uniform(0.5, 1.0, (models, widths[0] * entrywise.vectors)).astype(dtype)
        return [ModelSpec(shape, start.astype(of), rule, entrywise) for start in starts]

    exact = X if form == "entries" else X.astype(F8)
    return (X, Y, loss, listed(dtype)), (exact, Y.astype(F8), loss, listed(F8))


def check_run(dtype, widths, *, n, way=None, batches=None, every=3, **options):
    """A run of some steps, by a ``Way``'s name or as it is planned, and how long a step takes."""
    from accel.kernels.cuda import loop

    from .ways import Way

    module, steps = loop if way is None else Way(way), size(40, 4)
    ours, theirs = started(dtype, widths, n, **options)
    run = module.TrainingLoop(*ours, batches=batches)
    reference = reference_loop.TrainingLoop(*theirs, batches=batches)
    for each in (run, reference):
        each.advance(steps, record_every=every)
    (at, rows), (expected_at, expected) = run.take_history(), reference.take_history()
    pairs = [(at, expected_at), *zip(rows.T, expected.T, strict=True)]  # each column by itself
    pairs += [(run.params(m), reference.params(m)) for m in range(len(ours[3]))]
    error = largest(*(off(got, expected) for got, expected in pairs))
    # A run that does not move must not pass for one that is right.
    moved = off(reference.params(0), ours[3][0].params)
    assert moved > 2 * RUNS[dtype], f"the reference has moved by {moved} only"
    assert (run.statuses == RUNNING).all(), run.statuses
    note = run.engine
    if run.engine == "resident":
        note += f", blocks: {run._launcher.blocks}"
    if not gpu.simulated():
        before, began = run.step, time.perf_counter()
        run.advance(50 * steps)
        seconds = time.perf_counter() - began
        note += f", {1e6 * seconds / max(run.step - before, 1):.1f} us a step"
    return Outcome(error, RUNS[dtype], note)


def check_same_bits():
    from accel.kernels.cuda import loop

    params = []
    for _ in range(3):
        ours, _ = started(F8, (128, 1), size(2565, 20))
        run = loop.TrainingLoop(*ours)
        run.advance(size(300, 4))
        params.append(run.params(0))
    assert not np.array_equal(params[0], ours[3][0].params), "nothing has moved"
    error = largest(*(np.max(abs(other - params[0])) for other in params[1:]))
    return Outcome(error, 0.0, "three runs")


def _cupy(array):
    import cupy

    return cupy.asarray(array)


def _torch(array):
    import torch

    return torch.from_numpy(array).cuda()


def _jax(array):
    import jax

    return jax.device_put(array)


#: How NumPy's array becomes one on the GPU of each library.
BROUGHT = {"numpy": np.asarray, "cupy": _cupy, "torch": _torch, "jax": _jax}


def check_libraries():
    """The same data as NumPy's and as arrays of those libraries that are installed."""
    X, Y, *_ = problem(n=size(400, 30), d=8, dtype=F4)
    network = accel.LinearNetwork((8, 3, 1), seed=0, dtype="float32")

    def trained(X, Y, backend="cuda"):
        data = accel.LpProblem(X, Y, p=4.0)
        result = accel.train(data, network, accel.GradientDescent(0.01), size(50, 4),
                             backend=backend)  # fmt: skip
        return result.network.params

    expected, errors, notes = trained(X, Y, "reference"), [], []
    # Arrays of the others would need a GPU.
    brought = BROUGHT if not gpu.simulated() else {"numpy": BROUGHT["numpy"]}
    for name, bring in brought.items():
        if find_spec(name) is None:
            notes.append(f"{name} is not installed")
            continue
        try:
            errors.append(off(trained(bring(X), bring(Y)), expected))
            notes.append(name)
        except Exception as failure:  # the others have their turn
            traceback.print_exc()
            errors.append(np.inf)
            notes.append(f"{name}: {one_line(failure)}")
    return Outcome(largest(*errors), 1e-4, ", ".join(notes))


#: From the smallest kernel up; those of a wave may run at the same time.
WAVES = [
    {
        "updates": check_updates,
        "chain": check_chain,
        "rows-f4": partial(check_pass, "rows", F4, size(5000, 100), 128, 1),
        "rows-f8-odd": partial(check_pass, "rows", F8, size(777, 77), 17, 3, p=2.5),
        "blas": check_blas,
        "tiles-f4": partial(check_pass, "tiles", F4, size(5000, 100), size(128, 32), 8),
    },
    {
        "resident-1": partial(check_run, F8, (17, 1), n=size(203, 20), way="1 block"),
        "resident-2": partial(check_run, F8, (17, 5, 1), n=size(203, 20), way="2 blocks"),
        "resident-8": partial(
            check_run, F4, (128, 1), n=size(1000, 40), way=size("8 blocks", "3 blocks")
        ),
        "resident-f4": partial(check_run, F4, (128, 1), n=size(2565, 20)),
        "resident-f8": partial(check_run, F8, (128, 1), n=size(2565, 20)),
        "streaming": partial(
            check_run, F4, size((128, 3, 1), (17, 3, 1)), n=size(20_000, 90), way="streaming"
        ),
    },
    {
        "resident-132": partial(
            check_run, F8, (128, 1), n=size(2565, 20), way=size("132 blocks", "5 blocks")
        ),
        "wide-f4": partial(
            check_run, F4, size((128, 100, 100, 1), (17, 9, 9, 1)), n=size(2565, 20)
        ),
        "adam-k3": partial(check_run, F8, (17, 6, 3), n=size(900, 20), rule="adam"),
        "sweep-17": partial(check_run, F8, (17, 4, 1), n=size(2565, 10), models=size(17, 4)),
        "gram": partial(check_run, F8, size((40, 1), (9, 1)), n=2565, p=2.0, form="gram"),
        "streaming-gram": partial(
            check_run, F8, size((40, 1), (9, 1)), n=2565, p=2.0, form="gram", way="streaming"
        ),
        "diagonal": partial(
            check_run, F8, size((128, 1), (9, 1)), n=128, form="diagonal", models=3
        ),
        "diagonal-f4": partial(
            check_run, F4, size((128, 40, 20), (9, 5, 5)), n=128, form="diagonal", way="streaming"
        ),
        "blocks-f4": partial(check_pass, "blocks", F4, size(3000, 60), size(100, 17), size(70, 9)),
        "square-f8": partial(
            check_run, F8, size((100,) * 4, (9,) * 3), n=size(1000, 21), way="wide"
        ),
        "square-f4": partial(
            check_run, F4, size((200, 200, 200), (9, 9)), n=size(2000, 21), rule="adam", way="wide"
        ),
        "square-gram": partial(
            check_run,
            F8,
            size((100,) * 3, (9,) * 3),
            n=200,
            p=2.0,
            form="gram",
            way="wide",
            models=size(16, 2),
        ),
        "square-diagonal": partial(
            check_run,
            F4,
            size((100,) * 4, (9,) * 3),
            n=100,
            form="diagonal",
            rule="momentum",
            way="wide",
        ),
        "entrywise": partial(
            check_run,
            F8,
            (17, 1),
            n=size(203, 20),
            entrywise=Entrywise("power-difference", 3),
            models=2,
        ),
        "entrywise-f4": partial(
            check_run,
            F4,
            size((128, 1), (9, 1)),
            n=size(2565, 20),
            entrywise=Entrywise("hadamard", 3),
            rule="group rmsprop, factors",
            way="streaming",
        ),
        "entries": partial(
            check_run, F8, size((200, 200, 200), (9, 9, 9)), n=size(8000, 40), form="entries"
        ),
        "entries-f4": partial(
            check_run,
            F4,
            size((100,) * 4, (9,) * 3),
            n=size(2000, 40),
            form="entries",
            rule="adam",
            way="wide",
            models=size(16, 2),
        ),
        "measurements": partial(
            check_run, F8, size((50, 50, 50), (5, 4, 3)), n=size(1000, 40), form="measurements"
        ),
        # So seldom recorded that graphs have their turn.
        "batches": partial(
            check_run,
            F8,
            (17, 5, 1),
            n=size(2565, 20),
            batches=Batches(size(320, 6), "epoch", 3, 0.1),
            every=size(20, 3),
            models=2,
        ),
        "batches-f4": partial(
            check_run,
            F4,
            size((128, 40, 20), (9, 5, 3)),
            n=size(20_000, 21),
            batches=Batches(size(500, 5), "replacement", 5, 0.1, True),
            every=size(20, 3),
            way="wide",
        ),
        "langevin": partial(
            check_run, F8, (17, 5, 1), n=size(2565, 20), rule=NOISY, every=size(20, 3)
        ),
        "schedules": partial(
            check_run, F8, (17, 5, 1), n=size(2565, 20), rule=SCHEDULED["momentum"], models=2
        ),
        "schedules-f4": partial(
            check_run,
            F4,
            size((128, 5, 1), (9, 5, 1)),
            n=size(20_000, 20),
            rule=SCHEDULED["adam"],
            every=size(20, 3),
            way="streaming",
        ),
        "losses": partial(check_losses, size(3000, 40), size(64, 9)),
        "products": partial(check_pass, "products", F8, size(3000, 300), 40, 40),
        "tiles-f8-odd": partial(check_pass, "tiles", F8, size(777, 77), 17, 5, p=3.0),
        "same-bits": check_same_bits,
        "libraries": check_libraries,
    },
]

CHECKS = {name: check for wave in WAVES for name, check in wave.items()}


def run(name):
    """Make a check; whether it was right, and the line that says how it went."""
    began = time.perf_counter()
    try:
        error, allowed, note = CHECKS[name]()
    except Exception as problem:
        traceback.print_exc()
        return False, f"FAIL {name}: {one_line(problem)}"
    right = error <= allowed  # which nan is not
    parts = [f"off by {error:.1e} of {allowed:.0e} allowed", note]
    parts.append(f"{time.perf_counter() - began:.1f} s")
    said = "; ".join(part for part in parts if part)
    return right, f"{'ok  ' if right else 'FAIL'} {name}: {said}"


def main(arguments):
    parser = argparse.ArgumentParser(
        prog="python -m tests.kernels.cuda.checks", description=__doc__
    )
    parser.add_argument("name", nargs="?", choices=CHECKS, metavar="NAME")
    parser.add_argument("--list", action="store_true", help="a line a wave: names of its checks")
    options = parser.parse_args(arguments)
    if options.list:
        print("\n".join(" ".join(wave) for wave in WAVES))
        return 0
    if options.name is None:
        parser.error("the name of a check is needed, or --list")
    if gpu.simulated():
        from ..simulator import install
        from .ways import ORDERED

        install(ordered=ORDERED)
    elif reason := gpu.missing():
        print(f"FAIL {options.name}: {reason}")
        return 1
    right, line = run(options.name)
    print(line)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
