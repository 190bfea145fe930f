"""The live page's engine in JavaScript against the reference backend, which defines the steps."""

import math
from typing import NamedTuple

import numpy as np
import pytest

import accel
from accel import EndToEnd, GradientDescent, LinearNetwork, LpProblem
from accel._core.initializers import balanced_factors
from accel.recording import Snapshots

from .node import ask, needs_node

pytestmark = needs_node

STEPS, CLOSE = 200, 1e-12


class Case(NamedTuple):
    """A run: its depth, whether of the factors or of the end-to-end rule, and its settings."""

    depth: int
    p: float
    rate: float
    condition: float
    ratio: float
    start: float
    rule: bool = False

    @property
    def asked(self):
        """The case as the engine takes it."""
        return {**self._asdict(), "endToEnd": self.rule, "steps": STEPS}

    @property
    def problem(self):
        """The two points, by the direct pass over the data, as in the engine."""
        X = np.diag([1.0, 1 / math.sqrt(self.condition)])
        return LpProblem(X, X @ [self.ratio, 1.0], self.p, method="direct")


CASES = [
    Case(1, 4, 0.009, 1, 10, 0.001),
    Case(2, 4, 0.0015, 1, 10, 0.001),
    Case(3, 4, 6e-4, 1, 10, 0.01),
    Case(4, 4, 4e-4, 30, 8, 0.01),
    Case(1, 2, 1.8, 100, 10, 0.1),
    Case(2, 2, 0.08, 10, 10, 0.001),
    Case(3, 2, 0.02, 10, 3, 0.3),
    Case(1, 1.5, 0.3, 4, 10, 0.001),
    Case(2, 1.5, 0.01, 1, 10, 0.1),
    Case(3, 6.3, 1e-4, 5, 5, 0.03),
    Case(4, 8, 2e-10, 1000, 30, 0.001),
    Case(2, 3, 1.0, 1, 20, 0.001),  # diverges
    Case(1, 4, 0.02, 1, 10, 0.001),  # diverges
    Case(2, 4, 0.0015, 1, 10, 0.001, rule=True),
    Case(3, 2, 0.02, 10, 3, 0.3, rule=True),
    Case(4, 3, 1e-3, 7, 10, 0.01, rule=True),
    Case(1, 4, 0.009, 1, 10, 0.01, rule=True),
]
NAMES = [f"{'rule' if case.rule else 'factors'}-depth{case.depth}-p{case.p:g}-rate{case.rate:g}"
         f"-condition{case.condition:g}-ratio{case.ratio:g}" for case in CASES]  # fmt: skip

RUNS = """
export function answers(engine, cases) {
  return cases.map((asked) => {
    const problem = engine.makeProblem(asked);
    const start = engine.startVector(problem, asked.start);
    const run = new engine.Run(problem, asked, start);
    const told = { start, factors: [], w: [], loss: [] };
    while (!run.diverged && run.step <= asked.steps) {
      told.factors.push(Array.from(run.factors));
      told.w.push([...run.w]);
      told.loss.push(run.loss);
      run.advance();
    }
    told.divergedAt = run.diverged ? run.step : null;
    return told;
  });
}
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What the engine makes of all cases."""
    return ask(tmp_path_factory.mktemp("runs"), RUNS, [case.asked for case in CASES])


def trained(case, init):
    """The same run by the reference backend, with every iterate."""
    depth = 1 if case.rule else case.depth
    network = LinearNetwork((2, *[1] * depth), init=init)
    rule = EndToEnd(case.rate, case.depth) if case.rule else GradientDescent(case.rate)
    return accel.train(
        case.problem, network, rule, STEPS, record_every=1, backend="reference",
        record=Snapshots(factors=True),
    )  # fmt: skip


def factors_from(flat):
    return [np.array([flat[:2]]), *(np.array([[entry]]) for entry in flat[2:])]


