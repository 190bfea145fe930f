"""Arrays of PyTorch and JAX on the host: no copy is made where the layout fits."""

import logging

import numpy as np
import pytest

import accel
from accel._support import arrays

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(0)
DATA = RNG.standard_normal((64, 32))
TARGETS = RNG.standard_normal(64)
NETWORK_OPTIONS = {"init": "balanced", "seed": 0}


def tensors(dtype):
    """PyTorch puts what it allocates on 64-byte boundaries."""
    return torch.tensor(DATA, dtype=dtype), torch.tensor(TARGETS, dtype=dtype)


@pytest.fixture
def copies(monkeypatch, caplog):
    """Copies of any size are logged, with their shapes."""
    monkeypatch.setattr(arrays, "LARGE", -1)
    caplog.set_level(logging.INFO, logger="accel")

    def copied(shape):
        return [text for text in caplog.messages if text.startswith(f"copied {shape}")]

    return copied


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_problem_is_on_the_tensors(dtype, copies):
    X, y = tensors(dtype)
    problem = accel.LpProblem(X, y, p=4)
    assert problem.X.__array_interface__["data"][0] == X.data_ptr()
    assert problem.Y.__array_interface__["data"][0] == y.data_ptr()
    assert problem.Y.shape == (64, 1)
    assert f"torch.{problem.dtype}" == str(dtype)
    assert not copies("")
    X.mul_(2)  # shows that memory is shared
    np.testing.assert_array_equal(problem.X, X)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_train_and_sweep(dtype, copies):
    problem = accel.LpProblem(*tensors(dtype), p=4)
    network = accel.LinearNetwork.for_problem(problem, 2, **NETWORK_OPTIONS)
    trained = accel.train(problem, network, accel.GradientDescent(0.01), 20, threads=1)
    swept = accel.sweep(problem, [(network, accel.GradientDescent(0.01))], 20, threads=1)
    assert not copies(tuple(DATA.shape))
    same = accel.LpProblem(DATA, TARGETS, p=4, dtype=problem.dtype)
    expected = accel.train(same, network, accel.GradientDescent(0.01), 20, threads=1)
    np.testing.assert_array_equal(trained.network.params, expected.network.params)
    np.testing.assert_array_equal(swept.results[0].network.params, expected.network.params)
    X = tensors(dtype)[0]
    np.testing.assert_array_equal(expected.network.predict(X), expected.network.predict(X.numpy()))


@pytest.mark.parametrize("way", ["transposed", "every other row", "off the boundary"])
def test_a_layout_that_does_not_fit_is_copied(way, copies):
    X, y = tensors(torch.float64)
    other = {
        "transposed": lambda: X.T.contiguous().T,
        "every other row": lambda: torch.repeat_interleave(X, 2, 0)[::2],
        "off the boundary": lambda: torch.cat([y[:1], X.flatten()])[1:].view(X.shape),
    }[way]()
    problem = accel.LpProblem(other, y)
    assert len(copies(tuple(DATA.shape))) == 1
    np.testing.assert_array_equal(problem.X, DATA)


def test_jax(copies):
    """Read-only, and in float32 unless JAX is told otherwise."""
    jax = pytest.importorskip("jax")
    with jax.default_device(jax.devices("cpu")[0]):
        X, y = jax.numpy.asarray(DATA, "float32"), jax.numpy.asarray(TARGETS, "float32")
    problem = accel.LpProblem(X, y)
    aligned = X.unsafe_buffer_pointer() % 64 == 0
    assert len(copies(tuple(DATA.shape))) == (not aligned)
    if aligned:
        assert problem.X.__array_interface__["data"][0] == X.unsafe_buffer_pointer()
    network = accel.LinearNetwork.for_problem(problem, 2, **NETWORK_OPTIONS)
    assert accel.train(problem, network, accel.GradientDescent(0.01), 5).status == "completed"
