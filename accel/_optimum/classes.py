r"""The minimum of the cross-entropy, which couples the outputs, and a bound of its distance.

With the chances ``S = softmax(m)`` of a sample, targets y that add up to 1, and any chances P,
which are at least 0 and add up to 1, the f of ``conjugates.py`` for slopes ``v = P - y`` is the
relative entropy ``sum_c P_c log(P_c / S_c)``. ``X'v`` has to be 0 for every class.

The loss does not change if all classes get the same map more: everything here is in maps whose mean
over the classes is 0, which have the least norm.

Newton's method solves equations in all rank * k unknowns by Cholesky's method up to a limit, and by
conjugate gradients beyond it, as accurately as the distance from the minimum asks for. The slopes
after a step are ``P = S + S (u - S'u)``, u being the change of the predictions.

Rounding errors in the bound: predictions are computed with twice the digits, and f is taken for the
worst of what is left; ``X'v`` is computed with twice the digits, and what is not 0 is corrected by
a change of P of at most the part ``2 |a_i| |rho| / lambda`` of itself, lambda being the smallest
eigenvalue of the matrix of Newton's method at P. With conjugate gradients, and where some chances
tend to 0 (``separation.py``; P is 0 there), lambda is not known, and what ``X'v`` costs is
estimated to first order: ``|rho|`` times the length of the last step. That the targets of a sample
add up to 1 but for rounding errors is not counted.
"""

import math

import numpy as np

from accel._optimum.basis import Basis
from accel._optimum.best_pair import BestPair, Step
from accel._optimum.certificate import Rows
from accel._optimum.conjugates import Conjugate, entropy
from accel._optimum.convex import Found, Stop, status_of
from accel._optimum.newton import ridged
from accel._optimum.separation import Watch
from accel._optimum.smooth import newton
from accel._optimum.twofold import EPS, total, two_sum
from accel._support.arrays import Array
from accel.kernels.specs import Loss

__all__ = ["solve_classes"]

_LARGEST = 2000  # unknowns up to which equations are solved by Cholesky's method
_FORCING = 0.1  # the part of the gradient that conjugate gradients leave at most
_FINEST = 1e-10  # and at least
_ROUNDS = 2000  # of conjugate gradients
_INFEASIBLE = 1e-11  # the largest |A'v| / |v| that counts as rounding errors
_SUM = 64 * EPS  # what sums of numbers of one sign, and products of few factors, lose at most


def chances(m: Array) -> tuple[Array, Array]:
    """The soft-max of predictions (n, k), and its logarithm, without cancellation near 0."""
    first = np.arange(len(m)), np.argmax(m, axis=1)
    shifted = m - m[first][:, np.newaxis]
    sizes = np.exp(shifted)
    sizes[first] = 0.0
    others = sizes.sum(axis=1, keepdims=True)
    logs = shifted - np.log1p(others)
    sizes[first] = 1.0
    return sizes / (1 + others), logs


def losses(m: Array, Y: Array) -> Array:
    """The cross-entropy of every sample, (n,)."""
    logs = chances(m)[1]
    values: Array = np.sum(np.where(Y > 0, -Y * logs, 0.0), axis=1)
    return values


def entropies(P: Array, m: Array) -> Array:
    """Upper bounds of the parts (n, k) of the relative entropy of P to the soft-max of m."""
    S, logs = chances(m)
    return entropy(P, P - S, S, logs)


def _moved(S: Array, u: Array) -> Array:
    """``S (u - S'u)``: the change of the chances S by a change u of the predictions."""
    moved: Array = S * (u - np.sum(S * u, axis=1, keepdims=True))
    return moved


def _centred(z: Array) -> Array:
    """Take the mean over the classes from z (rank, k)."""
    return np.asarray(z - z.mean(axis=1, keepdims=True))


