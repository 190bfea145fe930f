"""``python -m benchmarks minibatches``: steps of batches, of schedules and of noise.

First a step of a batch beside one of all rows, the making of its rows by itself, and loops of
PyTorch and JAX that are given the same rows, made before. All must have the parameters of plain
float64 NumPy after some steps. Then steps with a scheduled rate, with Langevin's noise and with
noise on the labels, each beside the plain one of the same rows. All in turn, medians of rounds;
ours and PyTorch with one thread and with all, JAX with all. `benchmarks/test_step.py` has the same
steps under pytest-benchmark.
"""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

import accel
from accel._support.backends import resolve
from accel.kernels import specs
from accel.kernels.protocols import TrainingLoop
from accel.schedules import CosineDecay
from benchmarks.harness import cases, page, report, timing
from benchmarks.harness.data import load
from benchmarks.harness.records import Record
from benchmarks.harness.reference import CHECK_STEPS, TOLERANCE, difference
from benchmarks.harness.rows import Options, rows_command
from benchmarks.peers import Descent, Gap, Stepper, Sweep, our_sweep, ours
from benchmarks.peers.minibatches import jax_of_batches, numpy_params, torch_of_batches

ROUNDS, SECONDS = 7, 0.03
OURS, TORCH, JAX, ROWS = "accel", "PyTorch", "JAX", "rows alone"
ALL_ROWS = "accel, all rows"
CONTENDERS = (OURS, TORCH, JAX, ALL_ROWS)
#: What is asked: a step of n/8 rows by one of all rows on the gas data, and times as fast as peers.
SHARE, FASTER = 0.25, 2.0
#: Batches that peers are given: whole epochs, at least so many.
_LEAST_BATCHES = 64


