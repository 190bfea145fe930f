import copy
import pickle

import numpy as np
import pytest

from accel import GradientDescent, LinearNetwork, LpProblem, train

INITS = ["near_zero", "balanced", "identity", "orthogonal"]
WIDTHS = [(5, 1), (5, 3, 1), (5, 4, 6, 3), (2, 7, 7, 7, 7, 3)]


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_layout(init, widths, dtype):
    network = LinearNetwork(widths, init=init, dtype=dtype)
    assert network.widths == widths
    assert network.depth == len(widths) - 1
    assert network.dtype == network.params.dtype == np.dtype(dtype)
    shapes = list(zip(widths[1:], widths[:-1], strict=True))
    assert [factor.shape for factor in network.factors] == shapes
    assert network.n_params == network.params.size == sum(a * b for a, b in shapes)
    flat = np.concatenate([factor.ravel() for factor in network.factors])
    np.testing.assert_array_equal(network.params, flat)
    assert all(np.shares_memory(factor, network.params) for factor in network.factors)
    product = np.linalg.multi_dot(network.factors[::-1]) if len(shapes) > 1 else flat.reshape(1, 5)
    np.testing.assert_allclose(network.end_to_end(), product, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("init", INITS)
def test_seed(init):
    def params(**arguments):
        return LinearNetwork((5, 4, 3), init=init, **arguments).params

    np.testing.assert_array_equal(params(seed=3), params(seed=3))
    assert (params(seed=3) != params(seed=4)).any()
    np.testing.assert_array_equal(params(dtype="f4"), params().astype("f4"))


def test_near_zero():
    params = LinearNetwork((100, 100, 100)).params
    assert params.std() == pytest.approx(0.01, rel=0.05)
    assert abs(params.mean()) < 3e-4
    assert LinearNetwork((100, 100, 100), scale=2).params.std() == pytest.approx(2, rel=0.05)
    np.testing.assert_array_equal(LinearNetwork((4, 3, 2), scale=0).params, 0)


@pytest.mark.parametrize("widths", [(6, 3), (6, 1, 1), (7, 5, 4)], ids=str)
def test_up_to_depth_2_near_zero_is_a_deviation_of_001(widths):
    default, given = LinearNetwork(widths, seed=3), LinearNetwork(widths, scale=0.01, seed=3)
    np.testing.assert_array_equal(default.params, given.params)


@pytest.mark.parametrize("init", ["near_zero", None])
def test_a_given_scale_is_that_of_independent_entries_at_every_depth(init):
    named = {} if init is None else {"init": init}
    params = LinearNetwork((7, 3, 4, 2), scale=0.01, seed=5, **named).params
    expected = 0.01 * np.random.default_rng(5).standard_normal(21 + 12 + 8)
    np.testing.assert_array_equal(params, expected)


@pytest.mark.parametrize("widths", [
    (6, 1, 1, 1), (6, *[1] * 8), (2, 9, 4, 3), (20, *[20] * 8), (10, *[100] * 7, 1), (1, 1, 1, 1),
    (40, 2, 2, 30), (3, *[2] * 9998, 1),
], ids=lambda widths: f"{widths[:3]}-{len(widths) - 1}")  # fmt: skip
def test_from_depth_3_on_near_zero_is_the_size_of_the_product(widths):
    network = LinearNetwork(widths, seed=2)
    W = network.end_to_end()
    assert np.sqrt(np.mean(W**2)) == pytest.approx(0.01)
    sizes = [np.linalg.norm(factor, 2) for factor in network.factors[:10]]
    assert max(sizes) < 2.5 * min(sizes)
    if max(widths[1:-1]) == 1:
        assert network.balancedness() < 1e-12
    named = LinearNetwork(widths, init="near_zero", seed=2)
    np.testing.assert_array_equal(network.params, named.params)


@pytest.mark.parametrize("depth", [2, 3, 6])
def test_from_depth_3_on_a_default_start_goes_downhill(depth):
    problem = LpProblem(*np.split(np.random.default_rng(0).standard_normal((30, 5)), [4], axis=1))
    turned = 0
    for seed in range(8):
        network = LinearNetwork.for_problem(problem, depth, 2, seed=seed)
        drawn = LinearNetwork(network.widths, seed=seed)
        uphill = np.sum(problem.gradient(np.zeros((1, 4))) * drawn.end_to_end()) > 0
        turns = depth > 2 and uphill
        sign = np.ones(network.n_params)
        sign[-2:] = -1 if turns else 1
        np.testing.assert_array_equal(network.params, sign * drawn.params)
        turned += turns
        given = LinearNetwork.for_problem(problem, depth, 2, scale=0.01, seed=seed)
        same = LinearNetwork(network.widths, scale=0.01, seed=seed)
        np.testing.assert_array_equal(given.params, same.params)
    assert 0 < turned < 8 if depth > 2 else turned == 0


def test_the_product_near_zero_is_never_formed():
    """Of these it would take 80 GB."""
    network = LinearNetwork((10**5, 2, 2, 10**5))
    assert network.n_params == 4 * 10**5 + 4


@pytest.mark.parametrize("widths", [(6, 3), (6, 3, 2), (2, 9, 4, 3), (5, 1, 1, 1), (1, 1)], ids=str)
def test_balanced(widths):
    network = LinearNetwork(widths, init="balanced", scale=0.5)
    assert network.balancedness() < 1e-15
    # The same draw, whatever the depth: a Gaussian end-to-end matrix.
    flat = LinearNetwork((widths[0], widths[-1]), init="balanced", scale=0.5)
    np.testing.assert_allclose(network.end_to_end(), flat.end_to_end(), rtol=1e-12)
    wide = LinearNetwork((100, 50, 50), init="balanced")
    assert wide.end_to_end().std() == pytest.approx(0.01, rel=0.05)


def test_balanced_needs_width():
    with pytest.raises(ValueError, match=r"balanced.*min\(d, k\) = 3, got 2"):
        LinearNetwork((5, 4, 2, 3), init="balanced")


def test_identity():
    network = LinearNetwork((3, 2, 4, 4, 1), init="identity", scale=0.1)
    np.testing.assert_array_equal(network.factors[0], [[1, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(network.factors[1], np.eye(4, 2))
    np.testing.assert_array_equal(network.factors[2], np.eye(4))
    assert 0 < abs(network.factors[3]).max() < 0.5
    last = LinearNetwork((3, 400), init="identity").params  # at depth 1 the first is the last
    assert last.std() == pytest.approx(0.01, rel=0.1)


def test_orthogonal():
    network = LinearNetwork((5, 3, 6), init="orthogonal", scale=2.0)
    first, second = network.factors
    np.testing.assert_allclose(first @ first.T, 4 * np.eye(3), atol=1e-14)
    np.testing.assert_allclose(second.T @ second, 4 * np.eye(3), atol=1e-14)
    only = LinearNetwork((5, 5), init="orthogonal").end_to_end()
    np.testing.assert_allclose(only @ only.T, np.eye(5), atol=1e-14)


def test_orthogonal_is_uniform():
    """The first entry of a uniform orthogonal matrix has mean 0, unlike that of LAPACK's."""
    corner = [LinearNetwork((2, 2), init="orthogonal", seed=s).params[0] for s in range(400)]
    assert abs(np.mean(corner)) < 0.15


def test_given_arrays():
    arrays = [np.arange(6.0).reshape(2, 3), [[1, -1]]]
    network = LinearNetwork((3, 2, 1), init=arrays)
    np.testing.assert_array_equal(network.end_to_end(), [[-3, -3, -3]])
    assert not np.shares_memory(network.params, arrays[0])
    stacked = LinearNetwork((2, 2, 2), init=np.ones((2, 2, 2)), dtype="f4")
    np.testing.assert_array_equal(stacked.end_to_end(), [[2, 2], [2, 2]])


def test_balancedness():
    network = LinearNetwork((2, 2, 1), init=[[[1, 0], [0, 2]], [[3, 0]]])
    # W2'W2 - W1 W1' = diag(9, 0) - diag(1, 4)
    assert network.balancedness() == pytest.approx(np.hypot(8, 4))
    assert LinearNetwork((4, 2)).balancedness() == 0.0


def test_for_problem():
    problem = LpProblem(np.ones((4, 3), "f4"), np.ones((4, 2), "f4"))
    network = LinearNetwork.for_problem(problem, depth=3, width=5, init="identity", seed=2)
    assert network.widths == (3, 5, 5, 2)
    assert network.dtype == np.float32
    assert LinearNetwork.for_problem(problem).widths == (3, 2, 2)
    narrow = LpProblem(np.ones((4, 1)), np.ones((4, 5)))
    assert LinearNetwork.for_problem(narrow, 3).widths == (1, 1, 1, 5)
    assert LinearNetwork.for_problem(problem, depth=1, width=7).widths == (3, 2)


@pytest.mark.parametrize("init", ["near_zero", "balanced", "identity", "orthogonal"])
def test_by_default_a_network_can_represent_every_map(init):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 3))
    problem = LpProblem(X, X @ rng.standard_normal((3, 2)), 2)
    network = LinearNetwork.for_problem(problem, depth=2, init=init, scale=0.3)
    result = train(problem, network, GradientDescent(0.05), 5000)
    assert result.loss < 1e-9 * problem.loss(np.zeros((2, 3)))


def test_predict():
    network = LinearNetwork((3, 2, 2), seed=1)
    X = np.arange(12).reshape(4, 3)
    np.testing.assert_allclose(network.predict(X), X @ network.end_to_end().T)
    assert network.predict(X).shape == (4, 2)
    assert LinearNetwork((3, 2, 1)).predict(X).shape == (4,)
    with pytest.raises(ValueError, match=r"X .*3 columns.*\(3, 4\)"):
        network.predict(X.T)


def test_copies_are_independent():
    network = LinearNetwork((3, 2, 1), dtype="f4")
    before = network.params.copy()
    for other in (
        network.copy(),
        network.with_params(network.params),
        copy.deepcopy(network),
        pickle.loads(pickle.dumps(network)),
    ):
        assert other.widths == network.widths
        assert other.dtype == network.dtype
        np.testing.assert_array_equal(other.params, before)
        other.params[:] = 7
        np.testing.assert_array_equal(network.params, before)


@pytest.mark.parametrize(
    ("error", "params"),
    [
        (ValueError, np.ones(7)),
        (ValueError, np.ones((2, 4))),
        (ValueError, [np.nan] * 8),
        (ValueError, [1e60] * 8),
        (TypeError, ["a"] * 8),
    ],
)
def test_with_params_checks_them(error, params):
    with pytest.raises(error, match="params"):
        LinearNetwork((3, 2, 1), dtype="f4").with_params(params)


def test_it_cannot_be_rebound():
    with pytest.raises(AttributeError):
        LinearNetwork((3, 1)).params = np.ones(3)


FIRST, LAST = np.ones((2, 3)), np.ones((1, 2))
BAD = {
    "one width": (ValueError, r"widths .*\(3,\)", {"widths": (3,)}),
    "zero width": (ValueError, r"widths\[1\] .*0", {"widths": (3, 0, 1)}),
    "float width": (TypeError, r"widths\[0\] .*3\.0", {"widths": (3.0, 1)}),
    "no sequence": (TypeError, "widths .*7", {"widths": 7}),
    "text": (TypeError, r"widths\[0\]", {"widths": "31"}),
    "init": (ValueError, "init .*'near_zer'.*'near_zero'", {"init": "near_zer"}),
    "init None": (TypeError, "init .*None", {"init": None}),
    "init number": (TypeError, "init .*3", {"init": 3}),
    "too few": (ValueError, "init .*2 arrays.* 1", {"init": [FIRST]}),
    "shape": (ValueError, r"init\[1\] .*\(1, 2\).*\(2, 1\)", {"init": [FIRST, np.ones((2, 1))]}),
    "nan": (ValueError, r"init\[0\] .*nan", {"init": [np.full((2, 3), np.nan), LAST]}),
    "objects": (TypeError, r"init\[0\] ", {"init": [np.full((2, 3), None), LAST]}),
    "scale with arrays": (ValueError, "scale", {"init": [FIRST, LAST], "scale": 1}),
    "negative scale": (ValueError, "scale .*-1", {"scale": -1}),
    "nan scale": (ValueError, "scale .*nan", {"scale": np.nan}),
    "overflow": (ValueError, "init", {"scale": 1e200, "dtype": "f4"}),
    "seed": (ValueError, "seed .*-1", {"seed": -1}),
    "float seed": (TypeError, "seed .*0.5", {"seed": 0.5}),
    "dtype": (TypeError, "dtype .*int", {"dtype": int}),
    "dtype None": (TypeError, "dtype .*None", {"dtype": None}),
}


@pytest.mark.parametrize(("error", "match", "arguments"), BAD.values(), ids=BAD)
def test_bad_input(error, match, arguments):
    with pytest.raises(error, match=match) as caught:
        LinearNetwork(**{"widths": (3, 2, 1), **arguments})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "match", "arguments"),
    [
        (ValueError, "depth .*0", {"depth": 0}),
        (ValueError, "width .*0", {"width": 0}),
        (TypeError, "depth .*'2'", {"depth": "2"}),
        (TypeError, "problem .*None", {"problem": None}),
    ],
)
def test_for_problem_checks_its_input(error, match, arguments):
    problem = LpProblem(np.ones((4, 3)), np.ones(4))
    with pytest.raises(error, match=match):
        LinearNetwork.for_problem(**{"problem": problem, **arguments})
