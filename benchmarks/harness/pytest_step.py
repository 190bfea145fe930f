"""A step under pytest-benchmark: the cases of `test_step.py` and `test_gpu.py`."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from benchmarks.harness import machine, report
from benchmarks.harness.cases import Case, Contenders
from benchmarks.harness.reference import start
from benchmarks.peers import Descent, Gap, Sweep

#: Makes of a case, in the quick form or not: the run, where its data come from, the reference.
Built = Callable[[Case, bool], tuple[Descent | Sweep, str, np.ndarray]]


def pairs(cases: Sequence[Case]) -> list[Any]:
    """Parameters of a test: each case with each of its contenders, a group of the table a case."""
    return [
        pytest.param(
            case, name, marks=pytest.mark.benchmark(group=case.title), id=f"{case.name}-{name}"
        )
        for case in cases
        for name in case.contenders
    ]


def run(
    benchmark: Any, case: Case, name: str, quick: bool, contenders: Contenders, built: Built
) -> None:
    """Hold a contender to the reference and time it; skip it where it cannot run."""
    if reason := contenders.left_out(quick).get(name):
        pytest.skip(reason)
    run, source, reference = built(case, quick)
    try:
        stepper = start(name, run, reference, contenders)
    except Gap as gap:
        pytest.skip(str(gap))
    steps = max(1, case.steps // 20) if quick else case.steps
    benchmark.pedantic(stepper.advance, args=(steps,), rounds=3 if quick else 10, warmup_rounds=1)
    benchmark.extra_info.update(
        contender=name,
        kind=report.kind(name),
        steps=steps,
        threads=run.threads,
        note=stepper.note,
        data=source,
        blas=machine.blas(),
    )
    if benchmark.stats is not None:  # None under --benchmark-disable
        seconds = benchmark.stats.stats.median / steps
        benchmark.extra_info["microseconds_per_step"] = 1e6 * seconds
        benchmark.extra_info.update(report.rates(case, name, run, seconds))
