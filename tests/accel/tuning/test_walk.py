import math
from types import SimpleNamespace

import numpy as np
import pytest

import accel
from accel.tuning import Grid, Model, Search, Start, Trial

PROBLEM = accel.LpProblem(np.eye(4) + 1.0, [4.0, 3.0, 2.0, 1.0])
WIDE = accel.LpProblem(np.eye(4), np.arange(8.0).reshape(4, 2))


def search(distance, grid=None, middle=0, floor=0.0, steps=100):
    """A search over a made-up curve: ``distance(rate)``, inf where a run would diverge."""

    def run(rate, number):
        loss = distance(rate)
        status = "diverged" if math.isinf(loss) else "completed"
        return SimpleNamespace(loss=loss, status=status, steps=steps, diverged_at=None)

    made = Search(grid or Grid(), middle, floor, run, loss=0.0)
    made.walk()
    return made.outcome(Model("gd", 1))


@pytest.mark.parametrize("largest", [1e-3, 0.0234, 1.0, 37.0, 999.0])
def test_the_largest_rate_that_survives_is_found_to_the_grid(largest):
    tuned = search(lambda rate: 1 / rate if rate <= largest else math.inf)
    assert largest / 10 ** (1 / 32) < tuned.rate <= largest
    assert not tuned.at_edge
    assert len(tuned.trials) < 25
    assert [trial.rate for trial in tuned.trials] == sorted(trial.rate for trial in tuned.trials)


@pytest.mark.parametrize("points", [1, 2, 5, 16])
def test_a_smooth_best_rate_is_found_to_the_grid(points):
    tuned = search(lambda rate: abs(math.log10(rate) - 0.73), Grid(points))
    assert math.log10(tuned.rate) == pytest.approx(round(0.73 * points) / points)


def test_where_every_rate_diverges_the_lowest_is_left():
    tuned = search(lambda rate: math.inf)
    assert math.isinf(tuned.distance)
    assert tuned.at_edge
    assert tuned.rate == pytest.approx(1e-4)


@pytest.mark.parametrize(("distance", "rate"), [(lambda r: 1 / r, 0.1), (lambda r: r, 0.001)])
def test_a_best_rate_at_the_edge_of_a_range_is_flagged(distance, rate):
    tuned = search(distance, Grid(low=0.001, high=0.1))
    assert tuned.at_edge
    assert tuned.rate == pytest.approx(rate)


def test_what_is_below_the_floor_is_ranked_by_steps():
    def run(rate, number):
        steps = round(100 * abs(math.log10(rate) - 0.5)) + 1
        return SimpleNamespace(loss=1e-20 * rate, status="target", steps=steps, diverged_at=None)

    made = Search(Grid(16), 0, 1e-12, run, loss=0.0)
    made.walk()
    assert math.log10(made.outcome(Model("gd", 1)).rate) == pytest.approx(0.5)


def test_no_rate_is_run_twice_and_runs_are_numbered():
    seen = []

    def run(rate, number):
        seen.append((rate, number))
        return SimpleNamespace(
            loss=abs(math.log10(rate)), status="completed", steps=1, diverged_at=None
        )

    made = Search(Grid(), 3, 0.0, run, loss=0.0)
    made.walk()
    assert len({rate for rate, _ in seen}) == len(seen) == len(made.trials)
    assert [number for _, number in seen] == list(range(1, len(seen) + 1))


def test_an_interrupted_run_does_not_count():
    def run(rate, number):
        status = "completed" if number < 3 else "interrupted"
        return SimpleNamespace(loss=1 / rate, status=status, steps=1, diverged_at=None)

    made = Search(Grid(), 0, 0.0, run, loss=0.0)
    with pytest.raises(KeyboardInterrupt):
        made.walk()
    assert len(made.outcome(Model("gd", 1)).trials) == 2


def test_the_next_rate_up():
    result = SimpleNamespace(seconds=1.0, steps=0)
    trials = tuple(Trial(rate, 1.0, 5, at) for rate, at in [(1.0, None), (2.0, None), (4.0, 7)])
    for number, expected in enumerate([None, 7, None]):
        tuned = accel.tuning.Tuned(Model("gd", 1), trials[number], result, False, trials)
        assert tuned.next_diverges_at == expected
        assert tuned.seconds_per_step == 1.0


@pytest.mark.parametrize("spelling", ["end-to-end", "EndToEnd", "end_to_end"])
def test_models_are_equal_however_they_are_spelled(spelling):
    model = Model(spelling, 3)
    assert model == Model("end-to-end", 3)
    assert model.at(0.1) == accel.EndToEnd(0.1, 3)
    assert str(model) == "end-to-end, depth 3"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [(("gdd", 1), ValueError), (("gd", 0), ValueError), (("gd", 1.5), TypeError),
     ((3, 1), TypeError)],
)  # fmt: skip
def test_bad_models(arguments, error):
    with pytest.raises(error):
        Model(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [{"points": 0}, {"low": 0.0}, {"high": -1.0}, {"low": 1.0, "high": 0.1},
     {"low": 1.01, "high": 1.02}, {"low": math.nan}],
)  # fmt: skip
def test_bad_grids(arguments):
    with pytest.raises(ValueError, match=r"points|low|high|grid"):
        Grid(**arguments)


@pytest.mark.parametrize(
    ("grid", "bounds"),
    [
        (Grid(8), (-22, 42)),
        (Grid(8, low=0.1), (-8, 42)),
        (Grid(8, high=1e3), (-22, 24)),
        (Grid(8, low=1e5), (40, 72)),
        (Grid(8, low=0.1, high=10.0), (-8, 8)),
    ],
)
def test_bounds_of_a_grid(grid, bounds):
    assert grid.bounds(10) == bounds
    assert grid.index(grid.rate(5)) == 5


@pytest.mark.parametrize("problem", [PROBLEM, WIDE])
def test_every_depth_begins_with_the_same_map(problem):
    maps = [
        Start().network(problem, Model(optimizer, depth)).end_to_end()
        for optimizer in ("gd", "end-to-end")
        for depth in (1, 2, 5)
    ]
    for other in maps[1:]:
        np.testing.assert_allclose(other, maps[0], rtol=1e-12, atol=1e-15)


def test_the_end_to_end_rule_begins_where_its_net_does():
    start = Start(init="near_zero", width=7, seed=3)
    network = start.network(PROBLEM, Model("end-to-end", 3))
    assert network.depth == 1
    deep = start.network(PROBLEM, Model("gd", 3))
    assert deep.widths == (4, 7, 7, 1)
    np.testing.assert_array_equal(network.end_to_end(), deep.end_to_end())
