"""What follows the pass over the data in a step, for one model.

The partial gradients are added up in the order of the parts, the iterate is judged and recorded,
the factors are updated and multiplied out for the next pass. All of it reads and writes through
pointers (see :mod:`.pointers`), since on small data it is most of a step.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import from_dtype, types
from numba.np.numpy_support import as_dtype

from ..specs import CONVERGED, DIVERGED, END_TO_END, GROUP_RMSPROP, LANGEVIN, RUNNING, TARGET
from . import entrywise
from .factor_chain import (
    COLUMNS,
    FIELDS,
    LD,
    PARAMS,
    Chain,
    end_to_end_gradient,
    end_to_end_matrix,
    make_end_to_end,
    make_gradients,
)
from .jit import inlined, inner, spliced
from .noise import make_noise
from .norms import norm, root, sum_of_squares
from .pieces import (
    FLOAT,
    FLOATS,
    INTEGER,
    Piece,
    caller,
    from_stack,
    made_elsewhere,
    on_stack,
    piece,
)
from .pointers import address, pointer, pointer_to, shift
from .precondition import apply as precondition
from .updates import (
    DECAY,
    KIND,
    RATE,
    RULE_SIZE,
    SCHEDULED,
    A,
    Memory,
    Sink,
    make_consumers,
    make_follow,
    prepare,
)

#: Entries of ``control`` (int64), which the kernels only read. EVALUATE asks for one pass without
#: an update; row 0 of the history is iterate FIRST_RECORD * RECORD_EVERY. A network has OUTPUTS.
#: The first batch at hand is that of step FIRST_BATCH.
#: The others are addresses of pieces (:mod:`.pieces`); :mod:`.loop` writes those that a run needs.
(
    RECORD_EVERY, FIRST_RECORD, EVALUATE, STOP_REQUEST, OUTPUTS, FIRST_BATCH, SETTLE, PRODUCTS,
    LAYERS, END_TO_END_STEP, FOLLOW, DISTURB, CONTROL_SIZE,
) = range(13)  # fmt: skip
#: Entries of ``progress`` (int64): the step, where to stop, and the number of models in the run.
#: HEEDING tells whether a STOP_REQUEST counts, GOING whether a team goes on, and EPILOGUE in which
#: of a step's phases it is. Where models take turns, the model at PLACE is at its step TURN,
#: each makes steps until END, and FURTHEST is the last step that one has begun.
STEP, STOP_AT, ACTIVE, HEEDING, GOING, EPILOGUE, PLACE, TURN, END, FURTHEST = range(10)
PROGRESS_SIZE = 10
#: Entries of ``limits`` (float64): the number p of the loss, what its values and its slopes are
#: multiplied by, and when a model ends.
P, SCALE, SLOPE, TOL, TARGET_LOSS, LIMITS_SIZE = range(6)
#: Columns of ``models`` (int64): the rows of its factors in the table, its status and its steps.
FIRST, LAST, STATUS, STEPS, MODEL_SIZE = range(5)
#: Numbers of a record: loss, norms of gradient and end-to-end matrix, and the loss of the batch.
RECORD = 4


class Shared(NamedTuple):
    """The memory of a run.

    ``active[:progress[ACTIVE]]`` are the models in the run; ``weights`` holds their end-to-end
    matrices in that order. ``table``, ``rules`` and the flat ``params``, ``products``, ``state``
    and, where wide networks are measured before they move, ``gradients`` hold all models, one after
    the other. ``programs`` are those of all schedules. ``history`` is (records, models, RECORD).
    """

    control: np.ndarray
    progress: np.ndarray
    limits: np.ndarray
    models: np.ndarray
    active: np.ndarray
    table: np.ndarray
    rules: np.ndarray
    programs: np.ndarray
    params: np.ndarray
    products: np.ndarray
    state: np.ndarray
    weights: np.ndarray
    gradients: np.ndarray
    history: np.ndarray


class Run(NamedTuple):
    """The same as pointers, with the numbers of models, of outputs and of all parameters."""

    control: Any
    progress: Any
    limits: Any
    models: Any
    active: Any
    table: Any
    rules: Any
    programs: Any
    params: Any
    products: Any
    state: Any
    weights: Any
    gradients: Any
    history: Any
    count: int
    k: int
    total: int


class Scratch(NamedTuple):
    """Memory to write: flat for a rank on its own, for a team a row a rank, and in ``sums`` a part.

    Each rank of a team writes its own row and reads all of them. For wide networks ``work``,
    ``block`` and ``spare`` have a row a rank, and all ranks write to one ``sums``.
    """

    work: np.ndarray
    sums: np.ndarray
    block: np.ndarray
    spare: np.ndarray


class Room(NamedTuple):
    """Scratch of a rank: a block of gradients, and what the end-to-end rule needs; pointers."""

    block: Any
    spare: Any


class Here(NamedTuple):
    """A run, and the scratch of the rank that calls a piece."""

    run: Run
    room: Room


def here_type(dtype: np.dtype[Any]) -> types.Type:
    """Return Numba's type of a ``Here``."""
    integers, values = types.CPointer(types.int64), types.CPointer(from_dtype(dtype))
    kinds = dict.fromkeys(Run._fields, values)
    kinds |= dict.fromkeys(("control", "progress", "models", "active", "table"), integers)
    kinds |= dict.fromkeys(("limits", "rules", "programs", "history"), FLOATS)
    kinds |= dict.fromkeys(("count", "k", "total"), INTEGER)
    of_tuple = types.BaseTuple.from_types
    run, room = of_tuple(tuple(kinds.values()), Run), of_tuple((values, FLOATS), Room)
    return of_tuple((run, room), Here)


