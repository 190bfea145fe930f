"""A problem, a start, and a scripted loop, for the tests of train()."""

import math
import time

import numpy as np

from accel import LinearNetwork, LpProblem
from accel.kernels import specs

BACKENDS = ["reference", "cpu"]


def make_problem(n=40, d=4, k=1, p=4, dtype="f8", **arguments):
    rng = np.random.default_rng(1)
    X, W = rng.standard_normal((n, d)), rng.standard_normal((k, d))
    Y = X @ W.T + 0.1 * rng.standard_normal((n, k))
    return LpProblem(X, Y, p=p, dtype=dtype, **arguments)


PROBLEM = make_problem()


def start(problem=PROBLEM, depth=2, **arguments):
    arguments = {"width": 3, "init": "orthogonal", "scale": 0.5, **arguments}
    return LinearNetwork.for_problem(problem, depth, **arguments)


class Scripted:
    """A loop whose losses are given by a list; the last of them goes on for ever."""

    def __init__(self, losses, pause=0.0, fail_at=None):
        self.losses, self.pause, self.fail_at = losses, pause, fail_at
        self.step, self.threads, self.calls = 0, 1, []
        self.closed, self.stopped, self.rows = False, False, []

    def __call__(self, X, Y, loss, widths, params, rule, threads):
        self._params, self.widths = params, widths
        return self

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.closed = True

    @property
    def params(self):
        return np.full_like(self._params, self.step)

    def _row(self):
        loss = self.losses[min(self.step, len(self.losses) - 1)]
        return np.array([self.step, loss, loss, self.step])

    def evaluate(self):
        self.calls.append(("evaluate", self.step))
        return self._row()

    def advance(self, steps, record_every=0, tol=0.0, target=-math.inf):
        self.calls.append(("advance", self.step, steps, record_every))
        for _ in range(steps):
            if self.pause:
                time.sleep(self.pause)
            row = self._row()
            if self.step == self.fail_at:
                raise RuntimeError("the kernel failed")
            if not np.isfinite(row[1]):
                return specs.DIVERGED
            if record_every and self.step % record_every == 0:
                self.rows.append(row)
            if tol > 0 and row[2] <= tol:
                return specs.CONVERGED
            if row[1] <= target:
                return specs.TARGET
            if self.stopped:
                self.stopped = False
                return specs.STOPPED
            self.step += 1
        return specs.RUNNING

    def take_history(self):
        rows, self.rows = self.rows, []
        return np.array(rows).reshape(-1, 4)

    def snapshot(self):
        return self.step

    def restore(self, snapshot):
        self.calls.append(("restore", snapshot))
        self.step = snapshot

    def stop(self):
        self.stopped = True
