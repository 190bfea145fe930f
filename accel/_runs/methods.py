r"""The method that each model of a run takes, and whether a rotation pays.

A method is chosen for a model as if it were alone, so that its numbers do not depend on the other
models of a sweep. What decides are the loss, the shapes, the rule, the steps asked for and the
digits that ``tol`` and ``target`` need: nothing that is measured, so that the same run is always
made the same way. (A run that goes on from a checkpoint takes the method that the file names.)
"""

import logging
import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from accel._core.base import BaseProblem
from accel._core.digits import shortfall
from accel._core.network import Network
from accel._core.optimizers import Optimizer
from accel._runs.checks import Limits
from accel.kernels.reference.norms import norm

__all__ = [
    "ROTATED",
    "Model",
    "check_rules",
    "form_of",
    "methods_of",
    "pass_work",
    "pays",
    "rotated_width",
]

_log = logging.getLogger("accel")

_PASSES = {"direct": "passes over the data", "gram": "the Gram method"}  # in the log

#: The methods that train in other coordinates than those of the data.
ROTATED = ("spectral", "rowspace")

Model = tuple[Network, Optimizer]

# What decompositions cost, in multiply-adds of a pass that take as long (one thread of a Xeon,
# family 6, model 207, 2026-11-28: LAPACK's run at 0.7 to 2 of them a nanosecond, a pass at 5).
_QR, _QR_WITH_BASIS, _SVD = 3.0, 5.0, 7.0
_GRAM = 0.25  # of a multiply-add of a pass by X'X: half of it is read, and that from a cache
_BEGIN = 1e6  # of any rotation: calls of NumPy, and a second loop in a mixed sweep
_DEVICE = 100.0  # how much faster a GPU makes passes than the host makes decompositions

# A weight comes back from a rotation with an error of 1e-16 of the largest of its row, which a
# large column multiplies: in the row space norms of columns differ by this much at most.
_SPREAD = 1e6

_EARLY = 10  # a run that may end by itself is taken to make one in so many of its steps
_LINE = 8  # coordinates in a cache line


def form_of(method: str) -> str:
    """Return the form of the loss that the kernels compute for a method."""
    return {"spectral": "diagonal", "rowspace": "direct"}.get(method, method)


def methods_of(
    problem: BaseProblem, models: Sequence[Model], limits: Limits, *, rotations: bool = True
) -> list[str]:
    """Return the method of each model; without rotations, if the choice is ours.

    Raises
    ------
    ValueError
        If the problem's method was asked for by name, and has not the digits for this run, or does
        not go with a rule.
    """
    if problem.method in ROTATED:
        check_rules(problem.method, models)
    known: dict[tuple[Network, bool], str] = {}
    for network, optimizer in models:
        if (network, optimizer.rotates) not in known:
            rotates = rotations and network.rotates and optimizer.rotates
            known[network, optimizer.rotates] = _method(problem, network, rotates, limits)
    return [known[network, optimizer.rotates] for network, optimizer in models]


def check_rules(method: str, models: Sequence[Model]) -> None:
    """Raise ValueError if a rule or a network does not commute with the rotation of a method."""
    for network, optimizer in models:
        if not network.rotates:
            raise ValueError(
                f"method {method!r} needs networks that commute with rotations of the input, and "
                f"a DiagonalNetwork does not: use 'auto', 'direct' or 'gram'"
            )
        if not optimizer.rotates:
            raise ValueError(
                f"method {method!r} needs rules that commute with rotations of the input, and "
                f"{optimizer.name!r} does not: use 'auto' or 'direct'"
            )


