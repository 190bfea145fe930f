"""A gradient step inside a run, every contender of every case: groups of pytest-benchmark.

The losses beside p = 4 are contenders, too, in groups that begin with "step: ". Contenders run one
after the other here; ``python -m benchmarks`` and ``python -m benchmarks losses`` interleave them,
and their ratios are the ones to quote.
"""

import functools
from typing import Any

import numpy as np
import pytest

from accel.losses import Loss
from benchmarks.groups import losses, step
from benchmarks.harness import pytest_step
from benchmarks.harness.cases import CASES, ON_CPU, Case
from benchmarks.harness.data import load
from benchmarks.harness.machine import peer_threads
from benchmarks.harness.reference import reference_params
from benchmarks.peers import Descent, Sweep


@functools.lru_cache(maxsize=1)
def built(case: Case, quick: bool) -> tuple[Descent | Sweep, str, np.ndarray]:
    run, source = case.descent(peer_threads(), quick)
    return run, source, reference_params(run)


@pytest.mark.parametrize(("case", "contender"), pytest_step.pairs((*CASES, *step.CASES)))
def test_step(benchmark: Any, case: Case, contender: str, quick: bool) -> None:
    pytest_step.run(benchmark, case, contender, quick, ON_CPU, built)


loaded = functools.lru_cache(maxsize=1)(load)


@pytest.mark.parametrize("loss", losses.LOSSES, ids=lambda loss: loss.name)
@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        pytest.param(
            data, dtype, marks=pytest.mark.benchmark(group=f"step: losses, {data}, {dtype}")
        )
        for data, dtype in losses.DATA
    ],
)
def test_loss(benchmark: Any, data: str, dtype: str, loss: Loss, quick: bool) -> None:
    X, Y, source = loaded(data, dtype, quick)
    loop = losses.loop(loss, X, Y, peer_threads())
    steps = 50 if quick else 1000
    benchmark.pedantic(loop.advance, args=(steps,), rounds=3 if quick else 10, warmup_rounds=1)
    value, norm = loop.evaluate()[0, 1:3]
    assert np.isfinite([value, norm]).all()
    assert norm > 0
    benchmark.extra_info.update(
        contender=loss.name, kind="ours", steps=steps, threads=peer_threads(), data=source
    )
