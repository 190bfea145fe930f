"""Launchers of runs whose data are read from memory once a step: one block a model, or many."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..specs import END_TO_END, GROUP_RMSPROP, Loss
from .batches import Sampled
from .epilogue import BATCH, LOOK, N_PARAMS, START, WHOLE, Models, Shared
from .factor_chain import COLUMNS, PULL, ROWS
from .jit import ON_HOST, THREADS, blocks_at_once, xp
from .lp_loss import Pass
from .noise import make_disturb
from .powers import Data
from .precondition import precondition
from .products import tiles
from .reduce import SUMS
from .schedules import make_follow
from .streaming import Sums, make_epilogue, make_publish, shared_bytes
from .updates import ANY, DECAY, KIND, MIXED, RATE, A
from .wide import (
    ENTER_BLOCKS,
    Wide,
    make_descend_wide,
    make_enter_all,
    make_multiply_wide,
    make_update_wide,
    make_verdict,
)
from .wide import shared_bytes as wide_shared_bytes
from .wide_groups import PARTS, make_means, make_move_wide, make_squares

#: Steps in a CUDA graph: many enough to hide a launch by the host. A choice, and not measured.
_GRAPH = 16

#: Functions that queue kernels, one after the other.
Launches = list[Callable[[], None]]


class Streaming:
    """One block a model takes a step from a pass on; see ``streaming`` and ``lp_loss``.

    Parameters
    ----------
    data, loss, models, run
    sampled : Sampled, optional
        The batches of a run that has them. Steps are made by the passes over these, and an iterate
        that is to be recorded is judged before by a pass over all data.
    """

    name = "streaming"
    _route: str | None = None
    _route_of_all: str | None = None

    def __init__(
        self,
        data: Data,
        loss: Loss,
        models: Models,
        run: Shared,
        sampled: Sampled | None = None,
    ) -> None:
        self._loss, self._models, self._sampled = loss, models, sampled
        self._all, self._data, self._run = (data, run), data, run
        if sampled is not None:
            self._data, self._run = sampled.data, sampled.run
        self._k, self._d = models.shape  # the data of measurements have one output, k d features
        by_host = (models.rules[:, KIND] == END_TO_END) & (self._k > 1)
        self._by_host = np.flatnonzero(by_host)
        self._in_groups = bool(np.any(models.rules[:, KIND] == GROUP_RMSPROP))
        self._programs = xp.asarray(models.programs)
        self._seats = np.empty(0, np.int64)

    def _sit(self, seats: np.ndarray) -> None:
        """Prepare passes for these models, in this order."""
        if np.array_equal(seats, self._seats):
            return
        data, dtype, self._seats = self._data, self._models.memory.dtype, seats.copy()
        self._going = xp.zeros(len(seats), np.int64)
        self._weights = xp.zeros(len(seats) * data.k * data.d, dtype)
        self._pass = self._pass_over(data, self._route)
        self._begin_to_judge(len(seats))
        sampled, role = self._sampled, WHOLE if self._sampled is None else BATCH
        judge = self._judging(len(seats), self._pass, data, self._run, role)
        after, self._before = self._moving(len(seats))
        gather = [] if sampled is None else [sampled.gather]
        self._steps = [*gather, self._pass, *self._following(len(seats)), *judge, *after]
        self._look = self._steps
        if sampled is not None:
            of_all = self._pass_over(self._all[0], self._route_of_all)
            self._look = [of_all, *self._judging(len(seats), of_all, *self._all, LOOK)]
        self._graph: Any = None

    def _pass_over(self, data: Data, route: str | None) -> Pass:
        most = len(self._models.layouts) * data.k
        return Pass(data, self._weights, self._loss, self._going, most, route)

    def _begin_to_judge(self, seats: int) -> None:
        """Allocate what ``_judging`` and ``_moving`` share."""

    def _judging(self, seats: int, of_pass: Pass, data: Data, run: Shared, role: str) -> Launches:
        """Return what comes after a pass first: here all of a step."""
        models, dtype = self._models, self._models.memory.dtype
        slots, loss_slots = len(of_pass.partials), len(of_pass.losses)
        sums = Sums(self._weights, of_pass.partials, of_pass.losses, self._going, slots, loss_slots)
        kind, deepest = MIXED if self._in_groups else ANY, models.deepest
        epilogue = make_epilogue(dtype, self._k, of_pass.form, kind, models.structure, role)
        shared = shared_bytes(dtype, deepest)
        return [epilogue.prepared(seats, (data, run, sums, deepest), shared=shared)]

    def _moving(self, seats: int) -> tuple[Launches, Launches]:
        """Return what follows in a step, and what makes the maps for the first one."""
        models, dtype, deepest = self._models, self._models.memory.dtype, self._models.deepest
        publish = make_publish(dtype, self._k, models.structure).prepared(
            seats, (self._run, self._weights, deepest), shared=shared_bytes(dtype, deepest)
        )
        disturb = self._disturbing(seats)
        return [*disturb, publish] if disturb else [], [publish]

    def _disturbing(self, seats: int) -> Launches:
        """Return what adds Langevin's noise, if there is some."""
        models = self._models
        if not models.noisy:
            return []
        most = -(-int(models.rows[:, N_PARAMS].max()) // THREADS)
        blocks = seats, min(most, blocks_at_once(4))
        disturb = make_disturb(models.memory.dtype)
        return [disturb.prepared(blocks, (self._run, self._going))]

    def _following(self, seats: int) -> Launches:
        """Return what brings rules up to their step, if they are scheduled."""
        models = self._models
        if not models.scheduled:
            return []
        arguments = self._run, self._programs, seats
        return [make_follow(models.memory.dtype).prepared(-(-seats // THREADS), arguments)]

    def advance(self, active: np.ndarray, partners: np.ndarray, steps: int) -> None:
        """Queue so many steps of the active models, which are among the partners."""
        self._begin(partners, active)
        by_host = [place for place, m in enumerate(self._seats) if m in self._by_host]
        in_graphs = self._pass.on_device and not by_host and not ON_HOST
        pieces = [(steps, False)] if self._sampled is None else self._sampled.pieces(steps)
        for piece, due in pieces:
            if due:
                _launch(self._look)
            graphs = piece // _GRAPH if in_graphs else 0
            for _ in range(graphs):
                self._several()
            for _ in range(piece - graphs * _GRAPH):
                _launch(self._steps)
                for place in by_host:
                    self._step_end_to_end(place)

    def _several(self) -> None:
        """Queue ``_GRAPH`` steps in one go."""
        if self._graph is None:
            # Not on one that waits for the default stream: work of another thread would end it.
            with xp.cuda.Stream(non_blocking=True) as stream:
                stream.begin_capture()
                for _ in range(_GRAPH):
                    _launch(self._steps)
                self._graph = stream.end_capture()
        self._graph.launch()

    def evaluate(self, active: np.ndarray) -> None:
        """Queue a pass that records the iterates of these models in the history's first row."""
        self._begin(active, active)
        _launch(self._look)

    def _begin(self, seats: np.ndarray, active: np.ndarray) -> None:
        self._sit(seats)
        self._run.active[: len(seats)] = xp.asarray(seats)
        self._going[...] = xp.asarray(np.isin(seats, active).astype(np.int64))
        for launch in self._before:
            launch()

    def _step_end_to_end(self, place: int) -> None:
        """The end-to-end rule with several outputs, unless the model has ended."""
        model, shape = int(self._seats[place]), (self._k, self._d)
        layout, row = self._models.layouts[model], self._models.rows[model]
        rule, size = self._models.rules[model], self._k * self._d
        start = int(row[START])
        W = self._run.memory[start : start + size].reshape(shape)
        G = self._run.memory[start + int(layout.table[0, PULL]) :][:size].reshape(shape)
        running = self._going[place] != 0
        direction = precondition(xp.where(running, W, 0), xp.where(running, G, 0), int(rule[A]))
        rate, decay = rule[RATE], rule[DECAY]
        if self._models.scheduled:  # those of the step are on the device
            rate, decay = self._run.rules[model, RATE], self._run.rules[model, DECAY]
        keep = 1.0 - rate * decay * rule[A]
        moved = keep * W.astype(np.float64) - rate * direction.astype(np.float64)
        W[...] = xp.where(running, moved.astype(W.dtype), W)
        self._weights[place * size : (place + 1) * size] = W.ravel()


def _launch(launches: Launches) -> None:
    for launch in launches:
        launch()


class WideStreaming(Streaming):
    """Many blocks share a model's products and update; see ``wide``.

    Parameters
    ----------
    data, loss, models, run
    route : str, optional
        Of the passes of steps, see ``lp_loss.Pass``.
    sampled : Sampled, optional
        See ``Streaming``.
    route_of_all : str, optional
        Of the passes over all data in a run that has batches.
    """

    name = "wide"

    def __init__(
        self,
        data: Data,
        loss: Loss,
        models: Models,
        run: Shared,
        route: str | None = None,
        sampled: Sampled | None = None,
        route_of_all: str | None = None,
    ) -> None:
        super().__init__(data, loss, models, run, sampled)
        self._by_host = np.flatnonzero(models.rules[:, KIND] == END_TO_END)
        self._route, self._route_of_all = route, route_of_all
        # Gradients of all models, one after the other, as their parameters are counted.
        places = np.cumsum([0, *models.rows[:, N_PARAMS]])
        self._places = xp.asarray(places[:-1])
        self._grads = xp.zeros(int(places[-1]), models.memory.dtype)

    def _begin_to_judge(self, seats: int) -> None:
        self._moves = xp.zeros(seats, np.int64)
        self._parts = min(-(-self._k * self._d // THREADS), ENTER_BLOCKS)
        self._sums = xp.zeros(seats * self._parts * SUMS, np.float64)

    def _wide(self, of_pass: Pass) -> Wide:
        slots, loss_slots = len(of_pass.partials), len(of_pass.losses)
        return Wide(
            self._weights, of_pass.partials, of_pass.losses, self._going, self._moves, self._sums,
            self._grads, self._places, slots, loss_slots, self._parts,
        )  # fmt: skip

    def _judging(self, seats: int, of_pass: Pass, data: Data, run: Shared, role: str) -> Launches:
        dtype, deepest = self._models.memory.dtype, self._models.deepest
        wide, form = self._wide(of_pass), of_pass.form
        enter = make_enter_all(dtype, form).prepared(
            (self._parts, seats), (data, run, wide, deepest), shared=wide_shared_bytes(deepest)
        )
        return [enter, make_verdict(dtype, form, role).prepared(seats, (data, run, wide))]

    def _moving(self, seats: int) -> tuple[Launches, Launches]:
        models, run, wide = self._models, self._run, self._wide(self._pass)
        dtype, k, deepest = models.memory.dtype, self._k, models.deepest
        shapes = [layout.table[:, (ROWS, COLUMNS)].tolist() for layout in models.layouts]
        descend, multiply = [], []
        for f in range(max(deepest - 1, 1)):
            here = [shape for shape in shapes if f < max(len(shape) - 1, 1)]
            over = [(tiles(shape[f][0]), tiles(shape[f][1])) for shape in here]
            if deepest > 1:
                blocks = max(rows * (tiles(k) + columns) for rows, columns in over)
                launch = make_descend_wide(dtype).prepared((blocks, seats), (run, wide, f))
                descend.append(launch)
            blocks = tiles(k) * max(columns for _, columns in over)
            multiply.append(make_multiply_wide(dtype).prepared((blocks, seats), (run, wide, f)))
        most = -(-int(models.rows[:, N_PARAMS].max()) // THREADS)
        blocks = min(most, blocks_at_once(4)), seats
        updates = [make_update_wide(dtype).prepared(blocks, (run, wide))]
        if self._in_groups:
            squares = run, wide, xp.zeros(seats * deepest * PARTS, np.float64), deepest
            updates += [
                make_squares(dtype).prepared((PARTS, seats), squares),
                make_means(dtype).prepared(seats, squares),
                make_move_wide(dtype).prepared(blocks, (run, wide)),
            ]
        multiply.reverse()
        return [*descend, *updates, *self._disturbing(seats), *multiply], multiply

    def _begin(self, seats: np.ndarray, active: np.ndarray) -> None:
        self._sit(seats)
        self._moves[...] = 1
        super()._begin(seats, active)
