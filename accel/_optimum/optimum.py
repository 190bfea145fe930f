"""The reference optimum of data X and y, with a proof of how good it is."""

import logging
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from accel._core.problem import Problem, local_problem
from accel._optimum.basis import decompose
from accel._optimum.certificate import Basis, Rows, capped_loss, gap_at, trimmed_median
from accel._optimum.classes import solve_classes
from accel._optimum.convex import Found, Stop, solve_output, status_of
from accel._optimum.newton import Search, minimize
from accel._optimum.nuclear import MinimumNuclearNorm
from accel._optimum.rank import checked_rcond
from accel._optimum.twofold import EPS
from accel._support import arrays, memory, showing, validation
from accel._support.arrays import Array, aligned
from accel._support.backends import resolve
from accel.kernels.reference.losses import value_and_slope
from accel.kernels.reference.norms import norm
from accel.kernels.specs import COUPLED_KINDS, Loss

__all__ = ["STATUSES", "Optimum", "Proof", "for_proofs", "losses_at_zero", "proven", "rounding"]

_log = logging.getLogger("accel")

_ROUNDING = 64 * EPS  # times sqrt(n) and the targets: residuals below it are rounding errors
# The relative gap to reach at p = 1, where a vertex that is the minimum has all digits.
_VERTEX = 1e-13
_PROGRESS = 0.5  # rounds go on while each reduces the gap to this part of the last one
_WORTH = 2**16  # numbers in X from which twofold products are worth the 0.4 s that Numba loads
#: Of an optimum that is not "optimal", from the worst on.
STATUSES = ("max_iter", "stalled", "separable")
_LARGE = 64 * 2**20  # bytes: larger arrays are mentioned in the log


