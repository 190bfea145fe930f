"""The group ``recording``: what it costs to record a run's iterates, beside loops of peers.

A square network of depth 3 descends by ``accel.train``, by PyTorch and by JAX, at each peer's
quickest variant of a step in the group ``matrix``. Each runs without records, with all that cost
little at every 100th step, and with the sharpness. First all of them have to record what plain
NumPy does. The time is that of the whole call, in ours of ``train``; the first has compiled. What a
record takes, and the share that it adds, is the median of the differences to the run without,
round by round. What costs a part of a millisecond would be lost in the noise of such a run: one
quantity alone is measured in a run of a tenth of the steps, with as many records.
"""

import functools
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

import accel
from benchmarks import peers
from benchmarks.groups import matrix
from benchmarks.groups.recording import page
from benchmarks.groups.recording.page import ALL, BASE, SHARPNESS
from benchmarks.harness import machine, records, report
from benchmarks.harness.cases import OURS
from benchmarks.harness.records import Record
from benchmarks.harness.registry import Settings
from benchmarks.harness.timing import PAUSE, elapsed, in_turn, medians
from benchmarks.peers import Gap
from benchmarks.peers.recording import (
    CHEAP,
    PASSES,
    Recorders,
    Recording,
    jax_recorders,
    numpy_records,
    torch_recorders,
)

#: Rounds of all, and how many of them have the sharpness, which takes longest.
ROUNDS, SHARPNESS_ROUNDS = 5, 3
#: Samples of each variant of a peer's records from which its quickest one is chosen.
TRIALS = 3
#: Largest difference of what two of them record, relative to the largest value of a record.
TOLERANCE = {"cheap": 1e-6, "sharpness": 1e-5}
#: The share of a run's time that all cheap quantities may add.
SHARE = 0.1

#: What a run records.
KINDS = (BASE, ALL, SHARPNESS)
#: Not cheap, or more than the default of its name: measured, not asked for.
FURTHER = ("singular_values(factors=True)", "alignment(layers=True)", "snapshots")

PEERS: dict[str, tuple[Callable[[Any], Any], Callable[[Recording], Recorders]]] = {
    "PyTorch": (peers.matrix.torch_variants, torch_recorders),
    "JAX": (peers.matrix.jax_variants, jax_recorders),
}


