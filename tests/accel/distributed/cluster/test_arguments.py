"""What ``DaskProblem`` checks of its arguments, and of the numbers in them."""

import logging

import numpy as np
import pytest

import accel

da = pytest.importorskip("dask.array", reason="dask is not installed")
distributed = pytest.importorskip("distributed", reason="distributed is not installed")

from accel._core.base import BaseProblem  # noqa: E402
from accel.distributed import DaskProblem  # noqa: E402

from ...problems import make_problem, start  # noqa: E402
from .runs import arrays, client_of, same_bits, split, train  # noqa: E402

RULE = accel.GradientDescent(0.002)


def test_chunks_of_columns_are_made_one(client, caplog):
    problem = make_problem()
    X, y = da.from_array(problem.X, chunks=(9, 2)), da.from_array(problem.Y[:, 0], chunks=11)
    with caplog.at_level(logging.INFO, "accel"):
        there = DaskProblem(X, y)
    assert "chunks of columns" in caplog.text
    same_bits(train(there), train(split(problem)))


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (lambda X, y: (X.compute(), y), TypeError, "X must be a dask array"),
        (lambda X, y: (X, y.compute()), TypeError, "y must be a dask array"),
        (lambda X, y: (X, y[:-1]), ValueError, "as many rows"),
        (lambda X, y: (X[X[:, 0] > 0], y), ValueError, "compute_chunk_sizes"),
        (lambda X, y: (X[:, 0], y), ValueError, "2 dimensions"),
        (lambda X, y: (X[:0], y[:0]), ValueError, "must not be empty"),
        (lambda X, y: (X.astype(complex), y), TypeError, "real numbers"),
        (lambda X, y: (X.astype("f4"), y), TypeError, "dtype must be given"),
    ],
)
def test_refused_at_the_door(client, change, error, told):
    with pytest.raises(error, match=told):
        DaskProblem(*change(*arrays()))


@pytest.mark.parametrize("keep", [True, False])
def test_numbers_that_are_not_finite_are_found_by_the_workers(client, keep):
    X, y = arrays()
    bad = X.compute()
    bad[13, 2] = np.nan
    with pytest.raises(ValueError, match=r"X must be finite in float64, got X\[13, 2\] = nan"):
        DaskProblem(da.from_array(bad, chunks=(5, 3)), y, keep=keep)
    with pytest.raises(ValueError, match=r"y must be finite in float64, got y\[0\] = inf"):
        DaskProblem(X, y * np.inf, keep=keep)


@pytest.mark.parametrize("keep", [True, False])
def test_integers_are_rounded_only_if_a_dtype_is_given(client, keep):
    X, y = arrays()
    odd = np.zeros(len(y), int)
    odd[13] = 2**53 + 1
    odd = da.from_array(odd, chunks=5)
    with pytest.raises(TypeError, match=r"y\[13\] = 9007199254740993: pass dtype="):
        DaskProblem(X, odd, keep=keep)
    assert DaskProblem(X, odd, dtype="float64", keep=keep).n == len(y)


def test_other_arguments(client):
    X, y = arrays()
    with pytest.raises(ValueError, match="keep must be"):
        DaskProblem(X, y, keep="yes")
    with pytest.raises(TypeError, match="client must be"):
        DaskProblem(X, y, client="tcp://")
    with pytest.raises(ValueError, match="needs p = 2"):
        DaskProblem(X, y, method="gram")
    problem = DaskProblem(X, y)
    assert isinstance(problem, BaseProblem)
    assert not isinstance(problem, accel.Problem)
    with pytest.raises(ValueError, match=r"'cuda' is not available.*worker tcp"):
        problem.loss([0, 0, 0], backend="cuda")


@pytest.mark.parametrize(
    "use",
    [
        accel.optimum,
        lambda problem: accel.stable_rate(problem, start(), RULE),
        lambda problem: accel.train(problem, start(), RULE, 3, learning_rate="auto"),
        lambda problem: accel.grid_search(problem, start(), RULE, 3),
        lambda problem: accel.train(problem, start(), RULE, 3, record="sharpness"),
        lambda problem: accel.theory.sharpness(problem, start()),
        lambda problem: accel.theory.curl(problem, np.ones(4), 3),
        lambda problem: accel.theory.closed_curve_integral(problem, 3, np.ones(4), 0.1, 1.0),
    ],
    ids=["optimum", "stable_rate", "auto", "grid_search", "record", "sharpness", "curl", "curve"],
)
def test_what_needs_the_data_in_one_place_says_so(inside, use):
    told = "data of a DaskProblem are on the workers.*: make a Problem of them if they fit"
    with client_of(inside) as client, pytest.raises(TypeError, match=told):
        use(split(make_problem(), client=client))


def test_a_flow_and_a_usual_rate_need_only_losses(inside):
    problem, adam = make_problem(), accel.Adam(1.0)
    with client_of(inside) as client:
        there = split(problem, client=client)
        here, far = (
            accel.theory.end_to_end_flow(each, np.full(4, 0.1), depth=2, t=[0.0, 0.1])
            for each in (problem, there)
        )
        np.testing.assert_allclose(far.matrices, here.matrices, rtol=1e-8)
        assert accel.stable_rate(there, start(), adam) == accel.stable_rate(problem, start(), adam)


def test_needs_a_client(monkeypatch):
    def none():
        raise ValueError("No clients found")

    monkeypatch.setattr(distributed, "default_client", none)
    with pytest.raises(ValueError, match="client must be given"):
        DaskProblem(*arrays())
