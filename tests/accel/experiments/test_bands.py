"""Bands of rates and seeds, on runs whose outcome is a formula."""

import math
from dataclasses import replace

import numpy as np
import pytest

from accel import GradientDescent, History, LinearNetwork, Result
from accel.experiments import bands
from accel.experiments.figures.curves import Claim, Curve, Figure, Line, Panel, near_zero
from accel.experiments.report import below_since
from accel.losses import Lp
from accel.tuning import Model, Trial, Tuned
from accel.tuning.stages import GRID

STEPS = 1000


def curve(depth=2, optimizer="gd", point=None):
    return Curve(4, Model(optimizer, depth), near_zero(depth), STEPS, point)


def result(loss, diverged_at=None):
    steps = np.array([0, 10, STEPS if diverged_at is None else diverged_at])
    history = History(steps, np.array([9.0, 3.0, loss]), *(np.zeros(3) for _ in range(3)))
    status = "completed" if diverged_at is None else "diverged"
    return Result(LinearNetwork((1, 1)), history, status, int(steps[-1]), 0.0, diverged_at,
                  GradientDescent(1.0), Lp(4.0), "direct", "cpu", 1)  # fmt: skip


class Runner:
    """Stands for ``CurveRunner``: a loss by rate, and divergence where ``survives`` says no."""

    def __init__(self, survives=lambda curve, rate: True):
        self.survives, self.rounds = survives, []

    def run_at(self, name, wanted):
        self.rounds.append(list(dict.fromkeys(wanted)))
        return {
            (curve, index): result(1e-3 / GRID.rate(index))
            if self.survives(curve, GRID.rate(index))
            else result(math.inf, 77)
            for curve, index in wanted
        }

    def end(self, curve, result):
        return math.inf if result.status == "diverged" else result.loss


def tuned(curve, survived, *diverged):
    """The outcome of a search; the best rate is the last one that survived."""
    trials = [Trial(rate, 1.0, STEPS, None) for rate in survived]
    trials += [Trial(rate, math.inf, STEPS, 7) for rate in diverged]
    return Tuned(curve.model, trials[len(survived) - 1], result(1.0), False, tuple(trials))


def figure(*curves, banded=True):
    lines = tuple(Line(f"line {number}", each, 1.0) for number, each in enumerate(curves))
    labels = tuple(line.label for line in lines)
    claim = Claim("the last is below the first", labels, lambda *ends: ends[-1] < ends[0],
                  banded=banded)  # fmt: skip
    return Figure("x", "X", (Panel("l4", lines),), (claim,))


def made(runner, *pairs):
    return bands.make(runner, [figure(*(each for each, _ in pairs))], dict(pairs))


def test_a_band_has_shares_of_the_largest_rate_that_survived_and_seeds_of_its_own():
    deep = curve()
    band = made(Runner(), (deep, tuned(deep, [1e-4, 1e-3, 5e-4], 2e-3)))[deep]
    assert [place.share for place in bands.PLACES] == [0.5, 0.7, 0.9]
    for place, (other, index) in zip(bands.PLACES, band.jobs, strict=True):
        assert GRID.rate(index) / 1e-3 == pytest.approx(place.share, rel=0.033)
        assert other == replace(deep, start=replace(deep.start, seed=place.seed))
    assert len({other.start.seed for other, _ in band.jobs}) == 3
    assert list(band.ends) == [1e-3 / GRID.rate(index) for _, index in band.jobs]
    assert (band.limit, band.lowered) == (pytest.approx(1e-3), False)


