"""Compiling kernels in parallel processes, none of which has a device."""

import contextlib
import os
from collections import deque
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from types import SimpleNamespace
from typing import Any, NamedTuple

from ..system.signals import ignore_interrupts
from . import planning

COMPILED, FOUND, FAILED = "compiled", "found", "failed"


class Outcome(NamedTuple):
    """The outcome for one kernel: COMPILED, FOUND on the disk, or FAILED for this ``reason``."""

    name: str
    kind: str
    reason: str = ""


def _compile(name: str, recipe: str, cc: tuple[int, int]) -> Outcome:
    try:
        kernel = planning.kernel_of(recipe)
        if kernel.kept(cc):
            return Outcome(name, FOUND)
        kernel.machine_code(cc)
        if not kernel.kept(cc):
            return Outcome(name, FAILED, "the disk does not keep it")
    except Exception as error:
        text = " ".join(str(error).split())
        return Outcome(name, FAILED, f"{type(error).__name__}: {text[:300]}")
    return Outcome(name, COMPILED)


def _work(connection: Connection, device: planning.Device) -> None:
    """Compile what comes through the connection, until it is closed."""
    ignore_interrupts()
    # No context of a device, and no CuPy: compiling needs neither.
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    planning.DEVICE = device
    from numba.cuda import dispatcher

    # Numba asks for the device in use when a kernel calls a device function.
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=device[:2])
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            connection.send(_compile(*connection.recv(), device[:2]))


class Pool:
    """Processes that compile kernels; none outlives the ``with`` statement.

    Parameters
    ----------
    jobs : int
        Processes at most: one is started when there is a kernel for it.
    device : Device
    """

    def __init__(self, jobs: int, device: planning.Device) -> None:
        self._jobs, self._device = jobs, device
        self._waiting: deque[tuple[str, str]] = deque()
        self._workers: dict[Connection, Any] = {}
        self._busy: dict[Connection, str] = {}

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *exception: Any) -> None:
        for process in self._workers.values():
            process.kill()
        for process in self._workers.values():
            process.join()

    @property
    def left(self) -> int:
        """Kernels that are waiting or being compiled."""
        return len(self._waiting) + len(self._busy)

    def add(self, name: str, recipe: str) -> None:
        """Have a kernel compiled."""
        self._waiting.append((name, recipe))

    def outcomes(self, seconds: float) -> Iterator[Outcome]:
        """Hand out work and yield the outcomes so far; wait at most ``seconds`` for the first."""
        self._hand_out()
        for ready in wait(list(self._busy), seconds):
            name = self._busy.pop(ready)
            try:
                yield ready.recv()
            except (EOFError, OSError):
                process = self._workers.pop(ready)
                process.join()
                yield Outcome(name, FAILED, f"its compiler ended with code {process.exitcode}")
        self._hand_out()

    def _hand_out(self) -> None:
        while self._waiting and len(self._busy) < self._jobs:
            idle = [connection for connection in self._workers if connection not in self._busy]
            connection = idle[0] if idle else self._start()
            with contextlib.suppress(OSError):  # it has ended, as ``outcomes`` will notice
                connection.send(self._waiting[0])
            self._busy[connection] = self._waiting.popleft()[0]

    def _start(self) -> Connection:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, self._device), daemon=True)
        process.start()
        theirs.close()
        self._workers[ours] = process
        return ours
