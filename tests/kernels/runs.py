"""Problems, rules, and runs written out with the plain NumPy kernels."""

from typing import Any, NamedTuple

import numpy as np
import pytest

from accel.kernels.reference import schedules
from accel.kernels.reference.schedules import Term, program_of
from accel.kernels.specs import (
    ADADELTA,
    ADAGRAD,
    ADAM,
    CONSTANT,
    COSINE,
    END_TO_END,
    GRADIENT_DESCENT,
    GROUP_RMSPROP,
    LINES_OF_TABLE,
    MOMENTUM,
    NESTEROV,
    POLYNOMIAL,
    RMSPROP,
    RUNNING,
    STAIRCASE,
    STATE_SLOTS,
    Loss,
    ModelSpec,
    Rule,
)

RULES = {
    "gradient descent": Rule(GRADIENT_DESCENT, (0.02, 0.0, 0.0, 0.0, 0.0)),
    "momentum": Rule(MOMENTUM, (0.005, 0.0, 0.9, 0.0, 0.0)),
    "nesterov": Rule(NESTEROV, (0.005, 0.0, 0.9, 0.0, 0.0)),
    "adagrad": Rule(ADAGRAD, (0.01, 0.0, 0.0, 0.0, 1e-10)),
    "adadelta": Rule(ADADELTA, (1.0, 0.0, 0.9, 0.0, 1e-6)),
    "rmsprop": Rule(RMSPROP, (0.002, 0.0, 0.99, 0.0, 1e-8)),
    "adam": Rule(ADAM, (0.001, 0.0, 0.9, 0.999, 1e-8)),
    "group rmsprop": Rule(GROUP_RMSPROP, (0.01, 0.0, 0.99, 0.0, 1e-6)),
    "group rmsprop, factors": Rule(GROUP_RMSPROP, (0.01, 0.0, 0.95, 1.0, 1e-6)),
    "end-to-end 3": Rule(END_TO_END, (0.02, 0.0, 3.0, 0.0, 0.0)),
    "end-to-end 8": Rule(END_TO_END, (0.02, 0.0, 8.0, 0.0, 0.0)),
}
PLAIN = RULES["gradient descent"]

WARM_UP = program_of([
    (0, (Term(POLYNOMIAL, (0.1, 1.0, 6.0, 1.0)), Term(CONSTANT, (0.01,)))),
    (9, (Term(COSINE, (0.01, 0.1, 15.0, 1.0), 9),)),
])  # fmt: skip
STAIRS = program_of([(0, (Term(STAIRCASE, (0.3, 0.5, 5.0, -np.inf, np.inf)),))])
RISING = program_of([(0, (Term(LINES_OF_TABLE, (), 0, np.array([4.0, 25.0, 0.5, 0.9, 0.2])),))])
#: Rules with programs of schedules, and one without.
SCHEDULED = {
    "descent": Rule(GRADIENT_DESCENT, (0.001, 0.0, 0.0, 0.0, 0.0), (WARM_UP, None, None)),
    "decay": Rule(GRADIENT_DESCENT, (0.01, 0.3, 0.0, 0.0, 0.0), (None, STAIRS, None)),
    "momentum": Rule(MOMENTUM, (0.001, 0.3, 0.5, 0.0, 0.0), (WARM_UP, STAIRS, RISING)),
    "nesterov": Rule(NESTEROV, (0.005, 0.0, 0.5, 0.0, 0.0), (None, None, RISING)),
    "adam": Rule(ADAM, (0.001, 0.3, 0.9, 0.999, 1e-8), (WARM_UP, STAIRS, None)),
    "group rmsprop": Rule(GROUP_RMSPROP, (0.001, 0.3, 0.9, 1.0, 1e-6), (WARM_UP, STAIRS, None)),
    "end-to-end 3": Rule(END_TO_END, (0.001, 0.3, 3.0, 0.0, 0.0), (WARM_UP, STAIRS, None)),
    "none": Rule(MOMENTUM, (0.005, 0.1, 0.9, 0.0, 0.0)),
}

each_rule = pytest.mark.parametrize("name", RULES)
DTYPES = [np.float32, np.float64]
HIDDEN = {"depth 1": (), "depth 2": (1,), "depth 3": (5, 4), "depth 8": (3,) * 7}


class Problem(NamedTuple):
    """The arguments of a TrainingLoop but for the rule and the threads."""

    X: Any
    Y: Any
    loss: Loss
    widths: tuple
    params: Any


class Single:
    """A run of one model, its numbers in place of arrays over models."""

    def __init__(self, module, X, Y, loss, widths, params, rule, threads=1, batches=None):
        models = [ModelSpec(widths, params, rule)]
        self.loop = module.TrainingLoop(X, Y, loss, models, threads, batches)

    def __getattr__(self, name):
        return getattr(self.loop, name)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.loop.close()

    @property
    def params(self):
        return self.loop.params(0)

    def advance(self, *arguments, **stops):
        self.loop.advance(*arguments, **stops)
        return self.loop.statuses[0]

    def evaluate(self):
        return self.loop.evaluate()[0]

    def take_history(self):
        steps, rows = self.loop.take_history()
        return np.column_stack([steps, rows[:, 0]])


