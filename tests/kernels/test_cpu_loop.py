"""What only the compiled loop can get wrong: its team, its padding, its view of the data."""

import numpy as np
import pytest

from accel.kernels.cpu import loop
from accel.kernels.reference import loop as plain
from accel.kernels.specs import (
    ADADELTA,
    ADAGRAD,
    ADAM,
    GRADIENT_DESCENT,
    RUNNING,
    STOPPED,
    TARGET,
    Loss,
    Rule,
)

DESCENT = Rule(GRADIENT_DESCENT, (1e-3, 0.0, 0.0, 0.0, 0.0))


def problem(n=203, d=17, dtype=np.float64):
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((n, d)).astype(dtype), rng.standard_normal((n, 1)).astype(dtype)
    return X, Y, Loss(4.0), (d, 1), np.full(d, 0.01, dtype)


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_in_one_rank_frees_the_other(rank):
    run = loop.TrainingLoop(*problem(3000, 128), DESCENT, threads=2)
    assert run.threads == 2
    kernel = run._kernel

    def broken(*arguments):
        if arguments[-1] == rank:
            raise MemoryError("no more")
        return kernel(*arguments)

    run._kernel = broken
    with run, pytest.raises(MemoryError, match="no more"):
        run.advance(3)


def test_a_request_to_stop_outlives_a_call_that_ended_otherwise():
    with loop.TrainingLoop(*problem(), DESCENT) as run:
        run.stop()
        assert run.advance(5, target=np.inf) == TARGET
        assert run.advance(0) == RUNNING
        assert run.advance(5) == STOPPED
        assert run.advance(5) == RUNNING


def test_read_only_data_compile_nothing_new():
    X, Y, *rest = problem(64, 16)
    with loop.TrainingLoop(X, Y, *rest, DESCENT) as run:
        before = len(run._kernel.signatures)
    for array in (X, Y):
        array.flags.writeable = False
    with loop.TrainingLoop(X, Y, *rest, DESCENT) as run:
        assert len(run._kernel.signatures) == before
        assert run.advance(3) == RUNNING


@pytest.mark.parametrize("kind", [ADAGRAD, ADADELTA])
def test_padding_stays_zero_where_eps_underflows(kind):
    """17 columns are padded; 1e-50 is 0 in float32."""
    rule = Rule(kind, (0.01, 0.0, 0.9, 0.0, 1e-50))
    with loop.TrainingLoop(*problem(dtype=np.float32), rule) as run:
        assert run.advance(5) == RUNNING
        assert np.isfinite(run.evaluate()).all()


def test_adam_with_a_beta_that_rounds_to_one():
    """1 - 0.99999999 is 0 in float32 if it is rounded before it is subtracted."""
    rule = Rule(ADAM, (1e-3, 0.0, 0.9, 0.99999999, 1e-8))
    ends = []
    for module in (loop, plain):
        with module.TrainingLoop(*problem(dtype=np.float32), rule) as run:
            assert run.advance(20) == RUNNING
            ends.append(run.params)
    np.testing.assert_allclose(*ends, rtol=1e-3)
