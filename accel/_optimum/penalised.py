r"""The minimum of an l_p loss with penalties or nonnegative coefficients, for one output.

.. math:: \min_{c, b} \sum_i \frac{|r_i|^p}{p} + \sum_j \lambda_j |c_j|
    + \frac{\kappa_j}{2} c_j^2, \qquad r = A c + b o - y,

with ``c >= 0`` if asked for. A primal-dual interior point method (Fiacco and McCormick's, with the
line search of Waechter and Biegler 2006 on the barrier function): coefficients are nonnegative
numbers z, or the differences of two, with multipliers sigma, ``sigma z = tau``, and tau falls by
factors of ten. Every step solves one system with ``A' diag(weights) A`` and a positive diagonal, of
d or of n unknowns, whichever are fewer. For p < 2 the loss is smoothed, and the smoothing falls
along with tau; the slopes v are unknowns of their own, as in ``newton.py``.

The slopes after a step, to first order, satisfy ``A'v + kappa c + lam - sigma = 0`` with sigma > 0:
they are inside of what the penalty allows, so that every step proves a gap.

What is nearly 0 in the end is put to 0, and for p >= 2 Newton's method on the others, with their
signs kept, adds the last digits.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from accel._optimum.newton import curvatures, inside, loss_changes, slopes
from accel._optimum.penalised_support import polished, slopes_on
from accel._optimum.penalised_task import Point, System, Task, gap_of, proven_slopes
from accel._optimum.penalty import Penalty
from accel._optimum.twofold import EPS
from accel._support.arrays import Array

__all__ = ["minimise"]

_START = 0.1  # coefficients at most
_SHRINK = 0.1  # of tau, and of the smoothing for p < 2
_SETTLED = 0.5  # tau shrinks once a step predicts a decrease below this times tau, a coefficient
_BOUNDARY = 0.995  # the part of the way to the boundary that a step goes at most
_CENTRAL = 1e8  # sigma z is kept between tau divided by this and tau times this
_ARMIJO = 1e-4  # the part of the predicted decrease that a step must reach
_SHORTEST = 1e-12  # the shortest step that is tried
_FINEST = 1e-15  # tau, beside the loss, below which there is nothing to gain
_STEPS = 12  # steps for one tau, after which it shrinks in any case
_SPARE = 0.02  # the part of the tolerance to reach for p < 2, so that small numbers may become 0


@dataclass(eq=False)
class _Walk:
    """The state of the interior point method.

    Attributes
    ----------
    z, sigma : (d,) or (2, d) array
        Numbers above 0, and their multipliers; empty without barriers.
    c, b, r, v
        The point, its residuals, and slopes that are unknowns for p < 2.
    tau, e : float
        The barrier and the smoothing.
    """

    task: Task
    c: Array
    b: float
    r: Array
    v: Array
    z: Array
    sigma: Array
    tau: float
    e: float
    best: Point = field(init=False)
    steps: int = 0

    @classmethod
    def of(cls, task: Task) -> "_Walk":
        n, d = task.A.shape
        p, penalty = task.p, task.penalty
        c, b = np.zeros(d), 0.0
        if task.ones is not None:
            b = float(np.median(task.y / np.where(task.ones > 0, task.ones, 1.0)))
        split = penalty.absolute and not penalty.nonnegative
        # Coefficients that cost no more than the loss at 0.
        loss = float(np.sum(np.abs(task.residual(c, b)) ** p)) / (p * max(d, 1))
        with np.errstate(divide="ignore"):
            small = np.minimum(_START, loss / penalty.lam)
            small = np.maximum(np.minimum(small, np.sqrt(loss / penalty.kappa)), 1e-100)
        z = np.tile(small, (2, 1)) if split else small if penalty.nonnegative else np.zeros(0)
        if penalty.nonnegative:
            c = z.copy()
        r = task.residual(c, b)
        e = float(np.sqrt(np.mean(r**2))) if p < 2 else 0.0
        tau = 0.1 * float(np.sum(np.abs(r) ** p)) / p / max(z.size, 1) or EPS
        walk = cls(task, c, b, r, slopes(r, p, e), z, tau / z, tau, e)
        none = np.zeros(n)
        walk.best = Point(c, b, r, none, math.inf, task.value(c, r))
        walk.offer(None)
        return walk

    def offer(self, v: Array | None, weights: Array | None = None) -> None:
        """Keep the point, and slopes, if they are better than the best so far."""
        task, best = self.task, self.best
        value = task.value(self.c, self.r)
        c, b, r, slope = best.c, best.b, best.r, best.v
        if value <= best.value:
            c, b, r = self.c, self.b, self.r
        gap = gap_of(task, c, r, slope)
        if v is not None and weights is not None:
            slack = 2 * self.tau * float(np.abs(c).max(initial=0.0)) if task.dependent else 0.0
            new = proven_slopes(task, v, weights, slack)
            if new is not None and (proved := gap_of(task, c, r, new)) < gap:
                gap, slope = proved, new
        self.best = Point(c, b, r, slope, gap, min(value, best.value))

    def _kappa(self) -> Array:
        """The squares, those that vanish with tau among them."""
        kappa: Array = self.task.penalty.kappa + self.tau * self.task.dependent
        return kappa

    def _barrier(self) -> tuple[Array, Array]:
        """What the barriers add to the diagonal, and to the right side, of the system."""
        lam, z, sigma, tau = self.task.penalty.lam, self.z, self.sigma, self.tau
        if not z.size:
            return np.zeros_like(lam), np.zeros_like(lam)
        if z.ndim == 1:
            return sigma / z, tau / z - lam
        S, pull = sigma / z, lam - tau / z
        K = 1 / (1 / S[0] + 1 / S[1])
        return K, K * (pull[1] / S[1] - pull[0] / S[0])

    def step(self) -> bool:
        """Make one step; False where rounding errors leave no more to gain."""
        task, p, e, tau = self.task, self.task.p, self.e, self.tau
        A, o, penalty, kappa = task.A, task.ones, task.penalty, self._kappa()
        self.steps += 1
        s, weights = slopes(self.r, p, e), curvatures(self.r, self.v, p, e)
        rho = A.T @ s + kappa * self.c
        last = 0.0 if o is None else float(o @ s)
        D, pull = self._barrier()
        system = System(task, weights, D + kappa)
        if not system.sound:
            return False
        dc, db = system.solve(pull - rho, -last)
        by = A @ dc if o is None else A @ dc + db * o
        z, sigma = self.z, self.sigma
        if z.ndim == 1:
            dz = dc[: len(z)]  # nothing without barriers
        else:
            q, S = pull - rho - D * dc, sigma / z  # q is the change of the gradient
            up, down = (tau / z - penalty.lam + np.array([-rho - q, rho + q])) / S
            # The stiffer one of the two; from the other one rounding errors would be large.
            first = S[0] >= S[1]
            dz = np.array([np.where(first, up, down + dc), np.where(first, up - dc, down)])
        after = s + weights * by
        if not (np.all(np.isfinite(by)) and np.all(np.isfinite(dz))):
            return False
        dsigma = tau / z - sigma - sigma / z * dz
        slope = float(rho @ dc) + last * db
        if z.size:
            slope += float(np.sum((penalty.lam - tau / z) * dz))
        decrease = max(-slope, 0.0)
        t, u = _longest(z, dz), _longest(sigma, dsigma)
        t, grainy = self._step_length(t, dc, by, dz, decrease)
        self.c, self.b = self.c + t * dc, self.b + t * db
        self.z, self.sigma = z + t * dz, sigma + u * dsigma
        if z.size:  # the same, but for rounding errors
            self.c = self.z if z.ndim == 1 else self.z[0] - self.z[1]
            middle = tau / self.z
            self.sigma = np.clip(self.sigma, middle / _CENTRAL, middle * _CENTRAL)
        self.r = task.residual(self.c, self.b)
        if p < 2:
            self.v = inside(self.v, after) if p == 1 else after
        self.offer(after, weights)
        settled = _SETTLED * tau * max(z.size, 1)
        if p < 2:
            settled += _SETTLED * float(np.sum(np.hypot(self.r, e) ** p - np.abs(self.r) ** p)) / p
        return not (grainy or decrease <= settled)

    def _step_length(
        self, t: float, dc: Array, by: Array, dz: Array, decrease: float
    ) -> tuple[float, bool]:
        """The length of a step by Armijo backtracking; whether rounding errors decide."""
        p, e, penalty, z = self.task.p, self.e, self.task.penalty, self.z
        kappa = self._kappa()
        linear = float(np.sum(penalty.lam * dz)) if z.size else 0.0
        bend, curve = float(kappa @ (self.c * dc)), float(kappa @ dc**2) / 2
        longest = t
        while t > _SHORTEST:
            terms = loss_changes(self.r, t * by, p, e) / p
            logs = self.tau * np.log1p(t * dz / z) if z.size else np.zeros(1)
            gain = -float(np.sum(terms)) - t * (linear + bend + t * curve) + float(np.sum(logs))
            grain = float(np.sum(np.abs(terms)) + np.sum(np.abs(logs))) + t * abs(linear + bend)
            if gain >= _ARMIJO * t * decrease > 0:
                return t, False
            if abs(gain) <= 64 * EPS * grain or t * decrease <= 64 * EPS * grain:
                return longest, True
            t /= 2
        return 0.0, True

    def finer(self) -> bool:
        """Shrink the barrier and the smoothing; False where they are as small as they can be."""
        size = self.best.value
        if self.tau <= _FINEST * size and self.e <= EPS * float(np.abs(self.task.y).max()):
            return False
        self.tau = max(_SHRINK * self.tau, 1e-300)
        if self.task.p < 2:
            self.e *= _SHRINK
        return True


def _longest(x: Array, dx: Array) -> float:
    """The longest step, at most 1, for which all ``x + t dx`` stay positive."""
    down = dx < 0
    return min(1.0, _BOUNDARY * float(np.min(-x[down] / dx[down]))) if down.any() else 1.0


def minimise(task: Task, tol: float, max_iter: int, *, sparse: bool = True) -> Point:
    """Minimise until the gap is at most ``tol`` times what is minimised, or as far as it goes.

    Parameters
    ----------
    task : Task
    tol : float
    max_iter : int
        The most systems to solve.
    sparse : bool
        Whether to put to 0 what is nearly 0.
    """
    walk = _Walk.of(task)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
        inner = 0
        enough = (_SPARE if task.p < 2 else 0.1) * tol
        while walk.steps < max_iter and walk.best.gap > enough * walk.best.value:
            inner += 1
            if walk.step() and inner < _STEPS:
                continue
            inner = 0
            if not walk.finer():
                break
        best = walk.best._replace(steps=walk.steps)
        for candidate in _sparse(walk, best, tol, max_iter) if sparse else []:
            steps = best.steps + candidate.steps
            if candidate.gap <= max(best.gap, 0.5 * tol * candidate.value):
                best = candidate
            best = best._replace(steps=steps)
    return best


def _support(walk: _Walk) -> Array:
    """The coefficients that are not nearly 0: which multiplied by a curvature exceed sigma.

    For p < 2, where curvatures have no bound, by that of squares.
    """
    task, penalty = walk.task, walk.task.penalty
    if not walk.z.size:
        return np.ones(len(penalty.lam), bool)
    p, n = task.p, len(task.y)
    weights = curvatures(walk.r, walk.v, p, walk.e) if p >= 2 else np.ones(n)
    bend = np.einsum("ij,ij,i->j", task.A, task.A, weights) + penalty.kappa
    sigma = walk.sigma if walk.z.ndim == 1 else walk.sigma.min(axis=0)
    larger: Array = np.abs(walk.c) * bend > sigma
    return larger


def _sparse(walk: _Walk, best: Point, tol: float, max_iter: int) -> list[Point]:
    """Points whose small coefficients are 0: as they are, or with the others minimised anew."""
    task = walk.task
    kept = _support(walk)
    c = np.where(kept, best.c, 0.0)
    r = task.residual(c, best.b)
    here = Point(c, best.b, r, best.v, gap_of(task, c, r, best.v), task.value(c, r))
    candidates = [here]
    if task.p >= 2:
        point = polished(task, c, best.b, kept, max_iter - walk.steps)
        for v in slopes_on(task, point, best.v):
            candidates.append(point._replace(v=v, gap=gap_of(task, point.c, point.r, v)))
    elif here.gap > 0.5 * tol * here.value and 0 < kept.sum() < len(kept):
        some = task.penalty
        some = Penalty(some.lam[kept], some.kappa[kept], some.nonnegative)
        part = replace(task, A=np.ascontiguousarray(task.A[:, kept]), penalty=some)
        found = minimise(part, 0.1 * tol, max_iter, sparse=False)
        c = np.zeros_like(c)
        c[kept] = found.c
        r = task.residual(c, found.b)
        gap = gap_of(task, c, r, best.v)
        candidates.append(Point(c, found.b, r, best.v, gap, task.value(c, r), found.steps))
    return sorted(candidates, key=lambda point: -point.gap)  # so that the best comes last
