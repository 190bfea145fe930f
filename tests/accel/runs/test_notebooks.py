"""The HTML that notebooks show of results."""

import sys

import numpy as np
import pytest

import accel
from accel import History
from accel._support import showing

from ..problems import PROBLEM, start
from .test_results import make_result

RATES = [0.01, 0.1, 1e6]


def test_a_result():
    html = make_result(seconds=0.7, steps=7)._repr_html_()
    assert html.startswith("<table><tr><th")
    assert html.count("<tr>") == html.count("</tr>") == 11
    for name, value in [
        ("status", "completed"), ("steps", "7"), ("loss", "1e-300"), ("gradient norm", "0.01"),
        ("seconds", "0.7"), ("microseconds a step", "1e+05"), ("widths", "(4, 2, 1), depth 2"),
        ("optimizer", "GradientDescent(learning_rate=0.1, weight_decay=0.0)"), ("p", "4"),
        ("method", "direct"), ("backend", "cpu, threads: 2, float64"),
    ]:  # fmt: skip
        left = 'style="text-align: left"'
        assert f"<tr><th {left}>{name}</th><td {left}>{value}</td></tr>" in html


def test_a_result_that_diverged_at_once():
    history = History(*(np.array([value]) for value in (0, np.inf, np.nan, 0.1, 0.0)))
    result = make_result(status="diverged", diverged_at=0, steps=0, history=history)
    html = result._repr_html_()
    assert ">diverged at step</th>" in html
    assert ">nan</td>" in html
    assert "microseconds" not in html


def test_texts_are_escaped():
    class Odd:
        def __repr__(self):
            return "<b>&"

        def to_pandas(self):
            raise ImportError

    assert showing.summary(Odd()) == "<pre>&lt;b&gt;&amp;</pre>"
    assert showing.table({"<i>": Odd()}).count("&lt;") == 2
    assert "<b>" not in make_result(optimizer=Odd())._repr_html_()


@pytest.fixture(scope="module")
def outcomes():
    """A sweep and a grid search of the same rates."""
    models = [(start(), accel.GradientDescent(rate)) for rate in RATES]
    options = {"steps": 20, "backend": "reference"}
    return accel.sweep(PROBLEM, models, **options), accel.grid_search(
        PROBLEM, *models[0], learning_rates=RATES, refine=0, **options
    )


def test_tables_of_pandas(outcomes):
    pytest.importorskip("pandas")
    for outcome in outcomes:
        html = outcome._repr_html_()
        assert html.startswith(f"<pre>{type(outcome).__name__}(")
        assert html.count("<tr>") == len(outcome.results)  # pandas gives the head's row a style
        assert "<th>learning_rate</th>" in html
        assert "<td>diverged</td>" in html


def test_with_html_of_pandas_switched_off(outcomes):
    pandas = pytest.importorskip("pandas")
    with pandas.option_context("display.notebook_repr_html", False):
        assert outcomes[0]._repr_html_().endswith("</pre>")


def test_without_pandas(outcomes, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    for outcome in outcomes:
        html = outcome._repr_html_()
        assert html.startswith(f"<pre>{type(outcome).__name__}(")
        assert html.endswith(")</pre>")
