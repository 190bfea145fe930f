"""Cases timed one after the other: what all groups of steps have in common."""

import functools
from collections.abc import Callable, Mapping, Sequence

from benchmarks.harness import machine, records, report, timing
from benchmarks.harness.cases import ON_CPU, OURS, Case, Contenders
from benchmarks.harness.records import Record
from benchmarks.harness.reference import reference_params, start
from benchmarks.harness.registry import Settings
from benchmarks.harness.timing import Samples
from benchmarks.peers import Descent, Gap, Stepper, Sweep


def timed(
    case: Case,
    build: Callable[[str], Stepper],
    rounds: int,
    seconds: float,
    pause: float = timing.PAUSE,
    left_out: Mapping[str, str] | None = None,
) -> list[Samples]:
    """The samples of every contender of a case; those that cannot run here come with their gap.

    `build` makes a contender of its name and holds it to the reference; `left_out` has the reasons
    of those that are not built.

    Raises
    ------
    Gap
        If ours cannot run here: there is nothing to hold the others to.
    """
    steppers, gaps = {}, []
    for name in case.contenders:
        try:
            if left_out and name in left_out:
                raise Gap(left_out[name])
            steppers[name] = build(name)
        except Gap as gap:
            if name == OURS:
                raise Gap(f"not timed: our {gap}") from gap
            gaps.append(Samples(name, gap=str(gap)))
    return [*timing.interleaved(steppers, rounds, seconds, pause, peers=True), *gaps]


def add(
    content: Record, case: Case, source: str, run: Descent | Sweep, samples: Sequence[Samples]
) -> None:
    """Put a case into a record, and print its table."""
    content["cases"].append(report.case_record(case, source, run, samples))
    content["benchmarks"] += report.entries(case, source, samples)
    print(report.case_table(content["cases"][-1]), end="\n\n", flush=True)


def measured(
    group: str,
    cases: Sequence[Case],
    settings: Settings,
    rounds: int,
    seconds: float,
    contenders: Contenders = ON_CPU,
) -> Record:
    """The record of a group of cases; their tables are printed as they come.

    `rounds` and `seconds`, the length of a sample, are those of the full form.
    """
    quick = settings.quick
    rounds = settings.rounds or (2 if quick else rounds)
    seconds = settings.seconds or (0.005 if quick else seconds)
    content = records.record(group, quick, rounds=rounds, cases=[])
    for case in cases:
        if settings.cases and case.name not in settings.cases:
            continue
        run, source = case.descent(machine.peer_threads(), quick)
        reference = reference_params(run)
        build = functools.partial(start, run=run, reference=reference, contenders=contenders)
        samples = timed(case, build, rounds, seconds, left_out=contenders.left_out(quick))
        add(content, case, source, run, samples)
    return content
