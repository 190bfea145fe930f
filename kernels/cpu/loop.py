"""The whole training loop, no Python inside, on a thread team that lives for a call.

Every rank owns a fixed block of tiles and the partial sums of that block. Between the two halves
of the barrier the leader adds the partial sums in the order of the ranks, so that one thread count
always gives the same bits, updates the factors and multiplies them out for the next pass. Nothing
but the parameters, the state and the step number is carried from step to step: where a run is cut
into chunks changes nothing.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..specs import (
    CONVERGED,
    DIVERGED,
    END_TO_END,
    RUNNING,
    STATE_SLOTS,
    STOPPED,
    TARGET,
    Loss,
    Rule,
)
from . import team
from .factor_chain import (
    Layout,
    block_size,
    end_to_end_gradient,
    end_to_end_matrix,
    make_end_to_end,
    make_gradients,
)
from .jit import aligned_zeros, entry, inner, lanes_for, spliced
from .lp_loss import (
    SUMS_HEAD,
    gram,
    make_forward,
    make_gram_forward,
    pack,
    pack_gram,
    sums_size,
    work_size,
)
from .precondition import apply as precondition
from .precondition import work_size as precondition_size
from .updates import DECAY, KIND, RATE, A, make_rule, make_update, prepare

#: Entries of ``control`` (int64). EVALUATE asks for one pass without an update.
STEP, STOP_AT, RECORD_EVERY, RECORDS, STATUS, STOP_REQUEST, EVALUATE, CONTROL_SIZE = range(8)
#: Entries of ``limits`` (float64).
P, SCALE, TOL, TARGET_LOSS, LIMITS_SIZE = range(5)

#: Rows of history that fit between two calls of ``advance``'s kernel.
_RECORDS = 4096
#: Below this many bytes of X a rank, a barrier costs more than the rank saves.
_BYTES_PER_RANK = 96 * 1024


class Run(NamedTuple):
    """What the team shares apart from the data and the network; the leader alone writes to it.

    ``weights`` is W as the pass reads it, ``block`` holds a piece of a gradient, ``spare`` is the
    end-to-end rule's scratch, ``history`` a row (step, loss, gradient norm, weight norm) a record.
    """

    control: np.ndarray
    limits: np.ndarray
    rule: np.ndarray
    state: np.ndarray
    weights: np.ndarray
    block: np.ndarray
    spare: np.ndarray
    history: np.ndarray


@inner
def _norm(values):
    total = 0.0
    for i in range(values.size):
        total += np.float64(values[i]) * np.float64(values[i])
    return np.sqrt(total)


@inner
def _reduce(data, chain, run, sums):
    """Add up the partial sums: G becomes the first pulled-back product, the loss is returned."""
    G, total = end_to_end_gradient(chain), sums[0]
    for rank in range(1, sums.shape[0]):
        part = sums[rank]
        for i in range(SUMS_HEAD + G.size):
            total[i] += part[i]
    scale, unscaled = run.limits[SCALE] * run.limits[P], total[SUMS_HEAD:]
    for i in range(G.size):
        G[i] = scale * unscaled[i]
    return run.limits[SCALE] * total[0]


@inner
def _judge(run, chain, loss):
    """Record the iterate if it is due; the status that it gives the run."""
    control, limits = run.control, run.limits
    gradient_norm = _norm(end_to_end_gradient(chain))
    due = control[RECORD_EVERY] > 0 and control[STEP] % control[RECORD_EVERY] == 0
    finite = np.isfinite(loss) and np.isfinite(gradient_norm)
    if control[EVALUATE] or (due and finite):
        row = run.history[control[RECORDS]]
        row[0], row[1], row[2] = control[STEP], loss, gradient_norm
        row[3] = _norm(end_to_end_matrix(chain))
        control[RECORDS] += 1
    if control[EVALUATE]:
        return RUNNING
    if not finite:
        return DIVERGED
    if limits[TOL] > 0.0 and gradient_norm <= limits[TOL]:
        return CONVERGED
    if loss <= limits[TARGET_LOSS]:
        return TARGET
    return STOPPED if control[STOP_REQUEST] else RUNNING


@cache
def _make_advance(dtype: np.dtype[Any], lanes: int):
    forward = make_forward(dtype, lanes)
    gram_forward = make_gram_forward(dtype, lanes)
    update = make_update(dtype)
    multiply = make_end_to_end(dtype, lanes)

    @spliced
    def consume(chain, block, start, count, run):
        update(chain.params, run.state, block, start, count, run.rule)

    descend = make_gradients(dtype, lanes, consume)

    @spliced
    def step_end_to_end(data, chain, run):
        rule, W, G = run.rule, end_to_end_matrix(chain), end_to_end_gradient(chain)
        precondition(W, G, data.k, data.d, data.ld, int(rule[A]), run.block, run.spare)
        keep = 1.0 - rule[RATE] * rule[DECAY] * rule[A]
        for i in range(W.size):
            chain.params[i] = keep * chain.params[i] - rule[RATE] * run.block[i]

    @spliced
    def publish(data, chain, run):
        """Multiply the factors out and leave W where, and as, the pass reads it."""
        multiply(chain)
        W = end_to_end_matrix(chain)
        if data.k == 1 or data.from_gram:
            for i in range(W.size):
                run.weights[i] = W[i]
        else:
            for c in range(data.k):
                row = W[c * data.ld : c * data.ld + data.d]
                for i in range(data.d):
                    run.weights[i * data.kp + c] = row[i]

    @spliced
    def lead(data, chain, run, sums):
        """Do the serial part of a step."""
        loss = _reduce(data, chain, run, sums)
        run.control[STATUS] = _judge(run, chain, loss)
        if run.control[STATUS] != RUNNING or run.control[EVALUATE]:
            return
        if run.rule[KIND] == END_TO_END:
            step_end_to_end(data, chain, run)
        else:
            prepare(run.rule, run.control[STEP] + 1)
            descend(chain, run.block, run)
        run.control[STEP] += 1
        publish(data, chain, run)

    @entry("advance", dtype.name, lanes)
    def advance(data, chain, run, work, sums, flags, rank):
        size, p = sums.shape[0], run.limits[P]
        n_tiles = (data.n + data.tile - 1) // data.tile
        first, last = n_tiles * rank // size, n_tiles * (rank + 1) // size
        if rank == 0:
            publish(data, chain, run)
            team.release(flags, 1)
        elif not team.await_leader(flags, 1):
            return
        begin, ticket = run.control[STEP], 1
        steps = 1 if run.control[EVALUATE] else run.control[STOP_AT] - begin
        for s in range(begin, begin + steps):
            if data.from_gram:
                gram_forward(data, run.weights, work[rank], sums[rank])
            else:
                forward(data, run.weights, work[rank], sums[rank], first, last, s % 2 == 1, p)
            ticket += 1
            if rank == 0:
                if not team.await_workers(flags, ticket):
                    return
                lead(data, chain, run, sums)
                team.release(flags, ticket)
            else:
                team.arrive(flags, rank, ticket)
                if not team.await_leader(flags, ticket):
                    return
            if run.control[STATUS] != RUNNING:
                return

    return advance


class TrainingLoop:
    """One run in progress: full-batch descent on the factors of a deep linear network.

    Parameters
    ----------
    X, Y : ndarray, shapes (n, d) and (n, k), one dtype
        The data; copied only if their rows are not whole aligned vectors already.
    loss : Loss
        With ``gram`` the dtype must be float64.
    widths : tuple of int
        (n_0 = d, ..., n_N = k).
    params : ndarray
        Flat natural parameters of the start.
    rule : Rule
    threads : int
        Size of the team, at most; a problem too small to split takes fewer.
    """

    def __init__(
        self,
        X: np.ndarray,
        Y: np.ndarray,
        loss: Loss,
        widths: tuple[int, ...],
        params: np.ndarray,
        rule: Rule,
        threads: int = 1,
    ) -> None:
        (n, d), k, dtype = X.shape, Y.shape[1], X.dtype
        lanes = lanes_for(d, dtype)
        self._data = pack_gram(*gram(X, Y), n) if loss.gram else pack(X, Y)
        self._layout = Layout(tuple(widths), dtype, lanes)
        self._chain = self._layout.chain(params)
        self.threads = 1 if loss.gram else min(threads, self._useful_ranks())

        data, layout = self._data, self._layout
        size = data.k * data.ld
        limits = np.zeros(LIMITS_SIZE)
        limits[P], limits[SCALE] = loss.p, loss.factor / n
        block = max(block_size(layout.table), size)
        outer = loss.gram or k == 1
        self._run = Run(
            control=np.zeros(CONTROL_SIZE, np.int64),
            limits=limits,
            rule=make_rule(*rule),
            state=aligned_zeros(STATE_SLOTS[rule.kind] * layout.n_params, dtype),
            weights=aligned_zeros(size if outer else d * data.kp, dtype),
            block=aligned_zeros(block, dtype),
            spare=aligned_zeros(precondition_size(k, d, int(rule.hyper[2])), np.float64)
            if rule.kind == END_TO_END
            else np.zeros(1),
            history=np.zeros((_RECORDS, 4)),
        )
        self._work = _rows_of(self.threads, size if loss.gram else work_size(data), dtype)
        self._sums = _rows_of(self.threads, sums_size(data), np.dtype(np.float64))
        self._records: list[np.ndarray] = []
        self._kernel = _make_advance(dtype, lanes)
        self.evaluate()  # compiles the kernel, or loads it from the disk

    def _useful_ranks(self) -> int:
        data = self._data
        tiles = -(-data.n // data.tile)
        return max(1, min(tiles, data.X.nbytes * data.k // _BYTES_PER_RANK))

    @property
    def step(self) -> int:
        """Updates made so far."""
        return int(self._run.control[STEP])

    @property
    def params(self) -> np.ndarray:
        """Flat natural parameters, a copy."""
        return self._layout.unpad(self._chain.params)

    def advance(
        self, steps: int, record_every: int = 0, tol: float = 0.0, target: float = -np.inf
    ) -> int:
        """Make at most ``steps`` updates; returns a status code, RUNNING if all were made."""
        control, limits = self._run.control, self._run.limits
        control[EVALUATE], control[RECORD_EVERY], control[STATUS] = 0, record_every, RUNNING
        limits[TOL], limits[TARGET_LOSS] = tol, target
        end = self.step + steps
        piece = record_every * (_RECORDS - 1) if record_every else steps
        while self.step < end:
            control[STOP_AT] = min(self.step + piece, end)
            self._call()
            if control[STATUS] != RUNNING:
                break
        if control[STATUS] == STOPPED:
            control[STOP_REQUEST] = 0  # a request that came too late for this call ends the next
        return int(control[STATUS])

    def evaluate(self) -> np.ndarray:
        """One history row for the current iterate, by one pass without an update."""
        self._run.control[EVALUATE] = 1
        self._call()
        return self._records.pop()[0]

    def take_history(self) -> np.ndarray:
        """Rows (step, loss, gradient norm, weight norm) recorded since the last call, (m, 4)."""
        rows, self._records = self._records, []
        return np.concatenate(rows) if rows else np.empty((0, 4))

    def snapshot(self) -> tuple[int, np.ndarray, np.ndarray]:
        """Everything that the rest of the run depends on."""
        return self.step, self._chain.params.copy(), self._run.state.copy()

    def restore(self, snapshot: tuple[int, np.ndarray, np.ndarray]) -> None:
        """Go back to a snapshot; the run repeats itself from there to the bit."""
        self._run.control[STEP] = snapshot[0]
        self._chain.params[:], self._run.state[:] = snapshot[1:]

    def stop(self) -> None:
        """Ask the run to stop after the step in hand; callable from any thread."""
        self._run.control[STOP_REQUEST] = 1

    def close(self) -> None:
        """Do nothing: no thread outlives a call. Here since every backend's loop has it."""

    def __enter__(self) -> "TrainingLoop":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def _call(self) -> None:
        """Run the kernel once on every rank."""
        control = self._run.control
        control[RECORDS] = control[STATUS] = 0
        shared = (self._data, self._chain, self._run, self._work, self._sums)
        team.run_team(self._kernel, shared, self.threads)
        if control[RECORDS]:
            self._records.append(self._run.history[: control[RECORDS]].copy())


def _rows_of(rows: int, size: int, dtype: np.dtype[Any]) -> np.ndarray:
    """Zeros (rows, size) whose rows start on cache lines that they share with no other row."""
    step = -(-size * dtype.itemsize // 128) * 128 // dtype.itemsize
    return aligned_zeros(rows * step, dtype).reshape(rows, step)
