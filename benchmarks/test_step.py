"""A gradient step inside a run, every contender of every case: groups of pytest-benchmark.

The losses beside p = 4 are contenders, too, and so are batches, schedules and noise, in groups that
begin with "step: ". Contenders run one after the other here; ``python -m benchmarks`` and ``python
-m benchmarks losses`` or ``minibatches`` interleave them, and their ratios are the ones to quote.
"""

import functools
from typing import Any

import numpy as np
import pytest

from accel.losses import Loss
from benchmarks.groups import losses, minibatches, step
from benchmarks.harness import pytest_step, report
from benchmarks.harness.cases import CASES, ON_CPU, Case
from benchmarks.harness.data import load, shape_of
from benchmarks.harness.machine import peer_threads
from benchmarks.harness.reference import CHECK_STEPS, TOLERANCE, difference, reference_params
from benchmarks.peers import Descent, Gap, Sweep
from benchmarks.peers.minibatches import numpy_params


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


@functools.lru_cache(maxsize=1)
def run_of(case: Case, batch: minibatches.Batch, quick: bool) -> tuple[Any, str, Any, np.ndarray]:
    run, source = case.descent(peer_threads(), quick)
    rows = batch.of_steps(len(run.X))
    return run, source, rows, numpy_params(run, rows, CHECK_STEPS)


def _batches() -> list[Any]:
    """A group of the table is a case with a batch."""
    pairs = [(case.run, batch) for case in minibatches.CASES for batch in case.batches]
    return [
        pytest.param(
            case, batch, who, id=f"{case.name}-{batch.title(n)}-{who}",
            marks=pytest.mark.benchmark(group=f"step: minibatches, {case.title}, {batch.title(n)}"),
        )
        for case, batch, n in ((*pair, shape_of(pair[0].data)[0]) for pair in pairs)
        for who in minibatches.CONTENDERS
        if batch.peers or who not in (minibatches.TORCH, minibatches.JAX)
    ]  # fmt: skip


@pytest.mark.parametrize(("case", "batch", "who"), _batches())
def test_minibatch(
    benchmark: Any, case: Case, batch: minibatches.Batch, who: str, quick: bool
) -> None:
    run, source, rows, expected = run_of(case, batch, quick)
    if who == minibatches.ALL_ROWS:
        stepper = minibatches.our_steps(run, None, peer_threads())
    else:
        try:
            stepper = minibatches.built(who, run, batch, rows, peer_threads())
        except Gap as gap:
            pytest.skip(str(gap))
        stepper.advance(CHECK_STEPS)
        assert difference(run, expected, stepper.params()) <= TOLERANCE[case.dtype]
    steps = 20 if quick else 500
    benchmark.pedantic(stepper.advance, args=(steps,), rounds=3 if quick else 10, warmup_rounds=1)
    kind = "other" if who == minibatches.ALL_ROWS else report.kind(who)
    benchmark.extra_info.update(
        contender=who, kind=kind, steps=steps, threads=peer_threads(), data=source
    )


@pytest.mark.parametrize("variant", minibatches.VARIANTS)
@pytest.mark.parametrize(
    ("data", "batch"),
    [
        pytest.param(data, batch, marks=pytest.mark.benchmark(group=f"step: {title}"), id=title)
        for data, batch, title in (
            (*pair, minibatches.title_of(*pair, shape_of(pair[0])[0])) for pair in minibatches.STEPS
        )
    ],
)
def test_schedule_or_noise(
    benchmark: Any, data: str, batch: minibatches.Batch | None, variant: str, quick: bool
) -> None:
    loop = minibatches.loop(data, batch, variant, peer_threads(), quick)
    steps = 50 if quick else 1000
    benchmark.pedantic(loop.advance, args=(steps,), rounds=3 if quick else 10, warmup_rounds=1)
    assert len(loop.active) == 1
    assert np.isfinite(loop.evaluate()[0, 1:3]).all()
    benchmark.extra_info.update(contender=variant, kind="ours", steps=steps, threads=peer_threads())
