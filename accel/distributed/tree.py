"""The order of the sum over the chunks: a binary tree over their indices alone.

A node ``(low, high)`` stands for the chunks from ``low`` up to ``high``, and its sum is that of its
two halves. So the bits of the whole do not depend on which worker holds which chunks: each worker
adds up the largest nodes that it holds in full, and the client adds up those.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from accel._support.arrays import Array

__all__ = ["Node", "add_up", "cover", "join"]

Node = tuple[int, int]


def cover(held: Sequence[int], count: int) -> list[Node]:
    """Return the largest nodes whose chunks are all among ``held`` (ascending), in order."""
    nodes: list[Node] = []

    def visit(low: int, high: int) -> None:
        there = bisect_left(held, high) - bisect_left(held, low)
        if there == high - low:
            nodes.append((low, high))
        elif there:
            middle = (low + high) // 2
            visit(low, middle)
            visit(middle, high)

    if held:
        visit(0, count)
    return nodes


def add_up(node: Node, parts: Iterator[Array]) -> Array:
    """Return the sum of a node from those of its chunks, taken in order; overwrites them."""
    low, high = node
    if high - low == 1:
        return next(parts)
    middle = (low + high) // 2
    total = add_up((low, middle), parts)
    total += add_up((middle, high), parts)
    return total


def join(node: Node, sums: Mapping[Node, Array]) -> Array:
    """Return the sum of a node from those of nodes below it that make it up."""
    if node in sums:
        return sums[node]
    low, high = node
    middle = (low + high) // 2
    return join((low, middle), sums) + join((middle, high), sums)
