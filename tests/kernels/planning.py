"""The backend ``cuda`` where kernels are planned: its own plans, and the reference's results.

So a test goes on to its last line, and asks for all the kernels that it asks for on a GPU.
"""

import importlib
import inspect

import numpy as np

from accel.kernels.cuda.loop import TrainingLoop as Planned
from accel.kernels.reference import loop, lp_loss


class TrainingLoop(loop.TrainingLoop):
    """The reference's loop, and beside it one that makes a step wherever a launch may be new."""

    def __init__(self, X, Y, loss, models, threads=1, batches=None, **options):
        super().__init__(X, Y, loss, models, threads, batches)
        self._planned = Planned(X, Y, loss, models, threads, batches, **options)
        self._partners = None

    @property
    def engine(self):
        return self._planned.engine

    def advance(self, steps, *arguments, **stops):
        partners = self.active if self._partners is None else self._partners
        if steps and len(self.active):
            with np.errstate(all="ignore"):
                self._planned._launcher.advance(self.active, partners, 1)
        super().advance(steps, *arguments, **stops)
        self._partners = None

    def restore(self, snapshot, models=None):
        super().restore(snapshot, models)
        self._partners = None if models is None else np.array(snapshot.active)


def in_float64(X, Y, W, loss):
    """Loss and gradient as exact as tests expect of compiled kernels, which add up in float64."""
    wide = [np.asarray(a, np.float64) for a in (X, Y, W)]
    value, gradient = lp_loss.loss_and_gradient(*wide, loss)
    with np.errstate(over="ignore"):
        return value, gradient.astype(X.dtype)


class Module:
    """A file of the backend: every function is called, and the reference's answer is returned."""

    def __init__(self, file):
        self._plain = importlib.import_module(f"accel.kernels.reference.{file}")
        self._planned = importlib.import_module(f"accel.kernels.cuda.{file}")

    def __getattr__(self, name):
        planned = getattr(self._planned, name)
        if name == "TrainingLoop":
            return TrainingLoop
        if not inspect.isfunction(planned):
            return planned
        plain = {"loss_and_gradient": in_float64}.get(name) or getattr(self._plain, name)

        def both(*arguments):
            with np.errstate(all="ignore"):
                planned(*arguments)
            return plain(*arguments)

        return both


class Chunks(Module):
    """The file whose pieces go back to it: each is the planned one, and the reference's."""

    def __init__(self):
        super().__init__("chunks")

    def pieces(self, *arguments):
        both = (self._planned.pieces(*arguments), self._plain.pieces(*arguments))
        return list(zip(*both, strict=True))

    def sums(self, piece, *arguments):
        planned, plain = piece
        with np.errstate(all="ignore"):
            self._planned.sums(planned, *arguments)
        return self._plain.sums(plain, *arguments)
