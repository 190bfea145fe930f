"""The report page is self-contained and escapes every text of a user."""

import re

import pytest

from accel.experiments.page import difference, render

LINE = {
    "label": "depth <3>", "published": 6.3e-3, "ours": 4.4e-2, "ratio": 7.0, "off": True,
    "learning_rate": 5.6e-5, "at_edge_of_grid": False, "next_rate_diverges_at": 950_000,
    "trials": [{"rate": rate} for rate in (3e-5, 5.6e-5, 1e-4)], "init": "near_zero",
    "scale": 0.1, "width": 1, "steps": 1_000_000, "published_value_reached_at": None,
    "other_scales": [{"scale": 0.01, "distance": 5e-2, "diverged_at": None},
                     {"scale": 0.3, "distance": None, "diverged_at": 9000}],
}  # fmt: skip


def report(**figure):
    whole = {
        "key": "3r", "title": "A & <b>", "skipped": None, "lines": [LINE], "notes": ["n < 3"],
        "common_rates": [], "checks": [{"text": "a < b", "lines": [], "holds": False}],
    }  # fmt: skip
    return {
        "settings": {"data": "<script>alert(1)</script>", "seed": 0, "quick": False},
        "data": {"sha256": "0", "n": 5, "d": 2},
        "figures": [whole | figure],
        "seconds": {"training": 1.0, "this_sitting": 2.0, "stages": []},
        "facts": {"versions": {"python": "3 ('<x>')"}},
        "finished": "2026",
    }


def test_every_text_is_escaped():
    page = render(report(), {"3r": b"<svg></svg>"})
    for raw in ("<script>", "<b>", "<3>", "<x>", "n < 3", "a < b"):
        assert raw not in page
    for escaped in ("&lt;script&gt;", "A &amp; &lt;b&gt;", "depth &lt;3&gt;", "n &lt; 3"):
        assert escaped in page


def test_nothing_is_loaded_from_elsewhere():
    page = render(report(), {"3r": b"<svg></svg>"})
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources == ["data:image/svg+xml;base64,PHN2Zz48L3N2Zz4="]
    assert "http" not in page


def test_a_failed_check_and_a_line_that_is_off_stand_out():
    page = render(report(), {})
    assert '<td class="bad">fails</td>' in page
    assert '<td class="number bad">7</td>' in page
    assert "More than a factor of 2" in page
    assert "More than a factor of 2" not in render(report(lines=[LINE | {"off": False}]), {})


def test_an_edge_and_a_gap_are_told():
    assert "edge of the grid" in render(report(lines=[LINE | {"at_edge_of_grid": True}]), {})
    assert "Not run: no &lt;torch&gt;" in render(report(skipped="no <torch>", lines=[]), {})


def test_beside_a_figure_of_the_paper_another_changes_nothing_but_its_own_part():
    alone, both = report(about="digits", checks=[]), report()
    both["figures"] += alone["figures"]
    page = render(both, {})
    begin = page.index("<h2>A &amp; &lt;b&gt;</h2>")
    assert page[:begin] == render(report(), {})[:begin]
    assert (page.count(">published<"), page.count(">ratio<")) == (1, 1)
    page = render(alone, {})
    assert "<p>digits By accel reproduce with seed 0, finished 2026.</p>" in page
    assert "What the paper claims" not in page


def test_a_quick_run_says_so():
    quick = report()
    assert "fiftieth" not in render(quick, {})
    quick["settings"]["quick"] = True
    assert "fiftieth" in render(quick, {})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ["7 times", "3 learning rates from 3e-05 to 0.0001", "5.6e-05 is the best",
              "diverged at step 950000", "0.01: 0.05", "0.3: diverged at step 9000"]),
        ({"ours": None, "ratio": None}, ["diverged at every learning rate"]),
        ({"published_value_reached_at": 12}, ["reached at step 12"]),
    ],
)  # fmt: skip
def test_what_was_tried_for_a_difference(change, words):
    said = difference(LINE | change)
    assert all(word in said for word in words)
    assert "unexplained" in said
