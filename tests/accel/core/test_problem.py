import dataclasses
import logging
import pickle

import numpy as np
import pytest

import accel
from accel import LpProblem, standardize
from accel._core.base import BaseProblem
from accel._support import arrays
from accel._support.arrays import aligned
from accel.kernels.specs import Loss

BACKENDS = ["reference", "cpu"]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((12, 3))
Y = RNG.standard_normal((12, 2))
y = Y[:, 0]


def address(a):
    return a.__array_interface__["data"][0]


def off_by(n_bytes, shape, dtype=np.float64):
    """Return zeros that start so many bytes behind a 64-byte boundary."""
    raw = np.zeros(int(np.prod(shape)) * np.dtype(dtype).itemsize + 128, np.uint8)
    start = -address(raw) % 64 + n_bytes
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return raw[start : start + size].view(dtype).reshape(shape)


def test_aligned_takes_what_fits():
    a = off_by(0, (5, 4))
    assert aligned(a) is a
    assert LpProblem(a, np.ones(5)).X is a


@pytest.mark.parametrize(
    "a",
    [
        off_by(8, (5, 4)),
        np.asfortranarray(off_by(0, (5, 4))),
        off_by(0, (10, 4))[::2],
        off_by(0, (5, 8))[:, ::-2],
        off_by(0, (5, 4), np.dtype(">f8")),
    ],
    ids=["misaligned", "F order", "strided rows", "reversed columns", "foreign byte order"],
)
def test_data_is_laid_out_once(a):
    a[...] = RNG.standard_normal(a.shape)
    problem = LpProblem(a, np.ones(5))
    assert address(problem.X) % 64 == 0
    assert address(problem.Y) % 64 == 0
    assert problem.X.flags.c_contiguous
    assert problem.X.dtype == np.float64
    np.testing.assert_array_equal(problem.X, a)
    assert LpProblem(problem.X, problem.Y).X is problem.X


def test_a_large_copy_is_logged_once(monkeypatch, caplog):
    monkeypatch.setattr(arrays, "LARGE", 100)
    with caplog.at_level(logging.INFO, logger="accel"):
        LpProblem(off_by(8, (20, 2)), np.ones(20, np.float32), dtype="float64")
    assert [record.getMessage().split()[0] for record in caplog.records] == ["copied", "copied"]
    caplog.clear()
    monkeypatch.undo()
    with caplog.at_level(logging.INFO, logger="accel"):
        LpProblem(off_by(8, (20, 2)), np.ones(20))
    assert not caplog.records


def arrays_of(dtype, n=9):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 3)).astype(dtype), rng.standard_normal(n).astype(dtype)


@pytest.mark.parametrize("name", ["X", "Y", "p", "method", "n", "nonsense"])
def test_it_cannot_be_changed(name):
    problem = LpProblem(*arrays_of(float))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(problem, name, 1)


def test_a_pickled_problem_is_the_same():
    problem = LpProblem(*arrays_of(np.float32), p=2, scale="1/p", method="direct")
    copy = pickle.loads(pickle.dumps(problem))
    assert repr(copy) == repr(problem)
    assert copy.spec == problem.spec
    np.testing.assert_array_equal(copy.X, problem.X)
    np.testing.assert_array_equal(copy.Y, problem.Y)


def test_attributes():
    problem = LpProblem(X, Y, p=3, scale="1/p")
    assert (problem.n, problem.d, problem.k, problem.p) == (12, 3, 2, 3.0)
    assert problem.factor == pytest.approx(1 / 3)
    assert problem.spec == Loss(3.0, 1 / 3, "direct")
    assert LpProblem(X, y).Y.shape == (12, 1)
    assert LpProblem(X, y).factor == 1.0
    assert repr(problem).startswith("LpProblem(n=12, d=3, k=2, p=3, scale='1/p'")
    with pytest.raises(AttributeError):
        problem.p = 0.5


