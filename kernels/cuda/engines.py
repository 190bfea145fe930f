"""How a run is laid out on the device, and what is launched for its steps."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..specs import END_TO_END, Loss
from .jit import SIMULATED, WARP, attribute, xp
from .lp_loss import Data, Pass, power_of
from .precondition import precondition
from .resident import BATCH, Grip, make_resident, room
from .resident import THREADS as RESIDENT_THREADS
from .factor_chain import PULL
from .settle import START, Models, Run
from .streaming import THREADS as STREAMING_THREADS
from .streaming import Sums, make_publish, make_settle, shared_bytes
from .updates import ANY, DECAY, KIND, RATE, A

#: Threads of a block in the simulator, which runs them one after the other.
_SIMULATED_THREADS = 64
#: Most outputs of a resident run, and words of 32 bits that a lane may spend on rows of X, their
#: targets, the weights and the gradient: with more, the compiler spills.
_MOST_OUTPUTS, _WORDS = 4, 80
#: Rows in registers that there are kernels for: a shape between two takes the next.
_ROWS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32)
#: Estimates of the time of a resident step, in clock cycles of a multiprocessor, from the issue
#: rates of sm_90; ``python -m benchmarks.gpu`` measures what they should be.
_EXCHANGE, _PAIR, _ROW, _STEP = 1500.0, 0.25, 4.0, 700.0
#: The same of a streaming step: for its launches, and for a byte of X on all multiprocessors.
_LAUNCHES, _BYTE = 9000.0, 1 / 2200


class Plan(NamedTuple):
    """A resident run: teams of ``blocks`` blocks, with so much shared memory each."""

    grip: Grip
    blocks: int
    teams: int
    shared: int


class Engine(Protocol):
    """What makes steps: one of the two classes below."""

    name: str

    def advance(self, active: np.ndarray, partners: np.ndarray, steps: int) -> None:
        """Queue so many steps of the active models."""

    def evaluate(self, active: np.ndarray) -> None:
        """Queue a pass that records the iterates of these models in the history's first row."""


def _bucket(depth: int) -> int:
    """Round a depth up to a power of two: few kernels serve all depths."""
    return 1 << max(depth - 1, 3).bit_length()


