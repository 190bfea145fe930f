"""A step of networks of square matrices, every contender of every case: groups of pytest-benchmark.

Contenders run one after the other here; ``python -m benchmarks matrix`` interleaves them, and its
ratios are the ones to quote.
"""

import functools
from typing import Any

import numpy as np
import pytest

from benchmarks.groups import matrix
from benchmarks.harness import pytest_step
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
