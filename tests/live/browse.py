"""Opens the live page in headless Chromium, uses it as people do, and prints what it saw as JSON.

``python browse.py SCREENSHOTS``; the tests start it as a process of its own, since a browser and
Playwright's driver are to end with it. Where there is no browser it prints why as a text.
"""

import contextlib
import json
import os
import shutil
import sys
import tempfile
import threading
from pathlib import Path

from playwright.sync_api import sync_playwright

from accel._live.exporting import SINGLE, export_page
from accel._live.serving import PageServer

NAMES = ("chromium", "chromium-browser", "google-chrome")
WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 360, "height": 740}
#: One setting of every slider, by link; a rate for all depths.
LINK = "depths=4&p=3&ratio=6&condition=5&start=0.02&rate=0.004&rates=same&steps=300"
STATE = """() => ({ settings: accelLive.settings(), at: accelLive.race().at,
  losses: accelLive.race().lanes.map((lane) => lane.course.losses),
  drawn: accelLive.drawn().map((column) => Array.from(column)),
  seen: document.getElementById("seen").textContent,
  reason: document.getElementById("reason").textContent, hash: location.hash })"""


class Visit:
    """A page in a context of its own, with all that it says and asks for."""

    def __init__(self, browser, url, viewport=None, **options):
        self.context = browser.new_context(viewport=viewport or WIDE, **options)
        self.page = self.context.new_page()
        self.said, self.requests = [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(url)
        if url != "about:blank":
            self.page.wait_for_function("window.accelLive !== undefined")

    def settled(self):
        """The state after the next two frames, by when what was changed is shown, and saved."""
        self.page.evaluate(
            "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
        self.page.wait_for_function("accelLive.saved()")
        return self.page.evaluate(STATE)

    def close(self):
        self.context.close()


@contextlib.contextmanager
def visit(browser, url, viewport=None, **options):
    options = {"reduced_motion": "reduce", **options}
    visit = Visit(browser, url, viewport, **options)
    try:
        yield visit
    finally:
        visit.close()


def plays(browser, url):
    """The race that begins by itself, and the buttons of the player."""
    with visit(browser, url, reduced_motion="no-preference") as seen:
        page, steps = seen.page, []
        page.wait_for_function("accelLive.shown().length > 5")
        steps.append(("playing", page.evaluate("accelLive.playing()")))
        page.click("#play")
        steps.append(("paused", page.evaluate("accelLive.playing()")))
        before = len(page.evaluate("accelLive.shown()"))
        page.wait_for_timeout(150)
        after = len(page.evaluate("accelLive.shown()"))
        awake = page.evaluate("accelLive.awake()")
        page.click("#end")
        whole = page.evaluate("accelLive.shown()")
        playing, early = page.evaluate(
            "() => { document.getElementById('restart').click();"
            " return [accelLive.playing(), accelLive.shown()]; }"
        )
        steps.append(("restarted", playing))
        page.click("#play")
        page.focus("#step")
        page.keyboard.press("End")
        return {
            "title": page.title(), "steps": steps, "while_paused": [before, after],
            "awake_while_paused": awake,
            "whole": whole, "early": early, "count": page.input_value("#step"),
            "text": page.inner_text("#count"), "said": seen.said, "requests": seen.requests,
        }  # fmt: skip


def sliders(browser, url):
    """Every slider moved by the keyboard, from the same setting."""
    told = {}
    with visit(browser, url) as seen:
        keys = seen.page.evaluate(
            "Array.from(document.querySelectorAll('#sliders input'), (input) => input.id)"
        )
        for key in keys:
            seen.page.evaluate("accelLive.apply({ rates: 'own' })")
            seen.page.click("[data-preset=paper]")
            before = seen.settled()
            seen.page.focus(f"#{key}")
            seen.page.keyboard.press("Home" if key == "slider-depths" else "ArrowRight")
            after = seen.settled()
            words = seen.page.get_attribute(f"#{key}", "aria-valuetext")
            told[key.removeprefix("slider-")] = {"before": before, "after": after, "words": words}
        told["said"] = seen.said
    return told


DRAGGED = """() => new Promise((done) => {
  const move = (key, value) => {
    const input = document.getElementById(`slider-${key}`);
    input.value = value;
    input.dispatchEvent(new Event("input"));
  };
  const writes = [];
  const replace = history.replaceState.bind(history);
  history.replaceState = (...given) => { writes.push(given[2]); replace(...given); };
  move("p", 7);
  document.querySelector("[data-preset=square]").click();
  let preset, frames = 0;
  const drag = () => {
    for (let i = 0; i < 3; i++) move("p", 3 + 0.1 * frames);
    if (++frames === 40) requestAnimationFrame(() => done({ preset, frames, writes }));
    else requestAnimationFrame(drag);
  };
  requestAnimationFrame(() => { preset = accelLive.settings(); drag(); });
})"""


def dragged(browser, url):
    """A slider and a preset within one frame, and a slider that moves with every frame."""
    with visit(browser, url) as seen:
        began = seen.page.evaluate("performance.now()")
        told = seen.page.evaluate(DRAGGED)
        took = seen.page.evaluate("performance.now()") - began
        return {**told, "took": took, "after": seen.settled(), "said": seen.said}


def one_setting(browser, url):
    """A setting from a link, as drawn, and its text alternatives."""
    with visit(browser, f"{url}#{LINK}") as seen:
        state = seen.settled()
        seen.page.click("text=The curves as numbers")
        state |= {
            "start": seen.page.evaluate("accelLive.race().start"),
            "curves": seen.page.get_attribute("#curves", "aria-label"),
            "plane": seen.page.get_attribute("#plane", "aria-label"),
            "roles": [seen.page.get_attribute(f"#{name}", "role") for name in ("curves", "plane")],
            "numbers": seen.page.inner_text("#numbers tbody"),
            "summary": seen.page.inner_text("#summary tbody"),
            "live": seen.page.get_attribute("#caption", "aria-live"),
            "outputs": seen.page.evaluate(
                "Array.from(document.querySelectorAll('output'), (it) => it.ariaLive)"
            ),
            "said": seen.said,
        }
    return state


def links(browser, url):
    """Links with settings that are out of range or none; and the page's own link."""
    with visit(
        browser, f"{url}#p=99&ratio=-1&depths=x&start=&steps=1e9&rates=other&field=9"
    ) as seen:
        wild = seen.settled()
        seen.page.evaluate("location.hash = 'p=2.5&logSteps=true&rule=true'")
        seen.page.wait_for_function("accelLive.settings().p === 2.5")
        changed = seen.settled()
        link = seen.page.get_attribute("#link", "href")
        boxes = [seen.page.is_checked(f"#{name}") for name in ("rule", "logSteps")]
        seen.page.check("#field >> text=4")
        chosen = seen.settled()
        return {"wild": wild, "changed": changed, "link": link, "boxes": boxes,
                "field": chosen["settings"]["field"], "said": seen.said}  # fmt: skip


def stable(browser, url):
    """The button that looks for the largest stable rates."""
    with visit(browser, f"{url}#{LINK}") as seen:
        seen.page.click("#stable")
        state = seen.settled()
        state["lanes"] = seen.page.evaluate(
            "accelLive.race().lanes.map(({ depth, rate, stable }) => ({ depth, rate, stable }))"
        )
        state["target"] = seen.page.evaluate("accelLive.race().target")
        state["start"] = seen.page.evaluate("accelLive.race().start")
        state["summary"] = seen.page.inner_text("#summary tbody")
        state["title"] = seen.page.get_attribute("#stable", "title")
    return state


def presets(browser, url):
    """Every demonstration, with its caption and a screenshot of it."""
    told = {}
    with visit(browser, url) as seen:
        for button in seen.page.query_selector_all("#presets button"):
            button.focus()
            seen.page.keyboard.press("Enter")
            key = button.get_attribute("data-preset")
            told[key] = seen.settled()
            told[key]["diverged"] = seen.page.evaluate(
                "accelLive.race().lanes.map((lane) => lane.course.divergedAt)"
            )
            told[key]["reached"] = seen.page.evaluate(
                "accelLive.race().lanes.map((lane) => lane.course.reached)"
            )
            seen.page.screenshot(path=FOLDER / f"preset-{key}.png")
        told["said"] = seen.said
    return told


COLORS = """() => Object.fromEntries(["text", "muted", "page", "surface", "accent", "accent-text",
  ...[1, 2, 3, 4].flatMap((n) => [`depth-${n}`, `depth-${n}-ink`])].map((name) =>
  [name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()]))"""


def looks(browser, url):
    """Sizes, colours and screenshots: wide and on a phone, light and dark."""
    told = {}
    for scheme in ("light", "dark"):
        for name, viewport in (("wide", WIDE), ("phone", PHONE)):
            with visit(browser, url, viewport, color_scheme=scheme) as seen:
                seen.settled()
                told[f"{name}-{scheme}"] = {
                    "width": viewport["width"],
                    "needs": seen.page.evaluate("document.documentElement.scrollWidth"),
                    "colors": seen.page.evaluate(COLORS),
                    "background": seen.page.evaluate(
                        "getComputedStyle(document.body).backgroundColor"
                    ),
                    "said": seen.said,
                }
                seen.page.screenshot(path=FOLDER / f"{name}-{scheme}.png", full_page=True)
    with visit(browser, url) as seen:
        seen.page.emulate_media(color_scheme="dark")
        seen.settled()
        told["turned"] = seen.page.evaluate("accelLive.axisColor()")
        told["dark"] = seen.page.evaluate(COLORS)["muted"]
    return told


FOCUS = """() => { const it = document.activeElement;
  return it === document.body ? "" : it.id || it.dataset.preset || it.name || it.tagName; }"""
NEEDED = """() => Array.from(document.querySelectorAll("button, input, summary, a, [tabindex]"),
  (it) => it.id || it.dataset.preset || it.name || it.tagName)"""


def tabs(browser, url):
    """What Tab reaches, in its order, and whether one sees where it is."""
    with visit(browser, url, PHONE) as seen:
        needed, reached, outlines = seen.page.evaluate(NEEDED), [], []
        for _ in range(3 * len(needed)):
            seen.page.keyboard.press("Tab")
            name = seen.page.evaluate(FOCUS)
            if not name:
                break
            reached.append(name)
            outlines.append(
                seen.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            )
    return {"needed": needed, "reached": reached, "outlines": outlines}


def elsewhere(browser, url):
    """The exported file without a server, and the page within another one."""
    with tempfile.TemporaryDirectory() as folder:
        export_page(Path(folder), force=False)
        with visit(browser, (Path(folder) / SINGLE).as_uri() + f"#{LINK}") as seen:
            alone = seen.settled() | {"said": seen.said, "requests": seen.requests}
    with visit(browser, "about:blank") as seen:
        text = '<title>Around</title><link rel="icon" href="data:,"><iframe src="index.html">'
        around = f"{url}around.html"
        seen.page.route(around, lambda route: route.fulfill(body=text, content_type="text/html"))
        seen.page.goto(around)
        frame = seen.page.wait_for_selector("iframe").content_frame()
        frame.wait_for_function("window.accelLive !== undefined")
        frame.click("[data-preset=square]")
        framed = frame.evaluate(STATE) | {"said": list(seen.said), "around": seen.page.url}
    return {"alone": alone, "framed": framed}


def main():
    """Print a JSON object with what every function has seen, by its name."""
    scenes = (plays, sliders, dragged, one_setting, links, stable, presets, looks, tabs, elsewhere)
    with sync_playwright() as playwright, PageServer() as server:
        kind = playwright.chromium
        own = Path(kind.executable_path).exists()
        found = None if own else next(filter(None, map(shutil.which, NAMES)), None)
        if not own and found is None:
            print(json.dumps("needs Chromium: apt-get install chromium, or playwright install"))
            return
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        arguments = ["--no-sandbox"] if root else []
        browser = kind.launch(executable_path=found, args=arguments)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            told = {scene.__name__: scene(browser, server.url) for scene in scenes}
        finally:
            server.shutdown()
            thread.join()
            browser.close()
    print(json.dumps({"url": server.url, **told}))


FOLDER = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("live-screenshots")

if __name__ == "__main__":
    main()
