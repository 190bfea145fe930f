"""``Search``: what it finds on made-up curves, and in how many runs."""

import math
from types import SimpleNamespace

import pytest

from accel.tuning import Grid, Model, Search


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
