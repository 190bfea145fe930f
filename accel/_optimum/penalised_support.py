"""Newton's method for p >= 2 on the coefficients that are not 0, and slopes that prove it."""

import math

import numpy as np

from accel._optimum.newton import curvatures, loss_changes, slopes
from accel._optimum.penalised_task import INSIDE, Point, System, Task, proven_slopes
from accel._optimum.twofold import EPS
from accel._support.arrays import Array

__all__ = ["polished", "slopes_on"]

_ROUNDS = 30  # Newton steps
_SHORTEST = 1e-12  # the shortest step that is tried


def slopes_on(task: Task, point: Point, other: Array) -> list[Array]:
    """Slopes for a point: those of the method before, and its own, moved inside."""
    s, A, penalty = slopes(point.r, task.p, 0.0), task.A, task.penalty
    weights = np.ones_like(s)
    if not penalty.strong and not penalty.absolute:
        # On the support A's is 0, on the boundary: one step of least squares moves it inside.
        size = float(np.linalg.norm(s))
        near = (point.c > 0) | (A.T @ s < INSIDE * size * math.sqrt(len(s)))
        B, goal = A[:, near], np.full(int(near.sum()), INSIDE * size * math.sqrt(len(s)))
        if task.ones is not None:
            B, goal = np.column_stack([B, task.ones]), np.append(goal, 0.0)
        for _ in range(2):
            s = s + np.linalg.lstsq(B.T, goal - B.T @ s, rcond=None)[0]
    moved = proven_slopes(task, s, weights)
    return [other] if moved is None else [other, moved]


def polished(task: Task, c: Array, b: float, kept: Array, most: int) -> Point:
    """Newton's method for p >= 2 on a support, whose signs stay; it may shrink and grow.

    It makes at most so many steps.
    """
    penalty, p, A = task.penalty, task.p, task.A
    bounded = penalty.absolute or penalty.nonnegative
    sign, steps = np.sign(c) * kept if bounded else np.ones_like(c), 0
    r = task.residual(c, b)
    while steps < min(_ROUNDS, most):
        steps, on = steps + 1, sign != 0
        s, weights = slopes(r, p, 0.0), curvatures(r, r, p, 0.0)
        g = A.T @ s + penalty.kappa * c + penalty.lam * sign
        part = Task(A[:, on], task.ones, task.y, p, penalty)
        system = System(part, weights, penalty.kappa[on])
        if not system.sound:
            break
        dc = np.zeros_like(c)
        last = 0.0 if task.ones is None else -float(task.ones @ s)
        dc[on], db = system.solve(-g[on], last)
        t = 1.0
        if bounded:
            back = on & (dc * sign < 0)
            ratios = -c[back] / dc[back]
            t = min(1.0, float(ratios.min(initial=1.0)))
        while t > _SHORTEST:
            there = c + t * dc
            moved = task.residual(there, b + t * db)
            change = float(np.sum(loss_changes(r, moved - r, p, 0.0))) / p
            change += float(penalty.lam @ (sign * t * dc))
            change += t * float(penalty.kappa @ (c * dc)) + t**2 / 2 * float(penalty.kappa @ dc**2)
            if change <= 0 or abs(change) <= 8 * EPS * task.value(c, r):
                break
            t /= 2
        else:
            break
        size = float(np.abs(t * dc).max(initial=0.0))
        c, b = there, b + t * db
        if bounded:
            gone = on & (c * sign <= 8 * EPS * np.abs(c).max(initial=0.0) * (t < 1))
            c[gone], sign[gone] = 0.0, 0.0
        r = task.residual(c, b)
        if t == 1.0 and size <= 1e-9 * float(np.abs(c).max(initial=0.0)):
            if not bounded:
                break
            s = slopes(r, p, 0.0)
            left = -(A.T @ s)
            limit = penalty.lam * (1 + 1e-10) + 1e-12 * float(np.linalg.norm(s))
            enters = ((left if penalty.nonnegative else np.abs(left)) > limit) & (sign == 0)
            if not enters.any():
                break
            sign[enters] = np.sign(left[enters])
    return Point(c, b, r, np.zeros_like(r), math.inf, task.value(c, r), steps)
