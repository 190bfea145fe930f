"""Everything that takes a problem takes every loss."""

import numpy as np
import pytest

import accel
from accel.losses import (
    CrossEntropy,
    Expectile,
    Exponential,
    Huber,
    LogCosh,
    Logistic,
    Lp,
    Pinball,
)

RATE, STEPS = 0.02, 60
LOSSES = [
    Huber(0.7), Pinball(0.3), Expectile(0.2), LogCosh(), Logistic(), Exponential(), CrossEntropy(4),
]  # fmt: skip
#: Each compiles kernels of its own, of which the small loop over columns takes the least time. So
#: one of a residual, a margin and a soft-max has all of them, and is tested quickly; the others
#: differ from these in the pass alone, which ``tests/kernels/test_losses.py`` has for every loss.
_QUICK = ("huber", "logistic", "cross-entropy")
each_loss = pytest.mark.parametrize(
    "loss",
    [
        pytest.param(loss, id=loss.name, marks=() if loss.name in _QUICK else pytest.mark.slow)
        for loss in LOSSES
    ],
)


SHAPES = [(3000, 40), (60, 4), (5, 60)]


def targets_of(loss, rng, n, k=1):
    if isinstance(loss, CrossEntropy):
        return rng.integers(0, loss.classes, n)
    if loss.classifies:
        return np.where(rng.standard_normal(n) > 0, 1, -1)
    return rng.standard_normal(n) if k == 1 else rng.standard_normal((n, k))


def problem_of(loss, n=150, d=40, k=1, dtype="float64", **arguments):
    rng = np.random.default_rng(7)
    return accel.Problem(
        rng.standard_normal((n, d)), targets_of(loss, rng, n, k), loss, dtype=dtype, **arguments
    )


def shape_for(loss):
    """Data for which a loss has a kernel anyway."""
    return {"n": 150, "d": 40} if loss.name in _QUICK else {"n": 60, "d": 6}


def start(problem, depth=2, seed=0):
    return accel.LinearNetwork.for_problem(
        problem, depth, width=5, init="orthogonal", scale=0.5, seed=seed
    )


def by_autograd(problem, network, rate, steps):
    """Descent with PyTorch's own losses and gradients; the last loss and factors."""
    torch = pytest.importorskip("torch")
    X, Y = torch.tensor(problem.X), torch.tensor(problem.Y)
    factors = [torch.tensor(W, requires_grad=True) for W in network.factors]
    loss, functional = problem.loss_function, torch.nn.functional

    def total():
        m = X
        for W in factors:
            m = m @ W.T
        r = m - Y
        each = {
            "huber": lambda: functional.huber_loss(m, Y, reduction="sum", delta=loss.delta),
            "pinball": lambda: torch.maximum((1 - loss.tau) * r, -loss.tau * r).sum(),
            "expectile": lambda: (torch.where(r > 0, (1 - loss.tau) * r, loss.tau * r) * r).sum(),
            "logcosh": lambda: torch.log(torch.cosh(r)).sum(),
            "logistic": lambda: functional.soft_margin_loss(m, Y, reduction="sum"),
            "exponential": lambda: torch.exp(-Y * m).sum(),
            "cross-entropy": lambda: functional.cross_entropy(m, Y, reduction="sum"),
        }
        return each[loss.name]() / len(X)

    for _ in range(steps):
        value = total()
        gradients = torch.autograd.grad(value, factors)
        with torch.no_grad():
            for W, G in zip(factors, gradients, strict=True):
                W -= rate * G
    return float(total().detach()), [W.detach().numpy() for W in factors]


@each_loss
@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_a_run_is_that_of_automatic_differentiation(loss, backend):
    problem = problem_of(loss, **shape_for(loss))
    network = start(problem)
    value, factors = by_autograd(problem, network, RATE, STEPS)
    result = accel.train(problem, network, accel.GradientDescent(RATE), STEPS, backend=backend)
    assert result.loss == pytest.approx(value, rel=1e-10)
    for ours, theirs in zip(result.network.factors, factors, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-10)
    assert result.loss_function == problem.loss_function


