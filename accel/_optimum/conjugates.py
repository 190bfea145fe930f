r"""The convex losses of a sample beside l_p: their conjugates, and the terms of a duality gap.

Let l be the loss of one prediction m, s its slope there, and ``l*(v) = max_m (v m - l(m))`` its
conjugate. Fenchel's inequality says that

.. math:: f(m, v) = l(m) + l^*(v) - v m \ge 0,

and f is 0 where v = s. For l_i of every sample, and any v with ``X'v = 0`` whose entries are in the
domains of the conjugates, ``sum v_i m_i`` is 0 for all maps, so that the sum of all losses is at
least ``-sum l*(v_i)``, and ``sum f(m_i, v_i)`` bounds how far it is above its minimum. The same
function tells how much the loss changes: ``l(m + a) = l(m) + s a + f(m + a, s)``.

Written with ``delta = v - s``, r being the residual, z the margin and u = -y v, f has no
cancellation; h is ``h(t) = (1 + t) log(1 + t) - t``:

===========  ============================  ==================================================
kind         domain                        f
===========  ============================  ==================================================
huber        :math:`|v| \le \delta`        ``delta^2 / 2 + |delta| |r - s|``
pinball      -tau to 1 - tau               ``|delta| |r|``
expectile    all numbers                   ``delta^2 / (4 a)``, a being 1 - tau or tau, where v and
                                           r have one sign; else ``a_r r^2 + v^2 / (4 a_v) + |v r|``
logcosh      :math:`|v| \le 1`             of two chances P = (1 + v)/2 and Q = (1 + s)/2 the
                                           entropy ``Q h(P/Q - 1) + (1-Q) h((1-P)/(1-Q) - 1)``
logistic     u from 0 to 1                 the same of P = u and Q = 1/(1 + e^z)
exponential  u from 0 on                   ``S h(u/S - 1)`` with S = e^(-z)
===========  ============================  ==================================================
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from accel._optimum.twofold import EPS
from accel._support.arrays import Array
from accel.kernels.reference import losses
from accel.kernels.specs import MARGIN_KINDS, Loss

__all__ = ["BOXED_KINDS", "Conjugate", "entropy"]

#: The kinds whose slopes are bounded on both sides, by numbers of two signs.
BOXED_KINDS = ("huber", "pinball", "logcosh")

_NEAR = 1e-3  # where h is bounded by Taylor's theorem


def _h(t: Array) -> Array:
    """An upper bound of ``(1 + t) log(1 + t) - t`` for t >= -1, without cancellation at small t."""
    near = np.abs(t) < _NEAR
    small = np.where(near, t, 0.0)
    size = np.abs(small)
    bound = small**2 * (1 / 2 - small / 6 + size**2 / 12 + 0.06 * size**3)
    far = ~near
    if far.any():
        u = t[far]
        up = np.maximum(1 + u, 0.0)
        product = np.where(up > 0, up * np.log(np.where(up > 0, up, 1.0)), 0.0)
        bound[far] = product - u + 8 * EPS * (np.abs(product) + np.abs(u))
    return np.asarray(bound)


def entropy(P: Array, delta: Array, Q: Array, log_q: Array) -> Array:
    """An upper bound of ``P log(P / Q) - P + Q``, given ``delta = P - Q`` and the logarithm of Q.

    P and Q are at least 0; where Q has underflowed its logarithm stands for it.
    """
    with np.errstate(all="ignore"):
        t = delta / Q
        usual = (t <= 1 / _NEAR) & (Q > 0)
        terms: Array = Q * _h(np.where(usual, t, 0.0))
        if not usual.all():
            far = ~usual
            p = P[far]
            product = np.where(p > 0, p * (np.log(np.where(p > 0, p, 1.0)) - log_q[far]), 0.0)
            terms[far] = np.maximum(product - delta[far], 0.0) + 16 * EPS * (np.abs(product) + p)
    return terms


@dataclass(frozen=True, eq=False)
class Conjugate:
    """The loss of one output, and its conjugate, over n samples.

    Predictions m of a loss of residuals are the residuals themselves.

    Attributes
    ----------
    loss : Loss
        Of the kernels; the factor is not used.
    labels : (n,) array
        -1 and +1; for losses of residuals 0.
    """

    loss: Loss
    labels: Array

    @property
    def kind(self) -> str:
        """Of the loss."""
        return self.loss.kind

    @property
    def of_margins(self) -> bool:
        """Whether it is a loss of labels."""
        return self.kind in MARGIN_KINDS

    @property
    def boxed(self) -> bool:
        """Whether slopes are bounded on both sides, and 0 is between the bounds."""
        return self.kind in BOXED_KINDS

    @cached_property
    def domain(self) -> tuple[Array, Array]:
        """The least and the largest v of every sample."""
        p, n = self.loss.p, len(self.labels)
        if self.kind in MARGIN_KINDS:
            top = 1.0 if self.kind == "logistic" else np.inf
            positive = self.labels > 0
            return np.where(positive, -top, 0.0), np.where(positive, 0.0, top)
        least, most = {
            "huber": (-p, p),
            "pinball": (-p, 1 - p),
            "logcosh": (-1.0, 1.0),
            "expectile": (-np.inf, np.inf),
        }[self.kind]
        return np.full(n, least), np.full(n, most)

    def values(self, m: Array) -> Array:
        """The losses of all samples."""
        with np.errstate(over="ignore"):
            return losses.value_and_slope(self.loss, m, self.labels)[0]

    def slopes(self, m: Array) -> Array:
        """Their slopes; 0 at a kink."""
        with np.errstate(over="ignore"):
            return losses.value_and_slope(self.loss, m, self.labels)[1]

    def curvatures(self, m: Array) -> Array:
        """Their second derivatives."""
        with np.errstate(over="ignore"):
            return losses.curvature(self.loss, m, self.labels)

    def grain(self, m: Array) -> Array:
        """How large the rounding errors of slopes are, where ``terms`` computes them."""
        if self.kind in ("huber", "pinball"):
            return np.zeros_like(m)  # exact
        if self.kind in ("logcosh", "logistic"):
            z = 2 * m if self.kind == "logcosh" else m
            return np.asarray(32 * EPS * np.exp(-np.abs(z)))
        return np.asarray(16 * EPS * np.abs(self.slopes(m)))

    def room(self, v: Array) -> Array:
        """How much an entry of v may change without leaving its domain, up to a factor.

        By entries of v that may change little a small change costs much, so that the same numbers
        are the weights by which v is corrected.
        """
        if self.kind == "expectile":
            return np.ones_like(v)
        if self.kind == "exponential":
            return np.abs(v)
        low, high = self.domain
        return np.asarray(np.maximum((v - low) * (high - v) * (2 / (high - low)) ** 2, 0.0))

    def terms(self, m: Array, v: Array, shift: Array | float = 0.0) -> Array:
        """Upper bounds of ``f(m, v + shift)`` for every sample, the rounding of s aside.

        ``v + shift`` is taken to be within the domain: what is outside, by rounding, is put to its
        boundary.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            terms = self._entropies(m, v, shift) if self._by_entropy else self._powers(m, v, shift)
        return terms * (1 + 32 * EPS)

    @property
    def _by_entropy(self) -> bool:
        return self.kind in ("logcosh", "logistic", "exponential")

    def _powers(self, r: Array, v: Array, shift: Array | float) -> Array:
        p = self.loss.p
        if self.kind == "expectile":
            u = v + shift
            a, b = (np.where(x > 0, 1 - p, p) for x in (r, u))
            delta = v - 2 * a * r + shift
            far = a * r**2 + u**2 / (4 * b) + np.abs(u * r)
            return np.asarray(np.where(r * u <= 0, far, delta**2 / (4 * a)))
        low, high = self.domain
        if self.kind == "pinball":
            s = np.where(r > 0, high, low)
            return np.abs((s - v) - shift) * np.abs(r)
        s = np.clip(r, -p, p)
        size = np.abs((v - s) + shift)
        return np.asarray(size * (size / 2 + np.abs(r - s)))

    def _entropies(self, m: Array, v: Array, shift: Array | float) -> Array:
        if self.kind == "logcosh":
            z, up, down, move = -2 * m, (1 + v) / 2, (1 - v) / 2, np.asarray(shift) / 2
        else:
            z, up, move = self.labels * m, -self.labels * v, -self.labels * shift
            down = 1 - up
        if self.kind == "exponential":
            S = np.exp(-z)
            return entropy(np.maximum(up + move, 0.0), np.maximum(up - S + move, -S), S, -z)
        e = np.exp(-np.abs(z))
        large, small, log_large = 1 / (1 + e), e / (1 + e), -np.log1p(e)
        low = z > 0  # then Q, the chance of ``up``, is the smaller one
        log_small = log_large - np.abs(z)
        # delta from the smaller of the two chances, which is known to more digits
        delta = np.where(low, up - small + move, small - (down - move))
        delta = np.clip(delta, np.where(low, -small, -large), np.where(low, large, small))
        up, down = np.clip(up + move, 0.0, 1.0), np.clip(down - move, 0.0, 1.0)
        minor, sign = np.where(low, up, down), np.where(low, 1.0, -1.0)
        major = np.where(low, down, up)
        return entropy(minor, sign * delta, small, log_small) + entropy(
            major, -sign * delta, large, log_large
        )
