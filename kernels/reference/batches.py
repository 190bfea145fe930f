r"""Minibatches: which of n rows every step takes.

===============  ================================================================================
``shuffle``      the rows of step t
===============  ================================================================================
``none``         in order: batch j = t mod m, of m = ceil(n / size) in an epoch, has rows j size to
                 (j + 1) size - 1; the last batch of an epoch is smaller if size does not divide n
``epoch``        batch j of a random partition of all rows into such m batches, each epoch t // m
                 anew, all partitions being equally likely: sampling without replacement
``replacement``  ``size`` rows drawn one by one from all n, whatever has been drawn before
===============  ================================================================================

Rows ascend within a batch, so that data are read in order. The random numbers are those of
:mod:`.philox`, of the stream ROWS at the epoch, or with replacement at the step, so that the rows
depend on n, size, shuffle, seed and step alone.

The partition is made by Fisher and Yates's shuffle, of the labels of batches, not of rows: label i
// size stands at i, number i of the stream says which of the labels from i on changes places with
it, and then batch j has the rows where j stands, which ascend without having been sorted.

Source: Durstenfeld (1964), algorithm 235, "Random permutation".
"""

import numpy as np

from ..protocols import Array
from ..specs import ROWS
from . import philox


def steps_per_epoch(n: int, size: int) -> int:
    """Return in how many batches all rows are seen once."""
    return -(-n // size)


def labels(n: int, size: int, seed: int, epoch: int) -> Array:
    """Return to which batch of an epoch each row belongs, with ``epoch``: (n,) int64."""
    labels = (np.arange(n) // size).tolist()
    jumps = philox.index(philox.numbers(0, n, ROWS, epoch, seed), n - np.arange(n))
    for i, jump in enumerate(jumps.tolist()):
        j = i + jump
        labels[i], labels[j] = labels[j], labels[i]
    return np.array(labels)


def rows(n: int, size: int, shuffle: str, seed: int, step: int) -> Array:
    """Return the rows of a step, ascending, int64: at most ``size``, fewer at an epoch's end.

    Parameters
    ----------
    n : int
        The number of rows, 1 to 2^31 - 1.
    size : int
        1 to n.
    shuffle : {"none", "epoch", "replacement"}
    seed : int
        0 to 2^63 - 1.
    step : int
        From 0.
    """
    if shuffle == "replacement":
        drawn: Array = np.sort(philox.index(philox.numbers(0, size, ROWS, step, seed), np.array(n)))
        return drawn
    epoch, batch = divmod(step, steps_per_epoch(n, size))
    if shuffle == "none":
        return np.arange(batch * size, min((batch + 1) * size, n))
    return np.flatnonzero(labels(n, size, seed, epoch) == batch)
