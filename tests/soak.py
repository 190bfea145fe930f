"""``python -m tests.soak --minutes 60``: everything over and over, checking answers and leaks.

Rounds of training, sweeps, checkpoints, killed processes, Ctrl-C and estimators. Every answer is
checked against NumPy's least squares, a proof of optimality, or, bit for bit, the same run made in
another way. After every round memory, threads, file descriptors and files left
behind are counted, and they must not grow. Ends with one line; the exit code is 1 if anything was
wrong.
"""

import argparse
import collections
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

import numpy as np

import accel
from accel import LinearNetwork, LpProblem, Result, optimum, sweep, train
from accel.datasets import load_file, make_ill_conditioned
from accel.sklearn import LpRegressor

from .children import started

_WARM = 5  # rounds until libraries have filled their pools and caches
_GROWTH = 32  # MiB between the second quarter and the last: enough for a leak of a kilobyte a run
_RULES = (
    accel.Adam(0.01), accel.Momentum(0.01), accel.Nesterov(0.01), accel.AdaGrad(0.1),
    accel.RMSProp(0.01), accel.AdaDelta(), accel.GradientDescent(0.02, weight_decay=0.01),
    accel.GroupRMSProp(0.01),
)  # fmt: skip


def _model(seed):
    """A problem, a network and an optimiser; same seed, same model."""
    rng = random.Random(seed)
    n, d, k = rng.choice(((40, 4, 1), (300, 17, 2), (2565, 128, 1)))
    dtype = rng.choice(("f4", "f8"))
    data = make_ill_conditioned(n, d, condition=100, seed=seed, k=k, dtype=dtype)
    problem = LpProblem(data.X, data.y, p=rng.choice((1.5, 2, 3, 4)))
    network = LinearNetwork.for_problem(
        problem, rng.randint(1, 4), 3, init="orthogonal", scale=0.5, seed=seed
    )
    return problem, network, rng.choice(_RULES)


def _assert_same(ours, theirs):
    assert (ours.status, ours.steps) == (theirs.status, theirs.steps)
    np.testing.assert_array_equal(ours.network.params, theirs.network.params)
    for name in ("step", "loss", "gradient_norm", "weight_norm"):
        np.testing.assert_array_equal(getattr(ours.history, name), getattr(theirs.history, name))


def _least_squares(rng, folder):
    """Gradient descent ends where NumPy's least squares does."""
    data = make_ill_conditioned(200, 8, condition=10, seed=rng.randrange(10**6))
    problem = LpProblem(data.X, data.y, p=2)
    W = np.linalg.lstsq(data.X, data.y, rcond=None)[0]
    network = LinearNetwork.for_problem(problem, 1)
    ours = train(problem, network, accel.Momentum(0.05), 5000, tol=1e-9)
    assert ours.status == "converged"
    np.testing.assert_allclose(ours.network.end_to_end()[0], W, rtol=0, atol=1e-6 * abs(W).max())


def _optimum(rng, folder):
    """No run ends below the optimum that Newton's method proves."""
    problem, network, rule = _model(rng.randrange(20))
    best = optimum(problem)
    last = train(problem, network, rule, 200).loss
    noise = 100 * np.finfo(problem.dtype).eps * problem.loss(np.zeros((problem.k, problem.d)))
    assert last >= best.loss - noise, f"{last!r} is below the optimum, {best.loss!r}"


def _same_bits(rng, folder):
    """The same run twice, through a file, and on the plain kernels."""
    problem, network, rule = _model(rng.randrange(20))
    threads, steps = rng.randint(1, 3), rng.randint(1, 400)
    first, second = (train(problem, network, rule, steps, threads=threads) for _ in range(2))
    _assert_same(first, second)
    path = folder / "result.npz"
    _assert_same(Result.load(first.save(path)), first)
    few = [train(problem, network, rule, 5, backend=name).loss for name in ("cpu", "reference")]
    np.testing.assert_allclose(*few, rtol=1e-3 if problem.dtype == np.float32 else 1e-9)
    path.unlink()


def _side_by_side(rng, folder):
    """A sweep, with models that diverge or end early, equals as many sweeps of two models."""
    problem, network, rule = _model(rng.randrange(20))
    rates = [10.0 ** rng.uniform(-4, 2) for _ in range(rng.randint(1, 8))]
    models = [(network, rule), *((network, accel.GradientDescent(rate)) for rate in rates)]
    goal = problem.loss(np.zeros((problem.k, problem.d))) / 2
    together = sweep(problem, models, 100, target=goal)
    for m, model in enumerate(models):
        _, ours = sweep(problem, [models[m - 1], model], 100, target=goal)
        _assert_same(ours, together[m])


def _checkpoints(rng, folder):
    """A run that is stopped and resumed several times equals one that is not."""
    problem, network, rule = _model(rng.randrange(20))
    steps, path = rng.randint(200, 2000), folder / "run.npz"
    whole = train(problem, network, rule, steps)
    for _ in range(rng.randint(1, 4)):
        train(problem, network, rule, steps, checkpoint=path, callback=lambda *_: True)
    _assert_same(train(problem, network, rule, steps, checkpoint=path), whole)
    path.unlink()


_KILLED_STEPS = 20_000
_CHILD = """
import sys
from pathlib import Path
from accel import train
from tests.soak import _KILLED_STEPS, _model
print("begun", flush=True)
while True:
    result = train(
        *_model(int(sys.argv[1])), _KILLED_STEPS, checkpoint=Path(sys.argv[2]),
        callback=lambda *_: True,
    )
    if result.status != "interrupted":
        break
"""


