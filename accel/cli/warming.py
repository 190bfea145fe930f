"""Compiling ahead: the calls of a study, cut short, in processes that run at the same time.

What a call compiles only the call itself knows. So each piece of a study is begun as a user would
begin it, and ends as soon as it runs. Pieces have kernels in common: a process that comes to a
kernel which another one has taken gives its piece back, and it is begun again later.
"""

import hashlib
import os
import sys
import tempfile
import time
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any, NamedTuple

from accel._core.network import LinearNetwork
from accel._core.optimizers import Optimizer
from accel._core.problem import Problem
from accel._optimum.any_problem import optimum
from accel._runs.rates import first_rate
from accel._runs.sweeping import sweep
from accel._runs.training import train
from accel._support.compiling import described, heard_by
from accel.kernels.compiling import Compilation, Ended, compile_alone
from accel.kernels.system.signals import end_at_interrupts
from accel.tuning import Model, Start
from accel.tuning.comparison import compare

__all__ = ["Kernel", "Outcome", "Study", "clear", "kept", "warm"]

_PATTERNS = ("*.nbi", "*.nbc", "accel-made-for.*.json")


class Study(NamedTuple):
    """What a user will train, compare and sweep.

    Attributes
    ----------
    problem : Problem
    models : sequence of Model
    start : Start
    steps, threads : int
    """

    problem: Problem
    models: Sequence[Model]
    start: Start
    steps: int
    threads: int


class Kernel(NamedTuple):
    """A kernel, by a name of its own and in words; the seconds that it took to compile it."""

    name: str
    words: str
    seconds: float = 0.0


class Outcome(NamedTuple):
    """What became of a piece of a study.

    Attributes
    ----------
    compiled, found : tuple of Kernel
        By this process, and on the disk.
    problems : tuple of str
        Why the piece failed, or a kernel could not be kept.
    given_back : bool
        Whether the piece came to a kernel of another process.
    """

    compiled: tuple[Kernel, ...] = ()
    found: tuple[Kernel, ...] = ()
    problems: tuple[str, ...] = ()
    given_back: bool = False


_Piece = str | Model


def _stop(*_: object) -> bool:
    """End a run as soon as it has begun: the callback of runs, and of sweeps."""
    return True


def _do(study: Study, piece: _Piece) -> None:
    """Begin all calls of a piece."""
    problem, models, start, steps, threads = study

    def begun(model: Model) -> tuple[LinearNetwork, Optimizer]:
        rule = model.at(first_rate(problem, model.optimizer))
        return start.network(problem, model), rule

    if isinstance(piece, Model):
        train(problem, *begun(piece), steps, callback=_stop, backend="cpu", threads=threads)
        if optimum(problem).status != "separable":  # else there is nothing to compare with
            compare(
                problem, [piece], steps, start=start, backend="cpu", threads=threads,
                watch=lambda *run: _stop,
            )  # fmt: skip
    elif piece == "sweep":
        pairs = [begun(model) for model in models]
        sweep(problem, pairs, steps, callback=_stop, backend="cpu", threads=threads)
    else:
        optimum(problem)


class _Taken(Exception):
    """Another process compiles the kernel."""


