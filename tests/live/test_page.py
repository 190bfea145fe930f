"""The live page in a browser: what ``browse.py`` has seen of it."""

import json
import sys
import time
import uuid
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import accel
from accel import GradientDescent, LinearNetwork, LpProblem
from accel._core.initializers import balanced_factors

from ..children import ROOT, python, started
from .node import PAGE

pytestmark = pytest.mark.skipif(
    not find_spec("playwright"), reason="needs Playwright: pip install playwright"
)

BROWSE = Path(__file__).with_name("browse.py")
SCREENSHOTS = ROOT / "build" / "live-screenshots"
KEYS = ["depths", "p", "ratio", "condition", "start", "rate", "share", "steps"]


@pytest.fixture(scope="module")
def seen():
    """What all visits have told; the screenshots are kept."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    told = json.loads(python(BROWSE, SCREENSHOTS, limit=400).stdout)
    if isinstance(told, str):
        pytest.skip(told)
    print(f"screenshots: {SCREENSHOTS}")
    return told


def everything_said(told):
    """The messages of the browser's console and its errors, anywhere in what was told."""
    if isinstance(told, dict):
        for key, value in told.items():
            yield from value if key == "said" else everything_said(value)


def test_no_errors_and_nothing_from_elsewhere(seen):
    assert list(everything_said(seen)) == []
    asked = seen["plays"]["requests"]
    assert f"{seen['url']}main.js" in asked
    assert all(url.startswith((seen["url"], "data:")) for url in asked)
    named = {path.relative_to(PAGE).as_posix() for path in PAGE.rglob("*.js")}
    assert {url.removeprefix(seen["url"]) for url in asked if url.endswith(".js")} == named


def test_the_race_plays(seen):
    told = seen["plays"]
    assert told["title"] == "Depth as an accelerator"
    assert told["steps"] == [["playing", True], ["paused", False], ["restarted", True]]
    before, after = told["while_paused"]
    assert before == after > 5
    assert told["awake_while_paused"] is False  # nothing is asked for from frame to frame
    assert (told["whole"][0], told["whole"][-1]) == (0, 500)
    assert told["early"] == [0]
    assert (told["count"], told["text"]) == ("1000", "step 500 of 500")


@pytest.mark.parametrize("key", KEYS)
def test_a_slider_moves_by_the_keyboard(seen, key):
    told = seen["sliders"][key]
    before, after = told["before"], told["after"]
    changed = {
        name for name, value in after["settings"].items() if before["settings"][name] != value
    }
    assert changed == ({key, "rates"} if key == "rate" else {key})
    assert f"{key}=" in after["hash"]
    assert before["hash"] == ""
    assert told["words"]
    assert after["drawn"] != before["drawn"]
    if key == "steps":
        assert after["at"][-1] > before["at"][-1]
    elif key == "depths":
        assert (len(before["losses"]), len(after["losses"])) == (3, 1)
        assert before["losses"][0] == after["losses"][0]
    else:
        assert after["losses"] != before["losses"]


def test_there_is_no_other_slider(seen):
    assert sorted(seen["sliders"].keys() - {"said"}) == sorted(KEYS)


def test_a_slider_that_is_dragged(seen):
    told = seen["dragged"]
    assert told["preset"]["p"] == 2
    assert told["after"]["settings"]["p"] == 6.9
    assert told["after"]["settings"]["condition"] == 10
    assert told["after"]["hash"] == "#p=6.9&condition=10&steps=80"
    # Safari refuses to write the address more than 100 times in 30 seconds.
    assert len(told["writes"]) <= 1 + told["took"] / 350 < told["frames"]


def test_the_drawn_curves_are_those_of_the_reference(seen):
    told = seen["one_setting"]
    settings = {"depths": 4, "p": 3, "ratio": 6, "condition": 5, "start": 0.02, "rate": 0.004,
                "rates": "same", "steps": 300}  # fmt: skip
    assert settings.items() <= told["settings"].items()
    X = np.diag([1, 1 / np.sqrt(5)])
    problem = LpProblem(X, X @ [6, 1], p=3, method="direct")
    drawn = [np.array(column) for column in told["drawn"]]
    assert list(drawn[0]) == told["at"]
    assert len(drawn) == 1 + 2 * 4  # each depth has a line and its edge
    start = np.array([told["start"]])
    for depth in range(1, 5):
        factors = balanced_factors(start, [(1, 2), *[(1, 1)] * (depth - 1)])
        network = LinearNetwork((2, *[1] * depth), init=factors)
        rule = GradientDescent(0.004)
        result = accel.train(problem, network, rule, 300, record_every=1, backend="reference")
        expected = result.history.loss[told["at"]]
        for column in drawn[2 * depth - 1 : 2 * depth + 1]:
            np.testing.assert_allclose(column, expected, rtol=1e-9)
        np.testing.assert_array_equal(told["losses"][depth - 1], drawn[2 * depth])