@inner
def point_into(shared):
    """Make a ``Run`` of a ``Shared``."""
    return Run(
        pointer(shared.control),
        pointer(shared.progress),
        pointer(shared.limits),
        pointer(shared.models),
        pointer(shared.active),
        pointer(shared.table),
        pointer(shared.rules),
        pointer(shared.programs),
        pointer(shared.params),
        pointer(shared.products),
        pointer(shared.state),
        pointer(shared.weights),
        pointer(shared.gradients),
        pointer(shared.history),
        shared.models.shape[0],
        shared.control[OUTPUTS],
        shared.params.size,
    )


@inlined
def chain_of(run, model):
    """The factors of a model."""
    row = shift(run.models, model * MODEL_SIZE)
    table = shift(run.table, row[FIRST] * FIELDS)
    return Chain(table, row[LAST] - row[FIRST], run.k, run.params, run.products)


@inner
def reduce(chain, sums, parts, length, place, scales):
    """Add up partial sums: G becomes the first pulled-back product, the loss is returned.

    ``sums`` points to ``parts`` rows of ``length``; the model stands at ``place`` in each.
    ``scales`` are what values and slopes are multiplied by.
    """
    G, size = end_to_end_gradient(chain), chain.k * chain.table[LD]
    start, loss = place * size, length - 1 - place
    for part in range(1, parts):
        other = shift(sums, part * length)
        for i in range(start, start + size):
            sums[i] += other[i]
        sums[loss] += other[loss]
    value, slope = scales
    for i in range(size):
        G[i] = slope * sums[start + i]
    return value * sums[loss]


@inner
def scales_of(run):
    """What values and slopes of a pass over all data are multiplied by."""
    return run.limits[SCALE], run.limits[SLOPE]


@inner
def squared_slope(chain):
    """Return the sum of squares of G, not in a loop that ``reduce`` writes G in: see FASTMATH."""
    return sum_of_squares(end_to_end_gradient(chain), chain.k * chain.table[LD])


@inlined
def is_due(run, step):
    """Whether the iterate of a step is to be recorded, or evaluated."""
    every = run.control[RECORD_EVERY]
    return run.control[EVALUATE] != 0 or (every > 0 and step % every == 0)