def _hessian(A: Array, S: Array) -> Array:
    """The second derivative by z, (rank k, rank k), class by class, regular along equal shifts."""
    rank, k = A.shape[1], S.shape[1]
    H = np.empty((k, rank, k, rank))
    for c in range(k):
        for e in range(c + 1):
            weights = S[:, c] * ((c == e) - S[:, e])
            H[c, :, e] = A.T @ (A * weights[:, np.newaxis])
            H[c, :, e].flat[:: rank + 1] += 1 / k**2
            H[e, :, c] = H[c, :, e].T
    return H.reshape(k * rank, k * rank)


def _conjugate_gradients(A: Array, S: Array, g: Array, enough: float) -> Array:
    """Solve ``A'(moved(A z)) = g`` for g (rank, k), up to a residual of this size."""
    z, r = np.zeros_like(g), g
    p, square = r, float(np.sum(r * r))
    for _ in range(_ROUNDS):
        if math.sqrt(square) <= enough:
            break
        q = A.T @ _moved(S, A @ p)
        curved = float(np.sum(p * q))
        if not curved > 0:
            break
        t = square / curved
        z, r = z + t * p, r - t * q
        before, square = square, float(np.sum(r * r))
        p = r + (square / before) * p
    return z


class ClassPair(BestPair):
    """The best pair of a point z (rank, k) and of slopes v (n, k), for the cross-entropy.

    Parameters
    ----------
    A : (n, rank) array
    Y : (n, k) array
        Chances.
    """

    def __init__(self, A: Array, Y: Array, loss: Loss) -> None:
        start = np.zeros_like(Y)
        self.Y = Y
        super().__init__(A, start, Conjugate(loss, start), lambda m: float(np.sum(losses(m, Y))))
        self.z = np.zeros((A.shape[1], Y.shape[1]))
        self.v = chances(start)[0] - Y
        self.direct = self.z.size <= _LARGEST  # whether by Cholesky's method
        self.size = self.length = math.inf  # of the last step: of the predictions, and of z
        self.hard = bool(np.all((Y == 0) | (Y == 1)))  # whether targets are labels

    def solve(self, S: Array, g: Array, part: float) -> Array | None:
        """Solve the equations of Newton's method at chances S for a right-hand side g (rank, k).

        ``part`` of g is left at most, by conjugate gradients. None if nothing is curved.
        """
        if not self.direct:
            return _centred(_conjugate_gradients(self.A, S, g, part * float(np.linalg.norm(g))))
        H = ridged(_hessian(self.A, S), 1.0)
        return None if H is None else _centred(np.linalg.solve(H, g.T.ravel()).reshape(g.T.shape).T)

    def newton_step(self, m: Array) -> Step | None:
        """See ``BestPair``."""
        S = chances(m)[0]
        g = self.A.T @ (S - self.Y)
        part = min(_FORCING, max(self.size**1.5, _FINEST))
        by = self.solve(S, -g, part)
        if by is None:
            return None
        moves = self.A @ by
        self.size, self.length = float(np.abs(moves).max()), float(np.linalg.norm(by))
        after = S - self.Y + _moved(S, moves)
        return Step(by, moves, -float(np.sum(g * by)), S - self.Y, after)

    def bent(self, m: Array, s: Array) -> float:
        """See ``BestPair``."""
        return float(np.sum(entropies(s + self.Y, m)))

    def least_margin(self, m: Array) -> float:
        """How much the prediction of the label is above all others, at least; -inf without one."""
        return float(np.min(_label_margins(m, self.Y)[0])) if self.hard else -math.inf

    def offer(self, z: Array, m: Array, v: Array) -> bool:
        """See ``BestPair``."""
        P = v + self.Y
        if not (np.all(np.isfinite(m)) and np.all(P >= -8 * EPS)):
            return False
        P = np.maximum(P, 0.0)
        gap, off = float(np.sum(entropies(P, m))), float(np.linalg.norm(self.A.T @ (P - self.Y)))
        if not self.direct:  # what conjugate gradients leave is corrected in the end
            gap += off * self.length
        elif off > _INFEASIBLE * float(np.linalg.norm(v)) + 16 * EPS * float(np.linalg.norm(P)):
            return False
        if not gap < self.gap:
            return False
        self.z, self.m, self.v, self.gap = z, m, P - self.Y, gap
        return True


