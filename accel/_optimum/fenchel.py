r"""A bound of how far a map is from the minimum of a convex loss, rounding errors included.

``conjugates.py`` says what f is: ``sum f(m_i, v_i)`` bounds the distance of the sum of losses from
its minimum, for any slopes v in the domains of the conjugates with ``X'v = 0``. What floating point
adds:

- The predictions m, or residuals, are computed with twice the digits; an error e is left. f is
  convex in m, so that its largest value for m in ``m +- e`` is at one of the two ends.
- ``X'v`` is not exactly 0. With ``A = X T`` of nearly orthonormal columns let ``rho = A'v``. Then
  ``v + c`` with ``c = -omega A (A' omega A)^{-1} rho`` satisfies ``A'(v + c) = 0`` for any weights
  omega. With a matrix S for which ``S' A' omega A S`` is nearly the identity, of smallest
  eigenvalue lambda, and ``B = A S``, ``|c_i| <= omega_i |b_i| |S' rho| / lambda``. f is convex in v
  as well: take the largest value at the four corners. ``v +- c`` has to be in the domain; so the
  weights are small where v is near its boundary.
- Where slopes are bounded, v shrunk by a factor ``1 - eta`` leaves room for any small c: so weights
  of one will do, at a cost of about eta times the loss. That is the way out where rows whose slopes
  are inside are fewer than the rank. The smaller bound counts.

No loss is negative: the loss itself is a bound, too, which is taken where nothing else is proved.
"""

import math
from typing import NamedTuple

import numpy as np

from accel._optimum.basis import Basis
from accel._optimum.certificate import Rows, weighted
from accel._optimum.conjugates import Conjugate
from accel._optimum.twofold import EPS, total
from accel._support.arrays import Array

__all__ = ["Bound", "bound_at"]

_SUM = 64 * EPS  # what sums of numbers of one sign, and products of few factors, lose at most


class Bound(NamedTuple):
    """The loss of a map, and a bound of its distance from the minimum; sums over the samples.

    Attributes
    ----------
    m, error : (n,) array
        The predictions, or residuals, and bounds of their errors.
    loss : float
        In float64.
    gap : float
        How far the exact loss is above the minimum at most.
    rounding : float
        How far ``loss`` is from the exact one at most.
    v : (n,) array
        The slopes that prove the gap.
    """

    m: Array
    error: Array
    loss: float
    gap: float
    rounding: float
    v: Array


class _Weighted(NamedTuple):
    """A basis that is orthonormal with weights: ``B = A S``.

    Attributes
    ----------
    B : (n, rank) array
    S : (rank, rank) array or None
        None stands for the identity.
    row_norms : (n,) array
        Upper bounds of those of the exact ``X T S``.
    least : float
        A lower bound of the smallest eigenvalue of ``B' omega B``, for the exact B; 0 if unknown.
    """

    B: Array
    S: Array | None
    row_norms: Array
    least: float

    @classmethod
    def of(cls, basis: Basis, weights: Array) -> "_Weighted | None":
        """Make it by Cholesky's factor; None where the weights leave too few rows."""
        A, (n, rank) = basis.A, basis.A.shape
        if not rank or not float(weights.max(initial=0.0)) > 0:
            return None
        try:
            R = np.linalg.cholesky(weighted(A, weights)).T
            S = np.linalg.inv(R)
        except np.linalg.LinAlgError:
            return None
        B = A @ S
        size, top = float(np.linalg.norm(S)), math.sqrt(float(weights.max()))
        defect = weighted(B, weights) - np.eye(rank)
        sizes = math.sqrt(float(weights @ basis.row_norms**2))  # Frobenius norm, weighted
        lost = (basis.error * top + (rank + 4) * EPS * sizes) * size
        off = float(np.linalg.norm(defect)) + (n + 8) * EPS * rank
        least = max(math.sqrt(max(1 - off, 0.0)) - lost, 0.0) ** 2
        norms = np.sqrt(np.einsum("ij,ij->i", B, B))
        norms += size * (basis.error + (rank + 4) * EPS * basis.row_norms)
        return cls(B, S, norms, least)

    @classmethod
    def plain(cls, basis: Basis) -> "_Weighted":
        """With weights of one: the basis itself."""
        return cls(basis.A, None, basis.row_norms + basis.error, basis.least**2)

    def polished(self, v: Array, weights: Array) -> Array:
        """Move v towards ``A'v = 0``, each entry in proportion to its weight."""
        for _ in range(2):
            v = v - weights * (self.B @ (self.B.T @ v))
        return v

    def null_space_error(self, rows: Rows, v: Array, T: Array) -> float:
        """A bound of ``|S' T' X'v|`` for the exact product."""
        sums, error = rows.products(v, np.zeros_like(v))
        rank = T.shape[1]
        grain = error + (len(T) + rank + 8) * EPS * np.abs(sums)
        here, spread = T.T @ sums, np.abs(T).T @ grain
        if self.S is not None:
            here, spread = self.S.T @ here, np.abs(self.S).T @ spread
        return (float(np.linalg.norm(here)) + float(np.linalg.norm(spread))) * (1 + _SUM)


