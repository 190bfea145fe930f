"""Pieces of a step with many outputs that depend neither on the data nor on the loss.

Two of them: the products of the factors, before and after the pass over the data; and the gradients
of the factors, with the update. See :mod:`.pieces` for what a piece is.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..specs import GROUP_RMSPROP
from ..system.caches import cache_bytes
from .epilogue import DISTURB, EPILOGUE, LAYERS, PRODUCTS, chain_of, here_type
from .factor_chain import LD, PARAMS, ROWS, factor_row
from .jit import inner, named, spliced
from .pieces import FLOATS, INTEGER, Piece, caller, from_stack, made_elsewhere, piece
from .pointers import shift
from .updates import KIND, RULE_SIZE, Memory, Sink, make_consumers, make_move
from .wide_ahead import make_ahead
from .wide_chain import make_layers, make_outputs
from .wide_layout import make_span, rows_share

#: The phases of a step, in ``progress[EPILOGUE]``.
PHASE_OUTPUTS, PHASE_LAYERS, PHASE_MEASURE, PHASE_ALL = range(4)


class Where(NamedTuple):
    """Whose part of a step it is: a ``Here`` on the stack, a model, and one of so many parts."""

    here: int
    model: int
    part: int
    parts: int


_PRODUCTS = (INTEGER,) * 6
_LAYERS = (*(INTEGER,) * 5, FLOATS)
_products, _layers = caller(*_PRODUCTS), caller(*_LAYERS)


@spliced
def multiply(run, where, lowest):
    """Make the suffix products of a part's outputs down to number ``lowest``."""
    _products(run.control[PRODUCTS], (where.here, where.model, where.part, where.parts, lowest, 0))


@spliced
def pull_back(run, where, lowest):
    """Make the pulled-back products of a part's outputs from number ``lowest`` on."""
    _products(run.control[PRODUCTS], (where.here, where.model, where.part, where.parts, lowest, 1))


@spliced
def layers(run, where, lowest, sums):
    """Measure the gradients of a part's rows of the factors from ``lowest`` on, or move the rows.

    In ``sums`` there is room for the sum of squares of every row, for GroupRMSProp.
    """
    place = where.here, where.model, where.part, where.parts, lowest, sums
    _layers(run.control[LAYERS], place)


@spliced
def sink_of(run, rule, sums):
    """Where the gradients of a part's rows go. Between two passes nothing else is in the sums."""
    memory = Memory(run.state, run.total, rule, run.control[DISTURB])
    return Sink(memory, run.progress[EPILOGUE] == PHASE_MEASURE, sums, run.gradients)


@spliced
def is_measured(run, rule):
    """Whether the gradients have been measured already, and are kept."""
    return rule[KIND] == GROUP_RMSPROP and run.progress[EPILOGUE] != PHASE_MEASURE


@cache
def _make_move_rows(dtype: np.dtype[Any]):
    """Compile ``move_rows(chain, gradients, memory, part, parts)``, by gradients that are there."""
    move = make_move(dtype)

    @inner
    @named(dtype.name)
    def move_rows(chain, gradients, memory, part, parts):
        for f in range(chain.depth):
            row = factor_row(chain, f)
            first, last = rows_share(row[ROWS], part, parts)
            start, count = row[PARAMS] + first * row[LD], max(last - first, 0) * row[LD]
            move(chain, shift(gradients, start), start, count, memory)

    return move_rows


@made_elsewhere
def make_products(dtype: np.dtype[Any], lanes: int) -> Piece:
    """Make the piece that ``multiply`` and ``pull_back`` call."""
    before, after = make_outputs(dtype, lanes)
    span_of, here_at = make_span(lanes), from_stack(here_type(dtype))
    before_outputs, _ = make_ahead(dtype, lanes)
    near = _near(dtype)

    @piece("products", dtype.name, lanes, arguments=_PRODUCTS)
    def products(here, model, part, parts, lowest, back):
        run, _ = here_at(here)
        chain = chain_of(run, model)
        span = span_of(chain.k, part, parts)
        if back != 0:
            after(chain, span, lowest)
        else:
            if parts > 1 and run.total <= near:
                before_outputs(chain, part, parts)
            before(chain, span, lowest)
        return 0

    return products


@made_elsewhere
def make_layers_piece(dtype: np.dtype[Any], lanes: int) -> Piece:
    """Make the piece that ``layers`` calls."""
    _, consume = make_consumers(dtype)
    descend, move_rows = make_layers(dtype, lanes, consume), _make_move_rows(dtype)
    here_at = from_stack(here_type(dtype))
    _, before_layers = make_ahead(dtype, lanes)
    near = _near(dtype)

    @piece("layers", dtype.name, lanes, arguments=_LAYERS)
    def layers_of(here, model, part, parts, lowest, sums):
        run, room = here_at(here)
        chain, rule = chain_of(run, model), shift(run.rules, model * RULE_SIZE)
        if parts > 1 and run.total <= near:
            before_layers(chain, part, parts)
        sink = sink_of(run, rule, sums)
        if is_measured(run, rule):
            move_rows(chain, run.gradients, sink.memory, part, parts)
        else:
            descend(chain, room.block, sink, part, parts, lowest)
        return 0

    return layers_of


def _near(dtype: np.dtype[Any]) -> int:
    """Return of how many parameters, with room in half of the second level, a part asks ahead."""
    return cache_bytes(2) // 2 // dtype.itemsize