def test_pictures_have_words(seen):
    told = seen["one_setting"]
    assert told["roles"] == ["img", "img"]
    assert "at step 300: depth 1 " in told["curves"]
    assert "the minimum (6, 1)" in told["plane"]
    rows = [row.split("\t") for row in told["numbers"].splitlines()]
    assert (rows[0][0], rows[-1][0]) == ("0", "300")
    assert {len(row) for row in rows} == {5}
    assert float(rows[-1][1]) == pytest.approx(told["losses"][0][-1], rel=0.01)
    assert [row.split("\t")[:2] for row in told["summary"].splitlines()] == [
        [str(depth), "0.004"] for depth in range(1, 5)
    ]
    assert told["live"] == "polite"
    assert told["outputs"] == ["off"] * (1 + len(KEYS))  # what a slider says is enough
    assert told["seen"].startswith("All depths use the learning rate 0.004. At step 300 depth 4 is")


def test_a_link_keeps_a_setting(seen):
    told = seen["links"]
    wild = {"p": 8, "ratio": 1, "depths": 3, "start": 0.001, "steps": 100_000, "rates": "own",
            "field": 2}  # fmt: skip
    assert wild.items() <= told["wild"]["settings"].items()
    changed = {"p": 2.5, "logSteps": True, "rule": True, "ratio": 10}
    assert changed.items() <= told["changed"]["settings"].items()
    assert told["link"] == "#p=2.5&rule=true&logSteps=true"
    assert told["boxes"] == [True, True]
    assert len(told["changed"]["losses"]) == 5  # depth 1 to 3, and the rule of depth 2 and 3
    assert told["changed"]["drawn"][0][0] == 0.5  # where step 0 stands on a logarithmic axis
    assert told["field"] == 4


def test_the_button_finds_rates_that_are_stable(seen):
    """For the reference, too: the loss falls in every step, and a little above it does not."""
    told = seen["stable"]
    assert (told["settings"]["rates"], told["settings"]["share"]) == ("own", 1)
    assert "each depth" in told["title"]
    X = np.diag([1, 1 / np.sqrt(5)])
    problem = LpProblem(X, X @ [6, 1], p=3, method="direct")
    start, target = np.array([told["start"]]), told["target"]
    assert [lane["depth"] for lane in told["lanes"]] == [1, 2, 3, 4]
    for lane, row in zip(told["lanes"], told["summary"].splitlines(), strict=True):
        depth, found = lane["depth"], lane["stable"]
        assert lane["rate"] == found["rate"]
        assert row.split("\t")[3] == str(found["steps"])
        factors = balanced_factors(start, [(1, 2), *[(1, 1)] * (depth - 1)])
        network = LinearNetwork((2, *[1] * depth), init=factors)
        falls = []
        for factor in (1, 1.003):
            result = accel.train(
                problem, network, GradientDescent(factor * found["rate"]), 2000,
                record_every=1, target=target, backend="reference",
            )  # fmt: skip
            loss = result.history.loss
            falls.append(bool(np.all(loss[1:] <= loss[:-1] * (1 + 1e-12))))
            assert factor > 1 or result.steps == found["steps"]
        assert falls == [True, False]


