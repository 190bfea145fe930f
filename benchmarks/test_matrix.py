"""A step of networks of square matrices, every contender of every case: groups of pytest-benchmark.

Matrix completion is one of them, its groups begin with "matrix: ". Contenders run one after the
other here; ``python -m benchmarks matrix`` and ``completion`` interleave them, and their ratios are
the ones to quote.
"""

import functools
from typing import Any

import numpy as np
import pytest

import accel
from benchmarks.groups import completion, matrix
from benchmarks.harness import pytest_step, report
from benchmarks.harness.cases import Case
from benchmarks.harness.machine import peer_threads
from benchmarks.harness.reference import reference_params
from benchmarks.peers import Descent, Sweep


@functools.lru_cache(maxsize=1)
def built(case: Case, quick: bool) -> tuple[Descent | Sweep, str, np.ndarray]:
    run, source = case.descent(peer_threads(), quick)
    return run, source, reference_params(run)


@pytest.mark.parametrize(("case", "contender"), pytest_step.pairs(matrix.DEFAULT))
def test_step(benchmark: Any, case: Case, contender: str, quick: bool) -> None:
    pytest_step.run(benchmark, case, contender, quick, matrix.CONTENDERS, built)


@functools.lru_cache(maxsize=1)
def completed(case: completion.Case, steps: int) -> np.ndarray:
    """The factors after so many steps of the reference."""
    options: dict[str, Any] = {"backend": "reference", "record_every": steps}
    result = accel.train(case.problem, case.network, case.optimizer, steps, **options)
    return result.network.params


@pytest.mark.parametrize("contender", completion.LOOPS)
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=pytest.mark.benchmark(group=f"matrix: {case.title}"), id=case.name)
        for case in completion.CASES
    ],
)
def test_completion(benchmark: Any, case: completion.Case, contender: str, quick: bool) -> None:
    if contender != completion.OURS:
        pytest.importorskip("torch")
    if quick:
        case = completion.quick_form(case)
    steps, threads = 20 if quick else completion.STEPS, peer_threads()
    found = completion.factors_after(case, contender, threads, steps)
    assert completion.apart(found, completed(case, steps)) <= completion.AGREE
    advance, _ = case.loop(contender, threads)
    benchmark.pedantic(advance, args=(steps,), rounds=3 if quick else 10, warmup_rounds=1)
    benchmark.extra_info.update(
        contender=contender, kind=report.kind(contender), steps=steps, threads=threads
    )
