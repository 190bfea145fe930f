"""``train``: one run of one model, in chunks that leave the caller in control."""

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import numpy as np

from accel import validation
from accel.backends import cpu_threads, resolve
from accel.kernels import specs
from accel.network import LinearNetwork
from accel.optimizers import EndToEnd, Optimizer
from accel.problem import LpProblem
from accel.progress import preparing, progress
from accel.results import History, Result, Status
from accel.validation import Array

_CHUNK_SECONDS = 0.1
_GROWTH = 16  # of a chunk over the one before: the first step, with cold caches, says little
_FEW = 16  # steps; chunks this short record every one of them, so that no pass is needed to look
_RECORDS = 1000
_PULSE = 0.05  # seconds; a wait without a limit sees no signal that another thread received

Callback = Callable[[int, float], object]


class _Run:
    """A run in progress.

    Its methods are called in the worker thread, where no KeyboardInterrupt can come between an
    update and its record.
    """

    def __init__(
        self, loop: Any, steps: int, record_every: int, tol: float, target: float, watched: bool
    ) -> None:
        self.loop = loop
        self.code = specs.RUNNING
        self.newest = (0, math.nan)  # the last step whose loss is known, and its loss
        self._steps, self._record_every = steps, record_every
        self._tol, self._target, self._watched = tol, target, watched
        self._rows: list[Array] = []
        self._clock = [(0, 0.0)]  # (step, seconds) at the end of every chunk
        self._snapshots: deque[tuple[int, Any]] = deque(maxlen=2)
        self._size = 1

    @property
    def going(self) -> bool:
        return bool(self.code == specs.RUNNING and self.loop.step < self._steps)

    def advance(self) -> None:
        """Make one chunk of steps."""
        loop, start = self.loop, self.loop.step
        size = min(self._size, self._steps - start)
        self._snapshots.append((start, loop.snapshot()))
        record_every = 1 if size <= _FEW else self._record_every
        began = time.perf_counter()
        self.code = loop.advance(size, record_every, self._tol, self._target)
        seconds = time.perf_counter() - began
        self._clock.append((loop.step, self._clock[-1][1] + seconds))
        rows = loop.take_history()
        self._rows.append(rows[rows[:, 0] % self._record_every == 0])
        if len(rows):
            self.newest = (int(rows[-1, 0]), float(rows[-1, 1]))
        elif self._watched and self.code == specs.RUNNING:
            self.newest = (loop.step, float(loop.evaluate()[1]))
        per_step = max(seconds, 1e-9) / max(loop.step - start, 1)
        self._size = max(1, min(int(_CHUNK_SECONDS / per_step), _GROWTH * size))

    def finish(self) -> tuple[Status, int | None, History]:
        """Settle how the run ended, and complete its history with the last iterate."""
        last, diverged_at = self.loop.evaluate(), None
        if self.code == specs.DIVERGED or not np.isfinite(last[1:3]).all():
            diverged_at = self.loop.step
            self._go_back()
            last = self.loop.evaluate()
        rows = np.concatenate([*self._rows, np.empty((0, 4))])
        if not len(rows) or rows[-1, 0] < last[0]:
            rows = np.vstack([rows, last])
        steps, seconds = zip(*self._clock, strict=True)
        step, loss, gradient_norm, weight_norm = rows.T.copy()
        history = History(
            step.astype(np.int64), loss, gradient_norm, weight_norm, np.interp(step, steps, seconds)
        )
        return self._status(last, diverged_at), diverged_at, history

    @property
    def seconds(self) -> float:
        return self._clock[-1][1]

    def _status(self, last: Array, diverged_at: int | None) -> Status:
        if diverged_at is not None:
            return "diverged"
        # Judged here for every ending: the kernels do not look at the iterate after the last step.
        if self.code == specs.CONVERGED or (self._tol > 0 and last[2] <= self._tol):
            return "converged"
        if self.code == specs.TARGET or last[1] <= self._target:
            return "target"
        return "completed" if self.loop.step >= self._steps else "interrupted"

    def _go_back(self) -> None:
        """Repeat the run, bit by bit, up to the last iterate with a finite loss."""
        goal = self.loop.step - 1
        for start, snapshot in reversed(self._snapshots):
            if start <= goal:
                self.loop.restore(snapshot)
                # Twice, since a request to stop may be pending; it ends one call at once.
                for _ in range(2):
                    self.loop.advance(goal - self.loop.step)
                return
        # The very first iterate is bad: there is nothing before it.


