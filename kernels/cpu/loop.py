"""The whole training loop, no Python inside, on a thread team that lives for a chunk of steps.

All models of a run advance together; a single run is a run with one model. A step has two phases,

    the pass, cut into parts of the tiles, for all models at once;
    for each model: add up the partial gradients in the order of the parts, judge the iterate,
        update the factors, multiply them out for the next pass;

then the leader drops models that have ended. A part is a unit of the team's, and so is the share of
the models that has its number. The leader treats a single model alone, which saves a phase; data
too small to be cut are passed over and the models settled in one phase, a share of them a unit.

So one number of parts always gives the same bits, and so does a model in any company: alone or with
others, whoever leaves. There is a part for every thread that the caller asks for, but no more ranks
than processors: more would spend their time waiting for each other to get one. Nothing but
parameters, state and step number is carried from step to step: where a run is cut into chunks
changes nothing.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..specs import (
    CONVERGED,
    DIVERGED,
    END_TO_END,
    RUNNING,
    STATE_SLOTS,
    TARGET,
    Loss,
    Model,
)
from . import team
from .cpus import cpus
from .factor_chain import (
    PARAMS,
    PULL,
    SUFFIX,
    Chain,
    Layout,
    block_size,
    end_to_end_gradient,
    end_to_end_matrix,
    make_end_to_end,
    make_gradients,
)
from .jit import LINE, aligned_zeros, entry, inner, lanes_for, padded, spliced
from .lp_loss import (
    gram,
    make_forward,
    make_gram_forward,
    pack,
    pack_gram,
    sums_size,
    work_size,
)
from .norms import norm
from .precondition import apply as precondition
from .precondition import work_size as precondition_size
from .updates import DECAY, KIND, RATE, A, make_rule, make_update, prepare

#: Entries of ``control`` (int64). EVALUATE asks for one pass without an update, ACTIVE is the
#: number of models still in the run, RECORDS that of the rows written to the history, GOING tells
#: whether another step follows, and SETTLING in which of a step's two phases the team is.
(STEP, STOP_AT, RECORD_EVERY, RECORDS, ACTIVE, STOP_REQUEST, EVALUATE, GOING, SETTLING,
 CONTROL_SIZE) = range(10)  # fmt: skip
#: Entries of ``limits`` (float64).
P, SCALE, TOL, TARGET_LOSS, LIMITS_SIZE = range(5)
#: Columns of ``models`` (int64): the rows of its factors in the table, and how it fares.
FIRST, LAST, STATUS, STEPS, MODEL_SIZE = range(5)

#: Numbers of history that fit between two calls of ``advance``'s kernel, and rows at most.
_HISTORY, _RECORDS = 2**20, 4096
#: Below this many bytes of X a part, a barrier costs more than another rank saves.
_BYTES_PER_PART = 96 * 1024


class Run(NamedTuple):
    """What the team shares.

    ``active[:control[ACTIVE]]`` are the models in the run; ``weights`` holds their end-to-end
    matrices in that order. ``table``, ``rules`` and the flat ``params``, ``products`` and ``state``
    hold all models, one after the other. ``history`` is (records, models, 3).
    """

    control: np.ndarray
    limits: np.ndarray
    models: np.ndarray
    active: np.ndarray
    table: np.ndarray
    rules: np.ndarray
    params: np.ndarray
    products: np.ndarray
    state: np.ndarray
    weights: np.ndarray
    history: np.ndarray


class Scratch(NamedTuple):
    """What each rank writes, a row a rank, or a part in ``sums``; the ranks read all of those."""

    work: np.ndarray
    sums: np.ndarray
    block: np.ndarray
    spare: np.ndarray


class Memory(NamedTuple):
    """What the update of one model needs beside its parameters."""

    state: np.ndarray
    rule: np.ndarray


@inner
def _reduce(run, chain, sums, place):
    """Add up the partial sums: G becomes the first pulled-back product, the loss is returned."""
    G, total = end_to_end_gradient(chain), sums[0]
    start, loss = place * G.size, sums.shape[1] - 1 - place
    for part in range(1, sums.shape[0]):
        other = sums[part]
        for i in range(start, start + G.size):
            total[i] += other[i]
        total[loss] += other[loss]
    scale = run.limits[SCALE] * run.limits[P]
    for i in range(G.size):
        G[i] = scale * total[start + i]
    return run.limits[SCALE] * total[loss]


@inner
def _judge(run, chain, model, loss):
    """Record the iterate if it is due; the status that it gives the model."""
    control, limits = run.control, run.limits
    gradient_norm = norm(end_to_end_gradient(chain))
    due = control[RECORD_EVERY] > 0 and control[STEP] % control[RECORD_EVERY] == 0
    finite = np.isfinite(loss) and np.isfinite(gradient_norm)
    if control[EVALUATE] or (due and finite):
        row = run.history[control[RECORDS], model]
        row[0], row[1], row[2] = loss, gradient_norm, norm(end_to_end_matrix(chain))
    if control[EVALUATE]:
        return RUNNING
    if not finite:
        return DIVERGED
    if limits[TOL] > 0.0 and gradient_norm <= limits[TOL]:
        return CONVERGED
    return TARGET if loss <= limits[TARGET_LOSS] else RUNNING


@inner
def _close_ranks(run, size):
    """Drop the models that have ended; the weights of the others move up."""
    active, weights, kept = run.active, run.weights, 0
    for place in range(run.control[ACTIVE]):
        if run.models[active[place], STATUS] == RUNNING:
            if kept < place:
                active[kept] = active[place]
                for i in range(size):
                    weights[kept * size + i] = weights[place * size + i]
            kept += 1
    run.control[ACTIVE] = kept


@inner
def _turn(run, size):
    """Leader: end a step, and say whether another one follows."""
    control = run.control
    every = control[RECORD_EVERY]
    if control[EVALUATE] or (every > 0 and control[STEP] % every == 0):
        control[RECORDS] += 1
    control[GOING] = 0
    if control[EVALUATE]:
        return
    _close_ranks(run, size)
    if control[ACTIVE] > 0:
        control[STEP] += 1
        control[GOING] = control[STEP] < control[STOP_AT] and control[STOP_REQUEST] == 0


@cache
def _make_advance(dtype: np.dtype[Any], lanes: int):
    forward = make_forward(dtype, lanes)
    gram_forward = make_gram_forward(dtype, lanes)
    update = make_update(dtype)
    multiply = make_end_to_end(dtype, lanes)

    @spliced
    def consume(chain, block, start, count, memory):
        update(chain.params, memory.state, block, start, count, memory.rule)

    descend = make_gradients(dtype, lanes, consume)

    @spliced
    def step_end_to_end(data, chain, rule, block, spare):
        W, G = end_to_end_matrix(chain), end_to_end_gradient(chain)
        precondition(W, G, data.k, data.d, data.ld, int(rule[A]), block, spare)
        keep, start = 1.0 - rule[RATE] * rule[DECAY] * rule[A], chain.table[0, PARAMS]
        for c in range(data.k):
            for i in range(c * data.ld, c * data.ld + data.d):  # the block's padding is not zero
                w = chain.params[start + i]
                chain.params[start + i] = keep * w - rule[RATE] * block[i]

    @spliced
    def chain_of(data, run, model):
        table = run.table[run.models[model, FIRST] : run.models[model, LAST]]
        return Chain(table, data.k, run.params, run.products)

    @spliced
    def publish(chain, run, place):
        """Multiply the factors out and leave W where the pass reads it."""
        multiply(chain)
        W = end_to_end_matrix(chain)
        row = run.weights[place * W.size : (place + 1) * W.size]
        for i in range(W.size):
            row[i] = W[i]

    @spliced
    def settle(data, run, sums, first, place, block, spare):
        """Take one model from the sums of the pass to its next iterate."""
        model = run.active[place]
        chain, rule = chain_of(data, run, model), run.rules[model]
        loss = _reduce(run, chain, sums, place - first)
        status = _judge(run, chain, model, loss)
        if not run.control[EVALUATE]:
            run.models[model, STATUS] = status
        if status == RUNNING and not run.control[EVALUATE]:
            if rule[KIND] == END_TO_END:
                step_end_to_end(data, chain, rule, block, spare)
            else:
                prepare(rule, run.control[STEP] + 1)
                descend(chain, block, Memory(run.state, rule))
            run.models[model, STEPS] += 1
            publish(chain, run, place)

    @entry("advance", dtype.name, lanes)
    def advance(data, run, scratch, by_models, flags, rank):
        control, p, parts = run.control, run.limits[P], scratch.sums.shape[0]
        size, n_tiles = data.k * data.ld, (data.n + data.tile - 1) // data.tile
        work, block, spare = scratch.work[rank], scratch.block[rank], scratch.spare[rank]
        ranks, phase = scratch.work.shape[0], 0
        first, last = parts * rank // ranks, parts * (rank + 1) // ranks
        if rank == 0:
            last = parts  # its own, and then those that nobody has begun with
            for place in range(control[ACTIVE]):
                publish(chain_of(data, run, run.active[place]), run, place)
            control[SETTLING] = 0
        while True:
            alone = rank == 0 and control[SETTLING] == 1 and control[ACTIVE] == 1
            if rank > 0:
                phase = team.await_leader(flags, phase)
                if phase == 0:
                    return
            elif not alone:
                phase += 1
                team.release(flags, phase)

            for part in range(first, 1 if alone else last):
                if not alone and not team.claim(flags, part, phase):
                    continue
                count, backwards = control[ACTIVE], control[STEP] % 2 == 1
                begin, end = count * part // parts, count * (part + 1) // parts
                sums, origin = scratch.sums, 0
                if by_models:
                    sums, origin = scratch.sums[part : part + 1], begin
                    mine = run.weights[begin * size : end * size]
                    if data.from_gram:
                        gram_forward(data, mine, work, sums[0])
                    else:
                        forward(data, mine, work, sums[0], 0, n_tiles, backwards, p)
                elif alone:
                    begin, end = 0, 1
                elif control[SETTLING] == 0:
                    begin, end = 0, 0
                    mine = run.weights[: count * size]
                    top, bottom = n_tiles * part // parts, n_tiles * (part + 1) // parts
                    forward(data, mine, work, sums[part], top, bottom, backwards, p)
                for place in range(begin, end):
                    settle(data, run, sums, origin, place, block, spare)
                if not alone:
                    team.arrive(flags, part, phase)

            if rank > 0:
                continue
            if not alone and not team.await_units(flags, phase):
                return
            if not by_models:
                control[SETTLING] = 1 - control[SETTLING]
            if control[SETTLING] == 0:
                _turn(run, size)
                if not control[GOING]:
                    return

    return advance


class Snapshot(NamedTuple):
    """Everything that the rest of a run depends on."""

    step: int
    active: np.ndarray
    fates: np.ndarray
    params: np.ndarray
    state: np.ndarray


class TrainingLoop:
    """A run in progress: full-batch descent of deep linear networks on one problem, in step.

    Parameters
    ----------
    X, Y : ndarray, shapes (n, d) and (n, k), one dtype
        The data; copied only if their rows are not whole aligned vectors already.
    loss : Loss
        With ``gram`` the dtype must be float64.
    models : sequence of Model
        At least one; ``widths`` from n_0 = d to n_N = k.
    threads : int
        Parts that the work is cut into, at most; a problem too small to split takes fewer. Each has
        a thread of its own as far as there are processors.
    """

    def __init__(
        self,
        X: np.ndarray,
        Y: np.ndarray,
        loss: Loss,
        models: Sequence[Model],
        threads: int = 1,
    ) -> None:
        (n, d), k, dtype, count = X.shape, Y.shape[1], X.dtype, len(models)
        lanes = lanes_for(d, dtype)
        self._data = pack_gram(*gram(X, Y), n) if loss.gram else pack(X, Y)
        self._layouts = [Layout(tuple(model.widths), dtype, lanes) for model in models]
        self._ends = np.cumsum([0, *(layout.n_params for layout in self._layouts)])
        self._slots = max(STATE_SLOTS[model.rule.kind] for model in models)
        parts = 1 if loss.gram else self._useful_parts()
        self._by_models = parts == 1
        self.threads = min(threads, count if self._by_models else parts)
        team_size = min(self.threads, cpus())

        size, total = k * self._data.ld, int(self._ends[-1])
        limits = np.zeros(LIMITS_SIZE)
        limits[P], limits[SCALE] = loss.p, loss.factor / n
        table, fates = self._tables()
        self._run = Run(
            control=np.zeros(CONTROL_SIZE, np.int64),
            limits=limits,
            models=fates,
            active=np.arange(count),
            table=table,
            rules=np.array([make_rule(*model.rule) for model in models]),
            params=aligned_zeros(total, dtype),
            products=aligned_zeros(sum(layout.n_products for layout in self._layouts), dtype),
            state=aligned_zeros(self._slots * total, dtype),
            weights=aligned_zeros(count * size, dtype),
            history=np.full((min(max(_HISTORY // (3 * count), 2), _RECORDS), count, 3), np.nan),
        )
        for layout, start, model in zip(self._layouts, self._ends, models, strict=False):
            self._run.params[start : start + layout.n_params] = layout.pad(model.params)
        block = max(block_size(table), size)
        depths = [int(model.rule.hyper[2]) for model in models if model.rule.kind == END_TO_END]
        spare = precondition_size(k, d, max(depths)) if depths else 0
        self._scratch = Scratch(
            work=_rows_of(team_size, work_size(self._data, count), dtype),
            sums=_rows_of(self.threads, sums_size(self._data, count), np.dtype(np.float64)),
            block=_rows_of(team_size, block, dtype),
            spare=_rows_of(team_size, max(spare, 1), np.dtype(np.float64)),
        )
        self._run.control[ACTIVE] = count
        self._records: list[tuple[np.ndarray, np.ndarray]] = []
        self._kernel = _make_advance(dtype, lanes)
        self._team_size = 1  # at first, for a Ctrl-C is heard in the calling thread only
        self.evaluate()  # compiles the kernel, or loads it from the disk
        self._team_size = team_size

    def _useful_parts(self) -> int:
        data = self._data
        tiles = -(-data.n // data.tile)
        return max(1, min(tiles, data.X.nbytes * data.k // _BYTES_PER_PART))

    def _tables(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the factors of all models, their places in the common buffers, and FIRST, LAST."""
        tables, rows = [], np.zeros((len(self._layouts), MODEL_SIZE), np.int64)
        factors = products = 0
        for m, layout in enumerate(self._layouts):
            table = layout.table.copy()
            table[:, PARAMS] += self._ends[m]
            table[:, [SUFFIX, PULL]] += products
            tables.append(table)
            rows[m, FIRST], rows[m, LAST] = factors, factors + len(table)
            factors, products = factors + len(table), products + layout.n_products
        return np.concatenate(tables), rows

    @property
    def step(self) -> int:
        """Updates made so far by the models that are still in the run."""
        return int(self._run.control[STEP])

    @property
    def active(self) -> np.ndarray:
        """Indices of the models that are still in the run."""
        return self._run.active[: self._run.control[ACTIVE]].copy()

    @property
    def statuses(self) -> np.ndarray:
        """Status code of each model, (M,)."""
        return self._run.models[:, STATUS].copy()

    @property
    def steps(self) -> np.ndarray:
        """Updates made by each model, (M,)."""
        return self._run.models[:, STEPS].copy()

    def params(self, model: int) -> np.ndarray:
        """Flat natural parameters of a model, a copy."""
        start, end = self._ends[model : model + 2]
        return self._layouts[model].unpad(self._run.params[start:end])

    def advance(
        self, steps: int, record_every: int = 0, tol: float = 0.0, target: float = -np.inf
    ) -> None:
        """Make at most ``steps`` updates of every active model; those that end leave the run."""
        control, limits = self._run.control, self._run.limits
        control[EVALUATE], control[RECORD_EVERY] = 0, record_every
        limits[TOL], limits[TARGET_LOSS] = tol, target
        end = self.step + steps
        piece = record_every * (len(self._run.history) - 1) if record_every else steps
        while self.step < end and control[ACTIVE]:
            control[STOP_AT] = min(self.step + piece, end)
            self._call()
            if self.step < control[STOP_AT] and control[ACTIVE]:
                control[STOP_REQUEST] = 0
                return

    def evaluate(self) -> np.ndarray:
        """Steps, loss, gradient norm and weight norm of every model now, (M, 4)."""
        control, active, steps = self._run.control, self._run.active, self.steps
        count, order, step = control[ACTIVE], active.copy(), control[STEP]
        rows = np.empty((len(active), 3))
        active[:], control[ACTIVE], control[EVALUATE] = np.arange(len(active)), len(active), 1
        for parity in np.unique(steps % 2):  # each iterate in the direction of its own step
            control[STEP] = parity
            self._call()
            rows[steps % 2 == parity] = self._records.pop()[1][0, steps % 2 == parity]
        active[:], control[ACTIVE], control[STEP] = order, count, step
        return np.column_stack([steps, rows])

    def take_history(self) -> tuple[np.ndarray, np.ndarray]:
        """What was recorded since the last call: steps (m,) and rows (m, M, 3).

        A row is loss, gradient norm and weight norm, nan for a model that was not in the run.
        """
        records, self._records = self._records, []
        if not records:
            return np.empty(0, np.int64), np.empty((0, len(self._layouts), 3))
        steps, rows = (np.concatenate(parts) for parts in zip(*records, strict=True))
        recorded = ~np.isnan(rows[:, :, 0]).all(axis=1)
        return steps[recorded], rows[recorded]

    def snapshot(self) -> Snapshot:
        """Everything that the rest of the run depends on."""
        run = self._run
        fates = run.models[:, STATUS:].copy()
        return Snapshot(self.step, self.active, fates, run.params.copy(), run.state.copy())

    def restore(self, snapshot: Snapshot, models: Iterable[int] | None = None) -> None:
        """Go back to a snapshot; the run repeats itself from there to the bit.

        With ``models`` only those go back, and only they are in the run then.
        """
        run = self._run
        active = snapshot.active if models is None else np.array(list(models), np.int64)
        for m in range(len(self._layouts)) if models is None else active:
            run.models[m, STATUS:] = snapshot.fates[m]
            start, end = self._ends[m : m + 2]
            run.params[start:end] = snapshot.params[start:end]
            for slot in range(self._slots):
                part = slice(slot * self._ends[-1] + start, slot * self._ends[-1] + end)
                run.state[part] = snapshot.state[part]
        run.active[: len(active)], run.control[ACTIVE] = active, len(active)
        run.control[STEP] = snapshot.step

    def stop(self) -> None:
        """Ask the run to stop after the step in hand; callable from any thread."""
        self._run.control[STOP_REQUEST] = 1

    def close(self) -> None:
        """Nothing to give back here: the team lives for one call of the kernel."""

    def __enter__(self) -> "TrainingLoop":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def _call(self) -> None:
        """Run the kernel once on every rank."""
        control, history, begin = self._run.control, self._run.history, self.step
        control[RECORDS] = 0
        shared = (self._data, self._run, self._scratch, self._by_models)
        team.run_team(self._kernel, shared, self._team_size, self.threads)
        if count := int(control[RECORDS]):
            every = max(int(control[RECORD_EVERY]), 1)
            steps = -(-begin // every) * every + every * np.arange(count)
            self._records.append((steps, history[:count].copy()))
            history[:count] = np.nan


def _rows_of(rows: int, size: int, dtype: np.dtype[Any]) -> np.ndarray:
    """Zeros (rows, size) whose rows start on cache lines that they share with no other row."""
    step = padded(size * dtype.itemsize, 2 * LINE) // dtype.itemsize
    return aligned_zeros(rows * step, dtype).reshape(rows, step)
