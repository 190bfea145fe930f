"""Wherever the package converts integers to floats, none is rounded unless a dtype asks for it."""

import numpy as np
import pytest

from accel import LinearNetwork, LpProblem, standardize
from accel._support import validation
from accel.datasets import load_file

from .device import DeviceArray

ODD32, ODD64 = 2**24 + 1, 2**53 + 1
SINGLE = np.ones((2, 1), np.float32)
F4, F8 = np.dtype("f4"), np.dtype("f8")


def test_the_cases():
    with pytest.raises(TypeError, match=r'y\[0\] = 16777217: pass dtype="float32".*"float64"'):
        LpProblem(SINGLE[:1], np.array([ODD32]), 2)
    with pytest.raises(TypeError, match=r'X\[0, 0\] = 9007199254740993: pass dtype="float64"'):
        LpProblem(np.array([[ODD64]]), [0.0])
    assert LpProblem(SINGLE[:1], [ODD32], 2, dtype="f8").loss([0.0]) == ODD32**2
    assert LpProblem(SINGLE[:1], [ODD32], 2, dtype="f4").Y[0, 0] == 2**24
    assert LpProblem([[ODD64]], [0.0], dtype="f8").X[0, 0] == 2**53


@pytest.mark.parametrize("odd", [ODD64, -ODD64, 2**63 - 1, -(2**63) + 1, 3**37, 2**60 + 2**7])
def test_integers_with_more_digits_than_float64(odd):
    assert int(float(odd)) != odd
    column = [[1.0], [2.0]]
    for y in (np.array([0, odd]), [0, odd], (0, np.int64(odd)), [0.5, odd], [np.float64(0), odd]):
        X = y[:, np.newaxis] if isinstance(y, np.ndarray) else [[a] for a in y]
        with pytest.raises(TypeError, match=rf"X\[1, 0\] = {odd}: pass dtype="):
            LpProblem(X, [0, 1])
        with pytest.raises(TypeError, match=rf"y\[1\] = {odd}: pass dtype="):
            LpProblem(column, y)
        with pytest.raises(TypeError, match=rf"X\[1, 0\] = {odd}: convert it"):
            standardize(X, [0, 1])
        with pytest.raises(TypeError, match=rf"y\[1\] = {odd}: convert it"):
            standardize(column, y)


@pytest.mark.parametrize("odd", [2**64 - 1, 2**63 + 2**10 + 1])
def test_unsigned(odd):
    for y in (np.array([0, odd], np.uint64), [0, odd], [-1, odd]):
        with pytest.raises(TypeError, match=rf"y\[1\] = {odd}: "):
            LpProblem([[1.0], [2.0]], y)
    with pytest.raises(TypeError, match=r"y must hold real numbers.*18446744073709551617"):
        LpProblem([[1.0], [2.0]], [0, 2**64 + 1])


EXACT = [2**53, -(2**53), 2**60, -(2**63), (2**53 - 1) * 2**10, -(2**53 - 1) * 2**10, 10**18]


def test_integers_that_fit_are_taken():
    for y in (EXACT, np.array(EXACT), [*EXACT, 0.5], [1e300, *EXACT]):
        problem = LpProblem(np.ones((len(y), 1)), y)
        assert problem.Y[:, 0].tolist() == list(y)
    for fits in (2**24, -(2**24), 2**31 - 2**7, 2**62):
        assert LpProblem(SINGLE, [0, fits]).Y[1, 0] == fits
    assert LpProblem(SINGLE, np.array([0, 2**64 - 2**40], np.uint64)).Y[1, 0] == 2**64 - 2**40
    small = np.arange(-128, 128, dtype=np.int8)
    assert LpProblem(np.ones((256, 1), "f4"), small).dtype == F4
    assert LpProblem(np.ones((2, 1), "f4"), np.array([True, False])).dtype == F4


@pytest.mark.parametrize("dtype", ["i4", "u4", "i8", "u8"])
def test_integers_beside_float32(dtype):
    for odd in (ODD32, 2**31 - 1):
        with pytest.raises(TypeError, match=rf"y\[1\] = {odd}: .*float32"):
            LpProblem(SINGLE, np.array([0, odd], dtype))
        assert LpProblem(SINGLE, np.array([0, odd], dtype), dtype="f8").Y[1, 0] == odd