def _label_margins(m: Array, Y: Array) -> tuple[Array, Array]:
    """How much the predictions of the labels are above each sample's largest other; and where."""
    right = np.argmax(Y, axis=1)
    others = np.where(Y > 0, -np.inf, m)
    return m[np.arange(len(m)), right] - others.max(axis=1), others.argmax(axis=1)


class ClassMargins:
    """How much the mean prediction of a sample's possible classes is above that of every class.

    For targets that are labels these are the margins; those of classes that the targets give a
    chance to have to be 0. See ``MarginMap``; margins are (n k,), points (rank k,).
    """

    def __init__(self, A: Array, Y: Array) -> None:
        self.A, self.k = A, Y.shape[1]
        self.fixed: Array | None = (Y > 0).ravel()
        self.means = (Y > 0) / np.sum(Y > 0, axis=1, keepdims=True)

    def _of(self, z: Array) -> Array:
        m = self.A @ z.reshape(self.A.shape[1], self.k)
        return np.asarray(np.sum(self.means * m, axis=1, keepdims=True) - m)

    def of(self, z: Array) -> Array:
        """See ``MarginMap``."""
        return self._of(z).ravel()

    def gram(self, chosen: Array) -> Array:
        """See ``MarginMap``."""
        A, k, q, rank = self.A, self.k, self.means, self.A.shape[1]
        kept = chosen.reshape(-1, k).astype(np.float64)
        count = kept.sum(axis=1)
        G = np.empty((rank, k, rank, k))
        for c in range(k):
            for e in range(c + 1):
                weights = count * q[:, c] * q[:, e] - q[:, c] * kept[:, e] - kept[:, c] * q[:, e]
                weights = weights + (c == e) * kept[:, c]
                G[:, c, :, e] = self.A.T @ (A * weights[:, np.newaxis])
                G[:, e, :, c] = G[:, c, :, e].T
        return G.reshape(rank * k, rank * k)

    def pulled(self, z: Array, chosen: Array) -> Array:
        """See ``MarginMap``."""
        u = self._of(z) * chosen.reshape(-1, self.k)
        return np.asarray(self.A.T @ (u.sum(axis=1, keepdims=True) * self.means - u)).ravel()


def _predictions(rows: Rows, W: Array) -> tuple[Array, Array]:
    """The predictions (n, k) of a map W (k, d), and bounds of their errors."""
    columns = [rows.residual(w) for w in W]
    return np.stack([m for m, _ in columns], axis=1), np.stack([e for _, e in columns], axis=1)


