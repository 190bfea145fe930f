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
from benchmarks.harness import pytest_step
from benchmarks.harness.cases import Case
from benchmarks.peers import Descent, Gap, Sweep

REASON = gpu.reason()
if REASON is None:
    gpu.fair_environment()

from benchmarks.groups.gpu import figure3, session  # noqa: E402  # import nothing of the GPU themselves
from benchmarks.groups.gpu.cases import CASES, ON_GPU  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(REASON is not None, reason=str(REASON)),
    pytest.mark.filterwarnings("ignore"),  # those of the peers are not ours
]


@functools.lru_cache(maxsize=1)  # the vast case is 4 GB: one problem at a time
def built(case: Case, quick: bool) -> tuple[Descent | Sweep, str, np.ndarray]:
    return session.built(case, quick, importlib.import_module("cupy"))


@pytest.mark.parametrize(("case", "contender"), pytest_step.pairs(CASES))
def test_step(benchmark: Any, case: Case, contender: str, quick: bool) -> None:
    pytest_step.run(benchmark, case, contender, quick, ON_GPU, built)


@pytest.mark.benchmark(group=figure3.TITLE)
def test_figure3(benchmark: Any, quick: bool) -> None:
    try:
        result = benchmark.pedantic(figure3.measure, args=(quick,), rounds=1)
    except Gap as gap:
        pytest.skip(str(gap))
    benchmark.extra_info.update(seconds=result["seconds"], training=result["training_seconds"])
    assert result["seconds"] < figure3.MUST