@pytest.mark.parametrize("dtype", ["i4", "u4", "i8", "u8"])
@pytest.mark.parametrize("target", [F4, F8])
def test_every_number_of_binary_digits(dtype, target):
    """Compared with Python's integers."""
    rng, kind, digits = np.random.default_rng(0), np.iinfo(dtype), np.finfo(target).nmant + 1
    for bits in range(1, kind.bits):
        for trailing in range(bits):
            value = (int(rng.integers(2**62)) | 1 << 62) >> (62 - (bits - 1 - trailing))
            value = (value | 1) << trailing
            value = min(value, kind.max)
            for signed in {value, max(-value, kind.min)}:
                size = abs(signed)
                fits = size == 0 or (size // (size & -size)).bit_length() <= digits
                array = np.array([[0, signed]], dtype)
                if fits:
                    validation.unrounded("X", array, target, array, "")
                else:
                    with pytest.raises(TypeError, match=rf"X\[0, 1\] = {signed}: "):
                        validation.unrounded("X", array, target, array, "")


def test_nothing_is_copied_where_all_is_small():
    """The check takes two reductions and no copy."""

    class Counted(np.ndarray):
        def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
            assert method == "reduce"
            plain = (np.asarray(a) for a in inputs)
            return getattr(ufunc, method)(*plain, **keywords)

    validation.unrounded("X", np.arange(6).view(Counted), F8, None, "")


def test_frames_of_integers_and_fractions():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": [0.5, 1.5], "b": [0, ODD64]})
    for made in (lambda: LpProblem(frame, [0, 1]), lambda: standardize(frame, [0, 1])):
        with pytest.raises(TypeError, match=rf"X\[1, 1\] = {ODD64}: "):
            made()
    with pytest.raises(TypeError, match=rf"y\[1\] = {ODD64}: "):
        LpProblem([[0.0], [1.0]], frame["b"])
    assert LpProblem(frame, [0, 1], dtype="f8").X[1, 1] == 2**53
    assert LpProblem(frame.assign(b=[0, 2**60]), [0, 1]).X[1, 1] == 2**60


def test_tensors():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=rf"y\[1\] = {ODD64}: "):
        LpProblem(torch.ones(2, 1), torch.tensor([0, ODD64]), dtype=None)
    assert LpProblem(torch.ones(2, 1), torch.tensor([0, 2**60])).Y[1, 0] == 2**60


def test_on_the_device(gpu_stand_in):
    ones, odd = DeviceArray(np.ones((2, 1))), DeviceArray(np.array([0, ODD64]))
    with pytest.raises(TypeError, match=rf"y\[1\] = {ODD64}: "):
        LpProblem(ones, odd)
    assert int(LpProblem(ones, odd, dtype="f8").Y[1, 0]) == 2**53
    assert int(LpProblem(ones, DeviceArray(np.array([0, -(2**60)]))).Y[1, 0]) == -(2**60)


def test_networks():
    for init in ([np.array([[ODD64]])], [[[ODD64]]], np.array([[[ODD64]]])):
        with pytest.raises(TypeError, match=rf"init\[0\]\[0, 0\] = {ODD64}: convert it"):
            LinearNetwork((1, 1), init=init)
        with pytest.raises(TypeError, match=rf"init\[0\]\[0, 0\] = {ODD64}: convert it"):
            LinearNetwork((1, 1), init=init, dtype="f4")
    assert LinearNetwork((1, 1), init=[[[ODD32]]]).params[0] == ODD32
    assert LinearNetwork((1, 1), init=[np.array([[ODD64]]).astype(float)]).params[0] == 2**53
    single = LpProblem(SINGLE, np.float32([0, 1]))
    with pytest.raises(TypeError, match=rf"init\[0\]\[0, 0\] = {ODD32}: convert it"):
        LinearNetwork.for_problem(single, 1, init=[[[ODD32]]])
    network = LinearNetwork.for_problem(single, 1, init=[[[2.0]]])
    for params in ([ODD32], np.array([ODD32])):
        with pytest.raises(TypeError, match=rf"params\[0\] = {ODD32}: convert it"):
            network.with_params(params)
    assert network.with_params([2**30]).params[0] == 2**30


def test_files(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, X=np.array([[1], [ODD64]]), y=np.array([0, 1]))
    with pytest.raises(ValueError, match=rf"a.npz: X .*X\[1, 0\] = {ODD64}: save it as float64"):
        load_file(path)


def test_chunks_on_workers():
    pytest.importorskip("distributed")
    from accel.distributed.chunks import Extent, lay_out

    X, y = np.ones((2, 1), np.float32), np.array([0, ODD32])
    with pytest.raises(TypeError, match=rf"y\[11\] = {ODD32}: pass dtype="):
        lay_out(Extent(10, 2, 1, 1, F4, True), X, y)
    assert lay_out(Extent(10, 2, 1, 1, F4), X, y).Y[1, 0] == 2**24
