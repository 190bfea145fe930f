r"""Random numbers from counters: Philox4x32-10, its words, uniform and Gaussian numbers and signs.

A generator without a state: ten rounds of multiplications turn a counter of four 32-bit words and a
key of two into four random words, a block. So a number depends on what it is for, on the seed and
on the step alone; how a run is cut into threads, chunks or checkpoints changes nothing.

- The key is the seed, low word first, 0 <= seed < 2^63.
- The counter is (block, stream, the step's low word, its high word). The streams, one for each
  purpose, are in :mod:`..specs`.
- Words 0 and 1 of a block are the halves of a 64-bit number, low word first, words 2 and 3 those of
  the next: number i of a stream at a step is number i % 2 of block i // 2, i < 2^33.

What is made of the 64-bit numbers z:

=========  =================================================================================
uniform    (k + 1/2) / 2^52, k being the upper 52 bits: within (0, 1), exact, never 0 nor 1
Gaussian   Box and Muller's: of the uniforms u, v of block b, r = sqrt(-2 log u), number 2 b is
           r cos(2 pi v) and number 2 b + 1 is r sin(2 pi v)
sign       +1 if the top bit is 0, else -1
index      floor(z n / 2^64), below n < 2^32: wrong by at most n / 2^64 in its probability
=========  =================================================================================

Source: Salmon, Moraes, Dror, Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3".
"""

import numpy as np

from ..protocols import Array

#: Multipliers of the even words, and what is added to the two words of the key after each round.
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10

_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


def words(counter: Array, key: tuple[int, int]) -> Array:
    """Turn counters into random words.

    Parameters
    ----------
    counter : (..., 4) integer array
        Of 32-bit words.
    key : tuple of two int
        32-bit words.

    Returns
    -------
    (..., 4) uint32 array
    """
    first, second = (np.uint64(multiplier) for multiplier in MULTIPLIERS)
    a, b, c, d = np.moveaxis(np.asarray(counter, np.uint64), -1, 0)
    for turn in range(ROUNDS):
        k, m = (
            np.uint64((word + turn * step) % 2**32) for word, step in zip(key, WEYL, strict=True)
        )
        p, q = a * first, c * second
        a, b, c, d = (q >> _HALF) ^ b ^ k, q & _LOW, (p >> _HALF) ^ d ^ m, p & _LOW
    return np.stack([a, b, c, d], axis=-1).astype(np.uint32)


def numbers(first: int, count: int, stream: int, step: int, seed: int) -> Array:
    """Return 64-bit numbers ``first`` to ``first + count - 1`` of a stream, (count,) uint64."""
    blocks = np.arange(first // 2, (first + count + 1) // 2)
    counter = np.empty((len(blocks), 4), np.uint64)
    counter[:, 0] = blocks
    counter[:, 1:] = stream, step % 2**32, step // 2**32
    four = words(counter, (seed % 2**32, seed // 2**32)).astype(np.uint64)
    pairs = four[:, ::2] | four[:, 1::2] << _HALF
    chosen: Array = pairs.ravel()[first % 2 :][:count]
    return chosen


def uniform(z: Array) -> Array:
    """Make of 64-bit numbers uniform ones in (0, 1), float64."""
    numbers: Array = ((z >> np.uint64(12)) + 0.5) / 2.0**52
    return numbers


def uniforms(first: int, count: int, stream: int, step: int, seed: int) -> Array:
    """Return uniform numbers of a stream, (count,) float64."""
    return uniform(numbers(first, count, stream, step, seed))


def gaussians(first: int, count: int, stream: int, step: int, seed: int) -> Array:
    """Return standard Gaussian numbers of a stream, (count,) float64, from whole blocks."""
    even = first - first % 2
    u, v = uniforms(even, (first + count + 1) // 2 * 2 - even, stream, step, seed).reshape(-1, 2).T
    r, angle = np.sqrt(-2 * np.log(u)), 2 * np.pi * v
    pairs = np.stack([r * np.cos(angle), r * np.sin(angle)], axis=-1)
    chosen: Array = pairs.ravel()[first - even :][:count]
    return chosen


def signs(first: int, count: int, stream: int, step: int, seed: int) -> Array:
    """Return -1 or +1, each with probability 1/2, (count,) float64."""
    return 1.0 - 2.0 * (numbers(first, count, stream, step, seed) >> np.uint64(63))


def index(z: Array, n: Array) -> Array:
    """Make of 64-bit numbers random integers below n < 2^32, int64."""
    n = np.asarray(n, np.uint64)
    upper, lower = (z >> _HALF) * n, (z & _LOW) * n
    return ((upper + (lower >> _HALF)) >> _HALF).astype(np.int64)
