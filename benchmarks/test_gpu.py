"""A gradient step on a GPU, every contender of every case: groups of pytest-benchmark.

Contenders run one after the other here; ``python -m benchmarks gpu`` interleaves them, and its
ratios are the ones to quote.
"""

import functools
import importlib
from typing import Any

import numpy as np
import pytest

from benchmarks.groups import gpu
from benchmarks.harness import timing
from benchmarks.harness.cases import Case
from benchmarks.harness.report import kind
from benchmarks.peers import Descent, Gap, Sweep

REASON = gpu.reason()
if REASON is None:
    gpu.fair_environment()

from benchmarks.groups.gpu import figure3, session  # noqa: E402  # import nothing of the GPU themselves
from benchmarks.groups.gpu.cases import CASES, SLOW  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(REASON is not None, reason=str(REASON)),
    pytest.mark.filterwarnings("ignore"),  # those of the peers are not ours
]

PAIRS = [
    pytest.param(
        case, name, marks=pytest.mark.benchmark(group=case.title), id=f"{case.name}-{name}"
    )
    for case in CASES
    for name in case.contenders
]


@functools.lru_cache(maxsize=1)  # the vast case is 4 GB: one problem at a time
def built(case: Case, quick: bool) -> tuple[Descent | Sweep, str, np.ndarray]:
    return session.built(case, quick, importlib.import_module("cupy"))


@pytest.mark.parametrize(("case", "contender"), PAIRS)
def test_step(benchmark: Any, case: Case, contender: str, quick: bool) -> None:
    if quick and contender in SLOW:
        pytest.skip("left out of the quick form")
    run, source, reference = built(case, quick)
    try:
        found = session.build(contender, run)
    except Gap as gap:
        pytest.skip(str(gap))
    error = timing.check(contender, found, run, reference)
    assert error <= timing.TOLERANCE[case.dtype]
    steps = max(1, case.steps // 20) if quick else case.steps
    benchmark.pedantic(found.advance, args=(steps,), rounds=3 if quick else 10, warmup_rounds=1)
    benchmark.extra_info.update(
        contender=contender,
        kind=kind(contender),
        steps=steps,
        note=found.note,
        data=source,
    )
    if benchmark.stats is not None:  # None under --benchmark-disable
        median = benchmark.stats.stats.median
        benchmark.extra_info["microseconds_per_step"] = median / steps * 1e6


@pytest.mark.benchmark(group=figure3.TITLE)
def test_figure3(benchmark: Any, quick: bool) -> None:
    try:
        found = benchmark.pedantic(figure3.measure, args=(quick,), rounds=1)
    except Gap as gap:
        pytest.skip(str(gap))
    benchmark.extra_info.update(seconds=found["seconds"], training=found["training_seconds"])
    assert found["seconds"] < figure3.MUST
