"""The problems of the atlas and their runs: what is exact, and what theory says of the steps."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import accel
from accel.experiments.atlas import race as racing
from accel.experiments.atlas.problems import ALIGNMENTS, NOISE, Task, balanced_network
from accel.experiments.atlas.race import MARGINS, TARGETS, Outcome, Reached, Rule, Stopped, race

N, D = 20, 4
TASK = Task(4.0, 1e3, "spread", 3, N, D)
QUADRATIC = Task(2.0, 1e2, "equal", 1, N, D)
RULES = [Rule("network", 1), Rule("network", 2), Rule("network", 3), Rule("end-to-end", 3)]


def task(**changes):
    return Task(**{"p": 4.0, "condition": 1e3, "alignment": "top", "seed": 0, "n": N, "d": D}
                | changes)  # fmt: skip


@pytest.mark.parametrize("condition", [1e1, 1e6])
@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_condition_number_and_alignment_are_exact(condition, alignment):
    made = task(condition=condition, alignment=alignment).instance()
    X = made.problem.host.X
    sigma, Vt = np.linalg.svd(X, full_matrices=False)[1:]
    assert (sigma[0] / sigma[-1]) ** 2 == pytest.approx(condition)
    assert np.mean(X**2) == pytest.approx(1)
    assert np.mean((X @ made.w) ** 2) == pytest.approx(1)
    parts = np.abs(Vt @ made.w) / sigma ** ALIGNMENTS[alignment]
    assert parts == pytest.approx(np.full(D, parts[0]))


def test_what_a_seed_draws_is_the_same_in_all_problems():
    first = task().instance()
    noise = first.problem.host.Y[:, 0] - first.problem.host.X @ first.w
    assert np.std(noise) == pytest.approx(NOISE, rel=0.5)
    for other in (task(p=2.0), task(condition=1e1), task(alignment="spread")):
        made = other.instance()
        own = made.problem.host.Y[:, 0] - made.problem.host.X @ made.w
        assert own == pytest.approx(noise)
        assert np.array_equal(made.direction, first.direction)
    assert not np.array_equal(task(seed=1).instance().direction, first.direction)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("part", [1e-3, 0.1])
def test_all_depths_begin_as_one_map_that_is_short_and_goes_downhill(seed, part):
    made = task(seed=seed).instance()
    start = made.start(part)
    X = made.problem.host.X
    assert np.linalg.norm(X @ start[0]) == pytest.approx(part * np.linalg.norm(X @ made.best.W[0]))
    assert np.sum(made.problem.gradient(np.zeros((1, D))) * start) < 0
    for depth in (1, 2, 3, 8):
        network = balanced_network(start, depth)
        assert network.widths == (D, *[1] * depth)
        assert network.end_to_end() == pytest.approx(start, rel=1e-12)
        assert network.balancedness() <= 1e-12 * np.linalg.norm(start) ** (2 / depth)


def test_steps_at_p_2_and_depth_1_are_those_of_the_closed_form():
    made = QUADRATIC.instance()
    start = made.start(0.01)
    (outcome,) = race(made, 0.01, [Rule("network", 1)], 20_000)
    eigenvalues, V = np.linalg.eigh(2 / N * made.problem.host.X.T @ made.problem.host.X)
    apart = V.T @ (start - made.best.W)[0]

    def distance(rate, step):
        return np.sum(eigenvalues * ((1 - rate * eigenvalues) ** step * apart) ** 2)

    for margin in MARGINS:
        for target, (steps, rate) in zip(TARGETS, outcome.reached[margin], strict=True):
            level = target * distance(rate, 0)
            exact = next(step for step in range(20_000) if distance(rate, step) <= level)
            assert steps == exact
    bound = 2 / eigenvalues[-1]  # of stable rates
    assert all(bound / 2**0.25 < rate < bound for rate in outcome.stable)


def test_the_best_rate_of_depth_1_at_p_2_is_the_optimal_one_as_the_grid_has_it():
    made = QUADRATIC.instance()
    (outcome,) = race(made, 0.01, [Rule("network", 1)], 20_000)
    eigenvalues = np.linalg.eigvalsh(2 / N * made.problem.host.X.T @ made.problem.host.X)
    best = 2 / (eigenvalues[0] + eigenvalues[-1])
    assert best / 2**0.5 <= outcome.reached["best"][-1].rate <= best * 2**0.25


def test_a_network_goes_as_the_end_to_end_rule_does_at_small_rates():
    """Claim 2 of the paper: to first order in the rate."""
    made = TASK.instance()
    start = made.start(0.1)
    apart = []
    for halvings in (0, 1, 2):
        ends = []
        for rule in (Rule("network", 3), Rule("end-to-end", 3)):
            network, optimizer = rule.at(start, 0.02 / 2**halvings)
            run = accel.train(made.problem, network, optimizer, steps=100 * 2**halvings)
            ends.append(run.network.end_to_end())
        assert np.linalg.norm(ends[0]) > 2 * np.linalg.norm(start)
        apart.append(np.linalg.norm(ends[0] - ends[1]) / np.linalg.norm(ends[1]))
    assert apart[0] < 0.1
    assert apart[2] / apart[1] == pytest.approx(apart[1] / apart[0], rel=0.1)
    assert apart[2] < 0.6 * apart[1]


@pytest.fixture(scope="module")
def outcomes():
    """Of a race on which the last target takes longer than the first look, or is not reached."""
    return race(TASK.instance(), 0.01, RULES, 6000)


def test_outcomes_are_those_of_single_runs(outcomes):
    """By train, in one piece; the race stops and goes on, and knows the loss of some steps only."""
    made = TASK.instance()
    start, least = made.start(0.01), made.best.loss
    distance = made.problem.loss(start) - least
    seen = set()
    for outcome in outcomes:
        for margin in MARGINS:
            for target, (steps, rate) in zip(TARGETS, outcome.reached[margin], strict=True):
                run = accel.train(
                    made.problem, *outcome.rule.at(start, rate), 6000, record_every=1,
                    target=least + target * distance,
                )  # fmt: skip
                seen.add((run.status, run.steps > 1000))
                if run.status == "target":
                    assert steps == pytest.approx(run.steps, rel=0.01)
                    assert target != TARGETS[-1] or steps == run.steps
                else:
                    assert (run.status, math.isinf(steps)) == ("completed", True)
    assert seen >= {("target", False), ("target", True), ("completed", True)}


def test_the_best_is_no_later_than_equal_margin_and_targets_come_in_their_order(outcomes):
    for outcome in outcomes:
        for best, half, stable in zip(*outcome.reached.values(), outcome.stable, strict=True):
            assert best.steps <= half.steps
            assert best.rate <= stable
            assert half.rate == pytest.approx(stable / 2)
        for margin in MARGINS:
            steps = [reached.steps for reached in outcome.reached[margin]]
            assert steps == sorted(steps)
        assert outcome.stable == sorted(outcome.stable, reverse=True)


def test_an_outcome_depends_on_no_other_rule(outcomes):
    alone = race(TASK.instance(), 0.01, RULES[1:2], 6000)
    (other,) = (outcome for outcome in outcomes if outcome.rule == RULES[1])
    assert alone == [other]


def test_outcomes_in_json(outcomes):
    assert [Outcome.read(outcome.described()) for outcome in outcomes] == outcomes
    late = Outcome(
        Rule("network", 2), 0.1, [1.0] * 4, {m: [Reached(math.inf, 1.0)] for m in MARGINS}
    )
    assert late.described()["reached"]["best"] == [[None, 1.0]]
    assert Outcome.read(late.described()) == late


def test_who_stops_a_race_ends_it():
    asked = []

    def stop():
        asked.append(1)
        return len(asked) > 3

    with pytest.raises(Stopped):
        race(TASK.instance(), 0.01, RULES, 10**9, stop)


@given(st.floats(0.9, 0.9999), st.floats(1e-6, 0.5))
def test_between_two_records_an_exponential_is_exact(factor, level):
    steps = np.unique(np.round(10 ** (np.arange(600) / 100)).astype(int))
    distances = factor ** steps.astype(float)
    exact = max(math.ceil(math.log(level) / math.log(factor) - 1e-6), 1)
    if exact <= steps[-1] and distances[-1] > 0:
        assert abs(racing._crossing(steps, distances, level) - exact) <= 1


def test_who_never_gets_there_takes_for_ever():
    assert math.isinf(racing._crossing(np.arange(5), np.full(5, 0.3), 0.1))
    assert racing._crossing(np.arange(5), np.array([1, 0.5, 0.05, 0.01, 0]), 0.1) == 2
    assert racing._crossing(np.array([0, 9]), np.array([1.0, -1e-17]), 0.1) == 9
