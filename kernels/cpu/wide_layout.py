"""Where the numbers of a network with many outputs stand, and which part of them is whose.

Outputs lie along the lanes of the vectors, in panels of ``shapes().tile_vectors`` vectors.
"""

from functools import cache
from typing import NamedTuple

from .factor_chain import LD, PULL, SUFFIX, factor_row
from .jit import inner, named
from .pointers import address, shift
from .shapes import shapes


class Panels(NamedTuple):
    """A matrix of ``rows`` rows in panels: that from vector v on stands at ``v * lanes * rows``.

    A panel has ``shapes().tile_vectors`` vectors a row, or one where fewer are left.
    """

    address: int
    rows: int


@cache
def make_span(lanes: int):
    """Compile ``span(k, part, parts)``: first and last of a part's vectors of k outputs.

    It begins with a whole panel.
    """
    width = shapes().tile_vectors

    @inner
    @named(width)
    def share(vectors, part, parts):
        if part == parts:
            return vectors
        return (2 * vectors * part + width * parts) // (2 * width * parts) * width

    @inner
    @named(lanes, width)
    def span(k, part, parts):
        vectors = (k + lanes - 1) // lanes
        return share(vectors, part, parts), share(vectors, part + 1, parts)

    return span


@inner
def rows_share(rows, part, parts):
    """Rows of a factor that are a part's: in fours, so that few low tiles are left over."""
    units = (rows + 3) // 4
    return 4 * (units * part // parts), min(4 * (units * (part + 1) // parts), rows)


@inner
def suffix(chain, f):
    """Return W_f' ... W_{N-1}', (n_f, k)."""
    row = factor_row(chain, f)
    return Panels(address(shift(chain.products, row[SUFFIX])), row[LD])


@inner
def pull(chain, f):
    """Return W_{f-1} ... W_0 G', (n_f, k)."""
    row = factor_row(chain, f)
    return Panels(address(shift(chain.products, row[PULL])), row[LD])


@inner
def turned(chain, f, lanes):
    """Address of the transpose of ``pull(chain, f)``.

    It is cut as the outputs are: the rows of a panel of outputs stand together, in panels of their
    columns, and for the last factor row after row.
    """
    row, outputs = factor_row(chain, f), (chain.k + lanes - 1) // lanes * lanes
    return address(shift(chain.products, row[PULL] + row[LD] * outputs))


@inner
def end_to_end_matrix(chain):
    """Point to the first suffix product."""
    return shift(chain.products, factor_row(chain, 0)[SUFFIX])


@inner
def end_to_end_gradient(chain):
    """Point to the first pulled-back product."""
    return shift(chain.products, factor_row(chain, 0)[PULL])


@inner
def last_gradient(chain, lanes):
    """Point to the gradient of the last factor, laid out like that."""
    row, outputs = factor_row(chain, chain.depth - 1), (chain.k + lanes - 1) // lanes * lanes
    return shift(chain.products, row[PULL] + row[LD] * outputs)
