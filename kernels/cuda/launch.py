"""How a run is laid out on the device, and what is launched for its steps."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..specs import ADAM, END_TO_END, GROUP_RMSPROP, Loss
from . import estimates
from .batches import Sampled
from .epilogue import Models, Shared
from .estimates import Terms
from .factor_chain import Layout
from .jit import THREADS, WARP, attribute, capability, xp
from .losses import Code, code_of, is_coupled, is_long
from .lp_loss import TILES_MAPS
from .powers import Data
from .resident import make_resident
from .resident_layout import MOST_BLOCKS, ResidentLayout, shared_memory
from .schedules import make_tabulate
from .streamed import Streaming, WideStreaming
from .updates import ANY, KIND, MIXED

#: Most outputs of a resident run, and what a lane may spend on data (``ResidentLayout.words``)
#: before the compiler spills, less with Adam; rows times outputs up to which it unrolls a loop with
#: a long function of a residual, such as ``pow``.
_MOST_OUTPUTS, _MOST_LONG, _WORDS, _WORDS_ADAM = 4, 16, 96, 72
#: Rows in registers that there are kernels for: a shape between two takes the next.
_ROWS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32)
#: Streaming is taken only if its estimate is smaller by this factor, and within it many blocks a
#: model, since estimates of different kinds of steps are compared. A choice, not measured.
_ADVANTAGE = 2.0
#: Most models of a wide run: they are counted along the second side of a grid.
_MOST_WIDE = 2**16 - 1


class Plan(NamedTuple):
    """A resident run: teams of ``blocks`` blocks, with so much shared memory each."""

    layout: ResidentLayout
    blocks: int
    teams: int
    shared: int


class Launcher(Protocol):
    """Launches the kernels of steps: ``Resident``, ``Streaming`` or ``WideStreaming``."""

    name: str

    def advance(self, active: np.ndarray, partners: np.ndarray, steps: int) -> None:
        """Queue so many steps of the active models."""

    def evaluate(self, active: np.ndarray) -> None:
        """Queue a pass that records the iterates of these models in the history's first row."""


def _bucket(depth: int) -> int:
    """Round a depth up to a power of two: few kernels serve all depths."""
    return 1 << max(depth - 1, 3).bit_length()


def fitting_rows(
    layout_of: Callable[[int], ResidentLayout], dtype: np.dtype[Any], code: Code
) -> list[int]:
    """Return how many rows a warp can hold without spills; ``layout_of(rows)`` is its layout."""
    most = _MOST_LONG // layout_of(1).outputs if is_long(code) else _ROWS[-1]
    words = _WORDS_ADAM if layout_of(1).kind == ADAM else _WORDS
    return [rows for rows in _ROWS if rows <= most and layout_of(rows).words(dtype) <= words]


def _rows(data: Data, loss: Loss) -> int:
    """Return the rows that a pass takes into account: of the data, of X'X; else none."""
    return {"direct": data.n, "gram": data.d}.get(loss.form, 0)


