"""No function of the package writes to read-only data."""

import numpy as np
import pytest

import accel
from accel._support.arrays import aligned

from .problems import start

RULES = [accel.Adam(0.01), accel.GradientDescent(1e9)]  # the second one diverges


def train(X, y, p):
    problem = accel.LpProblem(X, y, p=p)
    accel.train(problem, start(problem), RULES[0], 20, threads=2)


def on_the_reference(X, y, p):
    problem = accel.LpProblem(X, y, p=p)
    accel.train(problem, start(problem), RULES[0], 20, backend="reference")


def sweep(X, y, p):
    problem = accel.LpProblem(X, y, p=p)
    accel.sweep(problem, [(start(problem), rule) for rule in RULES], 20, threads=2)


def grid_search(X, y, p):
    problem = accel.LpProblem(X, y, p=p)
    accel.grid_search(problem, start(problem), RULES[1], 20, learning_rates=[1e-4, 1e-3])


def optimum(X, y, p):
    accel.optimum(accel.LpProblem(X, y, p=p))


def loss_and_gradient(X, y, p):
    problem = accel.LpProblem(X, y, p=p)
    for backend in ("cpu", "reference"):
        problem.loss_and_gradient(np.ones((problem.k, problem.d)), backend=backend)


def standardize(X, y, p):
    accel.standardize(X, y)


def fit(**parameters):
    def fit(X, y, p):
        sklearn = pytest.importorskip("accel.sklearn")
        model = sklearn.LpRegressor(p=p, tol=0.1, **parameters).fit(X, y, np.ones(len(X)))
        model.predict(X)

    return fit


def fit_any_loss(**parameters):
    def fit(X, y, p):
        sklearn = pytest.importorskip("accel.sklearn")
        sklearn.LinearFit("expectile(0.3)", tol=0.1, **parameters).fit(X, y).predict(X)

    return fit


CALLS = {
    "train": train,
    "train, reference": on_the_reference,
    "sweep": sweep,
    "grid search": grid_search,
    "optimum": optimum,
    "loss and gradient": loss_and_gradient,
    "standardize": standardize,
    "fit, newton": fit(solver="newton"),
    "fit, gradient": fit(solver="gradient"),
    "fit as it is": fit(solver="newton", standardize=False, fit_intercept=False),
    "fit of any loss": fit_any_loss(solver="gradient"),
    "fit of any loss, as it is": fit_any_loss(standardize=False, fit_intercept=False),
}


def in_memory(array, path):
    copy = aligned(array.copy())
    copy.flags.writeable = False
    return copy


def in_a_file(array, path):
    """Aligned and in C order, as .npy files are, so that it is used without a copy."""
    np.save(path, array)
    return np.load(path, mmap_mode="r")


@pytest.mark.filterwarnings("ignore:tol=")  # of the estimator, which need not converge here
@pytest.mark.parametrize("p", [2, 4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kept", [in_memory, in_a_file])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_stays_as_it_is(call, kept, dtype, p, tmp_path):
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((1600, 16)).astype(dtype), rng.standard_normal((1600, 2))
    Y = Y.astype(dtype)
    given = [kept(X, tmp_path / "X.npy"), kept(Y, tmp_path / "Y.npy")]
    call(*given, p)
    for array, original in zip(given, (X, Y), strict=True):
        assert array.tobytes() == original.tobytes()
        assert not array.flags.writeable


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.filterwarnings("ignore:tol=")
def test_neither_is_what_could_be_written_to(call):
    """Kernels could write to a writable array of the caller; they do not."""
    rng = np.random.default_rng(0)
    X, Y = (aligned(rng.standard_normal(shape)) for shape in ((1600, 16), (1600, 2)))
    before = X.tobytes(), Y.tobytes()
    call(X, Y, 4)
    assert (X.tobytes(), Y.tobytes()) == before
    assert X.flags.writeable
    assert Y.flags.writeable