def _check(problem: LpProblem, network: LinearNetwork, optimizer: Optimizer) -> None:
    """Check that the three are what they should be and fit together."""
    kinds: list[tuple[str, object, type]] = [
        ("problem", problem, LpProblem),
        ("network", network, LinearNetwork),
        ("optimizer", optimizer, Optimizer),
    ]
    for name, value, kind in kinds:
        if not isinstance(value, kind):
            raise TypeError(
                f"{name} must be of type {kind.__name__}, got {validation.shown(value)}"
            )
    if (network.widths[0], network.widths[-1]) != (problem.d, problem.k):
        raise ValueError(
            f"network must map d = {problem.d} features to k = {problem.k} outputs, "
            f"got widths {network.widths}"
        )
    if network.dtype != problem.dtype:
        raise TypeError(
            f"network and problem must have one dtype, got {network.dtype} and {problem.dtype}"
        )
    if isinstance(optimizer, EndToEnd) and network.depth != 1:
        raise ValueError(
            f"EndToEnd needs a network of depth 1, got depth {network.depth}: its own depth "
            f"({optimizer.depth}) is that of the net it stands for"
        )


def train(
    problem: LpProblem,
    network: LinearNetwork,
    optimizer: Optimizer,
    steps: int,
    *,
    record_every: int | None = None,
    tol: float = 0.0,
    target: float | None = None,
    callback: Callback | None = None,
    progress: bool = False,
    backend: str = "auto",
    threads: int | None = None,
) -> Result:
    r"""Minimise :math:`L(W_N \cdots W_1)` over the factors by full-batch steps of one optimiser.

    Parameters
    ----------
    problem : LpProblem
    network : LinearNetwork
        Where to start; not modified. Of the problem's features, outputs and dtype.
    optimizer : Optimizer
        ``EndToEnd`` needs a network of depth 1.
    steps : int
        Updates to make, at least 1.
    record_every : int, optional
        Steps between two records of the history; about 1000 records in all by default.
    tol : float
        Stop once the Frobenius norm of the gradient with respect to the end-to-end matrix is at
        most this; 0 never stops.
    target : float, optional
        Stop once the loss is at most this.
    callback : callable, optional
        ``callback(step, loss)``, called in the caller's thread about ten times a second with the
        newest iterate whose loss is known. A true return value stops the run.
    progress : bool
        Show a progress bar on stderr.
    backend : {"auto", "cpu", "reference"}
    threads : int, optional
        For the data passes; by default ``ACCEL_NUM_THREADS`` or the CPUs this process may use.

    Returns
    -------
    Result
        Also after divergence, and after Ctrl-C (the work done so far; status ``"interrupted"``).

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range, or if problem, network and optimizer
        do not fit together.
    KeyboardInterrupt
        Only before the first step, while the kernels are compiled.

    Notes
    -----
    Whatever the callback raises ends the run and is passed on. The same seed, backend, dtype and
    number of threads give the same bits.

    References
    ----------
    Arora, Cohen, Hazan (2018), "On the Optimization of Deep Networks: Implicit Acceleration by
    Overparameterization", arXiv 1802.06509.

    Examples
    --------
    >>> import accel
    >>> problem = accel.LpProblem([[1.0, 0.0], [0.0, 1.0]], [3.0, 1.0], p=4)
    >>> network = accel.LinearNetwork.for_problem(problem, depth=1)
    >>> accel.train(problem, network, accel.GradientDescent(0.01), steps=1000).status
    'completed'
    """
    _check(problem, network, optimizer)
    steps = validation.integer("steps", steps, least=1)
    if record_every is None:
        record_every = -(-steps // _RECORDS)
    record_every = validation.integer("record_every", record_every, least=1)
    tol = validation.real("tol", tol, least=0)
    goal = -math.inf if target is None else validation.real("target", target)
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable, got {validation.shown(callback)}")
    kernels, threads = resolve(backend), cpu_threads(threads)

    with preparing():
        loop = kernels.loop.TrainingLoop(
            problem.X, problem.Y, problem.spec, network.widths, network.params.copy(),
            optimizer.rule, threads=threads,
        )  # fmt: skip
    watched = progress or callback is not None
    run = _Run(loop, steps, record_every, tol, goal, watched)
    with loop, ThreadPoolExecutor(1, "accel-train") as pool:
        try:
            _drive(run, pool, steps, callback, progress)
        except KeyboardInterrupt:
            loop.stop()
        except BaseException:
            loop.stop()
            raise
        ending = pool.submit(run.finish)
        with contextlib.suppress(KeyboardInterrupt):  # it is ending already
            wait([ending])
        status, diverged_at, history = ending.result()
        return Result(
            network=network.with_params(loop.params),
            history=history,
            status=status,
            steps=int(loop.step),
            seconds=run.seconds,
            diverged_at=diverged_at,
            optimizer=optimizer,
            p=problem.p,
            scale=problem.scale,
            method=problem.method,
            backend=kernels.name,
            threads=int(loop.threads),
        )


def _drive(
    run: _Run, pool: ThreadPoolExecutor, steps: int, callback: Callback | None, shown: bool
) -> None:
    """Make chunk after chunk in the worker, so that this thread is free to take a Ctrl-C."""
    with progress(shown, steps) as report:
        while run.going:
            chunk = pool.submit(run.advance)
            while not wait([chunk], _PULSE).done:
                pass
            chunk.result()
            if run.code == specs.DIVERGED:
                return
            report(run.loop.step, run.newest[1])
            if callback is not None and callback(*run.newest):
                return