def _most(side: Conjugate, m: Array, error: Array, v: Array, extra: Array) -> float:
    """The largest ``sum f`` over predictions in m +- error and slopes in v +- extra."""
    most = np.zeros_like(m)
    for a in (m - error, m + error):
        wide = extra + side.grain(a)
        for shift in (-wide, wide):
            np.maximum(most, side.terms(a, v, shift), out=most)
    return float(np.sum(most)) * (1 + _SUM)


def _gap(
    side: Conjugate,
    rows: Rows,
    basis: Basis,
    at: tuple[Array, Array],
    v: Array,
    weights: Array | None,
) -> tuple[float, Array]:
    """A bound by slopes near v, and these; infinite if it proves nothing. No weights are ones."""
    m, error = at
    low, high = side.domain
    frame = _Weighted.plain(basis) if weights is None else _Weighted.of(basis, weights)
    if frame is None or not frame.least > 0:
        return math.inf, v
    omega = np.ones_like(v) if weights is None else weights
    v = np.clip(frame.polished(v, omega), low, high)
    rho = frame.null_space_error(rows, v, basis.T)
    extra = omega * frame.row_norms * (rho / frame.least) * (1 + _SUM)
    if not np.all(np.isfinite(extra)):
        return math.inf, v
    if weights is None and side.boxed:
        eta = float(extra.max(initial=0.0)) / float(min(high[0], -low[0])) * (1 + _SUM) + EPS
        v, extra = v * (1 - min(2 * eta, 1.0)), extra + EPS * np.abs(v)
    room = np.minimum(high - v, v - low)
    if np.any(extra > room):
        return math.inf, v
    return _most(side, m, error, v, extra), v


def bound_at(side: Conjugate, rows: Rows, w: Array, basis: Basis, v: Array) -> Bound:
    """Bound the distance of a map from the minimum over all ``w + T zeta``.

    Parameters
    ----------
    side : Conjugate
    rows : Rows
        With targets of 0 for losses of margins.
    w : (d,) float64 array
    basis : Basis
        Of the columns of X.
    v : (n,) array
        Slopes with ``A'v`` near 0. The better they are, the smaller the gap; the bound holds for
        any.

    Returns
    -------
    Bound
        Gap and loss are infinite where something overflows: then nothing is proved.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        m, error = rows.residual(w)
        values = side.values(m)
        slack = np.maximum(np.abs(side.slopes(m - error)), np.abs(side.slopes(m + error))) * error
    if not (np.all(np.isfinite(values)) and np.all(np.isfinite(error))):
        return Bound(m, error, math.inf, math.inf, math.inf, v)
    loss = float(total(values).rounded()[0])
    rounding = float(np.sum(slack)) * (1 + _SUM) + 16 * EPS * loss  # of ``loss`` itself
    best = loss + rounding, v
    v = np.clip(v, *side.domain)
    if basis.A.size and np.all(np.isfinite(v)):
        ways: list[Array | None] = [] if side.kind == "expectile" else [side.room(v)]
        if side.boxed or side.kind == "expectile":
            ways.append(None)
        for weights in ways:
            gap, found = _gap(side, rows, basis, (m, error), v, weights)
            if gap < best[0]:
                best = gap, found
    elif not basis.A.size:  # X = 0: there is one point only, and A'v = 0 for every v
        slopes = side.slopes(m)
        best = min(_most(side, m, error, slopes, np.zeros_like(m)), best[0]), slopes
    return Bound(m, error, loss, best[0], rounding, best[1])
