"""The settings of the live page, and its captions, without a browser."""

import re

import numpy as np
import pytest

from .node import ask, needs_node

pytestmark = needs_node

CAPTIONS = """
import { caption } from "./page/words.js";
import { makeRace } from "./page/race.js";

export function answers({ SLIDERS, PRESETS, DEFAULTS, checked, toLink, fromLink }, places) {
  const among = places.map((place) => {
    const settings = Object.fromEntries(SLIDERS.map(({ key, least, most, log }, i) =>
      [key, log ? least * (most / least) ** place[i] : least + (most - least) * place[i]]));
    const [rates, rule, field] = place.slice(SLIDERS.length);
    return { ...settings, rates: rates < 0.5 ? "own" : "same", rule: rule < 0.5,
      field: 1 + Math.floor(4 * field) };
  });
  const presets = PRESETS.map(({ settings }) => ({ ...DEFAULTS, ...settings }));
  return [...presets, ...among].map((asked) => {
    const settings = checked(asked);
    const race = makeRace({ ...settings, steps: Math.min(settings.steps, 2000) });
    const steps = [0, 1, race.at.at(-2), race.at.at(-1)];
    return {
      asked, settings, back: fromLink(`#${toLink(settings)}`),
      steps, words: steps.map((step) => caption(race, step)),
      lanes: race.lanes.map(({ depth, rate, course }) => ({
        depth, rate, divergedAt: course.divergedAt, left: course.path.length,
        reached: course.reached,
      })),
      recorded: race.at.length,
    };
  });
}
"""
ROUNDS = 40


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Races of the presets, then of random settings; among these some at the ends of the ranges."""
    rng = np.random.default_rng(0)
    places = rng.uniform(-0.3, 1.3, (ROUNDS, 8)).clip(0, 1)
    places = np.hstack([places, rng.uniform(0, 0.999, (ROUNDS, 3))])
    folder = tmp_path_factory.mktemp("words")
    return ask(folder, CAPTIONS, places.tolist(), module="settings.js")


def test_presets_are_within_the_ranges(told):
    presets = told[:-ROUNDS]
    assert len(presets) == 6
    for each in presets:
        assert each["settings"] == each["asked"]


def test_a_link_tells_every_setting(told):
    for each in told:
        assert each["back"] == each["settings"]


def test_captions_are_sentences(told):
    for each in told:
        for seen, reason in each["words"]:
            for text in (seen, reason):
                assert text.endswith("."), text
                assert not re.search("NaN|undefined|null|∞|  |Infinity", text), text
                assert all(part[0].isupper() for part in re.split(r"(?<=\D\.) ", text)), text


def test_what_diverges_is_told(told):
    some = False
    for each in told:
        for lane in each["lanes"]:
            assert lane["rate"] > 0
            if lane["divergedAt"] is None:
                assert lane["left"] == each["recorded"]
            elif len(each["lanes"]) <= each["settings"]["depths"]:  # without the rules' own runs
                some = True
                words = f"Depth {lane['depth']} has diverged at step"
                assert words in each["words"][-1][0]
    assert some


def test_a_caption_tells_who_has_met_the_target_so_far(told):
    early = late = 0
    for each in told:
        networks = each["lanes"][: each["settings"]["depths"]]
        for step, (seen, _) in zip(each["steps"], each["words"], strict=True):
            met = re.findall(
                r"[Dd]epth (\d) (?:met the dashed target )?after ([\d\u202f]+) steps", seen
            )
            expected = {
                (lane["depth"], lane["reached"])
                for lane in networks
                if lane["reached"] is not None and lane["reached"] <= step
            }
            assert {
                (int(depth), int(count.replace("\u202f", ""))) for depth, count in met
            } == expected
            early += step <= 1 and any(lane["reached"] is not None for lane in networks)
            late += len(expected)
    assert early
    assert late


def test_own_rates_do_not_diverge(told):
    """At no more than the largest stable rate, wherever the sliders stand."""
    for each in told:
        if each["settings"]["rates"] == "own" and each["settings"]["share"] <= 1:
            networks = each["lanes"][: each["settings"]["depths"]]
            assert all(lane["divergedAt"] is None for lane in networks), each["settings"]


RAISED = """
import { makeRace } from "./page/race.js";

export function answers({ PRESETS, SLIDERS, checked }, powers) {
  const { settings } = PRESETS.find(({ key }) => key === "square");
  const steps = SLIDERS.find(({ key }) => key === "steps").most;
  return powers.map((p) => makeRace(checked({ ...settings, p, steps })).lanes.map(({ course }) =>
    ({ reached: course.reached, last: course.losses.at(-1) })));
}
"""


def test_what_the_documentation_says_of_larger_p(tmp_path):
    three, four, *more = ask(tmp_path, RAISED, [3, 4, 5, 6, 8], module="settings.js")
    plain, two, deep = (lane["reached"] for lane in three)
    assert two < plain < deep
    plain, two, deep = (lane["reached"] for lane in four)
    assert two < deep < plain
    for lanes in more:
        assert [lane["reached"] for lane in lanes] == [None] * 3
        assert max(lane["last"] for lane in lanes) == lanes[0]["last"]