@each_loss
def test_a_sweep_trains_each_model_as_if_alone(loss):
    problem = problem_of(loss, **shape_for(loss))
    models = [(start(problem, depth), accel.Adam(0.01)) for depth in (1, 2, 3)]
    models.append((start(problem, 2, seed=3), accel.Momentum(0.005)))
    results = accel.sweep(problem, models, STEPS, record_every=10).results
    again = accel.sweep(problem, models[1:3], STEPS, record_every=10).results
    for (network, optimizer), result in zip(models, results, strict=True):
        alone = accel.train(problem, network, optimizer, STEPS, record_every=10)
        np.testing.assert_allclose(result.history.loss, alone.history.loss, rtol=1e-9)
    for one, other in zip(results[1:3], again, strict=True):
        assert np.array_equal(one.network.params, other.network.params)


@pytest.mark.parametrize(
    ("loss", "shape"),
    [
        *((loss, shape) for loss in (Huber(0.7), CrossEntropy(4)) for shape in SHAPES),
        *((Logistic(), shape) for shape in SHAPES[1:]),
        *(
            pytest.param(loss, SHAPES[1], marks=pytest.mark.slow)
            for loss in LOSSES
            if loss.name not in _QUICK
        ),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_bits_do_not_depend_on_when_a_run_is_cut(loss, shape, tmp_path):
    """Large data, small data kept by columns, and more features than samples; from a file, too.

    A team has one loss that is a sum over outputs, and one that is not.
    """
    problem = problem_of(loss, *shape)
    network, rule = start(problem), accel.GradientDescent(RATE)
    whole = accel.train(problem, network, rule, 40, record_every=5)
    steps = []

    def halt(step, losses):
        steps.append(step)
        return step >= 20

    path = tmp_path / "run.npz"
    accel.train(problem, network, rule, 40, record_every=5, callback=halt, checkpoint=path)
    resumed = accel.train(problem, network, rule, 40, record_every=5, checkpoint=path)
    assert np.array_equal(whole.network.params, resumed.network.params)
    assert np.array_equal(whole.history.loss, resumed.history.loss)
    one = accel.train(problem, network, rule, 40, record_every=5, threads=1)
    np.testing.assert_allclose(one.history.loss, whole.history.loss, rtol=1e-10)


def test_a_checkpoint_knows_its_loss(tmp_path):
    problem, path = problem_of(Huber(0.7)), tmp_path / "run.npz"
    network, rule = start(problem), accel.GradientDescent(RATE)
    accel.train(problem, network, rule, 10, checkpoint=path)
    other = accel.Problem(problem.X, problem.Y, Huber(0.8))
    with pytest.raises(ValueError, match=r"Huber\(delta=0.8\)"):
        accel.train(other, network, rule, 10, checkpoint=path)


@each_loss
def test_a_result_is_read_as_it_was_saved(loss, tmp_path):
    problem = problem_of(loss, **shape_for(loss))
    result = accel.train(problem, start(problem), accel.GradientDescent(RATE), 5)
    path = result.save(tmp_path / "result.npz")
    read = accel.Result.load(path)
    assert read.loss_function == problem.loss_function
    assert repr(read) == repr(result)
    assert loss.name.split("-")[0] in result._repr_html_().lower().replace("crossentropy", "cross-")


@each_loss
def test_a_search_finds_a_rate(loss):
    problem = problem_of(loss, 60, 6)
    network = start(problem)
    found = accel.grid_search(problem, network, accel.GradientDescent(1.0), 100)
    at_zero = problem.loss(np.zeros((problem.k, problem.d)))
    assert found.best.loss < at_zero
    auto = accel.train(problem, network, accel.GradientDescent(1.0), 200, learning_rate="auto")
    assert auto.status == "completed"
    assert auto.loss < at_zero


@each_loss
def test_the_stable_rate_is_below_the_limit_of_stability(loss):
    """A run at this rate does not go up."""
    problem = problem_of(loss, 80, 6)
    network = accel.LinearNetwork.for_problem(problem, 1)
    rate = accel.stable_rate(problem, network, accel.GradientDescent(1.0))
    history = accel.train(problem, network, accel.GradientDescent(rate), 50, record_every=1).history
    if loss.smoothness == 2:
        assert (np.diff(history.loss) <= 1e-12).all()
    assert history.loss[-1] < history.loss[0]


@pytest.mark.parametrize("loss", [Huber(0.7), Pinball(0.3), LogCosh()], ids=repr)
@pytest.mark.parametrize("k", [3, 20])
def test_several_outputs_are_a_sum_of_losses(loss, k):
    problem = problem_of(loss, 90, 40, k)
    W = np.random.default_rng(1).standard_normal((k, 40))
    alone = [
        accel.Problem(problem.X, problem.Y[:, c], loss).loss_and_gradient(W[c]) for c in range(k)
    ]
    value, gradient = problem.loss_and_gradient(W)
    assert value == pytest.approx(sum(each for each, _ in alone), rel=1e-13)
    np.testing.assert_allclose(gradient, [each for _, each in alone], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("k", [3, 20])
def test_a_run_of_several_outputs(k):
    """Few, which are maps like those of a sweep, and many, which have a loop of their own."""
    problem = problem_of(Huber(0.7), 90, 40, k)
    result = accel.train(problem, start(problem), accel.GradientDescent(0.01), 30)
    plain = accel.train(
        problem, start(problem), accel.GradientDescent(0.01), 30, backend="reference"
    )
    np.testing.assert_allclose(result.history.loss, plain.history.loss, rtol=1e-10)


@each_loss
def test_records_and_curvature(loss):
    problem = problem_of(loss, 80, 6)
    network, h = start(problem), 1e-5
    direction = np.random.default_rng(2).standard_normal(network.n_params)
    product = accel.theory.hessian_vector_product(problem, network, direction)

    def slope(params):
        factors = network.with_params(params)
        G = problem.gradient(factors.end_to_end()).reshape(problem.k, -1)
        upper, lower = factors.factors[1], factors.factors[0]
        return np.concatenate([(upper.T @ G).ravel(), (G @ lower.T).ravel()])

    ends = [slope(network.params + s * h * direction) for s in (1, -1)]
    if loss.smoothness == 2:
        np.testing.assert_allclose(product, (ends[0] - ends[1]) / (2 * h), rtol=1e-4, atol=1e-6)
    result = accel.train(
        problem, network, accel.GradientDescent(RATE), 20, record=["singular_values", "sharpness"],
        record_every=10, validation=problem,
    )  # fmt: skip
    history = result.history
    np.testing.assert_allclose(history["validation_loss"], history.loss, rtol=1e-10)
    assert np.isfinite(history["sharpness"]).all()


def test_pinball_finds_quantiles_and_expectile_expectiles():
    """Of a constant fit: what is left below it has the share tau."""
    y = np.random.default_rng(0).exponential(size=999)
    ones = np.ones((999, 1))
    for tau in (0.1, 0.5, 0.9):
        best = accel.optimum(accel.Problem(ones, y, Pinball(tau)))
        assert abs((y < best.W[0, 0]).mean() - tau) <= 1.5 / 999
        w = accel.optimum(accel.Problem(ones, y, Expectile(tau))).W[0, 0]
        above, below = np.maximum(y - w, 0).mean(), np.maximum(w - y, 0).mean()
        assert (1 - tau) * below == pytest.approx(tau * above, rel=1e-6)


def test_lp_is_one_of_them():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((50, 4)), rng.standard_normal(50)
    one, other = accel.LpProblem(X, y, 3, scale="1/p"), accel.Problem(X, y, Lp(3, "1/p"))
    network = start(one)
    results = [accel.train(p, network, accel.Adam(0.01), 50) for p in (one, other)]
    assert np.array_equal(results[0].network.params, results[1].network.params)
    assert results[1].p == 3
    assert results[1].scale == "1/p"
    assert repr(other) == repr(one).replace("LpProblem", "Problem")


@pytest.mark.parametrize("loss", [Huber(0.7), Logistic()], ids=repr)
def test_in_float32(loss):
    problem = problem_of(loss, 300, 30, dtype="float32")
    wide = problem_of(loss, 300, 30)
    network = start(problem)
    result = accel.train(problem, network, accel.GradientDescent(RATE), STEPS)
    exact = accel.train(wide, start(wide), accel.GradientDescent(RATE), STEPS, backend="reference")
    np.testing.assert_allclose(result.history.loss, exact.history.loss, rtol=2e-5)