class Batch(NamedTuple):
    """Rows of a step: ``size`` of them, or a ``part`` of all, rounded up."""

    size: int = 0
    part: int = 0
    shuffle: str = "epoch"
    peers: bool = True

    def rows(self, n: int) -> int:
        """How many of n."""
        return self.size or -(-n // self.part)

    def title(self, n: int) -> str:
        """The batch in words."""
        size = f"n/{self.part} = {self.rows(n)}" if self.part else str(self.size)
        return f"{size}, {self.shuffle}"

    def spec(self, n: int) -> specs.Batches:
        """The batches as the kernels take them."""
        return specs.Batches(self.rows(n), self.shuffle)

    def of_steps(self, n: int) -> list[np.ndarray]:
        """The rows of the steps of some epochs."""
        batches = accel.Batches(n, self.rows(n), self.shuffle)
        epochs = -(-_LEAST_BATCHES // batches.steps_per_epoch)
        return [batches.rows(step) for step in range(epochs * batches.steps_per_epoch)]


@dataclass(frozen=True)
class Case:
    """A run, and the batches that it is made with."""

    run: cases.Case
    batches: tuple[Batch, ...]

    def bound(self, batch: Batch) -> float | None:
        """What a step of the batch may take, by one of all rows."""
        return SHARE if self.run.data == "gas" and batch.part == 8 else None


_OF_GAS = (
    Batch(part=8),
    Batch(part=32),
    Batch(part=128),
    Batch(part=8, shuffle="replacement", peers=False),
    Batch(part=8, shuffle="none", peers=False),
)


def _case(
    name: str, title: str, data: str, dtype: str, p: float, widths: tuple[int, ...],
    batches: tuple[Batch, ...], rate: float, models: int = 1,
) -> Case:  # fmt: skip
    run = cases.Case(name, title, data, dtype, p, widths, rate, 0, (), (), models=models)
    return Case(run, batches)


CASES = (
    *(
        _case(
            f"gas-n{depth}-{dtype.replace('loat', '')}",
            f"gas, depth {depth}, {dtype}, p = 4",
            "gas", dtype, 4.0, (1,) * (depth - 1), _OF_GAS, 3e-7,
        )
        for dtype in ("float64", "float32")
        for depth in (1, 3)
    ),
    *(
        _case(
            f"square-p{p:g}",
            f"1000 x 100 to 100, depth 3, float64, p = {p:g}",
            "1000x100x100", "float64", p, (100, 100), (Batch(64), Batch(256)), 1e-5,
        )
        for p in (2.0, 4.0)
    ),
    _case(
        "sweep64", "64 rates, gas, depth 1, float64, p = 4",
        "gas", "float64", 4.0, (), (Batch(part=8),), 3e-7, models=64,
    ),
)  # fmt: skip


def our_steps(run: Descent | Sweep, batches: specs.Batches | None, threads: int) -> Stepper:
    """Steps of ours, of batches or of all rows."""
    options = {} if batches is None else {"batches": batches}
    if isinstance(run, Sweep):
        descents = tuple(replace(each, threads=threads) for each in run.descents)
        return our_sweep(Sweep(descents), **options)
    return ours(replace(run, threads=threads), **options)


def built(
    who: str, run: Descent | Sweep, batch: Batch, rows: list[np.ndarray], threads: int
) -> Stepper:
    """A contender's run with batches; the others are given the ``rows`` of its steps."""
    if who == TORCH:
        return torch_of_batches(run, rows, threads)
    if who == JAX:
        return jax_of_batches(run, rows)
    return our_steps(run, batch.spec(len(run.X)), threads)


def makes_rows(n: int, batches: specs.Batches) -> Callable[[int], None]:
    """Make the rows of so many steps as a run on one thread does: many steps at once."""
    from accel.kernels.cpu.tape import Tape

    tape = Tape(n, batches)
    done = 0

    def make(steps: int) -> None:
        nonlocal done
        for first in range(0, steps, tape.steps):
            count = min(tape.steps, steps - first)
            tape.fill(done, done + count, 1)
            done += count

    return make


def contenders(
    run: Descent | Sweep, batch: Batch, threads: int
) -> tuple[dict[str, Callable[[int], None]], dict[str, str], float]:
    """Calls that make so many steps, by name; gaps; and how far they are from the reference.

    The latter is the largest of all, relative to how far the parameters have moved.
    """
    n = len(run.X)
    rows = batch.of_steps(n)
    expected = numpy_params(run, rows, CHECK_STEPS)
    calls: dict[str, Callable[[int], None]] = {}
    gaps: dict[str, str] = {}
    counts, apart = sorted({1, threads}), 0.0
    of_all = {OURS: counts} | ({TORCH: counts, JAX: [threads]} if batch.peers else {})
    for who, count in [(who, count) for who, each in of_all.items() for count in each]:
        name = f"{who}, {count}"
        try:
            stepper = built(who, run, batch, rows, count)
        except Gap as gap:
            gaps[name] = str(gap)
            continue
        stepper.advance(CHECK_STEPS)
        apart = max(apart, difference(run, expected, stepper.params()))
        calls[name] = stepper.advance
    calls[ROWS] = makes_rows(n, batch.spec(n))
    return calls, gaps, apart


def _sampler(advance: Callable[[int], None], seconds: float) -> Callable[[], float]:
    count = max(1, round(seconds / timing.seconds_each(advance, seconds / 5)))
    return lambda: timing.elapsed(lambda: advance(count)) / count


def measure(case: Case, threads: int, rounds: int, quick: bool) -> dict[str, Any]:
    """The row of a case, with the samples of all in seconds a step."""
    run, source = case.run.descent(threads, quick)
    seconds, n, counts = 0.003 if quick else SECONDS, len(run.X), sorted({1, threads})
    calls = {
        f"{ALL_ROWS}, {count}": _sampler(our_steps(run, None, count).advance, seconds)
        for count in counts
    }
    gaps, apart = {}, {}
    for batch in case.batches:
        words = batch.title(n)
        made, missing, apart[words] = contenders(run, batch, threads)
        gaps |= missing
        for name, advance in made.items():
            who, _, count = name.partition(", ")
            full = f"{who}, {words}, {count}" if count else f"{OURS}, {words}, {who}"
            calls[full] = _sampler(advance, seconds)
    samples = timing.in_turn(calls, rounds, timing.PAUSE)
    medians = {name: statistics.median(each) for name, each in samples.items()}
    lines = []
    for batch in case.batches:
        words = batch.title(n)
        found = {who: _by_threads(medians, f"{who}, {words}, ") for who in (OURS, TORCH, JAX)}
        alone = found[OURS].pop(ROWS)
        lines.append({
            "batch": words, "seconds": found, "rows": alone, "bound": case.bound(batch),
            "faster": FASTER if batch.peers else None, "apart": apart[words],
        })  # fmt: skip
    agree = max(apart.values()) <= TOLERANCE[case.run.dtype]
    return {
        "title": case.run.title, "data": source, "agree": agree, "gaps": gaps,
        "all": _by_threads(medians, f"{ALL_ROWS}, "), "lines": lines, "samples": samples,
    }  # fmt: skip


def _by_threads(medians: dict[str, float], before: str) -> dict[str, float]:
    return {
        name.removeprefix(before): each for name, each in medians.items() if name.startswith(before)
    }


#: What a plain step is compared with: data, and the batch if there is one.
PLAIN = "a constant rate"
STEPS: tuple[tuple[str, Batch | None], ...] = (
    ("diabetes", None), ("gas", None), ("gas", Batch(part=8)),
)  # fmt: skip
_RATE, _DECAY = 3e-7, 10**9  # so slow a decay that a schedule is evaluated to the end
_CONSTANT = accel.GradientDescent(_RATE)
#: Rules, with the noise on the labels and whether it is of signs, by what they are.
VARIANTS: dict[str, tuple[accel.Optimizer, float, bool]] = {
    PLAIN: (_CONSTANT, 0.0, False),
    "CosineDecay": (accel.GradientDescent(CosineDecay(_RATE, _DECAY)), 0.0, False),
    "Langevin": (accel.Langevin(_RATE, 1e-6), 0.0, False),
    "label noise": (_CONSTANT, 0.1, False),
    "label noise of signs": (_CONSTANT, 0.1, True),
}


def title_of(data: str, batch: Batch | None, n: int) -> str:
    """Data and batch in words."""
    return f"{data}, {'all rows' if batch is None else batch.title(n)}"


def loop(data: str, batch: Batch | None, variant: str, threads: int, quick: bool) -> TrainingLoop:
    """A run at depth 1 in float64, p = 4."""
    X, Y, _ = load(data, "float64", quick)
    problem = accel.LpProblem(X, Y, 4.0)
    network = accel.LinearNetwork.for_problem(problem, depth=1)
    optimizer, noise, signs = VARIANTS[variant]
    batches = None if batch is None else batch.spec(len(X))
    if noise:
        batches = batches or specs.Batches(len(X), "none")
        batches = batches._replace(noise=noise, signs=signs)
    model = specs.ModelSpec(network.widths, network.params, optimizer.rule)
    return problem.loop(resolve("cpu"), [model], threads, "direct", batches)


def compare(
    data: str, batch: Batch | None, threads: int, rounds: int, quick: bool
) -> dict[str, Any]:
    """The row of some data and batches, with samples in seconds a step."""
    X, _, source = load(data, "float64", quick)
    seconds, calls, loops = 0.003 if quick else SECONDS, {}, {}
    for variant in VARIANTS:
        for count in sorted({1, threads}):
            name = f"{OURS}, {variant}, {count}"
            loops[name] = loop(data, batch, variant, count, quick)
            calls[name] = _sampler(loops[name].advance, seconds)
    samples = timing.in_turn(calls, rounds, timing.PAUSE)
    assert all(len(each.active) == 1 for each in loops.values()), "a run has ended meanwhile"
    medians = {name: statistics.median(each) for name, each in samples.items()}
    return {
        "title": f"{title_of(data, batch, len(X))}: schedules and noise",
        "data": source, "agree": True,
        "variants": {name: _by_threads(medians, f"{OURS}, {name}, ") for name in VARIANTS},
        "samples": samples,
    }  # fmt: skip


def _times(seconds: dict[str, float]) -> str:
    """With one thread and with more, in microseconds."""
    return " / ".join(report.microseconds(each) for each in seconds.values())


def _ratios(seconds: dict[str, float], base: dict[str, float]) -> list[float]:
    return [seconds[count] / base[count] for count in seconds]


def _line(row: dict[str, Any], line: dict[str, Any]) -> list[str]:
    found, bound = line["seconds"], line["bound"]
    best = min(found[OURS].values())
    ratios = _ratios(found[OURS], row["all"])
    cells = [
        row["title"], line["batch"], _times(row["all"]), _times(found[OURS]),
        " / ".join(f"{ratio:.2f}" for ratio in ratios),
        "" if bound is None else report.met_words(max(ratios) <= bound),
        f"{1e6 * line['rows']:.2g}",
    ]  # fmt: skip
    peers = [min(found[who].values()) for who in (TORCH, JAX) if found[who]]
    for who in (TORCH, JAX):
        cells.append(report.microseconds(min(found[who].values())) if found[who] else "")
    ratio = min(peers) / best if peers else None
    asked = line["faster"]
    cells += [
        "" if ratio is None else f"{ratio:.2f}",
        "" if asked is None else report.met_words(None if ratio is None else ratio >= asked),
        f"{line['apart']:.0e}",
    ]
    return cells


def summary(content: Record) -> str:
    """The tables."""
    lines = [_line(row, line) for row in content["rows"] for line in row.get("lines", ())]
    header = [
        "run", "batch", "all rows", "a batch", "ratio", f"at most {SHARE:g}", "its rows",
        TORCH, JAX, "times as fast", f"at least {FASTER:g}", "apart",
    ]  # fmt: skip
    first = page.table(header, lines, text=(0, 1, 5, 10))
    lines, kinds = [], [name for name in VARIANTS if name != PLAIN]
    for row in content["rows"]:
        if found := row.get("variants"):
            cells = [
                " / ".join(f"{ratio:.2f}" for ratio in _ratios(found[kind], found[PLAIN]))
                for kind in kinds
            ]
            lines.append([row["title"].partition(":")[0], _times(found[PLAIN]), *cells])
    second = page.table(["data, depth 1, float64, p = 4", PLAIN, *kinds], lines, text=(0,))
    about = f"{report.machine_line(content)}; medians of {content['rounds']} interleaved rounds."
    text = (
        "Microseconds a step, of ours with one thread and with all; of the others with their "
        "quicker number of threads, and their rows made beforehand. Ours makes its own in the "
        'step; "its rows" is that alone.'
    )
    more = "Times of steps with a schedule or with noise, by those at a constant rate:"
    return f"{about} {text}\n\n{first}\n\n{more}\n\n{second}"


def main(arguments: list[str]) -> int:
    """Exit code 1 if the parameters of two do not agree."""

    def rows(options: Options) -> Iterator[dict[str, Any]]:
        for case in CASES:
            yield measure(case, options.threads, options.rounds, options.quick)
        for data, batch in STEPS:
            yield compare(data, batch, options.threads, options.rounds, options.quick)

    content = rows_command("minibatches", __doc__, ROUNDS, rows, summary, arguments)
    return 0 if all(row["agree"] for row in content["rows"]) else 1