@pytest.mark.parametrize(
    ("x_type", "y_type", "dtype", "expected"),
    [
        ("f8", "f8", None, "f8"),
        ("i4", "i8", None, "f8"),
        ("?", "f4", None, "f8"),
        ("f2", "f8", None, "f8"),
        ("f4", "f4", None, "f4"),
        ("f4", "i8", None, "f4"),
        ("f8", "f4", None, "f8"),
        ("f4", "f8", "float64", "f8"),
        ("f4", "f8", np.float32, "f4"),
        ("f8", "f8", "f4", "f4"),
        ("g", "g", "f8", "f8"),
    ],
)
def test_dtype(x_type, y_type, dtype, expected):
    problem = LpProblem(np.ones((3, 1), x_type), np.ones(3, y_type), dtype=dtype)
    assert problem.dtype == problem.X.dtype == problem.Y.dtype == np.dtype(expected)


def test_nothing_is_rounded_unasked():
    with pytest.raises(TypeError, match=r"float32.*float64"):
        LpProblem(np.ones((3, 1), "f4"), np.ones(3))
    if np.dtype("g").itemsize > 8:
        with pytest.raises(TypeError, match="dtype"):
            LpProblem(np.ones((3, 1), "g"), np.ones(3))


@pytest.mark.parametrize(
    ("n", "p", "dtype", "method", "expected"),
    [
        (7, 2, "f8", "auto", "gram"),
        (6, 2, "f8", "auto", "direct"),
        (7, 2, "f4", "auto", "direct"),
        (7, 4, "f8", "auto", "direct"),
        (7, 2, "f8", "direct", "direct"),
        (2, 2, "f8", "gram", "gram"),
        (7, 2, "f8", "spectral", "gram"),
        (7, 4, "f8", "rowspace", "direct"),
    ],
)
def test_the_form_for_any_rule(n, p, dtype, method, expected):
    problem = LpProblem(np.ones((n, 3)), np.ones(n), p=p, dtype=dtype, method=method)
    assert problem.method == method
    assert problem.form() == expected


def changed(a, value):
    a = np.array(a)
    a[2, 1] = value
    return a


BAD = {
    "X nan": (ValueError, r"X\[2, 1\] = nan", {"X": changed(X, np.nan)}),
    "X inf": (ValueError, r"X\[2, 1\] = -inf", {"X": changed(X, -np.inf)}),
    "X inf and -inf": (ValueError, "X", {"X": np.array([[np.inf], [-np.inf]]), "y": [1, 2]}),
    "X too large for float32": (
        ValueError,
        r"float32.*X\[2, 1\] = 1e\+60",
        {"X": changed(X, 1e60), "dtype": "f4"},
    ),
    "y nan": (ValueError, r"y\[1\] = nan", {"y": np.r_[1, np.nan, y[2:]]}),
    "Y nan": (ValueError, r"y\[2, 1\] = nan", {"y": changed(Y, np.nan)}),
    "X 1-D": (ValueError, r"X .*\(12,\)", {"X": y}),
    "X 3-D": (ValueError, r"X .*\(12, 3, 1\)", {"X": X[..., None]}),
    "y 0-D": (ValueError, r"y .*\(\)", {"y": 1.0}),
    "y 3-D": (ValueError, "y ", {"y": X[..., None]}),
    "lengths": (ValueError, r"X and y.*\(12, 3\).*\(11,\)", {"y": y[:11]}),
    "no rows": (ValueError, r"X .*empty.*\(0, 3\)", {"X": X[:0], "y": y[:0]}),
    "no columns": (ValueError, r"X .*empty.*\(12, 0\)", {"X": X[:, :0]}),
    "no outputs": (ValueError, r"y .*empty.*\(12, 0\)", {"y": Y[:, :0]}),
    "ragged": (ValueError, "X .*rectangular", {"X": [[1, 2], [3]]}),
    "objects": (TypeError, "X .*object", {"X": X.astype(object)}),
    "None": (TypeError, "y .*None", {"y": None}),
    "strings": (TypeError, "X .*<U", {"X": X.astype(str)}),
    "complex": (TypeError, "X .*complex", {"X": X * 1j}),
    "dates": (TypeError, "y .*datetime", {"y": np.zeros(12, "M8[s]")}),
    "masked": (ValueError, "X .*masked", {"X": np.ma.masked_less(X, 0)}),
    "p below 1": (ValueError, "p .*0.99", {"p": 0.99}),
    "p nan": (ValueError, "p .*nan", {"p": float("nan")}),
    "p inf": (ValueError, "p .*inf", {"p": np.inf}),
    "p huge": (ValueError, "p .*1000", {"p": 10**400}),
    "p string": (TypeError, "p .*'4'", {"p": "4"}),
    "p bool": (TypeError, "p .*True", {"p": True}),
    "p complex": (TypeError, "p .*2j", {"p": 2j}),
    "scale": (ValueError, "scale .*'means'.*did you mean 'mean'", {"scale": "means"}),
    "scale None": (TypeError, "scale .*None", {"scale": None}),
    "method": (ValueError, "method .*'grams'.*'gram'", {"method": "grams"}),
    "gram with p 4": (ValueError, "gram.*p = 4", {"method": "gram"}),
    "spectral with p 4": (ValueError, "spectral.*p = 4", {"method": "spectral"}),
    "gram in float32": (
        ValueError,
        "gram.*float64.*float32",
        {"method": "gram", "p": 2, "dtype": "float32"},
    ),
    "dtype int": (TypeError, "dtype .*int", {"dtype": int}),
    "dtype half": (TypeError, "dtype .*float16", {"dtype": "float16"}),
    "dtype nonsense": (TypeError, "dtype .*'nonsense'", {"dtype": "nonsense"}),
}


