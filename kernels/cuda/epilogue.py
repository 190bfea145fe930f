"""The epilogue of a pass, by the threads of one block: judge the iterate, then take a step.

A model's numbers stand in ``memory`` as ``factor_chain`` lays them out, shared or global. What the
threads of a block share lies in shared memory, in this order:

============  =========  =========================================================
``table``     int64      the model's table, its places counted from ``memory[0]``
``doubles``   float64    ``block_sums``, then corrections of means, and the loss
``floats``    the run's  ``scratch``: an element a thread
============  =========  =========================================================

The kernels have more behind that.
"""

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import cuda

from ..specs import (
    CONVERGED,
    DIVERGED,
    END_TO_END,
    GROUP_RMSPROP,
    RUNNING,
    TARGET,
)
from .entrywise import PRODUCT, layout_of, make_descend, make_multiply, structure_of
from .factor_chain import (
    COLUMNS,
    PARAMS,
    PULL,
    SUFFIX,
    TABLE,
)
from .groups import make_group_step
from .jit import THREADS, device, record, xp
from .precondition import stretch_and_push
from .reduce import SUMS, SUMS_SIZE, this_thread
from .updates import ANY, DECAY, MIXED, NOISY, RATE, RULE_SIZE, A, make_rules, make_update

#: Entries of ``control`` (int64): models in all and models in the run; where a launch starts, where
#: it stops and what it records; whether it only looks; whether blocks waited in vain; with batches
#: the step in hand.
COUNT, ACTIVE, BEGIN, STOP_AT, RECORD_EVERY, EVALUATE, FAILED, STEP, CONTROL_SIZE = range(9)
#: Entries of ``limits`` (float64): the number of the loss; what sums of slopes and of values are
#: multiplied by; where a run ends; what belongs to the sum of squares and no pass adds up.
P, SLOPES, SCALE, TOL, TARGET_LOSS, YY, LIMITS_SIZE = range(7)
#: Columns of ``models`` (int64): its first factor in the table, its depth, where its memory starts,
#: parameters, and numbers that the run carries on from step to step; its status and its steps.
FIRST, DEPTH, START, N_PARAMS, N_KEPT, STATUS, STEPS, MODEL_SIZE = range(8)


#: What a pass is for, to which kernels behind it are specialised: all of a step; with batches to
#: judge and record an iterate by all data, or to take a step by the rows of a batch.
WHOLE, LOOK, BATCH = "", "look", "batch"


class Shared(NamedTuple):
    """What the kernels share. ``active`` are the models in the run, ``history`` is (records, M, 3).

    ``table`` and ``memory`` hold all models, one after the other; a table's places count from its
    own model's start. ``schedule`` is what ``schedules.make_tabulate`` makes.
    """

    control: Any
    limits: Any
    models: Any
    active: Any
    table: Any
    rules: Any
    memory: Any
    history: Any
    schedule: Any


class Models:
    """The models of a run in the kernels' layout, host side.

    Parameters
    ----------
    models : sequence of specs.ModelSpec
        Products of matrices, or entrywise maps of one form.
    dtype : dtype
    """

    def __init__(self, models: Any, dtype: np.dtype[Any]) -> None:
        self.structure = structure_of(models)
        self.layouts = [layout_of(model) for model in models]
        self.starts = np.cumsum([0, *(layout.size for layout in self.layouts)])
        self.rows = np.zeros((len(models), MODEL_SIZE), np.int64)
        first = 0
        for m, layout in enumerate(self.layouts):
            depth = len(layout.table)
            self.rows[m, : N_KEPT + 1] = (
                first, depth, self.starts[m], layout.n_params, layout.n_kept,
            )  # fmt: skip
            first += depth
        self.table = np.concatenate([layout.table for layout in self.layouts])
        self.rules, self.programs = make_rules([model.rule for model in models])
        self.memory = xp.zeros(int(self.starts[-1]), dtype)
        for model, start in zip(models, self.starts, strict=False):
            self.memory[start : start + model.params.size] = xp.asarray(model.params)

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs and features of all of them."""
        widths = self.layouts[0].widths
        return widths[-1], widths[0]

    @property
    def scheduled(self) -> bool:
        """Whether a rule of theirs has a program."""
        return self.programs.size > 1

    @property
    def noisy(self) -> bool:
        """Whether a rule of theirs is Langevin's."""
        return bool(self.rules[:, NOISY].any())

    @property
    def deepest(self) -> int:
        """Most factors of a model."""
        return max(len(layout.table) for layout in self.layouts)


def run_type(dtype: np.dtype[Any]) -> Any:
    """Return the Numba type of ``Shared``."""
    i8, f8 = np.int64, np.float64
    fields = {"control": i8, "limits": f8, "models": i8, "active": i8, "table": i8, "rules": f8}
    return record(Shared, dtype, {**fields, "memory": None, "history": f8, "schedule": f8})


#: Entries of ``doubles`` after those of ``block_sums``; STUCK is for ``resident``.
CORRECTIONS, LOSS, STUCK, DOUBLES = 0, 2, 3, 4
#: Behind them, in resident runs with schedules: rate, decay and a of the step.
NOW = DOUBLES

#: What ``block_sums`` adds up: |G|^2; the quadratic part of the Gram loss, or in the form
#: "diagonal" the squares of residuals; |W|^2; <W, G>. The first suffices for most steps.
SQUARE, QUADRATIC, WEIGHTS, ALONG = range(SUMS)


