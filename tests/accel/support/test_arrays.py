"""Arrays of other libraries, on the host and on a GPU, which a stand-in replaces where needed."""

import logging

import numpy as np
import pytest

from accel import LpProblem
from accel._support import arrays, gpu
from accel._support.validation import numeric

from ..device import CUDA, HOST, DeviceArray, OnlyDLPack, OnlyInterface

A = np.arange(6.0).reshape(3, 2)


@pytest.mark.parametrize(
    ("a", "expected"),
    [
        (A, False),
        (A.tolist(), False),
        (None, False),
        (OnlyDLPack(A, HOST), False),
        (OnlyDLPack(A, CUDA), True),
        (OnlyDLPack(A, (13, 0)), True),
        (OnlyInterface(A), True),
        (DeviceArray(A), True),
    ],
)
def test_on_device(a, expected):
    assert arrays.on_device(a) == expected


def test_the_host_side_of_dlpack_is_not_copied():
    assert np.shares_memory(numeric("X", OnlyDLPack(A, HOST), ndim=(2,)), A)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_torch_tensor_is_not_copied(dtype):
    torch = pytest.importorskip("torch")
    a = np.zeros((4096, 64), dtype)  # large enough to be on a page of its own, so aligned
    tensor = torch.from_numpy(a)
    assert np.shares_memory(numeric("X", tensor, ndim=(2,)), a)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_arrays_that_must_not_be_written_to_are_fine(backend):
    """For example JAX's."""
    a = LpProblem(A, [1.0, 2.0, 4.0]).X
    a.flags.writeable = False
    problem = LpProblem(a, [1.0, 2.0, 4.0])
    assert problem.X is a
    assert problem.loss([0.0, 1.0], backend=backend) > 0


def test_a_tensor_that_cannot_be_shared():
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match=r"X cannot be read: .*requires grad.*detach"):
        numeric("X", torch.zeros(3, 2, requires_grad=True), ndim=(2,))
    error = BufferError("Can't export tensors\nthat require gradient")
    with pytest.raises(ValueError, match="X cannot be read: Can't export tensors that require"):
        numeric("X", OnlyDLPack(A, HOST, error), ndim=(2,))


@pytest.mark.parametrize("other", [DeviceArray, OnlyDLPack, OnlyInterface])
def test_what_is_on_the_device_is_not_copied(gpu_stand_in, other):
    array = numeric("X", other(A), ndim=(2,), device=True)
    assert isinstance(array, DeviceArray)
    assert np.shares_memory(array._memory, A)
    copy = numeric("X", other(A), ndim=(2,))
    assert type(copy) is np.ndarray
    assert not np.shares_memory(copy, A)
    np.testing.assert_array_equal(copy, A)


@pytest.mark.parametrize("other", [DeviceArray, OnlyDLPack, OnlyInterface])
def test_a_gpu_that_cannot_be_used(monkeypatch, other):
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)
    monkeypatch.setattr(gpu, "_device_or_reason", lambda: "the package cupy is not installed")
    for device in (True, False):
        with pytest.raises(ValueError, match=r"W is on a CUDA device.*: the package cupy"):
            numeric("W", other(A), ndim=(2,), device=device)
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    with pytest.raises(ValueError, match=r"W is on a CUDA device.*NUMBA_ENABLE_CUDASIM"):
        numeric("W", other(A), ndim=(2,), device=True)


def test_another_device(gpu_stand_in):
    with pytest.raises(ValueError, match=r"X must be on CUDA device 0, got device 1.*VISIBLE"):
        numeric("X", DeviceArray(A, device=1), ndim=(2,), device=True)


@pytest.mark.parametrize(
    ("error", "match", "a"),
    [
        (ValueError, r"X must have 2 dimensions, got shape \(6,\)", A.ravel()),
        (ValueError, "X must not be empty", A[:0]),
        (TypeError, "X must hold real numbers, got dtype complex", A * 1j),
    ],
)
def test_bad_arrays_on_the_device(gpu_stand_in, error, match, a):
    with pytest.raises(error, match=match):
        numeric("X", DeviceArray(a), ndim=(2,), device=True)


def test_large_copies_are_logged(gpu_stand_in, monkeypatch, caplog):
    monkeypatch.setattr(arrays, "LARGE", 10)
    with caplog.at_level(logging.INFO, logger="accel"):
        array = arrays.as_device("X", A)
        arrays.to_host(array)
        arrays.contiguous(array, np.dtype("f4"))
        assert arrays.contiguous(array, np.dtype("f8")) is array
        assert arrays.as_device("X", array) is array
    assert [record.getMessage().split(") ")[-1] for record in caplog.records] == [
        "to the GPU", "to the host", "on the GPU",
    ]  # fmt: skip


@pytest.mark.gpu
@pytest.mark.parametrize("library", ["cupy", "torch", "jax"])
def test_real_arrays_are_not_copied(library):
    import cupy

    if library == "cupy":
        a = cupy.asarray(A)
        pointer = a.data.ptr
    elif library == "torch":
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("this torch has no CUDA")
        a = torch.from_numpy(A.copy()).cuda()
        pointer = a.data_ptr()
    else:
        jax = pytest.importorskip("jax")
        if jax.default_backend() != "gpu":
            pytest.skip("this JAX has no CUDA")
        a = jax.numpy.asarray(A, dtype="float32")
        pointer = a.unsafe_buffer_pointer()
    array = numeric("X", a, ndim=(2,), device=True)
    assert isinstance(array, cupy.ndarray)
    assert array.data.ptr == pointer
    assert arrays.contiguous(array, array.dtype) is array
    np.testing.assert_array_equal(arrays.to_host(array), A)
    np.testing.assert_array_equal(numeric("X", a, ndim=(2,)), A)
    into = np.empty(A.shape, array.dtype)
    assert arrays.to_host(array, into) is into