def assert_cuts_do_not_show(module, case, rule, batches=None):
    """A run in chunks, each begun once more from a snapshot, has the bits of one in one piece."""
    own = *case, rule, 1, batches
    with Single(module, *own) as whole, Single(module, *own) as parts:
        whole.advance(30, record_every=4)
        pieces = []
        for steps in (1, 0, 3, 17, 9):
            middle = parts.snapshot()
            parts.advance(steps + 2)
            parts.restore(middle)
            parts.advance(steps, record_every=4)
            pieces.append(parts.take_history())
        np.testing.assert_array_equal(parts.params, whole.params)
        np.testing.assert_array_equal(np.concatenate(pieces), whole.take_history())


def diagonal(seed=0, d=17, k=1, rest=0.7):
    """A diagonal, as singular values are sorted, targets, and a loss."""
    rng = np.random.default_rng(seed)
    s = np.sort(rng.uniform(0.5, 4, d))[::-1]
    Y = s[:, np.newaxis] * rng.standard_normal((d, k)) + 0.2 * rng.standard_normal((d, k))
    return s, Y, Loss(2.0, 0.5, "diagonal", rest)


def problem(
    seed=0, n=203, d=17, hidden=(5,), k=1, p=4.0, factor=1.0, form="direct", dtype=np.float64
):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) / np.sqrt(d)
    Y = X @ rng.standard_normal((d, k)) + 0.2 * rng.standard_normal((n, k))
    widths = (d, *hidden, k)
    blocks = [
        rng.standard_normal(rows * columns) / np.sqrt(columns)
        for rows, columns in zip(widths[1:], widths[:-1], strict=True)
    ]
    params = np.concatenate(blocks).astype(dtype)
    loss = Loss(p, factor, form)
    if form == "diagonal":
        X, Y, loss = diagonal(d=d, k=k)
    elif form == "measurements":
        X, Y = rng.standard_normal((n, k * d)) / np.sqrt(k * d), rng.standard_normal((n, 1))
    elif form == "entries":
        places = np.column_stack([rng.integers(0, size, n) for size in (k, d)])
        return Problem(places, rng.standard_normal((n, 1)).astype(dtype), loss, widths, params)
    return Problem(X.astype(dtype), Y.astype(dtype), loss, widths, params)


def for_rule(name, **shape):
    """A problem on which this rule can run: the end-to-end rule has a single factor."""
    return problem(**{**shape, "hidden": ()} if name.startswith("end-to-end") else shape)


def by_definition(plain, X, Y, W, loss):
    """Loss and gradient by the direct pass, in the form "diagonal" over the matrix itself."""
    if loss.form != "diagonal":
        return plain.lp_loss.loss_and_gradient(X, Y, W, loss)
    value, G = plain.lp_loss.loss_and_gradient(np.diag(X), Y, W, loss)
    return value + loss.factor * loss.rest / len(X), G


def moved(plain, widths, rule, params, state, at, step):
    """The parameters after an update, from ``at``, the end-to-end matrix and the gradient there."""
    (W, G), (rate, decay, a, *_) = at, schedules.at(rule, step)
    if rule.kind == END_TO_END:
        push = plain.precondition.precondition(W, G, int(a))
        return ((1 - rate * decay * a) * W - rate * push).ravel()
    grads = plain.factor_chain.gradients(params, widths, G)
    starts, hyper = plain.factor_chain.starts_of(widths), schedules.at(rule, step)
    plain.updates.update(rule.kind, params, grads, state, hyper, step + 1, starts)
    return params


def written_out(plain, case, rule, steps):
    """The iterates' history rows 0..steps and the last parameters."""
    X, Y, loss, widths, params = case
    params, rows = params.copy(), []
    state = np.zeros((STATE_SLOTS[rule.kind], params.size), params.dtype)
    for step in range(steps + 1):
        W = plain.factor_chain.end_to_end(params, widths)
        value, G = by_definition(plain, X, Y, W, loss)
        norms = (float(np.sqrt(np.sum(A.astype(np.float64) ** 2))) for A in (G, W))
        rows.append((step, value, *norms))
        if step == steps:
            return np.array(rows), params
        params = moved(plain, widths, rule, params, state, (W, G), step)


def assert_same_run(plain, loop, case, rule, steps):
    """Run ``loop``, every iterate recorded, and compare all of it."""
    assert loop.advance(steps, record_every=1) == RUNNING
    assert loop.step == steps
    rows, params = written_out(plain, case, rule, steps)
    tolerance = 1e-4 if case.X.dtype == np.float32 else 1e-10
    history = loop.take_history()
    np.testing.assert_array_equal(history[:, 0], np.arange(steps))
    np.testing.assert_allclose(history, rows[:-1], rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(loop.evaluate(), rows[-1], rtol=tolerance, atol=tolerance)
    assert loop.params.dtype == params.dtype
    scale = np.max(abs(params))
    np.testing.assert_allclose(loop.params, params, rtol=0, atol=tolerance * scale)
    assert np.max(abs(params - case.params)) > 1e-6 * scale  # it went somewhere
