"""Fair timing of several contenders: the same iterate first, then round-robin, medians and IQR."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from benchmarks.harness.cases import (
    CONTENDERS,
    NOT_A_DESCENT,
    OURS,
    SWEEPERS,
    Case,
)
from benchmarks.peers import Descent, Gap, Run, Sweep
from benchmarks.peers.common import factor_gradients, residual_power, suffix_products

CHECK_STEPS = 20
#: Largest difference of two contenders' parameters, relative to how far they have moved.
TOLERANCE = {"float64": 1e-6, "float32": 1e-3}

#: OpenBLAS's and OpenMP's workers spin for some 25 ms after their last task. Without this pause
#: they would take a core from whoever is timed next.
PAUSE = 0.05


@dataclass
class Samples:
    """Seconds per step of one contender; `gap` says why there are none.

    `note` and `layout` are those of its `Run`.
    """

    name: str
    gap: str = ""
    note: str = ""
    layout: tuple[int, int] | None = None
    steps: int = 0
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Seconds a step."""
        return float(np.median(self.seconds)) if self.seconds else float("nan")

    @property
    def iqr(self) -> float:
        """Interquartile range of the seconds a step."""
        if not self.seconds:
            return float("nan")
        low, high = np.percentile(self.seconds, [25, 75])
        return float(high - low)


def difference(run: Descent | Sweep, reference: np.ndarray, params: np.ndarray) -> float:
    """How far `params` are from `reference`, relative to the way from the start.

    In a sweep that of the model which is worst off.
    """
    start = run.params.astype(np.float64)
    moved = np.linalg.norm(reference.astype(np.float64) - start, axis=-1)
    away = np.linalg.norm(reference.astype(np.float64) - params, axis=-1)
    return float(np.max(away / moved))


Gradient = Callable[[np.ndarray], np.ndarray]


def reference_params(run: Descent | Sweep, gradient: Gradient | None = None) -> np.ndarray:
    """The iterate after CHECK_STEPS by plain float64 NumPy: the judge of every contender.

    `gradient` takes the end-to-end matrix to the loss's gradient there, both float64 on the host,
    for data that are elsewhere.
    """
    if isinstance(run, Sweep):
        return np.stack([reference_params(descent, gradient) for descent in run.descents])
    gradient = gradient or _host_gradient(run)
    params = run.params.astype(np.float64)
    factors = run.factors(params)
    for _ in range(CHECK_STEPS):
        suffixes = suffix_products(factors)
        G = gradient(suffixes[0])
        for factor, change in zip(factors, factor_gradients(factors, suffixes, G), strict=True):
            factor -= run.learning_rate * change
    return params


def _host_gradient(run: Descent) -> Gradient:
    X, Y = run.X.astype(np.float64), run.Y.astype(np.float64)

    def gradient(W: np.ndarray) -> np.ndarray:
        return run.p / len(X) * (residual_power(X @ W.T - Y, run.p).T @ X)

    return gradient


def start(name: str, run: Descent | Sweep, reference: np.ndarray) -> Run:
    """Build a contender and hold its first CHECK_STEPS steps to the reference.

    Raises
    ------
    Gap
        If its library is missing.
    AssertionError
        If it computes something else than the others.
    """
    contender = SWEEPERS[name](run) if isinstance(run, Sweep) else CONTENDERS[name](run)
    error = check(name, contender, run, reference)
    tolerance = TOLERANCE[str(run.X.dtype)]
    assert error <= tolerance, f"{name}: iterate off by {error:.2e}, more than {tolerance:.0e}"
    return contender


def check(name: str, contender: Run, run: Descent | Sweep, reference: np.ndarray) -> float:
    """Make the first CHECK_STEPS steps; how far off they lead, 0 for what has no iterate."""
    contender.advance(CHECK_STEPS)
    if name in NOT_A_DESCENT:
        return 0.0
    return difference(run, reference, contender.params())


def interleaved(
    contenders: dict[str, Run],
    rounds: int,
    seconds: float,
    pause: float = PAUSE,
    clock: Callable[[], float] = time.perf_counter,
    peers: bool = False,
) -> list[Samples]:
    """Time every contender once a round, in turn; every second round backwards.

    `seconds` is the length of a sample, from which the number of its steps is found. With `peers`,
    one that is not ours and has diverged in the end is a gap and no error.
    """
    results = {
        name: Samples(name, note=run.note, layout=run.layout) for name, run in contenders.items()
    }
    for name, run in contenders.items():
        results[name].steps = _calibrate(run, seconds, clock)
        time.sleep(pause)
    for turn in range(rounds):
        for name in list(contenders)[:: 1 if turn % 2 == 0 else -1]:
            advance, steps = contenders[name].advance, results[name].steps
            advance(max(1, steps // 10))  # caches and threads awake again
            begin = clock()
            advance(steps)
            results[name].seconds.append((clock() - begin) / steps)
            time.sleep(pause)
    for name, run in contenders.items():
        if np.isfinite(run.params()).all():
            continue
        may = peers and not name.startswith(OURS)
        assert may, f"{name} diverged while it was timed"
        results[name] = Samples(name, gap="diverged while it was timed")
    return list(results.values())


def _calibrate(run: Run, seconds: float, clock: Callable[[], float]) -> int:
    seconds *= run.longer
    # A multiple of ten, as PyTorch's compiled form takes several steps a call.
    estimate = seconds / step_seconds(run, 0.2 * seconds, clock)
    return max(10 * round(estimate / 10), 5)


def step_seconds(
    run: Run, least: float = 0.005, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Time of a step, from as many as take at least so many seconds."""
    run.advance(1)
    steps = 1
    while True:
        begin = clock()
        run.advance(steps)
        spent = clock() - begin
        if spent >= least:
            return spent / steps
        steps *= 4


def measure(
    case: Case, run: Descent | Sweep, rounds: int, seconds: float, skip: tuple[str, ...] = ()
) -> list[Samples]:
    """Every contender of a case; those that cannot run here come back with their gap."""
    reference = reference_params(run)
    contenders, gaps = {}, []
    for name in case.contenders:
        try:
            if name in skip:
                raise Gap("left out of the quick form")
            contenders[name] = start(name, run, reference)
        except Gap as gap:
            gaps.append(Samples(name, gap=str(gap)))
    return [*interleaved(contenders, rounds, seconds, peers=True), *gaps]


def speedup(samples: list[Samples], against: str) -> tuple[float, float, float] | None:
    """Ratio of the medians, theirs over ours, and the quartiles of the ratio round by round."""
    ours = next(s for s in samples if s.name == OURS)
    other = next((s for s in samples if s.name == against and s.seconds), None)
    if other is None or not ours.seconds:
        return None
    paired = np.divide(other.seconds, ours.seconds)
    low, high = np.percentile(paired, [25, 75])
    return other.median / ours.median, float(low), float(high)
