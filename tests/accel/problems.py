"""A problem, a network to start from and a scripted loop, for the tests of ``train``."""

import math
import time
from typing import NamedTuple

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


class Snapshot(NamedTuple):
    step: int
    active: np.ndarray


class Scripted:
    """A loop of one model whose losses are given by a list; the last one repeats for ever."""

    def __init__(self, losses, pause=0.0, fail_at=None):
        self.losses, self.pause, self.fail_at = losses, pause, fail_at
        self.step, self.threads, self.calls = 0, 1, []
        self.active, self.statuses = np.array([0]), np.array([specs.RUNNING])
        self.stopped, self.rows = False, []

    def __call__(self, X, Y, loss, models, threads, batches=None):
        (model,) = models
        self.widths, self._params = model.widths, model.params
        return self

    @property
    def steps(self):
        return np.array([self.step])

    def params(self, model):
        return np.full_like(self._params, self.step)

    device_params = params

    def _row(self):
        loss = self.losses[min(self.step, len(self.losses) - 1)]
        return np.array([self.step, loss, loss, self.step])

    def evaluate(self):
        self.calls.append(("evaluate", self.step))
        return self._row()[np.newaxis]

    def advance(self, steps, record_every=0, tol=0.0, target=-math.inf):
        self.calls.append(("advance", self.step, steps, record_every))
        for _ in range(steps if len(self.active) else 0):
            if self.pause:
                time.sleep(self.pause)
            row = self._row()
            if self.step == self.fail_at:
                raise RuntimeError("the kernel failed")
            if not np.isfinite(row[1]):
                return self._end(specs.DIVERGED)
            if record_every and self.step % record_every == 0:
                self.rows.append(row)
            if tol > 0 and row[2] <= tol:
                return self._end(specs.CONVERGED)
            if row[1] <= target:
                return self._end(specs.TARGET)
            self.step += 1
            if self.stopped:
                self.stopped = False
                return None
        return None

    def _end(self, status):
        self.active, self.statuses[0] = self.active[:0], status

    def take_history(self):
        rows, self.rows = np.array(self.rows).reshape(-1, 1, 4), []
        return rows[:, 0, 0].astype(int), rows[:, :, 1:]

    def snapshot(self):
        return Snapshot(self.step, self.active)

    def restore(self, snapshot, models=None):
        self.calls.append(("restore", snapshot.step))
        self.active = snapshot.active if models is None else np.array(models, int)
        if len(self.active):  # else no model is restored
            self.step, self.statuses[0] = snapshot.step, specs.RUNNING

    def stop(self):
        self.stopped = True