def _killed(rng, folder):
    """A run whose process is killed at any moment resumes to the same result."""
    seed, path = rng.randrange(20), folder / "killed.npz"
    for _ in range(2):
        with started(sys.executable, "-c", _CHILD, seed, path) as child:
            assert child.stdout.line() == "begun\n"
            time.sleep(rng.uniform(0, 2))
    resumed = train(*_model(seed), _KILLED_STEPS, checkpoint=path)
    _assert_same(resumed, train(*_model(seed), _KILLED_STEPS))
    for left in folder.glob("killed.npz*"):  # also half-written files of the killed process
        left.unlink()


def _ctrl_c(rng, folder):
    """An interrupted run returns its iterate, which is that of a run of as many steps."""
    problem, network, rule = _model(rng.randrange(20))
    train(problem, network, rule, 1)  # compiles, since Ctrl-C in a compilation is raised
    timer = threading.Timer(rng.uniform(0.2, 0.6), signal.raise_signal, [signal.SIGINT])
    timer.start()
    try:
        result = train(problem, network, rule, 10**9)
    finally:
        timer.join()
    assert result.status in ("interrupted", "diverged")
    if 0 < result.steps < 10**5:
        again = train(problem, network, rule, result.steps)
        np.testing.assert_array_equal(again.network.params, result.network.params)


def _estimators(rng, folder):
    """Every solver finds the coefficients of least squares."""
    data = make_ill_conditioned(150, 6, condition=10, seed=rng.randrange(10**6))
    A = np.column_stack([data.X, np.ones(150)])
    W = np.linalg.lstsq(A, data.y, rcond=None)[0]
    for solver in ("newton", "gradient", "end_to_end"):
        model = LpRegressor(p=2, solver=solver, depth=1 if solver == "newton" else 2).fit(
            data.X, data.y
        )
        np.testing.assert_allclose([*model.coef_, model.intercept_], W, rtol=0, atol=1e-4)
    quartic = LpRegressor(p=4).fit(data.X, data.y)
    assert quartic.dual_gap_ <= 1e-6 * np.mean(np.abs(quartic.predict(data.X) - data.y) ** 4)


def _files(rng, folder):
    """Tables are read from files as they were written; damaged files are refused."""
    table = np.random.default_rng(rng.randrange(10**6)).standard_normal((50, 4))
    for path in (folder / "table.csv", folder / "table.npy", folder / "table.npz"):
        if path.suffix == ".csv":
            np.savetxt(path, table, delimiter=",", fmt="%.17g")
        elif path.suffix == ".npy":
            np.save(path, table)
        else:
            np.savez(path, X=table[:, :-1], y=table[:, -1])
        data = load_file(path)
        np.testing.assert_array_equal(np.column_stack([data.X, data.y]), table)
        path.write_bytes(path.read_bytes()[: rng.randrange(60)])
        with contextlib.suppress(ValueError):
            load_file(path)
        path.unlink()


_ACTIVITIES = (
    _least_squares, _optimum, _same_bits, _side_by_side, _checkpoints, _killed, _ctrl_c,
    _estimators, _files,
)  # fmt: skip


def _held(folder):
    """What this process uses: MiB, threads, descriptors, files in its folder."""
    time.sleep(0.05)  # the system notices the end of a thread later than Python
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return {
        "rss": pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        "threads": len(os.listdir("/proc/self/task")),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "files": sum(len(files) for _, _, files in os.walk(folder)),
    }


def _leaks(held):
    """Descriptions of what grew over the rounds."""
    later = held[min(_WARM, len(held) - 1) :]
    leaks = [f"{held[-1]['files']} files left behind"] if held[-1]["files"] else []
    for name in ("threads", "descriptors"):
        first, last = later[0][name], later[-1][name]
        leaks += [f"{name} grew from {first} to {last}"] if last > first else []
    quarter = len(later) // 4
    if quarter:
        rss = np.array([row["rss"] for row in later])
        before, after = np.median(rss[quarter : 2 * quarter]), np.median(rss[-quarter:])
        leaks += [f"memory grew by {after - before:.0f} MiB"] if after - before > _GROWTH else []
    return leaks


def soak(minutes, seed, folder):
    """Make rounds until the time is up; return a report."""
    began, rng = time.monotonic(), random.Random(seed)
    counts, wrong, held = collections.Counter(), [], []
    while time.monotonic() < began + 60 * minutes:
        for activity in rng.sample(_ACTIVITIES, len(_ACTIVITIES)):
            name = activity.__name__.strip("_")
            try:
                activity(random.Random(f"{seed} {len(held)} {name}"), folder)
            except Exception as error:
                traceback.print_exc()
                told = " ".join(str(error).split())[:200]
                wrong.append(f"{name} in round {len(held)}: {type(error).__name__}: {told}")
            counts[name] += 1
        held.append(_held(folder))
    return {
        "minutes": round((time.monotonic() - began) / 60, 2),
        "cpu_minutes": round(time.process_time() / 60, 2),
        "seed": seed,
        "rounds": len(held),
        "activities": dict(counts),
        "wrong": wrong + _leaks(held),
        "held": held,
    }


def main():
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file for the report")
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process ignores it
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        # So that files left behind by libraries are counted, too.
        tempfile.tempdir = os.environ["TMPDIR"] = folder
        report = soak(given.minutes, given.seed, Path(folder))
    if given.json:
        given.json.write_text(json.dumps(report, indent=1) + "\n")
    first, last = report["held"][min(_WARM, len(report["held"]) - 1)], report["held"][-1]
    told = ", ".join(f"{name} {first[name]:.0f} to {last[name]:.0f}" for name in last)
    print(
        f"soak: {report['minutes']} min, {report['rounds']} rounds, "
        f"{sum(report['activities'].values())} activities, {told}: "
        f"{'; '.join(report['wrong']) or 'all right'}"
    )
    return 1 if report["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