def _grip(data: Data, loss: Loss, models: Models, blocks: int) -> tuple[Grip, int] | None:
    """Return how that many blocks hold the data, and the bytes of shared memory that it takes."""
    dtype, d, k = models.memory.dtype, data.d, data.k
    threads = _SIMULATED_THREADS if SIMULATED else RESIDENT_THREADS
    warps, vectors, words = threads // WARP, -(-d // WARP), dtype.itemsize // 4
    kinds = {int(kind) for kind in models.rules[:, KIND]}
    in_hand = _WORDS - 2 * k * vectors * words
    fitting = [rows for rows in _ROWS if rows * (vectors + k) * words <= in_hand]
    if k > _MOST_OUTPUTS or not fitting or (END_TO_END in kinds and k > 1):
        return None
    rows_of_block = -(-(d if loss.gram else data.n) // blocks)
    enough = [rows for rows in fitting if rows * warps >= rows_of_block]
    rows = enough[0] if enough else fitting[-1]
    outside = max(rows_of_block - rows * warps, 0)
    spilled = -(-outside // (warps * BATCH)) * warps * BATCH
    kind = kinds.pop() if len(kinds) == 1 else ANY
    largest = max(layout.size for layout in models.layouts)
    for inside in (True, False):
        grip = Grip(
            threads, d, k, rows, _bucket(models.deepest), kind, loss.gram, spilled > 0, inside
        )
        elements = room(dtype, grip).memory + largest * inside + spilled * d
        if elements * dtype.itemsize <= attribute("MaxSharedMemoryPerBlockOptin"):
            return grip, elements * dtype.itemsize
    return None


def _cycles(data: Data, loss: Loss, grip: Grip, blocks: int, itemsize: int) -> float:
    """Estimate a resident step of one model: rows, exchange, factors."""
    words = itemsize // 4
    rows = -(-(data.d if loss.gram else data.n) // blocks)
    compute = _ROW * words * rows * grip.outputs * (2 * grip.vectors + 8)
    pairs = grip.pairs(np.dtype(f"f{itemsize}"))
    exchange = _EXCHANGE + _PAIR * blocks * pairs if blocks > 1 else 0.0
    return compute + exchange + _STEP


def plan(data: Data, loss: Loss, models: Models, blocks: int | None = None) -> Plan | None:
    """Find the fastest resident layout by the estimates above; None if streaming is faster.

    The more blocks share the rows, the less each has to do and the more it has to collect; with
    several models, fewer blocks a team leave room for more teams. The layout depends on the
    problem, the models and the device alone: the same run gets the same bits every time.
    """
    count, itemsize = len(models.layouts), models.memory.dtype.itemsize
    processors = attribute("MultiProcessorCount")
    best, least = None, np.inf
    for candidate in range(1, processors + 1) if blocks is None else [blocks]:
        found = _grip(data, loss, models, candidate)
        if found is None:
            continue
        teams = max(min(processors // candidate, count), 1)
        rounds = -(-count // teams)
        cycles = rounds * _cycles(data, loss, found[0], candidate, itemsize)
        if cycles < least:
            best, least = Plan(found[0], candidate, teams, found[1]), cycles
    size = 0 if loss.gram else data.n * data.d * itemsize
    if blocks is None and least > _LAUNCHES + size * _BYTE:
        return None
    return best


class Resident:
    """Runs on data that stay on the chip; see ``resident``."""

    name = "resident"

    def __init__(self, data: Data, loss: Loss, models: Models, run: Run, chosen: Plan) -> None:
        grip, self._blocks, self._teams, shared = chosen
        dtype, processors = models.memory.dtype, self._teams * self._blocks
        self._run, self._tag = run, 0
        largest = max(layout.size for layout in models.layouts)
        pairs = grip.pairs(dtype)
        self._mail = xp.zeros(2 * 2 * processors * pairs, np.uint64)
        outside = xp.zeros(1 if grip.inside else processors * largest, dtype)
        kernel = make_resident(dtype, power_of(loss.p), grip)
        self._launch = kernel.prepared(
            processors,
            grip.threads,
            (data, run, self._mail, outside, largest, self._blocks),
            shared=shared,
            cooperative=True,
        )

    def advance(self, active: np.ndarray, partners: np.ndarray, steps: int) -> None:
        """Queue so many steps of the active models."""
        exchanges = -(-len(active) // self._teams) * steps
        if self._tag + exchanges >= 2**32:  # tags would come round to words of long ago
            self._mail[...] = 0
            self._tag = 0
        self._launch(self._tag)
        self._tag += exchanges

    def evaluate(self, active: np.ndarray) -> None:
        """Queue a pass that records the iterates of these models in the history's first row."""
        self.advance(active, active, 1)


class Streaming:
    """Runs on data that are read from memory once a step; see ``streaming`` and ``lp_loss``."""

    name = "streaming"

    def __init__(self, data: Data, loss: Loss, models: Models, run: Run) -> None:
        self._data, self._loss, self._models, self._run = data, loss, models, run
        dtype, k = models.memory.dtype, data.k
        self._threads = _SIMULATED_THREADS if SIMULATED else STREAMING_THREADS
        self._deepest = models.deepest
        self._shared = shared_bytes(dtype, self._threads, self._deepest)
        self._settle = make_settle(dtype, self._threads, k, loss.gram)
        self._publish = make_publish(dtype, self._threads, k)
        kinds = models.rules[:, KIND]
        self._by_host = np.flatnonzero(kinds == END_TO_END) if k > 1 else np.empty(0, np.int64)
        self._seats = np.empty(0, np.int64)

    def _sit(self, seats: np.ndarray) -> None:
        """Prepare passes for these models, in this order."""
        if np.array_equal(seats, self._seats):
            return
        data, dtype, self._seats = self._data, self._models.memory.dtype, seats.copy()
        maps = len(seats) * data.k
        self._going = xp.zeros(len(seats), np.int64)
        self._weights = xp.zeros(maps * data.d, dtype)
        most = len(self._models.layouts) * data.k
        self._pass = Pass(data, self._weights, self._loss, self._going, most)
        slots, loss_slots = len(self._pass.partials), len(self._pass.losses)
        sums = Sums(
            self._weights, self._pass.partials, self._pass.losses, self._going, slots, loss_slots
        )
        self._judge = self._settle.prepared(
            len(seats), self._threads, (data, self._run, sums, self._deepest), shared=self._shared
        )
        self._multiply = self._publish.prepared(
            len(seats), self._threads, (self._run, self._weights, self._deepest),
            shared=self._shared,
        )  # fmt: skip
        self._graph: Callable[[], None] | None = None

    def advance(self, active: np.ndarray, partners: np.ndarray, steps: int) -> None:
        """Queue so many steps of the active models, which are among the partners."""
        self._begin(partners, active)
        by_host = [place for place, m in enumerate(self._seats) if m in self._by_host]
        for _ in range(steps):
            self._pass()
            self._judge()
            for place in by_host:
                self._step_end_to_end(place)

    def evaluate(self, active: np.ndarray) -> None:
        """Queue a pass that records the iterates of these models in the history's first row."""
        self._begin(active, active)
        self._pass()
        self._judge()

    def _begin(self, seats: np.ndarray, active: np.ndarray) -> None:
        self._sit(seats)
        self._run.active[: len(seats)] = xp.asarray(seats)
        self._going[...] = xp.asarray(np.isin(seats, active).astype(np.int64))
        self._multiply()

    def _step_end_to_end(self, place: int) -> None:
        """The end-to-end rule with several outputs, unless the model has ended."""
        model, data = int(self._seats[place]), self._data
        layout, row = self._models.layouts[model], self._models.rows[model]
        rule, size = self._models.rules[model], data.k * data.d
        start = int(row[START])
        W = self._run.memory[start : start + size].reshape(data.k, data.d)
        G = self._run.memory[start + int(layout.table[0, PULL]) :][:size].reshape(data.k, data.d)
        running = self._going[place] != 0
        direction = precondition(xp.where(running, W, 0), xp.where(running, G, 0), int(rule[A]))
        keep = 1.0 - rule[RATE] * rule[DECAY] * rule[A]
        moved = keep * W.astype(np.float64) - rule[RATE] * direction.astype(np.float64)
        W[...] = xp.where(running, moved.astype(W.dtype), W)
        self._weights[place * size : (place + 1) * size] = W.ravel()
