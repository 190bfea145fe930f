"""The group ``matrix``: networks of square matrices of all sizes, with as many outputs as inputs.

At p = 2 ours reads the singular values of X, as `accel.train` does in a long descent, and the peers
read X'X. Of a step of ours the share of the peak is told: its multiply-adds by its time, over
what the machine makes of them at most. A step of N factors of d x d takes ``3 (N - 1) d**3`` for
the products of factors, and ``2 n d**2`` for the pass over the data or, at p = 2, ``2 d**2``.
Of both times the quickest sample counts, of the peak that of the whole run: for seconds a machine
that is shared makes half of its peak, and a median would then tell of shares beyond 100 %.
"""

import functools
import itertools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks import peers
from benchmarks.groups import step
from benchmarks.harness import page, report, timing
from benchmarks.harness.cases import OURS, PEAK, Case, Contenders, Target
from benchmarks.harness.records import Record
from benchmarks.harness.registry import Settings
from benchmarks.harness.session import measured
from benchmarks.peers import Descent, Stepper, Sweep, matrix

ROUNDS, SECONDS = 7, 0.1
#: Samples of each variant of a peer from which its quickest one is chosen, and their length.
TRIALS, TRIAL_SECONDS = 3, 0.02

SIZES, DEPTHS, POWERS, MODELS = (20, 50, 100, 200, 500), (2, 3, 4), (2.0, 4.0), (1, 16)
#: n as a multiple of d.
ROWS = (1, 10)
#: The share of the peak that is striven for from this size on.
SHARE, WIDE = 0.75, 100


def quickest(
    variants: Callable[[Descent | Sweep], matrix.Variants], run: Descent | Sweep
) -> Stepper:
    """The variant of a peer that is quickest here, from the start; its note says which it is."""
    makers = variants(run)
    calls = {}
    for words, make in makers.items():
        stepper = make()
        steps = round(TRIAL_SECONDS / timing.seconds_each(stepper.advance, TRIAL_SECONDS / 5))
        calls[words] = functools.partial(timing.seconds_a_step, stepper, max(1, steps))
    medians = timing.medians(timing.in_turn(calls, TRIALS, timing.PAUSE))
    best = min(medians, key=lambda words: medians[words])
    return makers[best]()._replace(note=best)


PEERS: dict[str, Callable[[Descent | Sweep], Stepper]] = {
    "NumPy": functools.partial(quickest, matrix.numpy_variants),
    "PyTorch": functools.partial(quickest, matrix.torch_variants),
    "JAX": functools.partial(quickest, matrix.jax_variants),
}
CONTENDERS = Contenders(
    descents={OURS: peers.ours, **PEERS, PEAK: peers.multiply_adds_alone},
    sweeps={OURS: peers.our_sweep, **PEERS, PEAK: peers.multiply_adds_alone},
    slow=(),
)


@dataclass(frozen=True)
class Square:
    """What a case is of; `rows` is n as a multiple of the size d."""

    size: int
    depth: int
    p: float
    rows: int
    models: int = 1
    dtype: str = "float64"

    @property
    def kind(self) -> str:
        """All but the size, in words."""
        models = f"{self.models} models, " if self.models > 1 else ""
        single = "float32, " if self.dtype == "float32" else ""
        rows = "d" if self.rows == 1 else f"{self.rows} d"
        return f"{single}{models}depth {self.depth}, p = {self.p:g}, n = {rows}"

    @property
    def form(self) -> str:
        """The form of ours, as `accel.train` decides for many steps."""
        return "diagonal" if self.p == 2 else "direct"

    @property
    def multiply_adds(self) -> int:
        """Those of a step of ours."""
        d = self.size
        passed = 2 * d**2 if self.form == "diagonal" else 2 * self.rows * d**3
        return self.models * (passed + 3 * (self.depth - 1) * d**3)

    @property
    def case(self) -> Case:
        """What is measured, and what it is held to."""
        d = self.size
        dtype = self.dtype.replace("loat", "")
        name = f"square{d}-n{self.depth}-p{self.p:g}-{self.rows}d-m{self.models}-{dtype}"
        return Case(
            name=name,
            title=f"{d} x {d}, {self.kind}",
            data=f"{self.rows * d}x{d}x{d}",
            dtype=self.dtype,
            p=self.p,
            widths=(d,) * (self.depth - 1),
            learning_rate=1e-3 if self.p == 2 else 1e-4,
            steps=max(1, int(1e9 / self.multiply_adds)),
            contenders=tuple(CONTENDERS.descents),
            targets=(Target("best peer", 1.2 if d > 200 else 2.0),),
            form=self.form,
            models=self.models,
        )


#: Cases with the same data are neighbours.
SQUARES = {
    square.case.name: square
    for square in (
        *(
            Square(size, depth, p, rows, models)
            for size, rows, models, depth, p in itertools.product(
                SIZES, ROWS, MODELS, DEPTHS, POWERS
            )
        ),
        *(Square(size, 3, p, 1, dtype="float32") for size in (100, 200) for p in POWERS),
    )
}


