"""A network stands for its end-to-end matrix wherever a linear map is asked for."""

import numpy as np
import pytest

import accel
from accel import recording, theory

RNG = np.random.default_rng(3)
X = RNG.standard_normal((12, 4))
NETWORKS = {
    "linear": accel.LinearNetwork((4, 3, 2), init="orthogonal", seed=1),
    "one output": accel.LinearNetwork((4, 4, 1), init="orthogonal", seed=1),
    "diagonal": accel.DiagonalNetwork(4, 2).with_params(np.arange(1.0, 9.0)),
    "float32": accel.LinearNetwork((4, 2), init="orthogonal", seed=1, dtype="float32"),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    return NETWORKS[request.param]


def targets(network):
    return RNG.standard_normal((12, network.widths[-1]))


def test_a_problem(network):
    problem, W = accel.LpProblem(X, targets(network), p=4), network.end_to_end()
    loss, gradient = problem.loss_and_gradient(network, backend="reference")
    assert loss == problem.loss(W, backend="reference")
    assert problem.loss(network, backend="reference") == loss
    np.testing.assert_array_equal(gradient, problem.gradient(W, backend="reference"))
    np.testing.assert_array_equal(problem.gradient(network, backend="reference"), gradient)
    assert gradient.shape == (network.widths[-1], 4)


def test_a_matrix_problem(network):
    problem = accel.MatrixFactorization(RNG.standard_normal((network.widths[-1], 4)))
    W = network.end_to_end()
    assert problem.loss(network) == problem.loss(W)
    np.testing.assert_array_equal(problem.gradient(network), problem.gradient(W))


def test_standardized_data(network):
    scaled, W = accel.standardize(X, targets(network)), network.end_to_end()
    np.testing.assert_array_equal(scaled.predict(network, X), scaled.predict(W, X))
    for one, other in zip(scaled.coefficients(network), scaled.coefficients(W), strict=True):
        np.testing.assert_array_equal(one, other)


def test_theory_and_recording(network):
    W = network.end_to_end()
    np.testing.assert_array_equal(
        theory.preconditioner(network, 3).dense(), theory.preconditioner(W, 3).dense()
    )
    for kind in (recording.DistanceTo, recording.RecoveryError):
        np.testing.assert_array_equal(kind(network).W, W)
    problem = accel.LpProblem(X, targets(network), p=4)
    if network.widths[-1] == 1:
        row = theory.curl(problem, W[0], 3)
        np.testing.assert_array_equal(theory.curl(problem, network, 3), row)
        assert np.abs(row).max() > 0


def test_a_flow_begins_with_it():
    pytest.importorskip("scipy")
    network = NETWORKS["one output"]
    problem = accel.LpProblem(X, targets(network), p=4)
    flow = theory.end_to_end_flow(problem, network, 2, 0.0)
    np.testing.assert_allclose(flow.matrices[0], network.end_to_end(), rtol=1e-13)


@pytest.mark.parametrize("call", [
    lambda network: accel.LpProblem(X, X[:, 0]).loss(network),
    lambda network: accel.MatrixFactorization(X[:1]).gradient(network),
    lambda network: accel.standardize(X, X[:, 0]).predict(network, X),
    lambda network: accel.standardize(X, X[:, 0]).coefficients(network),
])  # fmt: skip
def test_shapes_are_compared(call):
    with pytest.raises(ValueError, match=r"W must have shape \(1, 4\), got \(1, 5\)"):
        call(accel.LinearNetwork((5, 2, 1)))
    with pytest.raises(ValueError, match=r"W must have shape \(1, 4\), got \(2, 4\)"):
        call(NETWORKS["linear"])


def test_shapes_are_compared_by_theory():
    problem = accel.LpProblem(X, X[:, 0], p=4)
    with pytest.raises(ValueError, match=r"w must have 1 dimensions, got shape \(2, 4\)"):
        theory.curl(problem, NETWORKS["linear"], 3)
    with pytest.raises(ValueError, match=r"w must have shape \(4,\), got \(5,\)"):
        theory.curl(problem, accel.LinearNetwork((5, 1)), 3)
    with pytest.raises(ValueError, match=r"W0 must have shape \(1, 4\), got \(2, 4\)"):
        theory.end_to_end_flow(problem, NETWORKS["linear"], 2, 0.0)