@inlined
def _row_of(run, model, step):
    """Point to the record of a model's iterate."""
    control, place = run.control, 0
    if control[EVALUATE] == 0:
        place = step // control[RECORD_EVERY] - control[FIRST_RECORD]
    return shift(run.history, RECORD * (place * run.count + model))


@inlined
def judge_batch(run, model, step, loss, gradient_norm):
    """Record the loss of the batch if the iterate is due; the status that it gives the model."""
    if not (np.isfinite(loss) and np.isfinite(gradient_norm)):
        return DIVERGED
    if is_due(run, step):
        _row_of(run, model, step)[RECORD - 1] = loss
    return RUNNING


@inlined
def judge(run, iterate, model, step, loss):
    """Record the iterate if it is due; the status that it gives the model.

    ``iterate`` is a pointer to its end-to-end matrix, how many numbers that has, and the norm of
    its gradient.
    """
    W, size, gradient_norm = iterate
    limits = run.limits
    finite = np.isfinite(loss) and np.isfinite(gradient_norm)
    if is_due(run, step) and (finite or run.control[EVALUATE] != 0):
        row = _row_of(run, model, step)
        row[0], row[1], row[2] = loss, gradient_norm, norm(W, size)
    if not finite:
        return DIVERGED
    if limits[TOL] > 0.0 and gradient_norm <= limits[TOL]:
        return CONVERGED
    return TARGET if loss <= limits[TARGET_LOSS] else RUNNING


@inner
def end_of_round(run, most):
    """Where a round ends that begins now: models take turns, each for ``most`` steps at most.

    One step is enough if the run is to be evaluated, or stopped.
    """
    control, progress = run.control, run.progress
    begin = progress[STEP]
    hurry = control[EVALUATE] or (progress[HEEDING] and control[STOP_REQUEST])
    return min(begin + (1 if hurry else max(most, 1)), max(progress[STOP_AT], begin + 1))


@inner
def close_ranks(run, size):
    """Drop the models that have ended; the weights of the others move up."""
    active, weights, kept = run.active, run.weights, 0
    for place in range(run.progress[ACTIVE]):
        if run.models[active[place] * MODEL_SIZE + STATUS] == RUNNING:
            if kept < place:
                active[kept] = active[place]
                for i in range(size):
                    weights[kept * size + i] = weights[place * size + i]
            kept += 1
    run.progress[ACTIVE] = kept


@inner
def close_round(run, end, furthest):
    """End a round in which models made steps until ``end``; whether another one follows.

    Models that have ended leave the run. Where all have, its step is ``furthest``.
    """
    control, progress = run.control, run.progress
    close_ranks(run, 0)
    progress[STEP] = end if progress[ACTIVE] > 0 else furthest
    stopped = progress[HEEDING] and control[STOP_REQUEST]
    return progress[ACTIVE] > 0 and progress[STEP] < progress[STOP_AT] and not stopped


_SETTLING = (INTEGER, INTEGER, INTEGER, FLOAT, FLOAT)
_STEPPING = (INTEGER, INTEGER, INTEGER)
_settle, _step_end_to_end = caller(*_SETTLING), caller(*_STEPPING)


_on_stack = on_stack(lambda here: here_type(as_dtype(here.types[1].types[0].dtype)))


@spliced
def here_of(run, room):
    """Put what pieces need on the stack, and return its address."""
    return _on_stack(Here(run, room))


@spliced
def settle(run, here, model, step, value):
    """Take a model from the loss and the gradient of its iterate to the next; its status.

    Where that is not RUNNING, or nothing but an evaluation is asked for, there is none. ``value``
    is the loss and the sum of squares of the gradient; of a run with batches those of a batch, of
    which no more is asked than that they are finite.
    """
    return _settle(run.control[SETTLE], (here, model, step, value[0], value[1]))


@spliced
def multiply(run, here, model):
    """Make the end-to-end matrix of a model from its factors, once before the first step."""
    _settle(run.control[SETTLE], (here, model, -1, 0.0, 0.0))


