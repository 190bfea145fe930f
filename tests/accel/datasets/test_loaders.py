"""Data sets other than the gas problem and files, which have test files of their own."""

import sys

import numpy as np
import pytest

from accel.datasets import load_diabetes, make_ill_conditioned, two_points


def test_diabetes():
    pytest.importorskip("sklearn")
    data = load_diabetes()
    assert data.X.shape == (442, 10)
    assert (data.y.min(), data.y.max()) == (25, 346)
    np.testing.assert_allclose(np.linalg.norm(data.X, axis=0), 1)
    assert data.feature_names[:3] == ("age", "sex", "bmi")
    assert data.target_names == ("progression",)


def test_diabetes_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match="pip install 'implicit-accel"):
        load_diabetes()


def test_two_points():
    data = two_points(100, 1)
    np.testing.assert_array_equal(data.X, np.eye(2))
    np.testing.assert_array_equal(data.y, [100.0, 1.0])
    with pytest.raises(ValueError, match="y2"):
        two_points(1, float("inf"))
    with pytest.raises(TypeError, match="y1"):
        two_points("1", 1)


@pytest.mark.parametrize(
    ("n", "d", "condition"), [(50, 8, 1e6), (8, 8, 1.0), (300, 40, 5e9), (4, 1, 1.0), (9, 2, 1e12)]
)
def test_ill_conditioned(n, d, condition):
    data = make_ill_conditioned(n, d, condition, seed=3)
    spectrum = np.linalg.svd(data.X, compute_uv=False)
    assert (spectrum[0] / spectrum[-1]) ** 2 == pytest.approx(condition, rel=1e-8)
    ratios = spectrum[1:] / spectrum[:-1]
    np.testing.assert_allclose(ratios, condition ** (-0.5 / max(d - 1, 1)), rtol=1e-8)
    assert np.mean(data.X**2) == pytest.approx(1)
    assert data.y.shape == (n,)
    assert data.target_names == ("y",)


def test_ill_conditioned_targets():
    quiet = make_ill_conditioned(500, 6, noise=0, k=3)
    assert quiet.y.shape == (500, 3)
    assert quiet.target_names == ("y0", "y1", "y2")
    np.testing.assert_allclose(np.mean(quiet.y**2, axis=0), 1)
    W = np.linalg.lstsq(quiet.X, quiet.y, rcond=None)[0]
    np.testing.assert_allclose(quiet.X @ W, quiet.y, atol=1e-10)
    noisy = make_ill_conditioned(500, 6, noise=0.5, k=3)
    np.testing.assert_array_equal(noisy.X, quiet.X)
    assert np.std(noisy.y - quiet.y) == pytest.approx(0.5, rel=0.1)


def test_ill_conditioned_seed_and_dtype():
    first, again = (make_ill_conditioned(20, 4, seed=7) for _ in range(2))
    np.testing.assert_array_equal(first.X, again.X)
    np.testing.assert_array_equal(first.y, again.y)
    assert not np.array_equal(first.X, make_ill_conditioned(20, 4, seed=8).X)
    single = make_ill_conditioned(20, 4, seed=7, dtype="float32")
    assert single.X.dtype == single.y.dtype == np.float32
    np.testing.assert_array_equal(single.X, first.X.astype(np.float32))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n": 3, "d": 4}, ValueError, "n must be >= 4"),
        ({"n": 3, "d": 0}, ValueError, "d must"),
        ({"n": 3.0, "d": 2}, TypeError, "n must"),
        ({"n": 3, "d": 2, "condition": 0.5}, ValueError, "condition"),
        ({"n": 3, "d": 1, "condition": 2}, ValueError, "condition must be 1 for d = 1"),
        ({"n": 3, "d": 2, "noise": -1}, ValueError, "noise"),
        ({"n": 3, "d": 2, "k": 0}, ValueError, "k must"),
        ({"n": 3, "d": 2, "seed": -1}, ValueError, "seed"),
        ({"n": 3, "d": 2, "dtype": "int8"}, TypeError, "dtype"),
    ],
)
def test_ill_conditioned_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        make_ill_conditioned(**arguments)
