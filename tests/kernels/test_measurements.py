"""The form "measurements": losses of linear functions of the end-to-end matrix."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.kernels.cpu import loop
from accel.kernels.specs import ModelSpec

from .runs import DTYPES, PLAIN, RULES, Problem, Single
from .test_entries import POWERS, both, observed
from .test_loop_models import descent


def measured(seed=0, k=3, d=5, n=40, hidden=(4,), p=2.0, dtype=np.float64):
    """Gaussian measurements of a matrix, and a network to start from."""
    _, Y, loss, widths, params = observed(seed, k, d, n, hidden, p, dtype)
    A = np.random.default_rng(seed + 1).standard_normal((n, k * d)) / np.sqrt(k * d)
    return Problem(A.astype(dtype), Y, loss._replace(form="measurements"), widths, params)


@pytest.mark.parametrize("name", ["gradient descent", "adam", "end-to-end 3"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_measurements_of_a_network(plain, name, dtype):
    hidden = () if name.startswith("end-to-end") else (7, 4)
    both(plain, measured(hidden=hidden, dtype=dtype), RULES[name], 30)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 2),
    k=st.integers(1, 12),
    d=st.integers(1, 20),
    n=st.integers(1, 80),
    hidden=st.lists(st.integers(1, 20), max_size=2),
    p=st.sampled_from(POWERS),
    models=st.sampled_from([1, 2, 6]),
    threads=st.sampled_from([1, 3]),
)
def test_measurements_of_any_shape(plain, seed, k, d, n, hidden, p, models, threads):
    """One model, and several that share the reading of the measurements."""
    X, Y, loss, widths, params = measured(seed, k, d, n, hidden, p)
    chosen = [ModelSpec(widths, params / (m + 1), descent(1e-3)) for m in range(models)]
    chosen[1:2] = [ModelSpec((d, k), params[: k * d].copy(), descent(1e-3))] * (models > 1)
    if models > 1 and params.size < k * d:
        chosen.pop(1)
    with np.errstate(over="ignore", invalid="ignore"):
        ends = []
        for module in (loop, plain.loop):
            with module.TrainingLoop(X, Y, loss, chosen, threads) as run:
                run.advance(4, record_every=1)
                ends.append((run.evaluate(), run.take_history()[1]))
                ends[-1] += tuple(run.params(m) for m in range(len(chosen)))
    for ours, theirs in zip(*ends, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("models", [1, 3])
def test_measurements_cut_into_parts(plain, many_ranks, monkeypatch, models):
    """A team shares them as it shares samples; the same number of parts gives the same bits."""
    monkeypatch.setattr(loop, "_BYTES_PER_PART", 1)
    X, Y, loss, widths, params = measured(k=9, d=10, n=300, hidden=(6,))
    chosen = [ModelSpec(widths, params * (m + 1) / 2, descent(1e-2)) for m in range(models)]
    ends = []
    for module in (loop, loop, plain.loop):
        with module.TrainingLoop(X, Y, loss, chosen, 3) as run:
            assert run.threads == (3 if module is loop else 1)
            run.advance(20)
            ends.append(np.concatenate([run.params(m) for m in range(models)]))
    np.testing.assert_array_equal(ends[0], ends[1])
    np.testing.assert_allclose(ends[0], ends[2], rtol=1e-10, atol=1e-12)


def test_measurements_are_copied_only_to_be_padded():
    from accel.kernels.cpu import needs
    from accel.kernels.cpu.jit import aligned_zeros
    from accel.kernels.needs import Shape

    for d, copied in ((16, False), (15, True)):
        case = measured(k=4, d=d, n=50)
        A = aligned_zeros(case.X.size, np.float64).reshape(case.X.shape)
        A[:] = case.X
        with Single(loop, A, *case[1:], PLAIN) as run:
            data = run.loop._ranks._data
        assert np.shares_memory(data.X, A) is not copied
        said = needs.data_bytes(Shape(50, d, 4, np.dtype("f8"), "measurements"))
        assert said == {"a padded copy of the measurements": data.X.nbytes if copied else 0}