@pytest.mark.parametrize(("error", "match", "arguments"), BAD.values(), ids=BAD)
def test_bad_input(error, match, arguments):
    with pytest.raises(error, match=match) as caught:
        LpProblem(**{"X": X, "y": y, **arguments})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_values_near_the_largest_are_fine():
    """The sum of these numbers overflows, although all of them are finite."""
    assert LpProblem(np.full((4, 1), 1.7e308), np.ones(4)).n == 4


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("p", [1, 1.5, 2, 3, 4])
@pytest.mark.parametrize("scale", ["mean", "1/p"])
def test_loss_and_gradient(backend, p, scale):
    problem = LpProblem(X, Y, p=p, scale=scale)
    W = RNG.standard_normal((2, 3))
    residual = X @ W.T - Y
    expected = (abs(residual) ** p).sum() / 12 / (p if scale == "1/p" else 1)
    assert problem.loss(W, backend=backend) == pytest.approx(expected, rel=1e-13)
    slope = np.sign(residual) * abs(residual) ** (p - 1) * (1 if scale == "1/p" else p)
    np.testing.assert_allclose(problem.gradient(W, backend=backend), slope.T @ X / 12, rtol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradient_has_the_shape_of_the_weights(backend):
    problem = LpProblem(X, y)
    flat = problem.gradient([1, 2, 3], backend=backend)
    matrix = problem.gradient([[1, 2, 3]], backend=backend)
    assert flat.shape == (3,)
    np.testing.assert_array_equal(matrix, [flat])
    single = LpProblem(X, y, dtype="f4")
    assert single.gradient(np.ones(3), backend=backend).dtype == np.float32


@pytest.mark.parametrize(
    ("error", "W"),
    [
        (ValueError, np.ones(6)),
        (ValueError, np.ones((3, 2))),
        (ValueError, np.ones(())),
        (ValueError, np.full((2, 3), np.nan)),
        (TypeError, np.full((2, 3), None)),
        (TypeError, "W"),
    ],
)
def test_bad_weights(error, W):
    with pytest.raises(error, match="W "):
        LpProblem(X, Y).loss(W, backend="reference")


def test_unknown_backend():
    with pytest.raises(ValueError, match=r"backend .*'cpus'.*'cpu'"):
        LpProblem(X, Y).loss(np.ones((2, 3)), backend="cpus")


@pytest.mark.parametrize("targets", [y, Y], ids=["one output", "two outputs"])
def test_standardize(targets):
    raw = X * [1e-3, 1.0, 1e6] + [5.0, 0.0, -1e7]
    data = standardize(raw, targets * 40 + 100)
    np.testing.assert_allclose(data.X.mean(axis=0), 0, atol=1e-11)
    np.testing.assert_allclose((data.X**2).mean(axis=0), 1, rtol=1e-13)
    np.testing.assert_allclose((data.y**2).mean(axis=0), 1, rtol=1e-13)
    np.testing.assert_allclose(data.x_scale, raw.std(axis=0), rtol=1e-13)
    assert data.y.shape == targets.shape
    assert LpProblem(data.X, data.y).X is data.X  # laid out for it already


@pytest.mark.parametrize("targets", [y, Y], ids=["one output", "two outputs"])
def test_predictions_come_back_in_the_users_units(targets):
    raw, wanted = X * [1e-3, 1.0, 1e6] + [5.0, 0.0, -1e7], targets * 40 + 100
    data = standardize(raw, wanted)
    W = np.linalg.lstsq(data.X, data.y, rcond=None)[0].T
    prediction = data.predict(W, raw)
    assert prediction.shape == wanted.shape
    np.testing.assert_allclose(prediction.mean(axis=0), wanted.mean(axis=0))
    np.testing.assert_allclose(data.X.T @ (prediction - wanted), 0, atol=1e-9)
    coef, intercept = data.coefficients(W)
    assert coef.shape == W.shape
    assert intercept.shape == wanted.shape[1:]
    np.testing.assert_allclose(raw @ coef.T + intercept, prediction, rtol=1e-9)
    if targets is y:
        np.testing.assert_array_equal(data.predict(W.reshape(1, 3), raw), prediction)
        assert data.coefficients(W.reshape(1, 3))[0].shape == (3,)


def test_constant_columns():
    raw = np.column_stack([X[:, 0], np.full(12, 0.1), np.zeros(12)])
    data = standardize(raw, np.full(12, 1e9 + 0.1))
    np.testing.assert_array_equal(data.X[:, 1:], 0)
    np.testing.assert_array_equal(data.x_scale[1:], 1)
    np.testing.assert_array_equal(data.y, 0)
    assert data.y_scale == 1
    np.testing.assert_array_equal(data.predict(np.zeros(3), raw), 1e9 + 0.1)


def test_tiny_and_huge_columns():
    data = standardize(X * [1e-200, 1.0, 1e200], y)
    np.testing.assert_allclose((data.X**2).mean(axis=0), 1, rtol=1e-13)


def test_standardize_keeps_float32_and_widens_integers():
    data = standardize(X.astype("f4"), y.astype("f4"))
    assert data.X.dtype == data.y.dtype == np.float32
    assert data.x_mean.dtype == np.float64
    assert standardize(np.arange(6).reshape(3, 2), [1, 2, 4]).X.dtype == np.float64


@pytest.mark.parametrize("bad", [BAD[name] for name in ("X nan", "y nan", "lengths", "objects")])
def test_standardize_checks_its_input(bad):
    error, match, arguments = bad
    with pytest.raises(error, match=match):
        standardize(**{"X": X, "y": y, **arguments})


def test_standardized_checks_its_input():
    data = standardize(X, Y)
    with pytest.raises(ValueError, match="W "):
        data.predict(np.ones(3), X)
    with pytest.raises(ValueError, match=r"X_new .*3 columns"):
        data.predict(np.ones((2, 3)), X[:, :2])


def test_public_names():
    assert accel.LpProblem is LpProblem
    assert accel.standardize is standardize


def test_the_contract_of_all_problems():
    """Functions that need no more than losses take any problem; it is made as one of its kinds."""
    assert isinstance(LpProblem([[1.0]], [1.0]), accel.Problem)
    with pytest.raises(TypeError, match="abstract"):
        BaseProblem(1, 1, 1, np.dtype("f8"), accel.losses.Lp(4.0), "direct")