def test_a_rate_that_survived_a_shorter_run_is_no_limit():
    deep = curve()
    found = tuned(deep, [1e-4])
    found = replace(found, trials=(*found.trials, Trial(1e-2, 1.0, STEPS // 5, None)))
    band = made(Runner(), (deep, found))[deep]
    assert max(GRID.rate(index) for _, index in band.jobs) < 1e-4


def test_at_depth_1_all_seeds_are_one():
    shallow = curve(1)
    band = made(Runner(), (shallow, tuned(shallow, [1e-3])))[shallow]
    assert {other for other, _ in band.jobs} == {shallow}


@pytest.mark.parametrize(
    "other", [curve(1, "adagrad"), curve(2, "adam"), curve(2, "momentum", point=-100)],
    ids=["adagrad", "adam", "given"],
)  # fmt: skip
def test_what_no_rate_limits_stands_at_its_best_rate(other):
    band = made(Runner(), (other, tuned(other, [1e-4, 1e-2])))[other]
    assert {each for each, _ in band.jobs} == {other}
    assert {index for _, index in band.jobs} == {GRID.index(1e-2)}
    assert (band.limit, band.lowered) == (None, False)


def test_a_rate_that_survived_by_chance_is_no_limit():
    """Below it others diverge: the limit falls until at no place of the band a run does."""
    deep, other = curve(3), curve(2)
    runner = Runner(lambda each, rate: each.model.depth != 3 or rate < 1e-3)
    pairs = [(each, tuned(each, [4e-3])) for each in (deep, other)]
    found = made(runner, *pairs)
    assert math.inf not in found[deep].ends
    highest = max(GRID.rate(index) for _, index in found[deep].jobs)
    assert 0.5 * 1e-3 < highest < 1e-3
    assert max(GRID.rate(index) for _, index in found[other].jobs) == pytest.approx(3.5e-3, rel=0.1)
    assert 1 < len(runner.rounds) <= 5
    assert (found[deep].lowered, found[other].lowered) == (True, False)
    assert found[deep].limit < found[other].limit


def test_where_every_rate_diverges_there_is_an_end_to_looking():
    deep = curve()
    runner = Runner(lambda each, rate: False)
    assert set(made(runner, (deep, tuned(deep, [1e-3])))[deep].ends) == {math.inf}
    assert len(runner.rounds) == 8


def test_a_claim_is_judged_at_every_place():
    one, two = curve(1), curve(2)
    shown = figure(one, two)
    # Depth 1 has the smaller limit; the second line is below it except at the place that diverges.
    found = bands.make(Runner(), [shown], {one: tuned(one, [1e-4]), two: tuned(two, [1e-3])})
    assert bands.held(shown, shown.claims[0], found) == [True, True, True]
    broken = replace(found[two], ends=(found[two].ends[0], math.inf, 9e9))
    assert bands.held(shown, shown.claims[0], found | {two: broken}) == [True, False, False]


def test_only_lines_of_claims_that_hang_on_it_have_bands():
    deep = curve()
    shown = figure(deep, banded=False)
    assert bands.make(Runner(), [shown], {deep: tuned(deep, [1e-3])}) == {}


def test_the_envelope_spans_runs_that_may_have_ended_early():
    steps = ([0, 10, 500], [0, 10, 20], [0, 10])
    jobs = ((curve(), -1),) * 3
    results = tuple(replace(result(1.0), history=History(
        np.array(each), *(np.zeros(len(each)) for _ in range(4)))) for each in steps)  # fmt: skip
    band = bands.Band(jobs, results, (1.0, math.inf, 2.0), 1e-3, lowered=False)
    distances = [np.array(values) for values in ([5.0, 2.0, 1.0], [5.0, 4.0, 9.0], [6.0, 3.0])]
    step, least, most = band.envelope(distances)
    assert step.tolist() == [0, 10, 500]
    assert least.tolist() == [5.0, 2.0, 1.0]
    assert most.tolist() == [6.0, 4.0, 9.0]


@pytest.mark.parametrize(
    ("lower", "since"),
    [([4.9, 3, 2], 0), ([9, 3, 2], 1), ([4, 9, 2], 2), ([9, 9, 9], None), ([1, 1, 3], None),
     ([1, 1], None)],
)  # fmt: skip
def test_from_where_on_a_curve_is_below_another(lower, since):
    assert below_since(np.array(lower), np.array([5.0, 4.0, 3.0])) == since