def _proved(
    pair: ClassPair, rows: Rows, basis: Basis, at: tuple[Array, Array], possible: Array | None
) -> float:
    """A bound of the distance from the minimum by slopes near those of the pair, which it polishes.

    Infinite if it proves nothing. ``at`` are the predictions and bounds of their errors;
    ``possible`` (n, k) says whose chances do not tend to 0, None that all are.
    """
    (m, error), A, Y, k = at, basis.A, pair.Y, pair.Y.shape[1]
    P = pair.v + Y
    if possible is not None:  # without the others the equations are singular
        P = np.where(possible, P, 0.0)
        P /= P.sum(axis=1, keepdims=True)
        pair.direct = False
    for _ in range(2):
        C = pair.solve(P, A.T @ (P - Y), _FINEST)
        if C is None:
            return math.inf
        moved = np.maximum(P - _moved(P, A @ C), 0.0)
        # Of rounding errors alone conjugate gradients make more of them.
        if np.linalg.norm(A.T @ (moved - Y)) < np.linalg.norm(A.T @ (P - Y)):
            P = moved
    v, low = two_sum(P, -Y)
    pair.v = v
    sums, grains = zip(*(rows.products(v[:, c], low[:, c]) for c in range(k)), strict=True)
    g, grain = np.stack(sums, axis=1), np.stack(grains, axis=1)
    grain = grain + (len(basis.T) + 8) * EPS * np.abs(g)
    rho = float(np.linalg.norm(_centred(basis.T.T @ g)))
    rho += float(np.linalg.norm(np.abs(basis.T).T @ grain))
    unequal = float(np.max(np.abs(P.sum(axis=1) - 1))) + k * EPS  # to be divided by
    rho = (rho + 1.1 * unequal * float(np.linalg.norm(P))) * (1 + _SUM)
    if pair.direct:
        H = _hessian(A, P)
        least = float(np.linalg.eigvalsh(H)[0]) if H.size else math.inf
        least -= (len(m) + 8) * EPS * float(np.trace(H)) + 2 * basis.error
        if least <= 0:
            return math.inf
        change = 2 * (basis.row_norms + basis.error) * (rho / least) * (1 + _SUM)
        more = 0.0
    else:
        change, more = np.zeros(len(m)), rho * pair.length
    if not float(change.max(initial=0.0)) < 0.5:
        return math.inf
    wide = (change + 2 * unequal)[:, np.newaxis] * P
    # A change of the predictions by their errors changes the loss by 2 max(error) |P - S| to first
    # order, and by max(error)^2 / 2 at most to second.
    S = chances(m)[0]
    off = error.max(axis=1)
    slack = 2 * off * (np.sum(np.abs(P - S), axis=1) + np.sum(wide, axis=1)) + off**2
    terms = np.maximum(entropies(P - wide, m), entropies(P + wide, m)).sum(axis=1)
    grain_of_chances = 64 * EPS * np.sum(np.abs(P - S) + wide, axis=1) + (64 * EPS) ** 2
    return float(np.sum(terms + slack + grain_of_chances)) * (1 + _SUM) + more


def solve_classes(X: Array, Y: Array, basis: Basis, loss: Loss, stop: Stop, backend: str) -> Found:
    """Minimise the cross-entropy, or find a map that separates the labels.

    Parameters
    ----------
    X : (n, d) float64 array
    Y : (n, k) float64 array
        Chances.
    basis : Basis
        Of the columns of X.
    loss : Loss
    stop : Stop
    backend : str
        Whose products with twice the digits to use.
    """
    Y = Y / Y.sum(axis=1, keepdims=True)
    (n, k), T = Y.shape, basis.T
    rows = Rows(X, np.zeros(n), backend=backend)
    pair = ClassPair(basis.A, Y, loss)

    def map_of(z: Array) -> Array:
        W = (T @ z.reshape(T.shape[1], k)).T
        return np.asarray(W - W.mean(axis=0))

    def proves(z: Array) -> bool:
        m, error = _predictions(rows, map_of(z))
        return bool(np.all(_label_margins(m, Y)[0] > 2 * error.max(axis=1)))

    watch = Watch(ClassMargins(basis.A, Y), lambda tol: pair.direct and pair.met(tol), proves)
    if pair.z.size:
        newton(pair, stop.tol / 4, stop.max_iter, watch)
    W = map_of(watch.z if watch.found == "separable" else pair.z)
    m, error = _predictions(rows, W)
    value = float(total(losses(m, Y)).rounded()[0])
    rounding = float(np.sum(np.abs(chances(m)[0] - Y) * error)) * (1 + _SUM) + 16 * EPS * value
    gap = value
    if watch.found != "separable":
        possible = (watch.zero.reshape(n, k) | (Y > 0)) if watch.found else None
        gap = min(gap, _proved(pair, rows, basis, (m, error), possible))
    status = status_of(gap, value, stop.tol, pair.iterations >= stop.max_iter)
    return Found(
        W=W,
        loss=value,
        gap=gap,
        rounding=rounding,
        reference=value,
        decrement=pair.decrement**2,
        iterations=pair.iterations,
        slopes=pair.v.T,
        status="separable" if watch.found else status,
    )
