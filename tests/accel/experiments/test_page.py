"""The report page is self-contained and escapes every text of a user."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from accel.experiments.page import difference, render
from accel.experiments.summary import summary

DOCS = Path(__file__).resolve().parents[3] / "docs" / "records"

LINE = {
    "label": "depth <3>", "published": 6.3e-3, "ours": 4.4e-2, "ratio": 7.0, "off": True,
    "learning_rate": 5.6e-5, "at_edge_of_grid": False, "next_rate_diverges_at": 950_000,
    "trials": [{"rate": rate} for rate in (3e-5, 5.6e-5, 1e-4)], "init": "near_zero",
    "scale": 0.1, "width": 1, "steps": 1_000_000, "published_value_reached_at": None,
    "rate_given": False, "band": [],
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
    assert re.findall(r'src="([^"]*)"', page) == ["data:image/svg+xml;base64,PHN2Zz48L3N2Zz4="]
    links = re.findall(r'<a href="([^"]*)"', page)  # which lead away only if they are clicked
    assert page.count("http") == sum(link.startswith("http") for link in links) == 1
    assert page.count("href=") == len(links)


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
    begin, end = (page.index(f"<{tag}nav>") for tag in ("", "/"))
    assert page[:begin] == render(report(), {})[:begin]
    first = page[end : page.index("<h2>A &amp; &lt;b&gt;</h2>")]
    assert first in render(report(), {})
    assert (page.count(">published<"), page.count(">ratio<")) == (1, 1)
    page = render(alone, {})
    assert "<p>digits By accel reproduce with seed 0, finished 2026.</p>" in page
    assert "What the paper claims" not in page


def quick_report(**figure):
    """Of a quick run, which judges nothing."""
    line = LINE | {"ratio": None, "off": False}
    checks = [{"text": "a < b", "lines": ["depth <3>"], "holds": None}]
    quick = report(**{"lines": [line], "checks": checks} | figure)
    quick["settings"]["quick"] = True
    return quick


def test_a_quick_run_says_so_and_judges_nothing():
    assert "fiftieth" not in render(report(), {})
    page = render(quick_report(), {})
    assert "fiftieth" in page
    assert "The paper&#x27;s claim is not judged." in page
    assert "<td>not judged</td>" in page
    for absent in ('class="bad"', "number bad", ">published<", ">ratio<", "Stars", "factor of 2"):
        assert absent not in page


class Reader(HTMLParser):
    """Reads a page: its anchors, links and headings, the texts between tags, open tags."""

    def __init__(self, page):
        super().__init__()
        self.anchors, self.links, self.headings, self.texts, self.open = [], [], [], [], []
        self.alternatives = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors += [attrs["id"]] if "id" in attrs else []
        self.links += [attrs["href"]] if "href" in attrs else []
        self.alternatives += [attrs["alt"]] if tag == "img" else []
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["h1"] or self.open[-1:] == ["h2"]:
            self.headings.append(data)
        if "style" not in self.open:
            self.texts.append((tuple(self.open), data))


def test_the_report_of_the_full_run():
    """The committed one: each title once, contents that lead somewhere, code, what came out."""
    full = json.loads((DOCS / "reproduce-2026-11-23.json").read_text())
    drawings = {figure["key"]: b"<svg></svg>" for figure in full["figures"]}
    page = Reader(render(full, drawings))
    assert page.open == []
    titles = [figure["title"] for figure in full["figures"]]
    assert len(set(page.headings)) == len(page.headings) == len(titles) + 4
    assert set(titles) < set(page.headings)
    inner = [link[1:] for link in page.links if link.startswith("#")]
    assert inner == page.anchors
    assert len(inner) == len(titles) + 3
    assert [link for link in page.links if not link.startswith("#")] == [
        "https://arxiv.org/abs/1802.06509"
    ]
    assert not any("`" in text for _, text in page.texts)
    code = [text for tags, text in page.texts if tags[-1:] == ("code",)]
    assert any(text.startswith("accel train gas --depth 4") for text in code)
    for title, alternative in zip(titles, page.alternatives, strict=True):
        assert alternative.startswith(title)
        assert " ends at 0." in alternative
    first = next(text for tags, text in page.texts if tags[-1:] == ("p",))
    assert first.startswith("Of the paper's 10 claims 7 hold here (figure 2 (4), figure 3 left, ")
    assert "figure 5 left), 3 do not. Figure 3 right, “depth 3 ends below depth 2" in first
    assert "depth 2 at 0.0305 and depth 3 at 0.0377" in first
    assert "depth 3 at step 942738" in first
    assert "9 of 29 curves end more than a factor of 2" in first
    assert first.endswith("the rest is not explained.")


def test_the_report_in_two_readings():
    """The committed one: checks of both readings, bands, crossings, and what is our explanation."""
    full = json.loads((DOCS / "reproduce-2026-11-30.json").read_text())
    told = render(full, {})
    assert told.count("(plain descent)") >= 3
    assert told.count("(momentum 0.9)") >= 3
    assert told.count("<h3>Over rates and seeds") == 4  # figure momentum has lines of 3 right
    first = summary(full)
    judged = [check["holds"] for figure in full["figures"] for check in figure["checks"]]
    assert None not in judged
    assert first.startswith(
        f"Of the {len(judged)} checks of the paper's claims {sum(judged)} hold here"
    )
    lines = {
        line["label"]: line for f in full["figures"] if f["key"] == "3r" for line in f["lines"]
    }
    for depth in (1, 2, 3):  # what the page about the factor of four rests on
        assert lines[f"depth {depth}, rate that fits"]["ratio"] == pytest.approx(1, abs=0.12)
    (crossings,) = (f["crossings"] for f in full["figures"] if f["key"] == "3r")
    steps = [each["from_step"] for each in crossings if "fits" in each["above"]]
    assert len(steps) == 3
    assert all(230_000 <= step <= 270_000 for step in steps)


def checks(*holds):
    return [
        {"text": f"claim {number}", "lines": ["depth <3>"], "holds": held}
        for number, held in enumerate(holds)
    ]


@pytest.mark.parametrize(
    ("figure", "words"),
    [
        ({"checks": checks(True)}, "The paper's claim holds here."),
        ({"checks": checks(False)}, "The paper's claim does not hold here. A & <b>, “claim 0”: here"
         " depth <3> ends at 0.044. The next larger rate that was tried diverges: depth <3> at "
         "step 950000."),
        ({"checks": checks(True, True)}, "All of the paper's 2 claims hold here."),
        ({"checks": checks(False, False)}, "None of the paper's 2 claims holds here."),
        ({"checks": checks(True, False)}, "Of the paper's 2 claims 1 holds here (a & <b>), 1 does "
         "not."),
        ({"checks": []}, "None of the paper's claims is about these figures."),
        ({"checks": [], "lines": [], "skipped": "no torch"}, "A & <b> was not run: no torch."),
        ({"lines": [LINE | {"off": False}]}, "Every curve ends within a factor of 2"),
        ({}, "1 of 1 curves ends more than a factor of 2 from the published value, at 7 times "
         "of it."),
        ({"lines": [LINE | {"ours": None, "ratio": None}], "checks": checks(False)},
         "here depth <3> diverges."),
    ],
)  # fmt: skip
def test_the_first_paragraph_says_what_holds_whatever_it_is(figure, words):
    assert words in summary(report(**figure))


def test_a_quick_run_of_many_claims():
    diverged = LINE | {"ours": None, "ratio": None, "off": False}
    for lines in ({}, {"lines": [diverged]}):
        said = summary(quick_report(checks=checks(None, None), **lines))
        assert "The paper's 2 claims are not judged." in said
        assert "factor of 2" not in said


BAND = [
    {"share": share, "seed": seed, "learning_rate": 1e-5, "distance": end, "diverged_at": step}
    for share, seed, end, step in ((0.5, 0, 0.07, None), (0.9, 0, None, 8), (0.7, 1, 0.05, None))
]
BANDED = {"text": "a < b", "lines": ["depth <3>"], "reading": "plain", "holds": False,
          "held": [1, 3]}  # fmt: skip


def test_a_claim_with_a_band_is_told_with_its_places():
    page = render(report(lines=[LINE | {"band": BAND}], checks=[BANDED]), {})
    assert '<td class="bad">fails (1 of 3)</td>' in page
    assert "a &lt; b (plain)" in page
    assert "is judged at 0.5, 0.7 and 0.9 times the largest rate that survives" in page
    row = page[page.index("<h3>Over rates and seeds") :]
    for cell in ("0.5 of the limit, seed 0", "0.7 of the limit, seed 1", ">0.07<", ">diverged<"):
        assert cell in row
    told = summary(report(lines=[LINE | {"band": BAND}], checks=[BANDED]))
    assert "“a < b (plain)”: here depth <3> ends at 0.044; at 1 of 3 rates and seeds it" in told
    for words in ("Over rates and seeds", "judged at 0.5"):
        assert words not in render(report(), {})
    assert "survived by chance" not in page
    line = LINE | {"band": BAND, "limit_lowered": True}
    told = render(report(lines=[line], checks=[BANDED]), {})
    assert "Of depth &lt;3&gt; it is a lower one: the largest survived by chance" in told


def test_readings_make_more_checks_than_claims():
    twice = [BANDED, BANDED | {"reading": "momentum", "holds": True}]
    assert summary(report(checks=twice)).startswith("Of the 2 checks of the paper's claims 1 holds")
    not_judged = [check | {"holds": None, "held": None} for check in twice]
    told = summary(quick_report(checks=not_judged))
    assert "The 2 checks of the paper's claims are not judged." in told


def test_where_lines_cross_is_told():
    crossings = [
        {"above": "depth 1", "below": "depth 2", "from_step": 230_000},
        {"above": "depth 2", "below": "depth <3>", "from_step": None},
    ]
    page = render(report(crossings=crossings), {})
    assert "<li>depth 2 lies below depth 1 from step 230000 on.</li>" in page
    assert "<li>depth &lt;3&gt; does not end below depth 2.</li>" in page


def test_a_line_whose_rate_is_given_was_not_searched():
    page = render(report(lines=[LINE | {"rate_given": True}]), {})
    assert "<td>not searched</td>" in page
    assert "diverges at step" not in page[page.index("<table") :]
    assert "Tried:" not in difference(LINE | {"rate_given": True})


def test_code_addresses_and_preprints_are_marked():
    note = "see `accel <x>` at https://a.b/c?d=1&e=2. and arXiv 1905.13655, not `this"
    page = render(report(notes=[note]), {})
    assert (
        '<li>see <code>accel &lt;x&gt;</code> at <a href="https://a.b/c?d=1&amp;e=2">'
        'https://a.b/c?d=1&amp;e=2</a>. and <a href="https://arxiv.org/abs/1905.13655">arXiv '
        "1905.13655</a>, not `this</li>"
    ) in page


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ["7 times", "3 learning rates from 3e-05 to 0.0001", "5.6e-05 is the best",
              "diverged at step 950000"]),
        ({"ours": None, "ratio": None}, ["diverged at every learning rate"]),
        ({"published_value_reached_at": 12}, ["reached at step 12"]),
    ],
)  # fmt: skip
def test_what_was_tried_for_a_difference(change, words):
    said = difference(LINE | change)
    assert all(word in said for word in words)
    assert "unexplained" in said
