"""What a run goes on from, if not from its models: its checkpoint, or the end that a result has."""

import contextlib
import logging
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from accel._core.base import BaseProblem
from accel._core.digits import shortfall
from accel._runs import intervals
from accel._runs.checkpoints import (
    Checkpoint,
    Saved,
    check_arrays,
    digest_of,
    first_difference,
    of_models,
    read,
)
from accel._runs.checks import Limits, RunOptions
from accel._runs.ends import End, another
from accel._runs.exported import GROWING, cut_in, made_in, until, without_cut
from accel._runs.methods import ROTATED, Model
from accel._runs.recorder import Recorder
from accel._runs.recorder import identity as identity_of
from accel._runs.run import Run
from accel._support.arrays import Array
from accel.kernels.reference.norms import norm

__all__ = ["Before"]

#: What a run that goes on from a result may have anew.
_ANEW = ("steps", "tol", "target", "rungs", "record_every")

_BACKENDS = ("reference", "cpu", "cuda")
_MANY = 10  # times the records of a run of so many steps: what the log says

_log = logging.getLogger("accel")


class Before:
    """What a run goes on from: whichever has made more steps, its checkpoint or ``start``.

    Parameters
    ----------
    problem : BaseProblem
    start : End, optional
    limits : Limits
    options : RunOptions

    Attributes
    ----------
    saved : Saved or None
        What it is, for a run of these limits; None for a run that begins.
    limits, options
        As given, but with what the run keeps that was left to us: its interval of records and its
        backend.

    Raises
    ------
    OSError
        If the checkpoint cannot be read.
    ValueError
        If it is damaged, or has more steps than the run shall have.
    """

    def __init__(
        self, problem: BaseProblem, start: End | None, limits: Limits, options: RunOptions
    ) -> None:
        self._problem, self._start, self._place = problem, start, options.checkpoint
        self._file = None if self._place is None else read(self._place)
        self._from_file = self._file is not None and (start is None or self._is_further(start))
        self.saved, self.limits, self.options = self._file, limits, options
        if start is not None and not self._from_file:
            self.saved = start.saved(problem)
        if self.saved is not None:
            self._go_on(self.saved)

    def _is_further(self, start: End) -> bool:
        assert self._file is not None
        with self._file.reading():
            return made_in(self._file.arrays) > start.made

    def _go_on(self, saved: Saved) -> None:
        limits = self.limits
        with saved.reading():
            made = made_in(saved.arrays)
            if limits.usual:
                every = intervals.checked(saved.run["record_every"])
                self.limits = replace(limits, record_every=every)
                _tell_of_many(every, limits)
            self.saved = saved._replace(arrays=until(saved.arrays, limits.steps))
        if self._from_file and limits.steps < made:
            raise ValueError(
                f"steps must be at least {made}, so many has the run of {saved.kind} {saved.path} "
                f"made, got {limits.steps}"
            )
        backend = saved.run.get("backend")
        if self.options.backend == "auto" and backend in _BACKENDS:
            self.options = replace(self.options, backend=str(backend))

    def methods(self, models: Sequence[Model]) -> list[str] | None:
        """Return the methods that it names, if these models can take them."""
        if self.saved is None or self._problem.method != "auto" or self.options.batches is not None:
            return None
        methods, problem = self.saved.methods(len(models)), self._problem
        if len(methods) != len(models) or len(set(methods) & set(ROTATED)) > 1:
            return None
        possible = {"direct", "rowspace"} | ({"gram", "spectral"} if problem.quadratic else set())
        for (network, optimizer), method in zip(models, methods, strict=True):
            if method not in possible.intersection(problem.methods):
                return None
            if method in ROTATED and not (network.rotates and optimizer.rotates):
                return None
        return methods

    def checkpoint(
        self, models: Sequence[Model], methods: Sequence[str], backend: str, *, found: bool
    ) -> Checkpoint | None:
        """Return the file to save the run in, if it has one.

        Raises
        ------
        ValueError
            If what it goes on from is of another run.
        """
        start, place = self._start, self._place
        if place is None and start is None:
            return None
        same = start is not None and start.is_of(self._problem)
        limits, options = self.limits, self.options
        chosen = {
            "batches": None if options.batches is None else repr(options.batches),
            "steps": limits.steps,
            "tol": limits.tol,
            "target": limits.target,
            "rungs": limits.rungs,
            "record": identity_of(options.record),
        }
        data = "" if same and place is None else digest_of(self._problem)
        loss = self._problem.loss_function
        identity = of_models(data, loss, models, methods, chosen, backend, found=found)
        identity["record_every"] = limits.record_every  # last: by default it follows from others
        if start is not None:
            theirs = start.identity(self._problem)
            without = (*_ANEW, "data") if same else _ANEW
            if differs := first_difference(theirs, identity, without):
                raise another(differs)
            self._check_digits(models, methods)
        if place is None:
            return None
        checkpoint = Checkpoint(place, identity)
        if self._file is not None:
            longer = () if limits.rungs else ("steps",)  # a search drops models at shares of them
            checkpoint.check_run(self._file, longer if start is None else _ANEW)
        return checkpoint

    def _check_digits(self, models: Sequence[Model], methods: Sequence[str]) -> None:
        """Raise ValueError if a method that ``start`` began with is too coarse for new limits."""
        problem, tol, target = self._problem, self.limits.tol, self.limits.target
        if tol == 0 and target == -math.inf:
            return
        for (network, _), method in zip(models, methods, strict=True):
            # In float32 a pass over the data knows the residuals no better than the spectral form.
            if method != "gram" and (method != "spectral" or problem.dtype == np.float32):
                continue
            with np.errstate(over="ignore", invalid="ignore"):  # overflow is a status of the run
                weights = norm(network.end_to_end())
            squares, n, factor = problem.squares, problem.n, problem.factor
            if reason := shortfall(method, squares, n, factor, weights, tol, target):
                raise ValueError(
                    f"start is of a run by the method {method!r}, which it would go on with and "
                    f"which has not the digits: {reason}; to begin a new run with its weights pass "
                    "start.network as network and leave start out"
                )

    def reading(self) -> contextlib.AbstractContextManager[None]:
        """Return a context in which what was saved is used: the error names a damaged file."""
        return contextlib.nullcontext() if self.saved is None else self.saved.reading()

    def resume(self, run: Run, recorder: Recorder | None, rotation: dict[str, Array]) -> None:
        """Take a run there, which has this rotation.

        Raises
        ------
        ValueError
            If the file is damaged.
        """
        if self.saved is None:
            return
        with self.reading():
            saved, growing = self.saved.arrays, set(GROWING)
            if recorder is not None:
                recorder.expect(saved)
                growing |= recorder.growing
            like = run.state() | rotation
            check_arrays(without_cut(saved), like, growing)
            if cut := cut_in(saved):
                check_arrays(cut | rotation, like, growing)
        run.resume(saved)


def _tell_of_many(every: intervals.Checked, limits: Limits) -> None:
    """Warn in the log where the interval that a run keeps makes far more records than usual."""
    kept, usual = (
        intervals.records_of(wanted, limits.steps).count(limits.steps)
        for wanted in (every, limits.record_every)
    )
    if kept > _MANY * usual:
        _log.warning(
            "%d records in %d steps: the run goes on with its record_every=%s, pass "
            "record_every=%s for about as many as usual",
            kept, limits.steps, every, limits.record_every,
        )  # fmt: skip