@dataclass(frozen=True, eq=False)
class Optimum:
    """A minimiser of the loss, and how far from the minimum it can be at most.

    Attributes
    ----------
    W : (k, d) float64 array
        Among all maps with the same predictions the one of least Frobenius norm; of least nuclear
        norm if the problem sees the matrix itself, as ``MatrixCompletion`` does, see ``nuclear``.
        If ``rcond`` decided that combinations of columns are rounding errors, in the former norm
        the weights of each column are multiplied by the size of its errors.
    loss : float
        At W, in float64 whatever the dtype of the problem.
    gradient_norm : float
        Frobenius norm of the gradient at W. Where the loss has kinks, for p = 1 and pinball, that
        of a subgradient (0 where r = 0), which need not vanish at the optimum.
    newton_decrement : float
        Root of ``g' H^{-1} g`` at the last Newton step, summed over the outputs; half its square
        estimates the distance from the minimum (of the smoothed loss for p < 2, and of the loss
        with a barrier after an interior point method).
    duality_gap : float
        A proven bound: ``loss - minimum <= duality_gap`` in exact arithmetic, both for the exact
        loss at W and for ``loss``. It includes all rounding errors, also that of W to float64 and
        that of ``loss``, some 1e-15 of the loss. The minimum is taken over all maps that differ
        from W by a map in the row space of X without the combinations that count as 0. Where labels
        are separated it bounds the distance from the infimum; it is the loss itself where that is
        0. For losses other than l_p numbers that underflow, below 1e-300, are taken to be 0. For
        the cross-entropy rows of Y are divided by their sums, the minimum is over maps whose mean
        over the classes is that of W, and some of what rounding adds is estimated to first order
        with more than 2000 unknowns (rank times k), and where only some labels are separated.
    iterations : int
        Newton steps computed, over all outputs.
    converged : bool
        Whether the proven distance of W from the minimum met the tolerance for every output, and
        the search for the least nuclear norm, if there was one, its own: whether the status is
        "optimal".
    rank : int
        Of X; for problems that see the matrix itself of the map from its entries to what is seen:
        the number of entries that are seen, or of independent measurements. Combinations of columns
        that count as 0 by ``rcond`` are not used: loss, gap and W are those of the problem without
        them.
    singular_values : (min(n, d),) float64 array
        Of X, or of that map, every column divided by its largest absolute value.
    doubtful : int
        How many combinations of columns are within a factor of ten of the limit below which they
        count as 0: so many might be added to the rank, or taken from it, by errors of X.
    status : str
        ``"optimal"``: the tolerance is met. ``"separable"``, for a loss of labels: there is no
        minimum. Either W separates all labels, its margins being above 0 for certain, and the
        infimum is 0 (``duality_gap`` equals ``loss``); or a map separates some of them while the
        margins of the others are 0 up to rounding errors, and W is near the infimum, which is not
        0 (``duality_gap`` is below ``loss``). ``"max_iter"``: the steps did not suffice.
        ``"stalled"``: rounding errors ended the search. Of several outputs, the worst.
    nuclear : MinimumNuclearNorm or None
        For problems that see the matrix itself: the nuclear norm of W, and a bound of how far it is
        from the least of all matrices with the same predictions, which are what was seen wherever
        that does not contradict itself; ``residual`` and ``multipliers`` are about them. None for
        others.
    """

    W: Array
    loss: float
    gradient_norm: float
    newton_decrement: float
    duality_gap: float
    iterations: int
    converged: bool
    rank: int
    singular_values: Array
    doubtful: int
    status: str
    nuclear: MinimumNuclearNorm | None = None

    def __repr__(self) -> str:
        return showing.line(
            self,
            status=repr(self.status),
            loss=f"{self.loss:.6g}",
            duality_gap=f"{self.duality_gap:.2g}",
            W=self.W.shape,
            rank=self.rank,
        )

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a table of the main facts."""
        facts: dict[str, object] = {
            "status": self.status,
            "loss": f"{self.loss:.6g}",
            "duality gap": f"{self.duality_gap:.3g}, the proven distance from the minimum",
            "gradient norm": f"{self.gradient_norm:.3g}",
            "Newton decrement": f"{self.newton_decrement:.3g}",
            "iterations": self.iterations,
            "W": self.W.shape,
            "rank": self.rank,
        }
        if self.doubtful:
            facts["rank"] = f"{self.rank}, of which {self.doubtful} more or fewer are doubtful"
        if self.nuclear is not None:
            norm, gap = self.nuclear.nuclear_norm, self.nuclear.gap
            facts["nuclear norm"] = f"{norm:.6g}, at most {gap:.3g} above the least"
        return showing.table(facts)


def _reference_loss(size: Array, y: Array, p: float, rank: int, unit: float) -> float:
    """The loss, as a sum, that a gap is compared with, all divided by ``unit^p``.

    That of the residuals, of sizes (n,) divided by ``unit``; or that of the targets y, the loss at
    W = 0, if the residuals (for p < 2 most of them) are rounding errors of the targets.
    """
    noise, targets = _ROUNDING * math.sqrt(len(y)), np.abs(y) / unit
    if p < 2:
        fits = trimmed_median(size, rank) <= noise * trimmed_median(targets, 0)
    else:
        fits = float(size.max()) <= noise * float(targets.max())
    return capped_loss(targets, p, 0) if fits else capped_loss(size, p, rank)


def _solve(
    X: Array, y: Array, basis: Basis, loss: Loss, stop: tuple[float, int], backend: str
) -> Found:
    """Minimise the l_p loss of one output in rounds, as long as they reduce the gap.

    Each round begins at the point of the last one, whose residuals, computed with twice the digits,
    are its targets. ``stop`` is the tolerance and the largest number of Newton steps.
    """
    A, T, p = basis.A, basis.T, loss.p
    rows = Rows(X, y, backend=for_proofs(backend, X.size, p))
    (tol, max_iter), (n, rank) = stop, A.shape
    w = np.zeros(X.shape[1])
    for _ in range(2):  # the second time removes rounding errors of the first
        w += T @ (A.T @ (y - X @ w))
    r, iterations, best = X @ w - y, 0, None
    enough = tol if p > 1 else min(tol, _VERTEX)
    while True:
        unit = float(np.abs(r).max()) or 1.0
        target = aligned(-r / unit)

        def hessian(z: Array, target: Array = target) -> Array:
            kernel = resolve(backend).lp_loss.hessian
            H: Array = arrays.to_host(kernel(A, target, z, loss._replace(factor=1.0)))
            return H

        def in_units(size: Array, unit: float = unit) -> float:
            return _reference_loss(size, y, p, rank, unit)

        search = Search(A, target, p, in_units)
        minimize(search, tol / 2, max_iter - iterations, hessian, again=best is not None)
        iterations += search.iterations
        w = w + T @ (unit * search.z)
        top = float(np.abs(search.r).max()) or 1.0
        bound = gap_at(rows, w, basis, p, search.slopes / top ** (p - 1))
        scale, c = bound.unit**p, loss.factor / n
        reference = c * _reference_loss(np.abs(bound.r), y, p, rank, 1.0)
        output = Found(
            W=w[np.newaxis],
            loss=c * scale * bound.loss,
            gap=c * scale * bound.gap,
            rounding=rounding(p) * (c * scale * bound.loss),
            reference=reference,
            decrement=loss.factor * search.decrement**2 * unit**p,
            iterations=iterations,
            slopes=search.slopes[np.newaxis] / top ** (p - 1),
            status=status_of(c * scale * bound.gap, reference, tol, iterations >= max_iter),
        )
        if best is not None and output.gap > _PROGRESS * best.gap:
            return (best if best.gap <= output.gap else output)._replace(iterations=iterations)
        best, r = output, bound.r
        done = best.gap <= enough * best.reference or math.isinf(best.gap)
        if done or iterations >= max_iter:
            return best


def for_proofs(backend: str, size: int, p: float) -> str:
    """Whose twofold products to use for X of this size, where the user asks for ``backend``."""
    return "reference" if backend == "auto" and size < _WORTH and p <= 2 else backend


def losses_at_zero(problem: Problem) -> Array:
    """Return the loss of every output at W = 0, in float64; of a cross-entropy, its parts.

    Raises
    ------
    ValueError
        If one overflows.
    """
    Y, spec = problem.host.Y.astype(np.float64, copy=False), problem.spec
    with np.errstate(over="ignore"):
        values = value_and_slope(spec, np.zeros_like(Y), Y)[0]
        losses: Array = spec.factor / problem.n * np.sum(values, axis=0)
    if not np.all(np.isfinite(losses)):
        of = f"p = {spec.p:g}" if spec.kind == "lp" else repr(problem.loss_function)
        raise ValueError(f"the loss at W = 0 overflows for {of}: standardize y first")
    return losses


class Proof(NamedTuple):
    """The quantities that the bound of an optimum was computed from.

    Attributes
    ----------
    T : (d, rank) array
        ``X T`` has nearly orthonormal columns, which span the column space of X.
    slopes : (k, n) array
        Of each output, the v of ``certificate.py``, for residuals divided by the largest; for
        losses other than l_p the v of ``conjugates.py``.
    R : (min(n, d), d) array
        Of a QR decomposition of X: ``R'R = X'X``.
    """

    T: Array
    slopes: Array
    R: Array


def rounding(p: float) -> float:
    """A bound of the relative rounding error of a loss that is summed in float64."""
    return (8 + 2 * p) * EPS


def proven(
    problem: Problem, tol: float, max_iter: int, backend: str, rcond: Any
) -> tuple[Optimum, Proof]:
    """The part of ``optimum`` for problems that have X and Y; return the proof as well."""
    local_problem(problem)
    tol = validation.real("tol", tol, above=0)
    max_iter = validation.integer("max_iter", max_iter, least=1)
    resolve(backend)
    rcond = checked_rcond(rcond, problem.d, problem.dtype)
    n = problem.n
    losses_at_zero(problem)  # raises if one overflows
    memory.require("the optimum", _needs(problem))
    X, Y = (a.astype(np.float64, copy=False) for a in (problem.host.X, problem.host.Y))
    if X.nbytes > _LARGE:
        _log.info("the optimum needs %.0f MiB for a basis of the columns", 2 * X.nbytes / 2**20)
    values, basis, doubtful, R = decompose(X, rcond)
    spec, stop = problem.spec, Stop(tol, max_iter, rcond)
    if spec.kind == "lp":
        outputs = [_solve(X, y, basis, spec, (tol, max_iter), backend) for y in Y.T]
    else:
        outputs = _others(X, Y, basis, spec, stop, backend)
    W = np.concatenate([output.W for output in outputs])
    c, power = spec.factor / n, spec.kind == "lp"
    slopes = value_and_slope(spec, (W @ X.T).T, Y)[1].T
    gradient = c * (spec.p if power else 1.0) * slopes @ X
    loss = math.fsum(output.loss for output in outputs)
    lost = rounding(spec.p) * loss if power else math.fsum(each.rounding for each in outputs)
    statuses = {output.status for output in outputs}
    status = next((each for each in STATUSES if each in statuses), "optimal")
    best = Optimum(
        W=W,
        loss=loss,
        gradient_norm=norm(gradient),
        newton_decrement=math.sqrt(sum(output.decrement for output in outputs)),
        duality_gap=math.fsum(output.gap for output in outputs) + lost,
        iterations=sum(output.iterations for output in outputs),
        converged=status == "optimal",
        rank=basis.T.shape[1],
        singular_values=values,
        doubtful=doubtful,
        status=status,
    )
    return best, Proof(basis.T, np.concatenate([output.slopes for output in outputs]), R)


def _needs(problem: Problem) -> dict[str, float]:
    """Bytes that the optimum takes beside the data."""
    n, d, k, spec = problem.n, problem.d, problem.k, problem.spec
    rank = min(n, d)
    copies = 13 + 8 * (problem.dtype != np.float64) + 8 * (spec.kind != "lp" or spec.p < 2)
    if spec.kind == "lp":
        return {"a basis of the columns": copies * n * d, "Newton's method": 64 * rank * rank}
    coupled = spec.kind in COUPLED_KINDS
    unknowns = min(rank * k, 2000) if coupled else rank
    return {
        "a basis of the columns": (copies + 8) * n * d,
        "Newton's method": 64 * unknowns**2,
        "predictions and slopes": 160 * n * (k if coupled else 1),
    }


def _others(X: Array, Y: Array, basis: Basis, spec: Loss, stop: Stop, backend: str) -> list[Found]:
    """Minimise another loss than l_p: output by output, or all at once where they are coupled."""
    proofs = for_proofs(backend, X.size, 2.0)
    if spec.kind in COUPLED_KINDS:
        found = [solve_classes(X, Y, basis, spec, stop, proofs)]
    else:
        found = [solve_output(X, y, basis, spec, stop, proofs) for y in Y.T]
    c = spec.factor / len(X)
    return [
        each._replace(
            loss=c * each.loss,
            gap=c * each.gap,
            rounding=c * each.rounding,
            reference=c * each.reference,
            decrement=c * each.decrement,
        )
        for each in found
    ]
