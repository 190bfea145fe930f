"""Section 7 on two points: the bound, and what depth gains."""

import dataclasses
import itertools

import numpy as np
import pytest

from accel import EndToEnd, GradientDescent, LinearNetwork, LpProblem, datasets, train
from accel.theory import two_point


def run(p, scale, rule, w=(0.0, 0.0), steps=20_000, **stop):
    data = datasets.two_points(6.0, 1.0)
    problem = LpProblem(data.X, data.y, p, scale=scale)
    network = LinearNetwork((2, 1), init=[[list(w)]])
    return train(problem, network, rule, steps, record_every=1, threads=1, **stop)


@pytest.mark.parametrize("scale", ["mean", "1/p"])
@pytest.mark.parametrize("p", [2.5, 3, 4, 6])
def test_the_bound_is_exact(p, scale):
    """A thousandth below, descent from 0 converges monotonically; a thousandth above it diverges.

    It is 2 / y1^(p-2) for the paper's loss, which has no 1/n: twice that with n = 2.
    """
    bound = two_point(6.0, 1.0, p, scale=scale).bound
    assert bound == pytest.approx(4 / 6 ** (p - 2) / (1 if scale == "1/p" else p))
    below = run(p, scale, GradientDescent(0.999 * bound), target=0.1 / p)
    assert below.status == "target"
    assert np.all(np.diff(below.history.loss) < 0)
    above = run(p, scale, GradientDescent(1.001 * bound), steps=1000)
    assert above.status == "diverged" or above.history.loss[-1] > above.history.loss[0]


@pytest.mark.parametrize("start", [1e-4, 0.05])
@pytest.mark.parametrize("p", [3, 4, 5])
def test_bisection_finds_the_bound(p, start):
    """Counted from the first residual, which the start makes smaller than y1."""
    analysis = two_point(6.0, 1.0, p, start=start)
    residual = 1 - start / np.hypot(1, 6.0 ** (1 - p))
    assert analysis.plain.learning_rate == pytest.approx(
        analysis.bound / residual ** (p - 2), rel=2e-3
    )


def test_search_reports_what_training_does():
    analysis = two_point(6.0, 1.0, 4, depth=3, start=0.01)
    gradient = np.array([6.0, 1.0]) ** 3
    w = 0.06 * gradient / np.linalg.norm(gradient)
    for descent, rule in (
        (analysis.plain, GradientDescent(analysis.plain.learning_rate)),
        (analysis.deep, EndToEnd(analysis.deep.learning_rate, 3)),
    ):
        result = run(4, "mean", rule, w, target=0.01 / 2)
        assert result.status == "target"
        assert result.steps == descent.steps
        assert np.all(np.diff(result.history.loss) < 0)
    faster = run(4, "mean", EndToEnd(1.01 * analysis.deep.learning_rate, 3), w, target=0.01 / 2)
    assert faster.status == "diverged" or np.any(np.diff(faster.history.loss) > 0)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_depth_accelerates_by_a_factor_that_levels_off(depth):
    """Both slow down as (y1/y2)^(p-2), so the speed-up stays bounded."""
    points = [two_point(ratio, 1.0, 4, depth) for ratio in (8.0, 16.0, 32.0)]
    for before, after in itertools.pairwise(points):
        assert after.plain.steps / before.plain.steps == pytest.approx(4, rel=0.05)
        assert after.deep.steps / before.deep.steps == pytest.approx(4, rel=0.1)
    assert all(2 < one.speedup < 6 for one in points)
    assert points[2].speedup == pytest.approx(points[1].speedup, rel=0.1)


def test_units_of_targets_and_loss_do_not_matter():
    one, other = two_point(8.0, 1.0, 4), two_point(16.0, 2.0, 4, scale="1/p")
    assert (one.plain.steps, one.deep.steps) == (other.plain.steps, other.deep.steps)
    # 4 for the factor 1/p of the loss; 2^-(p-2) and at depth 2 one more 2 for the units.
    assert other.plain.learning_rate / one.plain.learning_rate == pytest.approx(4 / 4)
    assert other.deep.learning_rate / one.deep.learning_rate == pytest.approx(4 / 8)


def test_defaults():
    written_out = two_point(3.0, 1.0, 4.0, 2, scale="mean", start=0.001, target=0.01)
    assert two_point(3.0, 1.0) == written_out


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"y1": 0.5}, ValueError, "y1 must be finite and >= 1, got 0.5"),
        ({"y2": 0.0}, ValueError, "y2 must be finite and > 0"),
        ({"p": 2}, ValueError, "p must be finite and > 2, got 2"),
        ({"depth": 1}, ValueError, "depth must be >= 2 and <= 10000, got 1"),
        ({"scale": "sum"}, ValueError, "scale must be one of"),
        ({"start": 0.0}, ValueError, "start must be"),
        ({"target": 1.0}, ValueError, "target must be"),
        ({"target": 0.0}, ValueError, "target must be finite and > 0"),
        ({"y1": 1.0, "start": 0.999, "target": 0.5}, ValueError, "below the loss at the start"),
        ({"y1": 1e100}, ValueError, "y1 must have a p-th power"),
        ({"y1": 1e-100, "y2": 1e-100}, ValueError, "y1 must have a p-th power"),
        ({"max_steps": 50}, ValueError, "max_steps must suffice to reach the target, got 50"),
        ({"max_steps": 1}, ValueError, "max_steps must suffice to reach the target, got 1 "),
        ({"max_steps": 0}, ValueError, "max_steps must be >= 1, got 0"),
        ({"max_steps": 1000.5}, TypeError, "max_steps must be an integer"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        two_point(**{"y1": 8.0, "y2": 1.0, **arguments})


def test_ctrl_c_ends_the_search(monkeypatch):
    def interrupted(*arguments, **options):
        return dataclasses.replace(train(*arguments, **options), status="interrupted")

    monkeypatch.setattr("accel.theory.two_points.train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        two_point(8.0, 1.0)