def _resident_layout(
    data: Data, loss: Loss, models: Models, blocks: int
) -> tuple[ResidentLayout, int] | None:
    """Return how that many blocks hold the data, and the bytes of shared memory that it takes."""
    dtype, d, k, warps = models.memory.dtype, data.d, data.k, THREADS // WARP
    kinds = {int(kind) for kind in models.rules[:, KIND]}
    several = (len(kinds) > 1 or END_TO_END in kinds) and k > 1
    kind = MIXED if GROUP_RMSPROP in kinds else ANY
    if len(kinds) == 1:
        kind = kinds.pop()
    diagonal = loss.form == "diagonal"
    if several or blocks > (1 if diagonal else MOST_BLOCKS) or (k > _MOST_OUTPUTS and not diagonal):
        return None
    if is_coupled(loss) or loss.form == "entries" or k != models.shape[0] or models.noisy:
        return None
    of_block = -(-_rows(data, loss) // blocks)
    largest = max(of_model.size for of_model in models.layouts)

    def layout_of(rows: int, inside: bool = True) -> ResidentLayout:
        spills = rows * warps < of_block
        deepest, structure = _bucket(models.deepest), models.structure
        return ResidentLayout(
            d, k, rows, deepest, kind, loss.form, spills, inside, structure, models.scheduled
        )

    fitting = [0] if diagonal else fitting_rows(layout_of, dtype, code_of(loss))
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


def _one_block_cycles(
    data: Data, loss: Loss, itemsize: int, chain: estimates.Chain, count: int, costs: Terms
) -> float:
    """Estimate a streaming step of so many models, one block each."""
    rows, maps, processors = _rows(data, loss), data.k * count, attribute("MultiProcessorCount")
    by_host = loss.form == "gram" or is_coupled(loss) or (rows > 0 and maps > TILES_MAPS[itemsize])
    rounds = -(-count // processors)
    of_block = estimates.Chain(rounds * chain.factors, rounds * chain.multiply_adds)
    counts = estimates.streaming(rows, data.d, maps, itemsize, processors, by_host, of_block, costs)
    return estimates.cycles(counts, costs)


def _passes(
    data: Data, loss: Loss, itemsize: int, count: int, costs: Terms
) -> dict[str | None, Terms]:
    """Count what occurs in passes of a wide step, by their route; None is that of other steps."""
    rows, maps, processors = _rows(data, loss), data.k * count, attribute("MultiProcessorCount")
    if loss.form in ("diagonal", "entries"):
        return {None: Terms()}
    by_host = loss.form == "gram" or is_coupled(loss) or maps > TILES_MAPS[itemsize]
    none = estimates.Chain(0, 0)
    passes: dict[str | None, Terms] = {
        None: estimates.streaming(rows, data.d, maps, itemsize, processors, by_host, none, costs)
    }
    if by_host:
        passes["blocks"] = estimates.blocks_pass(
            loss.form, rows, data.d, data.k, itemsize, processors, count
        )
    return passes


def _wide_terms(models: Models, count: int) -> Terms:
    """Count what follows the pass in a wide step of so many models like the largest."""
    layout, itemsize = _largest(models), models.memory.dtype.itemsize
    processors = attribute("MultiProcessorCount")
    return estimates.wide(
        layout.widths, layout.n_params, layout.n_kept, itemsize, processors, count
    )


def _largest(models: Models) -> Layout:
    return max(models.layouts, key=lambda layout: layout.n_params)


def wide_route(data: Data, loss: Loss, models: Models) -> tuple[bool, str | None]:
    """Return whether a streamed run has many blocks a model, and the route of its passes then.

    Only what follows a pass is compared, so that small networks are left to one block whatever the
    data are like; and so is one output. All depends on the largest model as if it were alone: the
    bits of a model do not depend on how many others like it there are.

    Measurements are data of one output, whatever the models have: the epilogue of one block, which
    takes the data's outputs for its models', is not for them.

    Raises
    ------
    ValueError
        If there are more models than a wide run can have, and these are of several outputs and the
        data are measurements.
    """
    k, count = models.shape[0], len(models.layouts)
    measured = data.k != k
    if measured and count > _MOST_WIDE:
        raise ValueError(f"models must be at most {_MOST_WIDE} on measurements, got {count}")
    if k == 1 or count > _MOST_WIDE:
        return False, None
    costs, itemsize = estimates.costs_of(capability()), models.memory.dtype.itemsize
    chain = estimates.chain(_largest(models).widths, _largest(models).n_kept)
    alone = Terms(factor=chain.factors, chain=itemsize // 4 * chain.multiply_adds)
    wide = _ADVANTAGE * estimates.cycles(_wide_terms(models, 1), costs)
    passes = _passes(data, loss, itemsize, 1, costs)
    route = min(passes, key=lambda route: estimates.cycles(passes[route], costs))
    return measured or wide < estimates.cycles(alone, costs), route


def _streaming_cycles(
    data: Data, loss: Loss, models: Models, chain: estimates.Chain, costs: Terms
) -> float:
    """Estimate a streaming step of all models, laid out as ``stream`` does."""
    itemsize, count = models.memory.dtype.itemsize, len(models.layouts)
    wide, route = wide_route(data, loss, models)
    if wide:
        parts = _wide_terms(models, count), _passes(data, loss, itemsize, count, costs)[route]
        return sum(estimates.cycles(part, costs) for part in parts)
    return _one_block_cycles(data, loss, itemsize, chain, count, costs)


def stream(
    data: Data, loss: Loss, models: Models, run: Shared, sampled: Sampled | None = None
) -> Launcher:
    """Return the launcher of a run whose data are streamed, with one block a model or with many."""
    wide, route = wide_route(data, loss, models)
    if not wide:
        return Streaming(data, loss, models, run, sampled)
    of_steps = route if sampled is None else wide_route(sampled.data, loss, models)[1]
    return WideStreaming(data, loss, models, run, of_steps, sampled, route)


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
    rows, itemsize = max(_rows(data, loss), 1), models.memory.dtype.itemsize
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
        self._tabulate: Callable[[int], None] | None = None
        if models.scheduled:
            arguments = run, xp.asarray(models.programs)
            self._tabulate = make_tabulate(dtype).prepared(processors, arguments)
        kernel = make_resident(dtype, code_of(loss), layout)
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
        if self._tabulate is not None:
            self._tabulate(steps)
        self._launch(self._tag)
        self._tag += all_reduces

    def evaluate(self, active: np.ndarray) -> None:
        """Queue a pass that records the iterates of these models in the history's first row."""
        self.advance(active, active, 1)
