"""Every quantity against its definition, on networks of random shapes."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accel
from accel import recording
from accel._core import curvature
from accel._core.oracle import Oracle
from accel._support.backends import resolve

from ...children import ROOT
from ..problems import make_problem

few = settings(max_examples=40, deadline=None, derandomize=True)


def moment_of(problem, network, optimizer=None, step=0):
    rule = optimizer or accel.GradientDescent(0.1)
    kernels = resolve("reference")
    oracle = Oracle(problem, kernels)
    return recording.Moment(step, network, network.params, rule, oracle, kernels)


def measured(quantity, problem, network, optimizer=None):
    """What a quantity yields, with the shapes that it announces."""
    rule = optimizer or accel.GradientDescent(0.1)
    outputs = quantity.outputs(recording.Model(problem, network, rule))
    values = quantity.measure(moment_of(problem, network, rule))
    assert values.keys() == outputs.keys()
    for name, value in values.items():
        assert np.shape(value) == outputs[name].shape, name
    return values


@st.composite
def cases(draw):
    """A problem and a network that fits it."""
    d, k, depth = (draw(st.integers(1, most)) for most in (6, 4, 4))
    widths = (d, *(draw(st.integers(1, 5)) for _ in range(depth - 1)), k)
    problem = make_problem(n=9, d=d, k=k, p=draw(st.sampled_from([2.0, 3.0, 4.0])))
    scale, seed = draw(st.sampled_from([0.01, 0.7])), draw(st.integers(0, 2**31))
    return problem, accel.LinearNetwork(widths, init="near_zero", scale=scale, seed=seed)


@given(cases())
@few
def test_spectra(case):
    network = case[1]
    W = network.end_to_end()
    sigma = np.linalg.svd(W, compute_uv=False)
    got = measured(recording.SingularValues(factors=True), *case)
    np.testing.assert_allclose(got["singular_values"], sigma, atol=1e-14 * sigma[0])
    for j, factor in enumerate(network.factors, 1):
        own = np.linalg.svd(factor, compute_uv=False)
        np.testing.assert_allclose(got[f"singular_values_W{j}"], own, atol=1e-14 * own[0])
    top = measured(recording.SingularValues(2), *case)["singular_values"]
    np.testing.assert_array_equal(top, got["singular_values"][:2])
    value = {
        kind: measured(kind, *case)[kind.name]
        for kind in (
            recording.EffectiveRank(), recording.StableRank(), recording.NuclearNorm(),
            recording.Schatten(0.5), recording.Schatten(2), recording.Schatten(1),
        )
    }  # fmt: skip
    effective, stable, nuclear, half, frobenius, one = value.values()
    shares = sigma[sigma > 0] / sigma.sum()
    assert effective == pytest.approx(np.prod(shares**-shares), rel=1e-9)
    assert stable == pytest.approx(np.linalg.norm(W) ** 2 / np.linalg.norm(W, 2) ** 2)
    assert nuclear == pytest.approx(np.linalg.norm(W, "nuc"))
    assert half == pytest.approx(np.sqrt(sigma).sum() ** 2)
    assert frobenius == pytest.approx(np.linalg.norm(W))
    assert one == pytest.approx(nuclear)


@given(cases())
@few
def test_layers(case):
    problem, network = case
    got = measured(recording.Balancedness(), *case)
    assert got["balancedness"] == pytest.approx(network.balancedness(), rel=1e-12)
    norms = [
        np.linalg.norm(above.T @ above - below @ below.T)
        for below, above in itertools.pairwise(network.factors)
    ]
    np.testing.assert_allclose(got.get("balancedness_layers", []), norms)
    got = measured(recording.Alignment(layers=True), *case)
    W, G = network.end_to_end(), problem.gradient(network.end_to_end())
    cosine = np.sum(G * W) / np.linalg.norm(G) / np.linalg.norm(W)
    assert got["alignment"] == pytest.approx(cosine, abs=1e-10)
    decomposed = [np.linalg.svd(factor) for factor in network.factors]
    overlaps = [abs(above.Vh[0] @ below.U[:, 0]) for below, above in itertools.pairwise(decomposed)]
    np.testing.assert_allclose(got.get("alignment_layers", []), overlaps, atol=1e-7)


@given(cases())
@few
def test_step_size_is_what_a_small_step_does(case):
    """A step along the gradients that W_e itself would have moves W_e by the rate along itself."""
    problem, network = case
    W, kernels = network.end_to_end(), resolve("reference")
    gradients = kernels.factor_chain.gradients(network.params, network.widths, W)
    chain = kernels.curvature.ChainCurvature(network.params, network.widths, W)
    change = chain.tangent(gradients)
    expected = np.sum(change * W) / np.sum(W * W)
    got = measured(recording.StepSize(), problem, network, accel.GradientDescent(3.0))
    assert got["step_size"] == pytest.approx(3.0 * expected, rel=1e-10)


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_step_size_is_that_of_claim_2(depth):
    problem = make_problem(d=6)
    network = accel.LinearNetwork((6, *[1] * (depth - 1), 1), init="balanced", scale=0.7)
    size = np.linalg.norm(network.end_to_end())
    expected = 0.1 * depth * size ** (2 - 2 / depth)
    got = measured(recording.StepSize(), problem, network)["step_size"]
    assert got == pytest.approx(expected, rel=1e-12)
    alone = accel.LinearNetwork((6, 1), init=[network.end_to_end()])
    rule = accel.EndToEnd(0.1, depth=depth)
    got = measured(recording.StepSize(), problem, alone, rule)["step_size"]
    assert got == pytest.approx(expected, rel=1e-12)


@given(cases())
@few
def test_sharpness(case):
    problem, network = case
    top = min(3, network.n_params)
    H = np.array([
        accel.theory.hessian_vector_product(problem, network, e, backend="reference")
        for e in np.eye(network.n_params)
    ])  # fmt: skip
    np.testing.assert_allclose(H, H.T, atol=1e-10 * abs(H).max() + 1e-15)
    values = np.linalg.eigvalsh(H)[::-1]
    accuracy = 2e-6 * abs(values).max() + 1e-14
    got = measured(recording.Sharpness(top, passes=200), *case)["sharpness"]
    np.testing.assert_allclose(got, values[:top] if top > 1 else values[0], atol=accuracy)
    got = accel.theory.sharpness(problem, network, top=top, backend="reference")
    np.testing.assert_allclose(got, values[:top] if top > 1 else values[0], atol=accuracy)
    W = network.end_to_end()
    basis = np.eye(W.size).reshape(-1, *W.shape)
    plain = resolve("reference").curvature
    L = [plain.hessian_product(problem.X, problem.Y, W, e, problem.spec).ravel() for e in basis]
    largest = np.linalg.eigvalsh(np.array(L))[-1]
    got = measured(recording.EndToEndSharpness(), *case)["end_to_end_sharpness"]
    assert got == pytest.approx(largest, rel=1e-5)


@pytest.mark.parametrize("cached", [0, 2**17])
@pytest.mark.parametrize("top", [1, 3])
def test_hard_spectra(top, cached, monkeypatch):
    """Multiple, clustered and negative eigenvalues; none is found above, products are counted."""
    monkeypatch.setattr(curvature, "_CACHED", cached)
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((60, 60)))[0]
    for values in (
        np.r_[3.0, 3.0, 3.0, np.zeros(57)],
        np.r_[3.0, 2.9999, 2.999, np.linspace(-50, 2, 57)],
        np.r_[[1e-3] * 3, -np.geomspace(1, 1e6, 57)],
        -np.arange(1.0, 61.0),
        np.zeros(60),
        np.full(60, 7.0),
    ):
        A, calls = (basis * values) @ basis.T, []
        expected = np.sort(values)[::-1][:top]

        def product(v, A=A, calls=calls):
            calls.append(1)
            return A @ v

        start = rng.standard_normal(60)
        got, made = curvature.largest_eigenvalues(product, start, top, 1e-9, 60)
        assert made == len(calls) <= 60
        if top > 1 or cached:
            np.testing.assert_allclose(got, expected, atol=1e-8 * abs(values).max())
        assert np.all(got <= expected + 1e-12 * abs(values).max())


@pytest.mark.parametrize("seed", range(20))
def test_several_eigenvalues_of_data_of_low_rank(seed):
    """Where blocks become dependent, rounding errors must not count as directions."""
    rng = np.random.default_rng(seed)
    n, d, k = int(rng.integers(1, 4)), int(rng.integers(8, 32)), int(rng.integers(1, 3))
    problem = accel.LpProblem(rng.standard_normal((n, d)), rng.standard_normal((n, k)), p=2)
    network = accel.LinearNetwork((d, int(rng.integers(1, 5)), k), seed=seed)
    H = np.array([
        accel.theory.hessian_vector_product(problem, network, e, backend="reference")
        for e in np.eye(network.n_params)
    ])  # fmt: skip
    expected = np.linalg.eigvalsh(H)[::-1]
    for top in (2, 3, 5):
        got = accel.theory.sharpness(problem, network, top=top, backend="reference")
        np.testing.assert_allclose(got, expected[:top], atol=1e-7 * abs(expected).max())


@pytest.mark.parametrize("size", [1e-250, 1e250])
def test_sharpness_near_the_ends_of_the_range(size):
    A = np.diag(np.geomspace(1, 1e-3, 40)) * size
    got, _ = curvature.largest_eigenvalues(lambda v: A @ v, np.ones(40), 1, 1e-9, 40)
    assert got[0] == pytest.approx(size, rel=1e-8)


def test_the_rest():
    problem, held_out = make_problem(k=2), make_problem(n=7, k=2, p=2)
    network = accel.LinearNetwork((4, 3, 2), init="orthogonal")
    W = network.end_to_end()
    target = np.arange(8.0).reshape(2, 4)
    got = measured(recording.LossOn(held_out), problem, network)
    assert got["validation_loss"] == pytest.approx(held_out.loss(W))
    got = measured(recording.LossOn(held_out, "test"), problem, network)
    assert got["test"] == pytest.approx(held_out.loss(W))
    got = measured(recording.DistanceTo(target), problem, network)
    assert got["distance"] == pytest.approx(np.linalg.norm(W - target))
    got = measured(recording.RecoveryError(target), problem, network)
    ratio = np.linalg.norm(W - target) / np.linalg.norm(target)
    assert got["recovery_error"] == pytest.approx(ratio)
    got = measured(recording.RecoveryError(target * 1e-200, "relative"), problem, network)
    assert got["relative"] == pytest.approx(np.linalg.norm(W) / np.linalg.norm(target) * 1e200)
    np.testing.assert_allclose(measured(recording.Snapshots(), problem, network)["snapshots"], W)
    got = measured(recording.Snapshots(factors=True), problem, network)
    np.testing.assert_array_equal(got["snapshots_W2"], network.factors[1])
    own = recording.Function(lambda step, net: [step, net.depth], "mine")
    assert own.measure(moment_of(problem, network, step=7))["mine"].tolist() == [7, 2]


def test_a_network_of_zeros():
    problem, network = make_problem(k=2), accel.LinearNetwork((4, 3, 2), scale=0)
    for name, expected in (
        ("singular_values", [0, 0]), ("effective_rank", 0), ("stable_rank", 0), ("nuclear_norm", 0),
        ("schatten(0.5)", 0), ("balancedness", 0), ("alignment", np.nan), ("step_size", np.nan),
        ("snapshots", np.zeros((2, 4))),
    ):  # fmt: skip
        quantity = recording.by_name(name)
        got = measured(quantity, problem, network)[quantity.name]
        np.testing.assert_array_equal(got, expected, err_msg=name)
    # At depth 2 the second derivative along V is 2 <G, V_2 V_1> there.
    got = measured(recording.Sharpness(), problem, network)["sharpness"]
    assert got == pytest.approx(np.linalg.norm(problem.gradient(np.zeros((2, 4))), 2))
    layers = measured(recording.Alignment(layers=True), problem, network)["alignment_layers"]
    assert np.isnan(layers).all()


def test_numbers_near_the_ends_of_the_range():
    problem = make_problem(k=2)
    for scale in (1e-80, 1e100):
        network = accel.LinearNetwork((4, 4, 2), init="orthogonal", scale=scale)
        assert measured(recording.EffectiveRank(), problem, network)["effective_rank"] == (
            pytest.approx(2)
        )
        balance = measured(recording.Balancedness(), problem, network)["balancedness"]
        assert balance == pytest.approx(2**0.5 * scale**2)
    overflowing = accel.LinearNetwork((4, 4, 2), init="orthogonal", scale=1e200)
    with np.errstate(all="ignore"):
        for name in ("singular_values", "effective_rank", "nuclear_norm", "sharpness"):
            assert np.isnan(measured(recording.by_name(name), problem, overflowing)[name]).all()


@pytest.mark.parametrize(
    ("text", "quantity"),
    [
        ("sharpness", recording.Sharpness()),
        (" sharpness ( 2 , passes=50 ) ", recording.Sharpness(2, 50)),
        ("schatten(q=0.5)", recording.Schatten(0.5)),
        ("singular_values(5, factors=True)", recording.SingularValues(5, True)),
        ("snapshots(True)", recording.Snapshots(True)),
    ],
)
def test_names(text, quantity):
    assert recording.by_name(text) == quantity


def test_every_name_makes_its_quantity():
    for name, kind in recording.NAMES.items():
        quantity = recording.by_name(f"{name}(1)" if name == "schatten" else name)
        assert type(quantity) is kind
        assert quantity.name == ("schatten(1)" if name == "schatten" else name)
        assert quantity.cost


def test_the_page_has_every_quantity():
    text = (ROOT / "docs" / "guide" / "recording.md").read_text()
    page = text.partition("\n## At which steps")[0]
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert all(any(f"| `{name}" in row for row in rows) for name in recording.NAMES)
    assert len(rows) == len(recording.NAMES) + 3
