"""Cases timed one after the other: what the groups `targets` and `step` have in common."""

from collections.abc import Sequence

from benchmarks.harness import machine, records, report, timing
from benchmarks.harness.cases import Case
from benchmarks.harness.records import Record
from benchmarks.harness.registry import Settings


def measured(
    group: str, cases: Sequence[Case], settings: Settings, rounds: int, seconds: float
) -> Record:
    """The record of a group of cases; their tables are printed as they come.

    `rounds` and `seconds`, the length of a sample, are those of the full form.
    """
    quick = settings.quick
    rounds = settings.rounds or (2 if quick else rounds)
    seconds = settings.seconds or (0.005 if quick else seconds)
    skip = ("PyTorch compiled",) if quick else ()
    content = records.record(group, quick, rounds=rounds, cases=[])
    for case in cases:
        if settings.cases and case.name not in settings.cases:
            continue
        run, source = case.descent(machine.peer_threads(), quick)
        samples = timing.measure(case, run, rounds, seconds, skip)
        content["cases"].append(report.case_record(case, source, run, samples))
        content["benchmarks"] += report.entries(case, source, samples)
        print(report.case_table(content["cases"][-1]), end="\n\n", flush=True)
    return content
