"""The figures as plain values, and the paper's claims about them."""

import math
from dataclasses import replace

import numpy as np
import pytest

from accel import LpProblem
from accel.experiments.figures import LINEAR
from accel.experiments.figures.curves import MOMENTUM, PLAIN, Claim, is_off, near_zero
from accel.experiments.reproduce import KEYS, Settings
from accel.tuning import Model

FIGURES = pytest.mark.parametrize("figure", LINEAR.values(), ids=LINEAR)


def published(figure):
    return {line.label: line.published for line in figure.lines}


def test_the_keys_are_those_of_the_command():
    assert KEYS == ("2", "3l", "3r", "4l", "4r", "5l", "momentum", "5r-linear", "5r")


@FIGURES
def test_every_figure_is_whole(figure):
    labels = [line.label for line in figure.lines]
    assert len(set(labels)) == len(labels)
    drawn = {
        (line.curve.model.optimizer, line.curve.model.depth, line.other, line.curve.p)
        for line in figure.lines
    }
    assert len(drawn) == len(labels)
    assert bool(figure.claims) == (figure.about is None)
    assert {line.published is None for line in figure.lines} == {figure.about is not None}
    mentioned = [*(claim.labels for claim in figure.claims), *figure.families, *figure.crossings]
    for some in mentioned:
        assert set(some) <= set(labels)


def test_curves_that_differ_have_files_that_differ():
    curves = {line.curve for figure in LINEAR.values() for line in figure.lines}
    assert len({curve.name for curve in curves}) == len(curves)


def test_figures_share_curves():
    for right, left in ((2, 2), (5, 3)):  # depth 3, by plain descent and with momentum
        assert LINEAR["3r"].lines[right].curve == LINEAR["4l"].lines[left].curve
    of_3 = {line.curve for key in ("3l", "3r") for line in LINEAR[key].lines}
    added = [line.curve for line in LINEAR["momentum"].lines if line.curve not in of_3]
    assert {(curve.p, curve.model.optimizer) for curve in added} == {(2, "momentum")}


def test_lines_of_the_explanation_are_named_as_such():
    """What is not the paper's text says so where it is drawn, and in what is said of it."""
    _, ours = LINEAR["3r"].panels
    assert "our explanation" in ours.title
    for line in LINEAR["4l"].lines:
        assert ("our explanation" in line.label) == (line.curve.model.optimizer == "momentum")
    for key in ("3r", "4l"):
        models = {line.label: line.curve.model.optimizer for line in LINEAR[key].lines}
        for claim in LINEAR[key].claims:
            optimizers = {models[label] for label in claim.labels}
            assert ("momentum" in optimizers) == (claim.reading == MOMENTUM)
            assert ("gd" in optimizers) == (claim.reading == PLAIN)


def test_both_readings_make_the_same_claims():
    for key in ("3r", "4l"):
        texts = {
            reading: [claim.text for claim in LINEAR[key].claims if claim.reading == reading]
            for reading in (PLAIN, MOMENTUM)
        }
        assert texts[PLAIN] == texts[MOMENTUM] != []


def test_claims_that_hang_on_what_survives_are_judged_over_bands():
    banded = {key: [claim.banded for claim in figure.claims] for key, figure in LINEAR.items()}
    assert {key: set(values) for key, values in banded.items() if values} == {
        "2": {False}, "3l": {False}, "3r": {True}, "4l": {True}, "4r": {False}, "5l": {True},
    }  # fmt: skip
    assert LINEAR["2"].banded == ()
    assert set(LINEAR["5l"].banded) == {line.label for line in LINEAR["5l"].lines}
    assert "depth 2, rate that fits" not in LINEAR["3r"].banded


@pytest.mark.parametrize("key", ["2", "3l", "3r", "4l", "4r", "5l"])
def test_the_published_values_meet_the_claims(key):
    assert all(claim(published(LINEAR[key])) for claim in LINEAR[key].claims)


@pytest.mark.parametrize(
    ("key", "number", "changed"),
    [
        ("2", 0, {"l2, depth 2, width 100": 1.2 * 1.25e-2}),
        ("2", 1, {"l2, depth 3, emulation": 0.8 * 9e-3}),
        ("2", 3, {"l4, depth 3, width 1": 0.2}),
        ("3l", 0, {"depth 2": 0.6 * 2.7e-3}),
        ("3l", 0, {"depth 3": 0.6 * 2.7e-3}),
        ("3r", 0, {"depth 3": 4e-2}),
        ("3r", 0, {"depth 2": 4e-2}),
        ("3r", 1, {"depth 3": 2e-2}),
        ("3r", 2, {"depth 2, best rate": 4e-2}),
        ("3r", 3, {"depth 3, best rate": 2e-2}),
        ("4l", 0, {"AdaDelta, depth 1": 6e-3}),
        ("4l", 0, {"AdaGrad, depth 1": 6e-3}),
        ("4l", 1, {"with momentum 0.9 (our explanation), depth 3": 6e-2}),
        ("4r", 0, {"Adam, depth 3": 2e-2}),
        ("4r", 0, {"Adam, depth 2": 2e-2}),
        ("5l", 0, {"8 layers, near zero": 2.9}),
        ("5l", 1, {"4 layers, identity": 0.25}),
        ("5l", 1, {"1 layer": 0.19}),
        ("3r", 0, {"depth 1": math.inf}),
        ("5l", 0, {"4 layers, near zero": math.inf}),
    ],
)
def test_a_claim_can_fail(key, number, changed):
    assert not LINEAR[key].claims[number](published(LINEAR[key]) | changed)


def test_a_claim_is_about_its_labels_in_their_order():
    claim = Claim("b under a", ("a", "b"), lambda a, b: b < a)
    assert claim({"b": 1.0, "a": 2.0, "c": math.inf})
    assert not claim({"b": 2.0, "a": 1.0})


@pytest.mark.parametrize(
    ("ratio", "off"),
    [(1.0, False), (0.5, False), (2.0, False), (2.1, True), (0.4, True), (None, False)],
)
def test_off_is_a_factor_of_two_either_way(ratio, off):
    assert is_off(ratio) == off


def test_a_tenth_of_the_steps_and_another_seed():
    figure = LINEAR["5l"].changed(10, 7)
    assert {line.curve.steps for line in figure.lines} == {10_000}
    assert {line.curve.start.seed for line in figure.lines} == {7}
    assert [line.published for line in figure.lines] == [*published(LINEAR["5l"]).values()]
    assert all(line.curve.changed(10**9, 0).steps == 1 for line in figure.lines)


@pytest.mark.parametrize(("depth", "width"), [(1, 1), (2, 1), (2, 20), (3, 1), (3, 20)])
def test_near_zero_starts_of_all_depths_and_widths_have_one_size(depth, width):
    problem, model = LpProblem(np.eye(3), np.ones(3)), Model("gd", depth)
    start = near_zero(depth, width)
    nets = (replace(start, seed=seed).network(problem, model) for seed in range(300))
    size = np.sqrt(np.mean([net.end_to_end() ** 2 for net in nets]))
    assert size == pytest.approx(1e-6, rel=0.25)


def test_full_length_is_the_papers():
    figure = Settings(("3r",)).linear()[0]
    assert {line.curve.steps for line in figure.lines} == {1_000_000}
    assert [line.published for line in figure.lines] == 3 * [3.7e-2, 1.7e-2, 6.3e-3]