@dataclass(frozen=True)
class Case:
    """A network of `size` x `size` factors, as many samples, and a record every so many steps."""

    p: float
    size: int = 100
    steps: int = 2000
    every: int = 100

    @property
    def title(self) -> str:
        """The case in words."""
        return f"{self.size} x {self.size}, depth 3, p = {self.p:g}, n = {self.size}, float64"

    @property
    def records(self) -> int:
        """Those of a run: the start has one, too."""
        return self.steps // self.every + 1

    @property
    def short(self) -> "Case":
        """The run of a tenth of the steps with as many records."""
        return replace(self, steps=self.steps // 10, every=self.every // 10)

    @functools.cached_property
    def recording(self) -> Recording:
        """The group matrix's run on one half of such data, the other half held out.

        The known matrix is the least-squares map of both.
        """
        n = self.size
        square = replace(matrix.Square(n, 3, self.p, 1).case, data=f"{2 * n}x{n}x{n}")
        run, _ = square.descent(machine.peer_threads())
        known = np.linalg.lstsq(run.X, run.Y)[0].T
        first = replace(run, X=run.X[:n], Y=run.Y[:n])
        return Recording(first, run.X[n:], run.Y[n:], np.ascontiguousarray(known))

    @functools.cached_property
    def expected(self) -> dict[str, np.ndarray]:
        """What plain NumPy records."""
        return numpy_records(self.recording, self.steps, self.every)


CASES = (Case(2.0), Case(4.0))


def quick_form(case: Case) -> Case:
    """The case with small factors, for few steps."""
    return replace(case, size=12, steps=60, every=20)


class Ours:
    """Runs of a case by ``accel.train``."""

    def __init__(self, case: Case) -> None:
        recording = case.recording
        run = recording.run
        self._case, self._threads = case, run.threads
        self._problem = accel.LpProblem(run.X, run.Y, run.p)
        self._network = accel.LinearNetwork(run.widths, init=run.factors(run.params))
        self._rule = accel.GradientDescent(run.learning_rate)
        held_out = accel.LpProblem(recording.X, recording.Y, run.p)
        #: The arguments ``record`` and ``validation`` of each quantity.
        self.single: dict[str, tuple[list[Any], accel.LpProblem | None]] = {
            name: ([name], None) for name in (*CHEAP, *FURTHER)
        }
        self.single["distance"] = [accel.recording.DistanceTo(recording.known)], None
        self.single["validation_loss"] = [], held_out
        every = [quantity for name in CHEAP for quantity in self.single[name][0]]
        self.kinds = {BASE: ([], None), ALL: (every, held_out), SHARPNESS: (["sharpness"], None)}

    def train(
        self, record: Sequence[Any], validation: accel.LpProblem | None, short: bool = False
    ) -> accel.Result:
        """A run to the end."""
        case = self._case.short if short else self._case
        result = accel.train(
            self._problem, self._network, self._rule, case.steps, record=record,
            validation=validation, record_every=case.every, backend="cpu", threads=self._threads,
        )  # fmt: skip
        assert result.status == "completed", f"the run has {result.status}"
        return result

    def run(self, kind: str) -> None:
        """A run with the records of a kind."""
        self.train(*self.kinds[kind])

    def recorded(self) -> tuple[dict[str, np.ndarray], str]:
        """All that the kinds record, and the method of the run."""
        record, validation = self.kinds[ALL]
        result = self.train([*record, *self.kinds[SHARPNESS][0]], validation)
        return result.history.recorded, result.method

    def passes(self) -> list[int]:
        """Passes over the data of each record of the sharpness."""
        counted = CountedSharpness()
        self.train([counted], None)
        return counted.passes_of_records


class _CountingOracle:
    """An oracle that counts its passes over the data, of both kinds."""

    def __init__(self, oracle: Any) -> None:
        self._oracle, self.passes = oracle, 0

    def loss_and_gradient(self, W: Any) -> Any:
        self.passes += 1
        return self._oracle.loss_and_gradient(W)

    def hessian_product(self, W: Any, V: Any) -> Any:
        self.passes += 1
        return self._oracle.hessian_product(W, V)


class CountedSharpness(accel.recording.Sharpness):
    """The sharpness, and in a list the passes over the data of each record."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "passes_of_records", [])

    def measure(self, moment: accel.recording.Moment) -> dict[str, Any]:
        """Return the largest eigenvalue."""
        moment.oracle = counting = _CountingOracle(moment.oracle)
        values = super().measure(moment)
        self.passes_of_records.append(counting.passes)
        return values


class Peer:
    """A plain loop of a peer: steps of the group matrix, records in between."""

    def __init__(self, name: str, case: Case) -> None:
        variants, recorders = PEERS[name]
        self._case, run = case, case.recording.run
        made = recorders(case.recording)
        self._stepper = matrix.quickest(variants, run)
        step = self._stepper.note
        # The choice of records needs a run under way, this one has to be checked from its start.
        spare = variants(run)[step]()
        self._record, words = {}, [step]
        for kind, choice in ((ALL, made.cheap), (SHARPNESS, made.sharpness)):
            best = _quickest_record(choice, spare, case.every)
            self._record[kind] = choice[best]
            words.append(best)
        self.note = "; ".join(words)

    def run(self, kind: str) -> None:
        """A run with the records of a kind, on from where the last one has ended."""
        case, stepper = self._case, self._stepper
        if kind == BASE:
            stepper.advance(case.steps)
            return
        record, kept = self._record[kind], []
        for _ in range(case.records - 1):
            kept.append(record(stepper.params()))
            stepper.advance(case.every)
        kept.append(record(stepper.params()))

    def recorded(self) -> dict[str, np.ndarray]:
        """All that the kinds record, in a run from the start."""
        rows = []
        for i in range(self._case.records):
            params = self._stepper.params()
            sharpness = self._record[SHARPNESS](params)
            rows.append(self._record[ALL](params) | {"sharpness": sharpness})
            if i < self._case.records - 1:
                self._stepper.advance(self._case.every)
        return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _quickest_record(
    variants: Mapping[str, Callable[[np.ndarray], Any]], stepper: peers.Stepper, every: int
) -> str:
    """The variant that is quickest together with the steps after it, which it may hold up."""

    def sample(record: Callable[[np.ndarray], Any]) -> float:
        return elapsed(lambda: (record(stepper.params()), stepper.advance(every)))

    calls = {words: functools.partial(sample, record) for words, record in variants.items()}
    for call in calls.values():
        call()  # compiles
    times = medians(in_turn(calls, TRIALS, PAUSE))
    return min(times, key=lambda words: times[words])


def apart(expected: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The largest differences of both kinds, of all records each relative to its largest value."""
    worst = dict.fromkeys(TOLERANCE, 0.0)
    for name, ours in expected.items():
        rows, others = (np.reshape(a, (len(ours), -1)) for a in (ours, values[name]))
        off = np.max(abs(rows - others), axis=1) / np.max(abs(rows), axis=1)
        kind = "sharpness" if name == "sharpness" else "cheap"
        worst[kind] = max(worst[kind], float(np.max(np.where(np.isnan(off), np.inf, off))))
    return worst


def agreed(case: Case, values: Mapping[str, np.ndarray]) -> dict[str, float]:
    """How far a contender's records are from plain NumPy's.

    Raises
    ------
    Gap
        If that is too far.
    """
    off = apart(case.expected, values)
    for kind, limit in TOLERANCE.items():
        if off[kind] > limit:
            raise Gap(f"{kind}: records are off by {off[kind]:.1e}, more than {limit:g}")
    return off


class Contender(NamedTuple):
    """One that has been held to the reference: how to run it, what the tables say of it so far."""

    run: Callable[[str], None]
    row: dict[str, Any]


def contender(name: str, case: Case) -> Contender:
    """Ours or a peer.

    Raises
    ------
    Gap
        If a peer is not installed, or does not record what plain NumPy does.
    AssertionError
        If ours does not.
    """
    if name != OURS:
        peer = Peer(name, case)
        off = agreed(case, peer.recorded())
        return Contender(peer.run, {"contender": name, "note": peer.note, "apart": off})
    made = Ours(case)
    values, method = made.recorded()
    try:
        off = agreed(case, values)
    except Gap as gap:
        raise AssertionError(f"ours: {gap}") from gap
    return Contender(made.run, {"contender": name, "note": method, "apart": off})


def spread(values: Any) -> list[float]:
    """Median and quartiles."""
    return [float(q) for q in np.percentile(values, [50, 25, 75])]


def added(base: Sequence[float], more: Sequence[float], records: int) -> dict[str, list[float]]:
    """By records: milliseconds of each and the share of the run, from samples round by round."""
    pairs = np.array(list(zip(base, more, strict=False)))
    differences = pairs[:, 1] - pairs[:, 0]
    return {
        "milliseconds": spread(1e3 * differences / records),
        "share": spread(differences / pairs[:, 0]),
    }


def measure_case(case: Case, rounds: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What the tables say of a case, and its benchmarks."""
    rows, runs = [], {}
    for name in (OURS, *PEERS):
        try:
            made = contender(name, case)
        except Gap as gap:
            rows.append({"contender": name, "gap": str(gap)})
            continue
        rows.append(made.row)
        for kind in KINDS:
            runs[name, kind] = functools.partial(_seconds, made.run, kind)
    often = {key: min(rounds, SHARPNESS_ROUNDS) if key[1] == SHARPNESS else rounds for key in runs}
    samples = in_turn(runs, often, PAUSE)
    for row in rows:
        if "gap" not in row:
            own = {kind: samples[row["contender"], kind] for kind in KINDS}
            _put_times(row, own, case)
    entries = [
        records.entry(
            case.title, f"{name}, {kind} recorded", seconds, kind=report.kind(name), contender=name
        )
        for (name, kind), seconds in samples.items()
    ]
    singles, more = measure_singles(case, rounds)
    passes = Ours(case).passes()
    rows[0]["passes"] = {"most": max(passes), "mean": statistics.mean(passes)}
    content = {
        "title": case.title, "p": case.p, "steps": case.steps, "every": case.every,
        "rows": rows, "quantities": singles,
        "targets": {
            "share": {"most": SHARE, "met": rows[0][ALL]["share"][0] < SHARE},
            "passes": {"most": PASSES, "met": max(passes) <= PASSES},
        },
    }  # fmt: skip
    return content, [*entries, *more]


def _seconds(run: Callable[[str], None], kind: str) -> float:
    return elapsed(functools.partial(run, kind))


def _put_times(row: dict[str, Any], own: Mapping[str, Sequence[float]], case: Case) -> None:
    """Put into a contender's row its times, and what its records add."""
    row["milliseconds"] = {kind: 1e3 * statistics.median(own[kind]) for kind in KINDS}
    for kind in (ALL, SHARPNESS):
        row[kind] = added(own[BASE], own[kind], case.records)
    step = row["milliseconds"][BASE] / case.steps
    row["sharpness_steps"] = row[SHARPNESS]["milliseconds"][0] / step


def measure_singles(case: Case, rounds: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A row for every quantity alone, and their benchmarks; twice as many rounds, of short runs."""
    ours = Ours(case)
    chosen: dict[str, tuple[Any, Any]] = {BASE: ([], None), **ours.single}
    calls = {
        name: functools.partial(_seconds_short, ours, *arguments)
        for name, arguments in chosen.items()
    }
    for call in calls.values():
        call()
    samples = in_turn(calls, 2 * rounds, PAUSE)
    rows, short = [], case.short
    for name, seconds in samples.items():
        if name != BASE:
            row = added(samples[BASE], seconds, short.records)
            # As many records in more steps.
            row["share"] = [part * short.steps / case.steps for part in row["share"]]
            rows.append({"name": name, **row})
    entries = [
        records.entry(
            f"{case.title}, {short.steps} steps", f"{name} recorded", seconds, kind="ours"
        )
        for name, seconds in samples.items()
    ]
    return rows, entries


def _seconds_short(ours: Ours, record: Sequence[Any], validation: Any) -> float:
    return elapsed(lambda: ours.train(record, validation, short=True))


def measure(settings: Settings) -> Record:
    """Each case; the table of its contenders is printed as it comes."""
    rounds = settings.rounds or (2 if settings.quick else ROUNDS)
    content = records.record("recording", settings.quick, rounds=rounds, cases=[])
    for case in map(quick_form, CASES) if settings.quick else CASES:
        made, entries = measure_case(case, rounds)
        content["cases"].append(made)
        content["benchmarks"] += entries
        print(page.contenders([made]), end="\n\n", flush=True)
    return content


summary = markdown = page.summary


def plots(content: Record) -> dict[str, bytes]:
    """None: the table has its shape."""
    return {}
