"""A gradient step inside a run, every contender of every case: groups of pytest-benchmark.

Contenders run one after the other here; ``python -m benchmarks`` interleaves them, and its ratios
are the ones to quote.
"""

import functools
from typing import Any

import numpy as np
import pytest

from benchmarks.groups import step
from benchmarks.harness.cases import CASES, PLAIN_SUM, Case
from benchmarks.harness.machine import blas, peer_threads
from benchmarks.harness.report import kind
from benchmarks.harness.timing import reference_params, start
from benchmarks.peers import Gap, Sweep

PAIRS = [
    pytest.param(
        case, name, marks=pytest.mark.benchmark(group=case.title), id=f"{case.name}-{name}"
    )
    for case in (*CASES, *step.CASES)
    for name in case.contenders
]


@functools.lru_cache(maxsize=1)
def reference(case: Case, quick: bool) -> np.ndarray:
    return reference_params(case.descent(1, quick)[0])


@pytest.mark.parametrize(("case", "contender"), PAIRS)
def test_step(benchmark: Any, case: Case, contender: str, quick: bool) -> None:
    if quick and contender == "PyTorch compiled":
        pytest.skip("left out of the quick form")
    run, source = case.descent(peer_threads(), quick)
    try:
        advance = start(contender, run, reference(case, quick)).advance
    except Gap as gap:
        pytest.skip(str(gap))
    steps = max(1, case.steps // 20) if quick else case.steps
    benchmark.pedantic(advance, args=(steps,), rounds=3 if quick else 10, warmup_rounds=1)
    benchmark.extra_info.update(
        contender=contender,
        kind=kind(contender),
        steps=steps,
        threads=run.threads,
        data=source,
        blas=blas(),
    )
    if benchmark.stats is not None:  # None under --benchmark-disable
        median = benchmark.stats.stats.median
        benchmark.extra_info["microseconds_per_step"] = median / steps * 1e6
        if isinstance(run, Sweep):
            benchmark.extra_info["gigaflops"] = 2e-9 * run.multiply_adds * steps / median
        if contender == PLAIN_SUM:
            benchmark.extra_info["gigabytes_per_second"] = run.X.nbytes * steps / median / 1e9
