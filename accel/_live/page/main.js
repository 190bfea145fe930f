/** Puts the page together: settings, the race that they make, its pictures, and the playback. */

import { Controls } from "./controls.js";
import { Curves } from "./curves.js";
import { Plane } from "./plane.js";
import { makeRace, placeOf } from "./race.js";
import { checked, DEFAULTS, fromLink, toLink } from "./settings.js";
import { describePictures, showLegend, showNumbers, showSummary } from "./tables.js";
import { onThemeChange, theme } from "./theme.js";
import { caption, countText } from "./words.js";

/** Milliseconds that a race takes to play, and between two captions meanwhile. */
const DURATION = 9000;
const CAPTION_EVERY = 500;
/** Milliseconds between two writes of the address: Safari refuses more than 100 in 30 seconds. */
const SAVE_EVERY = 350;

const element = (id) => document.getElementById(id);
const curves = new Curves(element("curves"));
const plane = new Plane(element("plane"));
const still = matchMedia("(prefers-reduced-motion: reduce)");

let settings = fromLink(location.hash);
let race = makeRace(settings);
/** How much of the race is shown, from 0 to 1, and whether it goes on by itself. */
let progress = still.matches ? 1 : 0;
let playing = !still.matches;
let frame = { time: 0, captioned: 0 };
/** Whether the next frame is asked for: only while the race plays, so that a page at rest costs nothing. */
let awake = false;

const controls = new Controls(
  {
    sliders: element("sliders"), presets: element("presets"), field: element("field"),
    boxes: [element("rule"), element("logSteps")],
  },
  (change) => {
    if (change.preset) apply({ ...DEFAULTS, ...change.preset }, { replay: true });
    else applySoon(change);
  },
);

/** What a slider that is dragged has changed since the last frame, if anything. */
let awaited = null;

/** Take over a change with the next frame: a slider may move more often than that. */
function applySoon(change) {
  if (awaited === null) {
    requestAnimationFrame(() => {
      if (awaited !== null) apply({ ...settings, ...awaited });
    });
  }
  awaited = { ...awaited, ...change };
}

function currentStep() {
  return Math.round(progress * settings.steps);
}

/**
 * Take over settings, with which nothing is awaited any more; with `replay` the race begins anew,
 * otherwise it stays where it was.
 */
function apply(given, { replay = false } = {}) {
  awaited = null;
  settings = checked(given);
  race = makeRace(settings);
  if (replay) begin();
  showRace();
  save();
}

/** When the address was written last, and the timer of a write that waits, or 0. */
const saved = { at: -Infinity, timer: 0 };

/** Keep the settings in the address: at once, or as soon as it may be written again. */
function save() {
  clearTimeout(saved.timer);
  const wait = saved.at + SAVE_EVERY - performance.now();
  saved.timer = wait > 0 ? setTimeout(save, wait) : 0;
  if (saved.timer) return;
  saved.at = performance.now();
  history.replaceState(null, "", `#${toLink(settings)}`);
}

/** Start from step 0; whoever wants little motion sees the end at once. */
function begin() {
  progress = still.matches ? 1 : 0;
  playing = !still.matches;
  wake();
}

/** Show a race that was made anew. */
function showRace() {
  const colors = theme();
  controls.show(settings);
  showLegend(element("legend"), race);
  showNumbers(element("numbers"), race);
  element("link").href = `#${toLink(settings)}`;
  curves.step = plane.step = currentStep();
  curves.show(race, colors);
  plane.show(race, colors);
  showStep();
  showWords();
}

/** Show the race up to the current step, but for the words. */
function showStep() {
  const step = currentStep();
  curves.moveTo(step);
  plane.moveTo(step);
  element("step").value = Math.round(1000 * progress);
  const text = `step ${countText(step)} of ${countText(settings.steps)}`;
  element("count").value = text;
  element("step").setAttribute("aria-valuetext", text);
  element("play").textContent = playing ? "Pause" : "Play";
}

/** Caption, table and text alternatives: while the race plays, a screen reader need not hear them. */
function showWords() {
  const [seen, reason] = caption(race, currentStep());
  element("caption").setAttribute("aria-busy", String(playing));
  element("seen").textContent = seen;
  element("reason").textContent = reason;
  showSummary(element("summary"), race, currentStep());
  describePictures(element("curves"), element("plane"), race, currentStep());
}

/** Go on with the race from the next frame on, if it plays. */
function wake() {
  if (awake || !playing) return;
  awake = true;
  requestAnimationFrame((time) => {
    frame.time = time;
    requestAnimationFrame(tick);
  });
}

function tick(time) {
  awake = playing;
  if (!playing) return;
  progress = Math.min(1, progress + Math.min(100, time - frame.time) / DURATION);
  if (progress === 1) playing = false;
  showStep();
  if (!playing || time - frame.captioned > CAPTION_EVERY) {
    showWords();
    frame.captioned = time;
  }
  frame.time = time;
  requestAnimationFrame(tick);
}

/** Go to a part of the race, and go on from there or not. */
function moveTo(part, on) {
  progress = part;
  playing = on;
  wake();
  showStep();
  showWords();
}

element("play").addEventListener("click", () => {
  moveTo(progress === 1 && !playing ? 0 : progress, !playing);
});
element("restart").addEventListener("click", () => moveTo(0, true));
element("end").addEventListener("click", () => moveTo(1, false));
element("step").addEventListener("input", (event) => moveTo(Number(event.target.value) / 1000, false));
element("stable").addEventListener("click", () => applySoon({ rates: "own", share: 1 }));
addEventListener("hashchange", () => apply(fromLink(location.hash)));
onThemeChange(showRace);

/** For tests and for scripts in a lecture: what is shown, as numbers. */
window.accelLive = {
  settings: () => ({ ...settings }),
  apply: (change) => apply({ ...settings, ...awaited, ...change }),
  saved: () => saved.timer === 0,
  finish: () => moveTo(1, false),
  playing: () => playing,
  awake: () => awake,
  race: () => race,
  shown: () => race.at.slice(0, placeOf(race, currentStep()) + 1),
  drawn: () => curves.plot.data,
  axisColor: () => curves.theme.muted,
};

showRace();
wake();
