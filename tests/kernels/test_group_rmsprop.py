"""Group RMSProp: its definition in plain NumPy, torch, every backend, every layout of the loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.kernels.cpu import loop as cpu_loop
from accel.kernels.specs import DIVERGED, GROUP_RMSPROP, RUNNING, Loss, ModelSpec, Rule

from .runs import DTYPES, RULES, Single, assert_same_run, problem

SCALES = {"network": 0.0, "factor": 1.0}
each_scale = pytest.mark.parametrize("scale", SCALES)
WIDTHS = (6, 5, 4, 2)


def rule_of(scale, rate=0.01, decay=0.0, alpha=0.9, eps=1e-6):
    return Rule(GROUP_RMSPROP, (rate, decay, alpha, SCALES[scale], eps))


def start(seed=0, widths=WIDTHS):
    rng = np.random.default_rng(seed)
    return [
        rng.standard_normal((rows, columns)) / np.sqrt(columns)
        for rows, columns in zip(widths[1:], widths[:-1], strict=True)
    ]


def data(seed=1, n=40):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, WIDTHS[0]))
    return X, X @ rng.standard_normal((WIDTHS[0], WIDTHS[-1])) / 3


def gradients(X, Y, factors):
    """Gradients of the mean squared residual in every factor, by the chain rule, by hand."""
    W1, W2, W3 = factors
    R = 2 * (X @ W1.T @ W2.T @ W3.T - Y) / len(X)
    return [
        (W3 @ W2).T @ R.T @ X,
        W3.T @ R.T @ X @ W1.T,
        R.T @ X @ W1.T @ W2.T,
    ]


def from_the_definition(X, Y, factors, rule, scale, steps):
    """The factors after each step, nothing of accel in it."""
    rate, decay, alpha, _, eps = rule.hyper
    factors, means, iterates = list(factors), [0.0] * len(factors), []
    for t in range(1, steps + 1):
        grads = gradients(X, Y, factors)
        sums = [float((g * g).sum()) for g in grads]
        if scale == "network":
            sums = [sum(sums)] * len(sums)
        means = [alpha * s + (1 - alpha) * square for s, square in zip(means, sums, strict=True)]
        factors = [
            (1 - rate * decay) * W - rate * g / (np.sqrt(s / (1 - alpha**t)) + eps)
            for W, g, s in zip(factors, grads, means, strict=True)
        ]
        iterates.append(np.concatenate([W.ravel() for W in factors]))
    return iterates


@pytest.mark.parametrize("decay", [0.0, 0.3])
@each_scale
def test_twenty_steps_of_the_definition(kernels, scale, decay):
    """By the rule alone, and by the loop."""
    (X, Y), factors, rule = data(), start(), rule_of(scale, decay=decay)
    iterates = from_the_definition(X, Y, factors, rule, scale, 20)
    params = np.concatenate([W.ravel() for W in factors])
    with Single(kernels.loop, X, Y, Loss(2.0), WIDTHS, params, rule) as loop:
        for expected in iterates:
            assert loop.advance(1) == RUNNING
            np.testing.assert_allclose(loop.params, expected, rtol=1e-11, atol=1e-13)
    state, starts = np.zeros((1, params.size)), [0, 30, 50]
    for step, expected in enumerate(iterates, 1):
        blocks = [
            part.reshape(W.shape)
            for part, W in zip(np.split(params, starts[1:]), factors, strict=True)
        ]
        grads = np.concatenate([g.ravel() for g in gradients(X, Y, blocks)])
        kernels.updates.update(rule.kind, params, grads, state, rule.hyper, step, starts)
        np.testing.assert_allclose(params, expected, rtol=1e-11, atol=1e-13)
    assert np.max(abs(params - np.concatenate([W.ravel() for W in factors]))) > 0.02
    # One number a group, where the group begins.
    assert np.flatnonzero(state[0]).tolist() == ([0] if scale == "network" else starts)


def torch_optimizer(torch, groups, rate, alpha, eps):
    """As an optimiser of torch: one mean for every group of parameters."""

    class OneScale(torch.optim.Optimizer):
        def __init__(self):
            super().__init__([{"params": group} for group in groups], {})
            self.mean, self.made = [torch.zeros((), dtype=torch.float64) for _ in groups], 0

        @torch.no_grad()
        def step(self):
            self.made += 1
            for i, group in enumerate(self.param_groups):
                square = sum(W.grad.pow(2).sum() for W in group["params"])
                self.mean[i] = torch.lerp(square, self.mean[i], alpha)
                root = (self.mean[i] / (1 - alpha**self.made)).sqrt()
                for W in group["params"]:
                    W.sub_(rate / (root + eps) * W.grad)

    return OneScale()


@each_scale
def test_200_steps_of_torch(kernels, scale):
    torch = pytest.importorskip("torch")
    (X, Y), blocks, rule = data(), start(), rule_of(scale, rate=0.003)
    rate, _, alpha, _, eps = rule.hyper
    params = np.concatenate([W.ravel() for W in blocks])
    factors = [torch.tensor(W, requires_grad=True) for W in blocks]
    groups = [factors] if scale == "network" else [[W] for W in factors]
    optimizer = torch_optimizer(torch, groups, rate, alpha, eps)
    inputs, targets = torch.from_numpy(X), torch.from_numpy(Y)
    with Single(kernels.loop, X, Y, Loss(4.0), WIDTHS, params, rule) as loop:
        for _ in range(200):
            loop.advance(1)
            optimizer.zero_grad()
            output = inputs
            for W in factors:
                output = output @ W.T
            ((output - targets) ** 4).sum(1).mean().backward()
            optimizer.step()
            expected = torch.cat([W.detach().ravel() for W in factors]).numpy()
            np.testing.assert_allclose(loop.params, expected, rtol=0, atol=1e-9)
        assert np.max(abs(loop.params - params)) > 0.05  # it went somewhere


@settings(max_examples=60)
@given(
    scale=st.sampled_from(sorted(SCALES)),
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.integers(1, 700), min_size=1, max_size=4),
    step=st.integers(1, 5000),
    decay=st.sampled_from([0.0, 0.01]),
    dtype=st.sampled_from(DTYPES),
)
def test_compiled_step_is_the_plain_step(compiled, plain, scale, seed, sizes, step, decay, dtype):
    rng = np.random.default_rng(seed)
    starts, hyper = [0, *np.cumsum(sizes)[:-1].tolist()], rule_of(scale, decay=decay).hyper
    params, grads = rng.standard_normal((2, sum(sizes))).astype(dtype)
    state = np.zeros((1, params.size), dtype)
    state[0, starts if SCALES[scale] else 0] = rng.uniform(0.01, 1)
    expected, expected_state = params.copy(), state.copy()
    plain.updates.update(GROUP_RMSPROP, expected, grads, expected_state, hyper, step, starts)
    compiled.updates.update(GROUP_RMSPROP, params, grads, state, hyper, step, starts)
    tolerance = 2e-6 if dtype == np.float32 else 1e-14
    np.testing.assert_allclose(params, expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(state, expected_state, rtol=tolerance, atol=tolerance)


def test_sums_of_squares_are_made_in_float64(kernels):
    """In float32 a sum of so many ones ends at 2^24."""
    size = 2**24 + 2**22
    params, grads = np.zeros(size, np.float32), np.ones(size, np.float32)
    state, hyper = np.zeros((1, size), np.float32), rule_of("network", alpha=0.5).hyper
    kernels.updates.update(GROUP_RMSPROP, params, grads, state, hyper, 1)
    assert state[0, 0] == size / 2


@pytest.mark.parametrize(("dtype", "large"), [(np.float32, 1e30), (np.float64, 1e160)])
@each_scale
def test_a_sum_that_overflows_makes_nan_of_its_group(kernels, scale, dtype, large):
    """Divided by it, every later step would be 0, and the model seem to have come to rest."""
    params, grads = np.ones(30, dtype), np.ones(30, dtype)
    grads[12] = large
    state, hyper = np.zeros((1, 30), dtype), rule_of(scale).hyper
    with np.errstate(over="ignore", invalid="ignore"):
        kernels.updates.update(GROUP_RMSPROP, params, grads, state, hyper, 1, [0, 10, 20])
    spoilt = np.flatnonzero(np.isnan(params)).tolist()
    assert spoilt == list(range(30) if scale == "network" else range(10, 20))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@each_scale
def test_what_is_not_finite_spoils_its_group(kernels, scale, bad):
    params, grads, state = np.ones(30), np.ones(30), np.zeros((1, 30))
    grads[12] = bad
    with np.errstate(invalid="ignore"):
        kernels.updates.update(
            GROUP_RMSPROP, params, grads, state, rule_of(scale).hyper, 1, [0, 10, 20]
        )
    spoilt = np.flatnonzero(~np.isfinite(params)).tolist()
    assert spoilt == list(range(30) if scale == "network" else range(10, 20))


@pytest.mark.parametrize("dtype", DTYPES)
@each_scale
def test_where_there_is_no_gradient_nothing_moves(kernels, scale, dtype):
    """Also by an eps for which the dtype has no number."""
    params, state = np.arange(1, 31).astype(dtype), np.zeros((1, 30), dtype)
    hyper = rule_of(scale, eps=1e-320).hyper
    for step in (1, 2):
        kernels.updates.update(
            GROUP_RMSPROP, params, np.zeros(30, dtype), state, hyper, step, [0, 10, 20]
        )
    np.testing.assert_array_equal(params, np.arange(1, 31))


@given(seed=st.integers(0, 2**32 - 1), power=st.integers(-40, 40))
def test_it_does_not_depend_on_the_unit_of_the_loss(plain, seed, power):
    """But for eps, steps are those of the gradients times any number."""
    rng = np.random.default_rng(seed)
    grads, hyper = rng.standard_normal((5, 30)), rule_of("factor", eps=1e-300).hyper
    ends = []
    for unit in (1.0, 2.0**power):
        params, state = np.ones(30), np.zeros((1, 30))
        for step, g in enumerate(grads, 1):
            plain.updates.update(GROUP_RMSPROP, params, unit * g, state, hyper, step, [0, 7])
        ends.append(params)
    np.testing.assert_allclose(*ends, rtol=1e-12)


@pytest.mark.parametrize("decay", [0.0, 0.05])
@each_scale
def test_a_diverged_model_goes_back_to_a_finite_iterate(kernels, scale, decay):
    """And on from there as if nothing had been, in every layout with padding."""
    case = problem(d=7, hidden=(5, 3), k=2)
    with Single(kernels.loop, *case, rule_of(scale, decay=decay)) as loop:
        loop.advance(3)
        before, params = loop.snapshot(), loop.params
        loop.advance(4)
        expected = loop.params
        loop.restore(before)
        loop.set_rate(0, 1e200)
        assert loop.advance(50) == DIVERGED
        loop.restore(before)
        loop.set_rate(0, 0.01)
        np.testing.assert_array_equal(loop.params, params)
        loop.advance(4)
        np.testing.assert_array_equal(loop.params, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", [(), (70,), (65, 3), (2, 130, 66)], ids=len)
@each_scale
def test_many_outputs_in_parts(plain, many_ranks, scale, hidden, dtype):
    """Ranks measure rows of their own: the same bits in any number of parts, or more models."""
    case, rule = problem(d=66, hidden=hidden, k=64, n=60, dtype=dtype), rule_of(scale, rate=2e-3)
    ends = []
    for threads in (1, 2, 3, 5):
        with Single(cpu_loop, *case, rule, threads) as loop:
            assert loop.loop._wide
            assert_same_run(plain, loop, case, rule, 20)
            ends.append(loop.params)
    X, Y, loss, widths, params = case
    others = [ModelSpec(widths, params, RULES["adam"]), ModelSpec(widths, params, rule)]
    with cpu_loop.TrainingLoop(X, Y, loss, [*others, others[0]], 2) as together:
        together.advance(20)
        ends.append(together.params(1))
    for end in ends[1:]:
        np.testing.assert_array_equal(end, ends[0])


@settings(max_examples=25)
@given(
    scale=st.sampled_from(sorted(SCALES)),
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 300),
    d=st.integers(1, 90),
    hidden=st.lists(st.integers(1, 90), max_size=3),
    k=st.sampled_from([1, 1, 2, 5, 17, 40, 90]),
    dtype=st.sampled_from(DTYPES),
    threads=st.sampled_from([1, 2, 3]),
)
def test_random_shapes(plain, scale, seed, n, d, hidden, k, dtype, threads):
    case, rule = problem(seed, n, d, hidden, k, 3.0, dtype=dtype), rule_of(scale, rate=1e-3)
    with Single(cpu_loop, *case, rule, threads) as loop:
        assert_same_run(plain, loop, case, rule, 4)
