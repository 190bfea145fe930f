"""The losses as values: their checks, their formulas, their names."""

import dataclasses
import pickle

import numpy as np
import pytest

import accel
from accel import losses
from accel.losses import (
    NAMES,
    CrossEntropy,
    Expectile,
    Exponential,
    Huber,
    LogCosh,
    Logistic,
    Lp,
    Pinball,
    by_name,
)

from ..refusing import refused

NAN = float("nan")
M, Y = np.array([0.5, -2.0, 3.0]), np.array([0.0, 1.0, 2.5])
LABELS = np.array([1, -1, 1])


@pytest.mark.parametrize(
    ("loss", "y", "values"),
    [
        (Lp(3), Y, [0.125, 27, 0.125]),
        (Lp(4, "1/p"), Y, [0.0625 / 4, 81 / 4, 0.0625 / 4]),
        (Huber(1), Y, [0.125, 2.5, 0.125]),
        (Pinball(0.9), Y, [0.05, 2.7, 0.05]),
        (Expectile(0.9), Y, [0.025, 8.1, 0.025]),
        (LogCosh(), Y, np.log(np.cosh(M - Y))),
        (Logistic(), LABELS, np.log(1 + np.exp(-LABELS * M))),
        (Exponential(), LABELS, np.exp(-LABELS * M)),
    ],
)
def test_values_and_slopes_are_those_of_the_formula(loss, y, values):
    np.testing.assert_allclose(loss.value(M, y), values, rtol=1e-14)
    h = 1e-6
    differences = (loss.value(M + h, y) - loss.value(M - h, y)) / (2 * h)
    np.testing.assert_allclose(loss.slope(M, y)[:, 0], differences, rtol=1e-6, atol=1e-6)


def test_cross_entropy_of_labels_and_of_probabilities():
    m = np.array([[1.0, 2.0, 0.0], [0.0, 0.0, 0.0]])
    chances = np.exp(m) / np.exp(m).sum(axis=1, keepdims=True)
    loss = CrossEntropy(3)
    np.testing.assert_allclose(loss.value(m, [1, 0]), -np.log([chances[0, 1], chances[1, 0]]))
    np.testing.assert_allclose(loss.slope(m, [1, 0]), chances - [[0, 1, 0], [1, 0, 0]])
    rows = np.array([[0.5, 0.5, 0], [0, 0.2, 0.8]])
    np.testing.assert_allclose(loss.value(m, rows), -np.sum(rows * np.log(chances), axis=1))
    assert CrossEntropy().targets(np.array([0, 2])).tolist() == [[1, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize("kind", NAMES.values())
def test_they_are_values(kind):
    loss = kind()
    assert loss == kind()
    assert hash(loss) == hash(kind())
    assert isinstance(loss, losses.Loss)
    assert pickle.loads(pickle.dumps(loss)) == loss
    assert by_name(kind.name) == loss
    constants = ", ".join(f"{k}={v!r}" for k, v in dataclasses.asdict(loss).items())
    assert by_name(f"{kind.name}({constants})") == loss
    assert repr(loss) == f"{kind.__name__}({constants})"
    with pytest.raises(dataclasses.FrozenInstanceError):
        loss.name = "other"


def test_by_name_with_constants():
    assert by_name("huber(0.5)") == Huber(0.5)
    assert by_name(" pinball( tau = 0.1 ) ") == Pinball(0.1)
    assert by_name("lp(3, scale='1/p')") == Lp(3, "1/p")
    problem = accel.Problem([[1.0]], [2.0], "huber(0.5)")
    assert problem.loss_function == Huber(0.5)


REFUSED = [
    (ValueError, "p must be finite and >= 1, got 0.5", lambda: Lp(0.5)),
    (ValueError, "scale must be one of mean, 1/p, got 'sum'", lambda: Lp(2, "sum")),
    (ValueError, "delta must be finite and > 0, got 0", lambda: Huber(0)),
    (TypeError, "delta must be a real number, got 'a'", lambda: Huber("a")),
    (ValueError, "tau must be finite and > 0 and < 1, got 1", lambda: Pinball(1)),
    (ValueError, "tau must be finite and > 0 and < 1, got nan", lambda: Expectile(NAN)),
    (ValueError, "classes must be >= 2, got 1", lambda: CrossEntropy(1)),
    (ValueError, "loss must be one of lp, .*, got 'hubert'; did you mean 'huber'",
     lambda: by_name("hubert")),
    (TypeError, r"huber takes delta, got 'huber\(1, 2\)'", lambda: by_name("huber(1, 2)")),
    (TypeError, "loss must be of accel.losses, as Huber", lambda: accel.Problem([[1]], [1], 2)),
    (ValueError, r"y must hold labels -1 and \+1, got 0: 2 \* y - 1 makes them of 0 and 1",
     lambda: accel.Problem([[1], [2]], [0, 1], Logistic())),
    (ValueError, r"y must hold labels -1 and \+1, got 3",
     lambda: accel.Problem([[1], [2]], [1, 3], Exponential())),
    (ValueError, r"y must have one column of labels, got shape \(1, 2\)",
     lambda: accel.Problem([[1]], [[1, 1]], Logistic())),
    (ValueError, "y must hold labels of classes, integers from 0 on, got 0.5",
     lambda: accel.Problem([[1], [2]], [0, 0.5], CrossEntropy())),
    (ValueError, "y must hold labels below 2, got 2",
     lambda: accel.Problem([[1], [2]], [0, 2], CrossEntropy(2))),
    (ValueError, "y must hold rows that add up to 1, got one with 0.9",
     lambda: accel.Problem([[1]], [[0.4, 0.5]], CrossEntropy())),
    (ValueError, "y must hold probabilities, got -0.5",
     lambda: accel.Problem([[1]], [[1.5, -0.5]], CrossEntropy())),
    (ValueError, r"y must have 3 columns, got shape \(1, 2\)",
     lambda: accel.Problem([[1]], [[0.5, 0.5]], CrossEntropy(3))),
    (ValueError, r"y must hold labels \(n,\) or probabilities \(n, k\), got \(1, 1\)",
     lambda: accel.Problem([[1]], [[1]], CrossEntropy())),
    (ValueError, r"method 'gram' needs p = 2, got the loss Huber\(delta=1.35\)",
     lambda: accel.Problem([[1]], [1], Huber(), method="gram")),
    (ValueError, "prediction and y must have as many rows", lambda: Huber().value([1, 2], [1])),
    (ValueError, "prediction must have 1 columns for these targets, got 2",
     lambda: Huber().value([[1, 2]], [1])),
    (AttributeError, r"a Problem with the loss Huber\(delta=1.35\) has no p",
     lambda: accel.Problem([[1]], [1], Huber()).p),
    (ValueError, "problem must have a loss with a Lipschitz gradient, got Pinball",
     lambda: accel.theory.curl(accel.Problem([[1.0]], [1.0], Pinball()), [1.0], 3)),
]  # fmt: skip


@pytest.mark.parametrize(("error", "message", "call"), REFUSED)
def test_what_is_wrong_is_refused(error, message, call):
    refused(error, message, call)
