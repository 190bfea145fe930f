"""How a run is laid out on the device, and what is launched for its steps."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..specs import ADAM, END_TO_END, Loss
from . import estimates
from .epilogue import START, Models, Shared
from .factor_chain import PULL
from .jit import ON_HOST, THREADS, WARP, attribute, capability, xp
from .lp_loss import TILES_MAPS, Pass
from .powers import Data, power_of
from .precondition import precondition
from .resident import make_resident
from .resident_layout import MOST_BLOCKS, ResidentLayout, shared_memory
from .streaming import Sums, make_epilogue, make_publish, shared_bytes
from .updates import ANY, DECAY, KIND, RATE, A

#: Most outputs of a resident run, and what a lane may spend on data (``ResidentLayout.words``)
#: before the compiler spills, less with Adam; rows times outputs up to which it unrolls a loop with
#: ``pow``.
_MOST_OUTPUTS, _MOST_POWERS, _WORDS, _WORDS_ADAM = 4, 16, 96, 72
#: Rows in registers that there are kernels for: a shape between two takes the next.
_ROWS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32)
#: Streaming is taken only if its estimate is smaller by this factor, since estimates of different
#: kinds of steps are compared. A choice, not measured.
_ADVANTAGE = 2.0
#: Steps in a CUDA graph: many enough to hide a launch by the host. A choice, and not measured.
_GRAPH = 16


class Plan(NamedTuple):
    """A resident run: teams of ``blocks`` blocks, with so much shared memory each."""

    layout: ResidentLayout
    blocks: int
    teams: int
    shared: int


class Launcher(Protocol):
    """Launches the kernels of steps; the two classes below are the two kinds."""

    name: str

    def advance(self, active: np.ndarray, partners: np.ndarray, steps: int) -> None:
        """Queue so many steps of the active models."""

    def evaluate(self, active: np.ndarray) -> None:
        """Queue a pass that records the iterates of these models in the history's first row."""


def _bucket(depth: int) -> int:
    """Round a depth up to a power of two: few kernels serve all depths."""
    return 1 << max(depth - 1, 3).bit_length()


def fitting_rows(
    layout_of: Callable[[int], ResidentLayout], dtype: np.dtype[Any], power: int
) -> list[int]:
    """Return how many rows a warp can hold without spills; ``layout_of(rows)`` is its layout."""
    most = _ROWS[-1] if power else _MOST_POWERS // layout_of(1).outputs
    words = _WORDS_ADAM if layout_of(1).kind == ADAM else _WORDS
    return [rows for rows in _ROWS if rows <= most and layout_of(rows).words(dtype) <= words]


