"""Minibatches as a value: which rows every step takes, by seed and step alone."""

from dataclasses import dataclass

import numpy as np

from accel._support import validation
from accel._support.arrays import Array
from accel.kernels import specs
from accel.kernels.reference import batches

#: Kernels number rows in 32 bits.
_MOST_ROWS = 2**31 - 1
#: Steps and seeds are halves of a counter and of a key, and integers with a sign elsewhere.
_MOST = 2**63 - 1


@dataclass(frozen=True)
class Batches:
    """The rows of a data set that every step takes.

    They are made of random numbers from counters, so that they depend on these values and on the
    step alone, whatever else has been asked for, on every backend.

    Parameters
    ----------
    n : int
        The number of rows, 1 to 2^31 - 1.
    size : int
        Rows of a batch, 1 to ``n``.
    shuffle : {"epoch", "replacement", "none"}
        A random partition of all rows in every epoch, of whose batches the last is smaller if
        ``size`` does not divide ``n``; ``size`` rows drawn one by one, so that one may come several
        times; or all rows in order.
    seed : int
        Of the random numbers, 0 to 2^63 - 1.

    Raises
    ------
    TypeError, ValueError
        If a value is of the wrong kind or out of its range; the message names it.

    Notes
    -----
    The mean over a batch of what is computed of each row is an unbiased estimate of the mean over
    all rows, but that of an epoch's last and smaller batch has a larger variance. With "epoch"
    batches of the same epoch depend on each other.

    References
    ----------
    Salmon, Moraes, Dror, Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3", for
    Philox4x32-10, of which the random numbers are.

    Examples
    --------
    >>> import accel
    >>> batches = accel.Batches(10, 4)
    >>> [batches.rows(step).tolist() for step in range(batches.steps_per_epoch)]
    [[3, 5, 7, 9], [1, 2, 4, 6], [0, 8]]
    """

    n: int
    size: int
    shuffle: str = "epoch"
    seed: int = 0

    def __post_init__(self) -> None:
        n = validation.integer("n", self.n, least=1, most=_MOST_ROWS)
        values = {
            "n": n,
            "size": validation.integer("size", self.size, least=1, most=n),
            "shuffle": validation.choice("shuffle", self.shuffle, specs.SHUFFLES),
            "seed": validation.integer("seed", self.seed, least=0, most=_MOST),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def steps_per_epoch(self) -> int:
        """The number of batches that all rows make up, ``ceil(n / size)``."""
        return batches.steps_per_epoch(self.n, self.size)

    def rows(self, step: int) -> Array:
        """Return the rows of a step, ascending.

        With "epoch" a step costs as much as its epoch, some 0.3 microseconds a row of the data; a
        run makes them faster.

        Parameters
        ----------
        step : int
            From 0 to 2^63 - 1.

        Returns
        -------
        int64 array
            Of ``size`` rows, or fewer at the end of an epoch.

        Raises
        ------
        TypeError, ValueError
            If the step is no integer, or out of range.
        """
        step = validation.integer("step", step, least=0, most=_MOST)
        return np.asarray(
            batches.rows(self.n, self.size, self.shuffle, self.seed, step), dtype=np.int64
        )