def test_demonstrations_show_what_they_say(seen):
    told = seen["presets"]
    paper = told["paper"]
    assert paper["hash"] == ""
    plain, two, three = paper["reached"]
    assert plain > 2 * two
    assert plain > 2 * three
    assert "times fewer steps than depth 1" in paper["seen"]
    assert "the first one dictates the rate of depth 1" in paper["reason"]
    assert min(told["square"]["reached"]) == told["square"]["reached"][0]
    assert "Depth does not help here" in told["square"]["seen"]
    assert "one rate suits the whole way" in told["square"]["reason"]
    plain, two, _ = told["larger"]["reached"]
    assert plain > 3 * two
    assert told["same"]["diverged"][0] is None
    assert None not in told["same"]["diverged"][1:]
    assert "Depth 2 has diverged at step" in told["same"]["seen"]
    assert told["saddle"]["reached"][3] is None
    assert None not in told["saddle"]["reached"][:3]
    assert "Depth 4 is still near w = 0, where networks" in told["saddle"]["seen"]
    networks, rules = told["rule"]["losses"][1:3], told["rule"]["losses"][3:]
    np.testing.assert_allclose(rules, networks, rtol=0.4)
    np.testing.assert_allclose(np.array(rules)[:, -1], np.array(networks)[:, -1], rtol=0.002)


@pytest.mark.parametrize("name", ["wide-light", "wide-dark", "phone-light", "phone-dark"])
def test_nothing_is_wider_than_the_window(seen, name):
    told = seen["looks"][name]
    assert told["needs"] == told["width"]
    assert (SCREENSHOTS / f"{name}.png").stat().st_size > 20_000


def luminance(color):
    """Relative luminance of #rrggbb by the WCAG."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    lighter, darker = sorted([luminance(one), luminance(other)], reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_stand_out(seen, scheme):
    """Texts by 4.5, and every line by 3 at least, itself or its edge; a depth has one colour."""
    colors = seen["looks"][f"wide-{scheme}"]["colors"]
    assert [colors[f"depth-{depth}"] for depth in (1, 2, 3, 4)] == [
        "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728",
    ]  # fmt: skip
    for ground in ("page", "surface"):
        for name in ("text", "muted", "accent", *(f"depth-{depth}-ink" for depth in (1, 2, 3, 4))):
            assert contrast(colors[name], colors[ground]) >= 4.5, name
    assert contrast(colors["accent-text"], colors["accent"]) >= 4.5
    page = seen["looks"][f"wide-{scheme}"]["background"]
    assert page == f"rgb{tuple(int(colors['page'][i : i + 2], 16) for i in (1, 3, 5))}"


def test_light_and_dark_differ_also_while_it_is_open(seen):
    looks = seen["looks"]
    assert looks["wide-light"]["background"] != looks["wide-dark"]["background"]
    assert looks["turned"] == looks["dark"] == looks["wide-dark"]["colors"]["muted"]


def test_the_keyboard_reaches_everything(seen):
    told = seen["tabs"]
    assert {*KEYS} == {name[7:] for name in told["needed"] if name.startswith("slider-")}
    assert {*told["needed"]} <= {*told["reached"]}
    assert "none" not in told["outlines"]


def test_the_exported_file_needs_no_server(seen):
    told = seen["elsewhere"]["alone"]
    assert told["losses"] == seen["one_setting"]["losses"]
    assert all(url.startswith(("file:", "data:")) for url in told["requests"])
    assert sum(url.startswith("file:") for url in told["requests"]) == 1


def test_it_works_within_another_page(seen):
    told = seen["elsewhere"]["framed"]
    assert told["settings"]["p"] == 2
    assert told["hash"] == "#p=2&condition=10&steps=80"
    assert "#p=2" not in told["around"]


def marked(marker):
    """Processes that have a variable in their environment, with their command lines."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if marker in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_bytes())
        except OSError:  # gone, or somebody else's
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_no_browser_survives_a_test_that_is_killed(tmp_path, seen):
    assert isinstance(seen, dict)
    name = uuid.uuid4().hex
    marker = f"ACCEL_VISIT={name}".encode()
    with started(sys.executable, BROWSE, tmp_path, ACCEL_VISIT=name) as child:
        for _ in range(600):
            if any(b"--headless" in command for command in marked(marker)):
                break
            time.sleep(0.05)
        assert any(b"--headless" in command for command in marked(marker))
        child.kill()
    for _ in range(600):
        if not marked(marker):
            break
        time.sleep(0.05)
    assert marked(marker) == []


def test_the_documentation_quotes_the_races(seen):
    text = (ROOT / "docs" / "live.md").read_text(encoding="utf-8")
    for name, words in (("paper", "Depth 1 needs"), ("square", "Depth 1 now needs")):
        plain, two, three = seen["presets"][name]["reached"]
        assert f"{words} {plain} steps" in text
        assert f", depth 2 needs {two} and depth 3 needs {three}." in text
