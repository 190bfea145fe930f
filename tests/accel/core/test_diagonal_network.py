"""Diagonal networks as values: their starts, their parts, and what gradient flow conserves."""

import copy
import pickle

import numpy as np
import pytest

import accel
from accel import DiagonalNetwork

from ..problems import PROBLEM, make_problem

FORMS = ["power-difference", "hadamard"]
each_form = pytest.mark.parametrize("form", FORMS)


@each_form
@pytest.mark.parametrize("depth", [1, 2, 3, 5])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_layout(form, depth, dtype):
    network = DiagonalNetwork(7, depth, form, init="near_zero", scale=1.0, dtype=dtype)
    vectors = 2 if form == "power-difference" else depth
    assert (network.widths, network.depth, network.form) == ((7, 1), depth, form)
    assert network.dtype == network.params.dtype == np.dtype(dtype)
    assert network.n_params == network.params.size == 7 * vectors
    assert [u.shape for u in network.factors] == [(7,)] * vectors
    assert all(np.shares_memory(u, network.params) for u in network.factors)
    np.testing.assert_array_equal(np.concatenate(network.factors), network.params)
    u = network.factors
    w = u[0] ** depth - u[1] ** depth if form == "power-difference" else np.prod(u, axis=0)
    assert network.end_to_end().shape == (1, 7)
    np.testing.assert_allclose(network.end_to_end()[0], w, rtol=1e-5, atol=1e-5)
    X = np.random.default_rng(0).standard_normal((5, 7)).astype(dtype)
    np.testing.assert_allclose(network.predict(X), X @ w, rtol=1e-4, atol=1e-4)


@each_form
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_the_default_start_is_constant_and_makes_zero(form, depth):
    network = DiagonalNetwork(5, depth, form, scale=0.3)
    np.testing.assert_array_equal(network.end_to_end(), np.zeros((1, 5)))
    *rest, last = network.factors
    assert all((u == 0.3).all() for u in rest)
    assert (last == (0.3 if form == "power-difference" else 0)).all()
    first = DiagonalNetwork(5, 2).factors[0]
    np.testing.assert_array_equal(first, np.full(5, 0.01))


@each_form
@pytest.mark.parametrize("depth", [3, 4, 8, 1000])
def test_from_depth_3_on_the_default_is_the_size_of_the_powers(form, depth):
    u = DiagonalNetwork(5, depth, form).factors[0]
    np.testing.assert_allclose(u**depth, 0.01)
    z = np.random.default_rng(7).standard_normal((2, 5))
    u, v, *_ = DiagonalNetwork(5, depth, form, init="near_zero", seed=7).factors
    np.testing.assert_allclose(np.abs([u, v]) ** depth, 0.01 * np.abs(z))
    np.testing.assert_array_equal(np.sign([u, v]), np.sign(z))


@each_form
def test_random_starts(form):
    def params(**arguments):
        return DiagonalNetwork(400, 3, form, init="near_zero", **arguments).params

    np.testing.assert_array_equal(params(seed=3), params(seed=3))
    assert (params(seed=3) != params(seed=4)).any()
    np.testing.assert_array_equal(params(dtype="f4"), params().astype("f4"))
    np.testing.assert_allclose(np.std(params(scale=2.0)), 2.0, rtol=0.15)


@each_form
def test_given_vectors_are_copied(form):
    vectors = np.arange(6.0).reshape(2, 3)
    network = DiagonalNetwork(3, 2, form, init=vectors)
    np.testing.assert_array_equal(network.params, np.arange(6.0))
    assert not np.shares_memory(network.params, vectors)
    lists = DiagonalNetwork(3, 2, form, init=[[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(lists.params, network.params)


@each_form
@pytest.mark.parametrize(
    "other", [lambda n: n.copy(), copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))]
)
def test_copies(form, other):
    network = DiagonalNetwork(4, 3, form, init="near_zero", dtype="f4")
    twin = other(network)
    assert type(twin) is DiagonalNetwork
    assert repr(twin) == repr(network)
    np.testing.assert_array_equal(twin.params, network.params)
    assert not np.shares_memory(twin.params, network.params)
    moved = network.with_params(np.ones(network.n_params, "f4"))
    assert repr(moved) == repr(network)
    assert (moved.params == 1).all()
    with pytest.raises(ValueError, match=r"params must have shape"):
        network.with_params(np.ones(3))


@each_form
def test_for_problem(form):
    for problem in (PROBLEM, make_problem(dtype="f4")):
        network = DiagonalNetwork.for_problem(problem, 3, form, scale=0.5)
        assert (network.widths[0], network.dtype) == (problem.d, problem.dtype)
        assert (network.depth, network.form) == (3, form)
    with pytest.raises(ValueError, match="one output for a DiagonalNetwork, got k = 3"):
        DiagonalNetwork.for_problem(make_problem(k=3))


def test_what_is_conserved():
    u = np.array([[1.0, 2.0, -3.0], [0.5, 4.0, 2.0], [1.0, 1.0, 1.0]])
    product = DiagonalNetwork(3, 3, "hadamard", init=u)
    np.testing.assert_array_equal(product.conserved(), u[1:] ** 2 - u[:-1] ** 2)
    largest = max(np.linalg.norm(u[1] ** 2 - u[0] ** 2), np.linalg.norm(u[2] ** 2 - u[1] ** 2))
    np.testing.assert_allclose(product.balancedness(), largest, rtol=1e-14)
    for depth, expected in (
        (1, u[0] + u[1]), (2, u[0] * u[1]), (3, 1 / u[0] + 1 / u[1]),
        (5, u[0] ** -3 + u[1] ** -3),
    ):  # fmt: skip
        difference = DiagonalNetwork(3, depth, init=u[:2])
        np.testing.assert_allclose(difference.conserved(), expected, rtol=1e-14)
        assert difference.balancedness() == 0
    assert DiagonalNetwork(3, 1, "hadamard").balancedness() == 0
    assert np.isinf(DiagonalNetwork(2, 3, scale=0).conserved()).all()


def test_it_is_public():
    assert accel.DiagonalNetwork is DiagonalNetwork
    assert repr(DiagonalNetwork(3)) == (
        "DiagonalNetwork(d=3, depth=2, form='power-difference', dtype=float64)"
    )