@pytest.mark.parametrize("number", range(len(CASES)), ids=NAMES)
@pytest.mark.filterwarnings("ignore::accel.SaddleWarning")  # that is what some starts are for
def test_every_iterate_is_that_of_the_reference(runs, number):
    """Factors and end-to-end vectors to 1e-12; the loss as that of such vectors."""
    case, told = CASES[number], runs[number]
    result = trained(case, factors_from(told["factors"][0]))
    history = result.history
    assert told["divergedAt"] == result.diverged_at
    count = len(told["loss"])
    assert count == (STEPS + 1 if result.diverged_at is None else result.diverged_at)
    assert list(history.step) == list(range(count))
    depth = 1 if case.rule else case.depth
    theirs = np.hstack([history[f"snapshots_W{j}"].reshape(count, -1) for j in range(1, depth + 1)])
    np.testing.assert_allclose(told["factors"], theirs, rtol=CLOSE)
    w = theirs[:, :2] * theirs[:, 2:].prod(axis=1, keepdims=True)
    np.testing.assert_allclose(np.array(told["w"], float), w, rtol=CLOSE)

    X, y = case.problem.X, case.problem.Y[:, 0]
    wrong = CLOSE * (np.abs(w @ X.T) + np.abs(y))  # of the residuals, for w that close
    sizes = np.abs(w @ X.T - y) + wrong
    allowed = CLOSE * history.loss + case.p / 2 * (sizes ** (case.p - 1) * wrong).sum(axis=1)
    assert np.all(np.abs(told["loss"] - history.loss) <= allowed)


def test_starts_are_balanced_and_point_downhill(runs):
    for case, told in zip(CASES, runs, strict=True):
        start = np.array(told["start"])
        slope = case.problem.gradient(np.zeros(2))
        np.testing.assert_allclose(start, -slope * np.linalg.norm(start) / np.linalg.norm(slope))
        np.testing.assert_allclose(np.linalg.norm(start), case.start * case.ratio, rtol=CLOSE)
        if not case.rule:
            shapes = [(1, 2), *[(1, 1)] * (case.depth - 1)]
            expected = balanced_factors(start[np.newaxis], shapes)
            flat = np.concatenate([factor.ravel() for factor in expected])
            # A factor and its neighbour may both have the other sign.
            np.testing.assert_allclose(np.abs(told["factors"][0]), np.abs(flat), rtol=CLOSE)


FIELD = """
export function answers(engine, { settings, places, depths }) {
  const problem = engine.makeProblem(settings);
  return {
    field: depths.map((depth) => places.map((w) => engine.field(problem, w, depth))),
    gradient: places.map((w) => engine.gradient(problem, w)),
    loss: places.map((w) => engine.loss(problem, w)),
  };
}
"""


@pytest.mark.parametrize("p", [1.5, 2, 4, 7.5])
def test_the_vector_field_is_that_of_theory(tmp_path, p):
    case = Case(1, p, 1, 20, 6, 1)
    depths = [1, 2, 3, 4]
    grid = np.linspace(-9, 9, 7)
    places = [[float(a), float(b)] for a in grid for b in grid]
    asked = {"settings": case.asked, "places": places, "depths": depths}
    told = ask(tmp_path, FIELD, asked)
    for w, g, loss in zip(places, told["gradient"], told["loss"], strict=True):
        # Some residuals are 0 but for rounding: as errors of those.
        np.testing.assert_allclose(g, case.problem.gradient(w), rtol=CLOSE, atol=1e-7)
        assert math.isclose(loss, case.problem.loss(w, backend="reference"), rel_tol=CLOSE)
    for depth, rows in zip(depths, told["field"], strict=True):
        for w, F, g in zip(places, rows, told["gradient"], strict=True):
            P = accel.theory.preconditioner(w, depth)
            expected = P.apply(np.array([g]))[0]
            scale = max(np.linalg.norm(expected), np.linalg.norm(g))
            np.testing.assert_allclose(F, expected, rtol=CLOSE, atol=1e-12 * scale)