@spliced
def step_end_to_end(run, here, model, G):
    """Make a step of the end-to-end rule; G points to the gradient, laid out like the factor."""
    _step_end_to_end(run.control[END_TO_END_STEP], (here, model, address(G)))


@made_elsewhere
def _make_step_end_to_end(dtype: np.dtype[Any]) -> Piece:
    here_at = from_stack(here_type(dtype))

    @piece("end to end", dtype.name, arguments=_STEPPING)
    def step_end_to_end(here, model, gradient):
        run, room = here_at(here)
        chain, rule = chain_of(run, model), shift(run.rules, model * RULE_SIZE)
        k, d, ld, block = chain.k, chain.table[COLUMNS], chain.table[LD], room.block
        W, G = shift(chain.params, chain.table[PARAMS]), pointer_to(gradient, chain.params)
        precondition(W, G, k, d, ld, int(rule[A]), block, room.spare)
        rate, keep = rule[RATE], 1.0 - rule[RATE] * rule[DECAY] * rule[A]
        for c in range(k):
            for i in range(c * ld, c * ld + d):  # the block's padding is not zero
                W[i] = keep * W[i] - rate * block[i]
        return 0

    return step_end_to_end


@made_elsewhere
def make_settle(dtype: np.dtype[Any], lanes: int, structure: str, *, batches: bool) -> Piece:
    """Make the piece that ``settle`` calls and, with the step -1, ``multiply``.

    ``structure`` is "product", or the form of entrywise maps.
    """
    (consume, _), product = make_consumers(dtype), structure == "product"
    here_at = from_stack(here_type(dtype))
    if product:
        multiply_out = make_end_to_end(dtype, lanes)
        descend = make_gradients(dtype, lanes, consume)
    else:
        multiply_out = entrywise.make_end_to_end(dtype, structure)
        descend = entrywise.make_gradients(dtype, structure, consume)

    @piece("settle", dtype.name, lanes, structure, batches, arguments=_SETTLING)
    def settle(here, model, step, loss, square):
        run, room = here_at(here)
        chain = chain_of(run, model)
        if step < 0:
            multiply_out(chain)
            return RUNNING
        W, G, size = end_to_end_matrix(chain), end_to_end_gradient(chain), chain.k * chain.table[LD]
        gradient_norm = root(square, G, size)
        if batches:
            status = judge_batch(run, model, step, loss, gradient_norm)
        else:
            status = judge(run, (W, size, gradient_norm), model, step, loss)
        if run.control[EVALUATE] == 0:
            fate, rule = shift(run.models, model * MODEL_SIZE), shift(run.rules, model * RULE_SIZE)
            fate[STATUS] = status
            if status == RUNNING:
                prepare(rule, run.programs, step + 1, run.control[FOLLOW])
                if product and rule[KIND] == END_TO_END:
                    step_end_to_end(run, here, model, G)
                else:
                    memory = Memory(run.state, run.total, rule, run.control[DISTURB])
                    # Group RMSProp measures all gradients, and makes them again to move by them.
                    measures = 1 if rule[KIND] == GROUP_RMSPROP else 0
                    for turn in range(1 + measures):
                        sink = Sink(memory, turn < measures, rule, room.block)
                        descend(chain, room.block, sink)
                fate[STEPS] += 1
                multiply_out(chain)
        return status

    return settle


def pieces_of_rules(rules: np.ndarray, dtype: np.dtype[Any]) -> dict[int, Piece]:
    """Return the pieces that the rules of a run need, by their places in ``control``."""
    pieces, kinds = {}, rules[:, KIND]
    if np.any(kinds == END_TO_END):
        pieces[END_TO_END_STEP] = _make_step_end_to_end(dtype)
    if np.any(kinds == LANGEVIN):
        pieces[DISTURB] = make_noise(dtype)
    if np.any(rules[:, SCHEDULED] > 0):
        pieces[FOLLOW] = make_follow()
    return pieces