def _resident_layout(
    data: Data, loss: Loss, models: Models, blocks: int
) -> tuple[ResidentLayout, int] | None:
    """Return how that many blocks hold the data, and the bytes of shared memory that it takes."""
    dtype, d, k, warps = models.memory.dtype, data.d, data.k, THREADS // WARP
    kinds = {int(kind) for kind in models.rules[:, KIND]}
    kind = kinds.pop() if len(kinds) == 1 else ANY
    several = kind in (END_TO_END, ANY) and k > 1
    if k > _MOST_OUTPUTS or several or blocks > MOST_BLOCKS:
        return None
    of_block = -(-(d if loss.form == "gram" else data.n) // blocks)
    largest = max(of_model.size for of_model in models.layouts)

    def layout_of(rows: int, inside: bool = True) -> ResidentLayout:
        spills, from_gram = rows * warps < of_block, loss.form == "gram"
        return ResidentLayout(d, k, rows, _bucket(models.deepest), kind, from_gram, spills, inside)

    fitting = fitting_rows(layout_of, dtype, power_of(loss.p))
    if not fitting:
        return None
    rows = next((rows for rows in fitting if rows * warps >= of_block), fitting[-1])
    for inside in (True, False):
        chosen = layout_of(rows, inside)
        batch = warps * chosen.batch(dtype)
        spilled = -(-max(of_block - rows * warps, 0) // batch) * batch
        elements = shared_memory(dtype, chosen).memory + largest * inside + spilled * (d + k)
        if elements * dtype.itemsize <= attribute("MaxSharedMemoryPerBlockOptin"):
            return chosen, elements * dtype.itemsize
    return None


def _average_chain(models: Models) -> estimates.Chain:
    chains = [estimates.chain(layout.widths, layout.n_kept) for layout in models.layouts]
    return estimates.Chain(*np.mean(chains, axis=0).tolist())


def _streaming_cycles(
    data: Data, loss: Loss, models: Models, chain: estimates.Chain, costs: estimates.Terms
) -> float:
    """Estimate a streaming step of all models, one block a model."""
    rows, itemsize = data.d if loss.form == "gram" else data.n, models.memory.dtype.itemsize
    maps, processors = data.k * len(models.layouts), attribute("MultiProcessorCount")
    by_host = loss.form == "gram" or maps > TILES_MAPS[itemsize]
    rounds = -(-len(models.layouts) // processors)
    of_block = estimates.Chain(rounds * chain.factors, rounds * chain.multiply_adds)
    counts = estimates.streaming(rows, data.d, maps, itemsize, processors, by_host, of_block, costs)
    return estimates.cycles(counts, costs)


def plan(data: Data, loss: Loss, models: Models, blocks: int | None = None) -> Plan | None:
    """Find the fastest resident layout by ``estimates``; None if streaming is faster.

    The more blocks share the rows, the less each has to do and the more it has to collect; with
    several models, fewer blocks a team leave room for more teams, and what every block of a team
    repeats, such as the products of the factors, is repeated less often. The layout depends on the
    problem, the models and the device alone: the same run gets the same bits every time.

    Raises
    ------
    ValueError
        If so many ``blocks`` cannot hold the data.
    """
    count, costs = len(models.layouts), estimates.costs_of(capability())
    rows, itemsize = data.d if loss.form == "gram" else data.n, models.memory.dtype.itemsize
    processors, chain = min(attribute("MultiProcessorCount"), MOST_BLOCKS), _average_chain(models)
    best, least = None, np.inf
    for candidate in range(1, processors + 1) if blocks is None else [blocks]:
        fitting = _resident_layout(data, loss, models, candidate)
        if fitting is None:
            continue
        layout, shared = fitting
        teams = max(min(processors // candidate, count), 1)
        counts = estimates.resident(rows, data.d, data.k, itemsize, candidate, chain)
        cycles = estimates.cycles(counts, costs) * -(-count // teams)
        if cycles < least:
            best, least = Plan(layout, candidate, teams, shared), cycles
    if blocks is not None:
        if best is None:
            raise ValueError(f"blocks must be able to hold the data, got {blocks}")
        return best
    streaming = _streaming_cycles(data, loss, models, chain, costs)
    return None if _ADVANTAGE * streaming < least else best


class Resident:
    """Runs on data that stay on the chip; see ``resident``.

    Attributes
    ----------
    blocks, teams : int
        Blocks of a team, and teams.
    """

    name = "resident"

    def __init__(self, data: Data, loss: Loss, models: Models, run: Shared, chosen: Plan) -> None:
        layout, self.blocks, self.teams, shared = chosen
        dtype, processors = models.memory.dtype, self.teams * self.blocks
        self._tag = 0
        largest = max(of_model.size for of_model in models.layouts)
        pairs = layout.pairs(dtype)
        self._mail = xp.zeros(2 * self.teams * (self.blocks + 1) * pairs, np.uint64)
        outside = xp.zeros(1 if layout.inside else processors * largest, dtype)
        kernel = make_resident(dtype, power_of(loss.p), layout)
        self._launch = kernel.prepared(
            processors,
            (data, run, self._mail, outside, largest, self.blocks),
            shared=shared,
            cooperative=True,
        )

    def advance(self, active: np.ndarray, partners: np.ndarray, steps: int) -> None:
        """Queue so many steps of the active models."""
        all_reduces = -(-len(active) // self.teams) * steps
        if self._tag + all_reduces >= 2**32:  # tags would come round to words of long ago
            self._mail[...] = 0
            self._tag = 0
        self._launch(self._tag)
        self._tag += all_reduces

    def evaluate(self, active: np.ndarray) -> None:
        """Queue a pass that records the iterates of these models in the history's first row."""
        self.advance(active, active, 1)


class Streaming:
    """Runs on data that are read from memory once a step; see ``streaming`` and ``lp_loss``."""

    name = "streaming"

    def __init__(self, data: Data, loss: Loss, models: Models, run: Shared) -> None:
        self._data, self._loss, self._models, self._run = data, loss, models, run
        dtype, k = models.memory.dtype, data.k
        self._deepest = models.deepest
        self._shared = shared_bytes(dtype, self._deepest)
        self._epilogue = make_epilogue(dtype, k, loss.form == "gram")
        self._publish = make_publish(dtype, k)
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
        self._judge = self._epilogue.prepared(
            len(seats), (data, self._run, sums, self._deepest), shared=self._shared
        )
        self._multiply = self._publish.prepared(
            len(seats), (self._run, self._weights, self._deepest),
            shared=self._shared,
        )  # fmt: skip
        self._graph: Any = None

    def advance(self, active: np.ndarray, partners: np.ndarray, steps: int) -> None:
        """Queue so many steps of the active models, which are among the partners."""
        self._begin(partners, active)
        by_host = [place for place, m in enumerate(self._seats) if m in self._by_host]
        if self._pass.on_device and not by_host and not ON_HOST:
            for _ in range(steps // _GRAPH):
                self._several()
            steps %= _GRAPH
        for _ in range(steps):
            self._step()
            for place in by_host:
                self._step_end_to_end(place)

    def _step(self) -> None:
        self._pass()
        self._judge()

    def _several(self) -> None:
        """Queue ``_GRAPH`` steps in one go."""
        if self._graph is None:
            # Not on one that waits for the default stream: work of another thread would end it.
            with xp.cuda.Stream(non_blocking=True) as stream:
                stream.begin_capture()
                for _ in range(_GRAPH):
                    self._step()
                self._graph = stream.end_capture()
        self._graph.launch()

    def evaluate(self, active: np.ndarray) -> None:
        """Queue a pass that records the iterates of these models in the history's first row."""
        self._begin(active, active)
        self._step()

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
