"""Speed-ups that are known in part, their medians, and what is said of them."""

import math
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.experiments.atlas import sentences as told
from accel.experiments.atlas.pictures import shade
from accel.experiments.atlas.speedups import Cell, Interval, quantile, speedup

LIMIT = 100
STEPS = st.integers(1, 10_000)
PAIRS = st.lists(st.tuples(STEPS, STEPS), min_size=1, max_size=9)
INF = math.inf


def seen(steps):
    return steps if steps <= LIMIT else INF


def known(plain, deep):
    return speedup(seen(plain), seen(deep), LIMIT)


@given(STEPS, STEPS)
def test_a_speedup_lies_where_it_is_said_to(plain, deep):
    interval = known(plain, deep)
    assert interval.low <= plain / deep <= interval.high
    assert interval.exact == (plain <= LIMIT and deep <= LIMIT)
    assert interval.known == (plain <= LIMIT or deep <= LIMIT)


@given(PAIRS, st.sampled_from([0.25, 0.5, 0.75]))
def test_so_does_every_quantile(pairs, part):
    true = sorted(plain / deep for plain, deep in pairs)
    value = true[math.ceil(part * len(true)) - 1]
    interval = quantile([known(*pair) for pair in pairs], part)
    assert interval.low <= value <= interval.high


@given(PAIRS)
def test_a_median_of_numbers_is_a_number(pairs):
    pairs = [(min(plain, LIMIT), min(deep, LIMIT)) for plain, deep in pairs]
    interval = quantile([known(*pair) for pair in pairs], 0.5)
    assert interval.exact
    if len(pairs) % 2:
        assert interval.low == median(plain / deep for plain, deep in pairs)


@pytest.mark.parametrize(("pairs", "expected"), [
    ([(50, 10), (INF, 10), (INF, 10)], "≥10"),
    ([(50, 10), (40, 10), (INF, 10)], "5"),
    ([(50, INF), (40, INF), (10, 20)], "≤0.5"),
    ([(INF, INF), (INF, INF), (10, 20)], "?"),
    ([(INF, INF), (60, 20), (90, 20)], "3-4.5"),
    ([(12, 10)], "1.2"),
    ([(INF, 50)], "≥2"),
    ([(8000, 5)], "1600"),
    ([(5, 8000)], "6e-4"),
])  # fmt: skip
def test_how_medians_are_written(pairs, expected):
    pairs = [pair for pair in pairs for _ in range(2)] if len(pairs) == 1 else pairs
    limit = 10_000 if 8000 in pairs[0] else LIMIT
    assert str(quantile([speedup(*pair, limit) for pair in pairs], 0.5)) == expected


@pytest.mark.parametrize(("interval", "value"), [
    (Interval(3, 3), 3), (Interval(2, INF), 2), (Interval(0, 0.5), 0.5), (Interval(1, 4), 2),
    (Interval(0.5, INF), None), (Interval(0, 2), None), (Interval(0, INF), None),
])  # fmt: skip
def test_colours_are_of_what_is_known(interval, value):
    assert shade(interval) == value if value else math.isnan(shade(interval))


def cell(low, high=None, **changes):
    facts = {
        "p": 4.0, "condition": 100.0, "alignment": "top", "start": 0.01, "depth": 2,
        "kind": "network", "margin": "best", "target": 0.1,
        "speedup": Interval(low, low if high is None else high),
        "quartiles": (Interval(0, INF), Interval(0, INF)),
        "plain": Interval(50, 50), "deep": Interval(20, 20), "seeds": 5,
    }  # fmt: skip
    return Cell(**facts | changes)


def test_the_sentences_are_about_what_came_out():
    cells = [
        cell(0.5, p=2.0), cell(1.0, p=2.0), cell(3.0), cell(2.0, alignment="spread", depth=3),
        cell(5.0, INF, condition=1e3, alignment="spread", depth=3), cell(0, 0.25, p=2.0),
    ]  # fmt: skip
    when, much, harm = told.sentences(cells)
    assert "in 50 % of 6 cells" in when
    assert "0 % at p = 2, 100 % at p = 4" in when
    assert "at condition number 100, 100 % at condition number 1000" in when
    assert "25 % at target top, 100 % at target spread" in when
    assert "the median is at least 3 times fewer steps and the most ≥5 times (p = 4, cond" in much
    assert "best of the depths is 3 in 2 of 3 places" in much
    assert "in 33 %: 67 % at p = 2, 0 % at p = 4" in harm
    assert "at least 4 times as many steps (p = 2, condition number 100" in harm


def test_the_shares_are_told_at_the_least_and_the_largest_value():
    """Whatever the order of the cells, and which of them have steps to compare."""
    cells = [cell(3.0, condition=1e3), cell(1.0, condition=1e6), cell(1.0, p=6.0, condition=1e1)]
    when = told.sentences(cells)[0]
    assert "0 % at condition number 10, 0 % at condition number 1e+06" in when


def test_what_is_not_compared_changes_no_sentence():
    cells = [cell(3.0), cell(0.5)]
    others = [
        cell(9.0, kind="end-to-end"), cell(9.0, margin="half"), cell(0, INF),
        cell(9.0, deep=Interval(3, 3)), cell(0.1, plain=Interval(2, 2)),
    ]  # fmt: skip
    first, *rest = told.sentences(cells)
    left = " 3 others have too few steps, or more than were made."
    assert told.sentences([*cells, *others]) == [first + left, *rest]


def test_sentences_of_little():
    assert len(told.sentences([])) == 1
    assert told.sentences([cell(1.0)])[1:] == [
        "Depth helps in no cell by a factor of 1.2.",
        "Depth hurts in no cell by a factor of 1.2.",
    ]


def test_how_far_the_rule_is_from_the_networks():
    def pair(network, rule, **facts):
        return [
            cell(1.0, kind=kind, deep=Interval(steps, steps), **facts)
            for kind, steps in (("network", network), ("end-to-end", rule))
        ]

    cells = [*pair(100, 100), *pair(200, 100, p=3.0), *pair(300, 100, p=6.0)]
    ignored = [
        *pair(900, 100, p=8.0, margin="half"), cell(1.0, p=2.5),
        *pair(5, 100, p=2.0, plain=Interval(5, 5)),
    ]  # fmt: skip
    said = told.prediction([*cells, *ignored])
    assert said == (
        "Networks take 2.00 times the steps of the end-to-end rule in the median of 3 cells, "
        "1.50 to 2.50 times in half of them."
    )
    assert "No cell has steps" in told.prediction(cells[:2])


@pytest.mark.parametrize(("made", "verdict"), [
    (cell(1.2), (True, False)), (cell(1.19), (False, False)), (cell(0.9), (False, False)),
    (cell(0.8), (False, True)), (cell(1.2, INF), (True, False)), (cell(0, 0.8), (False, True)),
    (cell(0.5, INF), (False, False)), (cell(0, 2), (False, False)),
], ids=str)  # fmt: skip
def test_help_and_harm(made, verdict):
    assert (told.helps(made), told.hurts(made)) == verdict
