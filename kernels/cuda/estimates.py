"""Estimates of the time of a step: how often each operation occurs in it, times its cost.

Times are in cycles of a multiprocessor. ``launch.plan`` weighs layouts by these sums; ``python -m
benchmarks gpu fit`` finds what things cost from measured steps, by the same counts, and writes
that to ``costs.py``. Nothing here needs a device, or its libraries.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from .costs import COSTS

_WARP = 32
#: Rows and columns of a tile of ``products``.
TILE = 32


class Terms(NamedTuple):
    """A number for each thing that steps are made of: how often it occurs, or what it costs.

    Of a resident step:

    ===============  ======================================================================
    ``rest``         what every step has: a block's own barriers, judgement, a small update
    ``instruction``  an instruction of a warp on the rows of its block, on words of 32 bits
    ``exchange``     an exchange between blocks
    ``block``        a block that takes part in it
    ``poll``         a block that waits for another one: the square of their number
    ``pair``         a pair of words that a block posts, those of all blocks
    ``factor``       a factor behind the first: barriers, and how long its sums take to come
    ``chain``        a multiply-add on factors, on words of 32 bits: every block makes them all
    ===============  ======================================================================

    of a streaming one, beside ``factor`` and ``chain``:

    ================  =====================================================================
    ``launches``      those of a step, replayed from a graph
    ``by_host``       those of a step with cuBLAS in it, which no graph holds
    ``byte``          a byte of X, read by all multiprocessors together
    ``multiply_add``  one on X, on words of 32 bits and one multiprocessor
    ================  =====================================================================

    and of a wide one, beside ``byte`` and, where cuBLAS makes the pass, ``by_host`` and
    ``multiply_add``:

    ================  =====================================================================
    ``stage``         a kernel of many blocks that a graph holds, after the one before it
    ``product``       a multiply-add of a tile of ours, on words of 32 bits: those of the
                      multiprocessor that has the most
    ================  =====================================================================
    """

    rest: float = 0.0
    instruction: float = 0.0
    exchange: float = 0.0
    block: float = 0.0
    poll: float = 0.0
    pair: float = 0.0
    factor: float = 0.0
    chain: float = 0.0
    launches: float = 0.0
    by_host: float = 0.0
    byte: float = 0.0
    multiply_add: float = 0.0
    stage: float = 0.0
    product: float = 0.0


class Chain(NamedTuple):
    """The factors of a model in a step: how many lie behind the first, and multiply-adds."""

    factors: float
    multiply_adds: float


def vectors(d: int) -> int:
    """Return how many of the d elements of a row a lane of a warp holds."""
    return -(-d // _WARP)


def pairs(size: int, itemsize: int) -> int:
    """Return the pairs of words that a block posts: so many elements, and its loss."""
    return -(-size * itemsize // 8) + 1


def chain(widths: Sequence[int], kept: int) -> Chain:
    """Count what a step spends on factors: products, pulled-back gradients, update.

    Parameters
    ----------
    widths : sequence of int
        n_0 = d to n_N = k.
    kept : int
        Numbers that a step carries on: parameters and state of the optimiser.
    """
    # The last factor takes part in the update alone: it is a product already.
    products = sum(a * b for a, b in itertools.pairwise(widths[:-1]))
    return Chain(len(widths) - 2, 3 * widths[-1] * products + kept)


def resident(rows: int, d: int, outputs: int, itemsize: int, blocks: int, chain: Chain) -> Terms:
    """Count what occurs in a resident step of one model.

    Parameters
    ----------
    rows, d, outputs : int
        Of the data, or of X'X: all rows that the ``blocks`` of a team share.
    itemsize : int
        Bytes of an element.
    blocks : int
    chain : Chain
        Of the model, or of an average one.
    """
    words, several = itemsize // 4, blocks > 1
    return Terms(
        rest=1,
        instruction=words * -(-rows // blocks) * outputs * (2 * vectors(d) + 8),
        exchange=several,
        block=blocks * several,
        poll=blocks**2 * several,
        pair=blocks * pairs(outputs * d, itemsize) * several,
        factor=chain.factors,
        chain=words * chain.multiply_adds,
    )


def streaming(
    rows: int,
    d: int,
    maps: int,
    itemsize: int,
    processors: int,
    by_host: bool,
    chain: Chain,
    costs: Terms,
) -> Terms:
    """Count what occurs in a streaming step of all models.

    Bytes and arithmetic take place at the same time: the one that takes longer by ``costs`` counts.

    Parameters
    ----------
    rows, d : int
        Of the data, or of X'X.
    maps : int
        Outputs of all models together.
    itemsize : int
        Bytes of an element.
    processors : int
        Multiprocessors of the device.
    by_host : bool
        Whether the step has cuBLAS in it.
    chain : Chain
        Of all models that a block has, one after the other.
    costs : Terms
    """
    words = itemsize // 4
    nbytes, work = rows * d * itemsize, 2 * rows * d * maps * words / processors
    bound = nbytes * costs.byte >= work * costs.multiply_add
    return Terms(
        factor=chain.factors,
        chain=words * chain.multiply_adds,
        launches=not by_host,
        by_host=by_host,
        byte=nbytes if bound else 0,
        multiply_add=0 if bound else work,
    )


def _tiles(rows: int, columns: int) -> int:
    return -(-rows // TILE) * -(-columns // TILE)


def _tile_work(products: Sequence[tuple[int, int]], itemsize: int, processors: int) -> float:
    """Return the multiply-adds of the busiest multiprocessor in one kernel.

    ``products`` are the tiles and the terms of each.
    """
    shared_out = sum(tiles * terms for tiles, terms in products) / processors
    longest = max(terms for _, terms in products)
    return TILE**2 * max(shared_out, longest) * (itemsize // 4)


def blocks_pass(
    form: str, rows: int, d: int, k: int, itemsize: int, processors: int, models: int
) -> Terms:
    """Count what occurs in a pass by ``blocks_pass``, or in the form "diagonal", where none is.

    Parameters
    ----------
    form : str
        Of the loss.
    rows, d, k : int
        Of the data, or of X'X.
    itemsize : int
        Bytes of an element.
    processors : int
        Multiprocessors of the device.
    models : int
    """
    if form == "diagonal":
        return Terms()
    # The rows are shared out in as many slots as it takes to have work for all.
    tiles = models * _tiles(k, d)
    work = TILE**2 * (itemsize // 4) * max(rows * tiles / processors, min(rows, TILE))
    if form == "gram":
        return Terms(stage=1, product=_tile_work([(tiles, rows)], itemsize, processors))
    work += _tile_work([(models * _tiles(rows, k), d)], itemsize, processors)
    return Terms(stage=2, product=work)


def wide(
    widths: Sequence[int], params: int, kept: int, itemsize: int, processors: int, models: int
) -> Terms:
    """Count what follows the pass in a wide step of so many models, all alike.

    Parameters
    ----------
    widths : sequence of int
        n_0 = d to n_N = k.
    params, kept : int
        Parameters of a model, and numbers that a step carries on: with the optimiser's state.
    itemsize, processors, models : int
        As above.
    """
    k, work = widths[-1], 0.0
    for columns, rows in itertools.pairwise(widths[:-1]):
        pull, gradient = (models * _tiles(k, rows), columns), (models * _tiles(rows, columns), k)
        work += _tile_work([pull, gradient], itemsize, processors)
        work += _tile_work([(models * _tiles(k, columns), rows)], itemsize, processors)
    hidden = len(widths) - 2
    return Terms(
        stage=3 + max(hidden, 1) + hidden,
        product=work,
        byte=models * itemsize * (2 * params + 2 * kept),
    )


def cycles(counts: Terms, costs: Terms) -> float:
    """Return the time of a step in which things occur so often."""
    return sum(count * cost for count, cost in zip(counts, costs, strict=True))


def costs_of(capability: tuple[int, int]) -> Terms:
    """Return what things cost on a compute capability, or the nearest older one that is known.

    Devices older than all that are known are taken for the oldest of them.
    """
    older = [known for known in COSTS if known <= capability]
    return Terms(**COSTS[max(older) if older else min(COSTS)])
