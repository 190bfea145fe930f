"""Runs with and without records, every contender: groups of pytest-benchmark.

Contenders run one after the other here; ``python -m benchmarks recording`` interleaves them, and
its differences are the ones to quote.
"""

import functools
from typing import Any

import pytest

from benchmarks.groups.recording import measure as recording
from benchmarks.harness import report
from benchmarks.harness.cases import OURS
from benchmarks.peers import Gap


@functools.lru_cache(maxsize=1)
def built(case: recording.Case, name: str) -> recording.Contender | str:
    """A contender, or why there is none."""
    try:
        return recording.contender(name, case)
    except Gap as gap:
        return str(gap)


@pytest.mark.parametrize("kind", recording.KINDS)
@pytest.mark.parametrize("name", [OURS, *recording.PEERS])
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=pytest.mark.benchmark(group=case.title), id=f"p{case.p:g}")
        for case in recording.CASES
    ],
)
def test_run(benchmark: Any, case: recording.Case, name: str, kind: str, quick: bool) -> None:
    chosen = recording.quick_form(case) if quick else case
    contender = built(chosen, name)
    if isinstance(contender, str):
        pytest.skip(contender)
    rounds = 2 if quick else recording.ROUNDS
    benchmark.pedantic(contender.run, args=(kind,), rounds=rounds, warmup_rounds=1)
    benchmark.extra_info.update(
        contender=name, kind=report.kind(name), recorded=kind, note=contender.row["note"]
    )
