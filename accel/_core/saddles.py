r"""Directions in which the loss falls, but that factors of a matrix cannot take.

Balanced factors of depth N move a singular value s of their product W, with vectors u and v, by

.. math:: \dot s = -N s^{2 - 2/N} u^\top G v - N \lambda s,

G the gradient with respect to W, :math:`\lambda` the weight decay (Arora, Cohen, Hu, Luo 2019,
theorem 3). From depth 2 on one that is 0 stays 0, whatever G is: each W of less than full rank at
which the others have come to rest is a stationary point. The loss itself is convex, so without
decay it is no local minimum unless G is 0: it is a saddle.

Decay adds :math:`\lambda N / 2 \sum s^{2/N}` to the loss. At depth 2 that is :math:`\lambda` times
the nuclear norm; the sum stays convex, and W is the minimum where the largest singular value of G
on the unused singular vectors is at most :math:`\lambda`. From depth 3 on the slope of
:math:`s^{2/N}` at 0 is infinite: every such W is a local minimum, W = 0 always, however small
:math:`\lambda` is.

So a minimum is told from the rest by a search further away: along the direction -u v' in which the
loss falls most among the singular vectors that W does not use.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from accel._support.arrays import Array
from accel.kernels.reference.norms import norm

__all__ = ["LENGTHS", "UNUSED", "Direction", "penalties", "unused_directions"]

#: A singular value is unused below this part of the largest, and of the best one.
UNUSED = 0.01
#: Steps of a line search, each half of the one before.
LENGTHS = 24


class Direction(NamedTuple):
    """Singular vectors u (k,) and v (d,) that W does not use, along which the loss falls most.

    W itself uses ``rank`` others, whose part of it is ``used``; ``size`` is the largest of its
    other singular values.
    """

    rank: int
    size: float
    used: Array
    u: Array
    v: Array


def unused_directions(W: Array, G: Array, width: int) -> Iterator[Direction]:
    """Yield the direction for every rank that W may be said to have, below this width.

    Parameters
    ----------
    W, G : (k, d) array
        In float64. There is no direction where G has nothing outside of the used vectors.
    width : int
        Of the narrowest layer.
    """
    U, sizes, Vt = np.linalg.svd(W, full_matrices=False)
    for rank in range(min(width, len(sizes))):
        if rank and sizes[rank] >= UNUSED * sizes[0]:
            continue
        left, right = U[:, :rank], Vt[:rank]
        unused = G - left @ (left.T @ G)
        unused -= (unused @ right.T) @ right
        if not 0 < norm(unused) < math.inf:
            return
        used = (U[:, :rank] * sizes[:rank]) @ Vt[:rank]
        left, _, right = np.linalg.svd(unused / norm(unused), full_matrices=False)
        yield Direction(rank, float(sizes[rank]), used, left[:, 0], right[0])


def penalties(lengths: Array, decay: float, depth: int) -> Array:
    """What weight decay adds to the loss for singular values of these sizes."""
    added: Array = decay * depth / 2 * lengths ** (2 / depth)
    return added