class _Worker:
    """What a process has to do, and has heard of kernels since it was last asked."""

    def __init__(self, study: Study, taken: Path, quiet: bool) -> None:
        self._study, self._taken, self._quiet = study, taken, quiet
        self._compiled: list[Kernel] = []
        self._found: list[Kernel] = []
        self._problems: list[str] = []
        heard_by(self._compile, self._cannot_keep, self._load)

    def _take(self, name: str) -> bool:
        """Take a kernel, unless another process has it: only one can make a file."""
        path = self._taken / hashlib.sha256(name.encode()).hexdigest()[:32]
        try:
            with path.open("x") as file:
                file.write(str(os.getpid()))
        except FileExistsError:
            return path.read_text() == str(os.getpid())
        return True

    def _compile(self, compilation: Compilation) -> Ended:
        name, words = f"{compilation.file} {compilation.kernel}", described(compilation)
        if not self._take(name):
            raise _Taken
        if not self._quiet:
            print(f"accel: compiling {words} ...", file=sys.stderr, flush=True)
        began = time.perf_counter()

        def ended(success: bool) -> None:
            if success:
                self._compiled.append(Kernel(name, words, time.perf_counter() - began))

        return ended

    def _cannot_keep(self, error: OSError) -> None:
        self._problems.append(f"a kernel could not be kept: {error}")

    def _load(self, file: str, kernel: str) -> None:
        words = described(Compilation("cpu", file, kernel, True))
        self._found.append(Kernel(f"{file} {kernel}", words))

    def do(self, piece: _Piece) -> Outcome:
        """Do a piece, as far as its kernels are free."""
        given_back = False
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # who runs it for its result reads them
                _do(self._study, piece)
        except _Taken:
            given_back = True
        except Exception as error:
            self._problems.append(f"{piece}: {error or type(error).__name__}")
        outcome = Outcome(
            tuple(self._compiled), tuple(self._found), tuple(self._problems), given_back
        )
        self._compiled, self._found, self._problems = [], [], []
        return outcome


_worker: _Worker | None = None  # of this process


def _begin(study: Study, taken: Path, quiet: bool) -> None:
    """Prepare a process: a Ctrl-C, which all hear, ends it without a word."""
    global _worker
    end_at_interrupts()
    compile_alone()
    _worker = _Worker(study, taken, quiet)


def _work(piece: _Piece) -> Outcome:
    assert _worker is not None
    return _worker.do(piece)


@contextmanager
def _pool(jobs: int, *arguments: Any) -> Iterator[Executor]:
    """Processes, prepared by ``_begin``, of which none outlives the block."""
    others = set(active_children())
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), _begin, arguments)
    try:
        with pool:
            try:
                yield pool
            finally:
                for process in set(active_children()) - others:
                    process.kill()
    except BrokenExecutor:
        raise MemoryError(
            "a process that compiles was ended, as it is where memory runs out: --jobs 1 needs "
            "less of it"
        ) from None


def warm(study: Study, jobs: int, quiet: bool = False) -> Iterator[Outcome]:
    """Compile what a study needs of the CPU's kernels, as far as it is not on the disk.

    Parameters
    ----------
    study : Study
    jobs : int
        Processes that compile at the same time.
    quiet : bool
        Whether they do not say on stderr what they begin to compile.

    Yields
    ------
    Outcome
        Of each time that a piece came to its end, or was given back.

    Raises
    ------
    MemoryError
        If a process was ended from outside.
    """
    waiting = deque[_Piece](["optimum", *study.models, *["sweep"] * bool(study.models)])
    later: list[_Piece] = []
    running: dict[Future[Outcome], _Piece] = {}
    jobs = min(jobs, len(waiting))
    with tempfile.TemporaryDirectory() as folder, _pool(jobs, study, Path(folder), quiet) as pool:
        while waiting or running or later:
            while waiting and len(running) < jobs:
                piece = waiting.popleft()
                running[pool.submit(_work, piece)] = piece
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                piece, outcome = running.pop(future), future.result()
                if outcome.given_back:
                    later.append(piece)
                if outcome.compiled or not outcome.given_back:
                    waiting.extend(later)  # the kernel that one waits for may be there now
                    later.clear()
                yield outcome
            if not (waiting or running):  # what is left waits for a kernel that was not kept
                for path in Path(folder).iterdir():
                    path.unlink()
                waiting.extend(later)
                later.clear()


def kept(folder: Path) -> tuple[int, int]:
    """Return the number of files in which kernels are kept in a folder, and their bytes."""
    files = [path for pattern in _PATTERNS[:2] for path in folder.glob(pattern)]
    return len(files), sum(path.stat().st_size for path in files)


def clear(folder: Path) -> int:
    """Delete all kernels that are kept in a folder; return the bytes that this freed.

    A process that has one open keeps it; one that looks for it later compiles it anew.

    Raises
    ------
    OSError
        If a file cannot be deleted.
    """
    freed = 0
    for pattern in _PATTERNS:
        for path in folder.glob(pattern):
            freed += path.stat().st_size
            path.unlink(missing_ok=True)
    return freed
