"""Hostile strings in reports: they are shown as text and never become elements of a page."""

import html.parser
import json

import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")

from accel.cli import tables
from accel.experiments import page, reproduce
from benchmarks.groups import estimators
from benchmarks.harness import report
from benchmarks.harness.page import Chapter
from benchmarks.harness.page import page as benchmark_page
from benchmarks.harness.page import table as markdown_table

EVIL = """<script>alert(1)</script>"'&</td>|\n[/]<img src=x onerror=alert(1)>"""


class Page(html.parser.HTMLParser):
    """The elements, attributes and text of an HTML page."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.attributes, self.text = [], set(), ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append(tag)
        self.attributes |= {name for name, _ in attributes}

    def handle_data(self, data):
        self.text += data


def line(label, **changes):
    return {
        "panel": "left", "label": label, "curve": "c", "p": 4.0, "optimizer": "gd", "depth": 2,
        "width": 1, "init": "balanced", "scale": 0.01, "steps": 10, "learning_rate": 0.1,
        "at_edge_of_grid": False, "next_rate_diverges_at": None, "status": "completed",
        "published": 1.0, "ours": 3.0, "ratio": 3.0, "off": True,
        "published_value_reached_at": None,
        "trials": [{"rate": 0.1, "distance": 3.0, "steps": 10, "diverged_at": None}],
        "other_scales": [{"scale": 0.1, "distance": None, "diverged_at": 3}],
    } | changes  # fmt: skip


def figure(word, **changes):
    return {
        "key": "3l", "title": word, "skipped": None, "lines": [line(word, init=word)],
        "common_rates": [{"learning_rate": 0.1, "distances": {word: 1.0},
                          "largest_over_smallest": None}],
        "checks": [{"text": word, "lines": [word], "holds": True}],
        "notes": [word],
    } | changes  # fmt: skip


def findings(word):
    """A report with a word in every place where there is a string."""
    return {
        "settings": {"plan": 2, "quick": True, "seed": 0, "data": word},
        "data": {"sha256": "0", "n": 1, "d": 1, "k": 1, "dtype": "float64", "optimum": {}},
        "figures": [figure(word), figure(word, key="4l", skipped=word, lines=[])],
        "seconds": {"training": 1.0, "this_sitting": 1.0, "stages": [
            {"stage": word, "models": 1, "steps": 1, "seconds": 1.0, "backend": word}]},
        "facts": {word: {word: word}},
        "finished": word,
    }  # fmt: skip


def test_the_report_of_a_reproduction():
    drawings = {"3l": EVIL.encode()}
    plain, evil = (Page(page.render(findings(word), drawings)) for word in ("word", EVIL))
    assert evil.elements == plain.elements
    assert evil.attributes == plain.attributes
    # Everywhere but in the drawing's alternative text.
    assert evil.text.count("<script>alert(1)</script>") == plain.text.lower().count("word") >= 13


def test_the_table_in_the_terminal():
    from rich.console import Console

    console = Console(width=400, color_system=None)
    with console.capture() as capture:
        console.print(tables.reproduction_table(findings("[/]")))
    assert capture.get().count("[/]") == 1


@pytest.mark.parametrize("place", ["settings", "data", "figures", "seconds", "facts", "finished"])
def test_a_report_that_lacks_something_is_none(tmp_path, place):
    settings = reproduce.Settings(("3l",), quick=True, data="d")
    whole = findings("d")
    whole["settings"] = settings.key()
    path = tmp_path / "report.json"
    path.write_text(json.dumps(whole))
    assert reproduce.finished_report(tmp_path, settings, None) is not None
    for value in ([3], None, "text"):
        if place != "finished":
            path.write_text(json.dumps(whole | {place: value}))
            assert reproduce.finished_report(tmp_path, settings, None) is None
    del whole[place]
    path.write_text(json.dumps(whole))
    assert reproduce.finished_report(tmp_path, settings, None) is None
    path.write_text("[" * 100_000)
    assert reproduce.finished_report(tmp_path, settings, None) is None


CASE = {
    "ours": False, "reached": True, "seconds": 1.0, "quartiles": [1.0, 1.0], "excess": 0.0,
}  # fmt: skip


def markdown_tables(word):
    """Every kind of Markdown table of the benchmarks that shows a string from outside."""
    timed = {"contender": word, "peer": True, "median_us": 1.0, "iqr_us": 1.0, "note": word}
    contenders = [timed, {"contender": word, "peer": True, "gap": word}]
    case = {
        "title": word, "data": word, "contenders": contenders, "targets": [], "strive_us": None
    }  # fmt: skip
    startup = [{"name": word, "seconds": 1.0, "must": 2.0}]
    rows = [{**CASE, "contender": word}, {"contender": word, "gap": word}]
    return [
        markdown_table([word, word], [[word, word]]),
        report.case_table(case),
        report.summary_table({"cases": [case], "startup": startup}),
        estimators.table({"data": "d", "p": 2.0, "rows": rows}),
    ]


@pytest.mark.parametrize("index", range(4))
def test_the_pages_of_the_benchmarks(index):
    pages = []
    for word in ("word", EVIL):
        text = markdown_tables(word)[index]
        pages.append(Page(benchmark_page([Chapter(word, text, {word: b"<svg/>"})])))
        shapes = [
            len(text_line.replace("\\|", "").split("|"))
            for text_line in text.splitlines()
            if text_line.startswith("|")
        ]
        assert len(set(shapes)) == 1
        pages[-1].lines = len(text.splitlines())
    plain, evil = pages
    assert evil.elements == plain.elements
    assert evil.attributes == plain.attributes
    assert evil.lines == plain.lines
    assert evil.text.count("<script>alert(1)</script>") == plain.text.count("word") > 2


def test_the_drawings():
    """Matplotlib escapes text in a drawing and reads no formulas in it."""
    pytest.importorskip("matplotlib")
    import io
    from xml.etree import ElementTree

    from accel._reports import figures

    drawn, (axes,) = figures.blank_figure(1)
    axes.set_title(EVIL + "$x_", parse_math=False)
    stream = io.BytesIO()
    drawn.savefig(stream, format="svg")
    elements = list(ElementTree.fromstring(stream.getvalue()).iter())
    assert not {"script", "img", "a"} & {element.tag.rpartition("}")[2] for element in elements}
    assert not any("onerror" in element.attrib for element in elements)