RATES = """
export function answers(engine, cases) {
  return cases.map((asked) => {
    const problem = engine.makeProblem(asked);
    const start = engine.startVector(problem, asked.start);
    const target = engine.targetLoss(problem);
    const found = engine.largestStableRate(problem, asked, start, target);
    return { ...found, target, factors: Array.from(new engine.Run(problem, asked, start).factors) };
  });
}
"""
SEARCHED = [
    Case(depth, p, 1, condition, ratio, start)
    for depth in (1, 2, 3)
    for p, condition, ratio, start in [(4, 1, 6, 0.001), (2, 5, 6, 0.01), (3, 4, 5, 0.1)]
]


def rises(case, factors, rate, target, steps):
    """Whether the loss of the reference's run rises before the target or the last step."""
    network = LinearNetwork((2, *[1] * case.depth), init=factors_from(factors))
    result = accel.train(
        case.problem, network, GradientDescent(rate), steps,
        record_every=1, target=target, backend="reference",
    )  # fmt: skip
    loss = result.history.loss
    return result.status == "diverged" or bool(np.any(loss[1:] > loss[:-1] * (1 + 1e-12)))


@pytest.mark.filterwarnings("ignore::accel.SaddleWarning")
def test_the_largest_stable_rate_is_one_for_the_reference(tmp_path):
    """Just below it the loss falls in every step, just above it does not."""
    told = ask(tmp_path, RATES, [case.asked for case in SEARCHED])
    for case, found in zip(SEARCHED, told, strict=True):
        factors, rate, target = found["factors"], found["rate"], found["target"]
        below = 0.999 * rate
        assert not rises(case, factors, below, target, 5000), case
        assert rises(case, factors, 1.003 * rate, target, 5000), case


@pytest.mark.filterwarnings("ignore::accel.SaddleWarning")
def test_at_depth_1_above_the_largest_stable_rate_a_run_diverges(tmp_path):
    """Where p > 2, since there the slope grows with the residual."""
    case = Case(1, 4, 1, 1, 10, 0.001)
    (found,) = ask(tmp_path, RATES, [case.asked])
    for factor, expected in ((0.998, "completed"), (1.002, "diverged")):
        network = LinearNetwork((2, 1), init=factors_from(found["factors"]))
        rule = GradientDescent(factor * found["rate"])
        assert accel.train(case.problem, network, rule, 2000, backend="reference").status == (
            expected
        )


def test_the_rule_by_itself_is_as_fast_as_theory_says(tmp_path):
    """``accel.theory.two_point`` looks for the same rates by the same definition."""
    cases = [Case(depth, 4, 1, 1, 8, 0.001, rule=depth > 1) for depth in (1, 2, 3)]
    plain, *deep = ask(tmp_path, RATES, [case.asked for case in cases])
    for depth, found in enumerate(deep, 2):
        theirs = accel.theory.two_point(8, 1, 4, depth)
        for mine, own in ((plain, theirs.plain), (found, theirs.deep)):
            assert math.isclose(mine["rate"], own.learning_rate, rel_tol=0.003)
            assert abs(mine["steps"] - own.steps) <= 1 + 0.02 * own.steps


STEPS_OF_A_RACE = """
export function answers(engine, lengths) {
  return lengths.map((length) => engine.recordedSteps(length));
}
"""


def test_what_alternates_is_recorded_on_both_sides(tmp_path):
    for length, at in zip(
        (1, 50, 5000, 100_000), ask(tmp_path, STEPS_OF_A_RACE, [1, 50, 5000, 100_000]), strict=True
    ):
        gaps = np.diff(at)
        assert (at[0], at[-1]) == (0, length)
        assert np.all(gaps[:-1] % 2 == 1)
        assert np.all(gaps <= 1 + np.array(at[:-1]) / 99 + 1)
        assert len(at) < 1000