def _by_default(square: Square) -> bool:
    """All sizes of one model at depth 3; of the other kinds some sizes, at n = d."""
    if square.models == 1 and square.depth == 3:
        return True
    sizes = (100,) if square.models == 1 else (20, 100, 200) if square.depth == 3 else ()
    return square.rows == 1 and square.size in sizes


#: Every case, of which the others run if --case names them; what runs without; the quick form.
CASES = tuple(square.case for square in SQUARES.values())
DEFAULT = tuple(square.case for square in SQUARES.values() if _by_default(square))
QUICK = tuple(
    case
    for case in DEFAULT
    if SQUARES[case.name].size in (20, 100) and SQUARES[case.name].rows == 1
)[::3]


def measure(settings: Settings) -> Record:
    cases = CASES if settings.cases else QUICK if settings.quick else DEFAULT
    content = measured("matrix", cases, settings, ROUNDS, SECONDS, CONTENDERS)
    return with_shares(content)


def with_shares(content: Record) -> Record:
    """Put into a record the peak of each dtype, multiply-adds a second, and what its table reads.

    Of every case these are its size and kind, and each contender's share of the peak.
    """
    seconds = {b["name"]: b["stats"]["min"] for b in content["benchmarks"]}
    content["peak"] = peak = {}
    for case in content["cases"]:
        square = SQUARES[case["name"]]
        fastest = square.multiply_adds / seconds[f"{case['name']}-{PEAK}"]
        peak[square.dtype] = max(fastest, peak.get(square.dtype, 0.0))
    for case in content["cases"]:
        square = SQUARES[case["name"]]
        case |= {"size": square.size, "kind": square.kind}
        for row in case["contenders"]:
            if (least := seconds.get(f"{case['name']}-{row['contender']}")) is not None:
                row["share"] = square.multiply_adds / least / peak[square.dtype]
    return content


def summary(content: Record) -> str:
    """The table that the README quotes, and what it says."""
    cases = content["cases"]
    sizes = sorted({case["size"] for case in cases})
    cells = {(case["kind"], case["size"]): _cell(case) for case in cases}
    kinds = dict.fromkeys(case["kind"] for case in cases)
    rows = [[kind, *(cells.get((kind, size), "") for size in sizes)] for kind in kinds]
    peaks = " and ".join(
        f"{2e-9 * rate:.0f} GFLOP/s in {dtype}" for dtype, rate in content["peak"].items()
    )
    text = (
        "Networks of d x d matrices, by d: microseconds a step of ours; the time of the best peer "
        "(NumPy, PyTorch or JAX, each in its quickest variant) by ours; the share that ours has of "
        f"the peak of multiply-adds, {peaks}."
    )
    table = page.table(["float64 but where said", *sizes], rows)
    return "\n\n".join([report.header(content), text, table, f"{_asked(cases)} {_by_peer(cases)}"])


def _cell(case: Record) -> str:
    rows = report.timed_rows(case)
    if OURS not in rows:
        return "none"
    words = [f"{report.microseconds(rows[OURS]['median_us'] / 1e6)} us"]
    compared = [row for row in rows.values() if row["peer"] and "ratio" in row]
    if compared:
        best = min(compared, key=lambda row: row["median_us"])
        words.append(f"{best['ratio']:.2f}x {best['contender']}")
    return ", ".join([*words, f"{rows[OURS]['share']:.0%}"])


def _asked(cases: Sequence[Record]) -> str:
    """How many cases are as fast as asked for."""
    targets = [target for case in cases for target in case["targets"]]
    met = sum(target["met"] is True for target in targets)
    shares = [row["share"] for row in _rows(cases, OURS) if row["size"] >= WIDE]
    reached = sum(share >= SHARE for share in shares)
    return (
        "Asked for is to be twice as fast as the best peer for d up to 200, and 1.2 times above: "
        f"{met} of {len(targets)} cases are. Striven for is {SHARE:.0%} of the peak from d = "
        f"{WIDE} on: {reached} of {len(shares)} cases reach it."
    )


def _by_peer(cases: Sequence[Record]) -> str:
    """By how much ours is faster than each peer, over all cases."""
    parts = []
    for name in PEERS:
        if ratios := [row["ratio"] for row in _rows(cases, name) if "ratio" in row]:
            parts.append(f"{name} {min(ratios):.2f} and {statistics.median(ratios):.2f}")
    return f"Times of peers by ours, least and median of all cases: {', '.join(parts) or 'none'}."


def _rows(cases: Sequence[Record], name: str) -> list[Record]:
    """What was measured of a contender, and the sizes of the cases."""
    return [
        row | {"size": case["size"]}
        for case in cases
        for row in case["contenders"]
        if row["contender"] == name and "gap" not in row
    ]


def markdown(content: Record) -> str:
    """The summary, who is furthest from what was asked, and every peer of every case."""
    parts = [summary(content)]
    if far := report.furthest(content):
        parts.append(f"Furthest from what was asked: {'; '.join(far)}.")
    return "\n\n".join([*parts, step.lines(content)])


def plots(content: Record) -> dict[str, bytes]:
    """None: the table has its shape."""
    return {}