class Block(NamedTuple):
    """Where a block has its model.

    ``scratch`` is a place in ``floats``, ``at_sums`` that of ``block_sums`` in ``doubles``.
    """

    memory: Any
    table: Any
    doubles: Any
    floats: Any
    scratch: int
    at_sums: int


@device
def bring_table(run, model, table, base):
    """Copy a model's table to shared memory, its places counted from ``base``."""
    row = model * MODEL_SIZE
    first, depth = run.models[row + FIRST], run.models[row + DEPTH]
    for i in range(this_thread(), depth * TABLE, THREADS):
        place = run.table[first * TABLE + i]
        table[i] = base + place if PARAMS <= i % TABLE <= PULL else place


@device
def first_due(run, step):
    """Return the first step from ``step`` on that is to be recorded."""
    every = run.control[RECORD_EVERY]
    return -1 if every == 0 else (step + every - 1) // every * every


@device
def record_row(run, model, entry, loss, square, weights):
    """One thread: record an iterate in the history."""
    at = 3 * (entry * run.control[COUNT] + model)
    run.history[at] = loss
    run.history[at + 1] = math.sqrt(square)
    run.history[at + 2] = math.sqrt(weights)


@device
def record_batch(run, model, entry, loss):
    """One thread: record the loss of a batch in the history that a run of batches has."""
    run.history[entry * run.control[COUNT] + model] = loss


@device
def judge(loss, square, tol, target):
    """Return the status that an iterate gives its model; ``square`` is that of G's norm."""
    if not (math.isfinite(loss) and math.isfinite(square)):
        return DIVERGED
    if tol > 0.0 and math.sqrt(square) <= tol:
        return CONVERGED
    return TARGET if loss <= target else RUNNING


@cache
def make_enter(dtype: np.dtype[Any], form: str) -> Any:
    """Make ``enter(data, block, e, total, scale, everything, sums)``: entry e of G from its total.

    In the form "diagonal" an entry needs no total: nothing else of W goes into it. It leaves its
    share in ``sums``: of the first, of the second unless the form is "direct", and of all four if
    ``everything`` is asked for.
    """
    scalar, from_gram, diagonal = dtype.type, form == "gram", form == "diagonal"

    @device
    def enter(data, block, e, total, scale, everything, sums):
        memory = block.memory
        w = float(memory[block.table[SUFFIX] + e])
        if from_gram:
            target = float(data.Y[e])
            sums[QUADRATIC] += w * (total - 2.0 * target)
            total -= target
        if diagonal:
            s = float(data.X[e])
            r = s * w - float(data.Y[e])
            sums[QUADRATIC] += r * r
            total = r * s
        g = scalar(scale * total)
        memory[block.table[PULL] + e] = g
        sums[SQUARE] += float(g) * float(g)
        if everything:
            sums[WEIGHTS] += w * w
            sums[ALONG] += w * float(g)

    return enter


@device
def _step_no_group(block, depth, k, rule, numbers):
    """There is no group RMSProp in this kernel, which need not be compiled with it."""


@cache
def make_step(
    dtype: np.dtype[Any], kind: int, structure: str = PRODUCT, scheduled: bool = False
) -> Any:
    """Make ``step(run, model, block, depth, k, rule, sums)``: update, and multiply out.

    ``sums`` are those of ``block_sums``, and are lost; the end-to-end rule needs all of them, and
    k = 1. ``kind`` is that of all models, ANY of them but group RMSProp, or MIXED; ``structure`` is
    what makes their maps. With ``scheduled`` the rates of the end-to-end rule are those at NOW.
    """
    scalar, by_element = dtype.type, ANY if kind in (MIXED, GROUP_RMSPROP) else kind
    descend = make_descend(dtype, structure, make_update(by_element))
    multiply = make_multiply(dtype, structure)
    end_to_end_alone = kind == END_TO_END
    never_end_to_end = kind not in (ANY, MIXED, END_TO_END)
    groups_alone, some_groups = kind == GROUP_RMSPROP, kind == MIXED
    step_group = _step_no_group
    if groups_alone or some_groups:
        step_group = make_group_step(dtype, structure)

    @device
    def along_the_rule(run, model, block, sums):
        at, memory = model * RULE_SIZE, block.memory
        d, W, G = block.table[COLUMNS], block.table[SUFFIX], block.table[PULL]
        rate, decay, depth = run.rules[at + RATE], run.rules[at + DECAY], run.rules[at + A]
        if scheduled:
            now = block.at_sums + SUMS_SIZE + NOW
            rate, decay = block.doubles[now], block.doubles[now + 1]
        keep = 1.0 - rate * decay * depth
        if this_thread() < d:
            stretch, push = stretch_and_push(sums[WEIGHTS], sums[ALONG], depth)
            for i in range(this_thread(), d, THREADS):
                w = float(memory[W + i])
                memory[W + i] = scalar(
                    keep * w - rate * stretch * (float(memory[G + i]) + push * w)
                )
        cuda.syncthreads()

    @device
    def step(run, model, block, depth, k, rule, sums):
        if end_to_end_alone:
            along_the_rule(run, model, block, sums)
        elif groups_alone or (some_groups and rule.kind == GROUP_RMSPROP):
            step_group(block, depth, k, rule, sums)
            multiply(block.memory, block.table, depth, k, block.floats, block.scratch)
        elif never_end_to_end or rule.kind != END_TO_END:
            descend(block.memory, block.table, depth, k, rule)
            multiply(block.memory, block.table, depth, k, block.floats, block.scratch)
        else:
            along_the_rule(run, model, block, sums)

    return step
