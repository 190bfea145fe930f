"""A run of one or many models: its memory, and its control between chunks of steps."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..protocols import Snapshot
from ..specs import COUPLED_KINDS, END_TO_END, GROUP_RMSPROP, STATE_SLOTS, Batches, Loss, ModelSpec
from ..system.cpus import cpus
from . import advance, solo, team
from . import wide_sampled as sampled
from .columns import columns_work_size, fits, pack_columns, row_lanes
from .diagonal import pack_diagonal
from .entrywise import EntrywiseLayout
from .epilogue import (
    ACTIVE,
    CONTROL_SIZE,
    EVALUATE,
    FIRST,
    FIRST_BATCH,
    FIRST_RECORD,
    LAST,
    LAYERS,
    LIMITS_SIZE,
    MODEL_SIZE,
    OUTPUTS,
    PRODUCTS,
    PROGRESS_SIZE,
    RECORD,
    RECORD_EVERY,
    SCALE,
    SETTLE,
    SLOPE,
    STATUS,
    STEP,
    STEPS,
    STOP_REQUEST,
    TARGET_LOSS,
    TOL,
    P,
    Scratch,
    Shared,
    make_settle,
    pieces_of_rules,
)
from .factor_chain import LD, PARAMS, PULL, ROWS, SUFFIX, Layout, block_size
from .gram_pass import pack_gram
from .jit import LINE, aligned_zeros, lanes_for, padded
from .lp_loss import Data, form_of, gram, pack, pack_measured, sums_size, work_size
from .picked import space_size
from .precondition import work_size as precondition_size
from .ranks import Shares, Team
from .shapes import shapes
from .stochastic import make_stochastic
from .tape import Tape
from .together import compile_together
from .updates import make_rules, set_rate
from .wide import make_wide
from .wide_pass import is_wide, pack_wide, wide_lanes, wide_sums_size
from .wide_pieces import make_layers_piece, make_products

#: Numbers of history that fit between two calls of ``advance``'s kernel, and rows at most.
_HISTORY, _RECORDS = 2**20, 4096
#: Below this many bytes of X a part, a barrier costs more than another rank saves.
_BYTES_PER_PART = 96 * 1024
#: The same for multiply-adds of a step with many outputs, where half of all numbers change ranks.
_WORK_PER_PART = 2**20


class TrainingLoop:
    """A run in progress: full-batch descent of deep linear networks on one problem, in step.

    Parameters
    ----------
    X, Y : ndarray, shapes (n, d), or (d,) in the form "diagonal", and (n, k), one dtype
        The data; copied if they are small, or their rows no whole aligned vectors already. Of
        other forms as ``Loss`` says.
    loss : Loss
        In the form "gram" the dtype must be float64.
    models : sequence of ModelSpec
        At least one; ``widths`` from n_0 = d to n_N = k. Entrywise ones have one form.
    threads : int
        Parts that the work is cut into, at most: the passes over the data or, where those are too
        small to split, the models; of networks with many outputs the models, or the outputs. Each
        has a thread of its own as far as there are processors.
    batches : Batches, optional
        The rows of each step; by default it has all of them.
    """

    def __init__(
        self,
        X: np.ndarray,
        Y: np.ndarray,
        loss: Loss,
        models: Sequence[ModelSpec],
        threads: int = 1,
        batches: Batches | None = None,
    ) -> None:
        n, dtype, count = len(X), Y.dtype, len(models)
        d, k = models[0].widths[0], 1 if models[0].entrywise else models[0].widths[-1]
        self._tape = None if batches is None else Tape(n, batches)
        self._wide = is_wide(
            n if batches is None else batches.size,
            d,
            k,
            dtype,
            "coupled" if loss.kind in COUPLED_KINDS else loss.form,
        )
        lanes = wide_lanes(d, k, dtype) if self._wide else lanes_for(d, dtype)
        self._layouts = [
            Layout(tuple(model.widths), dtype, lanes, wide=self._wide)
            if model.entrywise is None
            else EntrywiseLayout(model.entrywise, d, dtype, lanes)
            for model in models
        ]
        self._ends = np.cumsum([0, *(layout.n_params for layout in self._layouts)])
        self._slots = max(STATE_SLOTS[model.rule.kind] for model in models)
        table, fates = self._tables()
        size, total = k * self._layouts[0].row, int(self._ends[-1])
        measures = any(model.rule.kind == GROUP_RMSPROP for model in models)
        rules, programs = make_rules([model.rule for model in models])
        limits, control = np.zeros(LIMITS_SIZE), np.zeros(CONTROL_SIZE, np.int64)
        control[OUTPUTS] = k
        limits[P], limits[SCALE] = loss.p, loss.factor / n
        limits[SLOPE] = limits[SCALE] * loss.unit
        self._run = Shared(
            control=control,
            progress=np.zeros(PROGRESS_SIZE, np.int64),
            limits=limits,
            models=fates,
            active=np.arange(count, dtype=np.int64),
            table=table,
            rules=rules,
            programs=programs,
            params=aligned_zeros(total, dtype),
            products=aligned_zeros(sum(layout.n_products for layout in self._layouts), dtype),
            state=aligned_zeros(self._slots * total, dtype),
            weights=aligned_zeros(count * (1 if self._wide else size), dtype),
            gradients=aligned_zeros(total if self._wide and measures else 1, dtype),
            history=np.full((_room(count), count, RECORD), np.nan),
        )
        for layout, start, model in zip(self._layouts, self._ends, models, strict=False):
            self._run.params[start : start + layout.n_params] = layout.pad(model.params)
        depths = [int(model.rule.hyper[2]) for model in models if model.rule.kind == END_TO_END]
        self._spare = max(precondition_size(k, d, max(depths)) if depths else 0, 1)
        self._ranks: Team | Shares
        self._threads = threads
        self.threads, self._ranks = self._divide(X, Y, loss, threads)
        self._run.progress[ACTIVE] = count
        self._records: list[tuple[np.ndarray, np.ndarray]] = []
        of_first = models[0].entrywise
        structure = "product" if of_first is None else of_first.form
        if self._wide:
            pieces = {
                PRODUCTS: make_products(dtype, lanes),
                LAYERS: make_layers_piece(dtype, lanes),
            }
        else:
            settle = make_settle(dtype, lanes, structure, batches=batches is not None)
            pieces = {SETTLE: settle}
        pieces |= pieces_of_rules(rules, dtype)
        compile_together(self._ranks.kernel, self._ranks.arguments, list(pieces.values()), threads)
        for place, piece in pieces.items():
            control[place] = piece.address
        self._team_size = 1  # at first, since only the calling thread receives a Ctrl-C
        if self._tape is not None:
            self._tape.fill(0, 1, 1)  # likewise
        self.evaluate()  # compiles the kernel, or loads it from the disk
        self._team_size = min(self.threads, cpus())

    def _divide(
        self, X: np.ndarray, Y: np.ndarray, loss: Loss, threads: int
    ) -> tuple[int, Team | Shares]:
        """Lay out the data, and say in how many parts the work is cut, and how."""
        if self._wide:
            return self._divide_wide(X, Y, loss, threads)
        if self._tape is not None:
            return self._divide_batches(X, Y, loss, threads, self._tape)
        n, d, k, dtype, run = len(X), X.shape[-1], Y.shape[1], X.dtype, self._run
        count, lanes = len(self._layouts), self._layouts[0].lanes
        block = max(block_size(run.table), run.weights.size // count)
        if loss.form == "diagonal":
            largest = max(layout.n_params for layout in self._layouts)
            diagonal = pack_diagonal(X, Y, loss.rest, 3 * k * largest)
            parts = min(threads, count)
            singly = solo.make_singly(dtype, lanes, "diagonal", loss.kind)
            return parts, Shares(singly, diagonal, run, self._scratches(parts, 0, 0, block))
        if loss.form == "gram":
            matrices = pack_gram(*gram(X, Y), count)
            parts, alone = min(threads, count), count * k == 1
            if alone:
                kernel = solo.make_singly(dtype, lanes, "gram", loss.kind)
            else:
                kernel = solo.make_grouped(dtype, lanes)
            work = min(matrices.group, count) * k * self._layouts[0].row
            scratches = self._scratches(parts, work, 0, block)
            return parts, Shares(kernel, matrices, run, scratches)
        if k == 1 and loss.form == "direct" and fits(n, d, dtype):
            columns, wide = pack_columns(X, Y), row_lanes(n, dtype)
            work, sums = columns_work_size(columns, wide), 0
            parts = min(threads, count)
            scratches = self._scratches(parts, work, sums, block)
            singly = solo.make_singly(dtype, wide, "columns", loss.kind)
            return parts, Shares(singly, columns, run, scratches)
        measured = loss.form == "measurements"
        data = pack_measured(X, Y, self._layouts[0], count) if measured else pack(X, Y, count)
        form, sums = form_of(data, loss.kind), sums_size(data, count)
        work = work_size(data, count, loss.kind, lanes)
        parts = min(threads, _useful_parts(data, data.n))
        if parts == 1:
            parts = min(threads, count)
            scratches = self._scratches(parts, work, sums, block)
            joint = solo.make_joint(dtype, lanes, form, loss.kind)
            return parts, Shares(joint, data, run, scratches)
        scratch = self._scratch(min(parts, cpus()), parts, work, sums, block)
        kernel = advance.make_advance(dtype, lanes, form, loss.kind)
        return parts, Team(kernel, data, run, scratch, parts)

    def _divide_batches(
        self, X: np.ndarray, Y: np.ndarray, loss: Loss, threads: int, tape: Tape
    ) -> tuple[int, Team | Shares]:
        """The same for a run with batches: ranks divide the batch, or the models."""
        run, lanes = self._run, self._layouts[0].lanes
        count = len(self._layouts)
        block = max(block_size(run.table), run.weights.size // count)
        if loss.form == "measurements":
            data = pack_measured(X, Y, self._layouts[0], count)
        else:
            data = pack(X, Y, count)
        form, sums = form_of(data, loss.kind, picked=True), sums_size(data, count)
        work = work_size(data, count, loss.kind, lanes) + space_size(data, tape.size)
        kernel = make_stochastic(X.dtype, lanes, form, loss.kind)
        sampled = tape.sampled(data)
        parts = min(threads, _useful_parts(data, tape.size))
        if parts == 1:
            return min(threads, count), self._by_itself(
                kernel, sampled, threads, (work, sums, block)
            )
        scratch = self._scratch(min(parts, cpus()), parts, work, sums, block)
        return parts, Team(kernel, sampled, run, scratch, parts)

    def _by_itself(
        self, kernel: Any, data: Any, threads: int, sizes: tuple[int, int, int]
    ) -> Shares:
        """Ranks that divide the models, by a team's kernel that each calls by itself."""
        ranks = min(threads, len(self._layouts), cpus())
        rows = self._scratch(ranks, ranks, *sizes)
        scratches = [Scratch(*(a[i : i + 1] for a in rows)) for i in range(ranks)]
        return Shares(kernel, data, self._run, scratches, (team.make_flags(1), 0))

    def _divide_wide(
        self, X: np.ndarray, Y: np.ndarray, loss: Loss, threads: int
    ) -> tuple[int, Team | Shares]:
        """The same for many outputs: ranks divide the models, or the outputs of few models."""
        widths, dtype, run = self._layouts[0].widths, Y.dtype, self._run
        count, lanes, d, k = len(self._layouts), self._layouts[0].lanes, widths[0], widths[-1]
        data = pack_wide(X, Y, loss, lanes, widths)
        kernel = make_wide(dtype, lanes, loss.form, loss.kind, batches=self._tape is not None)
        work = data.tile * shapes().tile_vectors * lanes
        # The sums of squares of rows take the place of a pass's sums.
        rows_of_models = [int(layout.table[:, ROWS].sum()) for layout in self._layouts]
        sums = max(wide_sums_size(data.ld, k, lanes, loss.form), *rows_of_models)
        block = shapes().tile_height * int(run.table[:, LD].max())
        if self._spare > 1:
            block = max(block, k * data.ld)  # the end-to-end rule's direction
        width = shapes().tile_vectors * lanes
        if loss.form == "entries":
            all_widths = [layout.widths for layout in self._layouts]
            needed = [sampled.work_size(widths, lanes) for widths in all_widths]
            work, block = (max(sizes) for sizes in zip((work, block), *needed, strict=True))
            steps = [sampled.work_of_step(len(Y), widths) for widths in all_widths]
            step = sum(steps) // count
        else:
            chain = int((run.table[:, ROWS] * run.table[:, LD]).sum()) // count
            rows = data.n if self._tape is None else self._tape.size
            step = k * (2 * rows * d + 3 * chain)
        if self._tape is not None:
            work += space_size(data, self._tape.size)
            data = self._tape.sampled(data)
        parts = max(min(threads, -(-k // width), step // _WORK_PER_PART), 1)
        if parts <= count:
            return min(threads, count), self._by_itself(kernel, data, threads, (work, sums, block))
        scratch = self._scratch(min(parts, cpus()), 1, work, sums, block)
        return parts, Team(kernel, data, run, scratch, parts)

    def _scratch(self, ranks: int, parts: int, work: int, sums: int, block: int) -> Scratch:
        """Memory for a team."""
        dtype, double = self._run.params.dtype, np.dtype(np.float64)
        return Scratch(
            work=_rows_of(ranks, max(work, 1), dtype),
            sums=_rows_of(parts, max(sums, 1), double),
            block=_rows_of(ranks, block, dtype),
            spare=_rows_of(ranks, self._spare, double),
        )

    def _scratches(self, parts: int, work: int, sums: int, block: int) -> list[Scratch]:
        """Memory for each of the ranks, at most ``parts``, that have models to themselves."""
        ranks = min(parts, cpus())
        rows = self._scratch(ranks, ranks, work, sums, block)
        return [Scratch(*row) for row in zip(*rows, strict=True)]

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
        return int(self._run.progress[STEP])

    @property
    def active(self) -> np.ndarray:
        """Indices of the models that are still in the run."""
        return self._run.active[: self._run.progress[ACTIVE]].copy()

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

    def device_params(self, model: int) -> np.ndarray:
        """The same as ``params``: the run is on the host."""
        return self.params(model)

    def advance(
        self, steps: int, record_every: int = 0, tol: float = 0.0, target: float = -np.inf
    ) -> None:
        """Make at most ``steps`` updates of every active model; those that end leave the run."""
        control, progress, limits = self._run.control, self._run.progress, self._run.limits
        control[EVALUATE], control[RECORD_EVERY] = 0, record_every
        limits[TOL], limits[TARGET_LOSS] = tol, target
        end = self.step + steps
        piece = record_every * (len(self._run.history) - 1) if record_every else steps
        if self._tape is not None:
            piece = min(piece, self._tape.steps)
        while self.step < end and progress[ACTIVE]:
            stop_at, begin = min(self.step + piece, end), self.step
            if self._tape is not None:
                control[FIRST_BATCH] = begin
                self._tape.fill(begin, stop_at, min(self._threads, cpus()))
            if record_every:
                control[FIRST_RECORD] = -(-begin // record_every)
            try:
                self._ranks.run(stop_at, self._team_size)
            finally:
                self._collect(record_every)
            if self.step < stop_at and progress[ACTIVE]:
                control[STOP_REQUEST] = 0
                return

    def _collect(self, every: int) -> None:
        """Take the records of a call out of the memory that the kernels write."""
        first = int(self._run.control[FIRST_RECORD])
        judged = self.step + (0 if self._run.progress[ACTIVE] else 1)
        if every and (count := -(-judged // every) - first):
            records = self._run.history[:count]
            self._records.append((every * np.arange(first, first + count), records.copy()))
            records[...] = np.nan

    def evaluate(self) -> np.ndarray:
        """Steps, loss, gradient norm and weight norm of every model now, (M, 4)."""
        run, steps = self._run, self.steps
        progress, active, history = run.progress.copy(), run.active.copy(), run.history[0]
        rows = np.empty((len(active), RECORD))
        run.active[:], run.progress[ACTIVE] = np.arange(len(active)), len(active)
        run.control[EVALUATE] = 1
        for parity in np.unique(steps % 2):  # each iterate in the direction of its own step
            run.progress[STEP] = parity
            self._ranks.run(0, 1)
            rows[steps % 2 == parity] = history[steps % 2 == parity]
            history[...] = np.nan
        run.active[:], run.progress[:] = active, progress
        return np.column_stack([steps, rows[:, :3]])

    def take_history(self) -> tuple[np.ndarray, np.ndarray]:
        """Return what was recorded since the last call: steps (m,) and rows (m, M, 3).

        A row is loss, gradient norm and weight norm, nan for a model that was not in the run, and
        with batches the loss of the batch.
        """
        records, self._records = self._records, []
        columns = 3 if self._tape is None else RECORD
        if not records:
            return np.empty(0, np.int64), np.empty((0, len(self._layouts), columns))
        steps, rows = (np.concatenate(parts) for parts in zip(*records, strict=True))
        rows = rows[:, :, :columns]
        recorded = ~np.isnan(rows[:, :, 0]).all(axis=1)
        return steps[recorded], rows[recorded]

    def set_rate(self, model: int, rate: float) -> None:
        """Change the learning rate of a model for the steps to come, and end its schedule."""
        set_rate(self._run.rules[model], rate)

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
        run.active[: len(active)], run.progress[ACTIVE] = active, len(active)
        run.progress[STEP] = snapshot.step

    def stop(self) -> None:
        """Ask the run to stop after the step in hand; callable from any thread."""
        self._run.control[STOP_REQUEST] = 1

    def close(self) -> None:
        """Nothing to give back here: the team lives for one call of the kernel."""

    def __enter__(self) -> "TrainingLoop":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()


def _room(models: int) -> int:
    """Records of so many models that there is room for between two calls of a kernel."""
    return min(max(_HISTORY // (RECORD * models), 2), _RECORDS)


def _useful_parts(data: Data, rows: int) -> int:
    """Parts that a pass over so many rows is worth cutting into."""
    size = data.X.nbytes // data.n * rows
    return max(1, min(-(-rows // data.tile), size * data.k // _BYTES_PER_PART))


def _rows_of(rows: int, size: int, dtype: np.dtype[Any]) -> np.ndarray:
    """Zeros (rows, size) whose rows start on cache lines that they share with no other row."""
    step = padded(size * dtype.itemsize, 2 * LINE) // dtype.itemsize
    return aligned_zeros(rows * step, dtype).reshape(rows, step)
