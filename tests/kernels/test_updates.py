"""Optimiser steps: closed forms, torch.optim, and every backend against plain NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.kernels.cpu import updates as cpu
from accel.kernels.cpu.jit import inner
from accel.kernels.cpu.pointers import pointer
from accel.kernels.specs import (
    ADADELTA,
    ADAGRAD,
    ADAM,
    GRADIENT_DESCENT,
    MOMENTUM,
    NESTEROV,
    RMSPROP,
    STATE_SLOTS,
    Loss,
    Rule,
)

# The hyperparameters are torch's defaults, the rates are torch's where it has one.
RULES = {
    "gradient descent": Rule(GRADIENT_DESCENT, (0.002, 0.0, 0.0, 0.0, 0.0)),
    "momentum": Rule(MOMENTUM, (0.0005, 0.0, 0.9, 0.0, 0.0)),
    "nesterov": Rule(NESTEROV, (0.0005, 0.0, 0.9, 0.0, 0.0)),
    "adagrad": Rule(ADAGRAD, (0.01, 0.0, 0.0, 0.0, 1e-10)),
    "adadelta": Rule(ADADELTA, (1.0, 0.0, 0.9, 0.0, 1e-6)),
    "rmsprop": Rule(RMSPROP, (0.01, 0.0, 0.99, 0.0, 1e-8)),
    "adam": Rule(ADAM, (0.001, 0.0, 0.9, 0.999, 1e-8)),
}
each_rule = pytest.mark.parametrize("name", RULES)
DTYPES = [np.float32, np.float64]


def fresh_state(kind, params):
    return np.zeros((STATE_SLOTS[kind], params.size), params.dtype)


def torch_optimizer(torch, name, factors):
    rate = RULES[name].hyper[0]
    return {
        "gradient descent": lambda: torch.optim.SGD(factors, lr=rate),
        "momentum": lambda: torch.optim.SGD(factors, lr=rate, momentum=0.9),
        "nesterov": lambda: torch.optim.SGD(factors, lr=rate, momentum=0.9, nesterov=True),
        "adagrad": lambda: torch.optim.Adagrad(factors),
        "adadelta": lambda: torch.optim.Adadelta(factors),
        "rmsprop": lambda: torch.optim.RMSprop(factors),
        "adam": lambda: torch.optim.Adam(factors),
    }[name]()


@each_rule
def test_200_steps_of_torch(kernels, name):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    widths, p = (6, 5, 4, 2), 4.0
    X = rng.standard_normal((40, 6))
    Y = X @ rng.standard_normal((6, 2)) / 3 + 0.1 * rng.standard_normal((40, 2))
    blocks = [
        rng.standard_normal((m, n)) / np.sqrt(n)
        for m, n in zip(widths[1:], widths[:-1], strict=True)
    ]
    params = np.concatenate([block.ravel() for block in blocks])
    rule = RULES[name]
    state = fresh_state(rule.kind, params)

    factors = [torch.tensor(block, requires_grad=True) for block in blocks]
    inputs, targets = torch.from_numpy(X), torch.from_numpy(Y)
    optimizer = torch_optimizer(torch, name, factors)
    start = params.copy()
    for step in range(1, 201):
        W = kernels.factor_chain.end_to_end(params, widths)
        _, G = kernels.lp_loss.loss_and_gradient(X, Y, W, Loss(p))
        grads = kernels.factor_chain.gradients(params, widths, G)
        kernels.updates.update(rule.kind, params, grads, state, rule.hyper, step)

        optimizer.zero_grad()
        output = inputs
        for factor in factors:
            output = output @ factor.T
        ((output - targets).abs() ** p).sum(1).mean().backward()
        optimizer.step()
        expected = torch.cat([factor.detach().ravel() for factor in factors]).numpy()
        assert np.max(abs(params - expected)) <= 1e-9 * np.max(abs(expected)), f"step {step}"
    assert np.max(abs(params - start)) > 0.05  # it went somewhere


def constant_gradient_position(name, hyper, g, steps):
    """Where ``steps`` updates with the gradient g lead to from 0."""
    rate, _, a, _, eps = hyper
    t = np.arange(1, steps + 1)[:, None]
    if name == "adadelta":
        position, s = 0.0, 0.0
        for i in range(1, steps + 1):
            u = g * np.sqrt(s + eps) / np.sqrt((1 - a**i) * g**2 + eps)
            s = a * s + (1 - a) * u**2
            position = position - rate * u
        return position
    directions = {
        "gradient descent": lambda: g + 0 * t,
        "momentum": lambda: g * (1 - a**t) / (1 - a),
        "nesterov": lambda: g * (1 - a ** (t + 1)) / (1 - a),
        "adagrad": lambda: g / (abs(g) * np.sqrt(t) + eps),
        "rmsprop": lambda: g / (abs(g) * np.sqrt(1 - a**t) + eps),
        "adam": lambda: g / (abs(g) + eps) + 0 * t,
    }
    return -rate * np.sum(directions[name](), axis=0)


@pytest.mark.parametrize("weights", [None, (0.3, 0.4)])
@pytest.mark.parametrize("dtype", DTYPES)
@each_rule
def test_constant_gradient(kernels, name, dtype, weights):
    kind, (rate, decay, *usual, eps), _ = RULES[name]
    rule = Rule(kind, (rate, decay, *(weights or usual), eps))
    g = np.array([-3.0, -0.02, 0.0, 1e-3, 0.5, 7.0, 1e3], dtype)
    params = np.zeros_like(g)
    state, before = fresh_state(rule.kind, params), g.copy()
    for step in range(1, 31):
        kernels.updates.update(rule.kind, params, g, state, rule.hyper, step)
    assert params.dtype == dtype
    expected = constant_gradient_position(name, rule.hyper, g.astype(np.float64), 30)
    rtol = 1e-4 if dtype == np.float32 else 1e-11
    np.testing.assert_allclose(params, expected, rtol=rtol, atol=0)
    np.testing.assert_array_equal(g, before)


@each_rule
def test_decay_shrinks_the_weights_before_the_step(kernels, name):
    rng = np.random.default_rng(8)
    kind, (rate, _, *rest), _ = RULES[name]
    params, grads = rng.standard_normal((2, 50))
    state = rng.uniform(0.1, 1, (STATE_SLOTS[kind], 50))
    expected, expected_state = (1 - rate * 0.3) * params, state.copy()
    kernels.updates.update(kind, expected, grads, expected_state, (rate, 0.0, *rest), 4)
    kernels.updates.update(kind, params, grads, state, (rate, 0.3, *rest), 4)
    np.testing.assert_allclose(params, expected, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(state, expected_state)


@given(
    name=st.sampled_from(list(RULES)),
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, 3000),
    step=st.integers(1, 5000),
    decay=st.sampled_from([0.0, 0.01]),
    dtype=st.sampled_from(DTYPES),
)
def test_compiled_step_is_the_plain_step(compiled, plain, name, seed, size, step, decay, dtype):
    rng = np.random.default_rng(seed)
    kind, (rate, _, *rest), _ = RULES[name]
    hyper = (rate, decay, *rest)
    params, grads = rng.standard_normal((2, size)).astype(dtype)
    state = rng.uniform(0.01, 1, (STATE_SLOTS[kind], size)).astype(dtype)
    expected, expected_state = params.copy(), state.copy()
    plain.updates.update(kind, expected, grads, expected_state, hyper, step)
    compiled.updates.update(kind, params, grads, state, hyper, step)
    tolerance = 2e-6 if dtype == np.float32 else 1e-14
    np.testing.assert_allclose(params, expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(state, expected_state, rtol=tolerance, atol=tolerance)


@each_rule
def test_a_stretch_at_a_time_on_the_cpu(name):
    """As the loop does it, layer by layer: the same bits."""
    rng = np.random.default_rng(1)
    kind, hyper, _ = RULES[name]
    params, grads = rng.standard_normal((2, 100))
    state = rng.uniform(0.01, 1, (STATE_SLOTS[kind], 100))
    whole, whole_state = params.copy(), state.copy()
    cpu.update(kind, whole, grads, whole_state, hyper, 4)
    rule, update = cpu.make_rule(kind, hyper), cpu.make_update(params.dtype)

    @inner
    def stretch(params, state, grads, start, rule, step):
        cpu.prepare(pointer(rule), pointer(rule), step, 0)
        memory = cpu.Memory(pointer(state), params.size, pointer(rule), 0)
        update(pointer(params), memory, pointer(grads), start, grads.size)

    for start, end in ((40, 100), (0, 40)):
        stretch(params, state.reshape(-1), grads[start:end].copy(), start, rule, 4)
    np.testing.assert_array_equal(params, whole)
    np.testing.assert_array_equal(state, whole_state)


@pytest.mark.parametrize(("dtype", "large"), [(np.float32, 1e30), (np.float64, 1e160)])
@pytest.mark.parametrize("decay", [0.0, 0.01])
@each_rule
def test_a_gradient_whose_square_overflows(compiled, plain, name, dtype, large, decay):
    kind, (rate, _, *rest), _ = RULES[name]
    g = np.array([large, -large, 1.0, -2.0] * 9, dtype)
    ends = []
    for kernels in (plain, compiled):
        params = np.linspace(-1, 1, g.size, dtype=dtype)
        state = fresh_state(kind, params)
        with np.errstate(over="ignore", invalid="ignore"):
            for step in (1, 2, 3):
                kernels.updates.update(kind, params, g, state, (rate, decay, *rest), step)
        ends.append(params)
    squares = kind not in (GRADIENT_DESCENT, MOMENTUM, NESTEROV)
    assert np.isnan(ends[0][abs(g) == large]).all() == squares  # the run diverges
    assert np.isfinite(ends[0][abs(g) < large]).all()
    np.testing.assert_allclose(ends[1], ends[0], rtol=1e-5 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["adagrad", "adadelta", "rmsprop", "adam"])
def test_an_eps_that_the_dtype_has_no_number_for(kernels, dtype, name):
    """A gradient that is always 0 leaves its parameter where it is."""
    kind, hyper, _ = RULES[name]
    params, grads = np.array([1.0, 2.0], dtype), np.array([0.0, 1.0], dtype)
    state = fresh_state(kind, params)
    for step in (1, 2):
        kernels.updates.update(kind, params, grads, state, (*hyper[:4], 1e-320), step)
    assert params[0] == 1
    assert np.isfinite(params[1])