def _method(problem: BaseProblem, network: Network, rotates: bool, limits: Limits) -> str:
    method, weights, tol, target = problem.method, 0.0, limits.tol, limits.target
    open_end = tol > 0 or target > -math.inf
    if open_end:
        with np.errstate(over="ignore", invalid="ignore"):  # overflow is a status of the run
            weights = norm(network.end_to_end())
    if method == "auto":
        rotation = "spectral" if problem.quadratic else "rowspace"
        applies = rotates and (problem.quadratic or 2 * problem.n <= problem.d)
        steps = limits.steps / (_EARLY if open_end else 1)
        applies = applies and pays(
            problem, network, steps, rotation, _usual(problem, weights, tol, target)
        )
        if applies and _turns(problem, network, rotation):
            method = rotation
    if method == "rowspace":
        return method
    if method != "spectral":
        return problem.form(weights, tol, target)
    if problem.dtype == np.float32:  # a pass in float32 knows the residuals no better
        tol, target = 0.0, -math.inf
    reason = shortfall("spectral", problem.squares, problem.n, problem.factor, weights, tol, target)
    if reason is None:
        return method
    if problem.method == "spectral":
        raise ValueError(f"method 'spectral' has not the digits, use 'direct' or 'auto': {reason}")
    usual = _usual(problem, weights, limits.tol, limits.target)
    _log.info("%s in place of the spectral method: %s", _PASSES[usual], reason)
    return usual


def _usual(problem: BaseProblem, weights: float, tol: float, target: float) -> str:
    """The form that a run takes in the coordinates of the data; see ``BaseProblem.form``."""
    if problem.form() == "direct":
        return "direct"
    squares, n, factor = problem.squares, problem.n, problem.factor
    enough = shortfall("gram", squares, n, factor, weights, tol, target) is None
    return "gram" if enough else "direct"


def _turns(problem: BaseProblem, network: Network, method: str) -> bool:
    """Whether numbers come back from a rotation as they are: see ``_SPREAD``; nothing overflows."""
    first = network.params[: network.widths[1] * problem.d]
    if not norm(first) * math.sqrt(problem.d) < float(np.finfo(problem.dtype).max):
        return False
    columns = problem.squares[0] if method == "rowspace" else np.ones(1)
    columns = columns[columns > 0]
    return not len(columns) or bool(columns.max() <= _SPREAD**2 * columns.min())


def pays(problem: BaseProblem, network: Network, steps: float, method: str, usual: str) -> bool:
    """Whether so many steps by a rotation and its decompositions are less work than as usual.

    Counted are multiply-adds. A step has those of its pass and three for every weight. Before it,
    there are n (d + k)^2 for the QR decomposition of [X Y] or, for n < d, d n^2 for that of X' and
    d n_1^2 for that of W_1; and q^3, q = min(n, d), for the singular values; each counts as often
    as it would fit into the time that LAPACK takes for one.
    """
    if method not in problem.methods:
        return False
    (n, d, k), hidden = (problem.n, problem.d, problem.k), network.widths[1]
    work = _QR_WITH_BASIS * d * (n**2 + min(hidden, d) ** 2) if n < d else 0.0
    if method == "spectral":
        work += _SVD * min(n, d) ** 3 + _QR * n * (min(n, d) + k) ** 2
    elif n >= d:
        work += _QR_WITH_BASIS * n * d**2
    saved = _work(problem, network, usual) - _work(problem, network, method)
    return steps * saved > (work + _BEGIN) * (_DEVICE if problem.on_device else 1.0)


def pass_work(problem: BaseProblem, network: Network, method: str) -> float:
    """Return the multiply-adds of the pass of a step."""
    d = problem.d
    columns = rotated_width(problem, network.widths[1]) if method in ROTATED else d
    return 2.0 * {"spectral": 1, "gram": d}.get(method, problem.n) * columns * problem.k


def _work(problem: BaseProblem, network: Network, method: str) -> float:
    """The multiply-adds of a step: of the pass, and three for every weight."""
    columns = rotated_width(problem, network.widths[1]) if method in ROTATED else problem.d
    weights = sum(a * b for a, b in pairwise((columns, *network.widths[1:])))
    scale = _GRAM if method == "gram" else 1.0
    return scale * pass_work(problem, network, method) + 3.0 * weights


def rotated_width(problem: BaseProblem, hidden: int, outside: int | None = None) -> int:
    """Return the number of coordinates of rotated inputs, for a first factor of ``hidden`` rows.

    With n < d they are n, and ``outside`` for what that factor has outside of the row space of X
    (not known before: at most ``hidden``), in whole cache lines: models of one width share a loop,
    and which one a model is in must not depend on the others.
    """
    q = min(problem.n, problem.d)
    if q == problem.d:
        return q
    width = q + min(hidden if outside is None else outside, problem.d - q)
    return math.ceil(width / _LINE) * _LINE
