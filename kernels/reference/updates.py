r"""One step of every first-order optimiser, in place, on flat arrays.

Every rule first decays the weights and then moves them against a direction u that it makes of the
gradient g and of what it remembers:

.. math:: W \leftarrow (1 - \eta\lambda) W - \eta u.

================  ==================================================================  ============
rule              u (all operations by element; the state starts from 0)              state
================  ==================================================================  ============
gradient descent  g                                                                   none
momentum          m, with m <- a m + g                                                m
Nesterov          g + a m, with m <- a m + g                                          m
AdaGrad           g / (sqrt(v) + eps), with v <- v + g^2                              v
AdaDelta          g sqrt(s + eps) / sqrt(v + eps), with v <- a v + (1-a) g^2 before   v, s
                  and s <- a s + (1-a) u^2 after
RMSProp           g / (sqrt(v) + eps), with v <- a v + (1-a) g^2                      v
Adam              m^ / (sqrt(v^) + eps), with m <- a m + (1-a) g,                     m, v
                  v <- b v + (1-b) g^2, m^ = m / (1-a^t), v^ = v / (1-b^t)
group RMSProp     g / (sqrt(s / (1-a^t)) + eps), with s <- a s + (1-a) |g|^2, where   a number
                  |g|^2 is the sum of the squares of a group, one s for all of it     a group
Langevin          g - sqrt(2 T / eta) xi, with fresh standard Gaussians xi, T being   none
                  a: number i of stream PARAMETERS of :mod:`.philox`, with seed b at
                  step t - 1, is that of the i-th flat parameter
================  ==================================================================  ============

A group is a factor if b = 1; if b = 0 all factors are one. Its s stands in the flat buffer where
its first parameter does in the parameters; the other numbers there stay 0.

These are the definitions of ``torch.optim`` (SGD, Adagrad, Adadelta, RMSprop, Adam), and group
RMSProp is the ``GroupRMSprop`` of Arora, Cohen, Hu and Luo (2019), "Implicit Regularization in Deep
Matrix Factorization", arXiv 1905.13655, in ``opt.py`` of their code
(github.com/roosephu/deep_matrix_factorization), which has one group; except that the decay is the
paper's, apart from the gradient, and that a v or s which has overflowed makes NaN of its
parameters: divided by it, every later step would be 0, and the model seem to have come to rest.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ..protocols import Array
from ..specs import (
    ADADELTA,
    ADAGRAD,
    GRADIENT_DESCENT,
    GROUP_RMSPROP,
    LANGEVIN,
    MOMENTUM,
    NESTEROV,
    PARAMETERS,
    RMSPROP,
)
from . import philox


def _average(buffer: Array, value: Array, weight: float) -> Array:
    """``buffer <- weight * buffer + (1 - weight) * value``, in place."""
    buffer *= weight
    buffer += (1 - weight) * value
    return buffer


def _root(v: Array) -> Array:
    """``sqrt(v)``; NaN where v has overflowed."""
    root: Array = np.sqrt(v) + (v - v)
    return root


def _direction(
    kind: int, g: Array, state: Array, a: float, b: float, eps: float, step: int
) -> Array:
    u: Array
    if kind in (GRADIENT_DESCENT, LANGEVIN):
        u = g
    elif kind in (MOMENTUM, NESTEROV):
        m = state[0]
        m *= a
        m += g
        u = m if kind == MOMENTUM else g + a * m
    elif kind == ADAGRAD:
        v = state[0]
        v += g**2
        u = g / (_root(v) + eps)
    elif kind == ADADELTA:
        v, s = state
        u = g * (np.sqrt(s + eps) / _root(_average(v, g**2, a) + eps))
        _average(s, u**2, a)
    elif kind == RMSPROP:
        u = g / (_root(_average(state[0], g**2, a)) + eps)
    else:  # Adam
        m, v = state
        m_hat = _average(m, g, a) / (1 - a**step)
        v_hat = _average(v, g**2, b) / (1 - b**step)
        u = m_hat / (_root(v_hat) + eps)
    return u


def _direction_of_groups(
    g: Array, s: Array, groups: Sequence[tuple[int, int]], a: float, eps: float, step: int
) -> Array:
    u = np.empty_like(g)
    for first, end in groups:
        square = float(np.sum(g[first:end].astype(np.float64) ** 2))
        s[first] = a * float(s[first]) + (1 - a) * square  # rounded to the dtype: may overflow
        mean = float(s[first])
        u[first:end] = g[first:end] / (np.sqrt(mean / (1 - a**step)) + (mean - mean) + eps)
    return u


def update(
    kind: int,
    params: Array,
    grads: Array,
    state: Array,
    hyper: tuple[float, ...],
    step: int,
    starts: Sequence[int] = (0,),
) -> None:
    """One step: ``params`` and ``state`` change in place.

    Parameters
    ----------
    kind : int
        One of the rules of ``specs`` but END_TO_END, which is gradient descent on a preconditioned
        gradient (see ``loop``).
    params, grads : (n_params,) arrays of one dtype
    state : (STATE_SLOTS[kind], n_params) array of that dtype
    hyper : tuple of five floats
        ``(learning_rate, weight_decay, a, b, eps)``.
    step : int
        Counts from 1.
    starts : sequence of int
        Where the factors begin in the flat arrays; only group RMSProp asks.

    Notes
    -----
    With eps that of the dtype, a parameter w, its m, v and s each have an error of at most
    ``16 eps`` times the sum of the absolute values of the terms that the table adds up for it: that
    is ``|w| + rate |u|`` for w, with ``a |m| + |g|`` in the place of m. Adam's corrections add
    ``1 / (1 - a^t) + 1 / (1 - b^t)`` times the eps of float64 to the relative error of u. The sums
    of squares of group RMSProp are made in float64: its s of m parameters has a relative error of
    at most ``16 eps`` plus m times the eps of float64, its w one like the others'. The noise of
    Langevin's rule is rounded to the dtype before it is added, where it is not 0.
    """
    rate, decay, a, b, eps = (float(value) for value in hyper)
    # An eps below the dtype's normal numbers would be 0 in it, and 0 / 0 where g is always 0.
    eps = max(eps, float(np.finfo(params.dtype).tiny))
    params *= 1 - rate * decay
    if kind == GROUP_RMSPROP:
        groups = list(pairwise((*starts, params.size))) if b else [(0, params.size)]
        params -= rate * _direction_of_groups(grads, state[0], groups, a, eps, step)
    else:
        params -= rate * _direction(kind, grads, state, a, b, eps, step)
    if kind == LANGEVIN and (scale := math.sqrt(2 * rate * a)):
        noise = scale * philox.gaussians(0, params.size, PARAMETERS, step - 1, int(b))
        params += noise.astype(params.dtype)
